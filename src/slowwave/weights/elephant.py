"""Elephant: an activation whose value and slope are both local, so that a step changes what is near and little else."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.learner import Learner
from slowwave.weights.model import Classifier


class Elephant(Method):
    """Turns a Classifier's hidden layers into elephants, before it has learned anything. No buffer, no boundaries.

    width   a: how wide an input's neighbourhood is
    slope   d: how steep its border; 4 or 8
    spread  sigma_b: biases are drawn evenly from +- sqrt(3) sigma_b, so that the units tile the inputs
    layers  how many hidden layers, counted from the head; 0 all

    Source: Lan and Mahmood 2023, section 4.
    """

    name = "elephant"
    paper = "Elephant Neural Networks: Born to Be a Continual Learner"
    operations = ("consolidation", "updating")
    claim = (
        "Split MNIST in one pass with no replay or boundaries far above ReLU nets, about .72 at width 1,000 and .80"
        " at 10,000 (unverified)."
    )
    differs = (
        "The head starts at zero and has no bias. Which layers are elephants is a parameter; the defaults fit inputs "
        "of about unit variance."
    )
    proof = "proofs/elephant.py"
    learns = "labels"

    def __init__(self, width: float = 0.2, slope: float = 4.0, spread: float = 1.0, layers: int = 1) -> None:
        self.width, self.slope, self.spread, self.layers = width, slope, spread, layers

    def prepare(self, learner: Learner) -> None:
        model = learner.model
        if not isinstance(model, Classifier):
            raise InputError(f"elephant rebuilds a slowwave.weights.Classifier, not a {type(model).__name__}")
        chosen = list(range(len(model.layers)))[-self.layers :] if self.layers else list(range(len(model.layers)))
        with torch.no_grad():
            for place in chosen:
                layer = model.layers[place]
                assert isinstance(layer, nn.Linear)
                reach = 3**0.5 * self.spread
                layer.bias.uniform_(-reach, reach, generator=learner.generator)
            model.head.weight.zero_()
            if model.head.bias is not None:
                model.head.bias.zero_().requires_grad_(False)  # it would answer alike everywhere
        model.activations = dict.fromkeys(chosen, self.activation)

    def activation(self, x: Tensor) -> Tensor:
        """1 / (1 + |x / a| ** d)."""
        return elephant(x, self.width, self.slope)


def elephant(x: Tensor, width: float = 0.2, slope: float = 4.0) -> Tensor:
    """1 / (1 + |x / width| ** slope): 1 at 0, a half at the width, hardly anything beyond.

    >>> [round(v, 3) for v in elephant(torch.tensor([0.0, 0.2, 2.0])).tolist()]
    [1.0, 0.5, 0.0]
    """
    return 1 / (1 + (x / width).abs() ** slope)
