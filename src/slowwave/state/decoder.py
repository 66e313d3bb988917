"""A small language model of our own, whose blocks mix tokens by any state-form memory: for proofs and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.state.base import Aux, Mode, StateModule
from slowwave.state.parts import RMSNorm

States = tuple[Any, ...]


class Decoder(nn.Module):
    """Tokens in, logits out; each block is x + memory(norm(x)), then x + network(norm(x)).

    vocabulary  how many tokens there are
    width       of the stream between blocks
    mixers      called once a block, each gives a memory of this width
    expansion   inner width of the network, in widths

    Example:
        >>> import torch
        >>> from slowwave.state.mom import MoM
        >>> model = Decoder(50, 16, [lambda: MoM(16, heads=2)] * 2)
        >>> logits, states, loss = model(torch.randint(50, (1, 9)))
        >>> tuple(logits.shape)
        (1, 9, 50)
    """

    def __init__(
        self, vocabulary: int, width: int, mixers: Sequence[Callable[[], StateModule[Any]]], expansion: int = 2
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.mixers = nn.ModuleList(make() for make in mixers)
        self.norms = nn.ModuleList(RMSNorm(width) for _ in range(2 * len(mixers) + 1))
        inner = expansion * width
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width)) for _ in mixers
        )
        self.head = nn.Linear(width, vocabulary, bias=False)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> States:
        """A fresh state a block."""
        return tuple(mixer.init_state(batch, generator) for mixer in self._memories())

    def forward(
        self, ids: Tensor, states: States | None = None, mask: Tensor | None = None, mode: Mode = "chunk"
    ) -> tuple[Tensor, States, Aux]:
        """ids (batch, time) -> logits (batch, time, vocabulary), the states after, losses and counters summed."""
        before = self.init_state(ids.shape[0]) if states is None else states
        x, after = self.embedding(ids), []
        total: Aux = {}
        for n, mixer in enumerate(self._memories()):
            y, state, aux = mixer(self.norms[2 * n](x), before[n], mask, mode)
            x = x + y
            x = x + self.networks[n](self.norms[2 * n + 1](x))
            after.append(state)
            for name, value in aux.items():
                total[name] = total[name] + value if name in total else value
        return self.head(self.norms[-1](x)), tuple(after), total

    def loss(self, ids: Tensor, targets: Tensor, states: States | None = None) -> Tensor:
        """Cross-entropy where targets (batch, time) are not negative, and the memories' own losses."""
        logits, _, aux = self(ids, states)
        wanted = targets >= 0
        found = F.cross_entropy(logits[wanted], targets[wanted])
        return found + aux["loss"] if "loss" in aux else found

    @property
    def state_floats(self) -> int:
        """Numbers of a row's state, over all blocks."""
        return sum(mixer.spec().floats for mixer in self._memories())

    @property
    def trained(self) -> int:
        """Parameters that learn."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def _memories(self) -> list[Any]:
        return list(self.mixers)
