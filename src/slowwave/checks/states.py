"""What every state-form system must hold: one answer in parallel and step by step, no look ahead, states as values.

    check_state_system(lambda: MySystem(width=8))

T1 to T9 of the design stand in the names' order below. Instances are small, numbers are float64 unless a check says.
torch is imported when a check runs, so that this package needs none.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slowwave.checks.bench import expect, raises, run_all
from slowwave.errors import FormatError, InputError, ModelMismatchError

if TYPE_CHECKING:
    from torch import Tensor

    from slowwave.state.base import StateModule

    StateFactory = Callable[[], "StateModule[Any]"]

OPERATIONS = {"consolidation", "updating", "indexing", "forgetting", "retrieval", "compression"}
TIME = 11  # odd, and no multiple of any chunk


class Subject:
    """A system under test: a factory, and what comes of it under fixed seeds."""

    def __init__(self, make: StateFactory) -> None:
        self.make = make

    def system(self, dtype: str = "float64", train: bool = False) -> StateModule[Any]:
        """The same weights each time."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            system = self.make()
        return system.to(getattr(torch, dtype)).train(train)

    def generator(self, seed: int = 3) -> Any:
        import torch

        return torch.Generator().manual_seed(seed)

    def start(self, system: StateModule[Any], batch: int) -> Any:
        return system.init_state(batch, self.generator(5))


def it_says_what_it_is(subject: Subject) -> None:
    system = subject.system()
    kind = type(system)
    for word in ("name", "paper", "claim", "differs"):
        expect(getattr(kind, word).strip(), f"{kind.__name__}.{word} is empty")
    expect(kind.form == "state", f"its form is {kind.form!r}")
    expect(kind.operations and set(kind.operations) <= OPERATIONS, f"its operations are {kind.operations}")
    expect(all(reason.strip() for reason in kind.skips.values()), "a skip needs a written reason")
    for name, value in system.settings().items():
        expect(isinstance(value, (int, float, str, bool, type(None), tuple)), f"setting {name} is {value!r}")


def chunks_and_steps_agree(subject: Subject) -> None:
    """T1: outputs, final states and gradients; odd lengths, any split, a prompt followed by single tokens."""
    import torch

    system = subject.system()
    x = system.example(2, TIME, subject.generator())
    whole = _run(system, x, subject.start(system, 2), [TIME], "chunk")
    for split, mode in (([TIME], "step"), ([1] * TIME, "chunk"), ([5, 6], "chunk"), ([7, 1, 1, 1, 1], "chunk"),
                        ([4, 4, 3], "step")):  # fmt: skip
        other = _run(system, x, subject.start(system, 2), split, mode)
        for name, value in whole.items():
            _near(other[name], value, 1e-8, f"{name} of {mode} in pieces of {split}")
    single = subject.system("float32")
    x32 = x.to(torch.float32) if x.dtype.is_floating_point else x
    chunked = single(x32, subject.start(single, 2)).y
    stepped = single(x32, subject.start(single, 2), mode="step").y
    _near(stepped, chunked, 1e-5, "y in float32")


def nothing_looks_ahead(subject: Subject) -> None:
    """T2: another token t moves nothing before t, in training mode too."""
    for train in (False, True):
        system = subject.system(train=train)
        x, other = (system.example(1, TIME, subject.generator(seed)) for seed in (3, 4))
        before = _y(system, x, subject.start(system, 1))
        for t in (1, 4, TIME - 1):
            changed = x.clone()
            changed[:, t] = other[:, t]
            after = _y(system, changed, subject.start(system, 1))
            _near(after[:, :t], before[:, :t], 1e-12, f"outputs before a changed token {t}")
            expect(not bool((after[:, t:] == before[:, t:]).all()), f"a changed token {t} changes nothing at all")


def rows_do_not_meet(subject: Subject) -> None:
    """T3: a row's result does not depend on its neighbours."""
    import torch

    system = subject.system()
    x = system.example(3, TIME, subject.generator())
    start = subject.start(system, 3)
    together = system(x, start)
    alone = torch.tensor([1])
    single = system(x[1:2], start.select(alone))
    _near(single.y, together.y[1:2], 1e-12, "outputs of a row alone")
    for name, leaf in single.state.leaves().items():
        _near(_fitted(together.state.leaves()[name][1:2], leaf), leaf, 1e-12, f"{name} of a row alone")


def what_is_masked_leaves_no_trace(subject: Subject) -> None:
    """T4: masked tokens leave the state bit-identical, and the rest as if they had never been there."""
    import torch

    system = subject.system()
    x = system.example(2, TIME, subject.generator())
    begun = system(x, subject.start(system, 2)).state
    for mode in ("chunk", "step"):
        nothing = system(x, begun, torch.zeros(2, TIME, dtype=torch.bool), mode)
        _same(nothing.state, begun, f"the state after masked tokens, {mode}")
        expect(not bool(nothing.y.any()), "outputs of masked tokens are not zero")
        mask = torch.rand(2, TIME, generator=subject.generator(9)) < 0.6
        mask[0, -1], mask[1, 0] = False, False
        gaps = system(x, begun, mask, mode)
        for row in range(2):
            dense = system(x[row : row + 1, mask[row]], begun.select(torch.tensor([row])), None, mode)
            _near(gaps.y[row : row + 1, mask[row]], dense.y, 1e-10, f"outputs beside masked tokens, {mode}")
            for name, leaf in dense.state.leaves().items():
                found = gaps.state.leaves()[name][row : row + 1]
                _near(_fitted(found, leaf), _fitted(leaf, found), 1e-10, f"{name} beside masked tokens, {mode}")


def a_saved_state_goes_on_bit_for_bit(subject: Subject) -> None:
    """T5: save, load, continue, random draws included; and a file of other weights or settings is refused."""
    import torch

    system = subject.system()
    x = system.example(2, 2 * TIME, subject.generator())
    state = system(x[:, :TIME], subject.start(system, 2)).state
    with tempfile.TemporaryDirectory(prefix="slowwave-check-") as folder:
        path = Path(folder) / "a.state"
        system.save(state, path)
        loaded = subject.system().load(path)
        _same(loaded, state, "the loaded state")
        went_on, again = system(x[:, TIME:], state), system(x[:, TIME:], loaded)
        expect(torch.equal(went_on.y, again.y), "outputs after loading are not bit-identical")
        _same(again.state, went_on.state, "the state after loading and going on")
        stranger = subject.system()
        with torch.no_grad():
            next(p for p in stranger.parameters() if p.numel()).add_(1.0)
        raises(ModelMismatchError, lambda: stranger.load(path), "a state of other weights")
        raises(ModelMismatchError, lambda: subject.system("float32").load(path), "a state of another dtype")
        other = Path(folder) / "b.state"
        other.write_bytes(b"no state at all")
        raises(FormatError, lambda: system.load(other), "a file that is no state")
        raises(InputError, lambda: system.load(Path(folder) / "none"), "a file that is not there")


def a_reset_row_is_a_fresh_one(subject: Subject) -> None:
    """T6: reset, select, and detach, which stops gradients."""
    import torch

    system = subject.system()
    x = system.example(2, TIME, subject.generator())
    if x.dtype.is_floating_point:
        x.requires_grad_()
    state = system(x, subject.start(system, 2)).state
    back = system.reset(state, torch.tensor([True, False]), subject.generator(5))
    fresh = subject.start(system, 2)
    for name, leaf in back.leaves().items():
        expect(torch.equal(leaf[1], state.leaves()[name][1]), f"{name} of a row that was not reset has changed")
        first = _fitted(fresh.leaves()[name][:1], leaf[:1])
        expect(torch.equal(leaf[:1], first), f"{name} of a reset row is not a fresh one's")
    swapped = system.select(state, torch.tensor([1, 0, 1]))
    for name, leaf in swapped.leaves().items():
        expect(torch.equal(leaf[0], state.leaves()[name][1]), f"{name} was not picked by row")
    expect(swapped.batch == 3, "select(3 rows) gave another number")
    for name, leaf in system.detach(state).leaves().items():
        expect(not leaf.requires_grad, f"{name} still has a gradient after detach")


def gradients_by_hand_are_right(subject: Subject) -> None:
    """T7: what was derived by hand equals autograd."""
    found = subject.system().hand_gradients(subject.generator())
    expect(found, "it shows no gradient; if it derives none by hand, say so in `skips`")
    for name, by_hand, by_autograd in found:
        _near(by_hand, by_autograd, 1e-10, f"the gradient of {name}")
        expect(bool(by_autograd.any()), f"the gradient of {name} is zero, which shows nothing")


def an_empty_memory_leaves_the_base_model_as_it_is(subject: Subject) -> None:
    """T8: with a fresh state the wrapped model's logits are its own."""
    import torch

    system = subject.system()
    base: Any = getattr(system, "base_model", None)
    expect(base is not None, "it has no base_model; if it wraps none, say so in `skips`")
    ids = torch.randint(base.vocabulary, (2, TIME), generator=subject.generator())
    with torch.no_grad():
        _near(system.logits(ids, subject.start(system, 2)), base.logits(ids), 1e-10, "logits with an empty memory")  # type: ignore[operator]


def its_size_is_what_it_says(subject: Subject) -> None:
    """T9: bytes are those of `spec`, and stay, however long the stream."""
    system = subject.system()
    spec = system.spec()
    expect(spec.leaves and spec.bytes > 0, "its spec lists nothing")
    state = subject.start(system, 2)
    expect(state.bytes == 2 * spec.bytes, f"a fresh state has {state.bytes} bytes, spec says {2 * spec.bytes}")
    for _ in range(4):
        state = system.detach(system(system.example(2, TIME, subject.generator()), state).state)
        if spec.bounded:
            expect(state.bytes == 2 * spec.bytes, f"it has grown to {state.bytes} bytes, and says that it is bounded")
    for name, leaf in state.leaves().items():
        expect(leaf.shape[0] == 2, f"{name} has shape {tuple(leaf.shape)}; axis 0 is the batch")


def reading_changes_nothing(subject: Subject) -> None:
    """`read` is pure, and a call leaves the state that it was given as it was."""
    import torch

    system = subject.system()
    x = system.example(2, TIME, subject.generator())
    state = system(x, subject.start(system, 2)).state
    before = state.map(torch.clone)
    one, two = system.read(x[:, :3], state), system.read(x[:, :3], state)
    expect(torch.equal(one, two), "two reads of one state differ")
    _near(system.read(x[:, 1:2], state), one[:, 1:2], 1e-10, "a query beside others")
    for mode in ("chunk", "step"):
        system(x, state, None, mode)
    written = system.write(x, state)
    system.sleep(state)
    _same(state, before, "the state that was given")
    changed = any(not torch.equal(_fitted(leaf, before.leaves()[n]), _fitted(before.leaves()[n], leaf))
                  for n, leaf in written.leaves().items())  # fmt: skip
    expect(changed, "writing changes no state")
    expect(not bool(torch.equal(system.read(x[:, :3], subject.start(system, 2)), one)), "it reads alike, empty or not")


def it_learns_from_less_than_a_chunk(subject: Subject) -> None:
    """Two tokens already move what the next one reads."""
    import torch

    system = subject.system()
    x = system.example(1, 3, subject.generator())
    other = system.example(1, 3, subject.generator(4))
    first = system(x, subject.start(system, 1)).state
    second = system(torch.cat([other[:, :2], x[:, 2:]], 1), subject.start(system, 1)).state
    query = system.example(1, 1, subject.generator(6))
    expect(not torch.equal(system(query, first).y, system(query, second).y), "two tokens leave no trace")


def bad_input_is_told(subject: Subject) -> None:
    import torch

    system = subject.system()
    x = system.example(2, 3, subject.generator())
    raises(InputError, lambda: system(x[0]), "an input without a batch")
    raises(InputError, lambda: system(x, subject.start(system, 3)), "a state of another batch")
    raises(InputError, lambda: system(x, None, torch.ones(2, 4, dtype=torch.bool)), "a mask of another length")
    raises(InputError, lambda: system(x, None, None, "both"), "a mode that there is not")
    empty = system(x[:, :0], subject.start(system, 2))
    expect(empty.y.shape == (2, 0, system.out_width), f"no tokens give {tuple(empty.y.shape)}")


STATE_CHECKS = (
    it_says_what_it_is, chunks_and_steps_agree, nothing_looks_ahead, rows_do_not_meet, what_is_masked_leaves_no_trace,
    a_saved_state_goes_on_bit_for_bit, a_reset_row_is_a_fresh_one, gradients_by_hand_are_right,
    an_empty_memory_leaves_the_base_model_as_it_is, its_size_is_what_it_says, reading_changes_nothing,
    it_learns_from_less_than_a_chunk, bad_input_is_told,
)  # fmt: skip


def check_state_system(
    make: StateFactory, skip: Mapping[str, str] = MappingProxyType({}), show: Callable[[str], None] = print
) -> Mapping[str, str]:
    """Hold a state-form system to its contract; AssertionError names the first check that fails.

    make  builds a small instance; it is called with fixed seeds, several times
    skip  check's name -> why it does not apply, beside what the class says itself in `skips`
    Returns what was skipped, and why, for whoever counts.
    """
    subject = Subject(make)
    skipped = {**subject.system().skips, **skip}
    run_all(STATE_CHECKS, lambda check: check(subject), skipped, show)
    return skipped


# -- inside


def _run(system: StateModule[Any], x: Tensor, state: Any, pieces: list[int], mode: Any) -> dict[str, Tensor]:
    """Outputs, leaves and gradients of a run in pieces."""
    import torch

    system.zero_grad()
    if x.dtype.is_floating_point:
        x = x.clone().requires_grad_()
    outs, at = [], 0
    for size in pieces:
        y, state, _ = system(x[:, at : at + size], state, None, mode)
        outs.append(y)
        at += size
    y = torch.cat(outs, 1)
    found = {"y": y.detach(), **{f"state.{name}": leaf.detach() for name, leaf in state.leaves().items()}}
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    if y.requires_grad:
        torch.autograd.backward((y * weights).sum())
        found |= {f"gradient of {n}": p.grad.clone() for n, p in system.named_parameters() if p.grad is not None}
        if x.grad is not None:
            found["gradient of x"] = x.grad
    return found


def _y(system: StateModule[Any], x: Tensor, state: Any) -> Tensor:
    y: Tensor = system(x, state).y.detach()
    return y


def _fitted(a: Tensor, b: Tensor) -> Tensor:
    """`a` with zeros up to b's length, where one state has grown longer than the other."""
    if a.shape == b.shape:
        return a
    out = a.new_zeros([max(m, n) for m, n in zip(a.shape, b.shape, strict=True)])
    out[tuple(slice(n) for n in a.shape)] = a
    return out


def _near(found: Tensor, wanted: Tensor, tolerance: float, what: str) -> None:
    found, wanted = _fitted(found.detach(), wanted).double(), _fitted(wanted.detach(), found).double()
    scale = max(1.0, float(wanted.abs().max())) if wanted.numel() else 1.0
    gap = float((found - wanted).abs().max()) if wanted.numel() else 0.0
    expect(gap <= tolerance * scale, f"{what} is {gap:.2e} off; {tolerance * scale:.0e} is allowed")


def _same(found: Any, wanted: Any, what: str) -> None:
    import torch

    for name, leaf in wanted.leaves().items():
        expect(torch.equal(found.leaves()[name], leaf), f"{what}: {name} is not bit-identical")
