"""A night of slowwave's own memory: fewer stale answers than before it, and no more facts lost.

Run: python proofs/default.py

Generated conversations (FactStream: values that change, repeats in other words, chatter, traps of the same wording)
with the templates that nothing was tuned on; each seed asked before and after one `sleep`, without a language model.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slowwave.bench import BENCHMARKS
from slowwave.progress import Bars

CLAIM = "After a night without a language model fewer answers are stale, and no more facts are lost."
RATES = ("stale_rate", "lost_rate", "at_date_right", "duplicate_rate")
RESULT = Path(__file__).parent / "results" / "default.json"


def measure(seeds: int, quick: bool) -> dict[str, Any]:
    """One row a seed: the rates before and after, and their difference."""
    rows = []
    last: dict[str, Any] = {}
    for seed in range(seeds):
        with Bars() as progress:
            last = BENCHMARKS["factstream"](quick=quick, seed=seed, **({} if quick else {"seeds": 1})).run(progress)
        before, after = last["rates"]["slowwave"], last["rates"]["slowwave, after sleep"]
        rows.append({rate: [before[rate]["mean"], after[rate]["mean"]] for rate in RATES})
    change = {rate: [round(row[rate][1] - row[rate][0], 4) for row in rows] for rate in RATES}
    stale, lost = change["stale_rate"], change["lost_rate"]
    fewer, kept = all(value < 0 for value in stale), sum(lost) / len(lost) <= 0
    return {
        "name": "default",
        "claim": CLAIM,
        "verdict": "holds" if fewer and kept else "does not hold",
        "summary": (
            f"stale answers {_span(rows, 'stale_rate', 0)} before, {_span(rows, 'stale_rate', 1)} after a night; "
            f"lost facts {_span(rows, 'lost_rate', 0)} before, {_span(rows, 'lost_rate', 1)} after ({seeds} seeds)"
        ),
        "seeds": list(range(seeds)),
        "rates": rows,
        "change": change,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": last.get("versions", {}),
        "machine": last.get("machine", {}),
        "command": "python proofs/default.py",
    }


def _span(rows: list[dict[str, Any]], rate: str, place: int) -> str:
    values = [row[rate][place] for row in rows]
    return f"{sum(values) / len(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    parser = argparse.ArgumentParser(description=CLAIM)
    parser.add_argument("--quick", action="store_true", help="the code paths alone; nothing is written")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    result = measure(1 if args.quick else args.seeds, args.quick)
    print(f"{result['verdict']}: {result['summary']}")
    if not args.quick:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
