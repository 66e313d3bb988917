"""Parts of a proof are measured once, and its result says what was run, with which seeds, and for how long."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="a result names its version")

from slowwave.bench.concluding import UNTOLD, Parts, conclude, dots, options, race, verdict_of  # noqa: E402
from slowwave.bench.planted import FIRST, SECOND, VALUES, invented  # noqa: E402
from slowwave.bench.recall_training import compared, timed  # noqa: E402


class Shown:
    name = "shown"
    claim = "It shows."


def test_a_part_is_measured_once_and_the_result_is_whole(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["shown.py", "--model", str(model), "--seeds", "3"])
    proof = tmp_path / "shown.py"
    calls = []

    def one() -> list[int]:
        calls.append(1)
        return [1, 2]

    assert Parts(str(proof), False, steps=4).get("a", one) == [1, 2]
    again = Parts(str(proof), False, steps=4)
    assert again.get("a", one) == [1, 2]
    assert len(calls) == 1
    other = Parts(str(proof), False, steps=5)
    other.get("a", one)
    assert len(calls) == 2, "parts of other settings were used"
    conclude(other, Shown, "holds", "well", 3, arms={"x": 1})
    found = json.loads((tmp_path / "results" / "shown.json").read_text("utf-8"))
    assert found["command"] == "python proofs/shown.py --model model.gguf --seeds 3"
    assert (found["seeds"], found["arms"], found["verdict"]) == ([0, 1, 2], {"x": 1}, "holds")
    assert {"date", "versions", "machine", "cpu_seconds", "claim"} <= set(found)
    assert not list((tmp_path / "results").glob("*.part"))
    assert capsys.readouterr().out == "holds: well\n"


def test_every_arm_runs_under_every_seed_and_is_drawn(tmp_path: Path) -> None:
    parts = Parts(str(tmp_path / "shown.py"), False)
    each = parts.each(
        ("a", "b"), 2, lambda seed, arm: {"accuracy": {"told": seed / 2}, "size": 3, "arm": arm + str(seed)}
    )
    arms = compared(each)
    assert arms["a"]["told"] == {"mean": 0.25, "low": 0.0, "high": 0.5, "each": [0.0, 0.5]}
    assert (arms["b"]["size"], arms["b"]["arm"]) == (3, ["b0", "b1"])
    conclude(parts, Shown, "holds", "well", 2, arms=arms)
    dots(parts, arms, ("told",), 0.5)
    assert (tmp_path / "results" / "shown.png").read_bytes().startswith(b"\x89PNG")


def test_training_ends_at_its_steps_or_its_seconds() -> None:
    model = torch.nn.Linear(1, 1)

    def loss_of(generator: torch.Generator) -> torch.Tensor:
        x = torch.randn(8, 1, generator=generator)
        return (model(x) - 2 * x).pow(2).mean()

    found = timed(model, loss_of, 0, 60.0, 40, lr=0.05)
    assert (found["steps"], len(found["loss"])) == (40, 10)
    assert found["loss"][-1] < found["loss"][0]
    assert timed(model, loss_of, 0, 0.0, 40, lr=0.05)["steps"] == 0


def test_a_quick_run_keeps_nothing(tmp_path: Path, capsys: Any) -> None:
    parts = Parts(str(tmp_path / "shown.py"), True)
    parts.get("a", lambda: 1)
    conclude(parts, Shown, verdict_of(True, True), "well", 1)
    assert capsys.readouterr().out == f"{UNTOLD}: trained too briefly to tell; well\n"
    assert not list(tmp_path.iterdir())
    assert (verdict_of(True, False), verdict_of(False, False)) == ("holds", "does not hold")


def test_options_are_numbers_and_words_with_defaults(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["shown.py", "--base-steps", "7"])
    given = options("It shows.", seeds=(3, ""), base_steps=(5, "of the base"), model=("", "a file"))
    assert (given.quick, given.seeds, given.base_steps, given.model) == (False, 3, 7, "")


def test_planted_sentences_are_all_different() -> None:
    facts = invented(random.Random(0), 24)
    assert len({asked for asked, _ in facts}) == len({value for _, value in facts}) == 24
    assert all(len(set(words)) == 24 for words in (FIRST, SECOND, VALUES))


def test_a_race_gives_every_arm_the_same_budget_and_writes_what_each_seed_did(tmp_path: Path, monkeypatch: Any) -> None:
    proof = tmp_path / "shown.py"
    given: list[tuple[int, str, float, int]] = []

    def run(seed: int, arm: str, seconds: float, steps: int) -> dict[str, Any]:
        given.append((seed, arm, seconds, steps))
        return {"accuracy": {"task": 0.5 + seed / 10}, "parameters": 7}

    def judge(arms: dict[str, Any], quick: bool) -> tuple[str, str]:
        return verdict_of(arms["a"]["task"]["low"] == 0.5, quick), "said"

    monkeypatch.setattr(sys, "argv", ["shown.py", "--seeds", "2", "--seconds", "4"])
    race(str(proof), "About.", Shown, ("a", "b"), run, judge, ("task",), 0.25, seconds=30.0, more=1)
    assert given == [(0, "a", 4.0, 10**6), (1, "a", 4.0, 10**6), (0, "b", 4.0, 10**6), (1, "b", 4.0, 10**6)]
    found = json.loads((tmp_path / "results" / "shown.json").read_text())
    assert (found["verdict"], found["seeds"], found["cpu seconds a run"], found["more"]) == ("holds", [0, 1], 4.0, 1)
    assert found["arms"]["b"]["task"]["each"] == [0.5, 0.6]
    assert (tmp_path / "results" / "shown.png").is_file()
