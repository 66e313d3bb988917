"""What is measured of a peer, each phase in a process of its own: load, search, adds, and a writer to be killed."""

from __future__ import annotations

import importlib
import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.peers.contract import BLOCK, LARGE, SMALL, Encoder, Inputs, Peer, user_of
from slowwave.models.base import Embedder

TOP_K = 10
BATCHES, SINGLES = 5, 100  # blocks, and texts one at a time, added to a full store
WARM_UP = 3


class Bench:
    """One process's share of the work on one peer.

    threads  for the encoder and for the peer
    seconds  a cap on the load; each kind of search and of add may take a quarter of it. What was cut short says so
    """

    def __init__(self, peer: type[Peer], embedder: Embedder, inputs: Inputs, threads: int, seconds: float) -> None:
        self.peer = peer
        self.encoder = Encoder(embedder)
        self.inputs = inputs
        self.threads = threads
        self.seconds = seconds
        self.network_attempts = _no_network()

    def load(self, folder: Path, n: int) -> dict[str, Any]:
        """Fill a new store with n records whose vectors are known, a block at a time."""
        importlib.import_module(self.peer.module)
        imported_mb = rss_peak_mb()
        store = self._open(folder)
        clock, seconds, done = time.perf_counter, 0.0, 0
        laps: list[tuple[int, float]] = []
        for texts, user, rows in self.inputs.blocks(n):
            self.encoder.know(texts, rows)
            start = clock()
            store.load(texts, user)
            lap = clock() - start
            seconds += lap
            done += len(texts)
            laps.append((len(texts), lap))
            if seconds > self.seconds:
                break
        start = clock()
        store.flush()
        seconds += clock() - start
        store.close()
        tail = laps[-10:]
        return {
            "asked": n,
            "records": done,
            "cut_by_cap": done < n,
            "seconds": round(seconds, 3),
            "adds_per_s": _rate(done, seconds),
            "last_blocks_adds_per_s": _rate(sum(k for k, _ in tail), sum(s for _, s in tail)),
            "texts_encoded": self.encoder.encoded,
            "rss_imported_mb": imported_mb,
            "rss_peak_mb": rss_peak_mb(),
            "bytes_per_record": round(_bytes(folder) / max(1, done), 1),
        }

    def search(self, folder: Path) -> dict[str, Any]:
        """Open an existing store and search it: time to the first result, then each cue, in the large and small scope.

        `found` holds the texts for the caller to judge; recall is not worked out here, for its memory would count.
        """
        cues, rows = self.inputs.cues()
        before_mb = rss_peak_mb()
        start = time.perf_counter()
        importlib.import_module(self.peer.module)
        import_s = time.perf_counter() - start
        self.encoder.know(cues, rows)
        start = time.perf_counter()
        store = self._open(folder)
        store.search(cues[0], LARGE, TOP_K)
        open_s = time.perf_counter() - start
        out = {
            "import_s": round(import_s, 4),
            "open_to_first_result_s": round(open_s, 4),
            "records_after_reopen": store.count(),
            "known_vector_large_scope": self._ask(store, cues, LARGE),
            "known_vector_small_scope": self._ask(store, cues, SMALL),
        }
        out["texts_encoded"] = self.encoder.encoded
        out["rss_before_mb"], out["rss_peak_mb"] = before_mb, rss_peak_mb()
        self.encoder.know([], rows[:0])
        out["bare_encoder"] = self._time(cues, lambda cue: self.encoder([cue]))
        out["encoded_large_scope"] = self._ask(store, cues, LARGE)
        store.close()
        return out

    def adds(self, folder: Path) -> dict[str, Any]:
        """Durable adds to a store that is full already, against the bare encoder on the same texts, turn about."""
        texts, rows = self.inputs.extras()
        per_mode = BATCHES * BLOCK + SINGLES
        if len(texts) < 2 * per_mode:
            raise ValueError(f"{len(texts)} extra texts are not enough; {2 * per_mode} are needed")
        importlib.import_module(self.peer.module)
        self.encoder.know([], rows[:0])
        self.encoder(texts[:1])
        store = self._open(folder)
        out: dict[str, Any] = {"bare_fsync_ms": _fsync_ms(folder.parent)}
        for mode, part in (("encoded", slice(0, per_mode)), ("known_vector", slice(per_mode, 2 * per_mode))):
            mine = texts[part]
            if mode == "known_vector":
                self.encoder.know(mine, rows[part])
            batches = [mine[i : i + BLOCK] for i in range(0, BATCHES * BLOCK, BLOCK)]
            singles = [[text] for text in mine[BATCHES * BLOCK :]]
            out[f"{mode}_batch"] = self._add(store, batches, against_encoder=mode == "encoded")
            out[f"{mode}_single"] = self._add(store, singles, against_encoder=mode == "encoded")
        store.close()
        return out

    def writer(self, folder: Path, n: int) -> None:
        """Add records one at a time and say so after each, until someone kills this process."""
        importlib.import_module(self.peer.module)
        store = self._open(folder)
        row = 0
        for texts, user, rows in self.inputs.blocks(n):
            self.encoder.know(texts, rows)
            for text in texts:
                store.add([text], user)
                print(f"ack {row}", flush=True)
                row += 1
        time.sleep(60)  # out of records before the kill came: to close in good order would be no kill

    def survivors(self, folder: Path, acknowledged: int) -> dict[str, Any]:
        """Open what a killed writer left, and look for each record that it had acknowledged."""
        try:
            store = self._open(folder)
            kept = store.count()
        except Exception as error:  # noqa: BLE001 - any failure to open is the result
            return {"opens": False, "error": f"{type(error).__name__}: {error}"[:300]}
        missing, first_error, row = 0, "", 0
        for texts, _, rows in self.inputs.blocks(acknowledged):
            self.encoder.know(texts, rows)
            for text in texts:
                try:
                    missing += text not in store.search(text, user_of(row), 3)
                except Exception as error:  # noqa: BLE001 - a record that cannot be read back is lost
                    missing, first_error = missing + 1, first_error or f"{type(error).__name__}: {error}"[:300]
                row += 1
        return {"opens": True, "records": kept, "acknowledged": acknowledged, "lost": missing, "error": first_error}

    def _open(self, folder: Path) -> Peer:
        return self.peer(folder, self.encoder, self.threads)

    def _ask(self, store: Peer, cues: list[str], user: str) -> dict[str, Any]:
        found: list[list[str]] = []
        out = self._time(cues, lambda cue: found.append(store.search(cue, user, TOP_K)))
        return {**out, "user": user, "found": found[WARM_UP:]}

    def _time(self, cues: list[str], ask: Callable[[str], Any]) -> dict[str, Any]:
        for cue in cues[:WARM_UP]:
            ask(cue)
        spent: list[float] = []
        for cue in cues:
            start = time.perf_counter()
            ask(cue)
            spent.append(time.perf_counter() - start)
            if sum(spent) > self.seconds / 4:
                break
        p50, p99 = np.percentile(np.array(spent) * 1000, [50, 99])
        return {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3), "queries": len(spent)}

    def _add(self, store: Peer, groups: list[list[str]], against_encoder: bool) -> dict[str, Any]:
        """Time each group; where asked, the bare encoder on the same group just before, then just after, and so on."""
        clock, spent, bare, done = time.perf_counter, 0.0, 0.0, 0
        for turn, group in enumerate(groups):
            for encoding in (True, False) if turn % 2 else (False, True):
                if encoding and not against_encoder:
                    continue
                start = clock()
                if encoding:
                    self.encoder(group)
                    bare += clock() - start
                else:
                    store.add(group, LARGE)
                    spent += clock() - start
            done += len(group)
            if spent > self.seconds / 4:
                break
        out: dict[str, Any] = {"texts": done, "adds_per_s": _rate(done, spent)}
        if against_encoder:
            out |= {"encoder_per_s": _rate(done, bare), "of_encoder": round(bare / spent, 4)}
        return out


def rss_peak_mb() -> float:
    """The most memory this process has held so far, in MB; 0.0 where the system does not say."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count the parent's memory from before exec
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024, 1)
    try:
        import resource
    except ImportError:
        return 0.0
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)  # bytes on macOS


def _no_network() -> list[str]:
    """Refuse every connection that leaves the machine, from Python code, and keep a list of those tried."""
    tried: list[str] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            tried.append(str(address))
            raise OSError(f"no network in a measured run; {address} was asked for")
        connect(self, address)

    socket.socket.connect = guarded  # type: ignore[method-assign, assignment]
    return tried


def _fsync_ms(folder: Path) -> float:
    """What this disk asks for one durable write of a vector's size: the median of 30, in ms."""
    spent = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(30):
            start = time.perf_counter()
            file.write(bytes(2048))
            file.flush()
            os.fsync(file.fileno())
            spent.append((time.perf_counter() - start) * 1000)
    return round(float(np.median(spent)), 3)


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 2) if seconds else 0.0


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
