"""What `bench serve` asks, and the servers of others that it is asked of: Chroma's, and mem0 behind HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from slowwave.bench.base import Progress
from slowwave.bench.http_load import Ask, Connection, Load
from slowwave.models import resolve_embedder

START_SECONDS = 120.0
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"
MEM0_SERVER = Path(__file__).parent / "peers" / "mem0_server.py"


class Turn(NamedTuple):
    """What one client asks once: the nth sentence, of a user; to be kept, or to be looked for."""

    writes: bool
    user: str
    text: str
    n: int


@dataclass(frozen=True)
class Workload:
    """Sentences spread over users: those that are there before, and what each client asks at each turn."""

    texts: Sequence[str]
    seed: int
    users: int
    records: int
    write_every: int
    embedder: str | None

    def before(self) -> Iterator[tuple[str, list[str]]]:
        """(user, texts) of the records that are there before."""
        for user in range(self.users):
            texts = [f"{self.texts[n % len(self.texts)]} ({n})" for n in range(user, self.records, self.users)]
            if texts:
                yield f"user{user}", texts

    def turn(self, client: int, turn: int, run_: int) -> Turn:
        """Fixed by the seed, the run, the client and the turn."""
        rng = np.random.default_rng([self.seed, run_, client, turn])
        user, n = f"user{rng.integers(self.users)}", int(rng.integers(len(self.texts)))
        if turn % self.write_every == client % self.write_every:
            return Turn(True, user, f"{self.texts[n]} (run {run_}, client {client}, turn {turn})", n)
        return Turn(False, user, self.texts[n][:120], n)


class ChromaLoad:
    """Chroma's server, which is given vectors and does not encode: here those of 2,000 sentences, known beforehand."""

    def __init__(self, program: Path, work: Workload) -> None:
        self.program, self.work = program, work
        self.pool = list(work.texts[:2000])
        self.vectors = resolve_embedder(work.embedder).embed(self.pool).tolist()
        self.path = ""

    @contextmanager
    def filled(self, progress: Progress) -> Iterator[str]:
        """The address of a server that has the records."""
        with tempfile.TemporaryDirectory(prefix="slowwave-bench-") as folder:
            port = free_port()
            words = [str(self.program), "run", "--path", folder, "--host", "127.0.0.1", "--port", str(port)]
            with serving(words, "", f"http://127.0.0.1:{port}") as url:
                asyncio.run(self._fill(url, progress))
                yield url

    async def _fill(self, url: str, progress: Progress) -> None:
        connection = Connection(url, {})
        _, made = await connection.ask("POST", COLLECTIONS, {"name": "memory"})
        self.path = f"{COLLECTIONS}/{made['id']}"
        for start in range(0, self.work.records, 250):
            part = range(start, min(start + 250, self.work.records))
            body = {
                "ids": [f"first-{n}" for n in part],
                "embeddings": [self.vectors[n % len(self.pool)] for n in part],
                "documents": [f"{self.pool[n % len(self.pool)]} ({n})" for n in part],
                "metadatas": [{"user_id": f"user{n % self.work.users}"} for n in part],
            }
            await expect(connection, f"{self.path}/add", body)
            progress("fill chroma", part.stop, self.work.records)
        await connection.close()

    def ask(self, client: int, turn: int, run_: int) -> Ask:
        """The same turn, with the vector of one of the known sentences."""
        at = self.work.turn(client, turn, run_)
        n = at.n % len(self.pool)
        if at.writes:
            body = {
                "ids": [f"{run_}-{client}-{turn}"],
                "embeddings": [self.vectors[n]],
                "documents": [at.text],
                "metadatas": [{"user_id": at.user}],
            }
            return "write", "POST", f"{self.path}/add", body
        asked = {"query_embeddings": [self.vectors[n]], "n_results": 10, "where": {"user_id": at.user}}
        return "read", "POST", f"{self.path}/query", {**asked, "include": ["documents", "distances"]}

    async def kept(self, url: str, load: Load) -> int:
        """How many acknowledged writes are not there."""
        ids = [body["ids"][0] for body, _ in load.acknowledged]
        found: set[str] = set()
        connection = Connection(url, {})
        for start in range(0, len(ids), 200):
            _, got = await connection.ask("POST", f"{self.path}/get", {"ids": ids[start : start + 200], "include": []})
            found.update(got["ids"])
        await connection.close()
        return len(set(ids) - found)


class Mem0Load:
    """mem0's library behind HTTP (`peers/mem0_server.py`), infer=False, with the same encoder in its own process."""

    def __init__(self, program: Path, work: Workload) -> None:
        self.program, self.work = program, work

    @contextmanager
    def filled(self, progress: Progress) -> Iterator[str]:
        """The address of a server that has the records."""
        with tempfile.TemporaryDirectory(prefix="slowwave-bench-") as folder:
            port = free_port()
            words = [str(self.program), str(MEM0_SERVER), "--folder", folder, "--port", str(port)]
            words += ["--embedder", self.work.embedder] if self.work.embedder else []
            settings = {"PYTHONPATH": str(Path(__file__).parents[2]), "MEM0_DIR": folder}
            with serving(words, "", f"http://127.0.0.1:{port}", settings) as url:
                asyncio.run(self._fill(url, progress))
                yield url

    async def _fill(self, url: str, progress: Progress) -> None:
        connection = Connection(url, {})
        for done, (user, texts) in enumerate(self.work.before()):
            messages = [{"role": "user", "content": text} for text in texts]
            await expect(connection, "/memories", {"messages": messages, "user_id": user})
            progress("fill mem0", done + 1, self.work.users)
        await connection.close()

    def ask(self, client: int, turn: int, run_: int) -> Ask:
        """The same turn in mem0's words."""
        at = self.work.turn(client, turn, run_)
        if at.writes:
            messages = [{"role": "user", "content": at.text}]
            return "write", "POST", "/memories", {"messages": messages, "user_id": at.user}
        return "read", "POST", "/search", {"query": at.text, "top_k": 10, "user_id": at.user}

    async def kept(self, url: str, load: Load) -> int:
        """How many acknowledged writes are not there, each looked up by its id."""
        connection, lost = Connection(url, {}), 0
        for body, answer in load.acknowledged:
            status, record = await connection.ask("GET", f"/memories/{answer['results'][0]['id']}")
            lost += status != 200 or record is None or record["memory"] != body["messages"][0]["content"]
        await connection.close()
        return lost


async def expect(connection: Connection, path: str, body: Any) -> None:
    """Ask, and raise where the answer is no."""
    status, said = await connection.ask("POST", path, body)
    if status >= 300:
        raise RuntimeError(f"{path} did not take the records: {status} {str(said)[:300]}")


@contextmanager
def serving(
    words: Sequence[str], says: str, url: str = "", settings: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A server of its own process until the end; its address, which it says itself or which was chosen.

    says      what to find the address by in what it writes; "" waits until the address answers
    settings  of its environment, beside this process's
    """
    if shutil.which(words[0]) is None:
        raise FileNotFoundError(f"{words[0]} is not there; name the program of an environment that has it")
    pipe = subprocess.PIPE if says else subprocess.DEVNULL
    environment = {**os.environ, "ANONYMIZED_TELEMETRY": "False", **(settings or {})}
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=pipe, text=True, env=environment) as process:
        try:
            if says:
                url = _told(process, says)
            else:
                _wait(url, process)
            yield url
        finally:
            process.terminate()
            if process.stderr is not None:
                process.stderr.read()


def _told(process: subprocess.Popen[str], says: str) -> str:
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:  # a library may warn first
        if found := re.search(says, line):
            return found[0]
        seen += line
    raise RuntimeError(f"the server did not start: {seen[-1000:]}")


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
