"""What a model loses when an autoencoder's rebuilt activations stand in for its own: the cross-entropy score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slowwave.probes.activations import Tokens
from slowwave.probes.sae import Sae
from slowwave.probes.subjects import Subject
from slowwave.probes.taps import Taps
from slowwave.probes.transitions import losses_of


@dataclass(frozen=True)
class Score:
    """Mean losses of next tokens, in nats, and (rebuilt - without) / (whole - without): 1 is as good as the model.

    whole    of the model as it is
    rebuilt  with the autoencoder in the layer's place
    without  with zeros there
    """

    whole: float
    rebuilt: float
    without: float

    @property
    def share(self) -> float:
        """The score."""
        return (self.rebuilt - self.without) / (self.whole - self.without)


def some_of(tokens: Tokens, most: int) -> Tokens:
    """Whole rows, evenly over the corpus, that hold about `most` tokens."""
    rows = max(1, min(len(tokens.ids), most // tokens.ids.shape[1]))
    chosen = np.unique(np.linspace(0, len(tokens.ids) - 1, rows).astype(int))
    return tokens.take(chosen)


def cross_entropy_score(subject: Subject, sae: Sae, layer: int, tokens: Tokens) -> Score:
    """The score on some tokens; the first position of a row, which no autoencoder is fit to, stays as it is."""

    def rebuilt(value: Tensor) -> Tensor:
        return torch.cat([value[:, :1], sae(value[:, 1:])], 1)

    def without(value: Tensor) -> Tensor:
        return torch.cat([value[:, :1], torch.zeros_like(value[:, 1:])], 1)

    def loss(change: Callable[[Tensor], Tensor] | None) -> float:
        with Taps(subject.model) as taps:
            if change is not None:
                taps.edit(layer, "block", change)
            return float(losses_of(subject.logits, tokens).loss.astype(np.float64).mean())

    return Score(loss(None), loss(rebuilt), loss(without))
