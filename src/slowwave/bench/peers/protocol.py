"""What every peer script runs: the phases at each size, each in a fresh process, and the kill test; JSON at the end."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.peers.contract import Inputs, Peer, read_jsonl
from slowwave.bench.peers.phases import TOP_K, Bench
from slowwave.models.base import Embedder

KILLS = 10
KILL_WITHIN = 300  # records a writer may acknowledge before it is killed
MARK = "RESULT "
TIE = 1e-6  # of a cosine in float32


def main(peer: type[Peer], embedder: Embedder | None = None, argv: list[str] | None = None) -> None:
    """Read the command line and run; `embedder` replaces the default MiniLM in tests."""
    args = _parser(peer).parse_args(argv)
    if args.phase:
        _phase(peer, embedder, args)
        return
    result = _Run(peer, args).all()
    Path(args.out).write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(json.dumps(result))


def _parser(peer: type[Peer]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=f"Measure {peer.name} by the protocol that all peers share.")
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000], help="records; none: the kills alone")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=60.0, help="cap on a load; searches and adds get a quarter")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--scratch", type=Path, default=None, help="folder for the stores; they are removed")
    parser.add_argument("--out", default="result.json")
    parser.add_argument("--phase", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, default=0, help=argparse.SUPPRESS)
    return parser


def _phase(peer: type[Peer], embedder: Embedder | None, args: argparse.Namespace) -> None:
    """The part of one child process: its result is the last line it prints."""
    if embedder is None:
        from slowwave.models.onnx import OnnxEmbedder

        embedder = OnnxEmbedder(threads=args.threads)
    bench = Bench(peer, embedder, Inputs(args.texts, args.queries, args.vectors), args.threads, args.seconds)
    out: dict[str, Any] = {}
    if args.phase == "load":
        out = bench.load(args.folder, args.n)
    elif args.phase == "search":
        out = bench.search(args.folder)
    elif args.phase == "adds":
        out = bench.adds(args.folder)
    elif args.phase == "writer":
        bench.writer(args.folder, args.n)
    else:
        out = bench.survivors(args.folder, args.n)
    print(MARK + json.dumps({**out, "network_attempts": bench.network_attempts}), flush=True)


class _Run:
    """The parent's part: starts the phases one after the other and judges what they found."""

    def __init__(self, peer: type[Peer], args: argparse.Namespace) -> None:
        self.peer = peer
        self.args = args
        self.network: set[str] = set()
        self.records = sum(not row["extra"] for row in read_jsonl(args.texts))
        threads = str(args.threads)
        self.env = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONWARNINGS": "ignore",
        }

    def all(self) -> dict[str, Any]:
        """Every size, then the kills."""
        with tempfile.TemporaryDirectory(dir=self.args.scratch, ignore_cleanup_errors=True) as name:
            scratch = Path(name)
            sizes = {str(n): self.size(scratch, n) for n in self.args.sizes}
            kills = self.kills(scratch)
        return {
            "peer": self.peer.name,
            "versions": {name: _version(name) for name in ("slowwave", *self.peer.packages)},
            "notes": list(self.peer.notes),
            "sizes": sizes,
            "kills": kills,
            "network_attempts": sorted(self.network),
            "threads": self.args.threads,
            "seconds_cap": self.args.seconds,
            "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def size(self, scratch: Path, n: int) -> dict[str, Any]:
        """Load, search and adds at one size. A phase that fails is written down as such."""
        folder = scratch / f"store-{n}"
        load = self.child("load", folder, n)
        if "failed" in load:
            return {"load": load}
        search = self.child("search", folder, n)
        for ask in search.values():
            if isinstance(ask, dict) and "found" in ask:
                ask |= self.judge(load["records"], ask["user"], ask.pop("found"))
        adds = self.child("adds", folder, n)
        shutil.rmtree(folder, ignore_errors=True)
        return {"load": load, "search": search, "adds": adds}

    def judge(self, n: int, user: str, found: list[list[str]]) -> dict[str, Any]:
        """How many of the exact nearest were found, how many came back, how many were another user's."""
        inputs = Inputs(self.args.texts, self.args.queries, self.args.vectors)
        rows = [row for _, row in zip(range(n), read_jsonl(inputs.texts), strict=False)]
        mine = [i for i, row in enumerate(rows) if row["user"] == user]
        if not mine or not found:
            return {"recall_at_10": None}
        scores = inputs.cues()[1][: len(found)] @ inputs.rows(0, n)[mine].T
        top = min(TOP_K, len(mine))
        least = np.sort(scores, axis=1)[:, -top] - TIE  # whatever ties with the last of the nearest is as near
        column = {rows[i]["text"]: at for at, i in enumerate(mine)}
        owner = {row["text"]: row["user"] for row in rows}
        recall = [
            min(top, sum(scores[cue, column[text]] >= least[cue] for text in set(texts) if text in column)) / top
            for cue, texts in enumerate(found)
        ]
        return {
            "recall_at_10": round(float(np.mean(recall)), 4),
            "returned_mean": round(float(np.mean([len(texts) for texts in found])), 2),
            "other_users_texts": sum(owner.get(text) != user for texts in found for text in texts),
        }

    def kills(self, scratch: Path) -> dict[str, Any]:
        """Kill a writer in mid-stream, at a random moment each time, and count what it had acknowledged and lost."""
        rng = random.Random(0)
        rounds: list[dict[str, Any]] = []
        for turn in range(self.args.kills):
            folder = scratch / f"kill-{turn}"
            acknowledged, why = self.kill_one(
                folder, rng.randrange(10, min(KILL_WITHIN, self.records)), rng.random() * 0.02
            )
            if why:  # a writer that stopped by itself says nothing of what a kill does
                rounds.append({"acknowledged": acknowledged, "failed": why})
            else:
                rounds.append({"acknowledged": acknowledged, **self.child("survivors", folder, acknowledged)})
            shutil.rmtree(folder, ignore_errors=True)
        valid = [r for r in rounds if "failed" not in r]
        return {
            "rounds": len(valid),
            "failed_rounds": len(rounds) - len(valid),
            "acknowledged": sum(r["acknowledged"] for r in valid),
            "lost": sum(r.get("lost", r["acknowledged"]) for r in valid),
            "would_not_open": sum(not r["opens"] for r in valid),
            "rounds_with_loss": sum(r.get("lost", r["acknowledged"]) > 0 for r in valid),
            "each": rounds,
        }

    def kill_one(self, folder: Path, after: int, wait_s: float) -> tuple[int, str]:
        """Start a writer and kill -9 it a moment after so many acknowledgements.

        returns  how many it gave in all, and why it ended before its time; "" if it was killed as meant
        """
        acks, killed = 0, False
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
            command = self.command("writer", folder, self.records)
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=self.env)
            assert child.stdout is not None
            for line in child.stdout:
                acks += line.startswith("ack ")
                if acks == after and not killed and child.poll() is None:
                    time.sleep(wait_s)
                    killed = child.poll() is None
                    child.kill()
            child.wait()
            errors.seek(0)
            why = f"exit {child.returncode}: {errors.read().strip()[-300:]}"
        return acks, "" if killed else why

    def command(self, phase: str, folder: Path, n: int) -> list[str]:
        """The same script again, for one phase."""
        a = self.args
        inputs = ["--texts", a.texts, "--queries", a.queries, "--vectors", a.vectors]
        limits = ["--threads", a.threads, "--seconds", a.seconds]
        script = str(Path(sys.modules["__main__"].__file__ or "").resolve())
        tail = ["--phase", phase, "--folder", folder, "--n", n]
        return [sys.executable, script, *map(str, [*inputs, *limits, *tail])]

    def child(self, phase: str, folder: Path, n: int) -> dict[str, Any]:
        """Run one phase to its end; {"failed": why} if it gives no result."""
        done = subprocess.run(self.command(phase, folder, n), capture_output=True, text=True, env=self.env, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
        if not lines:
            return {"failed": f"exit {done.returncode}: {done.stderr.strip()[-600:]}"}
        out: dict[str, Any] = json.loads(lines[-1][len(MARK) :])
        if hasattr(os, "getloadavg"):
            out["machine_load"] = round(os.getloadavg()[0], 2)  # others' work shows here, and explains odd numbers
        self.network |= set(out.pop("network_attempts"))
        return out


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"
