"""MEMO: facts whose items are kept apart, and a question that hops over them as often as it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.base import Aux, StateModule, at_least
from slowwave.state.packing import take, there
from slowwave.state.parts import split
from slowwave.state.values import State


@dataclass(frozen=True)
class MemoState(State):
    """facts (batch, capacity, width), the newest last; count (batch,) int64, of all that were written."""

    facts: Tensor
    count: Tensor


class Hops(NamedTuple):
    """How a question went over the facts.

    answers   (batch, time, hops, width), one after every hop
    weights   (batch, time, hops, heads, facts)
    halt      (batch, time, hops), the probability to stop after this hop if it is reached; ones at the last
    """

    answers: Tensor
    weights: Tensor
    halt: Tensor

    def stop(self) -> Tensor:
        """(batch, time, hops): the probability to stop after exactly this hop."""
        going = torch.cat([torch.ones_like(self.halt[..., :1]), (1 - self.halt[..., :-1]).cumprod(-1)], -1)
        return going * self.halt

    def loss(self, losses: Tensor, prior: float = 0.5, weight: float = 0.01) -> Tensor:
        """What halting learns from: the loss expected over hops, and a penalty on stopping otherwise than the prior.

        losses  (batch, time, hops), what each hop's answer costs
        prior   the chance to stop after a hop, of the geometric distribution that is held to be likely
        weight  of the divergence from it

        Source: Banino et al. 2021 (PonderNet). Differs: the prior is cut at the last hop.
        """
        stop = self.stop()
        likely = prior * (1 - prior) ** torch.arange(stop.shape[-1], dtype=stop.dtype, device=stop.device)
        apart = (stop * (stop.clamp_min(1e-12) * likely.sum() / likely).log()).sum(-1)
        return ((stop * losses).sum(-1) + weight * apart).mean()


class MEMO(StateModule[MemoState]):
    """An episodic memory of facts: a token is a fact of several items, `items` x `item` wide, and also a question.

    A fact is c = [x_1 W; ...; x_S W], so that its items can be told apart; per head k = W_k c, v = W_v c. A question
    hops: w = softmax(q Kᵀ), q' = LN(W_r [reads] + W_q q). After each hop a small GRU sees how far the weights moved
    (their Bhattacharyya distance) and which hop it is, and says whether to stop.

    item      width of an item
    items     of a fact, and of a question (what is not asked is zero)
    common    width that an item is mapped to
    heads     of attention over facts
    dim       of a head
    hops      at most
    halting   learn when to stop; otherwise all hops are made
    capacity  facts kept; the oldest leaves
    dropout   on the answer

    In a stream each token asks the facts before it, and is then written. `write` facts, then `read` questions.

    Example:
        >>> import torch
        >>> memory = MEMO(item=8, items=2, common=16, heads=2, dim=16, capacity=10)
        >>> facts = memory.write(torch.randn(1, 6, 16), memory.init_state(1))
        >>> tuple(memory.read(torch.randn(1, 3, 16), facts).shape)
        (1, 3, 32)
    """

    name = "memo"
    paper = "MEMO: A Deep Network for Flexible Combination of Episodic Memories"
    operations = ("retrieval", "indexing")
    claim = (
        "Paired associative inference A-C 98.26 against 85.60 for the Universal Transformer; bAbI error 0.21 % against "
        "4.2 % (lengths 4 and 5 unverified)."
    )
    differs = (
        "Halting is trained as in PonderNet (Banino et al. 2021: `Hops.loss`, the loss expected over hops and a "
        "penalty towards a geometric prior), not by REINFORCE, which collapses unless the hops are fixed first; "
        "`halting` is off by default for the same reason. Facts carry no position. Of more facts than `capacity` the "
        "oldest go."
    )
    proof = "proofs/memo.py"
    skips = {  # noqa: RUF012
        "an_empty_memory_leaves_the_base_model_as_it_is": "it is a memory of facts and wraps no model",
        "gradients_by_hand_are_right": "it derives no gradient by hand",
    }
    SMALL = {"item": 4, "items": 2, "common": 6, "heads": 2, "dim": 4, "hops": 2, "capacity": 40}  # noqa: RUF012

    def __init__(
        self,
        item: int,
        items: int = 2,
        common: int = 64,
        heads: int = 2,
        dim: int = 64,
        hops: int = 4,
        halting: bool = False,
        capacity: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if hops < 1:
            raise InputError(f"hops is {hops}; a question makes at least one")
        at_least(1, item=item, items=items, common=common, heads=heads, dim=dim, capacity=capacity)
        self.item, self.items, self.common, self.heads, self.dim = item, items, common, heads, dim
        self.hops, self.halting, self.capacity, self.dropout = hops, halting, capacity, dropout
        self.width = item * items
        inner = heads * dim
        self.out_width = inner
        self.map = nn.Linear(item, common, bias=False)
        self.kv = nn.Linear(items * common, 2 * inner)
        self.question = nn.Linear(items * common, inner)
        self.from_read = nn.Linear(inner, inner)
        self.from_question = nn.Linear(inner, inner, bias=False)
        self.norm = nn.LayerNorm(inner)
        self.answer = nn.Sequential(nn.Linear(inner, inner), nn.ReLU(), nn.Dropout(dropout))
        self.watch = nn.GRUCell(1 + hops, 16) if halting else None
        self.stop = nn.Linear(16, 1) if halting else None

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> MemoState:
        return MemoState(self._zeros(batch, self.capacity, self.width), self._zeros(batch, dtype=torch.int64))

    def _chunk(self, x: Tensor, state: MemoState, lengths: Tensor) -> tuple[Tensor, MemoState, Aux]:
        time = x.shape[1]
        joined = torch.cat([state.facts, x], 1)
        places = torch.arange(self.capacity + time, device=x.device)
        ends = self.capacity + torch.arange(time, device=x.device)[:, None]
        oldest = self.capacity - state.count.clamp(max=self.capacity)
        seen = (places < ends) & (places >= ends - self.capacity)
        visible = seen[None] & (places >= oldest[:, None])[:, None]
        found = self._hop(x, joined, visible)
        last = lengths[:, None] + torch.arange(self.capacity, device=x.device)
        return self._settled(found), MemoState(take(joined, last), state.count + lengths), self._aux(found, lengths)

    def _step(self, x: Tensor, state: MemoState) -> tuple[Tensor, MemoState, Aux]:
        one = torch.ones(len(x), dtype=torch.int64, device=x.device)
        y, new, aux = self._chunk(x[:, None], state, one)
        return y[:, 0], new, aux

    def read(self, query: Tensor, state: MemoState) -> Tensor:
        """The answers (batch, time, out_width) to questions; an empty memory leaves them as they were asked."""
        return self._settled(self.hop(query, state))

    def hop(self, query: Tensor, state: MemoState) -> Hops:
        """Every hop of every question over the facts that are kept."""
        self._fits(query, state, None, "chunk")
        held = there(state.count.clamp(max=self.capacity), self.capacity).flip(1)
        return self._hop(query, state.facts, held[:, None].expand(-1, query.shape[1], -1))

    def _hop(self, query: Tensor, facts: Tensor, visible: Tensor) -> Hops:
        k, v = (split(part, self.heads) for part in self.kv(self._apart(facts)).chunk(2, -1))
        q = self.question(self._apart(query))
        none = ~visible.any(-1)[:, :, None, None]
        watched = q.new_zeros(q.shape[0] * q.shape[1], 16)
        answers, every, halts = [], [], []
        for n in range(self.hops):
            logits = torch.einsum("bthd,bfhd->bthf", split(q, self.heads), k) * self.dim**-0.5
            logits = logits.masked_fill(~visible[:, :, None], torch.finfo(logits.dtype).min)
            weights = logits.softmax(-1).masked_fill(none, 0.0)
            read = torch.einsum("bthf,bfhd->bthd", weights, v).flatten(2)
            q = self.norm(self.from_read(read) + self.from_question(q))
            answers.append(self.answer(q))
            every.append(weights)
            if self.watch is not None and self.stop is not None:
                before = every[-2] if n else torch.zeros_like(weights)
                watched = self.watch(self._seen(before, weights, n), watched)
                halts.append(self.stop(watched).sigmoid().view(q.shape[:2]))
        halt = torch.stack([*halts[:-1], torch.ones_like(halts[-1])], -1) if halts else q.new_zeros(0)
        if not halts:
            halt = torch.zeros(*q.shape[:2], self.hops, dtype=q.dtype, device=q.device)
            halt[..., -1] = 1
        return Hops(torch.stack(answers, 2), torch.stack(every, 2), halt)

    def _seen(self, before: Tensor, weights: Tensor, n: int) -> Tensor:
        """What the halting network is shown, gradients cut: how far the weights moved, and which hop it is."""
        overlap = (before * weights).detach().sqrt().sum(-1).mean(-1)
        hop = torch.eye(self.hops, dtype=weights.dtype, device=weights.device)[n]
        return torch.cat([(1 - overlap).flatten()[:, None], hop.expand(overlap.numel(), -1)], 1)

    def _settled(self, found: Hops) -> Tensor:
        """The answers, weighted by the probability to stop at each hop."""
        return (found.stop()[..., None] * found.answers).sum(2)

    def _aux(self, found: Hops, lengths: Tensor) -> Aux:
        hops = torch.arange(1, self.hops + 1, dtype=found.halt.dtype, device=found.halt.device)
        here = there(lengths, found.halt.shape[1]).to(found.halt.dtype)
        expected = (found.stop() @ hops).detach()
        return {"hops": (expected * here).sum() / here.sum().clamp_min(1)}

    def _apart(self, x: Tensor) -> Tensor:
        """(..., items x item) -> (..., items x common): each item mapped alike, and kept at its place."""
        mapped: Tensor = self.map(split(x, self.items)).flatten(-2)
        return mapped
