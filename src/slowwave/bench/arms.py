"""Arms of an experiment on weights: the same streams and seeds for each, intervals, paired differences, one result.

Proofs of the weights form and `bench continual` share it. An arm is a function of the seed that gives a learner.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slowwave.bench.base import as_json, machine, versions
from slowwave.bench.partial import Partial

if TYPE_CHECKING:
    from slowwave.weights.learner import Learner
    from slowwave.weights.stream import Stream

# Student's t at 97.5 %, by degrees of freedom
T = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145)


def told(values: Sequence[float]) -> dict[str, Any]:
    """Mean and 95 % interval (Student's t) over seeds, and each.

    >>> told([1.0, 2.0, 3.0])["mean"]
    2.0
    """
    each = [round(float(value), 4) for value in values]
    mean = float(np.mean(each))
    if len(each) < 2:
        return {"mean": round(mean, 4), "low": None, "high": None, "each": each}
    half = T[min(len(each) - 1, len(T) - 1)] * float(np.std(each, ddof=1)) / math.sqrt(len(each))
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "each": each}


def paired(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The difference first - second, seed by seed, of what `told` gave."""
    return told([a - b for a, b in zip(first["each"], second["each"], strict=True)])


def above(difference: Mapping[str, Any], least: float = 0.0) -> bool:
    """Whether a difference lies above, with its whole interval (with one seed, its value)."""
    low = difference["mean"] if difference["low"] is None else difference["low"]
    return bool(low > least)


def short(value: Mapping[str, Any]) -> str:
    """0.64 [0.60, 0.68]"""
    bounds = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['mean']:.3f}{bounds}"


class _Running:
    """What the proof that runs has measured so far; `prove` gives it a file, so that a killed run goes on."""

    def __init__(self, parts: Partial) -> None:
        self.parts, self.lived, self.earlier = parts, 0, 0.0


_running = _Running(Partial(None, {}))


def once(key: str, measure: Callable[[], Any]) -> Any:
    """One part of a proof: as it was measured before a kill, or measured now. JSON values only."""
    taken: list[float] = []

    def timed() -> list[Any]:
        begun = time.perf_counter()
        found = measure()
        taken.append(time.perf_counter() - begun)
        return [found, taken[0]]

    value, seconds = _running.parts.get(key, timed)
    _running.earlier += 0.0 if taken else seconds
    return value


def live(
    arms: Mapping[str, Callable[[int], Learner]],
    stream: Callable[[int], Stream],
    seeds: int,
    show: Callable[[str], None] = lambda line: None,
) -> dict[str, dict[str, Any]]:
    """Arm -> measure -> told over the seeds. `seconds` is training alone, evaluation aside."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks: more threads only wait for each other
    found: dict[str, dict[str, list[float]]] = {}
    _running.lived += 1
    place = _running.lived
    try:
        for seed in range(seeds):
            given = stream(seed)
            for name, make in arms.items():
                begun = time.perf_counter()
                summary = once(f"{place}/{seed}/{name}", partial(_summary, make, seed, given))
                for key, value in summary.items():
                    found.setdefault(name, {}).setdefault(key, []).append(value)
                show(f"seed {seed}, {name}: {summary['accuracy']:.3f} in {time.perf_counter() - begun:.1f} s")
    finally:
        torch.set_num_threads(threads)
    return {name: {key: told(values) for key, values in row.items()} for name, row in found.items()}


def _summary(make: Callable[[int], Learner], seed: int, stream: Stream) -> dict[str, float]:
    record = make(seed).learn(stream)
    return record.summary() | {"seconds": sum(record.seconds)}


def table(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The arms as lines of text."""
    width = max(len(name) for name in rows)
    lines = [" " * width + "".join(f"  {column:>22}" for column in columns)]
    for name, row in rows.items():
        cells = "".join(f"  {short(row[c]) if c in row else '-':>22}" for c in columns)
        lines.append(f"{name:<{width}}{cells}")
    return "\n".join(lines)


def prove(
    name: str,
    claim: str,
    measure: Callable[[int, bool], tuple[dict[str, Any], Mapping[str, bool], str]],
    file: str,
    draw: Callable[[dict[str, Any], Any], None] | None = None,
    seeds: int = 5,
    first: int = 0,
) -> None:
    """The main of a proof: measure, print the verdict, write result and figure unless it is a quick run.

    measure  (seeds, quick) -> what was found, which parts hold, a summary in words
    file     the proof's own path
    draw     (found, axes) draws into one pair of axes
    first    of the seeds, where `measure` does not begin at 0
    """
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument("--quick", action="store_true", help="the code paths alone; nothing is written")
    parser.add_argument("--seeds", type=int, default=seeds)
    args = parser.parse_args()
    many = 1 if args.quick else args.seeds
    path = Path(file)
    target = path.parent / "results" / f"{path.stem}.json"
    if not args.quick:
        proof = hashlib.sha256(path.read_bytes()).hexdigest()
        _running.parts = Partial(target, {"proof": proof})
    begun = time.perf_counter()
    found, parts, summary = measure(many, args.quick)
    verdict = "cannot be told at this size" if many < 5 else "holds" if all(parts.values()) else "does not hold"
    words = "; ".join(f"{part}: {'yes' if held else 'no'}" for part, held in parts.items())
    print(f"{verdict}: {summary}; {words}")
    if args.quick:
        return
    minutes = (time.perf_counter() - begun + _running.earlier) / 60
    result = {
        "name": name, "claim": claim, "verdict": verdict, "summary": f"{summary}; {words}", "parts": dict(parts),
        "seeds": list(range(first, first + many)), **found, "minutes": round(minutes, 1),
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": {**versions(), **torch_version()},
        "machine": machine(), "command": f"python proofs/{path.name}",
    }  # fmt: skip
    target.parent.mkdir(exist_ok=True)
    target.write_text(as_json(result), encoding="utf-8")
    _running.parts.finish()
    if draw is not None:
        figure(found, draw, target.with_suffix(".png"))


def torch_version() -> dict[str, str]:
    """For a result."""
    from importlib.metadata import version

    return {"torch": version("torch")}


def figure(found: dict[str, Any], draw: Callable[[dict[str, Any], Any], None], path: Path) -> None:
    """One small figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(figsize=(6, 3.2))
    draw(found, axes)
    axes.tick_params(labelsize=7)
    drawn.tight_layout()
    drawn.savefig(path, dpi=70)
    plt.close(drawn)


def bars(
    axes: Any, rows: Mapping[str, Mapping[str, Any]], measures: Sequence[str] = ("accuracy", "plasticity")
) -> None:
    """Arms side by side, with their intervals."""
    names = list(rows)
    for place, measure in enumerate(measures):
        values = [rows[name][measure] for name in names]
        wide = 0.8 / len(measures)
        heights = [value["mean"] for value in values]
        errors = [0.0 if v["low"] is None else v["mean"] - v["low"] for v in values]
        axes.bar(np.arange(len(names)) + place * wide, heights, wide, yerr=errors, capsize=2, label=measure)
    axes.set_xticks(np.arange(len(names)) + 0.4 - 0.4 / len(measures), names, rotation=20, fontsize=7, ha="right")
    axes.legend(fontsize=7, frameon=False)
