"""What each method promises of the arithmetic, and that the flaws of the originals are absent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from slowwave.checks.methods import facts, tiny_language_model
from slowwave.errors import InputError, NotFoundError
from slowwave.weights import Classifier, Learner, adapters
from slowwave.weights.baselines import Replay
from slowwave.weights.batch import Batch, examples
from slowwave.weights.center_loss import CenterLoss
from slowwave.weights.data import glyphs
from slowwave.weights.elephant import Elephant
from slowwave.weights.factorize_centralize import FactorizeCentralize, merged
from slowwave.weights.gem import GEM, project, solve
from slowwave.weights.hypernetworks import HyperNetwork, Hypernetworks, likeliest_task
from slowwave.weights.model import distil
from slowwave.weights.objective import Classification
from slowwave.weights.pca_ogd import PCAOGD
from slowwave.weights.refresh import DarkReplay
from slowwave.weights.remind import Quantiser, Remind
from slowwave.weights.rer import RER
from slowwave.weights.slm_mitigation import SLMMitigation
from slowwave.weights.ssd import SSD, dampen, importance, membership
from slowwave.weights.stream import permuted, split
from slowwave.weights.vectors import flatten, gradient, trainable, values
from slowwave.weights.view_batch import ViewBatch

DATA = glyphs(classes=6, train=180, test=120)
IDS = torch.randint(1, 24, (8, 4), generator=torch.Generator().manual_seed(0))


def classifier(**given: object) -> Classifier:
    return Classifier(64, hidden=(24, 24), classes=6, **given)  # type: ignore[arg-type]


def rows(n: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


# -- gem


@given(st.integers(0, 500), st.integers(1, 8), st.sampled_from([0.0, 0.5]), st.sampled_from(["violated", "all"]))
def test_a_projected_gradient_meets_its_constraints(seed: int, many: int, margin: float, lifts) -> None:
    g, old, ridge = rows(1, 20, seed)[0], rows(many, 20, seed + 1), 1e-3
    turned = project(g, old, margin, ridge, lifts)
    gram = (old @ old.T).double().numpy() + ridge * np.eye(many)
    towards = (old @ g).double().numpy()
    floor = np.where((towards < 0) | (lifts == "all"), margin, 0.0)
    v = solve(gram, towards, floor)
    slack = gram @ v + towards
    assert (v >= floor).all()
    assert (slack >= -1e-6).all()
    assert np.abs(slack[v > floor + 1e-9]).max(initial=0) < 1e-5  # what is pushed further is met exactly
    assert (old @ turned >= -ridge * torch.from_numpy(v).float() - 1e-4).all()


def test_a_gradient_that_hurts_nothing_old_is_left_alone() -> None:
    learner = Learner(classifier(), [GEM()])
    learner.learn(permuted(DATA, 1))
    batch = permuted(DATA, 2).experiences[1].load()
    gem = learner.methods[0]
    assert isinstance(gem, GEM)
    mine = learner.gradient(gem.rings[0].everything())
    assert torch.equal(gem.grad_transform(learner, mine, batch), mine)
    turned = gem.grad_transform(learner, -mine, batch)
    assert mine @ turned >= -1.001e-3  # the ridge, with a multiplier of at most 1


def test_an_averaged_constraint_leaves_the_gradient_orthogonal_to_it() -> None:
    gem = GEM(variant="a-gem", many=10**6)
    learner = Learner(classifier(), [gem])
    learner.learn(permuted(DATA, 1))
    mine = learner.gradient(gem.rings[0].everything())
    turned = gem.grad_transform(learner, -mine + 0.1 * rows(1, len(mine))[0], DATA.train.marked(1))
    assert abs(float(mine @ turned)) < 1e-3 * float(mine.norm() ** 2)


def test_a_ring_holds_no_empty_rows_after_a_short_task() -> None:
    gem = GEM(memories=500)
    Learner(classifier(), [gem], epochs=2).learn(permuted(DATA, 2))
    assert [len(gem.rings[task]) for task in (0, 1)] == [180, 180]
    assert all(float(ring.everything().x.flatten(1).sum(1).min()) > 0 for ring in gem.rings.values())


# -- ssd


def taught(seed: int = 0) -> tuple[Learner, SSD]:
    ssd = SSD()
    learner = Learner(classifier(seed=seed), [ssd], optimiser="adam", lr=3e-3, epochs=30, seed=seed)
    learner.learn(permuted(DATA, 1))
    return learner, ssd


def test_dampening_leaves_untouched_weights_bit_identical_and_shrinks_the_others_as_said() -> None:
    learner, ssd = taught()
    goes = importance(learner.model, Classification(), DATA.train.take(DATA.train.y == 1))
    before = values(trainable(learner.model))
    share = dampen(learner.model, goes, ssd.importance, 3.0, 1.0)
    assert 0 < share < 0.5
    for name, parameter in trainable(learner.model).items():
        chosen = goes[name] > 3.0 * ssd.importance[name]
        assert torch.equal(parameter[~chosen], before[name][~chosen])
        due = before[name] * (ssd.importance[name] / goes[name].clamp_min(1e-30)).clamp_max(1)
        assert torch.allclose(parameter[chosen], due[chosen])


def test_a_class_is_forgotten_within_the_budget_and_the_others_stay() -> None:
    learner, ssd = taught()
    goes, stays = DATA.train.y == 1, DATA.test.y != 1
    report = ssd.forget(learner, DATA.train.take(goes), DATA.train.take(~goes))
    assert report["accuracy before"] > 0.95
    assert report["accuracy after"] < 0.5
    assert report["loss after"] <= report["loss before"] + ssd.budget
    assert learner.score(DATA.test.take(stays)) > 0.7


def test_alpha_above_one_over_the_share_selects_nothing() -> None:
    learner, _ = taught()
    goes = importance(learner.model, Classification(), DATA.train.take(DATA.train.y == 1))
    everything = importance(learner.model, Classification(), DATA.train)
    assert dampen(learner.model, goes, everything, 6.0 + 1e-3, 1.0) == 0  # one class of six


def test_forgetting_without_what_it_needs_says_so() -> None:
    ssd = SSD()
    learner = Learner(classifier(), [ssd])
    with pytest.raises(InputError, match="no importance has been noted"):
        ssd.forget(learner, DATA.train)
    learner, ssd = taught()
    with pytest.raises(InputError, match="give `stays`"):
        ssd.forget(learner, DATA.train)


def test_what_mattered_before_the_head_grew_is_still_known() -> None:
    ssd = SSD()
    learner = Learner(Classifier(64, (24,), 2), [ssd], lr=0.0)  # nothing moves, so importances add up to the mean
    stream = split(DATA, 2)
    learner.learn(stream.first(1))
    first = ssd.importance["head.weight"].clone()
    learner.learn(stream.first(2))
    assert ssd.importance["head.weight"].shape == (4, 24)
    second = importance(learner.model, Classification(), stream.experiences[1].load())["head.weight"]
    many = [len(e.load()) for e in stream.experiences[:2]]
    due = many[1] * second
    due[:2] += many[0] * first
    assert torch.allclose(ssd.importance["head.weight"], due / sum(many), atol=1e-6)


def test_membership_is_a_half_where_nothing_tells_and_more_after_overfitting() -> None:
    wrong = torch.randint(0, 6, (100,), generator=torch.Generator().manual_seed(0))
    seen, unseen = examples(DATA.train.x[:50], wrong[:50]), examples(DATA.train.x[50:100], wrong[50:])
    learner = Learner(classifier(), optimiser="adam", lr=3e-3)
    assert 0.35 < membership(learner.model, Classification(), seen, unseen) < 0.65
    for _ in range(150):
        learner.write(seen.x, seen.y)
    assert membership(learner.model, Classification(), seen, unseen) > 0.8


# -- pca-ogd


def test_a_step_off_the_basis_moves_old_outputs_only_to_second_order() -> None:
    ogd = PCAOGD(keep=200, samples=200)
    learner = Learner(classifier(), [ogd], lr=0.1, epochs=5)
    learner.learn(permuted(DATA, 1))
    old = DATA.train.take(torch.arange(40))
    ogd.rows = torch.zeros(0, 0)
    ogd.sleep(learner, old)
    batch = permuted(DATA, 2).experiences[1].load()
    raw = gradient(F.cross_entropy(learner.model(batch.x), batch.y), learner.trainable)
    own = ogd.grad_transform(learner, raw.clone(), batch)
    basis = ogd.basis(len(raw))
    assert basis is not None
    assert (basis @ own).abs().max() < 1e-5 * raw.norm()
    start, moved = values(trainable(learner.model)), {}
    for name, direction in (("raw", raw), ("projected", own)):
        for parameter, part in zip(learner.trainable, _cut(direction, learner.trainable), strict=True):
            parameter.data -= 1e-3 * part
        logits = learner.model(old.x).detach().gather(1, old.y[:, None])
        for parameter, part in zip(learner.trainable, start.values(), strict=True):
            parameter.data.copy_(part)
        moved[name] = float((logits - learner.model(old.x).detach().gather(1, old.y[:, None])).abs().max())
    assert moved["projected"] < 0.05 * moved["raw"]


def _cut(flat: torch.Tensor, like: list[nn.Parameter]) -> list[torch.Tensor]:
    from slowwave.weights.vectors import unflatten

    return unflatten(flat, like)


def test_a_capacity_bounds_the_directions_and_they_stay_orthonormal() -> None:
    ogd = PCAOGD(keep=10, samples=60, capacity=15)
    learner = Learner(classifier(), [ogd], lr=0.1)
    record = learner.learn(permuted(DATA, 3))
    assert len(ogd.rows) == 15
    assert len(set(record.bytes[1:])) == 1
    basis = ogd.basis(ogd.rows.shape[1])
    assert basis is not None
    assert torch.allclose(basis @ basis.T, torch.eye(15), atol=1e-3)
    with pytest.raises(InputError, match="give all classes at the start"):
        ogd.basis(7)


# -- remind


def test_codes_are_exact_for_what_the_book_holds_and_cost_a_byte_a_piece() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = rows(4, 12)
    given = centres[torch.randint(0, 4, (50,), generator=generator)]
    coder = Quantiser(books=5, words=16)  # 12 does not divide by 5
    coder.fit(given, generator, rounds=30)
    codes = coder.encode(given)
    assert codes.dtype == torch.uint8
    assert codes.shape == (50, 5)
    assert torch.allclose(coder.decode(codes), given, atol=1e-5)


def test_more_books_tell_features_better() -> None:
    given, errors = rows(300, 24), []
    for books in (1, 4, 12):
        coder = Quantiser(books, 16)
        coder.fit(given, torch.Generator().manual_seed(1))
        errors.append(float((coder.decode(coder.encode(given)) - given).pow(2).mean()))
    assert errors[0] > errors[1] > errors[2]


def test_below_the_replay_nothing_moves_and_the_classes_of_the_base_survive() -> None:
    stream = split(DATA, 2)
    kept = {}
    for many in (0, 5):
        remind = Remind(books=8, words=32, many=many, capacity=120)
        learner = Learner(classifier(), [remind], lr=0.2, epochs=20)
        learner.learn(stream.first(1))
        lower = values({n: p for n, p in learner.model.named_parameters() if n.startswith("layers.0")})
        learner.batch, learner.epochs, learner.experience = 4, 1, 1
        learner.learn(stream)
        for name, part in lower.items():
            assert torch.equal(dict(learner.model.named_parameters())[name], part)
        kept[many] = learner.record.matrix[-1][0]
    assert kept[5] > kept[0] + 0.3
    assert remind.buffer.everything().x.dtype == torch.uint8
    with pytest.raises(InputError, match="no lower"):
        Learner(nn.Linear(4, 2), ["remind"])


# -- adapters, w-f&c, slm


def test_a_folded_adapter_is_the_sum_and_the_outputs_stay() -> None:
    model = tiny_language_model()
    adapters.attach(model, rank=3, alpha=6.0)
    for layer in adapters.layers_of(model).values():
        nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    plain = {path: layer.base_layer.weight.detach().clone() for path, layer in adapters.layers_of(model).items()}
    said, change = model(IDS).detach(), adapters.changes(model)
    for path, layer in adapters.layers_of(model).items():
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        assert torch.allclose(change[path], 6.0 / 3 * b @ a, atol=1e-6)
    adapters.fold(model, change)
    adapters.restart(model, torch.Generator())
    assert torch.allclose(model(IDS), said, atol=1e-5)
    for path, layer in adapters.layers_of(model).items():
        assert torch.allclose(layer.base_layer.weight, plain[path] + change[path])


def test_the_mean_of_adapters_is_that_of_their_products_and_not_the_product_of_means() -> None:
    pairs = [(rows(2, 5, n), rows(4, 2, n + 9)) for n in range(3)]
    parts = [{"w": b @ a} for a, b in pairs]
    assert torch.allclose(merged(parts)["w"], sum(p["w"] for p in parts) / 3)
    crossed = torch.stack([b for _, b in pairs]).mean(0) @ torch.stack([a for a, _ in pairs]).mean(0)
    assert not torch.allclose(merged(parts)["w"], crossed, atol=0.1)
    assert torch.allclose(merged(parts, "sum")["w"], 3 * merged(parts)["w"])


def test_ties_trims_elects_a_sign_and_means_those_that_agree() -> None:
    parts = [{"w": torch.tensor([5.0, 0.1, -3.0, 0.0])}, {"w": torch.tensor([1.0, 0.2, 4.0, 0.0])}]
    assert adapters.ties(parts, keep=0.5)["w"].tolist() == [3.0, 0.0, 4.0, 0.0]


@pytest.mark.parametrize("every", [1, 2])
def test_a_night_folds_the_days_adapters_into_the_central_weight(every: int) -> None:
    method = FactorizeCentralize(rank=2, every=every, mode="mean")
    learner = Learner(tiny_language_model(), [method], optimiser="adam", lr=0.02, batch=6, epochs=5)
    before = {p: layer.base_layer.weight.detach().clone() for p, layer in adapters.layers_of(learner.model).items()}
    learner.learn(facts(2))
    moved = [
        not torch.equal(layer.base_layer.weight, before[p]) for p, layer in adapters.layers_of(learner.model).items()
    ]
    assert any(moved)
    assert method.scattered == []
    assert all(float(change.abs().max()) == 0 for change in adapters.changes(learner.model).values())


def test_a_fresh_adapter_is_not_moved_by_the_moments_of_the_one_before() -> None:
    learner = Learner(tiny_language_model(), [FactorizeCentralize(rank=2)], optimiser="adam", lr=0.02)
    learner.learn(facts(1))
    assert not learner._optim.state
    fresh = [parameter.detach().clone() for parameter in learner.trainable]
    learner.write(IDS, torch.full_like(IDS, -100))  # nothing is scored: the gradient is zero
    assert all(torch.equal(a, b) for a, b in zip(fresh, learner.trainable, strict=True))


@pytest.mark.parametrize("every", [2, 4])
def test_what_was_learned_since_the_last_folding_is_in_the_model_over_night(every: int, tmp_path) -> None:
    def learner() -> Learner:
        method = FactorizeCentralize(rank=4, every=every, mode="sum")
        return Learner(tiny_language_model(), [method], optimiser="adam", lr=0.02, batch=6, epochs=40)

    whole = learner()
    layers = adapters.layers_of(whole.model)
    central = {path: layer.base_layer.weight.detach().clone() for path, layer in layers.items()}
    record = whole.learn(facts(3).first(1))
    assert record.matrix[0][0] > record.before[0] + 0.5  # the first night folds nothing
    gathered = whole.methods[0].scattered[0]  # type: ignore[attr-defined]
    for path, layer in layers.items():
        assert torch.allclose(layer.base_layer.weight, central[path] + gathered[path], atol=1e-6)
    whole._open()  # the next day begins at the same central weight, to the bit
    seen = [torch.equal(layer.base_layer.weight, central[path]) for path, layer in layers.items()]
    assert all(seen)
    other = learner()
    other.learn(facts(3), tmp_path)
    method = other.methods[0]
    assert isinstance(method, FactorizeCentralize)
    due = merged(method.scattered, "sum")  # the third night folds nothing, and what was gathered is there all the same
    for path, layer in adapters.layers_of(other.model).items():
        assert float(due[path].norm()) > 1
        assert torch.allclose(layer.base_layer.weight, method.central[path] + due[path], atol=1e-5)
    again = learner()
    again.load(tmp_path)
    assert torch.equal(again.read(IDS), other.read(IDS))


def test_an_adapter_goes_to_peft_and_comes_back(tmp_path) -> None:
    from peft import PeftModel

    model = tiny_language_model()
    adapters.attach(model, rank=2)
    for layer in adapters.layers_of(model).values():
        nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    said = model(IDS).detach()
    adapters.write_peft(model, tmp_path)
    assert torch.allclose(PeftModel.from_pretrained(tiny_language_model(), str(tmp_path))(IDS), said, atol=1e-6)
    mine = tiny_language_model()
    adapters.read_peft(mine, tmp_path)
    assert torch.allclose(mine(IDS), said, atol=1e-6)
    adapters.rescale(mine, 0.0)
    assert torch.allclose(mine(IDS), tiny_language_model()(IDS), atol=1e-6)
    with pytest.raises(InputError, match=r"does not fit|found none|Target modules"):
        adapters.read_peft(Wrapped(tiny_language_model()), tmp_path)
    with pytest.raises(NotFoundError, match="adapter_config"):
        adapters.read_peft(mine, tmp_path / "nowhere")


class Wrapped(nn.Module):
    """The same layers under other paths."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inside = inner


def test_a_discounted_stage_lies_between_before_and_after() -> None:
    ends = {}
    for discount in (1.0, 0.25):
        method = SLMMitigation(discount=discount, mix=0.0)
        learner = Learner(tiny_language_model(), [method], optimiser="adam", lr=0.02, batch=6, epochs=3)
        start = flatten(list(trainable(learner.model).values())).detach().clone()
        learner.learn(facts(1))
        ends[discount] = flatten(list(trainable(learner.model).values())).detach() - start
    assert torch.allclose(ends[0.25], 0.25 * ends[1.0], atol=1e-6)


def test_a_stage_of_an_adapter_is_not_discounted_factor_by_factor() -> None:
    model = tiny_language_model()
    adapters.attach(model, rank=2)
    with pytest.raises(InputError, match=r"FactorizeCentralize\(share=\.\.\.\)"):
        Learner(model, [SLMMitigation(discount=0.5)]).learn(facts(1))
    Learner(model, [SLMMitigation(discount=1.0)]).learn(facts(1))


def test_a_share_of_replay_is_kept_to_over_many_steps() -> None:
    method = SLMMitigation(mix=0.15)
    learner = Learner(classifier(), [method])
    method.buffer.add(DATA.train, 0)
    batch = DATA.train.take(torch.arange(10))
    drawn = [0 if (r := method.replay(learner, batch)) is None else len(r) for _ in range(20)]
    assert sum(drawn) == 30
    with pytest.raises(InputError, match="between 0 and 1"):
        SLMMitigation(discount=1.5)


# -- hypernetworks, elephants, centres


def test_a_hypernetwork_holds_its_old_outputs_and_can_infer_the_task() -> None:
    stream, ends = permuted(DATA, 3), {}
    for strength in (0.0, 1.0):
        model = HyperNetwork(64, (16,), 6, tasks=4, layers=(20,))
        learner = Learner(model, [Hypernetworks(strength)], optimiser="adam", lr=3e-3, epochs=25)
        learner.learn(stream)
        ends[strength] = learner.record.summary()
    assert ends[1.0]["forgetting"] < ends[0.0]["forgetting"] - 0.1
    assert ends[1.0]["plasticity"] > 0.7
    guessed = likeliest_task(model, stream.tests[2]().x, range(3))
    assert float((guessed == 2).float().mean()) > 0.5


def test_a_hypernetwork_in_chunks_gives_as_many_weights() -> None:
    whole, cut = HyperNetwork(6, (5,), 3), HyperNetwork(6, (5,), 3, chunk=20)
    assert len(whole.weights(whole.embeddings[0])) == len(cut.weights(cut.embeddings[0])) == 6 * 5 + 5 + 5 * 3 + 3
    learner = Learner(HyperNetwork(64, (8,), 6, tasks=1), [Hypernetworks()])
    with pytest.raises(InputError, match="no embedding"):
        learner.learn(permuted(DATA, 2))


def test_a_step_at_one_place_changes_an_elephant_little_elsewhere() -> None:
    changes = {}
    for kind in ("relu", "elephant"):
        model = Classifier(1, hidden=(400,), classes=1, seed=1)
        with torch.no_grad():
            model.layers[0].weight.fill_(1.0)
        methods = [Elephant(width=0.1, slope=8)] if kind == "elephant" else []
        from slowwave.weights.objective import Regression

        learner = Learner(model, methods, Regression(), lr=0.005 if kind == "elephant" else 0.05)
        line = torch.linspace(-1.5, 1.5, 61)[:, None]
        before = learner.model(line).detach()
        learner.learn_batch(examples(torch.tensor([[0.5]]), torch.tensor([2.0])))
        changes[kind] = (learner.model(line).detach() - before).abs()[:, 0]
    near, far = changes["elephant"][40], changes["elephant"][10]
    assert far < 0.05 * near
    assert changes["relu"].max() > 1.5 * changes["relu"][40]


def test_centres_follow_their_class_and_stand_still_after_the_first_period() -> None:
    method = CenterLoss(strength=0.1)
    learner = Learner(classifier(), [method], lr=0.05, epochs=2)
    learner.learn(permuted(DATA, 1))
    centres, head = method.centres.clone(), learner.model.head.weight.detach().clone()
    with torch.no_grad():
        mean = learner.model.features(DATA.train.x[DATA.train.y == 2]).mean(0)
    assert F.cosine_similarity(centres[2], mean, dim=0) > 0.95
    learner.learn(permuted(DATA, 2))
    assert torch.equal(method.centres, centres)
    assert torch.equal(learner.model.head.weight, head)


# -- refresh, rer, view-batch


def test_dark_replay_keeps_the_logits_that_were_given_at_the_time() -> None:
    method = DarkReplay(capacity=30)
    learner = Learner(classifier(), [method], lr=0.05, batch=10)
    first = learner.model(DATA.train.x[:10]).detach()
    learner.learn_batch(DATA.train.take(torch.arange(10)))
    kept = method.buffer.everything()
    assert kept.logits is not None
    assert torch.allclose(kept.logits, first, atol=1e-5)
    learner.learn_batch(DATA.train.take(torch.arange(10, 20)))
    assert set(learner.terms) == {"loss", "replay: old logits", "replay: old labels"}


def test_the_look_ahead_of_rer_is_what_finite_differences_say() -> None:
    method = RER(capacity=60, seed=1)
    model = Classifier(8, hidden=(5,), classes=3, activation="tanh").double()
    learner = Learner(model, [method], Classification(), lr=0.3)
    method.net.double()
    batch = examples(rows(12, 8).double(), torch.arange(12) % 3)
    method.buffer.add(batch, 0)
    fixed = method.buffer.everything()
    method.buffer.sample = lambda many, rng: fixed  # type: ignore[method-assign]
    weight = method.net.out.bias

    def outer() -> float:
        named = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
        logits = torch.func.functional_call(model, named, (batch.x,))
        losses = F.cross_entropy(logits, batch.y, reduction="none")
        place = torch.arange(6)
        with torch.no_grad():
            pairs = method._weigh(losses, logits, place, place + 6)
        inner = (pairs[:, 0] * losses[:6] + pairs[:, 1] * losses[6:]).mean()
        steps = torch.autograd.grad(inner, list(named.values()))
        ahead = {n: p - 0.3 * g for (n, p), g in zip(named.items(), steps, strict=True)}
        return F.cross_entropy(torch.func.functional_call(model, ahead, (fixed.x,)), fixed.y).item()

    values_ = []
    for shift in (1e-4, -1e-4):
        with torch.no_grad():
            weight[0] += shift
        values_.append(outer())
        with torch.no_grad():
            weight[0] -= shift
    method._optim.step = lambda: None  # type: ignore[assignment, return-value, method-assign]
    method._look_ahead(learner, batch)
    assert weight.grad is not None
    assert float(weight.grad[0]) == pytest.approx((values_[0] - values_[1]) / 2e-4, rel=1e-3)


def test_every_sample_is_seen_v_times_in_v_epochs_and_rests_v_times_longer() -> None:
    method = ViewBatch(views=4)
    learner = Learner(classifier(), [method], epochs=8)
    seen: list[list[int]] = []
    for epoch in range(8):
        given = method.order(learner, 42, epoch, np.random.default_rng(0))
        assert given is not None
        order, views = given
        assert (np.diff(order.reshape(-1, 4), axis=1) == 0).all()
        assert views.tolist() == [0, 1, 2, 3] * (len(order) // 4)
        seen.append(order.tolist())
    for start in (0, 4):
        counts = np.bincount(np.concatenate(seen[start : start + 4]), minlength=42)
        assert counts.tolist() == [4] * 42
    assert sum(map(len, seen)) == 8 * 42
    assert set(seen[0]).isdisjoint(seen[1])
    learner.epochs = 3  # fewer epochs than views: rounds of three
    given = method.order(learner, 9, 0, np.random.default_rng(0))
    assert given is not None
    assert given[1].tolist() == [0, 1, 2] * 3


def test_replay_beside_views_keeps_each_sample_once_and_as_it_was() -> None:
    replay = Replay(capacity=400)
    learner = Learner(classifier(), [replay, ViewBatch(views=4)], epochs=8, lr=0.01)
    learner.learn(permuted(DATA, 1))
    assert len(replay.buffer) == len(DATA.train)
    kept = sorted(map(tuple, replay.buffer.everything().x.flatten(1).tolist()))
    assert kept == sorted(map(tuple, DATA.train.x.flatten(1).tolist()))


def test_neighbours_of_one_class_are_not_taken_for_views_of_one_sample() -> None:
    method = ViewBatch(views=2, warm_up=0)
    learner = Learner(classifier(), [method])
    x = DATA.train.x[:4]
    batch = Batch(
        x, torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), view=torch.tensor([0, 1, 0, 1])
    )
    logits = rows(4, 6)
    due = distil(logits[[1, 3]], logits[[0, 2]]).sum() / 4
    assert float(method.loss_terms(learner, batch, logits)["views"]) == pytest.approx(float(due), rel=1e-5)
    alone = Batch(batch.x, batch.y, batch.task, view=torch.zeros(4, dtype=torch.int64))
    assert method.loss_terms(learner, alone, logits) == {}
