"""MEMORYLLM: for how many updates can what was told still be read, and does it fade as the formula says?

Run: python proofs/memory_llm.py --model smollm2-135m.gguf

First, exactly: of 10,000 pools, how many slots outlive t updates, beside (1 - K/N)^t. Second, around a model that was
not trained for it, whose slots therefore hold what goes into a layer (`keeps="in"`): a block with five sentences such
as "The secret of the copper lighthouse is honey." is written, then 1 to 16 blocks of 64 tokens of a novel, into 512
slots a layer. Each sentence is asked for by its first words; the answer is right when its value is the likeliest of
the five (chance 0.2). Arms: no memory; random drops; the oldest dropped, which forgets at 512 / 64 = 8 updates at
once; everything in context; and random drops with slots of what comes out of a layer, as in the paper, which need a
model trained for them.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from slowwave.bench.concluding import Parts, conclude, dots, on_model, verdict_of
from slowwave.bench.planted import after, found, invented, plain_cache, text_of
from slowwave.bench.recall_training import spread
from slowwave.state.attending import Attending
from slowwave.state.kernels.slots import append_slots, empty_slots
from slowwave.state.memory_llm import MemoryLLM

SLOTS, UPDATE, FACTS = 512, 64, 5
AFTER = (1, 4, 7, 8, 16)
FORMS: dict[str, dict[str, Any]] = {
    "random drops": {"keeps": "in"},
    "oldest dropped": {"keeps": "in", "drop": "oldest"},
    "random drops, what comes out": {},
}
ARMS = ("no memory", *FORMS, "all in context")
BOOKS = ("carroll-alice-s-adventures-in-wonderland", "bronte-jane-eyre", "doyle-the-sign-of-the-four")


def survival(trials: int) -> dict[str, dict[str, float]]:
    """Share of the first slots that are left after t updates, the formula, and how many standard errors lie between."""
    slots, update = 16, 2
    pool = empty_slots(trials, slots, 1, generator=torch.Generator().manual_seed(0))
    pool, *_ = append_slots(pool, torch.ones(trials, slots, 1))
    out = {}
    for t in range(1, 9):
        pool, *_ = append_slots(pool, torch.zeros(trials, update, 1))
        left, formula = float(pool.values.sum()) / (trials * slots), (1 - update / slots) ** t
        error = (formula * (1 - formula) / (trials * slots)) ** 0.5
        out[f"{t} updates"] = {"left": left, "formula": formula, "standard errors": (left - formula) / error}
    return out


def run(base: Attending, encode: Any, text: str, seed: int, size: tuple[int, int], times: tuple[int, ...]) -> Any:
    """arm -> updates -> share of the sentences that are answered."""
    slots, update = size
    rng = random.Random(seed)
    facts = invented(rng, FACTS)
    told = [i for asked, value in facts for i in encode(f"{asked}{value}.")]
    words = text.split()
    start = rng.randrange(max(1, len(words) - 2 * max(times) * update))
    more = encode(" ".join(words[start : start + 2 * max(times) * update]))
    room = max(0, update - len(told))  # one whole block
    told, more = told + more[:room], more[room:]
    asked = [(encode(words), encode(value)[0]) for words, value in facts]
    values = [value for _, value in asked]
    out: dict[str, dict[str, float]] = {arm: {} for arm in ARMS}

    def share(answers: list[dict[str, float]]) -> float:
        return sum(answer["right"] for answer in answers) / len(answers)

    with torch.no_grad():
        opening = encode("\n")[:1]
        alone = plain_cache(base, opening)
        none = share([found(after(base, alone, prompt), value, values) for prompt, value in asked])
        for arm, form in FORMS.items():
            reader = MemoryLLM(base, slots=slots, update=update, block=update, **form)
            state = reader.init_state(1, torch.Generator().manual_seed(seed))
            state = reader.sleep(reader.write(torch.tensor([told]), state))
            for done in range(1, max(times) + 1):
                state = reader.write(torch.tensor([more[(done - 1) * update : done * update]]), state)
                if done in times:
                    out[arm][f"{done} updates"] = share(
                        [found(reader.logits(torch.tensor([p]), state)[0, -1], v, values) for p, v in asked]
                    )
        for done in times:
            cache = plain_cache(base, opening + told + more[: done * update])
            answers = [found(after(base, cache, prompt), value, values) for prompt, value in asked]
            out["all in context"][f"{done} updates"] = share(answers)
            out["no memory"][f"{done} updates"] = none
    return out


def judge(exact: dict[str, Any], arms: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: survival within 4 standard errors of the formula; after one update random drops
    are 0.3 above no memory on average; and after 16 updates they are above the oldest dropped."""
    off = max(abs(row["standard errors"]) for row in exact.values())
    times = list(arms["random drops"])
    mean = {arm: [rows[t]["mean"] for t in times] for arm, rows in arms.items()}
    first = mean["random drops"][0] > mean["no memory"][0] + 0.3
    late = mean["random drops"][-1] > mean["oldest dropped"][-1]
    told = "; ".join(f"{arm}: " + ", ".join(f"{value:.2f}" for value in row) for arm, row in mean.items())
    summary = f"survival is off the formula by at most {off:.1f} standard errors; after {', '.join(times)}: {told}"
    return verdict_of(off < 4 and first and late, quick), summary


def main() -> None:
    given, base, encode = on_model(__doc__, seeds=3)
    size, times = ((32, 8), (1, 2)) if given.quick else ((SLOTS, UPDATE), AFTER)
    exact = survival(200 if given.quick else 10_000)
    parts = Parts(__file__, given.quick, model=base.fingerprint)
    each = []
    for seed in range(given.seeds):
        text = "It rained on the old house. " * 200 if given.quick else text_of(BOOKS[seed % len(BOOKS)])
        each.append(parts.get(f"{seed}", partial(run, base, encode, text, seed, size, times)))
        print(f"  draw {seed + 1} of {given.seeds}", file=sys.stderr, flush=True)
    arms = {arm: {t: spread([one[arm][t] for one in each]) for t in each[0][arm]} for arm in ARMS}
    verdict, summary = judge(exact, arms, given.quick)
    conclude(
        parts, MemoryLLM, verdict, summary, given.seeds,
        model=Path(given.model).name, chance=round(1 / FACTS, 4), survival=exact, arms=arms,
        slots=SLOTS, update=UPDATE,
    )  # fmt: skip
    dots(parts, arms, tuple(arms[ARMS[0]]), 1 / FACTS)


if __name__ == "__main__":
    main()
