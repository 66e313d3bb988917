"""Examples kept for replay in a fixed room: which stay is the policy; each with its label, task, age and old logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from slowwave.errors import InputError
from slowwave.weights.batch import IGNORED, PAD, Batch, widened

Policy = Literal["reservoir", "balanced", "by-task", "largest", "ring"]


class Buffer:
    """At most `capacity` examples; adding one and drawing one cost the same however many came before.

    policy  "reservoir": each example of the past is in it with equal chance (Vitter 1985); "balanced": classes have
            equal shares, within which each example of the past has an equal chance (Chrysakis and Moens 2020);
            "by-task": tasks have equal shares, likewise; "largest": each new one comes in, and a random one of the
            largest class leaves; "ring": the oldest leaves

    >>> buffer = Buffer(2, "ring")
    >>> buffer.add(Batch(torch.zeros(3, 4), torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.int64)), step=0)
    >>> buffer.everything().y.tolist()
    [2, 1]
    """

    def __init__(self, capacity: int, policy: Policy = "reservoir", seed: int = 0) -> None:
        if capacity < 1:
            raise InputError(f"a buffer of {capacity} examples holds nothing; give a capacity of at least 1")
        if policy not in get_args(Policy):
            raise InputError(f"no policy {policy!r} for a buffer; there are {', '.join(get_args(Policy))}")
        self.capacity, self.policy, self.seed = capacity, policy, seed
        self.seen = 0
        self._filled = 0
        self._rng = np.random.default_rng(seed)
        self._parts: dict[str, Tensor] = {}
        self._places: dict[int, list[int]] = {}  # group -> the slots it has
        self._met: dict[int, int] = {}  # group -> how many of it came

    def __len__(self) -> int:
        return self._filled

    @property
    def bytes(self) -> int:
        """Of the tensors held, free room included."""
        return sum(part.numel() * part.element_size() for part in self._parts.values())

    def add(self, batch: Batch, step: int, logits: Tensor | None = None) -> None:
        """Offer examples; replayed ones among them are passed over.

        step    of the learner, kept as their age
        logits  (n, ...) what the model says of them now, to be kept with them
        """
        rows: dict[str, Tensor] = {"x": batch.x, "y": batch.y, "task": batch.task}
        rows["age"] = torch.full((len(batch),), step, dtype=torch.int64)
        if logits is not None:
            rows["logits"] = logits.detach().float()
        self._make_room(rows)
        if self.policy == "ring" and batch.replayed is None:
            self._wind(rows, len(batch))
            return
        by_class = batch.y.ndim == 1 and self.policy != "by-task" and not batch.y.is_floating_point()
        labels = (batch.y if by_class else batch.task).tolist()
        kept: dict[int, int] = {}  # slot -> the last that came into it
        for place in torch.nonzero(~batch.old).flatten().tolist():
            slot = self._slot(int(labels[place]))
            self.seen += 1
            if slot is not None:
                kept[slot] = place
        if not kept:
            return
        slots, places = torch.tensor(list(kept)), torch.tensor(list(kept.values()))
        for name, row in rows.items():
            value, store = row[places], self._parts[name]
            filler = {"x": PAD, "y": IGNORED}.get(name, 0)
            shape = (len(places), *store.shape[1:])
            store[slots] = value if value.shape == shape else widened(value, shape, filler)

    def _wind(self, rows: Mapping[str, Tensor], many: int) -> None:
        """All of them into a ring, one after the other, of which the last stay."""
        kept = torch.arange(max(0, many - self.capacity), many)
        slots = (kept + self.seen) % self.capacity
        for name, row in rows.items():
            value, store = row[kept], self._parts[name]
            filler = {"x": PAD, "y": IGNORED}.get(name, 0)
            store[slots] = widened(value, (len(kept), *store.shape[1:]), filler)
        self.seen += many
        self._filled = min(self.capacity, self._filled + many)

    def _slot(self, group: int) -> int | None:
        """Where the next example goes; None if it is not kept."""
        self._met[group] = self._met.get(group, 0) + 1
        if self._filled < self.capacity:
            slot = self._filled
            self._filled += 1
            self._places.setdefault(group, []).append(slot)
            return slot
        if self.policy == "ring":
            return self.seen % self.capacity
        if self.policy == "reservoir":
            slot = int(self._rng.integers(self.seen + 1))
            return slot if slot < self.capacity else None
        largest = max(self._places, key=lambda c: len(self._places[c]))
        own = len(self._places.get(group, ()))
        if own >= len(self._places[largest]):  # its own group is as large as any: it takes the place of one of its kind
            if self.policy != "largest" and self._rng.integers(self._met[group]) >= own:
                return None
            largest = group
        slots = self._places[largest]
        slot = slots.pop(int(self._rng.integers(len(slots))))
        self._places.setdefault(group, []).append(slot)
        return slot

    def _make_room(self, rows: Mapping[str, Tensor]) -> None:
        for name, row in rows.items():
            filler = {"x": PAD, "y": IGNORED, "logits": float("nan")}.get(name, 0)
            shape = (self.capacity, *row.shape[1:])
            old = self._parts.get(name)
            if old is None:
                self._parts[name] = torch.full(shape, filler, dtype=row.dtype)
            elif old.shape[1:] != row.shape[1:]:
                grown = (self.capacity, *(max(a, b) for a, b in zip(old.shape[1:], row.shape[1:], strict=True)))
                self._parts[name] = widened(old, grown, filler)

    def sample(self, many: int, rng: np.random.Generator) -> Batch:
        """So many, drawn evenly without putting back; all of them if it holds fewer."""
        if not self._filled:
            raise InputError("the buffer is empty; add examples before sampling")
        chosen = rng.permutation(self._filled)[:many] if many < self._filled else np.arange(self._filled)
        return self._at(torch.from_numpy(chosen))

    def everything(self) -> Batch:
        """All that it holds, by slot."""
        return self._at(torch.arange(self._filled))

    def _at(self, slots: Tensor) -> Batch:
        parts = {name: part[slots] for name, part in self._parts.items()}
        return Batch(**parts, replayed=torch.ones(len(slots), dtype=torch.bool))

    def state(self) -> dict[str, Any]:
        """All that a snapshot needs, the generator included."""
        return {
            "parts": dict(self._parts), "seen": self.seen, "filled": self._filled,
            "places": {k: list(v) for k, v in self._places.items()}, "met": dict(self._met),
            "rng": self._rng.bit_generator.state,
        }  # fmt: skip

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self._parts = {name: part.clone() for name, part in state["parts"].items()}
        self.seen, self._filled = state["seen"], state["filled"]
        self._places = {k: list(v) for k, v in state["places"].items()}
        self._met = dict(state.get("met", {k: len(v) for k, v in self._places.items()}))
        self._rng.bit_generator.state = state["rng"]
