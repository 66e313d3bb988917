"""Benchmarks of a memory, one file each: what it finds, what a night costs, how fast it is, what training forgets.

`BENCHMARKS` maps each name to its class. A class's constructor parameters are its options on the command line; `run`
measures and returns plain JSON values; `render` turns those into a table for the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slowwave.bench.base import Benchmark

_PLACES = {
    "locomo": "slowwave.bench.locomo:Locomo",
    "longmemeval": "slowwave.bench.longmemeval:LongMemEval",
    "beam": "slowwave.bench.beam:Beam",
    "epbench": "slowwave.bench.epbench:EpBench",
    "personamem": "slowwave.bench.personamem:PersonaMem",
    "memorybank": "slowwave.bench.memorybank:MemoryBank",
    "sleep": "slowwave.bench.sleep:SleepCost",
    "factstream": "slowwave.bench.facts:Facts",
    "systems": "slowwave.bench.systems:Systems",
    "answers": "slowwave.bench.answers:Answers",
    "halumem": "slowwave.bench.halumem:HaluMem",
    "kv": "slowwave.bench.kv:KeyValueForm",
    "state": "slowwave.bench.state:StateRecall",
    "state-speed": "slowwave.bench.state_speed:StateSpeed",
    "continual": "slowwave.bench.continual:Continual",
    "serve": "slowwave.bench.serve:Serve",
    "speed": "slowwave.bench.speed:Speed",
    "scale": "slowwave.bench.scale:Scale",
    "hnsw": "slowwave.bench.hnsw:Hnsw",
}


class _Register(Mapping[str, "type[Benchmark]"]):
    """Name -> class; a benchmark's file is imported when it is asked for, so that this package stays light."""

    def __getitem__(self, name: str) -> type[Benchmark]:
        module, _, attribute = _PLACES[name].partition(":")
        found: type[Benchmark] = getattr(import_module(module), attribute)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)


BENCHMARKS: Mapping[str, type[Benchmark]] = _Register()

__all__ = ["BENCHMARKS"]
