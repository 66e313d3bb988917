"""Mitigations for staged training: merge a stage's weights with those before, discount its change, replay a share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.buffer import Buffer
from slowwave.weights.learner import Learner
from slowwave.weights.ssd import put
from slowwave.weights.vectors import Named, trainable, values


class SLMMitigation(Method):
    """What a stage has changed is scaled down when it ends, and examples of earlier stages are mixed in.

    discount  gamma: the share of a stage's change that stays: an adapter's scale, or without one the linear merge of
              the checkpoints before and after; 1 keeps all
    base      share of the first weights in what comes of a stage: a merge with the base model
    mix       rho: replayed examples for each new one, 0.1 is one in ten
    capacity  examples kept for replay

    Source: Hsiao et al. 2025, section 3.
    """

    name = "slm-mitigation"
    paper = (
        "Analyzing Mitigation Strategies for Catastrophic Forgetting in End-to-End Training of Spoken Language Models"
    )
    operations = ("consolidation", "forgetting")
    claim = (
        "Replay is most effective and adding another strategy helps further; one summary says +12.3 points on "
        "average (unverified)."
    )
    differs = (
        "Scaling a folded adapter and merging checkpoints linearly are the same change of weights, so they are one "
        "parameter; merges of several by TIES are in `slowwave.weights.adapters.ties`. Stage sizes, gamma and rho "
        "of the paper could not be seen."
    )
    proof = "proofs/slm_mitigation.py"
    keeps: ClassVar[tuple[str, ...]] = ("buffer", "start", "first", "due")

    def __init__(self, discount: float = 0.75, base: float = 0.0, mix: float = 0.05, capacity: int = 500) -> None:
        for name, value in (("discount", discount), ("base", base)):
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value}; give a share between 0 and 1")
        self.discount, self.base, self.mix, self.capacity = discount, base, mix, capacity
        self.buffer = Buffer(capacity, "reservoir")
        self.start: Named = {}
        self.first: Named = {}
        self.due = 0.0  # replayed examples owed: shares of less than one add up

    def begin(self, learner: Learner) -> None:
        self.start = values(trainable(learner.model))
        if (self.discount < 1 or self.base) and any(".lora_" in name for name in self.start):
            raise InputError(
                "the model trains an adapter, and a share of its factors is not that share of what it changes; in "
                "place of a discount give FactorizeCentralize(share=...), or use slowwave.weights.adapters.rescale"
            )
        if self.base and not self.first:
            self.first = dict(self.start)

    def replay(self, learner: Learner, batch: Batch) -> Batch | None:
        if not len(self.buffer) or not self.mix:
            return None
        self.due += self.mix * len(batch)
        many, self.due = int(self.due), self.due % 1
        return self.buffer.sample(many, learner.rng) if many else None

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        now = trainable(learner.model)
        kept = {}
        for name, after in now.items():
            before = self.start.get(name)
            if before is None or before.shape != after.shape:
                continue
            mixed = before + self.discount * (after.detach() - before)
            if self.base and name in self.first and self.first[name].shape == after.shape:
                mixed = (1 - self.base) * mixed + self.base * self.first[name]
            kept[name] = mixed
        if self.discount < 1 or self.base:
            put(learner.model, kept)
        self.buffer.add(day, learner.step)
        return {}
