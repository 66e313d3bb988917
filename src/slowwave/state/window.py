"""Attention over the last `window` tokens, beside learned tokens always seen: a part of Titans, and a baseline."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.base import Aux, StateModule, at_least
from slowwave.state.kernels.attention import rotate, window_attention
from slowwave.state.packing import Packing, take, there
from slowwave.state.parts import split
from slowwave.state.values import State


@dataclass(frozen=True)
class WindowState(State):
    """The last keys (rotated) and values (batch, window, heads, dim), the newest last; tokens so far (batch,)."""

    keys: Tensor
    values: Tensor
    position: Tensor


class WindowAttention(StateModule[WindowState]):
    """Causal attention with rotary positions over a window that moves along.

    width       of a token
    heads       of attention
    window      tokens that each sees, itself included
    persistent  learned tokens that every token sees, without a position
    """

    name = "window-attention"
    SMALL = {"width": 8, "heads": 2, "window": 4, "persistent": 2}  # noqa: RUF012

    def __init__(self, width: int, heads: int = 1, window: int = 64, persistent: int = 0) -> None:
        super().__init__()
        at_least(1, width=width, heads=heads, window=window)
        at_least(0, persistent=persistent)
        if width % (2 * heads):
            raise InputError(f"width {width} must divide by 2 x heads {heads}: positions turn pairs of numbers")
        self.width = self.out_width = width
        self.heads, self.window, self.persistent = heads, window, persistent
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.learned = nn.Parameter(torch.randn(persistent, width) * width**-0.5)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> WindowState:
        held = self._zeros(batch, self.window, self.heads, self.width // self.heads)
        return WindowState(held, held.clone(), self._zeros(batch, dtype=torch.int64))

    def _chunk(self, x: Tensor, state: WindowState, lengths: Tensor) -> tuple[Tensor, WindowState, Aux]:
        q, k, v = (split(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        positions = state.position[:, None] + torch.arange(x.shape[1], device=x.device)
        turned = rotate(k.transpose(1, 2), positions).transpose(1, 2)
        out = self._attend(q, rotate(q.transpose(1, 2), positions), turned, v, state)
        return self.out(out.flatten(2)), self._moved(turned, v, state, lengths), {}

    def _step(self, x: Tensor, state: WindowState) -> tuple[Tensor, WindowState, Aux]:
        one = torch.ones(len(x), dtype=torch.int64, device=x.device)
        y, new, aux = self._chunk(x[:, None], state, one)
        return y[:, 0], new, aux

    def write(self, x: Tensor, state: WindowState, mask: Tensor | None = None) -> WindowState:
        """The state after these tokens, none of which looks at another."""
        self._fits(x, state, mask, "chunk")
        packing = Packing.of(torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask)
        x = packing.pack(x)
        k, v = (split(part, self.heads) for part in self.qkv(x)[..., self.width :].chunk(2, -1))
        positions = state.position[:, None] + torch.arange(x.shape[1], device=x.device)
        turned = rotate(k.transpose(1, 2), positions).transpose(1, 2)
        return state.where(packing.lengths > 0, self._moved(turned, v, state, packing.lengths))

    def read(self, query: Tensor, state: WindowState) -> Tensor:
        """What each query (batch, time, width) sees as the next token; none of them joins, and none sees another."""
        self._fits(query, state, None, "chunk")
        q, k, v = (split(part, self.heads).transpose(1, 2) for part in self.qkv(query).chunk(3, -1))
        positions = state.position[:, None].expand(-1, query.shape[1])
        turned_q, turned_k = rotate(q, positions), rotate(k, positions)
        past_k, past_v = (part[:, 1:].permute(0, 2, 3, 1) for part in (state.keys, state.values))
        held = there(state.position.clamp(max=self.window), self.window).flip(1)[:, None, None, 1:]
        before = (turned_q @ past_k).masked_fill(~held, -torch.inf)
        _, own_k, own_v = (split(part, self.heads).transpose(0, 1) for part in self.qkv(self.learned).chunk(3, -1))
        always = q @ own_k.transpose(-1, -2)
        itself = (turned_q * turned_k).sum(-1, keepdim=True)
        weights = (torch.cat([always, before, itself], -1) * q.shape[-1] ** -0.5).softmax(-1)
        a, b, c = weights.split([self.persistent, self.window - 1, 1], -1)
        out = a @ own_v + b @ past_v.transpose(-1, -2) + c * v
        found: Tensor = self.out(out.transpose(1, 2).flatten(2))
        return found

    def _moved(self, k: Tensor, v: Tensor, state: WindowState, lengths: Tensor) -> WindowState:
        """The window after these keys, turned, and values."""
        last = lengths[:, None] + torch.arange(self.window, device=k.device)  # places in [past ‖ new]
        keys, values = take(torch.cat([state.keys, k], 1), last), take(torch.cat([state.values, v], 1), last)
        return WindowState(keys, values, state.position + lengths)

    def _attend(self, q: Tensor, turned_q: Tensor, k: Tensor, v: Tensor, state: WindowState) -> Tensor:
        """q (batch, time, heads, dim), turned_q (batch, heads, time, dim), k turned -> (batch, time, heads, dim).

        Learned tokens have no position: half of each query, unturned, meets them alone, the other half all others.
        """
        held = there(state.position.clamp(max=self.window), self.window).flip(1)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        past_k, past_v = state.keys.transpose(1, 2), state.values.transpose(1, 2)
        if not self.persistent:
            return window_attention(turned_q, k, v, past_k, past_v, held).transpose(1, 2)
        _, own_k, own_v = (split(part, self.heads) for part in self.qkv(self.learned).chunk(3, -1))
        return window_attention(
            turned_q, k, v, past_k, past_v, held, (q, own_k.transpose(0, 1), own_v.transpose(0, 1))
        ).transpose(1, 2)


def reference_window(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """What window attention is, as one masked attention: (batch, heads, time, dim), no past."""
    time = q.shape[2]
    seen = torch.ones(time, time, dtype=torch.bool).tril().triu(1 - window)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
