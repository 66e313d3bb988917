"""A gate admits what trials show to help beyond chance, pairs what can be paired, and says when it cannot tell."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from slowwave.errors import InputError
from slowwave.ops.admission import Gate, Trial, as_trial, replayed, shuffled, sign_flip


def trials(rewards, **fields):
    return [Trial(reward, seed=seed, **fields) for seed, reward in enumerate(rewards)]


def test_the_exact_p_is_what_counting_every_assignment_of_signs_gives():
    d = np.array([0.4, -0.1, 0.3, 0.0, 0.2])
    better = [
        sum(s * x for s, x in zip(signs, d, strict=True)) >= d.sum() - 1e-9 for signs in product([1, -1], repeat=5)
    ]
    assert sign_flip(d) == pytest.approx(sum(better) / 32)
    assert sign_flip([1] * 8) == 1 / 256
    assert sign_flip([]) == 1.0


def test_the_drawn_p_of_many_pairs_is_near_the_exact_one_and_repeats():
    d = np.random.default_rng(1).normal(0.3, 1.0, 16)
    many = np.concatenate([d, np.zeros(8)])  # zeros change no sum
    assert sign_flip(many) == pytest.approx(sign_flip(d), abs=0.01)
    assert sign_flip(many) == sign_flip(many)


def test_p_is_a_p_under_chance_it_is_seldom_small():
    rng = np.random.default_rng(0)
    p = [sign_flip(rng.choice([-1.0, 0.0, 1.0], 8)) for _ in range(400)]
    assert np.mean(np.array(p) <= 0.1) <= 0.13


def test_a_gain_is_admitted_a_loss_and_a_costly_nothing_are_not():
    gate = Gate()
    base = trials([0, 0, 1, 0, 1, 0, 0, 1])
    assert gate.judge(trials([1, 1, 1, 0, 1, 1, 0, 1]), base).admitted
    assert not gate.judge(trials([0, 0, 0, 0, 1, 0, 0, 0]), base).admitted
    same = gate.judge([Trial(t.reward, 500, 0, t.seed) for t in base], base)
    assert not same.admitted
    assert same.score == pytest.approx(-0.005)
    assert same.tokens == 500


def test_tokens_and_latency_are_charged_at_their_price():
    gate = Gate(latency_cost=1e-3, token_cost=1e-2, level=1.0)
    dear = gate.judge(trials([1, 1], tokens=40, latency_ms=300), trials([0.5, 0.5]))
    assert dear.score == pytest.approx(0.5 - 0.4 - 0.3)
    assert dear.gain == pytest.approx(0.5)
    assert not dear.admitted


def test_without_the_test_a_lucky_pair_is_enough_and_with_it_is_not():
    lucky, base = trials([1, 0, 1, 0, 0, 1, 0, 1]), trials([0, 1, 0, 1, 0, 0, 0, 1])
    assert Gate(level=1.0).judge(lucky, base).admitted, "the paper's bare S >= eta"
    ruling = Gate().judge(lucky, base)
    assert not ruling.admitted
    assert ruling.score > 0
    assert "chance" in ruling.reason


def test_pairing_finds_a_steady_gain_that_unpaired_trials_hide():
    hard = [0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.15, 0.85]
    with_, without = trials([r + 0.05 for r in hard]), trials(hard)
    assert Gate().judge(with_, without).admitted
    elsewhere = [Trial(t.reward, seed=100 + t.seed) for t in without]
    apart = Gate().judge(with_, elsewhere)
    assert not apart.paired
    assert not apart.admitted


def test_unpaired_trials_are_judged_by_shuffled_labels():
    assert shuffled([1, 1, 1, 1], [0, 0, 0, 0]) == pytest.approx(1 / 70, abs=0.01)
    assert shuffled([0.5, 0.5], [0.5, 0.5]) == 1.0
    assert Gate().judge(trials([1, 1, 1]), [Trial(0, seed=9), Trial(0, seed=8)]).admitted


@pytest.mark.parametrize(("with_", "without"), [([], []), ([1], [0]), ([1, 1], [0]), ([], [0, 0])])
def test_too_few_trials_decide_nothing(with_, without):
    ruling = Gate().judge(trials(with_), trials(without))
    assert not ruling.decided
    assert not ruling.admitted


def test_a_replay_is_run_with_and_without_on_the_same_seeds():
    asked = []

    def replay(task, memory, seed):
        asked.append((task, memory, seed))
        return {"reward": 1.0 if memory else 0.0, "tokens": 10 if memory else 5}

    with_, without = replayed(replay, "t", "m", [3, 4])
    assert asked == [("t", "m", 3), ("t", "m", 4), ("t", None, 3), ("t", None, 4)]
    ruling = Gate(level=0.25).judge(with_, without)
    assert ruling.paired
    assert ruling.admitted
    assert ruling.to_dict()["tokens"] == 5.0


@pytest.mark.parametrize("given", ["0.5", None, float("nan"), {"tokens": 3}, {"reward": "good"}, Trial(float("inf"))])
def test_a_trial_without_a_finite_reward_is_refused(given):
    with pytest.raises(InputError, match="finite"):
        as_trial(given, "task")


def test_differences_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="not finite"):
        Gate().weigh([0.1, float("nan")])
