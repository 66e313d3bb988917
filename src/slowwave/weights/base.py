"""What a method of learning without forgetting is: the hooks that it fills in one shared loop, and its atlas row.

A step of the learner asks its methods, in this order: `look`, `pre_step`, `replay`, `forward`, `sample_weights`,
`loss_terms` (or `loss_slopes` in its place), `grad_transform`, `schedule`; the optimiser steps; then `after_step`. A
period (a task, a day) opens with `begin` and closes with `sleep`. A method fills what it needs; several together are
asked in the order they were given.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights.batch import Batch

if TYPE_CHECKING:
    from slowwave.weights.learner import Learner

Order = tuple[NDArray[np.int64], NDArray[np.int64]]  # which sample comes when, and as which view of itself


class Term(NamedTuple):
    """A term of the loss with its slopes: (n, classes) on the logits, and on each of `learner.trainable`."""

    value: float
    on_logits: Tensor | None = None
    on_weights: Sequence[Tensor] | None = None


class Method:
    """A way to learn on without losing what was learned. This one does nothing: plain finetuning.

    Constructor parameters are kept under their names. `keeps` names the attributes that a snapshot has to hold.

    >>> from slowwave.weights import METHODS
    >>> METHODS["ewc"](strength=30.0).parameters()["strength"]
    30.0
    """

    name: ClassVar[str]
    form: ClassVar[str] = "weights"
    paper: ClassVar[str] = ""
    operations: ClassVar[tuple[str, ...]] = ()
    claim: ClassVar[str] = ""
    differs: ClassVar[str] = ""
    proof: ClassVar[str | None] = None
    keeps: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[str] = "any"  # "labels" or "language" where it works on one kind of model alone

    # -- once

    def suited(self, inputs: int, classes: int, seed: int = 0) -> nn.Module | None:
        """A small classifier that the method needs to be shown on; None where any will do."""
        return None

    def prepare(self, learner: Learner) -> None:
        """Look at the model, and change it if need be: freeze, add an adapter or a layer."""

    # -- a period

    def begin(self, learner: Learner) -> None:
        """A period opens; `learner.period` counts them from 0."""

    def material(self, learner: Learner, batch: Batch) -> Batch:
        """What a period trains on, its own examples given."""
        return batch

    def order(self, learner: Learner, many: int, epoch: int, rng: np.random.Generator) -> Order | None:
        """The order of an epoch over `many` samples; None leaves it to others (each once, shuffled)."""
        return None

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        """A period closes: consolidate. `day` holds its examples, or a sample of them on an endless stream."""
        return {}

    # -- a step

    def look(self, learner: Learner, batch: Batch) -> Batch:
        """The new examples as they are to be learned from: augmented, say."""
        return batch

    def pre_step(self, learner: Learner, batch: Batch) -> None:
        """Before all else: the parameters may be moved."""

    def replay(self, learner: Learner, batch: Batch) -> Batch | None:
        """Old examples to learn beside these."""
        return None

    def forward(self, learner: Learner, batch: Batch, training: bool) -> Tensor | None:
        """The logits, in place of those of the model itself; None leaves it to others."""
        return None

    def sample_weights(self, learner: Learner, batch: Batch, losses: Tensor, logits: Tensor) -> Tensor | None:
        """(n,) factors for the losses, before their mean; None for ones."""
        return None

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        """Further terms of the loss, by name, their weights in them."""
        return {}

    def loss_slopes(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Term]:
        """The same terms with their slopes, asked in place of `loss_terms` where a step is written out, that is in a
        perceptron of ReLUs all of which learns. A method that has terms and does not fill this one goes by autograd.
        """
        return {}

    def grad_transform(self, learner: Learner, gradient: Tensor, batch: Batch) -> Tensor:
        """The flat gradient of `learner.trainable`, as the optimiser shall see it."""
        return gradient

    def schedule(self, learner: Learner) -> float:
        """A factor for the learning rate of this step."""
        return 1.0

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        """After the optimiser: store the new examples (those that are not replayed), say."""

    # -- of itself

    def advice(self, learner: Learner) -> str:
        """What may be wrong where the loss is no longer finite; "" if it has no suspicion."""
        return ""

    @property
    def bytes(self) -> int:
        """What it holds beside the model."""
        return sum(size(getattr(self, name)) for name in self.keeps)

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters as they are."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def state(self) -> dict[str, Any]:
        """What a snapshot has to hold: tensors and plain values."""
        out = {}
        for name in self.keeps:
            value = getattr(self, name)
            out[name] = value.state() if hasattr(value, "state") else value
        return out

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        for name, value in state.items():
            target = getattr(self, name)
            if hasattr(target, "load"):
                target.load(value)
            else:
                setattr(self, name, value)


NOT_BELOW_ZERO = frozenset({"strength", "capacity", "many", "keep", "samples", "memories", "slots", "train", "rank"})


def check_parameters(method: Method) -> None:
    """Whether the words and numbers of a method are such as it knows; raises InputError."""
    hints = get_type_hints(type(method).__init__)
    for name, value in method.parameters().items():
        choices = get_args(hints[name]) if get_origin(hints.get(name)) is Literal else ()
        if choices and value not in choices:
            raise InputError(f"{name} of {method.name} is {value!r}; there are {', '.join(map(str, choices))}")
        if name in NOT_BELOW_ZERO and value < 0:
            raise InputError(f"{name} of {method.name} is {value}; give 0 or more")


def fills(method: Method, hook: str) -> bool:
    """Whether a method has a hook of its own by this name."""
    return getattr(type(method), hook) is not getattr(Method, hook)


def written_out(method: Method) -> bool:
    """Whether the slopes of its terms are known: no class below the one that gives them has changed the terms."""
    for kind in type(method).__mro__:
        if "loss_slopes" in vars(kind) or "loss_terms" in vars(kind):
            return "loss_slopes" in vars(kind)
    return True


def size(value: Any) -> int:
    """Bytes of the tensors in a value."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(size(part) for part in value.values())
    if isinstance(value, (list, tuple)):
        return sum(size(part) for part in value)
    return int(getattr(value, "bytes", 0))
