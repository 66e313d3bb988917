"""slowwave beside chromadb, mem0 and txtai on the same texts: medians of several runs, and ratios, won or lost."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench import corpus
from slowwave.bench.base import Progress, Result

# what is compared: label, path in a peer's result for one size, whether more is better
POINTS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("load, vectors known, a second", ("load", "adds_per_s"), True),
    ("durable adds in batches, a second", ("adds", "encoded_batch", "adds_per_s"), True),
    ("durable adds one by one, a second", ("adds", "encoded_single", "adds_per_s"), True),
    ("batches, share of the bare encoder", ("adds", "encoded_batch", "of_encoder"), True),
    ("search p50 ms, vectors known", ("search", "known_vector_large_scope", "p50_ms"), False),
    ("search p99 ms, vectors known", ("search", "known_vector_large_scope", "p99_ms"), False),
    ("search p50 ms, small scope", ("search", "known_vector_small_scope", "p50_ms"), False),
    ("search p50 ms, with encoding", ("search", "encoded_large_scope", "p50_ms"), False),
    ("search p99 ms, with encoding", ("search", "encoded_large_scope", "p99_ms"), False),
    ("import, seconds", ("search", "import_s"), False),
    ("open to first result, seconds", ("search", "open_to_first_result_s"), False),
    ("peak memory while searching, MB", ("search", "rss_peak_mb"), False),
    ("bytes a record", ("load", "bytes_per_record"), False),
)
OWN = "slowwave"


def measured_peers(
    sizes: Sequence[int],
    folder: Path | None,
    threads: int,
    seconds: float,
    runs: int,
    seed: int,
    progress: Progress,
) -> Result:
    """Every system at every size, `runs` times in turn: {"systems": {name: {size: {point: [values]}}}, ...}."""
    from slowwave.bench.peers import environment, runner
    from slowwave.models.onnx import OnnxEmbedder

    own = Path(runner.__file__).with_name("slowwave_peer.py")
    scripts = {OWN: own, **runner.SCRIPTS}
    python = environment.make(folder)
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    versions: dict[str, Any] = {}
    failed: dict[str, str] = {}
    done, total = 0, runs * len(sizes) * len(scripts)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        for size in sizes:
            place = Path(scratch) / str(size)
            cache = corpus.default_cache()
            inputs = runner.write_inputs(place, size, OnnxEmbedder(threads=threads), seed=seed, cache=cache)
            for _ in range(runs):
                for name, script in scripts.items():
                    progress("peers", done, total)
                    done += 1
                    where = python if name != OWN else Path(sys.executable)
                    try:
                        out = place / f"{name}.json"
                        found = runner.run_peer(script, inputs, [size], out, where, threads, seconds, kills=0)
                    except environment.PeersError as error:
                        failed[f"{name} at {size}"] = str(error)[-300:]
                        continue
                    versions[name] = found["versions"]
                    one = found["sizes"][str(size)]
                    note = values.setdefault(name, {}).setdefault(str(size), {})
                    for label, path, _ in POINTS:
                        value = at(one, path)
                        if value is not None:
                            note.setdefault(label, []).append(value)
                    note.setdefault("records", []).append(at(one, ("load", "records")) or 0.0)
                    note.setdefault("machine load", []).append(at(one, ("search", "machine_load")) or 0.0)
    return {"systems": values, "versions": versions, "failed": failed, "runs": runs, "seconds_cap": seconds}


def peer_lines(result: Result) -> list[str]:
    """The medians as text; "(1.4x)" beside a peer's number: slowwave is that much better, below 1 that it is behind."""
    systems: Mapping[str, Mapping[str, Mapping[str, list[float]]]] = result["systems"]
    names = [OWN, *(name for name in systems if name != OWN)]
    lines = [f"Beside peers: medians of {result['runs']} runs; in brackets how many times better slowwave is"]
    behind = []
    for size in systems.get(OWN, {}):
        lines += ["", f"  {int(size):,} records".ljust(40) + "".join(name.rjust(20) for name in names)]
        for label, _, more in POINTS:
            own = _median(systems[OWN][size].get(label))
            cells = []
            for name in names:
                value = _median(systems.get(name, {}).get(size, {}).get(label))
                ratio = better(own, value, more) if name != OWN else None
                cells.append(_cell(value, ratio).rjust(20))
                if ratio is not None and ratio < 1:
                    behind.append(f"{label} at {int(size):,}: {name} is {1 / ratio:.1f} times better")
            lines.append(f"  {label}".ljust(40) + "".join(cells))
        loads = [_cell(_median(systems.get(name, {}).get(size, {}).get("machine load")), None) for name in names]
        lines.append("  load of the machine meanwhile".ljust(40) + "".join(load.rjust(20) for load in loads))
        held = {name: _median(systems.get(name, {}).get(size, {}).get("records")) or 0 for name in names}
        cut = [name for name, records in held.items() if 0 < records < int(size)]
        lines += [f"  cut short by the cap of {result['seconds_cap']:.0f} s: {', '.join(cut)}"] if cut else []
    lines += ["", "where slowwave is behind:", *(f"  {line}" for line in behind or ["nowhere"])]
    lines += [f"failed: {name}: {why}" for name, why in result["failed"].items()]
    return lines


def better(own: float | None, other: float | None, more: bool) -> float | None:
    """How many times better the first is; None where one was not measured."""
    if not own or not other:
        return None
    return own / other if more else other / own


def at(result: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """The number at a path of keys, None if a phase failed."""
    found: Any = result
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return float(found) if isinstance(found, (int, float)) else None


def _median(values: Sequence[float] | None) -> float | None:
    return float(np.median(values)) if values else None


def _cell(value: float | None, ratio: float | None) -> str:
    if value is None:
        return "-"
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return shown if ratio is None else f"{shown} ({ratio:.2g}x)"
