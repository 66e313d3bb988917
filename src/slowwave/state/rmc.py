"""RMC: an LSTM whose cell is a matrix of slots that attend to one another and to the input at every step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.base import Aux, StateModule, at_least
from slowwave.state.packing import there
from slowwave.state.parts import split
from slowwave.state.values import State


@dataclass(frozen=True)
class RmcState(State):
    """slots (batch, slots, heads x dim)."""

    slots: Tensor


class RMC(StateModule[RmcState]):
    """A relational memory core.

    Each step the slots M and the input, projected to a slot's width, are attended over together:
    Z = LN(X + MHA(X)) of X = [M; x], Z = LN(Z + MLP(Z)), the input's row is dropped, and M' = i tanh(Z) + f M, gated by
    x and tanh(M). What comes out is the whole matrix in one row, projected back to the width.

    width    of a token
    slots    rows of the memory; all share their weights
    heads    of attention
    dim      of a head; a slot is heads x dim wide
    gate     "unit", one gate a number, or "slot", one a row
    blocks   times that attention is run in a step
    hidden   layers of the network after attention
    flat     give out the whole matrix (slots x heads x dim) as it is, not projected

    Example:
        >>> import torch
        >>> memory = RMC(width=16, slots=4, heads=2, dim=8)
        >>> tuple(memory(torch.randn(3, 5, 16)).state.slots.shape)
        (3, 4, 16)
    """

    name = "rmc"
    paper = "Relational recurrent neural networks"
    operations = ("updating", "forgetting", "retrieval")
    claim = (
        "N-th farthest 91 % against under 30 % for LSTM and DNC; Mini-PacMan 677 against 550; perplexity 1.4 to 5.4 "
        "better on three corpora."
    )
    differs = (
        "Queries come from slots and input, as in the authors' code, not from the slots alone, as in the formula. The "
        "matrix is projected back to the token's width, so that the core fits where other memories do; `flat` gives it "
        "as it is. Input projections of a stretch are worked out together; the slots are stepped, as they must be."
    )
    proof = "proofs/rmc.py"
    skips = {  # noqa: RUF012
        "an_empty_memory_leaves_the_base_model_as_it_is": "it is a layer and wraps no model",
        "gradients_by_hand_are_right": "it derives no gradient by hand",
    }
    SMALL = {"width": 8, "slots": 3, "heads": 2, "dim": 4}  # noqa: RUF012

    def __init__(
        self,
        width: int,
        slots: int = 8,
        heads: int = 4,
        dim: int = 32,
        gate: str = "unit",
        blocks: int = 1,
        hidden: int = 2,
        flat: bool = False,
    ) -> None:
        super().__init__()
        if gate not in ("unit", "slot"):
            raise InputError(f"gate is {gate!r}; give 'unit' (one a number) or 'slot' (one a row)")
        at_least(1, width=width, slots=slots, heads=heads, dim=dim, blocks=blocks)
        at_least(0, hidden=hidden)
        self.width, self.slots, self.heads, self.dim = width, slots, heads, dim
        self.gate, self.blocks, self.hidden, self.flat = gate, blocks, hidden, flat
        row = heads * dim
        self.out_width = slots * row if flat else width
        self.input = nn.Linear(width, row)
        self.qkv = nn.Linear(row, 3 * row)
        self.norm_qkv = nn.LayerNorm(3 * row)
        self.norms = nn.ModuleList([nn.LayerNorm(row), nn.LayerNorm(row)])
        layers: list[nn.Module] = []
        for n in range(hidden):
            layers += [nn.Linear(row, row), *([nn.ReLU()] if n < hidden - 1 else [])]
        self.network = nn.Sequential(*layers)
        gates = 2 * (row if gate == "unit" else 1)
        self.gate_input = nn.Linear(row, gates)
        self.gate_memory = nn.Linear(row, gates)
        self.out = nn.Identity() if flat else nn.Linear(slots * row, width)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> RmcState:
        row = self.heads * self.dim
        eye = torch.eye(self.slots, row, dtype=self._dtype(), device=self._device())
        return RmcState(eye.expand(batch, -1, -1).clone())

    def _chunk(self, x: Tensor, state: RmcState, lengths: Tensor) -> tuple[Tensor, RmcState, Aux]:
        row = self.input(x)
        gates, here = self.gate_input(row), there(lengths, x.shape[1])
        ragged = bool((lengths < x.shape[1]).any())
        every, slots = [], state.slots
        for t in range(x.shape[1]):
            new = self._moved(row[:, t], gates[:, t], slots)
            slots = torch.where(here[:, t, None, None], new, slots) if ragged else new
            every.append(slots)
        return self.out(torch.stack(every, 1).flatten(2)), RmcState(slots), {}

    def _step(self, x: Tensor, state: RmcState) -> tuple[Tensor, RmcState, Aux]:
        row = self.input(x)
        slots = self._moved(row, self.gate_input(row), state.slots)
        return self.out(slots.flatten(1)), RmcState(slots), {}

    def _moved(self, row: Tensor, gates: Tensor, slots: Tensor) -> Tensor:
        """The slots after one input: row (batch, heads x dim), its part of the gates."""
        z = torch.cat([slots, row[:, None]], 1)
        for _ in range(self.blocks):
            q, k, v = (split(part, self.heads).transpose(1, 2) for part in self.norm_qkv(self.qkv(z)).chunk(3, -1))
            attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            z = self.norms[0](z + attended)
            z = self.norms[1](z + self.network(z))
        enter, keep = (gates[:, None] + self.gate_memory(slots.tanh())).chunk(2, -1)
        moved: Tensor = enter.sigmoid() * z[:, :-1].tanh() + (keep + 1).sigmoid() * slots
        return moved
