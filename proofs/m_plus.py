"""M+: does a trained retriever bring back what the pool has long dropped, at equal slots in view?

Run: python proofs/m_plus.py --model smollm2-135m.gguf

Around a model that was not trained for it, whose slots hold what goes into a layer (`keeps="in"`). A block with five
sentences such as "The secret of the copper lighthouse is honey." is written, then 16 blocks of 64 tokens of a novel,
which is four times as many as the pool of 256 slots holds. Each sentence is asked for by its first words; the answer
is right when its value is the likeliest of the five (chance 0.2). Every arm has 512 slots a layer in view: a pool of
512 without a store; a pool of 256, and of the store the 256 that are fetched by a trained retriever, by an untrained
one, or by lot. The retriever is trained on other sentences, with other words, in passages of another novel. Beside the
answers it is told which share of the slots that still exist of the five sentences is in view.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowwave.bench.concluding import Parts, conclude, dots, on_model, verdict_of
from slowwave.bench.planted import found, invented, text_of
from slowwave.bench.recall_training import spread
from slowwave.state.attending import Attending, Look
from slowwave.state.m_plus import LongState, MPlus
from slowwave.state.memory_llm import MemoryLLM

UPDATE, POOL, FETCH, FACTS, LATER = 64, 256, 256, 5, 16
ARMS = ("pool of 512", "trained retriever", "untrained retriever", "by lot")
BOOKS = ("carroll-alice-s-adventures-in-wonderland", "bronte-jane-eyre", "doyle-the-sign-of-the-four")
TRAINING = "defoe-robinson-crusoe"
SUBJECTS = (
    "teacher", "sailor", "baker", "captain", "doctor", "painter", "farmer", "widow", "soldier", "clerk", "nurse",
    "king", "tailor", "miller", "judge", "thief",
)  # fmt: skip
KINDS = ("name", "hat", "song", "letter", "horse", "debt", "answer", "dream")
ANSWERS = ("blue", "seven", "Paris", "broken", "Maria", "wooden", "nine", "green", "London", "lost", "empty", "Peter")


class Entering(Look):
    """Notes what enters each layer."""

    def __init__(self, base: Attending) -> None:
        super().__init__(base)
        self.hidden: list[Tensor] = []

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        self.hidden.append(hidden)
        return hidden


def entering(base: Attending, ids: list[int]) -> Tensor:
    """(1, time, layers, width): what enters each layer."""
    look = Entering(base)
    with torch.no_grad():
        base.through(torch.tensor([ids]), look)
    return torch.stack(look.hidden, 2)


def taught(reader: MPlus, encode: Any, words: list[str], seed: int, examples: int, steps: int) -> list[float]:
    """Train the retriever: a question's first words against the sentence that they begin, and against other slots."""
    rng = random.Random(500 + seed)
    base, seen = reader.base_model, []
    for _ in range(examples):
        first = f"\n\nThe {rng.choice(KINDS)} of the {rng.choice(SUBJECTS)} is"
        start = rng.randrange(len(words) - 100)
        before, told = encode(" ".join(words[start : start + 60]))[:40], encode(f"{first} {rng.choice(ANSWERS)}.")
        whole = entering(base, before + told)
        seen.append((entering(base, encode(first)), whole[:, len(before) :], whole[:, : len(before)]))
    optimiser = torch.optim.Adam([*reader.asker.parameters(), *reader.finder.parameters()], lr=2e-3)
    losses = []
    for _ in range(steps):
        mine, other = rng.sample(range(examples), 2)
        wrong = torch.cat([seen[mine][2], seen[other][1], seen[other][2]], 1)
        loss = reader.retriever_loss(seen[mine][0], seen[mine][1], wrong)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    tenth = max(1, steps // 10)
    return [sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth]


def by_lot(state: LongState, generator: torch.Generator) -> LongState:
    """The state with slots of the store in view that were drawn."""
    many = min(state.chosen.shape[2], int(state.stored[0]))
    chosen = torch.full_like(state.chosen, -1)
    for layer in range(chosen.shape[1]):
        chosen[0, layer, :many] = torch.randperm(int(state.stored[0]), generator=generator)[:many].sort().values
    return replace(state, chosen=chosen, fetched=torch.full_like(state.fetched, many))


def in_view(state: LongState, first: int) -> float:
    """Of the stored slots that were written by update `first`, the share that is in view, over all layers."""
    born = state.born[0].t()  # (layers, stored)
    mine = born == first
    picked = torch.zeros_like(mine)
    for layer, chosen in enumerate(state.chosen[0]):
        picked[layer, chosen[chosen >= 0]] = True
    return float((mine & picked).sum() / mine.sum().clamp_min(1))


def run(base: Attending, encode: Any, text: str, training: str, seed: int, quick: bool) -> dict[str, Any]:
    """One draw: arm -> what was answered; and how the retriever did."""
    update, pool, fetch, later = (8, 16, 8, 4) if quick else (UPDATE, POOL, FETCH, LATER)
    rng = random.Random(seed)
    facts = invented(rng, FACTS)
    told = [i for asked, value in facts for i in encode(f"{asked}{value}.")]
    words = text.split()
    start = rng.randrange(len(words) - 2 * (later + 1) * update)
    more = encode(" ".join(words[start : start + 2 * (later + 1) * update]))
    told += more[: max(0, update - len(told))]
    stream = torch.tensor([told + more[update : update * (later + 1)]])
    asked = [(torch.tensor([encode(words)]), encode(value)[0]) for words, value in facts]
    values = [value for _, value in asked]
    plain = MemoryLLM(base, slots=pool + fetch, update=update, block=update, keeps="in")
    torch.manual_seed(seed)
    settings: dict[str, Any] = {"slots": pool, "update": update, "block": update, "keeps": "in", "fetch": fetch}
    fresh, reader = MPlus(base, **settings), MPlus(base, **settings)
    losses = taught(reader, encode, training.split(), seed, 3 if quick else 48, 2 if quick else 150)
    out: dict[str, Any] = {"loss": losses}
    with torch.no_grad():
        state: Any = plain.write(stream, plain.init_state(1, torch.Generator().manual_seed(seed)))
        answers = [found(plain.logits(prompt, state)[0, -1], value, values) for prompt, value in asked]
        out["pool of 512"] = {"right": sum(row["right"] for row in answers) / len(answers)}
        for arm, one in (("trained retriever", reader), ("untrained retriever", fresh), ("by lot", fresh)):
            state = one.write(stream, one.init_state(1, torch.Generator().manual_seed(seed)))
            lots, answers, shares = torch.Generator().manual_seed(seed), [], []
            for prompt, value in asked:
                now: Any = by_lot(state, lots) if arm == "by lot" else one.recall(prompt, state)
                answers.append(found(one.logits(prompt, now)[0, -1], value, values))
                shares.append(in_view(now, 0))
            out[arm] = {
                "right": sum(row["right"] for row in answers) / len(answers),
                "in view": sum(shares) / len(shares),
            }
    return out


def judge(arms: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: the trained retriever answers more than every other arm on average, by 0.2."""
    mean = {arm: row["right"]["mean"] for arm, row in arms.items()}
    others = max(value for arm, value in mean.items() if arm != "trained retriever")
    told = ", ".join(
        f"{arm} {row['right']['mean']:.2f} [{row['right']['low']:.2f}, {row['right']['high']:.2f}]"
        + (f" with {row['in view']['mean']:.2f} of their slots in view" if "in view" in row else "")
        for arm, row in arms.items()
    )
    return verdict_of(mean["trained retriever"] >= others + 0.2, quick), f"answered after 16 more updates: {told}"


def main() -> None:
    given, base, encode = on_model(__doc__, seeds=3)
    rain = "It rained on the old house. " * 200
    parts = Parts(__file__, given.quick, model=base.fingerprint)
    each = []
    for seed in range(given.seeds):
        text, training = (rain, rain) if given.quick else (text_of(BOOKS[seed % len(BOOKS)]), text_of(TRAINING))
        each.append(parts.get(f"{seed}", partial(run, base, encode, text, training, seed, given.quick)))
        print(f"  draw {seed + 1} of {given.seeds}", file=sys.stderr, flush=True)
    arms = {arm: {key: spread([one[arm][key] for one in each]) for key in each[0][arm]} for arm in ARMS}
    verdict, summary = judge(arms, given.quick)
    conclude(
        parts, MPlus, verdict, summary, given.seeds,
        model=Path(given.model).name, chance=1 / FACTS, arms=arms, slots={"pool": POOL, "fetched": FETCH},
        **{"the retriever's loss, at first and at last": [one["loss"] for one in each]},
    )  # fmt: skip
    dots(parts, {arm: {"answered": row["right"]} for arm, row in arms.items()}, ("answered",), 1 / FACTS)


if __name__ == "__main__":
    main()
