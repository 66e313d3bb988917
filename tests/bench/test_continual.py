"""The table of methods, and what stands beside it from a process that answers as Avalanche's does."""

from __future__ import annotations

import json
import os
import sys

import pytest
import torch

from slowwave.bench import continual
from slowwave.bench.arms import told
from slowwave.bench.continual import COLUMNS, Continual, compact, summed
from slowwave.bench.continual_peer import _given, ended, flatness
from slowwave.bench.peers.avalanche_peer import orders
from slowwave.errors import InputError, SlowwaveError
from slowwave.weights import Classifier, Learner
from slowwave.weights.baselines import Naive
from slowwave.weights.batch import Batch, examples
from slowwave.weights.data import glyphs
from slowwave.weights.learner import DivergedError
from slowwave.weights.stream import Experience, Stream, permuted

ANSWERS = """
import json, sys
print(json.dumps({"avalanche": "0", "torch": "0"}), flush=True)
for line in sys.stdin:
    given = json.loads(line)
    many = 3 if given["epochs"] == 2 else 2
    print(json.dumps({"matrix": [[0.5, 0.5]] * many, "seconds": [0.5] * many}), flush=True)
"""


def python(folder, text: str):
    """What is called as a Python would be, and does this whatever the script."""
    (folder / "answers.py").write_text(text)
    made = folder / "python"
    made.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder / "answers.py"}"\n')
    made.chmod(0o755)
    return made


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_both_are_told_side_by_side_and_a_row_chosen(tmp_path) -> None:
    bench = Continual(quick=True, parts=("cost",), only=("naive",), avalanche=python(tmp_path, ANSWERS))
    result = bench.run()
    assert list(result["cost"]) == ["naive"]
    row = result["avalanche"]["streams"]["permuted digits, domain-incremental"]["ewc"]
    assert row["accuracy, avalanche"]["mean"] == 0.5
    assert row["times faster"]["mean"] > 0
    assert row["accuracy, difference"]["mean"] == pytest.approx(row["accuracy, slowwave"]["mean"] - 0.5, abs=1e-3)
    text = bench.render(result)
    assert "beside Avalanche 0" in text
    assert "gem" in text


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a shell script")
def test_a_peer_that_stops_says_its_last_words(tmp_path) -> None:
    failing = python(tmp_path, "import sys\nsys.exit('no module named avalanche')\n")
    with pytest.raises(SlowwaveError, match="no module named avalanche"):
        Continual(quick=True, parts=(), avalanche=failing).run()


def test_bad_options_are_told(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no part speed; there are methods, language, cost"):
        Continual(parts=("speed",))
    with pytest.raises(InputError, match="no Python at"):
        Continual(quick=True, parts=(), avalanche=tmp_path / "none").run()
    with pytest.raises(InputError, match="no row fisher"):
        Continual(quick=True, parts=("cost",), only=("fisher",))
    with pytest.raises(InputError, match="name it by `out`"):
        Continual(extend=True)


def test_the_order_of_a_peer_is_read_off_its_batches_and_followed() -> None:
    x, y = torch.arange(10.0).view(5, 2), torch.tensor([0, 1, 0, 1, 0])
    x[3], y[3] = x[1], y[1]  # equal examples take turns
    wanted = [[4, 1, 0, 3, 2], [3, 2, 1, 0, 4]]
    rows = [index for epoch in wanted for index in (epoch[:3], epoch[3:])]
    replayed = torch.full((2, 2), 9.5)
    batches = [(torch.cat([x[row], replayed]), torch.cat([y[row], torch.tensor([1, 1])])) for row in rows]
    found = orders(batches, x, y)
    assert found is not None
    assert [torch.equal(x[a], x[b]) for a, b in zip(found, wanted, strict=True)] == [True, True]
    assert orders(batches[:-1], x, y) is None, "not each of them once"

    seen = []

    class Seen(Naive):
        def look(self, learner: Learner, batch: Batch) -> Batch:
            seen.append(batch.x)
            return batch

    stream = Stream("one", (Experience("", lambda: examples(x, y), 0, 0, (0, 1), ()),), (), "class")
    learner = Learner(Classifier(2, (3,), 2), [Seen(), _given([found])], batch=3, epochs=2)
    learner.learn(stream)
    assert torch.equal(torch.cat(seen), x[[*wanted[0], *wanted[1]]])


def test_a_cost_is_flat_where_late_tasks_take_what_early_ones_took() -> None:
    assert flatness([9.0] + [1.0] * 99)["late / early"] == 1.0
    assert flatness([float(n) for n in range(1, 101)])["late / early"] > 10


def test_a_stiffness_that_diverges_counts_as_nothing_learned() -> None:
    def diverged() -> dict[str, list[list[float]]]:
        raise DivergedError("the loss is inf")

    assert ended(diverged) == 0
    assert ended(lambda: {"matrix": [[0.0, 0.1], [0.5, 0.7]]}) == pytest.approx(0.6)


def test_a_result_is_extended_by_seeds_and_parts_and_what_it_has_is_not_measured_again(tmp_path, monkeypatch) -> None:
    made: list[int] = []
    real = Continual._learner

    def counted(self, seed: int, *rest, **named):
        made.append(seed)
        return real(self, seed, *rest, **named)

    monkeypatch.setattr(Continual, "_learner", counted)
    monkeypatch.setattr(continual, "EPOCHS", 1)
    monkeypatch.setattr("slowwave.weights.data.digits", lambda: glyphs(train=60, test=40))
    monkeypatch.setattr("slowwave.weights.data.fashion_mnist", lambda: Pooled())
    given = {"out": tmp_path / "continual.json", "only": ("naive",), "tasks": 3}
    first = Continual(seeds=1, parts=("methods",), **given).run()
    assert made == [0] * 4
    beside = {"streams": {}, "cost": {}, "versions": {"avalanche": "0", "torch": "0"}, "settings": "so"}
    given["out"].write_text(json.dumps({**first, "avalanche": beside}), encoding="utf-8")
    second = Continual(seeds=2, parts=("methods", "cost"), extend=True, **given).run()
    assert made == [0] * 4 + [1] * 4 + [0]
    for name, rows in second["streams"].items():
        each = rows["naive"]["accuracy"]["each"]
        assert each[:1] == first["streams"][name]["naive"]["accuracy"]["each"]
        assert len(each) == 2
    assert list(second["cost"]) == ["naive"]
    assert second["avalanche"] == beside
    assert [leg["seeds"] for leg in second["legs"]] == [[0]]
    assert "--extend" not in second["command"]
    with pytest.raises(InputError, match="has 2 seeds"):
        Continual(seeds=1, extend=True, **given).run()
    with pytest.raises(InputError, match="has tasks 3 and this run 4"):
        Continual(seeds=2, extend=True, **{**given, "tasks": 4}).run()


class Pooled:
    """Where the garments would be."""

    def pooled(self, size: int):
        return glyphs(train=60, test=40)


def test_parts_with_fewer_seeds_say_so() -> None:
    row = {"naive": {column: told([0.5]) for column in continual.COLUMNS}}
    result = {"settings": "so", "seeds": [0, 1], "streams": {"pairs": row}, "parameters": {"tasks": 3}, "cost": {}}
    assert "pairs, 1 seeds" in Continual().render(result)


def test_every_figure_of_a_row_is_shown_and_one_that_was_not_measured_is_a_dash() -> None:
    values = {name: told([0.25, 0.35, 0.3]) for name in COLUMNS}
    values |= {"bytes": told([56000.0] * 3), "steps to recover": told([30.0, 40.0, 35.0])}
    lines = compact({"replay": values, "naive": {"accuracy": told([1.0])}}).splitlines()
    assert lines[0].split() == list(COLUMNS.values())
    assert lines[1].split() == ["replay", *[".300±.124"] * 8, "35±12", ".30±.12", "56,000"]
    assert lines[2].split() == ["naive", "1.000", *["-"] * 10]
    assert all(set(summed(arm, 0, stream)) - {"seconds a period"} <= set(COLUMNS) for arm, stream in [_life()])


def _life():
    stream = permuted(glyphs(classes=4, train=16, test=8), 2)
    return lambda seed: Learner(Classifier(64, (4,), 4), evaluate_every=1), stream
