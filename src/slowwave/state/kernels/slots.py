"""A pool of slots a row: append, drop at random or the oldest, keep ages; randomness that belongs to the state.

Each row draws from its own seed and its own count of draws, so that a result does not depend on the neighbours in the
batch, and goes on after loading as if nothing had been.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from slowwave.state.packing import take
from slowwave.state.values import State


@dataclass(frozen=True)
class Slots(State):
    """values (batch, slots, ...); there (batch, slots) bool, in front; age (batch, slots) int64, appends since a slot
    came; seed and draws (batch,) int64."""

    values: Tensor
    there: Tensor
    age: Tensor
    seed: Tensor
    draws: Tensor


def empty_slots(
    batch: int, slots: int, *shape: int, dtype: torch.dtype | None = None, generator: torch.Generator | None = None
) -> Slots:
    """Room for so many slots a row; the seeds come from the generator."""
    return Slots(
        torch.zeros(batch, slots, *shape, dtype=dtype),
        torch.zeros(batch, slots, dtype=torch.bool),
        torch.zeros(batch, slots, dtype=torch.int64),
        torch.randint(2**62, (batch,), generator=generator),
        torch.zeros(batch, dtype=torch.int64),
    )


def row_random(seed: Tensor, draws: Tensor, count: int) -> Tensor:
    """(batch, count) uniform numbers in [0, 1), each row from its own seed and count of draws."""
    rows = []
    for one, drawn in zip(seed.tolist(), draws.tolist(), strict=True):
        own = torch.Generator().manual_seed((one * 6364136223846793005 + drawn * 1442695040888963407) % 2**63)
        rows.append(torch.rand(count, generator=own, dtype=torch.float64))
    return torch.stack(rows).to(seed.device) if rows else torch.zeros(0, count, dtype=torch.float64)


def append_slots(
    pool: Slots, new: Tensor, drop: Literal["random", "oldest"] = "random", there: Tensor | None = None
) -> tuple[Slots, Tensor, Tensor, Tensor]:
    """Put new values at the end; where they do not fit, drop as many of the old.

    new      (batch, count, ...), count at most the pool's size
    there    (batch, count) bool, those that are; they must stand in front
    returns  the new pool; what was dropped (batch, count, ...), which of it is (batch, count), and how old it was
    """
    size, count = pool.there.shape[1], new.shape[1]
    there = torch.ones(new.shape[:2], dtype=torch.bool, device=new.device) if there is None else there
    held, coming = pool.there.sum(1), there.sum(1)
    drops = (held + coming - size).clamp_min(0)
    order = pool.age.to(torch.float64) if drop == "oldest" else row_random(pool.seed, pool.draws, size)
    order = order.masked_fill(~pool.there, -1.0)  # places that hold nothing are never dropped
    rank = torch.argsort(torch.argsort(order, dim=1, descending=True, stable=True), dim=1)
    dropped = (rank < drops[:, None]) & pool.there
    out_order = torch.argsort((~dropped).to(torch.uint8), dim=1, stable=True)[:, :count]
    lost = take(pool.values, out_order)
    lost_there = torch.arange(count, device=new.device) < dropped.sum(1)[:, None]
    stays = pool.there & ~dropped
    joined = torch.cat([pool.values, new.to(pool.values.dtype)], 1)
    joined_there = torch.cat([stays, there], 1)
    older = pool.age + (coming > 0).to(torch.int64)[:, None]
    joined_age = torch.cat([older, torch.zeros_like(there, dtype=torch.int64)], 1)
    front = torch.argsort((~joined_there).to(torch.uint8), dim=1, stable=True)[:, :size]
    kept_there = take(joined_there, front)
    kept_age = take(joined_age, front) * kept_there.to(torch.int64)
    draws = pool.draws + (drops > 0).to(torch.int64)
    values = take(joined, front)
    values = values * kept_there.view(*kept_there.shape, *[1] * (values.dim() - 2)).to(values.dtype)
    new_pool = replace(pool, values=values, there=kept_there, age=kept_age, draws=draws)
    return new_pool, lost, lost_there, take(older, out_order)


def append_slots_reference(
    pool: Slots, new: Tensor, drop: Literal["random", "oldest"] = "random", there: Tensor | None = None
) -> tuple[Slots, list[Tensor], list[list[int]]]:
    """The same row by row, slot by slot: the new pool, what each row dropped, and how old that was."""
    size = pool.there.shape[1]
    values, age = torch.zeros_like(pool.values), torch.zeros_like(pool.age)
    held, draws = torch.zeros_like(pool.there), pool.draws.clone()
    lost, ages = [], []
    for row in range(len(new)):
        coming = [one for n, one in enumerate(new[row]) if there is None or bool(there[row, n])]
        old = [n for n in range(size) if bool(pool.there[row, n])]
        older = {n: int(pool.age[row, n]) + (1 if coming else 0) for n in old}
        drops = max(0, len(old) + len(coming) - size)
        lots = row_random(pool.seed[row : row + 1], pool.draws[row : row + 1], size)[0].tolist()
        first = sorted(old, key=lambda n, own=older, lots=lots: (-(own[n] if drop == "oldest" else lots[n]), n))  # type: ignore[misc]
        gone = sorted(first[:drops])
        stay = [(pool.values[row, n], older[n]) for n in old if n not in gone] + [(one, 0) for one in coming]
        for n, (one, years) in enumerate(stay):
            values[row, n], age[row, n], held[row, n] = one, years, True
        draws[row] += drops > 0
        lost.append(pool.values[row, gone])
        ages.append([older[n] for n in gone])
    return Slots(values, held, age, pool.seed, draws), lost, ages
