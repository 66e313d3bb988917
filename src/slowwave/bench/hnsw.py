"""HNSW of pgvector for one large scope in PostgreSQL: how much of what a scan finds, how long both take, its build.

Texts are sentences of Dracula and, beyond those, two of them joined, whose vector is the mean of theirs plus noise as
`corpus.py` has it; so the vectors lie as sentences of a language do, and not on a sphere at random. Questions are
sentences that are not among the records. Both searches are `View.dense`, the step of a search that reads vectors.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.base import Progress, Result
from slowwave.bench.corpus import PAIR_COSINE, default_cache, encoded
from slowwave.bench.on_postgres import OnPostgres
from slowwave.bench.scale import Load, RandomUnit, memory_scope, spread, version_of
from slowwave.data.dracula import episodes
from slowwave.errors import InputError
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Vectors
from slowwave.store.base import Want

SCOPE = {"user_id": "user-0"}


class Known(RandomUnit):
    """Stands for the encoder whose vectors are in the store already."""

    def __init__(self, dim: int) -> None:
        self.dim, self.name = dim, f"known-{dim}"


class Hnsw(OnPostgres):
    """Recall at ten against a scan, latencies and build time of the approximate index in PostgreSQL.

    database  postgresql:// URL of an empty database, or of an empty ?tenant=; it is left as it is afterwards
    records   in the one scope
    queries   searches timed, each once by the graph and once by a scan
    top_k     of which the recall is
    sentences  that are encoded; the other records are joined of two of them
    """

    name = "hnsw"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        database: str | None = None,
        records: int = 200_000,
        queries: int = 200,
        top_k: int = 10,
        sentences: int = 4_000,
    ) -> None:
        super().__init__(quick, seed, out)
        self.sentences = sentences
        self.database = database
        self.records = records
        self.queries = queries
        self.top_k = top_k

    def measure(self, progress: Progress) -> Result:
        url = self.url()
        records, queries = (300, 8) if self.quick else (self.records, self.queries)
        texts, vectors, cues = self._corpus(records, queries, progress)
        options: dict[str, Any] = {"embedder": Known(vectors.shape[1]), "zone": "UTC"}
        with Memory(url, **options, ann_from=None) as memory:
            server, held = version_of(memory), memory.scopes()
            if held and list(held) != [(memory_scope(0), records)]:
                raise InputError(f"{memory.path} holds records already; give an empty database, or another ?tenant=")
            if not held:  # else a run that was cut short has loaded them
                Load(memory, texts, vectors).fill(0, 1, records, progress)
            memory.store.drop_indexes()  # type: ignore[attr-defined]
            exact = self._search(memory, cues, progress, "scan")
        with Memory(url, **options, ann_from=min(records, 1000)) as memory:
            begin = time.perf_counter()
            said = memory.build_ann(progress=progress, **SCOPE)
            build = time.perf_counter() - begin
            if not said:
                raise InputError("the server has no pgvector, so that there is nothing to measure")
            graph = self._search(memory, cues, progress, "graph")
            size = sum(n for name, n in memory.store.size().items() if name.startswith("ann_"))
        hits = [len(set(a) & set(b)) / self.top_k for a, b in zip(graph["found"], exact["found"], strict=True)]
        return {
            "server": f"PostgreSQL {server}",
            "records": records,
            "dim": int(vectors.shape[1]),
            "recall_at_10" if self.top_k == 10 else f"recall_at_{self.top_k}": round(float(np.mean(hits)), 4),
            "worst_tenth_of_queries": round(float(np.percentile(hits, 10)), 2),
            "build_seconds": round(build, 1),
            "index_bytes": size,
            "graph_ms": graph["ms"],
            "scan_ms": exact["ms"],
        }

    def _corpus(self, records: int, queries: int, progress: Progress) -> tuple[list[str], Vectors, Vectors]:
        """(texts, vectors of them, vectors of the questions)"""
        rng = np.random.default_rng(self.seed)
        found = dict.fromkeys(t for item in episodes() for t in re.split(r"(?<=[.!?])\s+", item.text) if len(t) > 30)
        said = list(found)[: 400 if self.quick else self.sentences]
        order = rng.permutation(len(said))
        embedder = resolve_embedder("fake" if self.quick else None)
        progress("encode", 0, len(said))
        rows = encoded([said[n] for n in order], embedder, None if self.quick else default_cache())
        cues, base = rows[:queries], rows[queries:]
        own = [said[n] for n in order[queries:]]
        more = max(0, records - len(own))
        pairs = rng.integers(0, len(own), (more, 2))
        mean = base[pairs[:, 0]] + base[pairs[:, 1]]
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-9)
        noise = rng.standard_normal(mean.shape, dtype=np.float32)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        joined = mean + noise * np.float32(np.tan(np.arccos(PAIR_COSINE)))
        joined /= np.linalg.norm(joined, axis=1, keepdims=True)
        texts = [*own, *(f"{own[a]} {own[b]} ({n})" for n, (a, b) in enumerate(pairs))][:records]
        return texts, np.concatenate([base, joined.astype(np.float32)])[:records], cues

    def _search(self, memory: Memory, cues: Vectors, progress: Progress, name: str) -> dict[str, Any]:
        view = memory.store.view(memory_scope(0))
        view.dense(cues[0], self.top_k, Want())  # what is kept in memory is there by then
        laps: list[float] = []
        found: list[Sequence[int]] = []
        for done, cue in enumerate(cues):
            begin = time.perf_counter()
            hits = view.dense(cue, self.top_k, Want())
            laps.append(1000 * (time.perf_counter() - begin))
            found.append(hits.ids.tolist())
            progress(name, done + 1, len(cues))
        return {"found": found, "ms": spread(laps)}

    def render(self, result: Result) -> str:
        """One line a fact."""
        recall = next(value for name, value in result.items() if name.startswith("recall_at"))
        return "\n".join(
            [
                f"{result['server']}; {result['records']:,} vectors of {result['dim']} in one scope",
                f"recall@{self.top_k} against a scan: {recall:.3f} (a tenth of the questions: "
                f"{result['worst_tenth_of_queries']:.2f} or less)",
                f"by the graph: {result['graph_ms']['p50']} ms p50, {result['graph_ms']['p99']} ms p99",
                f"by a scan:    {result['scan_ms']['p50']} ms p50, {result['scan_ms']['p99']} ms p99",
                f"built in {result['build_seconds']} s; {result['index_bytes'] / 1e6:.0f} MB",
            ]
        )
