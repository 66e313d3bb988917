"""What every benchmark offers, and what every result says of itself: versions, machine, seed, date, data."""

from __future__ import annotations

import inspect
import json
import os
import platform
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

from slowwave.models.base import Embedder

Progress = Callable[[str, int, int], None]
Result = dict[str, Any]


def no_progress(stage: str, done: int, total: int) -> None:
    """The progress of those who do not look."""


class Benchmark(ABC):
    """One benchmark: constructor parameters are its options, `run` measures, `render` prints.

    quick  a small part, for the code paths alone: its numbers mean nothing
    seed   of every random choice
    out    file to write the result to, as JSON; None writes none

    Example:
        >>> from slowwave.bench import BENCHMARKS
        >>> list(BENCHMARKS["locomo"].parameters())[:3]
        ['quick', 'seed', 'out']
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()  # folders of research data

    def __init__(self, quick: bool = False, seed: int = 0, out: str | Path | None = None) -> None:
        self.quick = quick
        self.seed = seed
        self.out = None if out is None else Path(out)

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        """The options, with their defaults, as the constructor states them."""
        return inspect.signature(cls).parameters

    @abstractmethod
    def measure(self, progress: Progress) -> Result:
        """The numbers alone."""

    @abstractmethod
    def render(self, result: Result) -> str:
        """The result as a table for the terminal."""

    def run(self, progress: Progress = no_progress) -> Result:
        """Measure; returns plain JSON values and writes them to `out`.

        raises  NotFoundError where the research data is not there
        """
        started = datetime.now(UTC)
        numbers = self.measure(progress)
        result: Result = {
            "benchmark": self.name,
            "command": self.command(),
            "parameters": self.settings(),
            "date": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            "versions": versions(),
            "machine": machine(),
            **numbers,
        }
        if self.out is not None:
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.out.write_text(as_json(result), encoding="utf-8")
        return result

    def settings(self) -> dict[str, Any]:
        """The options as given; places on this machine stay out of results."""
        return {
            name: value
            for name in self.parameters()
            if not isinstance(value := getattr(self, name), Path) and name != "out"
        }

    def command(self) -> str:
        """The command line that makes this result."""
        words = ["slowwave", "bench", self.name]
        for name, parameter in self.parameters().items():
            value = getattr(self, name)
            if value == parameter.default or name == "out" or isinstance(value, Path):
                continue
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                words.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                many = isinstance(value, (list, tuple))
                words += [f"--{flag}", ",".join(map(str, value)) if many else str(value)]
        return " ".join(words)


def as_json(result: Result) -> str:
    """Indented JSON, but an innermost object or list on one line: a mean with its interval is one thing to read."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    for inner in (r"(\{)\n([^{}\[\]]*)(\})", r"(\[)\n([^{}\[\]]*)(\])"):
        text = re.sub(inner, _on_one_line, text)
    return text + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return found[1] + re.sub(r"\s*\n\s*", " ", found[2]).strip() + found[3]


def versions() -> dict[str, str]:
    """What was measured, and what it stands on."""
    import slowwave

    found = {"slowwave": slowwave.__version__, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in ("numpy", "onnxruntime", "tokenizers", "python-dateutil", "usearch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Cores that this process may use, the processor's name, the system, and what else was running."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    out: dict[str, Any] = {"cores": cores, "cpu": model, "system": f"{platform.system()} {platform.machine()}"}
    if hasattr(os, "getloadavg"):
        out["load_at_end"] = round(os.getloadavg()[0], 2)
    return out


def model_of(embedder: Embedder) -> dict[str, Any]:
    """The encoder, for the result."""
    return {"name": embedder.name, "dim": embedder.dim}
