"""The code paths of every proof run, and every committed result is one that its proof could have written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROOFS = sorted((ROOT / "proofs").glob("*.py"))


@pytest.mark.parametrize("proof", PROOFS, ids=lambda path: path.stem)
def test_a_quick_run_prints_a_verdict_and_writes_nothing(proof):
    result = ROOT / "proofs" / "results" / f"{proof.stem}.json"
    before = result.read_bytes()
    done = subprocess.run(
        [sys.executable, str(proof), "--quick"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("holds: ", "does not hold: ", "cannot be told at this size: "))
    assert result.read_bytes() == before


@pytest.mark.parametrize("proof", PROOFS, ids=lambda path: path.stem)
def test_a_result_names_its_seeds_versions_date_and_command(proof):
    result = json.loads((ROOT / "proofs" / "results" / f"{proof.stem}.json").read_text(encoding="utf-8"))
    assert result["verdict"] in ("holds", "does not hold", "cannot be told at this size")
    assert len(result["seeds"]) >= 3
    assert {"claim", "summary", "date", "versions", "command"} <= set(result)
