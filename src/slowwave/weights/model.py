"""A small classifier with a backbone and a head that grows, and parameters chosen by exact module names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.errors import InputError

ATTENTION = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "c_attn"})
GATE_AND_UP = frozenset({"gate_proj", "up_proj", "gate_up_proj"})
DOWN = frozenset({"down_proj"})


@runtime_checkable
class Growing(Protocol):
    """A classifier whose head takes further classes."""

    def grow(self, classes: int) -> None: ...


@runtime_checkable
class Featured(Protocol):
    """A classifier that shows its last features, which methods on features need."""

    head: nn.Linear

    def features(self, x: Tensor) -> Tensor: ...


class Classifier(nn.Module):
    """A perceptron: (n, inputs) or (n, ...) float32 -> (n, classes) logits. `lower` and `upper` are its two parts.

    inputs      values of an example
    hidden      widths
    classes     at first; `grow` adds more
    activation  after each hidden layer; a callable, or one of "relu", "tanh"
    cut         how many hidden layers are the lower part
    bias        of the head

    >>> Classifier(4, hidden=(8,), classes=3)(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int] = (256, 256),
        classes: int = 10,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        cut: int = 1,
        bias: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        named = {"relu": torch.relu, "tanh": torch.tanh}
        if isinstance(activation, str) and activation not in named:
            raise InputError(f"no activation {activation!r}; give relu, tanh or a callable")
        self.activation = named[activation] if isinstance(activation, str) else activation
        self.activations: dict[int, Callable[[Tensor], Tensor]] = {}  # of single layers, where they have another
        self.inputs, self.cut = inputs, cut
        widths = [inputs, *hidden]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
            self.head = nn.Linear(widths[-1], classes, bias=bias)

    def lower(self, x: Tensor) -> Tensor:
        """(n, ...) -> (n, width) after the first `cut` hidden layers."""
        if x.numel() != len(x) * self.inputs:
            raise InputError(
                f"an example has {x.numel() // max(1, len(x))} values, and this classifier takes {self.inputs}; build "
                f"it with inputs={x.numel() // max(1, len(x))}"
            )
        return self._through(x.flatten(1), range(min(self.cut, len(self.layers))))

    def upper(self, x: Tensor) -> Tensor:
        """(n, width) -> (n, classes), from where `lower` ends."""
        return self.head(self._through(x, range(self.cut, len(self.layers))))  # type: ignore[no-any-return]

    def _through(self, x: Tensor, places: Iterable[int]) -> Tensor:
        for place in places:
            x = self.activations.get(place, self.activation)(self.layers[place](x))
        return x

    def features(self, x: Tensor) -> Tensor:
        """(n, width) what the head sees."""
        return self._through(self.lower(x), range(self.cut, len(self.layers)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))  # type: ignore[no-any-return]

    def grow(self, classes: int) -> None:
        """Room for more classes; those that there are keep their weights, and the parameters their identity."""
        head = self.head
        more = classes - head.out_features
        if more <= 0:
            return
        new = torch.empty(more, head.in_features).uniform_(
            -1 / math.sqrt(head.in_features),
            1 / math.sqrt(head.in_features),
            generator=torch.Generator().manual_seed(0),
        )
        head.weight.data = torch.cat([head.weight.data, new])
        head.weight.grad = None
        if head.bias is not None:
            head.bias.data = torch.cat([head.bias.data, torch.zeros(more)])
            head.bias.grad = None
        head.out_features = classes


def featured(model: nn.Module, who: str) -> Featured:
    """The model as one that shows its features."""
    if not isinstance(model, Featured):
        raise InputError(
            f"{who} works on features, and a {type(model).__name__} has no features(x) and head; "
            "give slowwave.weights.Classifier or a module with both"
        )
    return model


def named(model: nn.Module, modules: Iterable[str]) -> list[str]:
    """The names of the parameters that belong to modules of one of these names. A name is a whole part of a path, so
    "layers.1" does not mean "layers.10".
    """
    wanted = [tuple(name.split(".")) for name in modules]
    found = []
    for name, _ in model.named_parameters():
        path = tuple(name.split("."))
        if any(path[i : i + len(want)] == want for want in wanted for i in range(len(path) - len(want) + 1)):
            found.append(name)
    return found


def train_only(model: nn.Module, names: Iterable[str]) -> int:
    """Only these parameters are trained from now on; returns how many values that is."""
    chosen = set(names)
    unknown = chosen - {name for name, _ in model.named_parameters()}
    if unknown:
        raise InputError(f"the model has no parameter {sorted(unknown)[0]!r} ({len(unknown)} of {len(chosen)} unknown)")
    if not chosen:
        raise InputError("nothing would be left to train; name modules that the model has")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)
    return sum(p.numel() for n, p in model.named_parameters() if n in chosen)


def blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The path and the list of a network's repeated blocks: its longest list of modules."""
    lists = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.ModuleList)]
    if not lists:
        raise InputError(f"a {type(model).__name__} has no list of blocks")
    return max(lists, key=lambda item: len(item[1]))


def distil(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """(n,) Kullback-Leibler divergence of the student from the teacher, in nats; logits (n, ..., classes)."""
    log_s = F.log_softmax(student / temperature, -1)
    log_t = F.log_softmax(teacher / temperature, -1)
    each = (log_t.exp() * (log_t - log_s)).sum(-1)
    return each if each.ndim == 1 else each.flatten(1).mean(1)
