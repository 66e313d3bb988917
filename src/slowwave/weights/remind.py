"""REMIND: features from the middle of the network, kept as a few bytes each, are replayed into its upper part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch, examples
from slowwave.weights.buffer import Buffer
from slowwave.weights.learner import Learner
from slowwave.weights.vectors import centres, still


@runtime_checkable
class Parted(Protocol):
    """A network in two parts: `upper(lower(x))` are its logits."""

    def lower(self, x: Tensor) -> Tensor: ...

    def upper(self, x: Tensor) -> Tensor: ...


class Quantiser:
    """Product quantisation: a vector is cut into pieces, each told by the number of its nearest centroid.

    books  pieces of a vector
    words  centroids of each, at most 256, so that a piece is a byte
    """

    def __init__(self, books: int, words: int) -> None:
        if not 1 <= words <= 256:
            raise InputError(f"{words} centroids do not fit a byte; give 1 to 256")
        self.books, self.words = books, words
        self.centroids, self.width = torch.zeros(0), 0

    @property
    def bytes(self) -> int:
        """Of the centroids, which count as memory too."""
        return self.centroids.numel() * 4

    def fit(self, rows: Tensor, generator: torch.Generator, rounds: int = 15) -> None:
        """Centroids of each piece by k-means. rows (n, width)."""
        self.width = rows.shape[1]
        self.centroids = centres(self._pieces(rows), self.words, generator, rounds)

    def encode(self, rows: Tensor) -> Tensor:
        """(n, width) -> (n, books) uint8."""
        return torch.cdist(self._pieces(rows), self.centroids).argmin(-1).T.to(torch.uint8)

    def decode(self, codes: Tensor) -> Tensor:
        """(n, books) uint8 -> (n, width)."""
        book = torch.arange(self.books)
        return self.centroids[book, codes.long()].flatten(1)[:, : self.width]

    def _pieces(self, rows: Tensor) -> Tensor:
        """(n, width) -> (books, n, part), filled up with zeros where the width does not divide."""
        part = -(-rows.shape[1] // self.books)
        filled = F.pad(rows, (0, part * self.books - rows.shape[1]))
        return filled.view(len(rows), self.books, part).transpose(0, 1)

    def state(self) -> dict[str, Any]:
        """For a snapshot."""
        return {"centroids": self.centroids, "width": self.width}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""
        self.centroids, self.width = state["centroids"], state["width"]


class Remind(Method):
    """Replay of product-quantised features, into an upper part that goes on learning above a lower one that is frozen.

    The first period trains the whole network and fits the quantiser; from the second on only the upper part learns.

    books     pieces of a feature vector, a byte each
    words     centroids a piece
    capacity  features kept; when full, one of the largest class leaves
    many      drawn for each new example (r)
    raw       keep features as they are, to compare: four bytes a value

    Source: Hayes et al. 2020, sections 4 and 5.
    """

    name = "remind"
    paper = "REMIND Your Neural Network to Prevent Catastrophic Forgetting"
    operations = ("compression", "consolidation")
    claim = "ImageNet-1k streaming, top-5 Omega about .855 against .69 for iCaRL (unverified)."
    differs = (
        "Features are vectors, not maps, so there is no random resized crop of them, and no mixup; the learning "
        "rate is the learner's. The centroids count among the bytes."
    )
    proof = "proofs/remind.py"
    keeps: ClassVar[tuple[str, ...]] = ("quantiser", "buffer", "ready")
    learns = "labels"

    def __init__(
        self, books: int = 32, words: int = 256, capacity: int = 2000, many: int = 50, raw: bool = False
    ) -> None:
        self.books, self.words, self.capacity, self.many, self.raw = books, words, capacity, many, raw
        self.quantiser = Quantiser(books, words)
        self.buffer = Buffer(capacity, "largest")
        self.ready = False

    def prepare(self, learner: Learner) -> None:
        if not isinstance(learner.model, Parted):
            raise InputError(
                f"remind replays features, and a {type(learner.model).__name__} has no lower(x) and upper(x); "
                "give slowwave.weights.Classifier or a module with both"
            )

    def _codes(self, learner: Learner, x: Tensor) -> Tensor:
        with still(learner.model), torch.no_grad():
            lower: Tensor = learner.model.lower(x)  # type: ignore[operator]
        return lower if self.raw else self.quantiser.encode(lower)

    def _features(self, codes: Tensor) -> Tensor:
        return codes if self.raw else self.quantiser.decode(codes)

    def forward(self, learner: Learner, batch: Batch, training: bool) -> Tensor | None:
        if not self.ready:
            return None
        return learner.model.upper(self._features(self._codes(learner, batch.x)))  # type: ignore[operator, no-any-return]

    def sample_weights(self, learner: Learner, batch: Batch, losses: Tensor, logits: Tensor) -> Tensor | None:
        if not self.ready or not len(self.buffer) or not self.many:
            return None
        return torch.full((len(batch),), 1 / (1 + self.many))

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        if not self.ready or not len(self.buffer) or not self.many:
            return {}
        old = self.buffer.sample(self.many * int((~batch.old).sum()), learner.rng)
        said = learner.model.upper(self._features(old.x))  # type: ignore[operator]
        return {"replay": self.many / (1 + self.many) * learner.aim(old.y).losses(said, old).mean()}

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        if self.ready and bool(learner.first.any()):
            self._store(learner, learner.given.take(learner.first))

    def _store(self, learner: Learner, batch: Batch) -> None:
        coded = examples(self._codes(learner, batch.x), batch.y)
        self.buffer.add(Batch(coded.x, coded.y, batch.task), learner.step)

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        if self.ready:
            return {}
        with still(learner.model), torch.no_grad():
            lower: Tensor = learner.model.lower(day.x)  # type: ignore[operator]
        if not self.raw:
            self.quantiser.fit(lower, learner.generator)
        below = _below(learner.model)
        for name, parameter in learner.model.named_parameters():
            if name in below:
                parameter.requires_grad_(False)
        self.ready = True
        self._store(learner, day)
        error = 0.0 if self.raw else float((self._features(self._codes(learner, day.x)) - lower).pow(2).mean())
        return {"error of the codes": error}


def _below(model: nn.Module) -> set[str]:
    """The parameters that `lower` uses: those without which it would not move."""
    names = dict(model.named_parameters())
    probe = next(iter(names.values()))
    inputs: Any = getattr(model, "inputs", None) or probe.shape[-1]
    with still(model), torch.enable_grad():
        out: Tensor = model.lower(torch.rand(2, int(inputs))).sum()  # type: ignore[operator]
        chosen = [p for p in names.values() if p.requires_grad]
        grads = torch.autograd.grad(out, chosen, allow_unused=True)
    used = {id(p) for p, g in zip(chosen, grads, strict=True) if g is not None}
    return {name for name, p in names.items() if id(p) in used}
