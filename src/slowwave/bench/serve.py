"""The server under load on this machine: 1 to 128 clients, mixed reads and writes, and whether a write was lost.

Every client has a connection of its own and asks again once it is answered. One request in `write_every` adds a
record, the others search; records and questions are sentences of Dracula, spread over `users` scopes. Each acknowledged
write is looked up afterwards. Server and clients share the machine's cores.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from slowwave.bench.base import Benchmark, Progress, Result
from slowwave.bench.http_load import Ask, Connection, Load, run
from slowwave.data.dracula import episodes
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder

START_SECONDS = 120.0
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


class Serve(Benchmark):
    """Requests a second and latencies of the server at 1, 8, 32 and 128 clients, and no write lost.

    store        "sqlite", or the postgresql://... of a database that may be filled
    embedder     see `slowwave.models.SPEC_HELP`; None takes the default
    clients      how many ask at once, one run for each
    records      in the store before, over `users` scopes
    users        scopes
    write_every  one request of so many adds a record
    requests     answered in one run at most
    seconds      that one run takes at most
    chroma       the `chroma` program of an environment that has chromadb: its server is measured beside
    """

    name = "serve"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        store: str = "sqlite",
        embedder: str | None = None,
        clients: Sequence[int] = (1, 8, 32, 128),
        records: int = 5000,
        users: int = 50,
        write_every: int = 5,
        requests: int = 3000,
        seconds: float = 15.0,
        chroma: str | Path | None = None,
    ) -> None:
        super().__init__(quick, seed, out)
        self.store = store
        self.embedder = embedder
        self.clients = tuple(clients)
        self.records = records
        self.users = users
        self.write_every = write_every
        self.requests = requests
        self.seconds = seconds
        self.chroma = None if chroma is None else Path(chroma)
        self._model = "fake" if quick and embedder is None else embedder
        self._users, self._records = (4, 100) if quick else (users, records)

    def settings(self) -> dict[str, Any]:
        """The address of a database stays out of results."""
        return {**super().settings(), "store": "sqlite" if self.store == "sqlite" else "postgresql"}

    def measure(self, progress: Progress) -> Result:
        """Each server in turn, from a store filled anew."""
        self._texts = [text for item in episodes() for text in re.split(r"(?<=[.!?])\s+", item.text) if len(text) > 30]
        systems = {"slowwave": self._slowwave(progress)}
        if self.chroma is not None:
            systems["chroma"] = self._chroma(progress)
        return {"systems": systems}

    def _slowwave(self, progress: Progress) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="slowwave-bench-") as folder:
            where = str(Path(folder) / "memory.db") if self.store == "sqlite" else self.store
            with Memory(where, embedder=self._model) as memory:
                for user in range(self._users):
                    texts = [self._text(n) for n in range(user, self._records, self._users)]
                    if texts:
                        memory.add(texts, user_id=f"user{user}")
                    progress("fill", user + 1, self._users)
            words = [sys.executable, "-m", "slowwave", "serve", "--db", where, "--port", "0", "--log-level", "error"]
            words += ["--embedder", self._model] if self._model else []
            with serving(words, r"http://\S+") as url:
                return self._runs("slowwave", url, self._ask, self._kept, progress)

    def _runs(self, name: str, url: str, ask: Any, kept: Any, progress: Progress) -> dict[str, Any]:
        out: dict[str, Any] = {}
        asyncio.run(run(url, 2, partial(ask, run_=0), 20, 30.0))  # both sides have their threads and pages by then
        counts = (1, 4) if self.quick else self.clients
        for place, clients in enumerate(counts):
            load = asyncio.run(
                run(url, clients, partial(ask, run_=1 + place), 40 if self.quick else self.requests, self.seconds)
            )
            lost = asyncio.run(kept(url, load))
            out[str(clients)] = {**load.numbers(), "acknowledged": len(load.acknowledged), "lost": lost}
            if load.failed:
                out[str(clients)]["first_failure"] = load.failed[0]
            progress(name, place + 1, len(counts))
        return out

    def _text(self, n: int) -> str:
        return f"{self._texts[n % len(self._texts)]} ({n})"

    def _ask(self, client: int, turn: int, run_: int) -> Ask:
        """What a client asks at its turn: fixed by the seed, the run, the client and the turn."""
        rng = np.random.default_rng([self.seed, run_, client, turn])
        scope, n = {"user_id": f"user{rng.integers(self._users)}"}, int(rng.integers(len(self._texts)))
        if turn % self.write_every == client % self.write_every:
            text = f"{self._texts[n]} (run {run_}, client {client}, turn {turn})"
            return "write", "POST", "/v1/memories", {"content": text, **scope}
        return "read", "POST", "/v1/search", {"query": self._texts[n][:120], "top_k": 10, **scope}

    async def _kept(self, url: str, load: Load) -> int:
        """How many acknowledged writes are not there, each looked up by its id."""
        connection, lost = Connection(url, {}), 0
        for body, answer in load.acknowledged:
            id_ = answer["results"][0]["id"]
            status, record = await connection.ask("GET", f"/v1/memories/{id_}?user_id={quote(body['user_id'])}")
            lost += status != 200 or record["memory"] != body["content"]
        await connection.close()
        return lost

    # -- Chroma's server, which is given vectors and does not encode

    def _chroma(self, progress: Progress) -> dict[str, Any]:
        embedder = resolve_embedder(self._model)
        with tempfile.TemporaryDirectory(prefix="slowwave-bench-") as folder:
            port = free_port()
            words = [str(self.chroma), "run", "--path", folder, "--host", "127.0.0.1", "--port", str(port)]
            with serving(words, "", f"http://127.0.0.1:{port}") as url:
                return asyncio.run(self._chroma_filled(url, embedder, progress))

    async def _chroma_filled(self, url: str, embedder: Embedder, progress: Progress) -> dict[str, Any]:
        connection = Connection(url, {})
        _, made = await connection.ask("POST", COLLECTIONS, {"name": "memory"})
        path = f"{COLLECTIONS}/{made['id']}"
        pool = self._texts[:2000]
        vectors = embedder.embed(pool).tolist()
        for start in range(0, self._records, 250):
            part = range(start, min(start + 250, self._records))
            body = {
                "ids": [f"first-{n}" for n in part],
                "embeddings": [vectors[n % len(pool)] for n in part],
                "documents": [self._text(n) for n in part],
                "metadatas": [{"user_id": f"user{n % self._users}"} for n in part],
            }
            status, said = await connection.ask("POST", f"{path}/add", body)
            if status >= 300:
                raise RuntimeError(f"chroma did not take the records: {status} {said}")
            progress("fill chroma", part.stop, self._records)
        await connection.close()

        def ask(client: int, turn: int, run_: int) -> Ask:
            rng = np.random.default_rng([self.seed, run_, client, turn])
            user, n = f"user{rng.integers(self._users)}", int(rng.integers(len(pool)))
            if turn % self.write_every == client % self.write_every:
                id_ = f"{run_}-{client}-{turn}"
                body = {
                    "ids": [id_],
                    "embeddings": [vectors[n]],
                    "documents": [pool[n]],
                    "metadatas": [{"user_id": user}],
                }
                return "write", "POST", f"{path}/add", body
            asked = {"query_embeddings": [vectors[n]], "n_results": 10, "where": {"user_id": user}}
            return "read", "POST", f"{path}/query", {**asked, "include": ["documents", "distances"]}

        async def kept(url: str, load: Load) -> int:
            ids = [body["ids"][0] for body, _ in load.acknowledged]
            found: set[str] = set()
            again = Connection(url, {})
            for start in range(0, len(ids), 200):
                _, got = await again.ask("POST", f"{path}/get", {"ids": ids[start : start + 200], "include": []})
                found.update(got["ids"])
            await again.close()
            return len(set(ids) - found)

        return await asyncio.to_thread(self._runs, "chroma", url, ask, kept, progress)

    def render(self, result: Result) -> str:
        """A row for each server and number of clients."""
        lines = ["system      clients   req/s   read p50   read p99   write p50   write p99   writes   lost   failed"]
        for name, runs in result["systems"].items():
            for clients, row in runs.items():
                read, write = row.get("read", {}), row.get("write", {})
                lines.append(
                    f"{name:<10} {clients:>8} {row['per_second']:>7} {read.get('p50_ms', '-'):>10} "
                    f"{read.get('p99_ms', '-'):>10} {write.get('p50_ms', '-'):>11} {write.get('p99_ms', '-'):>11} "
                    f"{row['acknowledged']:>8} {row['lost']:>6} {row['failed']:>8}"
                )
        return "\n".join(lines)


@contextmanager
def serving(words: Sequence[str], says: str, url: str = "") -> Iterator[str]:
    """A server of its own process until the end; its address, which it says itself or which was chosen.

    says  what to find the address by in what it writes; "" waits until the address answers
    """
    if shutil.which(words[0]) is None:
        raise FileNotFoundError(f"{words[0]} is not there; name the program of an environment that has it")
    pipe = subprocess.PIPE if says else subprocess.DEVNULL
    environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False"}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=pipe, text=True, env=environment) as process:
        try:
            if says:
                assert process.stderr is not None
                line = process.stderr.readline()
                found = re.search(says, line)
                if not found:
                    raise RuntimeError(f"{words[0]} did not start: {line}{process.stderr.read()}")
                url = found[0]
            else:
                _wait(url, process)
            yield url
        finally:
            process.terminate()
            if process.stderr is not None:
                process.stderr.read()


def _wait(url: str, process: subprocess.Popen[str]) -> None:
    host, port = url.removeprefix("http://").split(":")
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nothing answers at {url}")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
