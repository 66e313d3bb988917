"""M+, trained: does a trained retriever bring back what the pool has long dropped, at equal slots in view?

Run: python proofs/m_plus_trained.py

The toy of proofs/memory_llm_trained.py: a small Llama that has learned to write blocks of four facts (a key and a
value) into a pool, 8 slots a block and layer, and to read from it. Then 31 blocks are written, and after 24 further
ones, four times as many as a pool of 48 slots holds, it is asked for the facts of one; right is the value as the
likeliest of all tokens (chance 0.031). Every arm has 64 slots a layer in view: a pool of 64 without a store; a pool of
48, and of the store the 16 that are fetched by a trained retriever, by an untrained one, or by lot. Told beside it:
recall at 16, the share of the two slots that an asked fact was written into, over all layers, that is in view where
they are in the store. The retriever is trained on other facts, by the keys, the model staying as it is.

The steps of the retriever and the rule stood before the runs; those of the model were chosen on seed 100. CPU seconds
are without the training of the models where they were taken up from memory_llm_trained (`--scratch`).
"""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowwave.bench import toys
from slowwave.bench.concluding import Parts, conclude, dots, options, verdict_of
from slowwave.bench.recall_training import spread
from slowwave.state.attending import Attending
from slowwave.state.m_plus import LongState, MPlus

LAYERS, POOL, FETCH, UPDATE, EACH, RANK = 2, 48, 16, 8, 4, 32
BEFORE, LATER = POOL // UPDATE, 4 * POOL // UPDATE
BLOCKS = BEFORE + 1 + LATER
ARMS = ("pool of 64", "trained retriever", "untrained retriever", "by lot")
STEPS, FINDING, TRAINED_ON = (500, 500), 500, 25


def taught(reader: MPlus, seed: int, steps: int) -> list[float]:
    """Train the retriever: questions, asked after a full pool, against the blocks that answer them; first and last
    loss."""
    generator = torch.Generator().manual_seed(500 + seed)
    rows = 16
    optimiser = torch.optim.Adam([*reader.asker.parameters(), *reader.finder.parameters()], lr=3e-3)
    losses = []
    with torch.no_grad():
        pool = reader.write(toys.facts(rows, BEFORE * EACH, generator).flatten(1), reader.init_state(rows, generator))
    for _ in range(steps):
        told = toys.facts(1, rows * EACH, generator).view(rows, EACH, 2)  # no key in two blocks
        which = torch.randint(EACH, (rows,), generator=generator)
        asked = told[torch.arange(rows), which, :1]
        loss = reader.retriever_loss(*reader.examples(asked, told.flatten(1), pool))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    tenth = max(1, steps // 10)
    return [sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth]


def by_lot(state: LongState, generator: torch.Generator) -> LongState:
    """The state with slots of the store in view that were drawn."""
    rows, layers, many = state.chosen.shape
    lots = torch.rand(rows, layers, int(state.stored[0]), generator=generator).argsort(-1)[..., :many].sort(-1).values
    return replace(state, chosen=lots, fetched=torch.full_like(state.fetched, lots.shape[2]))


def in_view(state: LongState, own: Tensor) -> float:
    """Of a fact's own slots (rows, 2, layers, width) that are in the store, the share that is in view."""
    same = (state.long[:, :, None] == own[:, None]).all(-1)  # (rows, stored, 2, layers)
    stored = same.any(1)
    fetched = torch.zeros(same.shape[0], same.shape[1], same.shape[3], dtype=torch.bool)
    fetched.scatter_(1, state.chosen[:, :, : int(state.fetched[0])].transpose(1, 2), True)
    return float((same & fetched[:, :, None]).any(1).sum() / stored.sum().clamp_min(1))


def asked(reader: MPlus, told: Tensor, seed: int, lot: bool) -> dict[str, float]:
    """What is right of the block that was written LATER updates ago, and recall at FETCH."""
    generator, block = torch.Generator().manual_seed(seed), BEFORE * EACH
    state: Any = reader.init_state(len(told), torch.Generator().manual_seed(seed))
    state = reader.write(told[:, : block + EACH].flatten(1), state)
    made = torch.stack([pool.values[:, -UPDATE:] for pool in state.pools], 2)
    state = reader.write(told[:, block + EACH :].flatten(1), state)
    right, found = [], []
    for n in range(EACH):
        ids, targets = toys.asked(told[:, block + n : block + n + 1])
        now: Any = by_lot(state, generator) if lot else reader.recall(ids[:, :1], state)
        right.append(toys.right(reader.logits(ids, now), targets))
        found.append(in_view(now, made[:, 2 * n : 2 * n + 2]))
    return {"right": sum(right) / EACH, "recall at 16": sum(found) / EACH}


def run(seed: int, quick: bool, scratch: Path | None) -> dict[str, Any]:
    """One model, trained and asked: arm -> right and recall; and how the training went."""
    steps = (2, 2) if quick else STEPS
    plain, training = toys.remembering(seed, LAYERS, EACH, POOL + FETCH, TRAINED_ON, steps, scratch)
    base = Attending(plain.base_model.model)  # it stays as it is from here on
    torch.manual_seed(seed)
    fresh = MPlus(base, POOL, UPDATE, 2 * EACH, fetch=FETCH, rank=RANK)
    reader = copy.deepcopy(fresh)
    found = taught(reader, seed, 2 if quick else FINDING)
    told = toys.facts(4 if quick else 64, BLOCKS * EACH, torch.Generator().manual_seed(2_000_000 + seed))
    with torch.no_grad():
        state = plain.write(told.flatten(1), plain.init_state(len(told), torch.Generator().manual_seed(seed)))
        ids, targets = toys.asked(told[:, -EACH:])
        at_once = toys.right(plain.logits(ids, state), targets)
        ids, targets = toys.asked(told[:, BEFORE * EACH : (BEFORE + 1) * EACH])
        arms: dict[str, Any] = {"pool of 64": {"right": toys.right(plain.logits(ids, state), targets)}}
        for arm, one in (("trained retriever", reader), ("untrained retriever", fresh), ("by lot", fresh)):
            arms[arm] = asked(one, told, seed, arm == "by lot")
    return {
        "arms": arms, "right at once": at_once,
        "training": {**training, "of the retriever, at first and at last": found},
    }  # fmt: skip


def judge(arms: dict[str, Any], at_once: float, quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand, of means: with the trained retriever 0.2 more is right than in every other arm,
    and its recall is 0.2 above the others'. Where facts are not right at once, training was too short to tell."""
    mean = {arm: row["right"]["mean"] for arm, row in arms.items()}
    recall = {arm: row["recall at 16"]["mean"] for arm, row in arms.items() if "recall at 16" in row}
    holds = all(
        found["trained retriever"] >= 0.2 + max(value for arm, value in found.items() if arm != "trained retriever")
        for found in (mean, recall)
    )
    told = ", ".join(
        f"{arm} {row['right']['mean']:.2f} [{row['right']['low']:.2f}, {row['right']['high']:.2f}]"
        + (f" with recall at 16 of {recall[arm]:.2f}" if arm in recall else "")
        for arm, row in arms.items()
    )
    summary = f"right after {LATER} further updates: {told}; right at once, with the pool of 64: {at_once:.2f}"
    return verdict_of(holds, quick or at_once < 0.5), summary


def main() -> None:
    given = options(__doc__, seeds=(3, ""), scratch=("", "a folder where memory_llm_trained has kept trained models"))
    torch.set_num_threads(1)
    scratch = Path(given.scratch) if given.scratch else None
    parts = Parts(__file__, given.quick, steps=STEPS, finding=FINDING, layers=LAYERS)
    each = []
    for seed in range(1 if given.quick else given.seeds):
        each.append(parts.get(f"{seed}", partial(run, seed, given.quick, scratch)))
        print(f"  model {seed + 1} of {given.seeds}", file=sys.stderr, flush=True)
    arms = {arm: {key: spread([one["arms"][arm][key] for one in each]) for key in each[0]["arms"][arm]} for arm in ARMS}
    at_once = spread([one["right at once"] for one in each])
    verdict, summary = judge(arms, at_once["mean"], given.quick)
    conclude(
        parts, MPlus, verdict, summary, len(each), chance=round(toys.CHANCE, 4), layers=LAYERS, arms=arms,
        slots={"pool": POOL, "fetched": FETCH}, **{"right at once": at_once},
        steps={"in context": STEPS[0], "with the pool": STEPS[1], "of the retriever": FINDING},
        training=[one["training"] for one in each],
    )  # fmt: skip
    dots(parts, {arm: {"right": row["right"]} for arm, row in arms.items()}, ("right",), toys.CHANCE)


if __name__ == "__main__":
    main()
