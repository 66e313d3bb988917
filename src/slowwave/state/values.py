"""A state as a value: a frozen dataclass of tensors, batch axis first, and what can be done with all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class State:
    """Base of all states. Fields are tensors, states, or tuples of these; axis 0 of every tensor is the batch.

    A state is never changed in place: what changes one returns another, and the old one stays valid.
    """

    def leaves(self) -> dict[str, Tensor]:
        """Every tensor by its dotted name, in a fixed order."""
        return dict(_walk(self, ""))

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same state with every tensor changed."""
        return self.named_map(lambda _, tensor: change(tensor))

    def named_map(self, change: Callable[[str, Tensor], Tensor]) -> Self:
        """The same, where the change sees each tensor's dotted name too."""
        new: Self = _rebuilt(self, change, "")
        return new

    def detach(self) -> Self:
        """The same values; gradients stop here."""
        return self.map(torch.Tensor.detach)

    def select(self, rows: Tensor) -> Self:
        """The rows of these numbers (or where a mask is true), in this order: beams, batch reordering."""
        return self.map(lambda tensor: tensor[rows])

    def where(self, rows: Tensor, other: Self) -> Self:
        """`other` in the rows where the mask (batch,) is true, this state elsewhere, bit for bit.

        Where one of the two has grown longer than the other along an axis, zeros fill the shorter.
        """
        theirs = other.leaves()

        def choose(name: str, mine: Tensor) -> Tensor:
            new = theirs[name]
            if mine.shape != new.shape:
                sizes = [max(a, b) for a, b in zip(mine.shape, new.shape, strict=True)]
                mine, new = _grown(mine, sizes), _grown(new, sizes)
            return torch.where(rows.view(-1, *[1] * (mine.dim() - 1)), new, mine)

        return self.named_map(choose)

    @property
    def batch(self) -> int:
        """How many rows."""
        return next(iter(self.leaves().values())).shape[0]

    @property
    def bytes(self) -> int:
        """Of all tensors, over the whole batch."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.leaves().values())


@dataclass(frozen=True)
class NoState(State):
    """The state of what keeps nothing but how many tokens have passed."""

    position: Tensor  # (batch,) int64


def joined(states: list[Any]) -> Any:
    """States joined along the batch, where some hold more than others: zeros fill the shorter."""
    if len(states) == 1:
        return states[0]
    every = [state.leaves() for state in states]

    def join(name: str, _: Tensor) -> Tensor:
        parts = [leaves[name] for leaves in every]
        sizes = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].dim())]
        return torch.cat([_grown(part, [part.shape[0], *sizes]) for part in parts])

    return states[0].named_map(join)


def _walk(value: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix, value
        return
    if isinstance(value, State):
        parts = [(field.name, getattr(value, field.name)) for field in fields(value)]
    elif isinstance(value, tuple):
        parts = [(str(place), part) for place, part in enumerate(value)]
    else:
        raise TypeError(f"{prefix} of a state is a {type(value).__name__}; tensors, states and tuples of them are held")
    for name, part in parts:
        yield from _walk(part, f"{prefix}.{name}" if prefix else name)


def _rebuilt(value: Any, change: Callable[[str, Tensor], Tensor], prefix: str) -> Any:
    dot = f"{prefix}." if prefix else ""
    if isinstance(value, Tensor):
        return change(prefix, value)
    if isinstance(value, tuple):
        return tuple(_rebuilt(part, change, f"{dot}{place}") for place, part in enumerate(value))
    new = {field.name: _rebuilt(getattr(value, field.name), change, f"{dot}{field.name}") for field in fields(value)}
    return replace(value, **new)


def _grown(tensor: Tensor, sizes: list[int]) -> Tensor:
    if list(tensor.shape) == sizes:
        return tensor
    out = tensor.new_zeros(sizes)
    out[tuple(slice(size) for size in tensor.shape)] = tensor
    return out
