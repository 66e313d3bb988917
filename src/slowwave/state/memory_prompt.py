"""MemoryPrompt: an LSTM reads each segment's last hidden vector and hands the next one a few soft-prompt vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.base import Aux, StateModule, at_least
from slowwave.state.frozen import Frozen
from slowwave.state.packing import take, unflatten
from slowwave.state.values import State


@dataclass(frozen=True)
class PromptState(State):
    """hidden (batch, prompts x width, or units) and cell (batch, units); segments (batch,) int64, read so far."""

    hidden: Tensor
    cell: Tensor
    segments: Tensor


class MemoryPrompt(StateModule[PromptState]):
    """A token here is a segment: its last hidden vector goes in, the prompt for the next segment comes out, flat.

    width    of the frozen model's hidden vectors
    prompts  vectors handed on
    inner    of the network before the LSTM
    units    of the LSTM, then projected to prompts x width; 0 makes the LSTM that wide itself, as in the paper
    scale    of a prompt's numbers at first; give the model's own (`Frozen.embedding_scale`)

    `around(frozen)` runs a model segment by segment; see `PromptedModel`. From then on states that are saved belong to
    that model too.

    Example:
        >>> import torch
        >>> memory = MemoryPrompt(width=16, prompts=2, inner=32, units=24)
        >>> tuple(memory(torch.randn(1, 3, 16)).y.shape)
        (1, 3, 32)
    """

    name = "memory-prompt"
    paper = "MemoryPrompt: A Light Wrapper to Improve Context Tracking in Pre-trained Language Models"
    operations = ("compression", "updating")
    claim = (
        "On facts with many updates it beats much larger models that see the full history; no forgetting of old "
        "abilities (numbers unverified)."
    )
    differs = (
        "A narrow LSTM and a projection instead of an LSTM as wide as all prompts together, which has 74.7M parameters "
        "on OPT-125M (`units=0` gives that one). Prompts have a learned gain, which begins at the embeddings' own "
        "scale. Before the first segment no prompt is given, so that the model is then exactly itself."
    )
    proof = "proofs/memory_prompt.py"
    skips = {  # noqa: RUF012
        "gradients_by_hand_are_right": "it derives no gradient by hand",
    }
    SMALL = {"width": 8, "prompts": 2, "inner": 12, "units": 6}  # noqa: RUF012

    def __init__(
        self, width: int, prompts: int = 5, inner: int = 1024, units: int = 256, scale: float = 0.02
    ) -> None:
        super().__init__()
        at_least(1, width=width, prompts=prompts, inner=inner)
        at_least(0, units=units)
        self.width, self.prompts, self.inner, self.units, self.scale = width, prompts, inner, units, scale
        self.out_width = prompts * width
        self.read_in = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))
        self.cell = nn.LSTMCell(width, units or self.out_width)
        self.project = nn.Linear(units, self.out_width) if units else nn.Identity()
        self.gain = nn.Parameter(torch.full((width,), scale))

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> PromptState:
        units = self.units or self.out_width
        return PromptState(
            self._zeros(batch, units), self._zeros(batch, units), self._zeros(batch, dtype=torch.int64)
        )

    def _chunk(self, x: Tensor, state: PromptState, lengths: Tensor) -> tuple[Tensor, PromptState, Aux]:
        given, hidden, cell = self.read_in(x), state.hidden, state.cell
        hiddens, cells = [], []
        for t in range(x.shape[1]):
            hidden, cell = self.cell(given[:, t], (hidden, cell))
            hiddens.append(hidden)
            cells.append(cell)
        every = torch.stack(hiddens, 1)
        last = (lengths - 1).clamp_min(0)[:, None]
        new = PromptState(take(every, last)[:, 0], take(torch.stack(cells, 1), last)[:, 0], state.segments + lengths)
        return self._prompt(every), new, {}

    def _step(self, x: Tensor, state: PromptState) -> tuple[Tensor, PromptState, Aux]:
        hidden, cell = self.cell(self.read_in(x), (state.hidden, state.cell))
        return self._prompt(hidden), PromptState(hidden, cell, state.segments + 1), {}

    def prompt(self, state: PromptState) -> Tensor:
        """The soft prompt that the next segment gets: (batch, prompts, width)."""
        return unflatten(self._prompt(state.hidden), -1, self.prompts, self.width)

    def _prompt(self, hidden: Tensor) -> Tensor:
        """(..., units) -> (..., prompts x width)."""
        vectors = unflatten(self.project(hidden), -1, self.prompts, self.width)
        return (vectors * self.gain).flatten(-2)

    def around(self, frozen: Frozen) -> PromptedModel:
        """A frozen model with this memory."""
        return PromptedModel(frozen, self)

    @classmethod
    def small(cls) -> Self:
        from slowwave.models.causal import fake_causal

        memory = cls(**cls.SMALL)
        memory.around(Frozen(*fake_causal(hidden_size=memory.width)))
        return memory

    def logits(self, ids: Tensor, state: PromptState) -> Tensor:
        """What the model that it is `around` expects of a segment (batch, time) behind the prompt of this state:
        (batch, time, vocabulary); nothing is written.

        raises  InputError where it is around none
        """
        if "base_model" not in self.__dict__:
            raise InputError("this memory stands around no model; call around(Frozen(model)) first")
        return self.shown(self.__dict__["base_model"], ids, state, torch.ones_like(ids, dtype=torch.bool))[0]

    def shown(self, frozen: Frozen, ids: Tensor, state: PromptState, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and last hidden vectors of a model that sees the prompt of this state, where one was read, before ids
        (batch, time); mask (batch, time) is true where a token is there."""
        embeds = frozen.embed(ids)
        fresh = state.segments == 0
        if bool(fresh.all()):
            out = frozen.run(embeds, mask, output_hidden_states=True)
            return out.logits, out.hidden_states[-1]
        joined = torch.cat([self.prompt(state).to(embeds.dtype), embeds], 1)
        there = F.pad(mask, (self.prompts, 0), value=True)
        there[:, : self.prompts] &= ~fresh[:, None]
        places = (there.to(torch.int64).cumsum(1) - 1).clamp_min(0)  # a row without a prompt begins at place 0
        out = frozen.run(joined, there, output_hidden_states=True, position_ids=places)
        return out.logits[:, self.prompts :], out.hidden_states[-1][:, self.prompts :]


class PromptedModel(nn.Module):
    """A frozen model that reads a long text in segments; only the memory beside it learns.

    frozen  the model
    memory  as wide as it
    """

    def __init__(self, frozen: Frozen, memory: MemoryPrompt) -> None:
        super().__init__()
        if memory.width != frozen.width:
            raise InputError(f"the memory is {memory.width} wide; build MemoryPrompt({frozen.width}) for this model")
        self.memory = memory
        for holder in (self, memory):  # beside the modules: its parameters are not the memory's own
            holder.__dict__["base_model"] = frozen

    @property
    def frozen(self) -> Frozen:
        """The model."""
        found: Frozen = self.__dict__["base_model"]
        return found

    def forward(self, ids: Tensor, mask: Tensor | None = None, state: PromptState | None = None) -> tuple[Tensor, Any]:
        """One segment: ids (batch, time) -> logits (batch, time, vocabulary), and the state after it.

        mask  (batch, time), true where a token is there; tokens stand in front
        A row whose state has read nothing gets no prompt, and the model's own logits.
        """
        before = self.memory.init_state(len(ids)) if state is None else state
        mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        logits, hidden = self.memory.shown(self.frozen, ids, before, mask)
        last = (mask.sum(1) - 1).clamp_min(0)[:, None]
        summary = take(hidden, last)
        after = self.memory(summary.to(self.memory.gain.dtype), before, mask.any(1, keepdim=True)).state
        return logits, after

    def loss(self, segments: list[Tensor], targets: Tensor, penalty: float = 0.1) -> Tensor:
        """Cross-entropy on the last segment alone, where targets (batch, time) are not negative; and the penalty on the
        norm of the prompts that were handed on, relative to their scale at first."""
        state, size = None, torch.zeros(())
        for n, ids in enumerate(segments):
            logits, state = self(ids, None, state)
            if n < len(segments) - 1:
                size = size + (self.memory.prompt(state) / self.memory.scale).pow(2).mean()
        wanted = targets >= 0
        found = F.cross_entropy(logits[wanted], targets[wanted])
        return found + penalty * size / max(1, len(segments) - 1)
