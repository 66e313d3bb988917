"""Many scopes in one PostgreSQL: does a search, or a write, take longer the more scopes there are beside its own?

Records are loaded in bulk, as sessions of twenty come: one scope's after another's, so that a scope's rows lie
scattered over the tables as they would after months. Texts are made up (twelve words by Zipf's law), vectors are random
unit rows known beforehand, so that what is timed is all but the encoder. At each number of scopes: searches of a scope
that this process has not looked at yet ("cold") and of one that it has ("warm"), single adds that wait for the disk,
adds from several threads, and the bytes of every table. `for_records` says from the slopes what more would need.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.base import Progress, Result
from slowwave.bench.on_postgres import OnPostgres
from slowwave.errors import InputError
from slowwave.memory import Memory
from slowwave.models.base import Vectors

POOL = 20_000  # different texts and vectors
TURNS = 20  # records that one scope gets at once
CHUNK = 50_000  # records loaded in one statement
TIMES = ("search_cold_ms", "search_warm_ms", "add_ms")
SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'slowwave' "
    "AND client_addr IS NULL"
)
BILLION = 1_000_000_000


class RandomUnit:
    """An embedder that costs nothing: the same text, the same random unit row."""

    dim = 384
    name = "random-384"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(n, 384) float32 unit rows."""
        rows = np.empty((len(texts), self.dim), dtype=np.float32)
        for place, text in enumerate(texts):
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
            rows[place] = np.random.default_rng(seed).standard_normal(self.dim, dtype=np.float32)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


class Scale(OnPostgres):
    """Search and write latency in PostgreSQL over the number of scopes, and what a thousand times as much would need.

    database  postgresql:// URL of a database to fill; it is left as it is afterwards
    scopes    numbers of scopes to stop and measure at, ascending
    records   in each scope
    queries   searches timed at each stop, each in a scope of its own, cold and warm
    writes    single adds timed at each stop
    threads   that add at once
    """

    name = "scale"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        database: str | None = None,
        scopes: Sequence[int] = (10, 100, 1_000),
        records: int = 1_000,
        queries: int = 200,
        writes: int = 200,
        threads: int = 8,
    ) -> None:
        super().__init__(quick, seed, out)
        self.database = database
        self.scopes = tuple(sorted(int(n) for n in scopes))
        self.records = records
        self.queries = queries
        self.writes = writes
        self.threads = threads

    def measure(self, progress: Progress) -> Result:
        url = self.url()
        stops, records = ((2, 4), 40) if self.quick else (self.scopes, self.records)
        queries, writes = (4, 4) if self.quick else (self.queries, self.writes)
        rng = np.random.default_rng(self.seed)
        out: Result = {"records_a_scope": records, "stops": {}}
        with Memory(url, embedder=RandomUnit(), zone="UTC") as memory:
            if memory.scopes():
                raise InputError(f"{memory.path} holds records already; give an empty database, or another ?tenant=")
            server = version_of(memory)
            load = Load(memory, *made_up(200 if self.quick else POOL, memory.embedder.dim, rng))
            done = 0
            for stop in stops:
                seconds = load.fill(done, stop, records, progress)
                done = stop
                with Memory(url, embedder=RandomUnit()) as fresh:
                    progress(f"measure {stop} scopes", 0, 1)
                    chosen = rng.choice(stop, size=queries, replace=stop < queries).tolist()
                    measured = self._stop(fresh, chosen, writes, load.texts, rng)
                    sizes = fresh.store.size()
                out["stops"][str(stop)] = {
                    "records": stop * records,
                    "load_seconds": round(seconds, 1),
                    **measured,
                    "bytes": sizes,
                    "bytes_a_record": round(sum(sizes.values()) / (stop * records)),
                }
        out["server"] = f"PostgreSQL {server}"
        out["for_records"] = needs(out["stops"], BILLION)
        return out

    def _stop(self, memory: Memory, chosen: list[int], writes: int, texts: Sequence[str], rng: Any) -> Result:
        """Searches cold and warm, single adds, adds from several threads."""
        warm_up = memory.store.view(memory_scope(chosen[0]))
        warm_up.document_frequency(["warm"])
        cues = [" ".join(texts[int(k)].split()[:4]) for k in rng.integers(0, len(texts), len(chosen))]

        def search(n: int, cue: str) -> float:
            return timed(lambda: memory.search(cue, user_id=f"user-{n}", threshold=0, note_use=False))

        seen, cold, spent = set[int](), [], [cpu_ms(memory)]
        for n, cue in zip(chosen, cues, strict=True):
            if n not in seen:
                cold.append(search(n, cue))
            seen.add(n)
        spent.append(cpu_ms(memory))
        warm = [search(n, cue) for n, cue in zip(chosen, reversed(cues), strict=True)]
        spent.append(cpu_ms(memory))

        def add(n: int, place: int) -> float:
            text = f"{texts[place % len(texts)]} {rng.integers(1 << 40)}"
            return timed(lambda: memory.add(text, user_id=f"user-{n}"))

        singles = [add(chosen[k % len(chosen)], k) for k in range(writes)]
        begin = time.perf_counter()
        with ThreadPoolExecutor(self.threads) as pool:
            together = list(pool.map(lambda k: add(chosen[k % len(chosen)], k), range(writes)))
        rate = writes / (time.perf_counter() - begin)
        return {
            "search_cold_ms": spread(cold),
            "search_warm_ms": spread(warm),
            "search_cold_cpu_ms": round((spent[1] - spent[0]) / len(cold), 1),
            "search_warm_cpu_ms": round((spent[2] - spent[1]) / len(warm), 1),
            "add_ms": spread(singles),
            f"add_ms_of_{self.threads}_threads": spread(together),
            f"adds_a_second_of_{self.threads}_threads": round(rate),
        }

    def render(self, result: Result) -> str:
        heads = "  ".join(f"{head:>15}" for head in ("search cold", "search warm", "add", "cpu cold / warm"))
        lines = [f"{result['server']}; p50 / p99 in ms, and processor time in ms of client and server together", ""]
        lines += [f"{'scopes':>8} {'records':>9}  {heads}  {'bytes/record':>12}"]
        for stop, row in result["stops"].items():
            cells = [f"{row[key]['p50']:.1f} / {row[key]['p99']:.1f}" for key in TIMES]
            cells.append(f"{row['search_cold_cpu_ms']:.1f} / {row['search_warm_cpu_ms']:.1f}")
            told = "  ".join(f"{value:>15}" for value in cells)
            lines.append(f"{int(stop):>8,} {row['records']:>9,}  {told}  {row['bytes_a_record']:>12,}")
        lines += ["", f"for {BILLION:,} records:"]
        lines += [f"  {name.replace('_', ' ')}: {value:,}" for name, value in result["for_records"].items()]
        return "\n".join(lines)


def version_of(memory: Memory) -> str:
    """The version of the server."""
    from slowwave.store.postgres import PostgresStore

    assert isinstance(memory.store, PostgresStore)
    return str(memory.store.read("SELECT current_setting('server_version')", [])[0][0])


def cpu_ms(memory: Memory) -> float:
    """Milliseconds of processor time of this process and, where it is on this machine, of its server's processes.

    On a machine that does other things as well these say more than the clock does.
    """
    spent = 1000 * time.process_time()
    for (pid,) in memory.store.read(SESSIONS, []):  # type: ignore[attr-defined]
        with suppress(OSError, ValueError, IndexError):
            parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            spent += 1000 * (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def memory_scope(n: int) -> Any:
    """The scope of the nth user."""
    from slowwave.records import Scope

    return Scope(user_id=f"user-{n}")


def timed(call: Callable[[], object]) -> float:
    """Milliseconds that a call took."""
    begin = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - begin)


def spread(laps: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile, and how many."""
    return {
        "p50": round(float(np.percentile(laps, 50)), 2),
        "p99": round(float(np.percentile(laps, 99)), 2),
        "n": len(laps),
    }


def needs(stops: Result, records: int) -> Result:
    """What so many records need, from the slopes between the first stop and the last.

    disk_gb             from the bytes that each further record took
    search_*_ms         from the growth of the median with each tenfold number of scopes, carried on
    """
    first, *_, last = stops.values()
    slope = (sum(last["bytes"].values()) - sum(first["bytes"].values())) / max(1, last["records"] - first["records"])
    out: Result = {"records": records, "bytes_a_further_record": round(slope), "disk_gb": round(slope * records / 1e9)}
    decades = np.log10(last["records"] / first["records"]) if last["records"] > first["records"] else 1.0
    further = np.log10(records / last["records"])
    for key in TIMES:
        a_decade = (last[key]["p50"] - first[key]["p50"]) / decades
        out[f"{key.removesuffix('_ms')}_ms_a_decade"] = round(float(a_decade), 2)
        out[key] = round(float(last[key]["p50"] + further * max(0.0, a_decade)), 1)
    return out


def made_up(pool: int, dim: int, rng: Any) -> tuple[list[str], Vectors]:
    """Texts of twelve words by Zipf's law, and random unit rows."""
    ranks = np.arange(1, 30_001)
    weights = (1 / ranks) / (1 / ranks).sum()
    words = rng.choice(len(ranks), size=(pool, 12), p=weights)
    texts = [" ".join(f"w{word:x}q" for word in row) + f" p{place:x}" for place, row in enumerate(words)]
    vectors = rng.standard_normal((pool, dim)).astype(np.float32)
    return texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Load:
    """Fills the tables in bulk, past the checks of `add`: for measuring alone."""

    def __init__(self, memory: Memory, texts: Sequence[str], vectors: Vectors) -> None:
        from slowwave.store.postgres import PostgresStore
        from slowwave.store.vectors import encode
        from slowwave.store.words import packed

        store = memory.store
        assert isinstance(store, PostgresStore)
        self.store = store
        store.set_model(memory.embedder.name, memory.embedder.dim)
        model = store.model()
        assert model is not None
        self.texts = list(texts)
        self._model = model.n
        self._pool = len(texts)
        self._rows = list(zip(range(len(texts)), texts, map(packed, texts), encode(vectors, "int8"), strict=True))

    def fill(self, start: int, stop: int, records: int, progress: Progress) -> float:
        """Add the scopes from `start` to `stop`; returns the seconds it took."""
        begin = time.perf_counter()
        with self.store.connections.write() as session:
            run = session.execute
            run("CREATE TEMP TABLE pool (k INTEGER PRIMARY KEY, text TEXT, stems BYTEA, vector BYTEA) ON COMMIT DROP")
            session.executemany("INSERT INTO pool (k, text, stems, vector) VALUES (?, ?, ?, ?)", self._rows)
            users = [f"user-{n}" for n in range(start, stop)]
            run("INSERT INTO scopes (user_id) SELECT unnest(?::text[])", (users,))
            run(
                "INSERT INTO sessions (scope, name, turns) SELECT n, '', ? FROM scopes WHERE user_id = ANY(?)",
                (records, users),
            )
            run(
                "INSERT INTO operations (id, scope, verb, system, model, params, recorded) SELECT 'load-' || n, n, "
                "'add', 'default', '', '{}', 0 FROM scopes WHERE user_id = ANY(?)",
                (users,),
            )
            run(
                "CREATE TEMP TABLE own ON COMMIT DROP AS SELECT s.n AS scope, t.n AS session, o.n AS op, "
                "substr(s.user_id, 6)::int AS place FROM scopes s JOIN sessions t ON t.scope = s.n "
                "JOIN operations o ON o.scope = s.n WHERE s.user_id = ANY(?)",
                (users,),
            )
            each = max(TURNS, CHUNK // max(1, stop - start) // TURNS * TURNS)
            for first in range(0, records, each):
                progress(f"load up to {stop} scopes", first * (stop - start), records * (stop - start))
                self._part(session, first, min(records, first + each))
            run(
                "UPDATE scopes s SET records = ?, length = 14 * ? WHERE s.n IN (SELECT scope FROM own)",
                (records, records),
            )
        with self.store.connections.maintenance() as connection:
            connection.execute("VACUUM (ANALYZE)")
        self.store.cache.clear()
        self.store.words.clear()
        return time.perf_counter() - begin

    def _part(self, session: Any, first: int, last: int) -> None:
        """The records from `first` to `last` of every scope, twenty of one after twenty of another."""
        run = session.execute
        run(
            "CREATE TEMP TABLE fresh ON COMMIT DROP AS SELECT nextval('engrams_n_seq') AS n, o.scope, o.session, "
            "o.op, r.i, p.text, p.stems, p.vector FROM (SELECT own.*, i FROM own CROSS JOIN "
            "generate_series(?::int, ?::int) i "
            f"ORDER BY i / {TURNS}, place, i) r JOIN own o ON o.scope = r.scope "
            f"JOIN pool p ON p.k = (r.place::bigint * 1009 + r.i * 97) % {self._pool} "
            f"ORDER BY r.i / {TURNS}, r.place, r.i",
            (first, last - 1),
        )
        run(
            "INSERT INTO engrams (n, id, scope, kind, text, at, at_zone, recorded, strength, half_life_days, session, "
            "turn, speaker, content, attrs) SELECT n, '01' || lpad(n::text, 24, '0'), scope, 'episode', text, "
            "1700000000000000 + i * 60000000::bigint, 'UTC', 1700000000000000 + i * 60000000::bigint, 1.0, 30.0, "
            "session, i + 1, 'user', decode(md5(n::text), 'hex'), '{\"speaker\":\"user\"}' FROM fresh ORDER BY n"
        )
        run(
            "INSERT INTO vectors (model, scope, engram, vector) SELECT ?, scope, n, vector FROM fresh ORDER BY n",
            (self._model,),
        )
        run("INSERT INTO words (scope, engram, stems, body) SELECT scope, n, stems, text FROM fresh ORDER BY n")
        run(
            "INSERT INTO journal (op, engram, verb, reason, sources, before, after, links, unlinks) "
            "SELECT op, n, 'add', '', '[]', '{}', '{\"added\":true}', '[]', '[]' FROM fresh ORDER BY n"
        )
        run("DROP TABLE fresh")
