"""The quick way through linear layers gives what the general way gives, and steps aside where it does not apply."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.weights import Classifier, Learner, linear, quadratic, vectors
from slowwave.weights.base import Method, written_out
from slowwave.weights.baselines import LwF, Naive, Replay
from slowwave.weights.batch import Batch, examples, join
from slowwave.weights.buffer import Buffer
from slowwave.weights.center_loss import CenterLoss
from slowwave.weights.clock import Clock
from slowwave.weights.elephant import Elephant
from slowwave.weights.ewc import EWC
from slowwave.weights.gem import GEM, solve
from slowwave.weights.objective import Classification, Objective
from slowwave.weights.quadratic import Quadratic


def given(n: int = 12, inputs: int = 5, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return examples(torch.randn(n, inputs, generator=generator), torch.arange(n) % 3, 1)


def net() -> Classifier:
    return Classifier(5, hidden=(7, 6), classes=3)


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(linear, "watched", _blind)
    return monkeypatch


class _blind:
    """A `watched` that never finds anything."""

    def __init__(self, model: nn.Module) -> None:
        pass

    def __enter__(self) -> object:
        return lambda many: None

    def __exit__(self, *error: object) -> None:
        pass


@pytest.mark.parametrize("masks", [None, {1: [0, 2]}])
@pytest.mark.parametrize("kind", ["exact", "empirical"])
def test_fishers_are_those_of_the_general_way(kind: str, masks: dict[int, list[int]] | None, general) -> None:
    batch, aim = given(), Classification(masks)
    if masks:
        batch = batch.take(batch.y != 1)
    slow = vectors.fisher(net(), aim, batch, kind)  # type: ignore[arg-type]
    general.undo()
    quick = vectors.fisher(net(), aim, batch, kind)  # type: ignore[arg-type]
    assert set(quick) == set(slow)
    for name in slow:
        assert torch.allclose(quick[name], slow[name], atol=1e-7, rtol=1e-4), name


def test_tangent_features_are_those_of_the_general_way(general) -> None:
    slow = vectors.output_gradients(net(), Classification(), given())
    general.undo()
    assert torch.allclose(vectors.output_gradients(net(), Classification(), given()), slow, atol=1e-6)


def test_what_is_frozen_has_no_entry() -> None:
    model = net()
    model.layers[0].weight.requires_grad_(False)
    found = vectors.fisher(model, Classification(), given())
    assert set(found) == {n for n, p in model.named_parameters() if p.requires_grad}
    assert vectors.output_gradients(model, Classification(), given()).shape[1] == sum(map(torch.numel, found.values()))


class Odd(nn.Module):
    """One layer passed twice, or a parameter of another kind."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.twice, self.one, self.two = twice, nn.Linear(5, 5), nn.Linear(5, 3)
        self.scale = nn.Parameter(torch.ones(3), requires_grad=not twice)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).tanh()
        return self.two(self.one(x).tanh() if self.twice else x) * self.scale


@pytest.mark.parametrize("twice", [True, False])
def test_other_networks_take_the_general_way(twice: bool) -> None:
    model, batch = Odd(twice), given(4)
    with linear.watched(model) as found:
        model(batch.x)
        assert found(4) is None
    each = vectors.fisher(model, Classification(), batch, "empirical")
    due = 0
    for n in range(4):
        loss = F.cross_entropy(model(batch.x[n : n + 1]), batch.y[n : n + 1])
        due = due + torch.autograd.grad(loss, model.one.weight)[0].pow(2) / 4
    assert torch.allclose(each["one.weight"], due, atol=1e-6)


def test_constraints_of_many_tasks_come_from_one_pass_and_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    gem = GEM(memories=12)
    learner = Learner(net(), [gem])
    for task in range(3):
        learner.learn_batch(given(seed=task).marked(task))
    rows = gem._rows(learner, [0, 1, 2])
    monkeypatch.setattr(learner, "plain", lambda batch: None)
    assert torch.allclose(gem._rows(learner, [0, 1, 2]), rows, atol=1e-6), "by autograd"
    each = torch.stack([learner.gradient(gem.rings[task].everything()) for task in range(3)])
    assert torch.allclose(rows, each, atol=1e-6)


@pytest.mark.parametrize("small", [0, 100])
def test_an_implicit_pull_is_the_minimum_of_distance_and_penalty(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quadratic, "SMALL", small)
    spring = Quadratic()
    spring.add({"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([1.0, 5.0])})
    w = torch.tensor([4.0, 2.0])
    spring.pull({"w": w}, rate=0.5)
    assert w.tolist() == pytest.approx(
        [(4 + 0.5 * 3 * 1) / (1 + 0.5 * 3), 2.0]
    )  # d/dw |w - 4|^2 / (2 rate) + 3/2 |w - 1|^2
    spring.pull({"w": w}, rate=1e9)
    assert w.tolist() == pytest.approx([1.0, 2.0])


def test_stiff_springs_diverge_under_plain_sgd_and_not_where_their_pull_is_implicit() -> None:
    from slowwave.weights.learner import DivergedError

    def life(implicit: bool) -> Learner:
        learner = Learner(net(), [EWC(strength=1e6, implicit=implicit)], lr=0.1, epochs=30, batch=4)
        for task in range(2):
            for _ in range(30):
                learner.learn_batch(given(seed=task).marked(task))
            learner.sleep(given(seed=task))
        for _ in range(30):
            learner.learn_batch(given(seed=2).marked(2))
        return learner

    with pytest.raises(DivergedError, match="implicit=True"):
        life(implicit=False)
    learner = life(implicit=True)
    springs = learner.methods[0].springs  # type: ignore[attr-defined]
    for name, parameter in vectors.trainable(learner.model).items():
        held = springs.stiffness[name] > 1e-3
        assert (parameter - springs.anchor[name])[held].abs().max() < 1e-2


def test_the_slope_of_a_penalty_is_stiffness_times_distance() -> None:
    spring, w = Quadratic(), torch.randn(4, requires_grad=True)
    stiff, anchor = torch.rand(4), torch.randn(4)
    spring.add({"w": stiff}, {"w": anchor})
    (2 * spring({"w": w})).backward()
    assert torch.allclose(w.grad, 2 * stiff * (w.detach() - anchor))


def test_a_buffer_keeps_the_last_of_those_that_take_one_slot() -> None:
    for policy in ("ring", "reservoir", "balanced", "largest"):
        whole, single = Buffer(5, policy, 3), Buffer(5, policy, 3)  # type: ignore[arg-type]
        batch = given(40)
        whole.add(batch, 0)
        for n in range(40):
            single.add(batch.take([n]), 0)
        assert torch.equal(whole.everything().x, single.everything().x), policy


def test_lwf_keeps_the_words_of_the_model_before() -> None:
    ends = {}
    for strength in (0.0, 4.0):
        method = LwF(strength)
        learner = Learner(net(), [method], lr=0.1)
        for _ in range(40):
            learner.learn_batch(given())
        before = learner.read(given().x).softmax(1)
        learner.sleep(given())
        assert method.met == [0, 1, 2]
        other = examples(given().x, (given().y + 1) % 3, 1)
        for _ in range(20):
            learner.learn_batch(other)
        ends[strength] = float((learner.read(given().x).softmax(1) - before).abs().mean())
    assert ends[4.0] < 0.8 * ends[0.0]


class _Asked(Method):
    """Has a part in the loss, and adds nothing: the step has to take the general way."""

    name = "asked"

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        return {}


@pytest.mark.parametrize(
    ("optimiser", "more"), [("sgd", {}), ("sgd", {"momentum": 0.9}), ("adam", {}), ("sgd", {"clip": 0.1})]
)
def test_a_plain_step_is_that_of_the_general_way(optimiser: str, more: dict[str, float]) -> None:
    ends = []
    for methods in ([Naive()], [_Asked()]):
        learner = Learner(net(), methods, optimiser=optimiser, lr=0.05, **more)  # type: ignore[arg-type]
        losses = [learner.learn_batch(given(seed=n)) for n in range(15)]
        losses.append(learner.learn_batch(examples(given().x, given().y + 1)))  # the head grows
        losses.append(learner.learn_batch(given()))
        ends.append((losses, vectors.flatten(learner.trainable)))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    assert torch.allclose(ends[0][1], ends[1][1], atol=1e-5)


class _Halved(EWC):
    """Changes a term, and not its slopes."""

    name = "halved"

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> dict[str, Tensor]:
        return {name: term / 2 for name, term in super().loss_terms(learner, batch, logits).items()}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "methods",
    [
        lambda: [EWC(3.0)],
        lambda: [EWC(3.0, "online"), Replay(5)],
        lambda: [LwF(2.0, 3.0)],
        lambda: [Replay(6), LwF(), EWC(2.0), GEM(memories=4)],
        lambda: [EWC(3.0, implicit=True), GEM("a-gem", memories=4)],
    ],
)
def test_terms_with_known_slopes_give_the_step_of_the_general_way(methods, bias: bool) -> None:
    ends = []
    for more in ([], [_Asked()]):
        model = Classifier(5, hidden=(7, 6), classes=3, bias=bias)
        learner = Learner(model, [*methods(), *more], lr=0.05)
        told = []
        for day in range(3):
            for n in range(8):
                batch = given(seed=10 * day + n).marked(day)
                if day == 1:  # the head grows
                    batch = examples(batch.x, batch.y + 1, day)
                learner.learn_batch(batch, torch.full((12,), n == 0))
                told.append(dict(learner.terms))
            learner.sleep(given(seed=day))
        ends.append((told, vectors.flatten(learner.trainable)))
    for quick, slow in zip(ends[0][0], ends[1][0], strict=True):
        assert quick == pytest.approx(slow, rel=1e-4, abs=1e-6)
    assert torch.allclose(ends[0][1], ends[1][1], atol=1e-5)
    due = sum(isinstance(m, LwF) or (isinstance(m, EWC) and not m.implicit) for m in methods())
    assert len(ends[0][0][-1]) == 1 + due


def test_springs_laid_out_flat_are_held_once_and_follow_what_is_put_in() -> None:
    spring = Quadratic()
    spring.add({"w": torch.tensor([3.0, 1.0])}, {"w": torch.tensor([1.0, 5.0])})
    weights = {"w": torch.tensor([4.0, 2.0]), "free": torch.tensor([7.0])}
    held = spring.bytes
    value, slopes = spring.slopes(weights, 2.0)
    assert value == pytest.approx(2 * (0.5 * 3 * 9 + 0.5 * 9))
    assert [s.tolist() for s in slopes] == [[18.0, -6.0], [0.0]]
    assert spring.bytes == held + 2 * 4, "what is free has zeros, and nothing else came"
    spring.add({"w": torch.ones(2)}, {"w": torch.zeros(2)})
    assert spring.slopes(weights)[1][0].tolist() == pytest.approx([9.0 + 4, -3.0 + 2])
    spring.load(spring.state())
    spring.scale(0.5)
    assert spring.slopes(weights)[0] == pytest.approx(float(spring(weights)))
    grown = {"w": torch.tensor([4.0, 2.0, 9.0])}
    assert spring.slopes(grown)[1][0].tolist() == pytest.approx([6.5, -0.5, 0.0])


@pytest.mark.parametrize("many", [1, 2, 3, 5])
def test_the_small_program_finds_the_least_of_all_choices_of_what_is_bound(many: int) -> None:
    rng = np.random.default_rng(many)
    for _ in range(40):
        rows = rng.normal(size=(many, 4))
        p, q = rows @ rows.T + 1e-3 * np.eye(many), rng.normal(size=many)
        floor = np.where(rng.random(many) < 0.5, 0.5, 0.0)
        best = np.inf
        for bound in itertools.product([False, True], repeat=many):
            at = np.array(bound)
            v = floor.copy()
            if not at.all():
                v[~at] = np.linalg.solve(p[np.ix_(~at, ~at)], -q[~at] - p[np.ix_(~at, at)] @ floor[at])
            if (v >= floor - 1e-9).all():
                best = min(best, 0.5 * v @ p @ v + q @ v)
        found = solve(p, q, floor)
        assert (found >= floor).all()
        assert 0.5 * found @ p @ found + q @ found == pytest.approx(best, rel=1e-7, abs=1e-9)


def test_a_batch_cut_is_the_batch() -> None:
    parts = list(given(7).cut(3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert torch.equal(join(parts).x, given(7).x)


def test_seconds_of_looking_are_not_those_of_learning() -> None:
    clock = Clock(wall=1.0)
    with clock.running():
        with clock.paused():
            paused = clock.wall
        assert clock.wall == paused
    assert clock.wall > paused > 1.0


def test_the_written_out_step_is_taken_only_where_it_is_the_same() -> None:
    def quick(model: nn.Module, methods: list[Method], objective: Objective | None = None) -> bool:
        learner = Learner(model, methods, objective)
        return learner.plain(given()) is not None and all(map(written_out, methods))

    assert quick(net(), [Naive()])
    assert quick(Classifier(5, (), 3, bias=False), [GEM(), Replay()])
    assert quick(net(), [EWC(), LwF()]), "terms whose slopes are known"
    assert not quick(net(), [CenterLoss()]), "a term of the loss"
    assert not quick(net(), [_Halved()]), "its slopes are those of the class above"
    assert not quick(Classifier(5, (7,), 3, activation="tanh"), [Naive()])
    assert not quick(net(), [Elephant()])
    assert not quick(net(), [Naive()], Classification({0: [0, 1]})), "classes are masked"
    frozen, watched = net(), net()
    frozen.layers[0].requires_grad_(False)
    assert not quick(frozen, [Naive()])
    watched.layers[1].register_forward_hook(lambda *passed: None)
    assert not quick(watched, [Naive()]), "somebody looks at what passes"
    assert not quick(net().double(), [Naive()])
