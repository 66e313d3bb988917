"""EM-LLM: the stream cut into events where it surprises, and whole events recalled by likeness and by neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowwave.errors import InputError
from slowwave.state.base import at_least
from slowwave.state.kernels.growing import appended
from slowwave.state.kernels.surprise import refined, spaced, surprising
from slowwave.state.kernels.topk import top_k
from slowwave.state.reader import Reader, ReaderState, View
from slowwave.state.values import joined

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class EventState(ReaderState):
    """Besides what every reader keeps:

    surprises, marks (batch, held), drawn (batch, held, layers): of the tokens in context, how unexpected each was,
        whether that begins an event, and the attention it has drawn
    initial (batch, first, layers, 2, kv heads, dim): the very first tokens, always in view
    store   (batch, stored, layers, 2, kv heads, dim): all events, one after another, keys unrotated
    keys    (batch, events, layers, kv heads x dim): what each event is found by
    starts, sizes, hits (batch, events) int64: where in the store, how long, how often recalled
    begins  (batch, events) int64: where in the stream, which forgetting leaves as it was
    chosen, near (batch, layers, room) int64: the events in view by likeness, and by neighbourhood; -1 is none
    first, stored, events (batch,) int64
    """

    surprises: Tensor
    marks: Tensor
    drawn: Tensor
    initial: Tensor
    store: Tensor
    keys: Tensor
    starts: Tensor
    sizes: Tensor
    hits: Tensor
    begins: Tensor
    chosen: Tensor
    near: Tensor
    first: Tensor
    stored: Tensor
    events: Tensor


class EMLLM(Reader[EventState]):
    """Episodes of any length around a frozen model; nothing is trained.

    model           of transformers, (model, tokenizer), or a path
    local           tokens always in view behind the present one; up to `block` and an event more are kept
    sinks           tokens of the very beginning that stay in view
    retrieve        tokens of recalled events in view, for each layer
    near            share of these for the neighbours of the events found
    block           tokens between two recalls
    segment         "surprise", or "fixed": events of `most` tokens
    gamma, window   a token begins an event if its surprise is above mean + gamma x deviation of the window before it
    refine          whether boundaries move to where the keys cluster best
    least, most     tokens of an event
    representative  the tokens of an event that drew most attention, by whose mean key it is found
    store           dtype of events at rest: "float16", "bfloat16", "float32", or "" for the model's own
    capacity        tokens of events that are kept at most, 0 for all; those recalled least go, the oldest of them first

    `read` and `logits` ask without writing, `recall` chooses events by a question, `generate` does both.

    Example:
        >>> import torch
        >>> from slowwave.models.causal import fake_causal
        >>> reader = EMLLM(fake_causal(), local=32, sinks=2, retrieve=32, block=16, window=16, most=16)
        >>> state = reader(torch.randint(256, (1, 100))).state
        >>> int(state.stored) + int(state.held) + int(state.first)
        100
    """

    name = "em-llm"
    paper = "Human-like Episodic Memory for Infinite Context LLMs"
    operations = ("indexing", "retrieval", "forgetting")
    claim = (
        "LongBench with Mistral 7B: 43.7 against 41.9 for InfLLM, passage retrieval 84.1 against 64; a passkey in "
        "10M tokens. No training."
    )
    differs = (
        "What a block sees is chosen by what the block before it asked, so that no token looks ahead; `recall` and "
        "`generate` choose by the question itself, which is then read again. Refinement and neighbours are on, which "
        "all shipped configurations have off; modularity counts no negative similarity and is found by sums, not by a "
        "loop, over the keys of all layers at once. Events are looked up by queries before rotation, where the "
        "originals turn them to the one distance. `capacity`, which forgets, is ours. Rows of a batch go in turn."
    )
    proof = "proofs/em_llm.py"  # and proofs/em_llm_alone.py, one sentence at a time; proofs/em_llm_joints.py, the cuts
    skips = MappingProxyType({"gradients_by_hand_are_right": "it derives no gradient and trains nothing"})
    SMALL = MappingProxyType(
        {"local": 4, "sinks": 1, "retrieve": 4, "block": 3, "window": 4, "least": 1, "most": 3, "representative": 2}
    )
    grown = MappingProxyType(
        {
            "local": "held", "asked": "begun", "surprises": "held", "marks": "held", "drawn": "held",
            "initial": "first", "store": "stored", "keys": "events", "starts": "events", "sizes": "events",
            "hits": "events", "begins": "events",
        }
    )  # fmt: skip
    choice = ("chosen", "near", "hits")

    def __init__(
        self, model: Any, local: int = 4096, sinks: int = 128, retrieve: int = 2048, near: float = 0.3,
        block: int = 512, segment: str = "surprise", gamma: float = 1.0, window: int = 128, refine: bool = True,
        least: int = 8, most: int = 128, representative: int = 4, store: str = "", capacity: int = 0,
    ) -> None:  # fmt: skip
        if segment not in ("surprise", "fixed"):
            raise InputError(f"segment is {segment!r}; give 'surprise' or 'fixed'")
        if store and store not in DTYPES:
            raise InputError(f"store is {store!r}; give one of {', '.join(DTYPES)}, or '' for the model's own dtype")
        at_least(1, local=local, block=block, window=window, least=least, most=most, representative=representative)
        at_least(0, sinks=sinks, retrieve=retrieve, capacity=capacity)
        if window > local:
            raise InputError(f"window is {window} and local {local}; surprise is judged within what is local")
        if not 1 <= least <= most:
            raise InputError(f"events of {least} to {most} tokens cannot be; give 1 <= least <= most")
        if not 0 <= near <= 1:
            raise InputError(f"near is {near}; near is a share of `retrieve`, between 0 and 1")
        super().__init__(model)
        self.local, self.sinks, self.retrieve, self.near, self.block = local, sinks, retrieve, near, block
        self.segment, self.gamma, self.window, self.refine = segment, gamma, window, refine
        self.least, self.most, self.representative = least, most, representative
        self.store, self.capacity = store, capacity

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> EventState:
        base, whole = self.base_model, torch.int64
        record = (base.layers, 2, base.kv_heads, base.dim)
        room = max(1, self.retrieve // self.least)
        none = torch.full((batch, base.layers, room), -1, device=self._device())
        return EventState(
            **self._empty(batch, (base.layers, base.kv_heads * base.dim)),
            surprises=self._zeros(batch, 0),
            marks=self._zeros(batch, 0, dtype=torch.bool),
            drawn=self._zeros(batch, 0, base.layers),
            initial=self._zeros(batch, 0, *record),
            store=self._zeros(batch, 0, *record, dtype=DTYPES.get(self.store)),
            keys=self._zeros(batch, 0, base.layers, base.kv_heads * base.dim),
            **{name: self._zeros(batch, 0, dtype=whole) for name in ("starts", "sizes", "hits", "begins")},
            chosen=none,
            near=none.clone(),
            **{name: self._zeros(batch, dtype=whole) for name in ("first", "stored", "events")},
        )

    def attended(self) -> int:
        """Tokens that one token sees at most, in each layer."""
        return self.sinks + self.retrieve + self.local + self.block + self.most

    def reach(self) -> int:
        return self.local + self.block + self.most

    def sleep(self, state: EventState, budget: int | None = None) -> EventState:
        """Forget events until `budget` tokens are left (None: `capacity`): the least recalled, the oldest first."""
        self._awake(state, budget)
        most = self.capacity if budget is None else budget
        if (budget is None and not most) or not state.batch:
            return state
        parts = [self._forget(self._trimmed(state, [row]), most) for row in range(state.batch)]
        return self._filled(joined(parts))

    # -- a block

    def _view(self, state: EventState) -> _Events:
        return _Events(self, state)

    def _asks(self, view: View, ids: Tensor, logits: Tensor, state: EventState) -> Tensor:
        return view.grouped_queries()

    def _kept(self, view: View, ids: Tensor, logits: Tensor, state: EventState) -> EventState:
        assert isinstance(view, _Events)
        unexpected = self._surprise(ids, logits, state)
        if not int(state.seen[0]):
            unexpected[:, 0] = 0.0
        count = ids.shape[1]
        old = F.pad(state.drawn, (0, 0, 0, count)) + torch.stack(view.weights, -1)
        marks = torch.cat([state.marks, state.marks.new_zeros(1, count)], 1)
        new = super()._kept(view, ids, logits, state)
        return replace(new, surprises=torch.cat([state.surprises, unexpected], 1), marks=marks, drawn=old)

    def _close(self, state: EventState) -> EventState:
        held, begun = int(state.held[0]), int(state.begun[0])
        if self.segment == "surprise":
            high = surprising(state.surprises[0], self.gamma, self.window)
            marks = torch.cat([state.marks[:, : held - begun], high[None, held - begun :].to(state.marks.device)], 1)
            state = replace(state, marks=marks)
        state = self._leave(state)
        if self.capacity and int(state.stored[0]) > self.capacity:
            state = self._forget(state, self.capacity * 7 // 8)  # some room, so that not every block forgets
        state = self._choose(state)
        return replace(state, asked=state.asked[:, :0], begun=torch.zeros_like(state.begun))

    def _leave(self, state: EventState) -> EventState:
        """The oldest tokens beyond `local` out of the context: the very first stay in view, the rest become events."""
        free = int(state.held[0]) - self.local
        first = min(max(free, 0), self.sinks - int(state.first[0]))
        if first > 0:
            initial = appended(state.initial, state.local[:, :first])
            state = replace(_after(state, first), initial=initial, first=state.first + first)
            free -= first
        begins = spaced(state.marks[0], self.least, self.most).nonzero()[:, 0]
        whole = [int(place) for place in begins if 0 < place <= free]
        if not whole:
            return state
        end = whole[-1]
        starts = torch.zeros(end, dtype=torch.bool)
        starts[[0, *whole[:-1]]] = True
        if self.refine and self.segment == "surprise" and len(whole) > 1:
            similar = state.local[0, :end, :, 0].flatten(1).to(self._dtype()).cpu()
            starts = refined(similar, starts, self.least, self.most)
        begin = starts.nonzero()[:, 0].to(state.sizes.device)
        size = torch.diff(begin, append=begin.new_tensor([end]))
        keys = torch.stack([self._key(state, int(a), int(n)) for a, n in zip(begin, size, strict=True)])[None]
        return replace(
            _after(state, end),
            store=appended(state.store, state.local[:, :end].to(state.store.dtype)),
            keys=appended(state.keys, keys),
            starts=appended(state.starts, state.stored[:, None] + begin),
            sizes=appended(state.sizes, size[None]),
            hits=appended(state.hits, torch.zeros_like(size)[None]),
            begins=appended(state.begins, (state.seen - state.held)[:, None] + begin),
            stored=state.stored + end,
            events=state.events + len(begin),
        )

    def _key(self, state: EventState, start: int, size: int) -> Tensor:
        """(layers, kv heads x dim): the mean key of the event's tokens that drew most attention, for each layer."""
        drawn = state.drawn[0, start : start + size]  # (size, layers)
        best = drawn.topk(min(self.representative, size), 0).indices  # (some, layers)
        keys = state.local[0, start : start + size, :, 0].flatten(2)  # (size, layers, kv heads x dim)
        return keys.gather(0, best[..., None].expand(-1, -1, keys.shape[-1])).mean(0)

    # -- recall

    def _choose(self, state: EventState) -> EventState:
        """Per layer: the likeliest events while they fit, then those right before and after them in the stream, then
        the neighbours of earlier choices."""
        events = int(state.events[0])
        if not events or not self.retrieve or not state.asked.shape[1]:
            return state
        query = state.asked[0].mean(0)  # (layers, kv heads x dim)
        room = state.chosen.shape[2]
        order = top_k(query[:, None], state.keys[0].to(query.dtype).transpose(0, 1), 2 * room)[1][:, 0].tolist()
        sizes, before = state.sizes[0].tolist(), state.near[0].tolist()
        begins = state.begins[0].tolist()
        follows = {e for e in range(1, events) if begins[e - 1] + sizes[e - 1] == begins[e]}  # nothing was forgotten
        found, beside = [], []
        alike = self.retrieve - int(self.near * self.retrieve)
        for layer, ranked in enumerate(order):
            mine = _fitting(ranked, sizes, alike, room, ())
            around = [n for e in mine for n, later in ((e - 1, e), (e + 1, e + 1)) if later in follows]
            around += [e for e in before[layer] if e >= 0]
            found.append(mine)
            beside.append(_fitting(around, sizes, self.retrieve - alike, room, mine))
        chosen, near = _padded(found, state.chosen), _padded(beside, state.near)
        every = torch.cat([chosen, near], -1).flatten()
        hits = state.hits + torch.bincount(every[every >= 0], minlength=events)[None]
        return replace(state, chosen=chosen, near=near, hits=hits)

    def _forget(self, state: EventState, budget: int) -> EventState:
        """Without the least recalled events, so that at most `budget` tokens are stored."""
        over = int(state.stored[0]) - budget
        if over <= 0:
            return state
        order = torch.argsort(state.hits[0], stable=True).tolist()
        sizes = state.sizes[0].tolist()
        gone = set()
        for event in order:
            if over <= 0:
                break
            gone.add(event)
            over -= sizes[event]
        stay = torch.tensor([e for e in range(len(sizes)) if e not in gone], dtype=torch.int64)
        kept = state.sizes[0, stay]
        begins = state.starts[0, stay]
        ranges = [torch.arange(int(a), int(a) + int(n)) for a, n in zip(begins, kept, strict=True)]
        tokens = torch.cat(ranges) if ranges else stay
        place = torch.full((len(sizes) + 1,), -1)  # the last for -1 itself
        place[stay] = torch.arange(len(stay))
        return replace(
            state,
            store=state.store[:, tokens],
            keys=state.keys[:, stay],
            starts=(kept.cumsum(0) - kept)[None],
            sizes=kept[None],
            hits=state.hits[:, stay],
            begins=state.begins[:, stay],
            chosen=place[state.chosen],
            near=place[state.near],
            stored=torch.full_like(state.stored, len(tokens)),
            events=torch.full_like(state.events, len(stay)),
        )


class _Events(View):
    """Before the context: the first tokens and the recalled events, all at one distance."""

    def __init__(self, system: EMLLM, state: EventState) -> None:
        super().__init__(system.base_model, state.local)
        self.state = state
        self.weights: list[Tensor] = []
        self.distance = torch.tensor([system.local], device=state.local.device)
        self.places = _places(state)

    def far(self, layer: int, q: Tensor, turned_q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
        places, initial = self.places[layer], self.state.initial[:, :, layer]
        if not len(places) and not initial.shape[1]:
            return None
        recalled = self.state.store[:, places, layer].to(q.dtype)
        keys, values = torch.cat([initial, recalled], 1).permute(2, 0, 3, 1, 4)
        return self.base.rotate(q, self.distance), keys, values, None

    def drew(self, layer: int, weights: Tensor) -> None:
        self.weights.append(weights.sum((1, 2)))


def _places(state: EventState) -> list[Tensor]:
    """For each layer the places in the store of the events in view, in their order."""
    out = []
    starts, sizes = state.starts[0].tolist(), state.sizes[0].tolist()
    for chosen, near in zip(state.chosen[0].tolist(), state.near[0].tolist(), strict=True):
        events = sorted({e for e in (*chosen, *near) if e >= 0})
        ranges = [torch.arange(starts[e], starts[e] + sizes[e]) for e in events]
        out.append(torch.cat(ranges) if ranges else torch.zeros(0, dtype=torch.int64))
    return out


def _fitting(ranked: list[int], sizes: list[int], budget: int, room: int, without: Any) -> list[int]:
    """Events in this order, each once, while they fit; one that does not is passed over."""
    out: list[int] = []
    for event in ranked:
        if len(out) < room and event not in without and event not in out and sizes[event] <= budget:
            out.append(event)
            budget -= sizes[event]
    return out


def _padded(every: list[list[int]], like: Tensor) -> Tensor:
    room = like.shape[2]
    return like.new_tensor([[*events, *[-1] * (room - len(events))] for events in every])[None]


def _after(state: EventState, count: int) -> EventState:
    """Without the first tokens in context."""
    parts = {name: getattr(state, name)[:, count:] for name in ("local", "surprises", "marks", "drawn")}
    return replace(state, **parts, held=state.held - count)
