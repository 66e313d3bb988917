"""Parts of a proof are measured once, and its result says what was run, with which seeds, and for how long."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="a result names its version")

from slowwave.bench.concluding import UNTOLD, Parts, conclude, options, verdict_of
from slowwave.bench.planted import FIRST, SECOND, VALUES, invented


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
