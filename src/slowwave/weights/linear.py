"""Gradients of each example, or of each group of them, where all that is trained are linear layers: from one pass.

A linear layer's gradient of one example is the outer product of what came back to its output and what went into it, so
that squares and groups of gradients are products of two small matrices. Other networks take the general way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Seen = dict[str, tuple[Tensor, Tensor]]  # layer -> (n, inputs) what went in, (n, outputs) what came out


@contextmanager
def watched(model: nn.Module) -> Iterator[Callable[[int], Seen | None]]:
    """Within, linear layers note what passes. Yields a function of the number of rows that gives it, or None where the
    model trains anything but linear layers that are each passed once, by that many rows.
    """
    seen: dict[str, list[tuple[Any, Any]]] = {}
    handles, covered, many_of = [], set(), 0
    for name, module in model.named_modules():
        own = [p for p in module.parameters(recurse=False) if p.requires_grad]
        if own and type(module) is nn.Linear:
            covered |= {id(p) for p in own}
            many_of += len(own)

            def note(_: nn.Module, given: Any, out: Any, name: str = name) -> None:
                seen.setdefault(name, []).append((given[0], out))

            handles.append(module.register_forward_hook(note))
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    whole = trained == covered and many_of == len(covered)  # no weight is tied

    def found(many: int) -> Seen | None:
        passed = all(
            len(calls) == 1 and all(isinstance(part, Tensor) and part.shape[:-1] == (many,) for part in calls[0])
            for calls in seen.values()
        )
        if not (whole and passed and len(seen) == len(handles)):
            return None
        return {name: calls[0] for name, calls in seen.items()}

    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def back(total: Tensor, seen: Seen, keep: bool = False) -> dict[str, tuple[Tensor, Tensor]]:
    """layer -> (n, inputs) what went in, (n, outputs) the slope of `total`, a sum over independent examples."""
    slopes = torch.autograd.grad(total, [out for _, out in seen.values()], retain_graph=keep, allow_unused=True)
    return {
        name: (given.detach(), torch.zeros_like(out) if slope is None else slope)
        for (name, (given, out)), slope in zip(seen.items(), slopes, strict=True)
    }


def _parameters(model: nn.Module, name: str) -> Iterator[tuple[str, bool]]:
    for own, parameter in model.get_submodule(name).named_parameters(recurse=False):
        if parameter.requires_grad:
            yield f"{name}.{own}" if name else own, own == "weight"


def squares(
    model: nn.Module, slopes: dict[str, tuple[Tensor, Tensor]], weights: Tensor | None = None
) -> dict[str, Tensor]:
    """Sum over examples of the squared gradient, each times its weight (n,), by parameter."""
    out = {}
    for name, (given, slope) in slopes.items():
        square = slope.pow(2) if weights is None else slope.pow(2) * weights[:, None]
        for parameter, matrix in _parameters(model, name):
            out[parameter] = square.T @ given.pow(2) if matrix else square.sum(0)
    return out


def rows(model: nn.Module, slopes: dict[str, tuple[Tensor, Tensor]], groups: int = 0) -> Tensor:
    """(n, parameters) each example's gradient, or (groups, parameters) sums over as many equal stretches of them; as
    the model's parameters are ordered.
    """
    parts: dict[str, Tensor] = {}
    for name, (given, slope) in slopes.items():
        many = groups or len(given)
        a, d = given.reshape(many, -1, given.shape[1]), slope.reshape(many, -1, slope.shape[1])
        for parameter, matrix in _parameters(model, name):
            parts[parameter] = (d.transpose(1, 2) @ a).flatten(1) if matrix else d.sum(1)
    return torch.cat([parts[n] for n, p in model.named_parameters() if p.requires_grad], 1)
