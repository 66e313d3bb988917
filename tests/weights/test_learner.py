"""A learner takes what comes, with or without tasks, grows, goes on where it was left, and says what went wrong."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from slowwave.checks.methods import facts, tiny_language_model
from slowwave.errors import FormatError, InputError, NotFoundError
from slowwave.weights import METHODS, Classifier, Learner
from slowwave.weights.baselines import Replay
from slowwave.weights.batch import Batch, examples, join
from slowwave.weights.buffer import Buffer, Policy
from slowwave.weights.data import folder_of, glyphs, rotated_images
from slowwave.weights.ewc import EWC
from slowwave.weights.learner import DivergedError
from slowwave.weights.metrics import Cloze
from slowwave.weights.snapshot import describe
from slowwave.weights.stream import of_datasets, permuted, random_classes, recurring, rotated, split

DATA = glyphs(classes=6, train=240, test=120)


def classifier(**given: object) -> Classifier:
    return Classifier(64, hidden=(32, 32), classes=6, **given)  # type: ignore[arg-type]


def test_replay_keeps_what_naive_finetuning_loses() -> None:
    kept = {}
    for name in ("naive", "replay", "joint"):
        learner = Learner(classifier(), [name], optimiser="adam", lr=3e-3, epochs=25)
        kept[name] = learner.learn(split(DATA, 2)).summary()
    assert kept["naive"]["forgetting"] > 0.8
    assert kept["replay"]["accuracy"] > kept["naive"]["accuracy"] + 0.3
    assert kept["joint"]["accuracy"] >= kept["replay"]["accuracy"] - 0.02


def test_the_stability_gap_starts_from_the_end_of_a_task_after_its_night() -> None:
    class Blunting(Replay):
        def sleep(self, learner: Learner, day: Batch) -> dict[str, float]:
            with torch.no_grad():
                learner.model.head.weight.mul_(torch.linspace(1, 0, 6)[:, None])  # type: ignore[union-attr, operator]
            return {}

    learner = Learner(classifier(), [Blunting(60)], lr=0.3, batch=20, evaluate_every=5)  # 4 steps a task
    record = learner.learn(split(DATA, 2))
    assert [(step, period) for step, period, _ in record.curve] == [(4, 0), (5, 1), (8, 1), (10, 2), (12, 2)]
    gaps = []
    for period in (1, 2):
        start = np.mean(record.matrix[period - 1][:period])
        gaps.append(start - min(np.mean(said[:period]) for _, at, said in record.curve if at == period))
    assert record.summary()["stability gap"] == pytest.approx(np.mean(gaps))
    assert [said for step, _, said in record.curve if step in record.ends] == [
        row[: number + 1] for number, row in enumerate(record.matrix)
    ]


def test_an_endless_stream_needs_no_task_and_sleeps_on_its_clock() -> None:
    learner = Learner(classifier(), ["replay", METHODS["ewc"](strength=10.0)], lr=0.2, batch=10, sleep_every=12, day=50)
    for experience in split(DATA, 2):
        batch = experience.load()
        learner.write(batch.x, batch.y)
    assert learner.step == 24
    assert learner.period == 2
    assert [set(report) for report in learner.reports] == [{"ewc"}, {"ewc"}]
    assert learner.read(DATA.test.x).shape == (120, 6)


def test_a_label_not_met_before_makes_the_head_grow_and_the_rest_stays() -> None:
    learner = Learner(Classifier(64, hidden=(8,), classes=2), [METHODS["ewc"](strength=1.0)], optimiser="adam", lr=1e-2)
    first = DATA.train.take(DATA.train.y < 2)
    for _ in range(10):
        learner.write(first.x, first.y)
    learner.sleep()
    before = learner.model.head.weight[:2].detach().clone()
    learner.learn_batch(DATA.train.take([int((DATA.train.y == 4).nonzero()[0])]))
    assert learner.model.head.out_features == 5
    assert (learner.model.head.weight[:2] - before).abs().max() < 0.02  # one step of adam
    assert learner.score(first) > 0.5


def test_a_language_model_learns_facts_and_guards_say_what_it_cost() -> None:
    stream = facts()
    old = stream.tests[0]()
    learner = Learner(
        tiny_language_model(), ["replay"], optimiser="adam", lr=0.01, batch=6, epochs=30, guards={"cloze": Cloze(old)}
    )
    record = learner.learn(stream)
    assert [round(record.matrix[n][n], 1) for n in range(3)] == [1.0, 1.0, 1.0]
    assert record.guards[0]["cloze"] == record.matrix[0][0]
    assert learner.data == [tuple(f"d{d}f{n}" for n in range(6)) for d in range(3)]
    assert {"accuracy", "forgetting", "forward transfer", "bytes", "cloze"} <= set(record.summary())


def test_a_snapshot_names_its_parent_its_data_and_what_was_measured(tmp_path) -> None:
    learner = Learner(tiny_language_model(), ["replay"], optimiser="adam", lr=0.01, batch=6, epochs=2)
    learner.learn(facts(1), tmp_path / "a")
    first = describe(tmp_path / "a")
    assert (first.parent, first.steps, first.data[0][0]) == (None, 2, "d0f0")
    assert first.holds("d0f5")
    assert not first.holds("d1f0")
    assert first.methods["replay"]["capacity"] == 200
    assert first.metrics["accuracy"] == learner.record.summary()["accuracy"]
    second = learner.save(tmp_path / "b")
    assert second.parent == first.hash == second.hash  # nothing was learned in between
    learner.write(torch.tensor([[1, 2, 3, 4]]), torch.tensor([[-100, -100, -100, 4]]))
    assert learner.save(tmp_path / "b").hash != first.hash
    assert len(list((tmp_path / "b").glob("state-*.pt"))) == 1


def test_a_damaged_or_foreign_snapshot_is_refused(tmp_path) -> None:
    learner = Learner(classifier(), ["replay"])
    with pytest.raises(NotFoundError, match="no snapshot"):
        learner.load(tmp_path)
    learner.save(tmp_path)
    with pytest.raises(InputError, match=r"made with \['replay'\], this learner has \['naive'\]"):
        Learner(classifier(), ["naive"]).load(tmp_path)
    words = json.loads((tmp_path / "snapshot.json").read_text())
    (tmp_path / "snapshot.json").write_text(json.dumps({**words, "hash": "0" * 64}))
    with pytest.raises(FormatError, match="not those that snapshot"):
        learner.load(tmp_path)
    file = next(tmp_path.glob("state-*.pt"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(FormatError, match="cannot be read"):
        learner.load(tmp_path)


def test_a_loss_that_is_no_number_stops_with_what_to_do() -> None:
    learner = Learner(classifier(), [METHODS["ewc"](strength=1e9)], lr=0.5, epochs=3)
    with pytest.raises(DivergedError, match=r"strength=\S+ or a smaller lr would do"):
        learner.learn(permuted(DATA, 2))


@pytest.mark.parametrize("variant", ["separate", "summed", "online"])
def test_a_spring_of_ewc_holds_the_weights_near_and_too_stiff_a_one_learns_no_more(variant) -> None:
    moved, learned = [], []
    for strength in (0.0, 3000.0):
        ewc = METHODS["ewc"](strength=strength, variant=variant, samples=60)
        learner = Learner(classifier(), [ewc], optimiser="adam", lr=3e-3, epochs=25)
        record = learner.learn(permuted(DATA, 2))
        moved.append(record.summary()["forgetting"])
        learned.append(record.matrix[1][1])
    assert moved[1] < moved[0]
    assert learned[1] < learned[0]


def test_the_cost_of_replay_and_ewc_is_flat_over_a_hundred_tasks() -> None:
    small = glyphs(classes=4, train=32, test=8)
    ewc = METHODS["ewc"](strength=1.0, samples=8)
    learner = Learner(Classifier(64, hidden=(16,), classes=4), [METHODS["replay"](capacity=20), ewc], batch=8)
    stream = permuted(small, 100)
    seen = tuple(replace(e, test=0) for e in stream)
    record = learner.learn(replace(stream, experiences=seen, tests=stream.tests[:1]))
    assert len(set(record.bytes)) == 1, "what is kept grows"
    early, late = np.median(record.seconds[5:35]), np.median(record.seconds[70:])
    assert late < 3 * early, f"a task took {early:.4f} s early and {late:.4f} s late"


def test_bad_words_are_answered_with_the_words_there_are() -> None:
    with pytest.raises(NotFoundError, match="did you mean replay"):
        Learner(classifier(), ["repaly"])
    with pytest.raises(InputError, match="sgd, adam and adamw"):
        Learner(classifier(), optimiser="lion")
    with pytest.raises(InputError, match="at least 1"):
        Buffer(0)
    with pytest.raises(InputError, match="batch is 0; give a whole number of at least 1"):
        Learner(classifier(), batch=0)
    with pytest.raises(InputError, match="lr is nan"):
        Learner(classifier(), lr=float("nan"))
    with pytest.raises(InputError, match="methods are a list"):
        Learner(classifier(), "replay")
    with pytest.raises(InputError, match="give a torch module"):
        Learner(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="variant of ewc is 'onlin'; there are separate, summed, online"):
        Learner(classifier(), [EWC(variant="onlin")])  # type: ignore[arg-type]
    with pytest.raises(InputError, match="strength of ewc is -1"):
        Learner(classifier(), [EWC(strength=-1)])
    with pytest.raises(InputError, match="no scenario 'clas'; there are task, domain, class"):
        split(DATA, 2, "clas")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one"):
        permuted(DATA, 0)
    with pytest.raises(InputError, match="a list is no stream"):
        Learner(classifier()).learn([1, 2])  # type: ignore[arg-type]
    with pytest.raises(NotFoundError, match="SLOWWAVE_DATA"):
        folder_of("mnist_10k", "/nowhere")


def test_examples_of_another_kind_are_taken_or_refused_with_what_to_do() -> None:
    x, y = DATA.train.x[:8], DATA.train.y[:8]
    lost = [Learner(classifier()).write(a, b) for a, b in ((x, y), (x.numpy(), y.int().numpy()), (x.double(), y))]
    assert lost[0] == lost[1] == lost[2]
    for a, b, said in (
        (x[:, :4], y, "has 32 values, and this classifier takes 64"),
        (x, y - 9, "labels count from 0"),
        (x, y[:3], "8 inputs, 3 labels"),
        ((x * 255).byte(), y, r"scaled to \[0, 1\]"),
        (x, ["a"] * 8, "give numbers"),
    ):
        with pytest.raises(InputError, match=said):
            Learner(classifier()).write(a, b)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="takes 64"):
        Learner(classifier()).read(x[:, :4])


def test_every_policy_of_a_buffer_keeps_its_word() -> None:
    batch = examples(torch.arange(400.0)[:, None], torch.tensor([0] * 300 + [1] * 95 + [2] * 5))
    kept = {}
    for policy in get_args(Policy):
        buffer = Buffer(20, policy, seed=1)
        for start in range(0, 400, 10):
            buffer.add(batch.take(torch.arange(start, start + 10)), step=start)
        kept[policy] = buffer.everything()
        assert len(buffer) == 20
        assert buffer.seen == 400
        assert (kept[policy].age <= kept[policy].x[:, 0]).all()
    assert sorted(kept["ring"].x[:, 0].tolist()) == list(range(380, 400))
    for policy in ("balanced", "largest"):
        assert sorted(torch.bincount(kept[policy].y).tolist()) == [5, 7, 8]
    means: dict[str, list[float]] = {}
    for seed in range(40):
        for policy in ("reservoir", "balanced", "largest"):
            buffer = Buffer(20, policy, seed)  # type: ignore[arg-type]
            buffer.add(batch, 0)
            held = buffer.everything()
            means.setdefault(policy, []).append(float(held.x[held.y == 0].mean()))
    assert 130 < np.mean(means["reservoir"]) < 170, "a reservoir keeps each of the past with equal chance"
    assert 130 < np.mean(means["balanced"]) < 170, "and so does each class where they are balanced"
    assert np.mean(means["largest"]) > 200, "the new one always comes in"


def test_tasks_have_equal_shares_of_a_buffer_by_task() -> None:
    buffer = Buffer(30, "by-task")
    for task, many in enumerate((100, 40, 300)):
        buffer.add(examples(torch.zeros(many, 2), torch.arange(many) % 3, task), 0)
    assert torch.bincount(buffer.everything().task).tolist() == [10, 10, 10]
    kept = Buffer(30, "by-task")
    kept.load(buffer.state())
    for each in (buffer, kept):
        each.add(examples(torch.ones(50, 2), torch.zeros(50, dtype=torch.int64), 1), 1)
    assert torch.equal(buffer.everything().x, kept.everything().x)


def test_what_is_filled_at_the_end_of_a_period_replays_nothing_of_the_present() -> None:
    seen: list[set[int]] = []

    class Watching(Replay):
        def replay(self, learner: Learner, batch: Batch) -> Batch | None:
            again = super().replay(learner, batch)
            seen.append(set() if again is None else {*again.task.tolist()} & {learner.period})
            return again

    for when in ("step", "sleep"):
        seen.clear()
        method = Watching(20, when=when)  # type: ignore[arg-type]
        Learner(classifier(), [method], epochs=2).learn(split(DATA, 2))
        assert len(method.buffer) == 20
        assert any(seen) == (when == "step")
    with pytest.raises(InputError, match="step and sleep"):
        Replay(when="never")  # type: ignore[arg-type]


def test_a_buffer_adds_in_the_same_time_however_full_it_is() -> None:
    batch, spent = examples(torch.zeros(200, 64), torch.arange(200) % 10), []
    buffer = Buffer(2000, "balanced")
    for _ in range(40):
        begun = time.process_time()
        buffer.add(batch, 0)
        spent.append(time.process_time() - begun)
    assert np.median(spent[-10:]) < 8 * np.median(spent[:9])


def test_sequences_of_unlike_length_are_joined_and_kept() -> None:
    short = examples(torch.ones(2, 3, dtype=torch.int64), torch.ones(2, 3, dtype=torch.int64))
    long = examples(torch.ones(1, 5, dtype=torch.int64), torch.ones(1, 5, dtype=torch.int64))
    assert join([short, long]).x[0].tolist() == [1, 1, 1, -1, -1]
    assert join([short, long]).y[0].tolist() == [1, 1, 1, -100, -100]
    buffer = Buffer(4)
    buffer.add(short, 0)
    buffer.add(long, 1)
    buffer.add(short, 2)
    assert buffer.everything().x[3].tolist() == [1, 1, 1, -1, -1]


def test_streams_are_what_they_say() -> None:
    two = split(DATA, 2, "class", seed=3)
    seen = [sorted(set(e.load().y.tolist())) for e in two]
    assert sorted(c for part in seen for c in part) == list(range(6))
    assert [sorted(e.classes) for e in two] == seen
    assert set(split(DATA, 2, "domain").experiences[1].load().y.tolist()) == {0, 1}
    turned = permuted(DATA, 3)
    assert torch.equal(turned.experiences[0].load().x, DATA.train.x)
    assert torch.allclose(turned.experiences[2].load().x.sum((1, 2)), DATA.train.x.sum((1, 2)), atol=1e-4)
    assert torch.equal(turned.tests[2]().x, permuted(DATA, 3).tests[2]().x)
    quarter = rotated(DATA, 4, 90).experiences[1].load().x
    assert torch.allclose(quarter, torch.rot90(DATA.train.x, 1, (1, 2)), atol=1e-4)
    assert torch.allclose(rotated_images(quarter, -90), DATA.train.x, atol=1e-4)
    many = random_classes(DATA, tasks=20, per=2, skew=2.0)
    assert len(many.tests) == 1
    drawn = [c for e in many for c in e.classes]
    assert drawn.count(0) > drawn.count(5)
    again = recurring(turned, visits=12)
    assert [e.task for e in again][:3] == [0, 1, 2]
    assert all(a.task != b.task for a, b in zip(again, list(again)[1:], strict=False))


def test_a_task_known_at_test_competes_within_itself_alone() -> None:
    stream = split(DATA, 2, "task")
    learner = Learner(classifier(), ["naive"], optimiser="adam", lr=3e-3, epochs=5)
    summary = learner.learn(stream).summary()
    plain = Learner(classifier(), ["naive"], optimiser="adam", lr=3e-3, epochs=5).learn(split(DATA, 2)).summary()
    assert summary["accuracy"] > plain["accuracy"] + 0.2
    assert set(learner.read(DATA.test.x, task=1).argmax(1).tolist()) <= {2, 3}


def test_data_sets_of_other_libraries_can_be_fed_in() -> None:
    pairs = [[(x.numpy(), int(y), 0) for x, y in zip(DATA.train.x, DATA.train.y, strict=True) if y in (a, a + 1)]
             for a in (0, 2)]  # fmt: skip
    stream = of_datasets(pairs, pairs)
    assert [e.classes for e in stream] == [(0, 1), (2, 3)]
    record = Learner(classifier(), ["replay"], lr=0.2, epochs=10).learn(stream)
    assert record.matrix[-1][1] > 0.6
    with pytest.raises(InputError, match="2 data sets to train on and 1 to test on"):
        of_datasets(pairs, pairs[:1])


def test_a_save_that_is_killed_at_the_same_step_leaves_the_one_before(tmp_path, monkeypatch) -> None:
    learner = Learner(classifier(), ["replay"])
    learner.write(DATA.train.x[:8], DATA.train.y[:8])
    kept = learner.save(tmp_path)
    with torch.no_grad():  # as a night does, between two steps
        learner.model.head.weight.mul_(0.5)
    replace_ = os.replace

    def killed(source: Any, target: Any) -> None:
        if str(target).endswith("snapshot.json"):
            raise KeyboardInterrupt
        replace_(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        learner.save(tmp_path)
    other = Learner(classifier(), ["replay"])
    assert other.load(tmp_path).hash == kept.hash
    assert torch.allclose(other.model.head.weight, 2 * learner.model.head.weight)
