"""Gradients of each example, or of each group of them, where all that is trained are linear layers: from one pass.

A linear layer's gradient of one example is the outer product of what came back to its output and what went into it, so
that squares and groups of gradients are products of two small matrices. Other networks take the general way.

A step of cross-entropy on a perceptron of ReLUs is written out too (`forwards`, `cross_entropy`, `backwards`): there
autograd's own work is as long as that of the matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from slowwave.weights.model import Classifier

aten: Any = torch.ops.aten
Affine = tuple[Tensor, Tensor | None]  # weight (outputs, inputs) and bias (outputs,)
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


def plain_layers(model: nn.Module, trained: list[nn.Parameter]) -> list[nn.Linear] | None:
    """The layers of a perceptron of ReLUs all of which is trained, in this order; None for any other model."""
    if type(model) is not Classifier or model.activation is not torch.relu or model.activations:
        return None
    layers = [*model.layers, model.head]
    if any(type(layer) is not nn.Linear for layer in layers):
        return None
    own = [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
    same = len(own) == len(trained) and all(a is b for a, b in zip(own, trained, strict=True))
    return layers if same and all(p.dtype == torch.float32 for p in own) else None


def hooked(model: nn.Module, layers: list[nn.Linear]) -> bool:
    """Whether somebody looks at what passes, so that it has to pass."""
    return any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in (model, *layers))


def forwards(weights: Sequence[Affine], x: Tensor) -> list[Tensor]:
    """What each layer is given, ReLUs between them, and the logits last; x (n, ...) float32.

    This and what follows is for `torch.no_grad()`.
    """
    passed, last = [x.flatten(1)], len(weights) - 1
    for place, (weight, bias) in enumerate(weights):
        out = torch.nn.functional.linear(passed[-1], weight, bias)
        passed.append(out if place == last else out.relu_())
    return passed


def cross_entropy(logits: Tensor, y: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """The mean loss, and `factor` times its slope (n, classes)."""
    likely = logits.log_softmax(1)
    mean, total = aten.nll_loss_forward.default(likely, y, None, 1, -100)
    slope = aten.nll_loss_backward.default(mean.new_full((), factor), likely, y, None, 1, -100, total)
    return mean, aten._log_softmax_backward_data.default(slope, likely, 1, likely.dtype)


def backwards(weights: Sequence[Affine], passed: Sequence[Tensor], slope: Tensor) -> list[Tensor]:
    """The slope of each layer's output, given that of the logits."""
    slopes = [slope]
    for place in range(len(weights) - 1, 0, -1):
        slopes.append(aten.threshold_backward.default(slopes[-1] @ weights[place][0], passed[place], 0))
    return slopes[::-1]


def gradients(
    weights: Sequence[Affine], passed: Sequence[Tensor], slopes: Sequence[Tensor], flat: bool = False
) -> tuple[list[Tensor], Tensor | None]:
    """Of each weight and bias, in the order of `plain_layers`; if `flat`, as views into one vector, which comes too."""
    if not flat:
        grads = []
        for (_, bias), given, slope in zip(weights, passed, slopes, strict=False):
            grads.append(slope.T @ given)
            if bias is not None:
                grads.append(slope.sum(0))
        return grads, None
    own = [part for affine in weights for part in affine if part is not None]
    sizes = [part.numel() for part in own]
    whole = torch.empty(sum(sizes))
    views = [part.view(like.shape) for part, like in zip(whole.split_with_sizes(sizes), own, strict=True)]
    places = iter(views)
    for (_, bias), given, slope in zip(weights, passed, slopes, strict=False):
        torch.mm(slope.T, given, out=next(places))
        if bias is not None:
            torch.sum(slope, 0, out=next(places))
    return views, whole


def grouped(weights: Sequence[Affine], passed: Sequence[Tensor], slopes: Sequence[Tensor], groups: int) -> Tensor:
    """(groups, parameters): the same for each of as many equal stretches of the rows, flat."""
    parts = []
    for (_, bias), given, slope in zip(weights, passed, slopes, strict=False):
        d = slope.view(groups, -1, slope.shape[1])
        parts.append((d.transpose(1, 2) @ given.view(groups, -1, given.shape[1])).flatten(1))
        if bias is not None:
            parts.append(d.sum(1))
    return torch.cat(parts, 1)
