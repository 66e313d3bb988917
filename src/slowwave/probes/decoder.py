"""Our own tiny decoder for small trainings: pre-norm blocks, rotary positions, SwiGLU, tied embedding; torch alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of a decoder; `hidden` 0 takes 8/3 of the width, rounded up to a multiple of 32."""

    vocabulary: int
    width: int = 96
    layers: int = 3
    heads: int = 4
    hidden: int = 0
    context: int = 256
    tied: bool = True


class Attention(nn.Module):
    """Causal self-attention; `forward` gives (output, weights), weights only where `keep_weights` is set."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = nn.Linear(config.width, config.width, bias=False)
        self.k_proj = nn.Linear(config.width, config.width, bias=False)
        self.v_proj = nn.Linear(config.width, config.width, bias=False)
        self.o_proj = nn.Linear(config.width, config.width, bias=False)
        self.keep_weights = False

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        b, t, d = x.shape
        parts = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (part(x).view(b, t, self.heads, -1).transpose(1, 2) for part in parts)
        q, k = rotate(q, rotation), rotate(k, rotation)
        weights = None
        if self.keep_weights or mask is not None:
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
            causal = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
            allowed = causal if mask is None else causal & mask
            weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
            mixed = weights @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).reshape(b, t, d)), weights


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        hidden = config.hidden or -(-config.width * 8 // 3 // 32) * 32
        self.gate_proj = nn.Linear(config.width, hidden, bias=False)
        self.up_proj = nn.Linear(config.width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention and feed-forward, each on the normed stream and added to it."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.norm_1 = nn.RMSNorm(config.width)
        self.self_attn = Attention(config)
        self.norm_2 = nn.RMSNorm(config.width)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.norm_1(x), rotation, mask)[0]
        return x + self.mlp(self.norm_2(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """A causal language model: ids (batch, time) int64 -> logits (batch, time, vocabulary).

    >>> model = Decoder(DecoderConfig(vocabulary=11, width=32, layers=1, heads=2), seed=0)
    >>> model(torch.zeros(2, 5, dtype=torch.int64)).shape
    torch.Size([2, 5, 11])
    """

    def __init__(self, config: DecoderConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.heads, self.width = config.heads, config.width
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(config.vocabulary, config.width)
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
            self.norm = nn.RMSNorm(config.width)
            self.head = nn.Linear(config.width, config.vocabulary, bias=False)
            self.apply(_start)
            for block in self.blocks:  # residual branches start small, so that depth does not grow the stream
                for part in (block.self_attn.o_proj, block.mlp.down_proj):  # type: ignore[union-attr]
                    nn.init.normal_(part.weight, std=0.02 / (2 * config.layers) ** 0.5)  # type: ignore[arg-type, union-attr]
        if config.tied:
            self.head.weight = self.embedding.weight
        angles = torch.outer(
            torch.arange(config.context).float(),
            10_000.0 ** (-torch.arange(0, config.width // config.heads, 2).float() / (config.width // config.heads)),
        )
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask (batch, 1, time, time) or (time, time) bool narrows what each position may see; None is plain causal."""
        rotation = (self.cos[: ids.shape[1]], self.sin[: ids.shape[1]])  # type: ignore[index]
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, rotation, mask)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions (Su et al. 2021) on the halves of the last dimension."""
    cos, sin = rotation
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def _start(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
