"""Proofs of instruments: parts measured one at a time are used by the whole run, and a quick one writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from slowwave.bench.proving import options, prove, real_seeds_of, seeds_of


def test_parts_are_kept_until_the_result_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").mkdir()
    result = tmp_path / "results" / "some_proof.json"
    measured: list[str] = []

    def judge(parts: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
        return {"verdict": "holds", "summary": f"{sum(parts.values())} over {len(seeds)} seeds"}

    def run(*words: str) -> None:
        args = options("a claim").parse_args(list(words))
        makers = {f"tiny {n}": lambda n=n: measured.append(f"tiny {n}") or n for n in seeds_of(args)}
        draw = lambda parts, path: path.write_text(str(len(parts)))  # noqa: E731
        prove(str(tmp_path / "some_proof.py"), "some", "a claim", args, makers, judge, draw, {"code": 1}, more="told")

    run("--quick")
    assert capsys.readouterr().out == "holds: 0 over 1 seeds\n"
    assert not list((tmp_path / "results").iterdir())
    measured.clear()
    run("--only", "tiny 1")
    assert not result.exists()
    run("--seeds", "3", "--model", "somewhere/model.gguf", "--real", "2")
    assert measured == ["tiny 1", "tiny 0", "tiny 2"]  # what was measured alone is not measured again
    found = json.loads(result.read_text("utf-8"))
    assert found["parts"] == {"tiny 0": 0, "tiny 1": 1, "tiny 2": 2}
    assert found["seeds"] == [0, 1, 2]
    assert found["more"] == "told"
    assert found["parameters"] == {"code": 1, "model": "model.gguf"}
    assert found["command"] == "python proofs/some_proof.py --model model.gguf --real 2"
    assert [file.name for file in sorted((tmp_path / "results").iterdir())] == ["some_proof.json", "some_proof.png"]


def test_the_real_model_has_seeds_of_its_own() -> None:
    parser = options("a claim")
    assert real_seeds_of(parser.parse_args([])) == []
    assert real_seeds_of(parser.parse_args(["--model", "m.gguf"])) == [0, 1, 2]
    assert real_seeds_of(parser.parse_args(["--model", "m.gguf", "--real", "2"])) == [0, 1]
