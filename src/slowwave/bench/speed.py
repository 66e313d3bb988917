"""How fast, how large, how soon ready: against the bare encoder, a bare NumPy scan, bare usearch, and three peers.

Texts are sentences of novels (see `corpus.py`). Where vectors are "known" they were worked out beforehand, so that what
is timed is all but the encoder; the same calls are timed with encoding beside it. Every add waits for the disk. Batches
and single adds take turns with the bare encoder on texts of their own, so that a busy machine slows both alike.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench import corpus
from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.datasets import KnownVectors, cache_folder
from slowwave.bench.peer_table import measured_peers, peer_lines
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder, Vectors

TOP_K = 10
BATCH = 256
BATCHES, SINGLES = 3, 60  # timed adds to a full store
IMPORTS = {"import slowwave": "import slowwave", "and Memory": "from slowwave import Memory"}
OPEN = """
import sys, time
start = time.perf_counter()
from slowwave import Memory
imported = time.perf_counter()
memory = Memory(sys.argv[1], embedder=None if sys.argv[2] == "None" else sys.argv[2])
found = memory.search(sys.argv[3], user_id="ana", threshold=0, note_use=False)
print(imported - start, time.perf_counter() - imported, len(found))
"""


class Speed(Benchmark):
    """Adds a second, search latency, start, memory and bytes, beside bare parts and peers.

    embedder      see `slowwave.models.SPEC_HELP`; None takes the default
    sizes         records in the store
    queries       searches timed at each size
    threads       for the encoder, NumPy and the peers
    peers         also run chromadb, mem0 and txtai, in an environment of their own
    peers_folder  where that environment is or will be; None takes ~/.slowwave/bench-peers
    runs          of the peers; medians are told
    seconds       a cap on each peer's load; each kind of its searches and adds gets a quarter
    """

    name = "speed"
    needs = ("classic_books",)

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        embedder: str | None = None,
        sizes: Sequence[int] = (1_000, 10_000, 100_000),
        queries: int = 200,
        threads: int = 2,
        peers: bool = True,
        peers_folder: str | Path | None = None,
        runs: int = 3,
        seconds: float = 60.0,
    ) -> None:
        super().__init__(quick, seed, out)
        self.embedder = embedder
        self.sizes = tuple(sizes)
        self.queries = queries
        self.threads = threads
        self.peers = peers
        self.peers_folder = None if peers_folder is None else Path(peers_folder)
        self.runs = runs
        self.seconds = seconds

    def measure(self, progress: Progress) -> Result:
        spec = "fake" if self.quick else self.embedder
        embedder = resolve_embedder(spec, self.threads)
        sizes = (200,) if self.quick else self.sizes
        out: Result = {
            "encoder": model_of(embedder),
            "threads": self.threads,
            "start": _imports(1 if self.quick else 9),
            "sizes": {},
        }
        for size in sizes:
            out["sizes"][str(size)] = self._size(size, spec, embedder, progress)
        if self.peers and not self.quick:
            out["peers"] = measured_peers(
                sizes, self.peers_folder, self.threads, self.seconds, self.runs, self.seed, progress
            )
        return out

    def _size(self, size: int, spec: str | None, embedder: Embedder, progress: Progress) -> Result:
        cache = None if self.quick else cache_folder()
        texts, cues = corpus.texts(size, self.seed), corpus.queries(20 if self.quick else self.queries, self.seed)
        rows, cue_rows = corpus.vectors(size, embedder, self.seed, cache=cache), embedder.embed(cues)
        known = KnownVectors(embedder)
        known.know(texts, rows)
        known.know(cues, cue_rows)
        out: Result = {"made-up vectors": corpus.made_up(size)}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "memory.db"
            with Memory(path, embedder=known) as memory:
                laps = []
                for start in range(0, size, BATCH):
                    progress(f"add {size}", start, size)
                    begin = time.perf_counter()
                    memory.add(texts[start : start + BATCH], user_id="ana")
                    laps.append((len(texts[start : start + BATCH]), time.perf_counter() - begin))
                out["adds a second, known vectors, batches of 256"] = _rate(laps)
                out["adds a second, the last ten batches"] = _rate(laps[-10:])
                progress(f"search {size}", 0, 1)
                out["search"] = {
                    "slowwave, known vectors": _asked(lambda cue: memory.search(cue, user_id="ana", threshold=0), cues),
                    **bare(rows, cue_rows, self.threads),
                }
            out |= _on_disk(path, size)
            with Memory(path, embedder=embedder) as memory:
                out["search"]["slowwave, with encoding"] = _asked(
                    lambda cue: memory.search(cue, user_id="ana", threshold=0), cues
                )
                out["search"]["bare encoder"] = _asked(lambda cue: embedder.embed([cue]), cues)
                progress(f"adds to {size}", 0, 1)
                out["adds"] = self._adds(memory, embedder)
            out["open"] = _opened(path, spec, cues[0], 1 if self.quick else 5)
        return out

    def _adds(self, memory: Memory, embedder: Embedder) -> Result:
        """Durable adds to the full store and the bare encoder, turn about, on texts of their own."""
        each = BATCHES * BATCH + SINGLES
        if self.quick:
            extra = corpus.extras(40, self.seed)
            ours, theirs, batch = extra[:20], extra[20:], 10
        else:
            extra = corpus.extras(2 * each, self.seed)
            ours, theirs, batch = extra[:each], extra[each:], BATCH
        embedder.embed(theirs[:1])
        cut = len(ours) // batch * batch if self.quick else BATCHES * BATCH
        out = {}
        for name, size, part in (("batches of 256", batch, slice(0, cut)), ("single", 1, slice(cut, None))):
            add, encode = list[tuple[int, float]](), list[tuple[int, float]]()
            own, other = ours[part], theirs[part]
            for start in range(0, len(own), size):
                for work, laps, chosen in (
                    (lambda group: memory.add(group, user_id="ana"), add, own[start : start + size]),
                    (embedder.embed, encode, other[start : start + size]),
                ):
                    begin = time.perf_counter()
                    work(chosen)
                    laps.append((len(chosen), time.perf_counter() - begin))
            if add:
                adds, bare_rate = _rate(add), _rate(encode)
                ratio = round(adds / bare_rate, 3) if bare_rate else None
                out[name] = {"adds a second": adds, "encoder a second": bare_rate, "of encoder": ratio}
        return out

    def render(self, result: Result) -> str:
        lines = [f"Speed, {result['threads']} threads, {result['encoder']['name']}", ""]
        for name, value in result["start"].items():
            lines.append(f"{name}: {value * 1000:.0f} ms")
        for size, row in result["sizes"].items():
            adds = "; ".join(
                f"{name} {v['adds a second']:.0f}/s, {v['of encoder']:.2f} of the encoder"
                for name, v in row["adds"].items()
            )
            parts = ", ".join(f"{name} {n:.0f}" for name, n in list(row["bytes of a record"].items())[:4])
            lines += [
                "",
                f"{int(size):,} records",
                f"  adds, vectors known: {row['adds a second, known vectors, batches of 256']:.0f}/s; {adds}",
                f"  open: {row['open']['to first result, seconds'] * 1000:.0f} ms to the first result",
                f"  {row['bytes a record']:.0f} bytes a record ({parts}, ...)",
            ]
            for name, v in row["search"].items():
                recall = f", recall {v['recall']:.3f} of the exact ten" if "recall" in v else ""
                lines.append(f"  {name}: p50 {v['p50 ms']:.2f} ms, p99 {v['p99 ms']:.2f} ms{recall}")
        if "peers" in result:
            lines += ["", *peer_lines(result["peers"])]
        return "\n".join(lines)


def bare(rows: Vectors, cues: Vectors, threads: int) -> dict[str, Result]:
    """The same vectors under a plain NumPy scan, and under usearch (HNSW, f32, its defaults) where it is installed."""

    def scan(cue: np.ndarray) -> np.ndarray:
        scores = rows @ cue
        best = np.argpartition(-scores, TOP_K)[:TOP_K]
        return np.asarray(best[np.argsort(-scores[best])])

    out = {"bare NumPy scan, known vectors": _asked(scan, list(cues))}
    try:
        from usearch.index import Index
    except ImportError:
        return out
    index = Index(ndim=rows.shape[1], metric="cos", dtype="f32")
    begin = time.perf_counter()
    index.add(np.arange(len(rows)), rows, threads=threads)
    built = time.perf_counter() - begin
    exact = [set(scan(cue).tolist()) for cue in cues]
    hits = [len(truth & set(index.search(cue, TOP_K).keys.tolist())) for truth, cue in zip(exact, cues, strict=True)]
    found = _asked(lambda cue: index.search(cue, TOP_K), list(cues))
    recall = round(float(np.mean(hits)) / TOP_K, 4)
    out["bare usearch, known vectors"] = {**found, "recall": recall, "build seconds": round(built, 2)}
    return out


def _asked(ask: Callable[[Any], Any], cues: Sequence[Any]) -> dict[str, Any]:
    for cue in cues[:3]:
        ask(cue)
    spent = []
    for cue in cues:
        begin = time.perf_counter()
        ask(cue)
        spent.append((time.perf_counter() - begin) * 1000)
    p50, p99 = np.percentile(spent, [50, 99])
    return {"p50 ms": round(float(p50), 3), "p99 ms": round(float(p99), 3), "queries": len(spent)}


def _rate(laps: Sequence[tuple[int, float]]) -> float:
    seconds = sum(s for _, s in laps)
    return round(sum(n for n, _ in laps) / seconds, 1) if seconds else 0.0


def _imports(times: int) -> dict[str, float]:
    """Seconds, medians of fresh processes; the interpreter's own start is not counted."""
    out = {}
    for name, statement in IMPORTS.items():
        code = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
        out[name] = round(float(np.median([float(_python(code)) for _ in range(times)])), 4)
    return out


def _opened(path: Path, spec: str | None, cue: str, times: int) -> Result:
    """A fresh process opens the file and searches once; the model is loaded on the way."""
    each = [[float(part) for part in _python(OPEN, str(path), str(spec), cue).split()[:2]] for _ in range(times)]
    imported, found = np.median(np.array(each), axis=0)
    return {"import, seconds": round(float(imported), 4), "to first result, seconds": round(float(found), 4)}


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def _on_disk(path: Path, records: int) -> Result:
    """Bytes a record, all files together, and what the tables and indexes take of them."""
    import sqlite3

    total = sum(file.stat().st_size for file in path.parent.iterdir())
    out: Result = {"bytes a record": round(total / records, 1), "bytes of a record": {}}
    db = sqlite3.connect(path)
    try:
        parts = db.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC").fetchall()
        out["bytes of a record"] = {name: round(size / records, 1) for name, size in parts}
    except sqlite3.OperationalError:  # this SQLite was built without dbstat
        pass
    finally:
        db.close()
    return out
