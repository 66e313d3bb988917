"""M+: MEMORYLLM whose dropped slots go to a long store, from which a trained retriever fetches some back, by layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.attending import Attending
from slowwave.state.base import at_least
from slowwave.state.kernels.growing import appended
from slowwave.state.memory_llm import MemoryLLM, PoolState, _Pool
from slowwave.state.packing import take
from slowwave.state.reader import View


@dataclass(frozen=True)
class LongState(PoolState):
    """Besides what MEMORYLLM keeps:

    long       (batch, stored, layers, width): slots that were dropped, in the order in which they were
    long_keys  (batch, stored, layers, rank): what the retriever finds them by
    born       (batch, stored, layers) int64: the update at which each was written
    chosen     (batch, layers, fetch) int64: the slots in view, by age; -1 is none
    stored, fetched (batch,) int64: slots in the store, and in view
    """

    long: Tensor
    long_keys: Tensor
    born: Tensor
    chosen: Tensor
    stored: Tensor
    fetched: Tensor


class MPlus(MemoryLLM):
    """The pool of MEMORYLLM, and behind it a store of what it dropped.

    fetch     slots of the store that are in view, for each layer, K0
    capacity  slots of the store, for each layer; the first to come are the first to go
    rank      of the retriever's vectors; 0 is a twentieth of the width, at least 8

    The others are as in MemoryLLM. `recall` and `generate` fetch by the question. The retriever (`asker` and `finder`)
    is trained by `retriever_loss(*examples(asked, told))`, the model staying as it is; states that were written before
    are made ready by `indexed`.

    Example:
        >>> import torch
        >>> from slowwave.models.causal import fake_causal
        >>> reader = MPlus(fake_causal(), slots=8, update=4, block=8, fetch=3)
        >>> state = reader(torch.randint(256, (1, 40))).state
        >>> int(state.updates), int(state.filled), int(state.stored), int(state.fetched)
        (5, 8, 12, 3)
    """

    name = "m-plus"
    paper = "M+: Extending MemoryLLM with Scalable Long-Term Memory"
    operations = ("updating", "compression", "forgetting", "retrieval", "indexing")
    claim = "Knowledge kept over 160k tokens, against under 20k for MEMORYLLM, in 21.2 GB of GPU memory."
    differs = (
        "What a block sees is fetched by what the block before asked, so that no token looks ahead; `recall` fetches "
        "by the question itself. The store forgets its oldest when it is full; the released timer, which merges and "
        "lowers a counter, is not followed, nor is a short store tiled. The retriever sees vectors of one scale. "
        "No LoRA for writing and reading: a model is given as it was trained."
    )
    proof = "proofs/m_plus.py"  # and, trained, proofs/m_plus_trained.py
    bounded = False
    counters = ("held", "begun", "filled", "stored", "fetched")
    SMALL = MappingProxyType({"slots": 4, "update": 2, "block": 3, "fetch": 2, "capacity": 6})
    grown = MappingProxyType(
        {"local": "held", "asked": "begun", "ids": "begun", "long": "stored", "long_keys": "stored", "born": "stored"}
    )
    choice = ("chosen", "fetched")

    def __init__(
        self, model: Any, slots: int = 10240, update: int = 256, block: int = 512, drop: str = "random",
        keeps: str = "out", fetch: int = 2560, capacity: int = 150_000, rank: int = 0,
    ) -> None:  # fmt: skip
        if fetch < 0 or capacity < fetch:
            raise InputError(f"{fetch} slots cannot be fetched from {capacity}; give 0 <= fetch <= capacity")
        at_least(0, rank=rank)
        super().__init__(model, slots, update, block, drop, keeps)
        self.fetch, self.capacity, self.rank = fetch, capacity, rank
        width, inner = self.base_model.width, rank or max(8, self.base_model.width // 20)
        self.asker = _Retriever(width, inner, self.base_model.layers)
        self.finder = _Retriever(width, inner, self.base_model.layers)
        self.to(self._dtype())

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> LongState:
        layers, whole = self.base_model.layers, torch.int64
        inner = self.asker.inner
        return LongState(
            **self._fresh(batch, generator, (layers, inner)),
            long=self._zeros(batch, 0, layers, self.base_model.width),
            long_keys=self._zeros(batch, 0, layers, inner),
            born=self._zeros(batch, 0, layers, dtype=whole),
            chosen=torch.full((batch, layers, self.fetch), -1, device=self._device()),
            stored=self._zeros(batch, dtype=whole),
            fetched=self._zeros(batch, dtype=whole),
        )

    def reach(self) -> int:
        return self.fetch + super().reach()

    def scores(self, asked: Tensor, keys: Tensor) -> Tensor:
        """How well slots fit: asked (batch, time, layers, rank), keys (batch, slots, layers, rank) -> (batch, layers,
        slots), the mean over the tokens of sigmoid(f_q(h) . f_k(m))."""
        return torch.einsum("btlr,bslr->blts", asked, keys).sigmoid().mean(2)

    @torch.no_grad()
    def examples(self, asked: Tensor, told: Tensor, state: PoolState | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What `retriever_loss` takes, of questions (batch, time) and the texts (batch, time) that answer them.

        A row's own slots are right, those that the other rows' texts made are wrong; a text's are those that its last
        block wrote.

        state   of as many rows, after which texts are written and, without them, questions asked; None is a fresh one
        raises  InputError where there are not as many questions as texts, or fewer than two
        """
        if len(asked) != len(told) or len(told) < 2:
            raise InputError(f"{len(asked)} questions and {len(told)} texts; give as many, and at least two")
        batch = len(told)
        state = self.init_state(batch) if state is None else state
        written = self.sleep(self.write(told, state))
        filled = int(written.filled.min())
        made = torch.stack([pool.values[:, max(0, filled - self.update) : filled] for pool in written.pools], 2)
        groups = self._groups(state, torch.full((batch,), asked.shape[1]))
        parts = torch.cat([self._hidden(asked[rows], self._trimmed(state, rows)) for rows in groups])
        hidden = parts[torch.tensor([row for rows in groups for row in rows]).argsort()]
        others = [torch.cat([made[:b], made[b + 1 :]]).flatten(0, 1) for b in range(batch)]
        return hidden, made, torch.stack(others)

    def indexed(self, state: PoolState) -> LongState:
        """The state whose store can be found by the retriever as it is now, whatever it was when slots were dropped."""
        assert isinstance(state, LongState)
        with torch.no_grad():
            return replace(state, long_keys=self.finder(state.long))

    def retriever_loss(self, hidden: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
        """-log p of slots that belong to what is asked, -log(1 - p) of others, averaged.

        hidden  (batch, time, layers, width): what enters each layer for the asking tokens
        right, wrong  (batch, slots, layers, width)
        """
        asked = self.asker(hidden)
        good = self.scores(asked, self.finder(right)).clamp(1e-6, 1 - 1e-6)
        bad = self.scores(asked, self.finder(wrong)).clamp(1e-6, 1 - 1e-6)
        return -(good.log().mean() + (1 - bad).log().mean())

    # -- inside

    def _hidden(self, ids: Tensor, state: PoolState) -> Tensor:
        """(batch, time, layers, width): what enters each layer for these tokens after this state, of rows alike."""
        view = self._view(state)
        assert isinstance(view, _Asking)
        self.base_model.through(ids, view)
        return torch.stack(view.hidden, 2)

    def _view(self, state: PoolState) -> View:
        assert isinstance(state, LongState)
        filled, fetched = int(state.filled[0]), int(state.fetched[0])
        slots = []
        for layer, pool in enumerate(state.pools):
            back = take(state.long[:, :, layer], state.chosen[:, layer, :fetched])
            slots.append(torch.cat([back, pool.values[:, :filled]], 1))
        return _Asking(self.base_model, state.local, slots, slots[0].shape[1])

    def _asks(self, view: View, ids: Tensor, logits: Tensor, state: PoolState) -> Tensor:
        assert isinstance(view, _Asking)
        found: Tensor = self.asker(torch.stack(view.hidden, 2))
        return found

    def _close(self, state: PoolState) -> PoolState:
        assert isinstance(state, LongState)
        asked = state.asked
        closed = super()._close(state)
        assert isinstance(closed, LongState)
        return replace(self._choose(replace(closed, asked=asked)), asked=closed.asked)

    def _choose(self, state: PoolState) -> PoolState:
        assert isinstance(state, LongState)
        many = min(self.fetch, int(state.stored[0]))
        if not many or not state.asked.shape[1]:
            return state
        with torch.no_grad():
            scores = self.scores(state.asked, state.long_keys)
        best = scores.topk(many, -1).indices  # (batch, layers, many)
        born = state.born.transpose(1, 2).gather(2, best)
        best = best.sort(-1).values if self.drop == "oldest" else best.gather(2, born.argsort(dim=-1, stable=True))
        chosen = torch.full_like(state.chosen, -1)
        chosen[:, :, :many] = best
        return replace(state, chosen=chosen, fetched=torch.full_like(state.fetched, many))

    def _lost(self, state: PoolState, lost: list[tuple[Tensor, Tensor, Tensor]]) -> PoolState:
        assert isinstance(state, LongState)
        many = int(lost[0][1][0].sum())  # as many in each layer
        if not many:
            return state
        gone = torch.stack([part[:, :many] for part, _, _ in lost], 2)
        born = state.updates[:, None, None] - torch.stack([age[:, :many] for _, _, age in lost], 2)
        long, born = appended(state.long, gone), appended(state.born, born)
        keys = appended(state.long_keys, self.finder(gone))
        over = max(0, long.shape[1] - self.capacity)
        stored = torch.full_like(state.stored, long.shape[1] - over)
        return replace(state, long=long[:, over:], long_keys=keys[:, over:], born=born[:, over:], stored=stored)


class _Retriever(nn.Module):
    """Two layers without biases for each layer of the model: (..., layers, width) -> (..., layers, inner)."""

    def __init__(self, width: int, inner: int, layers: int) -> None:
        super().__init__()
        self.inner = inner
        self.first = nn.Parameter(torch.randn(layers, width, 2 * inner) * width**-0.5)
        self.second = nn.Parameter(torch.randn(layers, 2 * inner, inner) * (2 * inner) ** -0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        """The scale of what enters a layer is taken out first."""
        level = hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + 1e-6)
        raised = nn.functional.silu(torch.einsum("...lw,lwi->...li", level, self.first))
        return torch.einsum("...li,lio->...lo", raised, self.second)


class _Asking(_Pool):
    """Notes what enters each layer, by which the retriever asks."""

    def __init__(self, base: Attending, local: Tensor, slots: list[Tensor], count: int) -> None:
        super().__init__(base, local, slots, count)
        self.hidden: list[Tensor] = []

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        self.hidden.append(hidden)
        return hidden
