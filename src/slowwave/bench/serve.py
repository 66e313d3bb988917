"""The server under load on this machine: 1 to 128 clients, mixed reads and writes, and whether a write was lost.

Every client has a connection of its own and asks again once it is answered. One request in `write_every` adds a
record, the others search; records and questions are sentences of Dracula, spread over `users` scopes. Each acknowledged
write is looked up afterwards. Server and clients share the machine's cores.
"""

from __future__ import annotations

import asyncio
import re
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from slowwave.bench.base import Benchmark, Progress, Result
from slowwave.bench.http_load import Ask, Connection, Load, run
from slowwave.bench.serve_peers import ChromaLoad, Mem0Load, Workload, serving
from slowwave.data.dracula import episodes
from slowwave.memory import Memory


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
    mem0         the Python of an environment that has mem0ai and FastAPI: mem0 is measured beside
    own          False measures the others alone
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
        mem0: str | Path | None = None,
        own: bool = True,
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
        self.mem0 = None if mem0 is None else Path(mem0)
        self.own = own
        self._model = "fake" if quick and embedder is None else embedder
        self._users, self._records = (4, 100) if quick else (users, records)

    def settings(self) -> dict[str, Any]:
        """The address of a database stays out of results."""
        return {**super().settings(), "store": "sqlite" if self.store == "sqlite" else "postgresql"}

    def command(self) -> str:
        """Without what are places on this machine."""
        words = super().command().split(" ")
        if "--store" in words:
            words[words.index("--store") + 1] = "URL"
        names = {"chroma": "--chroma CHROMA", "mem0": "--mem0 PYTHON"}
        return " ".join([*words, *(word for name, word in names.items() if getattr(self, name))])

    def measure(self, progress: Progress) -> Result:
        """Each server in turn, from a store filled anew."""
        self._texts = [text for item in episodes() for text in re.split(r"(?<=[.!?])\s+", item.text) if len(text) > 30]
        self._work = Workload(self._texts, self.seed, self._users, self._records, self.write_every, self._model)
        systems = {"slowwave": self._slowwave(progress)} if self.own else {}
        for name, program, load in (("chroma", self.chroma, ChromaLoad), ("mem0", self.mem0, Mem0Load)):
            if program is not None:
                peer = load(program, self._work)
                with peer.filled(progress) as url:
                    systems[name] = self._runs(name, url, peer.ask, peer.kept, progress)
        return {"systems": systems}

    def _slowwave(self, progress: Progress) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="slowwave-bench-") as folder:
            where = str(Path(folder) / "memory.db") if self.store == "sqlite" else self.store
            with Memory(where, embedder=self._model) as memory:
                for done, (user, texts) in enumerate(self._work.before()):
                    memory.add(texts, user_id=user)
                    progress("fill", done + 1, self._users)
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

    def _ask(self, client: int, turn: int, run_: int) -> Ask:
        turn_ = self._work.turn(client, turn, run_)
        scope = {"user_id": turn_.user}
        if turn_.writes:
            return "write", "POST", "/v1/memories", {"content": turn_.text, **scope}
        return "read", "POST", "/v1/search", {"query": turn_.text, "top_k": 10, **scope}

    async def _kept(self, url: str, load: Load) -> int:
        """How many acknowledged writes are not there, each looked up by its id."""
        connection, lost = Connection(url, {}), 0
        for body, answer in load.acknowledged:
            id_ = answer["results"][0]["id"]
            status, record = await connection.ask("GET", f"/v1/memories/{id_}?user_id={quote(body['user_id'])}")
            lost += status != 200 or record["memory"] != body["content"]
        await connection.close()
        return lost

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
