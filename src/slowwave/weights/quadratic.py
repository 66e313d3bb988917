"""One quadratic for all penalties on moved weights, however many tasks they come from: its cost does not grow.

A sum of k springs, each with its own anchor, is one spring with the mean anchor, plus a constant:
sum_k a_k (w - m_k)^2 = A (w - m)^2 + rest, A = sum a_k, m = sum a_k m_k / A.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from slowwave.weights.batch import widened
from slowwave.weights.vectors import Named


class Quadratic:
    """1/2 sum_i A_i (w_i - m_i)^2 + rest, over parameters by name.

    >>> spring = Quadratic()
    >>> for anchor in (0.0, 2.0):
    ...     spring.add({"w": torch.ones(1)}, {"w": torch.tensor([anchor])})
    >>> spring({"w": torch.tensor([3.0])}).item()  # half of 9 + 1
    5.0
    """

    def __init__(self) -> None:
        self.stiffness: Named = {}
        self.anchor: Named = {}
        self.rest = 0.0

    def __len__(self) -> int:
        return len(self.stiffness)

    @property
    def bytes(self) -> int:
        """Of the tensors: two as large as the model."""
        return sum(t.numel() * t.element_size() for t in (*self.stiffness.values(), *self.anchor.values()))

    def add(self, stiffness: Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> None:
        """One spring more. A parameter that has grown since gets zeros for what is new in it."""
        for name, more in stiffness.items():
            at = anchor[name].detach()
            old = widened(self.stiffness.get(name, torch.zeros_like(more)), more.shape)
            mean = widened(self.anchor.get(name, torch.zeros_like(at)), at.shape)
            total = old + more
            divisor = torch.where(total > 0, total, torch.ones_like(total))
            self.rest += 0.5 * float((old * more / divisor * (mean - at).pow(2)).sum())
            self.stiffness[name] = total
            self.anchor[name] = torch.where(total > 0, (old * mean + more * at) / divisor, at)

    def move(self, anchor: Mapping[str, Tensor]) -> None:
        """All springs get this anchor."""
        for name in self.stiffness:
            self.anchor[name] = anchor[name].detach().clone()
            self.stiffness[name] = widened(self.stiffness[name], anchor[name].shape)
        self.rest = 0.0

    def scale(self, factor: float) -> None:
        """All springs get weaker or stiffer."""
        self.stiffness = {name: part * factor for name, part in self.stiffness.items()}
        self.rest *= factor

    def __call__(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The penalty, as a scalar with a gradient. Parameters without a spring are free."""
        total: Tensor | None = None
        for name, stiff in self.stiffness.items():
            if name not in parameters:
                continue
            w = parameters[name]
            anchor = self.anchor[name]
            if stiff.shape != w.shape:
                stiff, anchor = widened(stiff, w.shape), widened(anchor, w.shape)
            part = 0.5 * (stiff * (w - anchor).pow(2)).sum()
            total = part if total is None else total + part
        return torch.tensor(self.rest) if total is None else total + self.rest

    def stiffest(self) -> float:
        """The largest A."""
        return max((float(part.max()) for part in self.stiffness.values() if part.numel()), default=0.0)

    def state(self) -> dict[str, Any]:
        """For a snapshot."""
        return {"stiffness": dict(self.stiffness), "anchor": dict(self.anchor), "rest": self.rest}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.stiffness, self.anchor, self.rest = dict(state["stiffness"]), dict(state["anchor"]), float(state["rest"])
