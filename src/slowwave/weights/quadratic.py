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
from slowwave.weights.vectors import Named, unflatten

SMALL = 2**20  # parameters that are moved as one vector


class _Springs(torch.autograd.Function):
    """The penalty and its slope at once, since the slope is known: A (w - m)."""

    @staticmethod
    def forward(ctx: Any, rest: float, stiff: list[Tensor], anchors: list[Tensor], *weights: Tensor) -> Tensor:
        away = torch._foreach_sub(list(weights), anchors)
        slopes = torch._foreach_mul(away, stiff)
        ctx.slopes = slopes
        parts = [torch.dot(s.flatten(), d.flatten()) for s, d in zip(slopes, away, strict=True)]
        return 0.5 * torch.stack(parts).sum() + rest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upward: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, *torch._foreach_mul(ctx.slopes, upward))


class _Laid:
    """Stiffness and anchors one after the other, as some parameters are, and room for distances and slopes. The named
    tensors become views into them, so that nothing is held twice.
    """

    def __init__(self, stiffness: Named, anchor: Named, parameters: Mapping[str, Tensor]) -> None:
        for named in (stiffness, anchor):
            for name, w in parameters.items():
                named[name] = widened(named.get(name, torch.zeros_like(w, requires_grad=False)), w.shape)
        self.stiffness, own = self._flat([stiffness[name] for name in parameters])
        self.anchor, theirs = self._flat([anchor[name] for name in parameters])
        stiffness.update(zip(parameters, own, strict=True))
        anchor.update(zip(parameters, theirs, strict=True))
        self.held = own + theirs
        self.away, self.away_parts = self._flat(own)
        self.slope, self.slope_parts = self._flat(own)
        self.rate, self.share = 0.0, torch.zeros(0)  # of the last pull: rate A / (1 + rate A)

    @staticmethod
    def _flat(tensors: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        flat = torch.cat([t.reshape(-1) for t in tensors])
        return flat, unflatten(flat, tensors)

    def fits(self, stiffness: Named, anchor: Named, parameters: Mapping[str, Tensor]) -> bool:
        """Whether nobody has put in others since."""
        now = [*map(stiffness.get, parameters), *map(anchor.get, parameters)]
        if len(now) != len(self.held) or any(a is not b for a, b in zip(now, self.held, strict=True)):
            return False
        return all(a.shape == w.shape for a, w in zip(self.held, parameters.values(), strict=False))


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
        self._laid: _Laid | None = None

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
        held = [name for name in self.stiffness if name in parameters]
        if not held:
            return torch.tensor(self.rest)
        weights = [parameters[name] for name in held]
        for name, w in zip(held, weights, strict=True):
            if self.stiffness[name].shape != w.shape:
                self.stiffness[name] = widened(self.stiffness[name], w.shape)
                self.anchor[name] = widened(self.anchor[name], w.shape)
        stiff, anchors = ([part[name] for name in held] for part in (self.stiffness, self.anchor))
        total: Tensor = _Springs.apply(self.rest, stiff, anchors, *weights)  # type: ignore[no-untyped-call]
        return total

    @torch.no_grad()
    def slopes(self, parameters: Mapping[str, Tensor], factor: float = 1.0) -> tuple[float, list[Tensor]]:
        """`factor` times the penalty, and its slope on each of these parameters; what is given back holds until the
        next call.
        """
        laid = self._lay(parameters)
        torch._foreach_copy_(laid.away_parts, list(parameters.values()))
        laid.away.sub_(laid.anchor)
        torch.mul(laid.away, laid.stiffness, out=laid.slope)
        value = 0.5 * torch.dot(laid.away, laid.slope).item() + self.rest
        laid.slope.mul_(factor)
        return factor * value, laid.slope_parts

    @torch.no_grad()
    def pull(self, parameters: Mapping[str, Tensor], rate: float) -> None:
        """An implicit step of this rate down the penalty, in place: w = (w + rate A m) / (1 + rate A)."""
        if sum(w.numel() for w in parameters.values()) > SMALL:  # tensor by tensor: no room beside the model is taken
            for name, w in parameters.items():
                if name in self.stiffness:
                    stiff, anchor = (widened(part[name], w.shape) for part in (self.stiffness, self.anchor))
                    w.add_(rate * stiff * anchor).div_(1 + rate * stiff)
            return
        laid = self._lay(parameters)
        if laid.rate != rate:
            laid.rate, laid.share = rate, rate * laid.stiffness / (1 + rate * laid.stiffness)
        weights = list(parameters.values())
        torch._foreach_copy_(laid.away_parts, weights)
        torch.mul(laid.away.sub_(laid.anchor), laid.share, out=laid.slope)
        torch._foreach_sub_(weights, laid.slope_parts)

    def _lay(self, parameters: Mapping[str, Tensor]) -> _Laid:
        if self._laid is None or not self._laid.fits(self.stiffness, self.anchor, parameters):
            self._laid = _Laid(self.stiffness, self.anchor, parameters)
        return self._laid

    def stiffest(self) -> float:
        """The largest A."""
        return max((float(part.max()) for part in self.stiffness.values() if part.numel()), default=0.0)

    def state(self) -> dict[str, Any]:
        """For a snapshot."""
        return {"stiffness": dict(self.stiffness), "anchor": dict(self.anchor), "rest": self.rest}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.stiffness, self.anchor, self.rest = dict(state["stiffness"]), dict(state["anchor"]), float(state["rest"])
