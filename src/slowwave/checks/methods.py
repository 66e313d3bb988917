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


def it_lives_without_boundaries(make: MethodFactory) -> None:
    import math

    learner, stream = made(make, sleep_every=4, batch=4, lr=0.02)
    record = learner.learn(stream.online())
    expect(learner.period >= 2, f"on a clock of 4 steps it slept {learner.period} times in {learner.step}")
    expect(all(math.isfinite(value) for value in record.matrix[-1]), f"its accuracies are {record.matrix[-1]}")


def it_works_beside_replay_and_ewc(make: MethodFactory) -> None:
    import math

    from slowwave.weights import METHODS

    more = [METHODS[name]() for name in ("replay", "ewc") if name != make().name]
    learner, stream = made(make, beside=more, lr=0.01, batch=8)
    record = learner.learn(stream.first(2))
    expect(all(math.isfinite(value) for value in record.matrix[-1]), f"its accuracies are {record.matrix[-1]}")


def its_room_is_told(make: MethodFactory) -> None:
    learner, stream = made(make, epochs=1)
    record = learner.learn(stream)
    expect(len(record.bytes) == len(stream) and min(record.bytes) >= 0, f"its bytes are {record.bytes}")
    expect(record.bytes[-1] <= 40_000_000, f"a tiny model needs {record.bytes[-1]:,} bytes beside it")


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
