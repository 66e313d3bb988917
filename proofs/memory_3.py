"""Memory^3: are a few keys and values of a text as good as the text, in a model that was not trained for them?

Run: python proofs/memory_3.py --model smollm2-135m.gguf

Five passages of a novel, of 128 tokens each with two planted sentences such as "The secret of the copper lighthouse is
honey.", become references. Then each sentence is asked for by its first words; the answer is right when the value is
the likeliest of the ten (chance 0.1). Arms: no memory; the passages in the context; all tokens of the references, in
all layers; 8 of 128 by the attention that they draw, in all layers, and in the first half, as in the paper; 8 by lot.
The paper trains its model with memory for most of its tokens; this one has never seen any.
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
from slowwave.state.memory_3 import Memory3

REFERENCES, LENGTH, EACH = 5, 128, 2
BOOKS = ("doyle-the-sign-of-the-four", "bronte-jane-eyre", "austen-emma", "defoe-robinson-crusoe", "eliot-silas-marner")
FORMS: dict[str, dict[str, Any]] = {
    "all tokens": {"keep": LENGTH, "memory_layers": 1.0},
    "8 of 128, all layers": {"keep": 8, "memory_layers": 1.0},
    "8 of 128, first half": {"keep": 8, "memory_layers": 0.5},
    "8 by lot, all layers": {"keep": 8, "memory_layers": 1.0, "choice_of": "random"},
}
ARMS = ("no memory", "text in context", *FORMS)


def drawn(encode: Any, text: str, seed: int) -> tuple[list[list[int]], list[tuple[list[int], int]]]:
    """References as ids, each with sentences in its middle; and the questions, each with the first id of its value."""
    rng = random.Random(seed)
    facts = invented(rng, REFERENCES * EACH)
    words = text.split()
    references = []
    for n in range(REFERENCES):
        start = rng.randrange(len(words) - 3 * LENGTH)
        around = encode(" ".join(words[start : start + 3 * LENGTH]))
        told = [i for asked, value in facts[EACH * n : EACH * (n + 1)] for i in encode(f"{asked}{value}.\n\n")]
        before = rng.randrange(8, LENGTH - len(told) - 8) if len(told) + 16 < LENGTH else 0
        references.append((around[:before] + told + around[before:])[:LENGTH])
    return references, [(encode(asked), encode(value)[0]) for asked, value in facts]


def run(base: Attending, encode: Any, text: str, seed: int) -> dict[str, dict[str, float]]:
    """Every question under every arm."""
    references, asked = drawn(encode, text, seed)
    values = [value for _, value in asked]
    opening = encode("\n")[:1]
    out: dict[str, list[dict[str, float]]] = {}
    with torch.no_grad():
        for arm, ids in (("no memory", opening), ("text in context", opening + [i for r in references for i in r])):
            cache = plain_cache(base, ids)
            out[arm] = [found(after(base, cache, prompt), value, values) for prompt, value in asked]
        for arm, form in FORMS.items():
            reader = Memory3(base, reference=LENGTH, retrieve=REFERENCES, opening=tuple(opening), **form)
            state = reader.init_state(1)
            generator = torch.Generator().manual_seed(seed)
            for reference in references:
                state = reader.learn(torch.tensor([reference]), state, generator)
            state = reader.chosen(state, torch.arange(REFERENCES)[None])
            out[arm] = [
                found(reader.logits(torch.tensor([prompt]), state)[0, -1], value, values) for prompt, value in asked
            ]
    return {
        arm: {key: sum(row[key] for row in rows) / len(rows) for key in ("right", "said")} for arm, rows in out.items()
    }


def judge(arms: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand, after the paper's: 8 of 128 in the first half are within 0.1 of the text in
    context and above no memory by 0.2, and above those by lot, on average."""
    mean = {arm: row["right"]["mean"] for arm, row in arms.items()}
    chosen = mean["8 of 128, first half"]
    holds = (
        chosen >= mean["text in context"] - 0.1
        and chosen > mean["no memory"] + 0.2
        and chosen > mean["8 by lot, all layers"]
    )
    told = ", ".join(
        f"{arm} {row['right']['mean']:.2f} [{row['right']['low']:.2f}, {row['right']['high']:.2f}]"
        for arm, row in arms.items()
    )
    return verdict_of(holds, quick), f"planted sentences answered, untrained model: {told}"


def main() -> None:
    given, base, encode = on_model(__doc__, seeds=5)
    parts = Parts(__file__, given.quick, model=base.fingerprint)
    each = []
    for seed in range(given.seeds):
        text = "It rained on the old house. " * 200 if given.quick else text_of(BOOKS[seed % len(BOOKS)])
        each.append(parts.get(f"{seed}", partial(run, base, encode, text, seed)))
        print(f"  draw {seed + 1} of {given.seeds}", file=sys.stderr, flush=True)
    arms = {
        arm: {key: spread([one[arm][key] for one in each]) for key in ("right", "said")} for arm in ARMS
    }
    verdict, summary = judge(arms, given.quick)
    shape = (2, base.layers, base.kv_heads, 9, base.dim)
    conclude(
        parts, Memory3, verdict, summary, given.seeds,
        model=Path(given.model).name, chance=1 / (REFERENCES * EACH), arms=arms,
        **{"numbers of a reference, 8 of 128 and the opening, all layers": torch.Size(shape).numel()},
    )  # fmt: skip
    dots(parts, {arm: {"answered": row["right"]} for arm, row in arms.items()}, ("answered",), 1 / (REFERENCES * EACH))


if __name__ == "__main__":
    main()
