"""What the memories around a pretrained model share: a stream read in blocks, with the memory in each layer's view.

    reader = EMLLM(model)
    logits, state, _ = reader(ids)                 # reads and remembers, block by block
    state = reader.recall(question, state)         # choose what the question asks for; nothing is written
    new, state = reader.generate(question, state)

Blocks end where the state says, not where a call does: one long call, many short ones and single tokens give the same.
Keys and values are kept before rotation, positions are put in when they are looked at.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from slowwave.errors import InputError
from slowwave.state.attending import Attending, Look, turned
from slowwave.state.base import Aux, Output, StateModule
from slowwave.state.kernels.attention import prefix_attention
from slowwave.state.kernels.growing import appended
from slowwave.state.kernels.surprise import surprise
from slowwave.state.packing import unflatten
from slowwave.state.values import State, joined


@dataclass(frozen=True)
class ReaderState(State):
    """What every reader keeps of a stream beside its memory.

    local   (batch, held, layers, 2, kv heads, dim): keys, unrotated, and values of the tokens still in context
    asked   (batch, begun, layers or 1, features): what the tokens of the present block ask of the memory
    logits  (batch, vocabulary): what is expected next
    held, begun, seen  (batch,) int64: tokens in context, in the present block, ever
    """

    local: Tensor
    asked: Tensor
    logits: Tensor
    held: Tensor
    begun: Tensor
    seen: Tensor


S = TypeVar("S", bound=ReaderState)


class Reader(StateModule[S]):
    """Base of the memories around a frozen model. A subclass says how a block begins, and what becomes of one.

    model  of transformers, (model, tokenizer), or a path

    Takes token ids (batch, time) and gives logits (batch, time, vocabulary).
    """

    tokens = True
    bounded = False
    block: int
    grown: ClassVar[Mapping[str, str]] = MappingProxyType({"local": "held", "asked": "begun"})  # leaf -> its counter
    counters: ClassVar[tuple[str, ...]] = ("held", "begun")  # in which rows must be alike to be read together
    choice: ClassVar[tuple[str, ...]] = ()  # what of a state `_choose` sets
    learns: ClassVar[bool] = False  # whether gradients pass through what it does
    alone: ClassVar[bool] = True  # whether rows are read one by one, since what they hold differs in size

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.base_model = Attending.of(model)
        self.width, self.out_width = self.base_model.width, self.base_model.vocabulary

    # -- what a subclass gives

    @abstractmethod
    def _view(self, state: S) -> View:
        """How the next tokens of a block are looked at."""

    @abstractmethod
    def _close(self, state: S) -> S:
        """The state when a block is full: what leaves the context, what is written."""

    def reach(self) -> int:
        """Positions that a stream takes at most; a question that is kept whole in view takes more."""
        return self.block

    def _choose(self, state: S) -> S:
        """The state with the memories that the tokens in `asked` call for; where nothing is chosen, itself."""
        return state

    def _kept(self, view: View, ids: Tensor, logits: Tensor, state: S) -> S:
        """The state with these tokens in context; a subclass adds what it keeps beside."""
        count = ids.shape[1]
        return replace(
            state,
            local=appended(state.local, view.record()),
            asked=appended(state.asked, self._asks(view, ids, logits, state)),
            logits=logits[:, -1],
            held=state.held + count,
            begun=state.begun + count,
            seen=state.seen + count,
        )

    def _surprise(self, ids: Tensor, logits: Tensor, state: S) -> Tensor:
        """How unexpected each of these tokens was, (batch, time), the first by what was expected before."""
        return surprise(torch.cat([state.logits[:, None], logits], 1), F.pad(ids, (1, 0)))[:, 1:]

    def _asks(self, view: View, ids: Tensor, logits: Tensor, state: S) -> Tensor:
        """(batch, time, layers or 1, features) of these tokens."""
        return state.asked.new_zeros(*ids.shape, *state.asked.shape[2:])

    # -- the verbs

    def _chunk(self, x: Tensor, state: S, lengths: Tensor) -> tuple[Tensor, S, Aux]:
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            parts: list[Any] = []
            order: list[int] = []
            out = torch.zeros(*x.shape, self.out_width, dtype=self._dtype(), device=x.device)
            for rows in self._groups(state, lengths):
                part = self._trimmed(state, rows)
                count = int(lengths[rows[0]])
                if count:
                    y, part = self._stream(x[rows, :count], part)
                    out = y if len(rows) == len(x) and count == x.shape[1] else _placed(out, y, rows)
                parts.append(part)
                order += rows
            whole = parts[0] if len(parts) == 1 else joined(parts)
            if order != list(range(len(order))):
                whole = whole.select(torch.tensor(order).argsort())
            return out, self._filled(whole), {}

    def _step(self, x: Tensor, state: S) -> tuple[Tensor, S, Aux]:
        y, new, aux = self._chunk(x[:, None], state, torch.ones_like(x))
        return y[:, 0], new, aux

    def _steps(self, x: Tensor, state: S, mask: Tensor | None) -> Output:
        ys = []
        for t in range(x.shape[1]):
            here = torch.ones_like(x[:, 0]) if mask is None else mask[:, t].to(torch.int64)
            y, state, _ = self._chunk(x[:, t : t + 1], state, here)
            ys.append(y)
        return Output(torch.cat(ys, 1), state, {})

    def read(self, query: Tensor, state: S) -> Tensor:
        """The logits after each of these tokens (batch, time), each alone after this same state."""
        self._fits(query, state, None, "chunk")
        if not query.numel():
            return self._nothing(query)
        with torch.no_grad():
            rows = [self._trimmed(state, [b]) for b in range(len(query))]
            every = [[self._run(query[b : b + 1, t : t + 1], row)[0][0, 0] for t in range(query.shape[1])]
                     for b, row in enumerate(rows)]  # fmt: skip
        return torch.stack([torch.stack(row) for row in every])

    def logits(self, ids: Tensor, state: S) -> Tensor:
        """The logits of a text (batch, time) that follows the state and is kept whole in view; nothing is written."""
        self._fits(ids, state, None, "chunk")
        if not ids.numel():
            return self._nothing(ids)
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            found = [(rows, self._run(ids[rows], self._trimmed(state, rows))[0])
                     for rows in self._groups(state, torch.full(ids.shape[:1], ids.shape[1]))]  # fmt: skip
            order = [row for rows, _ in found for row in rows]
            return torch.cat([y for _, y in found])[torch.tensor(order).argsort()]

    @torch.no_grad()
    def recall(self, ids: Tensor, state: S) -> S:
        """The state with the memories in view that these tokens (batch, time) ask for; they are not written.

        The choice stays until the present block ends.
        """
        self._fits(ids, state, None, "chunk")
        if not ids.numel():
            return state
        out = []
        for row in range(len(ids)):
            part = self._trimmed(state, [row])
            asking = replace(part, asked=part.asked[:, :0], begun=torch.zeros_like(part.begun))
            _, after = self._run(ids[row : row + 1], asking)
            chosen = self._choose(after)
            out.append(replace(part, **{name: getattr(chosen, name) for name in self.choice}))
        return self._filled(joined(out))

    @torch.no_grad()
    def generate(
        self, ids: Tensor, state: S | None = None, max_new_tokens: int = 32,
        until: Callable[[list[int]], bool] | None = None, recall: bool = True,
    ) -> tuple[Tensor, S]:  # fmt: skip
        """The likeliest tokens after a prompt (1, time), (1, said), and the state after prompt and answer.

        until   whether what was said is enough; the model's own end, which is not told, ends it too
        recall  choose memories by the prompt first, by its last `block` tokens if it is longer, and keep to them until
                the answer ends; else each block is read as any other
        """
        if ids.shape[0] != 1:
            raise InputError(f"generate takes one row and got {ids.shape[0]}; call it for each")
        if not ids.shape[1]:
            raise InputError("the prompt has no tokens; ask something")
        now = self.init_state(1) if state is None else state
        _, now, question = self._asked(ids, now, recall)
        ends = _ends(self.base_model.model)
        said: list[int] = []
        for _ in range(max_new_tokens):
            best = int(now.logits[0].argmax())
            if best in ends:
                break
            said.append(best)
            _, now = self._while_asking(ids.new_tensor([[best]]), now, question)
            if until is not None and until(said):
                break
        return ids.new_tensor([said]), now

    def _asked(self, ids: Tensor, state: S, recall: bool = True) -> tuple[Tensor, S, Tensor | None]:
        """The logits (1, time, vocabulary) of a prompt (1, time), the state after it, and what of it is the question:
        the last block, by which memories are chosen. What comes before is read as any stream."""
        question = ids[:, max(0, ids.shape[1] - self.block) :] if recall and self.choice else None
        if question is None:
            y, now, _ = self.forward(ids, state)
            return y, now, None
        before, now, _ = self.forward(ids[:, : ids.shape[1] - question.shape[1]], state)
        y, now = self._while_asking(question, self.recall(question, now), question)
        return torch.cat([before, y], 1), now, question

    def _while_asking(self, ids: Tensor, state: S, question: Tensor | None) -> tuple[Tensor, S]:
        """The logits of these tokens (1, time) and the state after them; where a block ends on the way, what the
        question calls for is chosen anew, and not what the block asked."""
        ys, at = [self._nothing(ids[:, :0])], 0
        while at < ids.shape[1]:
            left = self.block - int(state.begun[0])
            y, state, _ = self.forward(ids[:, at : at + left], state)
            ys.append(y)
            at += left
            if question is not None and not int(state.begun[0]):
                state = self.recall(question, state)
        return torch.cat(ys, 1), state

    # -- states

    def _fits(self, x: Tensor, state: State | None, mask: Tensor | None, mode: str) -> None:
        super()._fits(x, state, mask, mode)
        vocabulary = self.base_model.vocabulary
        if x.numel() and not 0 <= int(x.min()) <= int(x.max()) < vocabulary:
            raise InputError(f"ids are {int(x.min())} to {int(x.max())}; the model's are 0 to {vocabulary - 1}")

    def _empty(self, batch: int, asks: tuple[int, int]) -> dict[str, Tensor]:
        """The shared part of a fresh state; asks (layers or 1, features)."""
        base = self.base_model
        counts = [self._zeros(batch, dtype=torch.int64) for _ in range(3)]
        return {
            "local": self._zeros(batch, self._room("local"), base.layers, 2, base.kv_heads, base.dim),
            "asked": self._zeros(batch, self._room("asked"), *asks),
            "logits": self._zeros(batch, base.vocabulary),
            **dict(zip(("held", "begun", "seen"), counts, strict=True)),
        }

    def _room(self, leaf: str) -> int:
        """Entries that a leaf has at least, so that a bounded state keeps its size."""
        return 0

    def _trimmed(self, state: S, rows: list[int]) -> S:
        """These rows, which hold equally much, without the filling."""
        picked = state if len(rows) == state.batch else state.select(torch.tensor(rows))
        leaves = picked.leaves()
        counts = {leaf: int(leaves[counter][0]) for leaf, counter in self.grown.items()}
        return picked.named_map(lambda name, leaf: leaf[:, : counts[name]] if name in counts else leaf)

    def _filled(self, state: S) -> S:
        """With filling up to the room of each leaf."""

        def fill(name: str, leaf: Tensor) -> Tensor:
            short = self._room(name) - leaf.shape[1] if name in self.grown else 0
            return torch.cat([leaf, leaf.new_zeros(leaf.shape[0], short, *leaf.shape[2:])], 1) if short > 0 else leaf

        return state.named_map(fill)

    def _groups(self, state: S, lengths: Tensor) -> list[list[int]]:
        """Rows that can be read together: alone, or those that hold and get equally many."""
        if self.alone:
            return [[row] for row in range(state.batch)]
        leaves = state.leaves()
        counters = [leaves[name].tolist() for name in self.counters]
        kinds: dict[tuple[int, ...], list[int]] = {}
        for row, key in enumerate(zip(lengths.tolist(), *counters, strict=True)):
            kinds.setdefault(tuple(key), []).append(row)
        return list(kinds.values())

    def _stream(self, ids: Tensor, state: S) -> tuple[Tensor, S]:
        ys, at = [], 0
        while at < ids.shape[1]:
            count = min(self.block - int(state.begun[0]), ids.shape[1] - at)
            y, state = self._run(ids[:, at : at + count], state)
            ys.append(y)
            at += count
            if int(state.begun[0]) == self.block:
                state = self._close(state)
        return torch.cat(ys, 1) if len(ys) > 1 else ys[0], state

    def _run(self, ids: Tensor, state: S) -> tuple[Tensor, S]:
        view = self._view(state)
        logits = self.base_model.through(ids, view)
        return logits, self._kept(view, ids, logits, state)

    def example(self, batch: int, time: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.base_model.vocabulary, (batch, time), generator=generator)

    @classmethod
    def small(cls) -> Self:
        from slowwave.models.causal import fake_causal

        return cls(fake_causal(), **cls.SMALL)


class View(Look):
    """A layer sees, causally, the tokens in context and those that come; and before them, what `far` gives.

    local   (batch, held, layers, 2, kv heads, dim)
    offset  the position at which the context begins
    """

    def __init__(self, base: Attending, local: Tensor, offset: int = 0) -> None:
        super().__init__(base)
        self.local, self.offset = local, offset
        self.new: list[Tensor] = []
        self.queries: list[Tensor] = []
        self._turn: tuple[Tensor, Tensor] | None = None

    def far(self, layer: int, q: Tensor, turned_q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
        """Queries, keys, values (batch, heads or kv heads, ..., dim), positions put in, and which of them are there."""
        return None

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        time, held = q.shape[2], self.local.shape[1]
        if self._turn is None:  # the same in every layer
            places = torch.arange(self.offset, self.offset + held + time, device=q.device)
            cos, sin = self.base.angles(places)
            self._turn = cos.to(q.dtype), sin.to(q.dtype)
        cos, sin = self._turn
        own = self.local[:, :, layer].to(q.dtype)
        keys = turned(torch.cat([own[:, :, 0].transpose(1, 2), k], 2), cos, sin)
        values = torch.cat([own[:, :, 1].transpose(1, 2), v], 2)
        turned_q = turned(q, cos[held:], sin[held:])
        self.new.append(torch.stack([k, v], 1))
        self.queries.append(q)
        far = self.far(layer, q, turned_q)
        there = None if far is None else far[3]
        out, weights = prefix_attention(
            (turned_q, keys, values), None if far is None else (far[0], far[1], far[2]), there, scale
        )
        self.drew(layer, weights[..., weights.shape[-1] - held - time :])
        return out

    def drew(self, layer: int, weights: Tensor) -> None:
        """What attention (batch, heads, time, held + time) the tokens in context drew."""

    def record(self) -> Tensor:
        """Of the tokens that came: (batch, time, layers, 2, kv heads, dim)."""
        return torch.stack(self.new, 1).permute(0, 4, 1, 2, 3, 5)

    def grouped_queries(self) -> Tensor:
        """Queries of the tokens that came, unrotated, summed over those that share a key: (batch, time, layers,
        kv heads x dim)."""
        every = torch.stack(self.queries, 1)  # (batch, layers, heads, time, dim)
        summed = unflatten(every, 2, self.base.kv_heads, -1).sum(3)
        return summed.permute(0, 3, 1, 2, 4).flatten(3)


def _placed(out: Tensor, y: Tensor, rows: list[int]) -> Tensor:
    """`out` with y (rows, count, ...) at the front of these rows."""
    if not y.requires_grad and not out.requires_grad:
        out[rows, : y.shape[1]] = y
        return out
    padded = torch.cat([y, y.new_zeros(y.shape[0], out.shape[1] - y.shape[1], *y.shape[2:])], 1)
    return out.index_copy(0, torch.tensor(rows), padded)


def _ends(model: Any) -> set[int]:
    config = getattr(model, "generation_config", None)
    found = getattr(config, "eos_token_id", None)
    return set(found) if isinstance(found, list) else set() if found is None else {int(found)}
