"""HCAM: past steps kept in chunks; summaries are looked at first, then the few best chunks are read in detail."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.base import Aux, StateModule, at_least
from slowwave.state.kernels.two_level import two_level
from slowwave.state.packing import Grid
from slowwave.state.parts import split
from slowwave.state.values import State


@dataclass(frozen=True)
class HcamState(State):
    """chunks (batch, capacity, chunk, width), a ring; open (batch, chunk, width), the one being filled; position
    (batch,) int64, tokens so far."""

    chunks: Tensor
    open: Tensor
    position: Tensor


class HCAM(StateModule[HcamState]):
    """A hierarchical memory: each token asks what is kept, then joins it.

    Relevance r = (x W_q)(mean of chunk W_k) / sqrt(width) over the chunks; the k best are weighed by a softmax over
    these alone. Inside each, attention of several heads from x to the steps, with their place counted back from the
    chunk's end; the answers are summed by relevance.

    width     of a token
    chunk     steps of a chunk
    k         chunks read in detail
    heads     of the attention inside
    capacity  chunks kept; the oldest leaves for the next
    store     "stop": no gradient goes into what is kept, as in the paper; "through": it does
    unfinished  also read the chunk that is being filled, as one more to choose from

    Example:
        >>> import torch
        >>> memory = HCAM(width=16, chunk=4, heads=2, capacity=8)
        >>> y, state, _ = memory(torch.randn(1, 30, 16))
        >>> int(state.position), tuple(state.chunks.shape)
        (30, (1, 8, 4, 16))
    """

    name = "hcam"
    paper = "Towards mental time travel: a hierarchical memory for reinforcement learning agents"
    operations = ("indexing", "retrieval")
    claim = (
        "On the ballet task near ceiling where TrXL and LSTM fall off, also on sequences an order of magnitude longer "
        "than trained (figures only)."
    )
    differs = (
        "The memory is bounded: the oldest chunk leaves when `capacity` is reached. The chunk that is being filled can "
        "be read (`unfinished`, on by default), where the paper's is invisible until it is full. Chunks that are not "
        "visible yet are cut out before the softmax, not scored -1e6."
    )
    proof = "proofs/hcam.py"
    skips = {  # noqa: RUF012
        "an_empty_memory_leaves_the_base_model_as_it_is": "it is a layer and wraps no model",
        "gradients_by_hand_are_right": "it derives no gradient by hand",
    }
    SMALL = {"width": 8, "chunk": 3, "k": 2, "heads": 2, "capacity": 3, "store": "through"}  # noqa: RUF012

    places: Tensor

    def __init__(
        self,
        width: int,
        chunk: int = 16,
        k: int = 4,
        heads: int = 4,
        capacity: int = 32,
        store: str = "stop",
        unfinished: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, width=width, chunk=chunk, k=k, heads=heads, capacity=capacity)
        if width % heads:
            raise InputError(f"width {width} must divide by heads {heads}")
        if store not in ("stop", "through"):
            raise InputError(f"store is {store!r}; give 'stop' (no gradient into what is kept) or 'through'")
        self.width = self.out_width = width
        self.chunk, self.k, self.heads, self.capacity = chunk, k, heads, capacity
        self.store, self.unfinished = store, unfinished
        self.summary_q = nn.Linear(width, width, bias=False)
        self.summary_k = nn.Linear(width, width, bias=False)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.register_buffer("places", _sinusoids(chunk, width), persistent=False)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> HcamState:
        return HcamState(
            self._zeros(batch, self.capacity, self.chunk, self.width),
            self._zeros(batch, self.chunk, self.width),
            self._zeros(batch, dtype=torch.int64),
        )

    def _chunk(self, x: Tensor, state: HcamState, lengths: Tensor) -> tuple[Tensor, HcamState, Aux]:
        grid = Grid(self.chunk, state.position % self.chunk, lengths, x.shape[1])
        laid, closed = grid.lay(x), grid.closed
        begun = torch.arange(self.chunk, device=x.device) < grid.start[:, None]
        ring, unfinished, position, ys = state.chunks, state.open, state.position, []
        full = state.position // self.chunk  # chunks completed before this one
        for n in range(grid.blocks):
            kept = laid[:, n].detach() if self.store == "stop" else laid[:, n]
            if n == 0:
                kept = torch.where(begun[..., None], state.open, kept)
            ys.append(self._ask(laid[:, n], ring, kept, full))
            ends = closed[:, n]
            here = torch.arange(self.capacity, device=x.device) == (full % self.capacity)[:, None]
            ring = torch.where((here & ends[:, None])[..., None, None], kept[:, None], ring)
            reached = n * self.chunk < grid.start + lengths
            unfinished = torch.where(reached[:, None, None], kept, unfinished)
            unfinished = torch.where(ends[:, None, None], torch.zeros_like(unfinished), unfinished)
            full = full + ends.to(full.dtype)
        held = torch.arange(self.chunk, device=x.device) < grid.end[:, None]
        unfinished = torch.where(held[..., None], unfinished, torch.zeros_like(unfinished))
        y = self.out(grid.lift(torch.stack(ys, 1)))
        return y, HcamState(ring, unfinished, position + lengths), {}

    def _step(self, x: Tensor, state: HcamState) -> tuple[Tensor, HcamState, Aux]:
        one = torch.ones(len(x), dtype=torch.int64, device=x.device)
        y, new, aux = self._chunk(x[:, None], state, one)
        return y[:, 0], new, aux

    def read(self, query: Tensor, state: HcamState) -> Tensor:
        """What is kept, asked by each query (batch, time, width); none of them joins it."""
        self._fits(query, state, None, "chunk")
        held = (state.position % self.chunk)[:, None].expand(-1, query.shape[1])
        y = self._ask(query, state.chunks, state.open, state.position // self.chunk, held)
        out: Tensor = self.out(y)
        return out

    def sleep(self, state: HcamState, budget: int | None = None) -> HcamState:
        """Let go of all but the newest `budget` chunks (half of the capacity if not given)."""
        self._awake(state, budget)
        budget = self.capacity // 2 if budget is None else budget
        full = state.position // self.chunk
        age = self._ages(full)
        stays = (age < budget) & (age < full[:, None])
        return HcamState(state.chunks * stays[..., None, None].to(state.chunks.dtype), state.open, state.position)

    def _ages(self, full: Tensor) -> Tensor:
        """(batch, capacity): how many chunks ago each place of the ring was filled, 0 for the newest."""
        places = torch.arange(self.capacity, device=full.device)
        ages: Tensor = (full[:, None] - 1 - places) % self.capacity
        return ages

    def _ask(self, x: Tensor, ring: Tensor, unfinished: Tensor, full: Tensor, held: Tensor | None = None) -> Tensor:
        """Each token of a block over the ring and, up to itself, over its own chunk: (batch, time, width).

        held  (batch, time), steps of the open chunk that each may see; None for those before it
        """
        batch, time = x.shape[:2]
        steps = torch.arange(self.chunk, device=x.device)
        held = torch.arange(time, device=x.device).expand(batch, -1) if held is None else held
        filled = (ring != 0).any(-1).any(-1) & (self._ages(full) < full[:, None])
        k, v = (split(part, self.heads) for part in self.kv(ring + self.places).chunk(2, -1))
        summaries = self.summary_k(ring.mean(2))
        asked, inside = self.summary_q(x), split(self.q(x), self.heads)
        scores = asked @ summaries.transpose(-1, -2) * self.width**-0.5
        if not self.unfinished:
            visible = filled[:, None].expand(-1, time, -1)
            return two_level(asked, inside, summaries, k, v, visible, self.k)[0].flatten(2)
        # the open chunk is another for every token: its mean and its contents end before the token
        seen = (steps < held[..., None]).to(x.dtype)  # (batch, time, chunk)
        mean = (seen @ unfinished) / held[..., None].clamp_min(1).to(x.dtype)
        own = (asked * self.summary_k(mean)).sum(-1, keepdim=True) * self.width**-0.5
        scores = scores.masked_fill(~filled[:, None], -torch.inf)
        scores = torch.cat([scores, own.masked_fill((held == 0)[..., None], -torch.inf)], -1)
        best, chosen = scores.topk(min(self.k, self.capacity + 1), -1)
        exists = best > -torch.inf
        weights = torch.where(exists, best, torch.finfo(best.dtype).min).softmax(-1) * exists.to(best.dtype)
        own_k, own_v = (split(part, self.heads) for part in self.kv(unfinished + self.places).chunk(2, -1))
        all_k, all_v = torch.cat([k, own_k[:, None]], 1), torch.cat([v, own_v[:, None]], 1)
        rows = torch.arange(batch, device=x.device)[:, None, None]
        logits = torch.einsum("bthd,btkshd->btkhs", inside, all_k[rows, chosen]) * inside.shape[-1] ** -0.5
        is_own = (chosen == self.capacity)[..., None, None]
        hidden = is_own & (steps >= held[..., None])[:, :, None, None] & (held > 0)[:, :, None, None, None]
        inner = logits.masked_fill(hidden, -torch.inf).softmax(-1)
        read = torch.einsum("btkhs,btkshd->btkhd", inner, all_v[rows, chosen])
        return (weights[..., None, None] * read).sum(2).flatten(2)


def _sinusoids(chunk: int, width: int) -> Tensor:
    """(chunk, width): each step's place, counted back from the end of its chunk."""
    back = torch.arange(chunk - 1, -1, -1, dtype=torch.float64)[:, None]
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.cat([(back * rates).sin(), (back * rates).cos()], 1)[:, :width].to(torch.get_default_dtype())


