"""Sparse memory finetuning: new facts go into the few memory slots that they use and ordinary text does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.model import blocks
from slowwave.weights.vectors import centres, still

FEED_FORWARD = ("mlp", "feed_forward", "ffn")


class MemoryLayer(nn.Module):
    """Product-key memory: (..., width) -> (..., width), a gated sum of the `top` slots whose keys fit best.

    slots  their number, a square: keys are pairs of sub-keys
    """

    offset: Tensor

    def __init__(self, width: int, slots: int = 4096, top: int = 32, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.side = math.isqrt(slots)
        if self.side**2 != slots:
            raise InputError(f"{slots} slots are no square; take {self.side**2} or {(self.side + 1) ** 2}")
        self.top, half = min(top, slots), max(4, width // 2)

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) / shape[-1] ** 0.5)

        self.query, self.keys = drawn(2 * half, width), drawn(2, self.side, half)
        self.gate: nn.Parameter | None = drawn(width, width)
        self.values = nn.Parameter(torch.zeros(slots, width))  # so that a model is the same after it is added
        self.register_buffer("offset", torch.zeros(2, self.side))
        self.used: Tensor | None = None  # (..., top) the slots of the last forward

    def forward(self, x: Tensor) -> Tensor:
        normed = _normed(x)
        first, second = (normed @ self.query.T).chunk(2, -1)
        many = min(self.side, self.top)
        s1, i1 = (first @ self.keys[0].T + self.offset[0]).topk(many, -1)
        s2, i2 = (second @ self.keys[1].T + self.offset[1]).topk(many, -1)
        scores, pairs = (s1[..., :, None] + s2[..., None, :]).flatten(-2).topk(self.top, -1)
        slots = i1.gather(-1, pairs // many) * self.side + i2.gather(-1, pairs % many)
        self.used = slots.detach()
        read: Tensor = (scores.softmax(-1)[..., None] * self.values[slots]).sum(-2)
        return read if self.gate is None else read * nn.functional.silu(normed @ self.gate.T)

    @torch.no_grad()
    def fit(self, rows: Tensor, generator: torch.Generator, wide: int = 128) -> None:
        """Put the keys where inputs are: sub-keys are the centres of each half of the whitened inputs.

        What all inputs have in common no longer decides which slots are read, and inputs that are unlike read
        different ones: a slot weighs as much as its two centres are likely to have given the input (Gaussians of
        unit variance). There is no gate, as nothing has trained one.

        rows  (n, width) inputs of ordinary text
        wide  directions of largest variance that are looked at
        """
        normed = _normed(rows)
        mean = normed.mean(0)
        size, axes = torch.linalg.eigh((normed - mean).T @ (normed - mean) / len(rows))
        wide = min(wide, 2 * (len(axes) // 2))
        axes = axes.flip(1)[:, :wide] / (size.flip(0)[:wide].clamp_min(0) + 1e-6).sqrt()
        query = axes[:, torch.randperm(wide, generator=generator)].T.contiguous()
        halves = torch.stack((normed @ query.T).chunk(2, -1))
        keys = centres(halves, self.side, generator)
        if keys.shape[1] < self.side:
            raise InputError(f"{len(rows)} tokens are too few for {self.side} sub-keys; give more text or fewer slots")
        self._put({"query": query, "keys": keys, "values": self.values.detach()})
        self.offset = -0.5 * keys.pow(2).sum(-1)

    def take(self, kept: Mapping[str, Tensor]) -> None:
        """Become the memory of a `state_dict`, whatever the width of its keys."""
        self._put(kept)
        self.offset = kept["offset"].clone() if "offset" in kept else torch.zeros(2, self.side)

    def _put(self, kept: Mapping[str, Tensor]) -> None:
        for name in ("query", "keys", "values"):
            learned = getattr(self, name).requires_grad
            setattr(self, name, nn.Parameter(kept[name].clone(), requires_grad=learned))
        self.gate = nn.Parameter(kept["gate"].clone()) if "gate" in kept else None


def _normed(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class WithMemory(nn.Module):
    """A feed-forward layer and a memory beside it; their outputs are added."""

    def __init__(self, inner: nn.Module, memory: MemoryLayer) -> None:
        super().__init__()
        self.inner, self.memory = inner, memory

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x) + self.memory(x)
        return out


class SparseMemoryFinetuning(Method):
    """Only values of the slots chosen for each batch are trained.

    slots       of the memory layer, a square
    top         slots that a token reads
    train       slots trained at a step (t)
    choose      "tf-idf": used by this batch and seldom before; "tf": used by it; "random"; "all"
    layer       which block gets the memory; -1 the middle one. A model that has a MemoryLayer keeps it
    background  (n, time) token ids of ordinary text, whose slots are to be spared; a memory that is added gets its
                keys from it. None counts earlier periods alone, and the keys are drawn
    batch       sequences of background text that count as one document

    Source: Lin et al. 2025, section 3.
    """

    name = "sparse-memory-finetuning"
    paper = "Continual Learning via Sparse Memory Finetuning"
    operations = ("updating", "indexing", "forgetting")
    claim = (
        "At equal learning, NaturalQuestions F1 drops 89 % with full tuning, 71 % with LoRA and 11 % with sparse slots."
    )
    differs = (
        "The memory is added beside a feed-forward layer with its values at zero, so that the model is unchanged at"
        " first and needs no healing; its keys are fitted to what the layer gets of ordinary text. The paper's is "
        "pre-trained in its place. Batches of earlier periods count as background too. Slots that are not chosen keep "
        "every bit whatever the optimiser: what moments or decay moved is put back."
    )
    proof = "proofs/sparse_memory_finetuning.py"
    keeps: ClassVar[tuple[str, ...]] = ("seen", "documents")
    learns = "language"

    def __init__(
        self, slots: int = 4096, top: int = 32, train: int = 500, choose: str = "tf-idf", layer: int = -1,
        background: Tensor | None = None, batch: int = 8,
    ) -> None:  # fmt: skip
        if choose not in ("tf-idf", "tf", "random", "all"):
            raise InputError(f"no way {choose!r} to choose slots; there are tf-idf, tf, random and all")
        self.slots, self.top, self.train, self.choose = slots, top, train, choose
        self.layer, self.background, self.batch = layer, background, batch
        self.seen = torch.zeros(0)  # (slots,) in how many documents each was used
        self.documents = 0
        self._today: list[Tensor] = []
        self._before: Tensor | None = None
        self._chosen: Tensor | None = None
        self._used: Tensor | None = None  # the slots of the step's own examples

    def prepare(self, learner: Learner) -> None:
        memory = memory_of(learner.model)
        if memory is None:
            memory = add_memory(learner.model, self.slots, self.top, self.layer, learner.generator)
            if self.background is not None:
                fit(learner.model, self.background, learner.generator)
        for parameter in learner.model.parameters():
            parameter.requires_grad_(False)
        memory.values.requires_grad_(True)
        self.seen = torch.zeros(len(memory.values))
        if self.background is not None:
            self.note(learner.model, self.background)

    def note(self, model: nn.Module, rows: Tensor) -> None:
        """Count which slots ordinary text uses; a slot counts once a document."""
        memory = _present(model)
        with still(model), torch.no_grad():
            for start in range(0, len(rows), self.batch):
                part = rows[start : start + self.batch]
                model(part.clamp_min(0))
                assert memory.used is not None
                self.seen += torch.bincount(memory.used[part >= 0].flatten(), minlength=len(self.seen)) > 0
                self.documents += 1

    def sample_weights(self, learner: Learner, batch: Batch, losses: Tensor, logits: Tensor) -> Tensor | None:
        self._used = _present(learner.model).used  # here, since other methods may run the model again
        return None

    def grad_transform(self, learner: Learner, gradient: Tensor, batch: Batch) -> Tensor:
        memory, used = _present(learner.model), self._used
        assert used is not None
        used = used[: len(batch)][batch.x >= 0]
        counts = torch.bincount(used.flatten(), minlength=len(memory.values)).float()
        self._today.append(torch.nonzero(counts).flatten())
        self._chosen = chosen = self._choose(counts, learner)
        start = 0
        for parameter in learner.trainable:
            if parameter is memory.values:
                rows = gradient[start : start + parameter.numel()].view_as(parameter)
                rows[~chosen] = 0
            start += parameter.numel()
        self._before = memory.values.detach().clone()
        return gradient

    def _choose(self, counts: Tensor, learner: Learner) -> Tensor:
        if self.choose == "all":
            return torch.ones(len(counts), dtype=torch.bool)
        score = counts / counts.sum().clamp_min(1)
        if self.choose == "tf-idf":
            score = score * torch.log((self.documents + 1) / (self.seen + 1)).clamp_min(1e-6)
        if self.choose == "random":
            score = torch.rand(len(counts), generator=learner.generator) + 1e-6
        best = score.topk(min(self.train, len(score))).indices
        mask = torch.zeros(len(counts), dtype=torch.bool)
        mask[best] = True
        return mask & (score > 0)

    def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
        assert self._before is not None
        assert self._chosen is not None
        with torch.no_grad():
            values = _present(learner.model).values
            values[~self._chosen] = self._before[~self._chosen]

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        for slots in self._today:
            self.seen[slots] += 1
        self.documents += len(self._today)
        written = float((_present(learner.model).values != 0).any(1).float().mean())
        self._today = []
        return {"slots written": written}

    def state(self) -> dict[str, object]:
        return {"seen": self.seen, "documents": self.documents, "today": list(self._today)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.seen, self.documents = state["seen"], int(state["documents"])
        self._today = list(state["today"])


def memory_of(model: nn.Module) -> MemoryLayer | None:
    """The model's memory layer, if it has one."""
    return next((m for m in model.modules() if isinstance(m, MemoryLayer)), None)


def fit(model: nn.Module, rows: Tensor, generator: torch.Generator, batch: int = 8) -> None:
    """Fit the keys of a model's memory to what its layer gets of ordinary text: token ids (n, time), -1 where none."""
    memory, found = _present(model), []
    hook = memory.register_forward_pre_hook(lambda _, given: found.append(given[0]))
    with still(model), torch.no_grad():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            model(part.clamp_min(0))
            found[-1] = found[-1][part >= 0]
    hook.remove()
    memory.fit(torch.cat(found), generator)


def _present(model: nn.Module) -> MemoryLayer:
    found = memory_of(model)
    assert found is not None
    return found


def add_memory(
    model: nn.Module, slots: int = 4096, top: int = 32, layer: int = -1, generator: torch.Generator | None = None
) -> MemoryLayer:
    """Put a memory beside the feed-forward layer of a block; the model's outputs stay what they are."""
    path, found = blocks(model)
    place = len(found) // 2 if layer < 0 else layer
    if place >= len(found):
        raise InputError(f"no block {layer} in {path}, which has {len(found)}")
    block = found[place]
    name = next((n for n in FEED_FORWARD if hasattr(block, n)), None)
    if name is None:
        raise InputError(f"a {type(block).__name__} has no {', '.join(FEED_FORWARD)} to put a memory beside")
    inner: nn.Module = getattr(block, name)
    width = next(p.shape[-1] for n, p in inner.named_parameters() if p.ndim == 2)
    memory = MemoryLayer(width, slots, top, generator)
    setattr(block, name, WithMemory(inner, memory))
    return memory
