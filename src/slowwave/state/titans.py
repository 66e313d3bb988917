"""Titans: a small network in the layer is the memory, and learns by gradient descent while the stream passes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.base import Aux, StateModule, at_least
from slowwave.state.kernels.attention import rotate
from slowwave.state.kernels.conv import causal_conv, conv_step
from slowwave.state.kernels.descent import Course, descend, inner_gradients
from slowwave.state.kernels.scan import scan
from slowwave.state.packing import Grid, there
from slowwave.state.parts import RMSNorm, split, unit
from slowwave.state.values import State
from slowwave.state.window import WindowAttention, WindowState

Weights = tuple[Tensor, ...]  # a layer each: (batch, heads, out, in)


@dataclass(frozen=True)
class MemoryState(State):
    """The memory's weights less their learned start, their momentum, and what they were when the chunk began.

    delta, momentum, opened  a tensor a layer, (batch, heads, out, in)
    past                     inputs of the convolution (batch, taps - 1, 3 width)
    position                 (batch,) int64, tokens so far
    """

    delta: Weights
    momentum: Weights
    opened: Weights
    past: Tensor
    position: Tensor


class Gates(NamedTuple):
    """What a token says of its own writing, each (batch, heads, time): step size, momentum, what is kept."""

    rate: Tensor
    momentum: Tensor
    keep: Tensor


class NeuralMemory(StateModule[MemoryState]):
    """The memory alone (LMM): see `Titans` for the equations and the parameters."""

    name = "titans-memory"
    SMALL = {"width": 8, "heads": 2, "chunk": 4, "expansion": 2}  # noqa: RUF012

    def __init__(
        self,
        width: int,
        heads: int = 1,
        depth: int = 2,
        expansion: int = 4,
        chunk: int = 64,
        taps: int = 4,
        rate: float = 1.0,
        momentum: bool = True,
        decay: bool = True,
        clip: float = 10.0,
    ) -> None:
        super().__init__()
        at_least(1, width=width, heads=heads, depth=depth, expansion=expansion, chunk=chunk)
        at_least(0, taps=taps)
        if width % heads:
            raise InputError(f"width {width} must divide by heads {heads}")
        self.width = self.out_width = width
        self.heads, self.depth, self.expansion, self.chunk, self.taps = heads, depth, expansion, chunk, taps
        self.rate, self.momentum, self.decay, self.clip = rate, momentum, decay, clip
        dim = width // heads
        sizes = [dim, *[expansion * dim] * (depth - 1), dim]
        self.start = nn.ParameterList(
            nn.Parameter(torch.randn(heads, out, size) * size**-0.5) for size, out in pairwise(sizes)
        )
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.conv = nn.Parameter(torch.randn(3 * width, taps) * max(taps, 1) ** -0.5) if taps else None
        self.gates = nn.Linear(width, 3 * heads)
        with torch.no_grad():  # at first: half the largest step, little momentum, little forgetting
            self.gates.weight.mul_(0.1)
            self.gates.bias.copy_(torch.tensor([0.0, -2.0, -5.0]).repeat_interleave(heads))
        self.norm = RMSNorm(dim)
        self.out_gate = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> MemoryState:
        nothing = tuple(self._zeros(batch, *layer.shape) for layer in self.start)
        past = self._zeros(batch, max(self.taps - 1, 0), 3 * self.width)
        return MemoryState(nothing, nothing, nothing, past, self._zeros(batch, dtype=torch.int64))

    # -- the forward pass in its two forms

    def _chunk(self, x: Tensor, state: MemoryState, lengths: Tensor) -> tuple[Tensor, MemoryState, Aux]:
        raw, past = self.qkv(x), state.past
        if self.conv is not None:
            raw, past = causal_conv(raw, self.conv, past, lengths)
        grid = Grid(self.chunk, state.position % self.chunk, lengths, x.shape[1])
        laid = [grid.lay(part) for part in (*self._heads(raw), *self.gates_of(x))]
        valid, closed = grid.valid, grid.closed
        ys = []
        for n in range(grid.blocks):
            q, k, v, rate, momentum, keep = (part[:, n].transpose(1, 2) for part in laid)
            y, state = self.block(q, k, v, Gates(rate, momentum, keep), state, valid[:, n], closed[:, n])
            ys.append(y.transpose(1, 2))
        y = grid.lift(torch.stack(ys, 1))
        new = MemoryState(state.delta, state.momentum, state.opened, past, state.position + lengths)
        return self.read_out(y, x), new, {}

    def _step(self, x: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState, Aux]:
        raw, past = self.qkv(x), state.past
        if self.conv is not None:
            raw, past = conv_step(raw, self.conv, past)
        q, k, v = self._heads(raw)
        y, new = self.learn(q, k, v, Gates(*self.gates_of(x)), state)
        new = MemoryState(new.delta, new.momentum, new.opened, past, new.position)
        return self.read_out(y[:, None], x[:, None])[:, 0], new, {}

    def read(self, query: Tensor, state: MemoryState) -> Tensor:
        """What the memory answers to each query, were it the next token; nothing is learned from it."""
        self._fits(query, state, None, "chunk")
        raw = self.qkv(query)
        if self.conv is not None:
            past = torch.einsum("bkc,ck->bc", state.past, self.conv[:, :-1])
            raw = raw * self.conv[:, -1] + past[:, None]
        q, _, _ = self._heads(raw)
        return self.read_out(self.apply_memory(q.transpose(1, 2), state.delta).transpose(1, 2), query)

    # -- the memory's own arithmetic

    def block(
        self, q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState, valid: Tensor, closed: Tensor
    ) -> tuple[Tensor, MemoryState]:
        """A chunk at once: every gradient is taken at the weights with which the chunk opened, every read at its own
        token's weights, which are never written out.

        Gradients of one token are outer products, so the weights at token t, applied to a vector, are the old weights
        applied to it plus an attention over the tokens up to t. q, k, v (batch, heads, size, dim); valid (batch, size);
        closed (batch,), whether the chunk ends here.
        """
        own = valid[:, None].to(q.dtype)
        keep, momentum = 1 - own * (1 - gates.keep), 1 - own * (1 - gates.momentum)
        size = q.shape[2]
        eye = torch.eye(size, dtype=q.dtype, device=q.device)
        time_first = [part.permute(2, 0, 1)[..., None] for part in (momentum, keep, own)]
        sources = torch.cat([eye[:, None, None].expand(-1, *q.shape[:2], -1), torch.zeros_like(time_first[0])], -1)
        first = F.one_hot(torch.tensor(size), size + 1).to(q.dtype)  # the momentum from before, as a source of its own
        speeds = scan(time_first[0], sources, first.expand(*q.shape[:2], -1))
        moves = scan(time_first[1], time_first[2] * speeds).permute(1, 2, 0, 3)  # (batch, heads, size, size + 1)
        last_speed = speeds[-1] * F.pad(gates.rate * own, (0, 1), value=1.0)
        moves = moves * F.pad(gates.rate * own, (0, 1), value=1.0)[:, :, None]
        within, before = moves[..., :size], moves[..., size:]
        kept = keep.cumprod(-1)[..., None]
        course = Course(
            within, before, kept, kept[:, :, -1, 0], before[:, :, -1, 0], last_speed[..., size],
            within[:, :, -1], last_speed[..., :size],
        )  # fmt: skip
        y, delta, speed = descend(
            q, k, v, course, self.clip, list(self.start), state.delta, state.momentum, state.opened
        )
        if bool(closed.all()):  # mostly so; spares a copy of the weights
            return y, MemoryState(delta, speed, delta, state.past, state.position)
        begins = closed[:, None, None, None]
        opened = tuple(torch.where(begins, new, was) for new, was in zip(delta, state.opened, strict=True))
        return y, MemoryState(delta, speed, opened, state.past, state.position)

    def learn(
        self, q: Tensor, k: Tensor, v: Tensor, gates: Gates, state: MemoryState
    ) -> tuple[Tensor, MemoryState]:
        """One token, written out: q, k, v (batch, heads, dim). The reference of `block`."""
        inputs, errors = self.gradients(k[:, :, None], v[:, :, None], state.opened)
        rate, momentum, keep = (gate[..., None, None] for gate in gates)
        speed = tuple(
            momentum * old - rate * error.transpose(-1, -2) @ into
            for old, error, into in zip(state.momentum, errors, inputs, strict=True)
        )
        delta = tuple(keep * old + moving for old, moving in zip(state.delta, speed, strict=True))
        position = state.position + 1
        begins = (position % self.chunk == 0)[:, None, None, None]
        opened = tuple(torch.where(begins, new, was) for new, was in zip(delta, state.opened, strict=True))
        y = self.apply_memory(q[:, :, None], delta)[:, :, 0]
        return y, MemoryState(delta, speed, opened, state.past, position)

    def apply_memory(self, x: Tensor, delta: Weights) -> Tensor:
        """The network with these weights: x (batch, heads, time, dim)."""
        for n, (start, change) in enumerate(zip(self.start, delta, strict=True)):
            x = x @ (start + change).transpose(-1, -2)
            x = x if n == self.depth - 1 else F.silu(x)
        return x

    def gradients(self, k: Tensor, v: Tensor, delta: Weights) -> tuple[list[Tensor], list[Tensor]]:
        """Each token's gradient of |M(k) - v|², a layer each, as an outer product; see `inner_gradients`."""
        weights = [start + change for start, change in zip(self.start, delta, strict=True)]
        return inner_gradients(k, v, weights, self.clip)

    def _heads(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., 3 width) -> q and k of unit length, v: (..., heads, dim)."""
        q, k, v = (split(part, self.heads) for part in F.silu(raw).chunk(3, -1))
        return unit(q), unit(k), v

    def gates_of(self, x: Tensor) -> Gates:
        """(..., width) -> each gate (..., heads)."""
        rate, momentum, forget = self.gates(x).sigmoid().chunk(3, -1)
        return Gates(
            rate * self.rate,
            momentum if self.momentum else torch.zeros_like(momentum),
            1 - forget if self.decay else torch.ones_like(forget),
        )

    def read_out(self, y: Tensor, x: Tensor) -> Tensor:
        """(batch, time, heads, dim) -> (batch, time, width), normed and gated by the token."""
        out: Tensor = self.out(self.norm(y).flatten(-2) * F.silu(self.out_gate(x)))
        return out

    def hand_gradients(self, generator: torch.Generator) -> list[tuple[str, Tensor, Tensor]]:
        dim, dtype = self.width // self.heads, self._dtype()
        k, v = (torch.randn(1, self.heads, 3, dim, generator=generator, dtype=dtype) for _ in range(2))
        delta = tuple(
            torch.randn(1, *layer.shape, generator=generator, dtype=dtype).mul(0.1).requires_grad_()
            for layer in self.start
        )
        loss = (self.apply_memory(k, delta) - v).pow(2).sum()
        by_autograd = torch.autograd.grad(loss, delta)
        clip, self.clip = self.clip, torch.inf
        inputs, errors = self.gradients(k, v, delta)
        self.clip = clip
        by_hand = [e.transpose(-1, -2) @ i for i, e in zip(inputs, errors, strict=True)]
        return [(f"layer {n}", h, a) for n, (h, a) in enumerate(zip(by_hand, by_autograd, strict=True))]


@dataclass(frozen=True)
class SegmentState(State):
    """MAC: the memory, and keys and values of the segment so far, (batch, chunk, heads, dim) each: of the tokens, and
    of what the memory answered to them."""

    memory: MemoryState
    keys: Tensor
    values: Tensor
    read_keys: Tensor
    read_values: Tensor


@dataclass(frozen=True)
class TwoState(State):
    """MAG and MAL: the memory and the window."""

    memory: MemoryState
    window: WindowState


class Titans(StateModule[State]):
    """A memory that is a network, in one of four layouts.

    With keys and queries of unit length, loss |M_W(k) - v|², step size, momentum and forgetting read off each token:

        S[t] = momentum[t] S[t-1] - rate[t] ∇loss        W[t] = keep[t] W[t-1] + S[t]        y[t] = M_W[t](q[t])

    width       of a token
    layout      "mac": attention over learned tokens, what the memory answers, and the segment; the memory learns from
                what comes out. "mag": a window beside the memory, which gates it. "mal": the memory, then a window.
                "lmm": the memory alone
    heads       of attention and of the memory, each with a network of its own
    depth       of the memory's network; 1 is a matrix
    expansion   its inner width, in widths of a head
    chunk       tokens whose gradients are taken at the same weights; the segment of "mac"
    window      tokens seen by the attention of "mag" and "mal"
    persistent  learned tokens that attention always sees
    taps        of the convolution before q, k and v of the memory; 0 for none
    rate        the largest step; 0 switches writing off
    momentum    whether surprise carries on
    decay       whether it forgets
    clip        the largest norm of one token's gradient

    Example:
        >>> import torch
        >>> memory = Titans(width=32, layout="mac", heads=2, chunk=16)
        >>> y, state, _ = memory(torch.randn(1, 40, 32))
        >>> tuple(y.shape), memory.spec().bounded
        ((1, 40, 32), True)
    """

    name = "titans"
    paper = "Titans: Learning to Memorize at Test Time"
    operations = ("updating", "forgetting", "retrieval", "compression")
    claim = (
        "Needle test at 16K: MAC 97.4 and memory alone 80.2, where DeltaNet has 5.4 and Mamba2 0.0; WikiText "
        "perplexity at 340M 25.43 (MAC) against 27.01 for Gated DeltaNet. A later paper by the authors has in-context "
        "recall at 42.31, Transformer 53.55."
    )
    differs = (
        "Forgetting leads back to the learned starting weights, not to zero, where a network of two layers gets no "
        "gradient. A token is read after it is written. A token's gradient is clipped by its norm, which keeps streams "
        "of any length finite. Gates are one a head and token, neither pooled over chunks nor channelwise. In MAC the "
        "segment is the memory's chunk, a token attends to what the memory answered up to itself, and the memory takes "
        "no convolution, as attention mixes neighbours already. Gating is norm(y) x SiLU(norm(M(y))) and a projection. "
        "SiLU inside the memory, no residual or norm there."
    )
    proof = "proofs/titans.py"
    skips = {"an_empty_memory_leaves_the_base_model_as_it_is": "it is a layer and wraps no model"}  # noqa: RUF012
    SMALL = {"width": 8, "heads": 2, "chunk": 4, "window": 4, "expansion": 2, "persistent": 2}  # noqa: RUF012

    def __init__(
        self,
        width: int,
        layout: Literal["mac", "mag", "mal", "lmm"] = "mac",
        heads: int = 1,
        depth: int = 2,
        expansion: int = 4,
        chunk: int = 64,
        window: int = 64,
        persistent: int = 4,
        taps: int = 4,
        rate: float = 1.0,
        momentum: bool = True,
        decay: bool = True,
        clip: float = 10.0,
    ) -> None:
        super().__init__()
        if layout not in ("mac", "mag", "mal", "lmm"):
            raise InputError(f"layout is {layout!r}; there are 'mac', 'mag', 'mal' and 'lmm'")
        at_least(1, window=window)
        at_least(0, persistent=persistent)
        self.width = self.out_width = width
        self.layout, self.heads, self.depth, self.expansion = layout, heads, depth, expansion
        self.chunk, self.window, self.persistent, self.taps = chunk, window, persistent, taps
        self.rate, self.momentum, self.decay, self.clip = rate, momentum, decay, clip
        own_taps = 0 if layout == "mac" else taps
        self.memory = NeuralMemory(
            width, heads, depth, expansion, chunk, own_taps, rate, momentum, decay, clip
        )
        if layout == "lmm":
            return
        if layout == "mac":
            self.attention = WindowAttention(width, heads, chunk, persistent)
            self.ask = nn.Linear(width, width, bias=False)
            self.carry = nn.Linear(width, 2 * width, bias=False)
        else:
            self.attention = WindowAttention(width, heads, window, persistent)
        if layout != "mal":
            self.norm_attention, self.norm_memory = RMSNorm(width), RMSNorm(width)
            self.out = nn.Linear(width, width, bias=False)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> State:
        memory = self.memory.init_state(batch)
        if self.layout == "lmm":
            return memory
        if self.layout != "mac":
            return TwoState(memory, self.attention.init_state(batch))
        held = self._zeros(batch, self.chunk, self.heads, self.width // self.heads)
        return SegmentState(memory, held, held, held, held)

    def _chunk(self, x: Tensor, state: State, lengths: Tensor) -> tuple[Tensor, State, Aux]:
        if isinstance(state, MemoryState):
            return self.memory._chunk(x, state, lengths)
        if isinstance(state, SegmentState):
            return self._segments(x, state, lengths)
        assert isinstance(state, TwoState)
        m, memory, _ = self.memory._chunk(x, state.memory, lengths)
        if self.layout == "mal":
            y, window, _ = self.attention._chunk(m, state.window, lengths)
        else:
            y, window, _ = self.attention._chunk(x, state.window, lengths)
            y = self._gated(y, m)
        return y, TwoState(memory, window), {}

    def _step(self, x: Tensor, state: State) -> tuple[Tensor, State, Aux]:
        if isinstance(state, MemoryState):
            return self.memory._step(x, state)
        if isinstance(state, SegmentState):
            return self._segment_step(x, state)
        assert isinstance(state, TwoState)
        m, memory, _ = self.memory._step(x, state.memory)
        if self.layout == "mal":
            y, window, _ = self.attention._step(m, state.window)
        else:
            y, window, _ = self.attention._step(x, state.window)
            y = self._gated(y, m)
        return y, TwoState(memory, window), {}

    def _gated(self, y: Tensor, m: Tensor) -> Tensor:
        out: Tensor = self.out(self.norm_attention(y) * F.silu(self.norm_memory(m)))
        return out

    # -- memory as context

    def _segments(self, x: Tensor, state: SegmentState, lengths: Tensor) -> tuple[Tensor, SegmentState, Aux]:
        grid = Grid(self.chunk, state.memory.position % self.chunk, lengths, x.shape[1])
        laid, valid, closed = grid.lay(x), grid.valid, grid.closed
        places = torch.arange(self.chunk, device=x.device)[None].expand(len(x), -1)
        begun = there(grid.start, self.chunk)  # of the first segment, what came before
        memory, ys = state.memory, []
        held = [state.keys, state.values, state.read_keys, state.read_values]
        for n in range(grid.blocks):
            block = laid[:, n]
            q, fresh = self._project(block, memory, places)
            if n == 0:
                fresh = [torch.where(begun[:, :, None, None], old, new) for old, new in zip(held, fresh, strict=True)]
            y = self._attend(q, places, fresh)
            qm, km, vm = (part.transpose(1, 2) for part in self.memory._heads(self.memory.qkv(y)))
            gates = Gates(*(gate.transpose(1, 2) for gate in self.memory.gates_of(y)))
            m, memory = self.memory.block(qm, km, vm, gates, memory, valid[:, n], closed[:, n])
            ys.append(self._gated(y, self.memory.read_out(m.transpose(1, 2), y)))
            last = (n + 1) * self.chunk > grid.start + lengths
            reached = (n * self.chunk < grid.start + lengths) & last  # the row's segment that stays open
            stays = reached[:, None, None, None]
            held = [torch.where(stays, new, old) for old, new in zip(held, fresh, strict=True)]
        open_places = there(grid.end, self.chunk)[:, :, None, None]
        kept = [torch.where(open_places, part, torch.zeros_like(part)) for part in held]
        memory = MemoryState(
            memory.delta, memory.momentum, memory.opened, memory.past, state.memory.position + lengths
        )
        return grid.lift(torch.stack(ys, 1)), SegmentState(memory, *kept), {}

    def _segment_step(self, x: Tensor, state: SegmentState) -> tuple[Tensor, SegmentState, Aux]:
        place = (state.memory.position % self.chunk)[:, None]
        q, fresh = self._project(x[:, None], state.memory, place)
        here = F.one_hot(place[:, 0], self.chunk).to(torch.bool)[:, :, None, None]
        held = (state.keys, state.values, state.read_keys, state.read_values)
        filled = [torch.where(here, new, old) for old, new in zip(held, fresh, strict=True)]
        y = self._attend(q, place, filled)[:, 0]
        m, memory = self.memory.learn(
            *self.memory._heads(self.memory.qkv(y)), Gates(*self.memory.gates_of(y)), state.memory
        )
        out = self._gated(y, self.memory.read_out(m[:, None], y[:, None])[:, 0])
        ends = (place == self.chunk - 1)[:, :, None, None]
        kept = [torch.where(ends, torch.zeros_like(part), part) for part in filled]
        return out, SegmentState(memory, *kept), {}

    def _project(self, x: Tensor, memory: MemoryState, places: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Queries (batch, time, heads, dim), and keys (turned) and values of the tokens and of the memory's answers."""
        q, k, v = (split(part, self.heads) for part in self.attention.qkv(x).chunk(3, -1))
        asked = unit(split(F.silu(self.ask(x)), self.heads)).transpose(1, 2)
        answer = self.memory.norm(self.memory.apply_memory(asked, memory.opened).transpose(1, 2)).flatten(2)
        read_k, read_v = (split(part, self.heads) for part in self.carry(answer).chunk(2, -1))
        turned = [rotate(part.transpose(1, 2), places).transpose(1, 2) for part in (k, read_k)]
        return q, [turned[0], v, turned[1], read_v]

    def _attend(self, q: Tensor, places: Tensor, held: list[Tensor]) -> Tensor:
        """Each token over the learned tokens, the segment's answers and the segment, as far as its own place."""
        k, v, read_k, read_v = (part.transpose(1, 2) for part in held)
        turned = rotate(q.transpose(1, 2), places)
        dim = q.shape[-1]
        _, own_k, own_v = (split(part, self.heads) for part in self.attention.qkv(self.attention.learned).chunk(3, -1))
        queries = torch.cat([turned, q.transpose(1, 2)], -1)  # the second half meets the learned tokens alone
        always_k = F.pad(own_k.transpose(0, 1), (dim, 0)).expand(len(q), -1, -1, -1)
        keys = torch.cat([always_k, F.pad(torch.cat([read_k, k], 2), (0, dim))], 2)
        values = torch.cat([own_v.transpose(0, 1).expand(len(q), -1, -1, -1), read_v, v], 2)
        seen = torch.arange(self.chunk, device=q.device) <= places[..., None]  # (batch, time, chunk)
        allowed = F.pad(torch.cat([seen, seen], -1), (own_k.shape[0], 0), value=True)[:, None]
        y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=allowed, scale=dim**-0.5)
        out: Tensor = self.attention.out(y.transpose(1, 2).flatten(2))
        return out

    def read(self, query: Tensor, state: State) -> Tensor:
        """The memory's answers to queries, gated as the layout has it; nothing is learned."""
        if isinstance(state, MemoryState):
            return self.memory.read(query, state)
        return super().read(query, state)

    def hand_gradients(self, generator: torch.Generator) -> list[tuple[str, Tensor, Tensor]]:
        return self.memory.hand_gradients(generator)



