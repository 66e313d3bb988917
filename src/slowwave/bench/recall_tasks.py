"""Streams of made-up tokens in which something has to be remembered: what is asked, and what the answer is.

Every task gives ids (batch, time) and targets (batch, time), negative where nothing is asked. Vocabulary: a few marks,
then fillers, then keys, then values. Source of the first: Arora et al. 2023 (multi-query associative recall).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MARKS, FILLERS, KEYS = 4, 8, 32  # then as many values as keys
FIRST_FILLER, FIRST_KEY = MARKS, MARKS + FILLERS
FIRST_VALUE = FIRST_KEY + KEYS
VOCABULARY = FIRST_VALUE + KEYS
COPY, PASS, INFER = 1, 2, 3
NOTHING = -1


def mqar(
    batch: int, generator: torch.Generator, pairs: int = 8, distance: int = 0, again: int = 0
) -> tuple[Tensor, Tensor]:
    """Pairs, fillers, then every key once more in another order: what was its value?

    again  so many of the keys get a new value afterwards; the newest counts (fact updates)
    """
    import torch

    keys, values = _distinct(batch, KEYS, pairs, generator), _distinct(batch, KEYS, pairs, generator)
    said = [torch.stack([keys + FIRST_KEY, values + FIRST_VALUE], 2).flatten(1)]
    if again:
        which = _distinct(batch, pairs, again, generator)
        newer = torch.randint(KEYS, (batch, again), generator=generator)
        values = values.scatter(1, which, newer)
        said.append(torch.stack([keys.gather(1, which) + FIRST_KEY, newer + FIRST_VALUE], 2).flatten(1))
    said.append(_fillers(batch, distance, generator))
    order = _distinct(batch, pairs, pairs, generator)
    ids = torch.cat([*said, keys.gather(1, order) + FIRST_KEY], 1)
    targets = torch.full_like(ids, NOTHING)
    targets[:, -pairs:] = values.gather(1, order) + FIRST_VALUE
    return ids, targets


def passkey(batch: int, generator: torch.Generator, distance: int = 64) -> tuple[Tensor, Tensor]:
    """One marked value somewhere in the noise, asked for at the end."""
    import torch

    noise = _fillers(batch, distance + 2, generator)
    code = torch.randint(KEYS, (batch, 1), generator=generator) + FIRST_VALUE
    at = torch.randint(max(1, distance // 4), (batch, 1), generator=generator)
    noise = noise.scatter(1, at, PASS).scatter(1, at + 1, code)
    ids = torch.cat([noise, torch.full((batch, 1), PASS)], 1)
    targets = torch.full_like(ids, NOTHING)
    targets[:, -1:] = code
    return ids, targets


def copy(batch: int, generator: torch.Generator, length: int = 8, distance: int = 0) -> tuple[Tensor, Tensor]:
    """Values, fillers, a mark, then the same values in the same order, each told once it was guessed."""
    import torch

    values = torch.randint(KEYS, (batch, length), generator=generator) + FIRST_VALUE
    mark = torch.full((batch, 1), COPY)
    ids = torch.cat([values, _fillers(batch, distance, generator), mark, values[:, :-1]], 1)
    targets = torch.full_like(ids, NOTHING)
    targets[:, -length:] = values
    return ids, targets


def inference(batch: int, generator: torch.Generator, triplets: int = 3) -> tuple[Tensor, Tensor]:
    """Paired associates: A goes with B and B with C, told in any order; A and a mark, what is C?

    The asked A stands before the mark, so the answer needs two steps.
    """
    import torch

    names = _distinct(batch, KEYS, 3 * triplets, generator).view(batch, triplets, 3) + FIRST_KEY
    facts = torch.cat([names[:, :, :2], names[:, :, 1:]], 1)  # (batch, 2 triplets, 2)
    order = _distinct(batch, 2 * triplets, 2 * triplets, generator)
    facts = facts.gather(1, order[..., None].expand(-1, -1, 2)).flatten(1)
    asked = torch.stack([names[:, :, 0], torch.full((batch, triplets), INFER)], 2).flatten(1)
    ids = torch.cat([facts, asked], 1)
    targets = torch.full_like(ids, NOTHING)
    targets[:, facts.shape[1] + 1 :: 2] = names[:, :, 2]
    return ids, targets


def _distinct(batch: int, of: int, count: int, generator: torch.Generator) -> Tensor:
    """(batch, count) different numbers below `of` in each row."""
    import torch

    return torch.rand(batch, of, generator=generator).argsort(1)[:, :count]


def _fillers(batch: int, count: int, generator: torch.Generator) -> Tensor:
    import torch

    return torch.randint(FIRST_FILLER, FIRST_KEY, (batch, count), generator=generator)
