"""The quick way through linear layers gives what the general way gives, and steps aside where it does not apply."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.weights import Classifier, Learner, linear, vectors
from slowwave.weights.base import Method
from slowwave.weights.baselines import Naive, Replay
from slowwave.weights.batch import Batch, examples
from slowwave.weights.buffer import Buffer
from slowwave.weights.elephant import Elephant
from slowwave.weights.ewc import EWC
from slowwave.weights.gem import GEM
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


def test_constraints_of_many_tasks_come_from_one_pass_and_are_those_of_each() -> None:
    gem = GEM(memories=12)
    learner = Learner(net(), [gem])
    for task in range(3):
        learner.learn_batch(given(seed=task).marked(task))
    rows = gem._rows(learner, [0, 1, 2])
    each = torch.stack([learner.gradient(gem.rings[task].everything()) for task in range(3)])
    assert torch.allclose(rows, each, atol=1e-6)


def test_an_implicit_pull_is_the_minimum_of_distance_and_penalty() -> None:
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
        from slowwave.weights.baselines import LwF

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


def test_the_written_out_step_is_taken_only_where_it_is_the_same() -> None:
    def quick(model: nn.Module, methods: list[Method], objective: Objective | None = None) -> bool:
        learner = Learner(model, methods, objective)
        return learner._plain(learner.aim(given().y), given()) is not None

    assert quick(net(), [Naive()])
    assert quick(Classifier(5, (), 3, bias=False), [GEM(), Replay()])
    assert not quick(net(), [EWC()]), "a term of the loss"
    assert not quick(Classifier(5, (7,), 3, activation="tanh"), [Naive()])
    assert not quick(net(), [Elephant()])
    assert not quick(net(), [Naive()], Classification({0: [0, 1]})), "classes are masked"
    frozen, watched = net(), net()
    frozen.layers[0].requires_grad_(False)
    assert not quick(frozen, [Naive()])
    watched.layers[1].register_forward_hook(lambda *passed: None)
    assert not quick(watched, [Naive()]), "somebody looks at what passes"
    assert not quick(net().double(), [Naive()])
