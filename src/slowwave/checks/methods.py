"""What every method of learning without forgetting must hold, whatever its paper. Torch is loaded when asked for.

Each check lives through a short made-up stream of its own; a method that works on language models alone is given a tiny
one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.checks.bench import expect, run_all
from slowwave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slowwave.weights.base import Method
    from slowwave.weights.learner import Learner
    from slowwave.weights.stream import Stream

MethodFactory = Callable[[], "Method"]
OPERATIONS = {"consolidation", "updating", "indexing", "forgetting", "retrieval", "compression"}
WORDS = 24  # of the tiny language model


def tiny_language_model(seed: int = 0) -> nn.Module:
    """One block with the module names that language models have; ids (n, time) -> logits (n, time, WORDS)."""
    import torch
    from torch import nn

    class Mlp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate_proj, self.up_proj = nn.Linear(16, 32, bias=False), nn.Linear(16, 32, bias=False)
            self.down_proj = nn.Linear(32, 16, bias=False)

        def forward(self, x: Tensor) -> Any:
            return self.down_proj(torch.nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
                setattr(self, name, nn.Linear(16, 16, bias=False))

        def forward(self, x: Tensor) -> Any:
            q, k, v = (getattr(self, name)(x) for name in ("q_proj", "k_proj", "v_proj"))
            mixed = torch.nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)
            return self.o_proj(mixed[:, 0])  # type: ignore[operator]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.self_attn, self.mlp = Attention(), Mlp()

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.self_attn(x)
            return x + self.mlp(x)  # type: ignore[no-any-return]

    class Tiny(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(WORDS, 16)
            self.layers = nn.ModuleList(Block() for _ in range(2))
            self.head = nn.Linear(16, WORDS, bias=False)

        def forward(self, ids: Tensor) -> Any:
            x = self.embedding(ids)
            for block in self.layers:
                x = block(x)
            return self.head(x)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Tiny()


def facts(periods: int = 3, each: int = 6) -> Stream:
    """Sequences of four tokens, of which the last is to be learned: a key of two and a value."""
    import torch

    from slowwave.weights.batch import IGNORED, Batch
    from slowwave.weights.stream import of_lessons

    generator = torch.Generator().manual_seed(7)
    lessons = []
    for period in range(periods):
        keys = torch.randint(2, WORDS, (each, 2), generator=generator)
        values = torch.randint(2, WORDS, (each, 1), generator=generator)
        x = torch.cat([torch.ones(each, 1, dtype=torch.int64), keys, values], 1)
        y = torch.where(torch.arange(4) == 3, x, IGNORED)
        rows = Batch(x, y, torch.zeros(each, dtype=torch.int64))
        lessons.append((f"day {period}", rows, rows, tuple(f"d{period}f{n}" for n in range(each))))
    return of_lessons(lessons)


def images(periods: int = 3, scenario: str = "domain") -> Stream:
    """Glyphs whose pixels are permuted, or which are split into pairs of classes."""
    from slowwave.weights.data import glyphs
    from slowwave.weights.stream import permuted, split

    data = glyphs(classes=6, train=90, test=60)
    return permuted(data, periods) if scenario == "domain" else split(data, 2, "class")


def made(make: MethodFactory, seed: int = 0, beside: Sequence[Method] = (), **settings: Any) -> tuple[Learner, Stream]:
    """A learner with the method, and a stream that it can live on."""
    from slowwave.weights import Classifier, Learner

    method = make()
    if method.learns == "language":
        model: nn.Module = tiny_language_model(seed)
        stream, given = facts(each=12), {"lr": 0.05, "optimiser": "adam", "epochs": 8, "batch": 6}
    else:
        model = method.suited(64, 6, seed) or Classifier(64, hidden=(24, 24), classes=6, seed=seed)
        stream, given = images(), {"lr": 0.2, "epochs": 4, "batch": 16}
    return Learner(model, [method, *beside], stream.objective(), seed=seed, **{**given, **settings}), stream


def weights_of(learner: Learner) -> Tensor:
    """All of the model's weights in one vector."""
    from slowwave.weights.vectors import flatten

    return flatten([part.float() for part in learner.model.state_dict().values()]).clone()


def its_row_in_the_atlas_is_filled(make: MethodFactory) -> None:
    method = make()
    expect(isinstance(method.name, str) and method.name, f"its name is {method.name!r}")
    expect(method.form == "weights", f"its form is {method.form!r}")
    expect(method.operations and set(method.operations) <= OPERATIONS, f"its operations are {method.operations}")
    for field in ("paper", "claim", "differs"):
        expect(getattr(method, field).strip(), f"its {field} is empty")
    expect((type(method).__doc__ or "").strip(), "its class says nothing of itself")
    expect(set(method.parameters()) == set(vars(method)) & set(method.parameters()), "a parameter is not kept")


def it_learns_what_it_is_taught(make: MethodFactory) -> None:
    learner, stream = made(make, epochs=60)
    stream = stream.first(1)
    record = learner.learn(stream)
    rose = record.matrix[0][0] - record.before[0]
    expect(
        rose > 0.1, f"a first task taught takes its accuracy from {record.before[0]:.2f} to {record.matrix[0][0]:.2f}"
    )


def the_same_seed_gives_the_same_weights(make: MethodFactory) -> None:
    import torch

    ends = []
    for _ in range(2):
        learner, stream = made(make, epochs=1)
        learner.learn(stream)
        ends.append(weights_of(learner))
    expect(torch.equal(ends[0], ends[1]), f"two runs differ by up to {float((ends[0] - ends[1]).abs().max()):.3g}")


def what_is_broken_off_goes_on_to_the_same_end(make: MethodFactory) -> None:
    import torch

    class Stop(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise Stop

    whole, stream = made(make, epochs=2)
    whole.learn(stream)
    with tempfile.TemporaryDirectory(prefix="slowwave-check-") as folder:
        first, _ = made(make, epochs=2)
        with suppress(Stop):
            first.learn(stream, Path(folder), save_every=3, progress=stop)
        second, _ = made(make, epochs=2)
        second.learn(stream, Path(folder))
        expect(second.record.matrix == whole.record.matrix, "the accuracies after a resumption differ")
        apart = float((weights_of(second) - weights_of(whole)).abs().max())
        expect(
            torch.equal(weights_of(second), weights_of(whole)), f"the weights after a resumption differ by {apart:.3g}"
        )


def losses_of(learner: Learner, stream: Stream) -> list[float]:
    """The mean loss on each test set, in nats."""
    import torch

    from slowwave.weights.vectors import still

    out = []
    with still(learner.model), torch.no_grad():
        for load in stream.tests:
            batch = load()
            out.append(float(learner.aim(batch.y).losses(learner.logits(batch), batch).mean()))
    return out


def it_lives_without_boundaries(make: MethodFactory) -> None:
    language = make().learns == "language"
    learner, stream = made(make, sleep_every=4, batch=4, optimiser="adam", lr=0.05 if language else 0.01)
    before = losses_of(learner, stream)
    learner.learn(stream.online())
    after = losses_of(learner, stream)
    expect(learner.period >= 2, f"on a clock of 4 steps it slept {learner.period} times in {learner.step}")
    share = min(b / a for a, b in zip(before, after, strict=True))
    told = f"{before} at first, {after} at the end of a stream without boundaries"
    expect(share < 0.985, f"no loss falls, in sixty steps at most: {told}")


def it_works_beside_replay_and_ewc(make: MethodFactory) -> None:
    import torch

    from slowwave.weights import METHODS
    from slowwave.weights.base import Method

    again, still, springs = [], [], []

    class Watching(Method):
        """What came again of the first period in the second, and whether what is not trained stays as it is."""

        name = "watching"

        def look(self, learner: Learner, batch: Any) -> Any:
            self.frozen = {n: p.detach().clone() for n, p in learner.model.named_parameters() if n not in learner.named}
            return batch

        def sample_weights(self, learner: Learner, batch: Any, losses: Tensor, logits: Tensor) -> None:
            self.new_alone = float(losses.detach()[~batch.old].sum()) / len(batch)  # the loss, were nothing else in it

        def after_step(self, learner: Learner, batch: Any, logits: Tensor) -> None:
            now = dict(learner.model.named_parameters())
            still.append(all(torch.equal(part, now[name]) for name, part in self.frozen.items()))
            if learner.period:
                in_it = abs(learner.terms["loss"] - self.new_alone) > 1e-6
                again.append(in_it and bool((batch.old & (batch.task == 0)).any()))
                springs.append("ewc: spring" in learner.terms)

    own = make().name
    more = [METHODS[name]() for name in ("replay", "ewc") if name != own]
    learner, stream = made(make, beside=[*more, Watching()], lr=0.01, batch=8)
    record = learner.learn(stream.first(2))
    expect(all(0 <= value <= 1 for value in record.matrix[-1]), f"its accuracies are {record.matrix[-1]}")
    expect(all(still), f"in {still.count(False)} of {len(still)} steps parameters moved that are not trained")
    expect(any(again), "beside it no example of the first period is in the loss of the second")
    expect(all(springs), f"beside it EWC's springs are in {sum(springs)} of {len(springs)} steps of the second period")


def its_room_is_told(make: MethodFactory) -> None:
    from slowwave.weights.base import size

    learner, stream = made(make, epochs=1)
    record = learner.learn(stream)
    held = size(learner.methods[0].state())
    told, low, high = record.bytes[-1], 0.9 * held - 1000, 1.1 * held + 1000
    expect(len(record.bytes) == len(stream), f"it tells {len(record.bytes)} numbers of bytes for {len(stream)} periods")
    expect(low <= told <= high, f"it tells of {told:,} bytes, and the tensors of its state have {held:,}")


def a_bad_batch_is_refused(make: MethodFactory) -> None:
    import torch

    learner, _ = made(make)
    try:
        learner.write(torch.zeros(3, 64), torch.zeros(2, dtype=torch.int64))
    except InputError as error:
        expect("3" in str(error) and "2" in str(error), f"the error does not say how many: {error}")
        return
    raise AssertionError("three inputs with two labels were taken")


METHOD_CHECKS: tuple[Callable[[MethodFactory], None], ...] = (
    its_row_in_the_atlas_is_filled, it_learns_what_it_is_taught, the_same_seed_gives_the_same_weights,
    what_is_broken_off_goes_on_to_the_same_end, it_lives_without_boundaries, it_works_beside_replay_and_ewc,
    its_room_is_told, a_bad_batch_is_refused,
)  # fmt: skip


def check_method(
    make: MethodFactory, skip: Mapping[str, str] | None = None, show: Callable[[str], None] = print
) -> None:
    """Hold a method of the weights form to its contract; AssertionError names the first check that fails.

    make  called without arguments, gives a fresh method each time
    skip  check's name -> why it does not apply
    """
    run_all(METHOD_CHECKS, lambda check: check(make), skip or {}, show)
