"""MEMORYLLM: a pool of hidden vectors at every layer that new text overwrites piece by piece, at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor

from slowwave.errors import InputError
from slowwave.state.attending import Attending, Look, turned
from slowwave.state.kernels.attention import prefix_attention
from slowwave.state.kernels.growing import appended
from slowwave.state.kernels.slots import Slots, append_slots, empty_slots
from slowwave.state.reader import Reader, ReaderState, View
from slowwave.state.values import joined


@dataclass(frozen=True)
class PoolState(ReaderState):
    """Besides what every reader keeps:

    pools   for each layer, slots (batch, slots, width)
    ids     (batch, begun) int64: the present block, which will be written when it is full
    filled, updates  (batch,) int64: slots that hold something, and blocks written
    """

    pools: tuple[Slots, ...]
    ids: Tensor
    filled: Tensor
    updates: Tensor


class MemoryLLM(Reader[PoolState]):
    """A pool of slots at each layer, in view of every token; a full block of text goes into it and out of the context.

    model   of transformers, (model, tokenizer), or a path
    slots   of each layer, N
    update  slots that a block writes, K; as many old ones are dropped
    block   tokens that are read before they are written
    drop    "random", as in the paper: a slot outlives t updates with (1 - K/N)^t; or "oldest"
    keeps   what a slot holds: what came "out" of its layer, as in the paper, for which a model has to be trained, or
            what went "in", which is for any model a thinned cache of keys and values
    pool_layers  layers that see slots, for comparison; () is all

    `sleep` writes the present block even if it is not full.

    Example:
        >>> import torch
        >>> from slowwave.models.causal import fake_causal
        >>> reader = MemoryLLM(fake_causal(), slots=12, update=4, block=8)
        >>> state = reader(torch.randint(256, (1, 20))).state
        >>> int(state.updates), int(state.filled), int(state.held)
        (2, 8, 4)
    """

    name = "memory-llm"
    paper = "MEMORYLLM: Towards Self-Updatable Large Language Models"
    operations: ClassVar[tuple[str, ...]] = ("updating", "compression", "forgetting")
    claim = (
        "ZsRE 79.2 against 69.3 for ROME, CounterFactual 75.3 against 70.7; knowledge is read for about 20 updates; "
        "no decline over 650k updates."
    )
    differs = (
        "Any batch, and the random drops belong to the state. The pool begins empty, not tiled with the first text; "
        "positions begin behind the slots that hold something. There is no learned opening or position vector, and no "
        "LoRA: a model is given as it was trained. `keeps='in'` and `drop='oldest'` are ours."
    )
    proof = "proofs/memory_llm.py"  # and, trained, proofs/memory_llm_trained.py
    bounded = True
    learns = True
    alone = False
    counters: ClassVar[tuple[str, ...]] = ("held", "begun", "filled")
    skips = MappingProxyType({"gradients_by_hand_are_right": "it derives no gradient by hand"})
    SMALL = MappingProxyType({"slots": 6, "update": 2, "block": 3})
    grown = MappingProxyType({"local": "held", "asked": "begun", "ids": "begun"})

    def __init__(
        self,
        model: Any,
        slots: int = 7680,
        update: int = 256,
        block: int = 512,
        drop: str = "random",
        keeps: str = "out",
        pool_layers: tuple[int, ...] = (),
    ) -> None:
        if not 1 <= update <= slots:
            raise InputError(f"an update of {update} of {slots} slots cannot be; give 1 <= update <= slots")
        if block < 1:
            raise InputError(f"block is {block}; give at least 1 token")
        if drop not in ("random", "oldest") or keeps not in ("out", "in"):
            raise InputError(f"drop is {drop!r} and keeps {keeps!r}; give 'random' or 'oldest', and 'out' or 'in'")
        super().__init__(model)
        self.base_model.check_entrances()
        self.slots, self.update, self.block, self.drop, self.keeps = slots, update, block, drop, keeps
        self.pool_layers = tuple(pool_layers)
        if not all(0 <= layer < self.base_model.layers for layer in self.pool_layers):
            last = self.base_model.layers - 1
            raise InputError(f"pool_layers is {pool_layers}, and the model has layers 0 to {last}")

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> PoolState:
        return PoolState(**self._fresh(batch, generator, (1, 0)))

    def reach(self) -> int:
        return self.slots + self.block

    def sleep(self, state: PoolState, budget: int | None = None) -> PoolState:
        """The present block written and out of the context, where it has any tokens."""
        self._awake(state, budget)
        if not bool(state.begun.any()):
            return state
        every = []
        for row in range(state.batch):
            part = self._trimmed(state, [row])
            every.append(self._close(part) if int(part.begun) else part)
        found: PoolState = self._filled(joined(every))
        return found

    # -- inside

    def _fresh(self, batch: int, generator: torch.Generator | None, asks: tuple[int, int]) -> dict[str, Any]:
        base = self.base_model
        pools = tuple(
            empty_slots(batch, self.slots, base.width, dtype=self._dtype(), generator=generator).map(
                lambda leaf: leaf.to(self._device())
            )
            for _ in range(base.layers)
        )
        whole = torch.int64
        return {
            **self._empty(batch, asks),
            "pools": pools,
            "ids": self._zeros(batch, self.block, dtype=whole),
            "filled": self._zeros(batch, dtype=whole),
            "updates": self._zeros(batch, dtype=whole),
        }

    def _room(self, leaf: str) -> int:
        return self.block if leaf in ("local", "asked", "ids") else 0

    def _view(self, state: PoolState) -> View:
        filled = int(state.filled[0])
        slots = [pool.values[:, :filled] if self._sees(n) else pool.values[:, :0] for n, pool in enumerate(state.pools)]
        return _Pool(self.base_model, state.local, slots, filled)

    def _kept(self, view: View, ids: Tensor, logits: Tensor, state: PoolState) -> PoolState:
        return replace(super()._kept(view, ids, logits, state), ids=appended(state.ids, ids))

    def _close(self, state: PoolState) -> PoolState:
        filled = int(state.filled[0])
        newest = [pool.values[:, max(0, filled - self.update) : filled] for pool in state.pools]
        newest = [one if self._sees(layer) else torch.zeros_like(one) for layer, one in enumerate(newest)]
        look = _Injection(self.base_model, newest, self.update, self.keeps)
        self.base_model.through(state.ids, look)
        pools, lost = [], []
        for pool, made in zip(state.pools, look.made, strict=True):
            drop: Any = self.drop
            new, gone, there, age = append_slots(pool, made, drop)
            pools.append(new)
            lost.append((gone, there, age))
        none = torch.zeros_like(state.begun)
        return replace(
            self._lost(state, lost),
            pools=tuple(pools),
            filled=(state.filled + look.made[0].shape[1]).clamp(max=self.slots),
            updates=state.updates + 1,
            local=state.local[:, :0],
            asked=state.asked[:, :0],
            ids=state.ids[:, :0],
            held=none,
            begun=none.clone(),
        )

    def _sees(self, layer: int) -> bool:
        return not self.pool_layers or layer in self.pool_layers

    def _lost(self, state: PoolState, lost: list[tuple[Tensor, Tensor, Tensor]]) -> PoolState:
        """What becomes of the slots that were dropped, layer by layer: they, which are there, and how old they are."""
        return state


class _Pool(View):
    """Before the context: the slots of each layer, from position 0 on.

    slots  for each layer (batch, count, width)
    count  how many there are; the context begins behind
    """

    def __init__(self, base: Attending, local: Tensor, slots: list[Tensor], count: int) -> None:
        super().__init__(base, local, count)
        self.slots = slots

    def far(self, layer: int, q: Tensor, turned_q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
        slots = self.slots[layer]
        if not slots.shape[1]:
            return None
        keys, values = self.base.keys_values(layer, slots)
        return turned_q, self.base.rotate(keys, torch.arange(slots.shape[1], device=q.device)), values, None


class _Injection(Look):
    """Each layer reads its newest slots and the text; what it makes of the last tokens are the new slots.

    newest  for each layer (batch, count, width)
    """

    def __init__(self, base: Attending, newest: list[Tensor], update: int, keeps: str) -> None:
        super().__init__(base)
        self.newest, self.update, self.keeps = newest, update, keeps
        self.made: list[Tensor] = []
        self._turn: tuple[Tensor, Tensor] | None = None

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        whole = torch.cat([self.newest[layer], hidden], 1)
        if self.keeps == "in":
            self.made.append(whole[:, -self.update :])
        return whole

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        if self._turn is None:
            cos, sin = self.base.angles(torch.arange(q.shape[2], device=q.device))
            self._turn = cos.to(q.dtype), sin.to(q.dtype)
        return prefix_attention((turned(q, *self._turn), turned(k, *self._turn), v), scale=scale)[0]

    def leave(self, layer: int, hidden: Tensor) -> Tensor:
        if self.keeps == "out":
            self.made.append(hidden[:, -self.update :])
        return hidden[:, self.newest[layer].shape[1] :]
