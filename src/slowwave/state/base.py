"""What every state-form memory is: a module whose state is a value that goes in and comes out. Start reading here.

state = system.init_state(batch=2)
y, state, aux = system(x, state)                 # x (2, time, width): all at once
y, state, aux = system(x, state, mode="step")    # the same numbers, token by token
y = system.read(query, state)                    # changes nothing
system.save(state, "ana.state"); state = system.load("ana.state")
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

import torch
from torch import Tensor, nn

from slowwave.errors import InputError
from slowwave.state.packing import Packing, unflatten
from slowwave.state.values import State

if TYPE_CHECKING:
    from slowwave.state.files import Source

S = TypeVar("S", bound=State)
Mode = Literal["chunk", "step"]
Aux = dict[str, Tensor]


class Output(NamedTuple):
    """What a call gives back.

    y      (batch, time, out_width); zero where the mask has no token
    state  the new state; the one that was given stays valid
    aux    losses to add, and counters, by name; scalars, or (batch,) tensors
    """

    y: Tensor
    state: Any
    aux: Aux


@dataclass(frozen=True, slots=True)
class Leaf:
    """One tensor of a state: its dotted name, its shape without the batch, its dtype, its bytes a row."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def bytes(self) -> int:
        """Of one row."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Spec:
    """What a state is made of.

    bounded  whether its size stays, however long the stream
    """

    leaves: tuple[Leaf, ...]
    bounded: bool
    bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bytes", sum(leaf.bytes for leaf in self.leaves))

    @property
    def floats(self) -> int:
        """Numbers of a row that are not whole: by these memories are compared at equal size."""
        return sum(torch.Size(leaf.shape).numel() for leaf in self.leaves if leaf.dtype.is_floating_point)


def at_least(smallest: int, /, **sizes: Any) -> None:
    """Whether a system can be made of these sizes, named as its constructor names them.

    raises  InputError for one that is smaller, or no whole number
    """
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < smallest:
            raise InputError(f"{name} is {size!r}; give a whole number of at least {smallest}")


class StateModule(nn.Module, ABC, Generic[S]):
    """Base of all state-form systems. A subclass gives `init_state`, `_chunk`, `_step`, and says what it is.

    width      of a token that goes in; `out_width` of what comes out
    blockwise  tokens of a block that the paper's own definition treats as one; 1 where none

    `SMALL` are constructor arguments that make an instance for the contract checks, and `skips` says of a check that
    does not apply why.
    """

    name: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    form: ClassVar[str] = "state"
    operations: ClassVar[tuple[str, ...]] = ()
    claim: ClassVar[str] = ""
    differs: ClassVar[str] = ""
    proof: ClassVar[str | None] = None
    bounded: ClassVar[bool] = True
    causal: ClassVar[bool] = True
    tokens: ClassVar[bool] = False  # whether what goes in are token ids (batch, time) and not vectors
    SMALL: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    skips: ClassVar[Mapping[str, str]] = MappingProxyType({})
    base_model: Any  # the frozen model that a wrapper stands around; others have none
    width: int
    out_width: int
    _sizes: tuple[str, dict[str, tuple[int, ...]]] | None = None

    # -- what a subclass gives

    @abstractmethod
    def init_state(self, batch: int, generator: torch.Generator | None = None) -> S:
        """A fresh state of so many rows; random parts, where there are any, come from the generator."""

    @abstractmethod
    def _chunk(self, x: Tensor, state: S, lengths: Tensor) -> tuple[Tensor, S, Aux]:
        """All tokens at once; row b has `lengths[b]` of them, at its front."""

    @abstractmethod
    def _step(self, x: Tensor, state: S) -> tuple[Tensor, S, Aux]:
        """One token a row: x (batch, width) -> y (batch, out_width)."""

    # -- the verbs

    def forward(self, x: Tensor, state: S | None = None, mask: Tensor | None = None, mode: Mode = "chunk") -> Output:
        """Read and write a stretch of the stream.

        x      (batch, time, width), or ids (batch, time) where `tokens` is true
        state  what came out of the call before; None begins
        mask   (batch, time) bool, true where a token is there; others leave state and neighbours as they are
        mode   "chunk" does all tokens in parallel, "step" one after another; the results are the same
        raises InputError where shapes do not fit
        """
        self._fits(x, state, mask, mode)
        old: S = self.init_state(x.shape[0]) if state is None else state
        if not x.numel():
            return Output(self._nothing(x), old, {})
        if mode == "step":
            return self._steps(x, old, mask)
        if mask is None:
            y, new, aux = self._chunk(x, old, torch.full(x.shape[:1], x.shape[1], dtype=torch.int64, device=x.device))
            return Output(y, new, aux)
        packing = Packing.of(mask)
        y, new, aux = self._chunk(packing.pack(x), old, packing.lengths)
        return Output(packing.unpack(y, mask), old.where(packing.lengths > 0, new), aux)

    def read(self, query: Tensor, state: S) -> Tensor:
        """What the memory answers to queries (batch, time, width), each asked of this same state; nothing changes."""
        self._fits(query, state, None, "chunk")
        if not query.numel():
            return self._nothing(query)
        batch, time = query.shape[:2]
        rows = torch.arange(batch, device=query.device).repeat_interleave(time)
        y, _, _ = self._step(query.flatten(0, 1), state.select(rows))
        return unflatten(y, 0, batch, time)

    def write(self, x: Tensor, state: S, mask: Tensor | None = None) -> S:
        """The state after these tokens; the given one stays valid."""
        new: S = self.forward(x, state, mask).state
        return new

    def sleep(self, state: S, budget: int | None = None) -> S:
        """Consolidate: drop, merge, move. What nothing can be done for comes back as it is.

        budget  of what the system counts (slots, chunks, facts), 0 or more; None takes its own
        """
        self._awake(state, budget)
        return state

    # -- the state as a value

    def spec(self) -> Spec:
        """Names, shapes and bytes of a fresh state's leaves, for one row."""
        with torch.no_grad():
            leaves = self.init_state(1).leaves()
        found = tuple(Leaf(name, tuple(leaf.shape[1:]), leaf.dtype) for name, leaf in leaves.items())
        return Spec(found, self.bounded)

    def detach(self, state: S) -> S:
        """The same values; gradients of what follows stop here."""
        return state.detach()

    def reset(self, state: S, rows: Tensor, generator: torch.Generator | None = None) -> S:
        """Begin again in the rows where the mask (batch,) is true."""
        return state.where(rows, self.init_state(state.batch, generator))

    def select(self, state: S, rows: Tensor) -> S:
        """These rows, in this order."""
        return state.select(rows)

    def save(self, state: S, path: str | Path, source: Source = None) -> None:
        """Write a state to a file that only this same system can open again; see `slowwave.state.files`.

        source  what it was made of, kept beside it: a text, ids of records or of tokens; `files.source_of` reads it
        """
        from slowwave.state.files import save

        self._mine(state)
        save(self, state, path, source)

    def load(self, path: str | Path) -> S:
        """A state that `save` wrote.

        raises  FormatError where the file is none of these; ModelMismatchError where another system, other settings,
                other weights or another base model wrote it
        """
        from slowwave.state.files import load

        found: S = load(self, path)
        return found

    def settings(self) -> dict[str, Any]:
        """The constructor's parameters and what they were, read off the attributes of the same names."""
        parameters = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in parameters if name != "model"}

    @classmethod
    def small(cls) -> Self:
        """An instance small enough for the contract checks."""
        return cls(**cls.SMALL)

    def example(self, batch: int, time: int, generator: torch.Generator) -> Tensor:
        """An input of the right kind for the contract checks."""
        return torch.randn(batch, time, self.width, generator=generator, dtype=self._dtype())

    def hand_gradients(self, generator: torch.Generator) -> list[tuple[str, Tensor, Tensor]]:
        """Each gradient that was derived by hand: its name, by hand, by autograd. Empty where there is none."""
        return []

    # -- inside

    def _steps(self, x: Tensor, state: S, mask: Tensor | None) -> Output:
        ys, every = [], []
        for t in range(x.shape[1]):
            y, new, aux = self._step(x[:, t], state)
            if mask is not None:
                y = y * mask[:, t, None].to(y.dtype)
                new = state.where(mask[:, t], new)
            state = new
            ys.append(y)
            every.append(aux)
        merged = {name: torch.stack([aux[name] for aux in every]).mean(0) for name in every[0]}
        return Output(torch.stack(ys, 1), state, merged)

    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.parameters() if p.dtype.is_floating_point), torch.get_default_dtype())

    def _device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.zeros(shape, dtype=dtype or self._dtype(), device=self._device())

    def _nothing(self, x: Tensor) -> Tensor:
        return torch.zeros(*x.shape[:2], self.out_width, dtype=self._dtype(), device=x.device)

    def _fits(self, x: Tensor, state: State | None, mask: Tensor | None, mode: str) -> None:
        label = self.name or type(self).__name__
        if mode not in ("chunk", "step"):
            raise InputError(f"mode is {mode!r}; give 'chunk' (all tokens in parallel) or 'step' (one by one)")
        if not isinstance(x, Tensor):
            raise InputError(f"{label} takes a tensor; x is a {type(x).__name__}")
        if self.tokens:
            if x.dim() != 2 or x.dtype.is_floating_point:
                raise InputError(f"{label} takes token ids (batch, time), int64; x is {tuple(x.shape)} {x.dtype}")
        elif x.dim() != 3 or x.shape[2] != self.width:
            raise InputError(f"x is {tuple(x.shape)} but this {label} takes (batch, time, {self.width})")
        elif x.dtype != self._dtype() and not torch.is_autocast_enabled(x.device.type):
            raise InputError(f"x is {x.dtype} and this {label} {self._dtype()}; convert one of them with .to(dtype)")
        if x.device != self._device():
            raise InputError(f"x is on {x.device} and this {label} on {self._device()}; move one with .to(device)")
        if state is not None:
            self._mine(state)
        if state is not None and state.batch != x.shape[0]:
            raise InputError(
                f"x has {x.shape[0]} rows and the state {state.batch}; begin with init_state({x.shape[0]}), or pick "
                "rows with select"
            )
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            raise InputError(f"mask is {tuple(mask.shape)} {mask.dtype}; give bool of {tuple(x.shape[:2])}")

    def _awake(self, state: State, budget: int | None) -> None:
        """Whether this state can be consolidated to so much."""
        self._mine(state)
        if budget is not None:
            at_least(0, budget=budget)

    def _mine(self, state: Any) -> None:
        """Whether a state is one of this system in these sizes.

        raises  InputError that says where it differs
        """
        label, cure = self.name or type(self).__name__, "give what init_state or the call before gave"
        if not isinstance(state, State):
            raise InputError(f"the state is a {type(state).__name__}; {cure}")
        fresh = self._fresh_leaves()
        if type(state).__name__ != fresh[0]:
            raise InputError(f"the state is a {type(state).__name__} and this {label} has a {fresh[0]}; {cure}")
        leaves = state.leaves()
        if set(leaves) != set(fresh[1]):
            other = ", ".join(sorted(set(leaves) ^ set(fresh[1])))
            raise InputError(f"the state is of a {label} with other parts ({other}); {cure}")
        for name, leaf in leaves.items():
            told = self._unlike(leaf, fresh[1][name])
            if told:
                raise InputError(f"{name} of the state is {told}; {cure}")

    def _unlike(self, leaf: Tensor, wanted: tuple[int, ...]) -> str:
        """How a leaf differs in its sizes from a fresh one without the batch; where a state grows, so does axis 1."""
        free = 0 if self.bounded else 1
        found = tuple(leaf.shape[1:])
        if len(found) == len(wanted) and (found == wanted or found[free:] == wanted[free:]):
            return ""
        was, has = (", ".join(map(str, ("batch", *sizes))) for sizes in (found, wanted))
        return f"({was}) and that of this {self.name or type(self).__name__} ({has})"

    def _fresh_leaves(self) -> tuple[str, dict[str, tuple[int, ...]]]:
        """The kind of a fresh state, and the sizes of its leaves without the batch."""
        if self._sizes is None:
            with torch.no_grad():
                state = self.init_state(1)
            self._sizes = type(state).__name__, {n: tuple(leaf.shape[1:]) for n, leaf in state.leaves().items()}
        return self._sizes
