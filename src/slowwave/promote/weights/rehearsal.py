"""What is rehearsed beside new lessons, so that they do not harm the old: earlier lessons, and ordinary language."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from slowwave.promote.weights.general import General
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.objective import plain


class Rehearsal(Method):
    """Lessons of earlier nights are learned again beside new ones, and general text is expected as it was before.

    earlier   their lessons; None where this is the first night
    general   with what the bare model expected
    many      sequences rehearsed beside each new one: half of them earlier lessons, half general; all general at first.
              Of the general ones half are sentences of general knowledge, where there are any
    strength  weight of the divergence on general text, against the mean loss of a lesson

    Source: experience replay (Robins 1995) with distillation on inputs of no task (Li and Hoiem 2017).
    """

    name = "rehearsal"

    def __init__(self, earlier: Batch | None, general: General, many: float = 1.0, strength: float = 1.0) -> None:
        self.earlier, self.general, self.many, self.strength = earlier, general, many, strength

    def replay(self, learner: Learner, batch: Batch) -> Batch | None:
        if self.earlier is None or not len(self.earlier):
            return None
        many = min(round(self.many * len(batch) / 2), len(self.earlier))
        if not many:
            return None
        chosen = self.earlier.take(torch.from_numpy(learner.rng.permutation(len(self.earlier))[:many]))
        return Batch(chosen.x, chosen.y, chosen.task, replayed=torch.ones(many, dtype=torch.bool))

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        fresh = int((~batch.old).sum())
        many = min(round(self.many * fresh / (1 if self.earlier is None else 2)), len(self.general.rows))
        if not many or not self.strength:
            return {}
        places = self.general.draw(learner.rng, many)
        term = self.general.loss(plain(learner.model(self.general.rows[places])), places)
        return {"general": self.strength * term}
