"""What the proofs of state systems share: their options, and how a verdict is told and written down."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slowwave.bench.base import as_json, machine, versions

UNTOLD = "cannot be told at this size"


def options(about: str | None, **numbers: tuple[Any, str]) -> argparse.Namespace:
    """The command line of a proof: `--quick`, and numbers by name, each with its default and what it is.

    about  the proof's own docstring
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run, for the code paths alone")
    for name, (default, says) in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=says or None)
    return parser.parse_args()


def verdict_of(holds: bool, untold: bool) -> str:
    """The word for it; `untold` where the run was too short or too small to say."""
    return UNTOLD if untold else "holds" if holds else "does not hold"


def conclude(
    proof: str, system: Any, verdict: str, summary: str, quick: bool, begin: float, seeds: int, **measured: Any
) -> None:
    """Print the verdict and, unless the run was a quick one, write results/NAME.json beside the proof.

    proof    the proof's own __file__
    begin    `time.process_time()` when it began
    seeds    how many, from 0 on
    """
    import torch

    if verdict == UNTOLD:
        summary = f"trained too briefly to tell; {summary}"
    print(f"{verdict}: {summary}")
    if quick:
        return
    file = Path(proof)
    result = {
        "system": system.name,
        "claim": system.claim,
        "verdict": verdict,
        "summary": summary,
        "seeds": list(range(seeds)),
        **measured,
        "cpu_seconds": round(time.process_time() - begin, 1),
        "command": " ".join(["python", f"proofs/{file.name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {**versions(), "torch": torch.__version__},
        "machine": machine(),
    }
    place = file.with_name("results") / f"{file.stem}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(as_json(json.loads(json.dumps(result))), encoding="utf-8")
