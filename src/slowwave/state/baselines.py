"""What every memory has to beat, under the same interface: delta rule, linear attention, GRU, LSTM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slowwave.state.base import Aux, StateModule
from slowwave.state.kernels.matrix import linear_attention
from slowwave.state.mom import MoM
from slowwave.state.packing import take, there
from slowwave.state.parts import RMSNorm, split
from slowwave.state.values import State


class DeltaRule(MoM):
    """One matrix memory, written by the (gated) delta rule: MoM without a mixture.

    width, heads, dim, gated, taps, chunk  as in MoM
    """

    name = "delta-rule"
    SMALL = {"width": 8, "heads": 2, "dim": 4, "chunk": 4}  # noqa: RUF012

    def __init__(
        self, width: int, heads: int = 1, dim: int = 0, gated: bool = False, taps: int = 4, chunk: int = 32
    ) -> None:
        super().__init__(width, 1, 1, heads, dim, False, gated, taps, 0.0, False, chunk)


@dataclass(frozen=True)
class MatrixState(State):
    """matrix (batch, heads, dim, dim), the sum of all pairs, and norm (batch, heads, dim), that of all keys."""

    matrix: Tensor
    norm: Tensor


class LinearAttention(StateModule[MatrixState]):
    """A matrix that every pair is added to and nothing leaves: attention without a softmax, of constant size.

    width  of a token
    heads  matrices side by side
    dim    of a key and of a value
    chunk  tokens done at once
    """

    name = "linear-attention"
    SMALL = {"width": 8, "heads": 2, "dim": 4, "chunk": 4}  # noqa: RUF012

    def __init__(self, width: int, heads: int = 1, dim: int = 0, chunk: int = 32) -> None:
        super().__init__()
        self.width = self.out_width = width
        self.heads, self.dim, self.chunk = heads, dim or width // heads, chunk
        inner = heads * self.dim
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.norm = RMSNorm(self.dim)
        self.out = nn.Linear(inner, width, bias=False)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> MatrixState:
        return MatrixState(
            self._zeros(batch, self.heads, self.dim, self.dim), self._zeros(batch, self.heads, self.dim)
        )

    def _chunk(self, x: Tensor, state: MatrixState, lengths: Tensor) -> tuple[Tensor, MatrixState, Aux]:
        q, k, v = (split(part, self.heads).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        here = there(lengths, x.shape[1])[:, None]
        matrix, norm, ys = state.matrix, state.norm, []
        for start in range(0, x.shape[1], self.chunk):
            now = slice(start, start + self.chunk)
            y, matrix, norm = linear_attention(q[:, :, now], k[:, :, now], v[:, :, now], matrix, norm, here[..., now])
            ys.append(y)
        y = self.norm(torch.cat(ys, 2)).transpose(1, 2).flatten(2)
        return self.out(y), MatrixState(matrix, norm), {}

    def _step(self, x: Tensor, state: MatrixState) -> tuple[Tensor, MatrixState, Aux]:
        one = torch.ones(len(x), dtype=torch.int64, device=x.device)
        y, new, aux = self._chunk(x[:, None], state, one)
        return y[:, 0], new, aux


@dataclass(frozen=True)
class RecurrentState(State):
    """hidden (batch, units), and of an LSTM the one cell (batch, units)."""

    hidden: Tensor
    cell: tuple[Tensor, ...]


class Recurrent(StateModule[RecurrentState]):
    """An LSTM or a GRU, and a projection back to the width.

    width  of a token
    units  of the state
    kind   "lstm" or "gru"
    """

    name = "recurrent"
    SMALL = {"width": 8, "units": 6}  # noqa: RUF012

    def __init__(self, width: int, units: int = 64, kind: str = "lstm") -> None:
        super().__init__()
        self.width = self.out_width = width
        self.units, self.kind = units, kind
        self.cell = (nn.LSTM if kind == "lstm" else nn.GRU)(width, units, batch_first=True)
        self.out = nn.Linear(units, width, bias=False)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> RecurrentState:
        cell = (self._zeros(batch, self.units),) if self.kind == "lstm" else ()
        return RecurrentState(self._zeros(batch, self.units), cell)

    def _chunk(self, x: Tensor, state: RecurrentState, lengths: Tensor) -> tuple[Tensor, RecurrentState, Aux]:
        if bool((lengths == x.shape[1]).all()):
            y, last = self._all(x, state)
            return self.out(y), last, {}
        every, cells, now = [], [], state  # rows end at different places, and cells are needed there: token by token
        for t in range(x.shape[1]):
            _, now = self._all(x[:, t : t + 1], now)
            every.append(now.hidden)
            cells.append(now.cell)
        places = (lengths - 1).clamp_min(0)[:, None]
        y = torch.stack(every, 1)
        cell = tuple(take(torch.stack(part, 1), places)[:, 0] for part in zip(*cells, strict=True))
        last = RecurrentState(take(y, places)[:, 0], cell)
        return self.out(y), last, {}

    def _step(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState, Aux]:
        y, last = self._all(x[:, None], state)
        return self.out(y)[:, 0], last, {}

    def _all(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, RecurrentState]:
        hidden = state.hidden[None].contiguous()
        if self.kind == "lstm":
            y, (hidden, cell) = self.cell(x, (hidden, state.cell[0][None].contiguous()))
            return y, RecurrentState(hidden[0], (cell[0],))
        y, hidden = self.cell(x, hidden)
        return y, RecurrentState(hidden[0], state.cell)
