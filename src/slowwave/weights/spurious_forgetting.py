"""Freeze: much that looks forgotten is lost alignment of the lowest layers, so they stay from the second task on."""

from __future__ import annotations

from torch import nn

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.learner import Learner
from slowwave.weights.model import blocks, named


class Freeze(Method):
    """The input embeddings and the lowest blocks are frozen from the second period on.

    layers      how many blocks, from below
    embeddings  whether the input embeddings are frozen; tied ones take the output head with them
    since       the first period in which they are frozen; 0 for a model that comes trained

    Source: Zheng et al. 2025, section 5.
    """

    name = "spurious-forgetting"
    paper = "Spurious Forgetting in Continual Learning of Language Models"
    operations = ("forgetting", "consolidation")
    claim = (
        "First-task exact match 11.18 % in sequence, 44.22 % with 7 layers frozen and an early stop; about 96 % "
        "comes back in the recovery test. Summaries disagree on the best competitor (at most 22 %, or 30.75 %)."
    )
    differs = (
        'Layers are named by whole parts of their path (in the authors\' code "layers.1" also means "layers.10"), '
        "and are frozen by not training them rather than by a learning rate of 0, which weight decay passes by."
    )
    proof = "proofs/spurious_forgetting.py"

    def __init__(self, layers: int = 3, embeddings: bool = True, since: int = 1) -> None:
        self.layers, self.embeddings, self.since = layers, embeddings, since

    def begin(self, learner: Learner) -> None:
        if learner.period >= self.since:
            for parameter in self.frozen(learner).values():
                parameter.requires_grad_(False)

    def frozen(self, learner: Learner) -> dict[str, nn.Parameter]:
        """The parameters that are to stay, by name."""
        path, found = blocks(learner.model)
        many = min(self.layers, len(found) - 1) if len(found) > 1 else 0
        modules = [f"{path}.{n}" for n in range(many)]
        if self.embeddings:
            modules += [name for name, m in learner.model.named_modules() if isinstance(m, nn.Embedding)]
        if not modules:
            raise InputError(f"nothing to freeze: the model has {len(found)} blocks, and layers={self.layers}")
        parameters = dict(learner.model.named_parameters())
        return {name: parameters[name] for name in named(learner.model, modules)}
