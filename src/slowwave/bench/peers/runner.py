"""Runs peer scripts one after the other on the same files: writes the inputs, starts each script, reads its result."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench import corpus
from slowwave.bench.peers import environment
from slowwave.bench.peers.contract import BLOCK, Inputs, user_of
from slowwave.bench.peers.environment import PeersError
from slowwave.bench.peers.phases import BATCHES, SINGLES
from slowwave.models.base import Embedder

_HERE = Path(__file__).parent
SCRIPTS: Mapping[str, Path] = {
    "chromadb": _HERE / "chromadb_peer.py",
    "mem0ai": _HERE / "mem0_peer.py",
    "txtai": _HERE / "txtai_peer.py",
}
EXTRAS = 2 * (BATCHES * BLOCK + SINGLES)


def write_inputs(
    folder: Path,
    records: int,
    embedder: Embedder,
    queries: int = 200,
    seed: int = 0,
    books: Path | None = None,
    cache: Path | None = None,
) -> Inputs:
    """Put the corpus and its vectors into a folder, in the form that the scripts read."""
    folder.mkdir(parents=True, exist_ok=True)
    extras, cues = corpus.extras(EXTRAS, seed, books), corpus.queries(queries, seed, books)
    rows = [{"text": t, "user": user_of(i), "extra": False} for i, t in enumerate(corpus.texts(records, seed, books))]
    rows += [{"text": text, "user": user_of(0), "extra": True} for text in extras]
    vectors = [
        corpus.vectors(records, embedder, seed, books, cache),
        corpus.encoded(extras, embedder, cache),
        corpus.encoded(cues, embedder, cache),
    ]
    inputs = Inputs(folder / "texts.jsonl", folder / "queries.jsonl", folder / "vectors.npy")
    inputs.texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    inputs.queries.write_text("".join(json.dumps({"text": cue}) + "\n" for cue in cues), encoding="utf-8")
    np.save(inputs.vectors, np.concatenate(vectors))
    return inputs


def run_peer(
    script: Path,
    inputs: Inputs,
    sizes: Sequence[int],
    out: Path,
    python: Path | None = None,
    threads: int = 2,
    seconds: float = 60.0,
    kills: int = 10,
) -> dict[str, Any]:
    """Run one peer's script and return what it wrote to `out`.

    python   the interpreter of the peers' environment; None takes this one
    seconds  the cap on a load; each kind of search and of add gets a quarter of it
    raises   PeersError if the script wrote nothing
    """
    command: list[object] = [python or sys.executable, script, "--texts", inputs.texts, "--queries", inputs.queries]
    command += ["--vectors", inputs.vectors, "--sizes", *sizes, "--threads", threads, "--seconds", seconds]
    command += ["--kills", kills, "--out", out]
    out.unlink(missing_ok=True)
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode or not out.is_file():
        raise PeersError(f"{script.name} gave no result (exit {done.returncode}): {done.stderr.strip()[-800:]}")
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return result


def run(
    sizes: Sequence[int],
    folder: Path | None = None,
    scripts: Mapping[str, Path] = SCRIPTS,
    threads: int = 2,
    seconds: float = 60.0,
    seed: int = 0,
    results: Path | None = None,
) -> dict[str, Any]:
    """Every peer at every size: {"corpus": ..., "peers": {name: result, or {"failed": why}}}.

    folder   where the peers' environment is or will be; None takes ~/.slowwave/bench-peers
    results  where each peer's JSON stays; None keeps none
    """
    from slowwave.models.onnx import OnnxEmbedder

    python = environment.make(folder)
    embedder = OnnxEmbedder(threads=threads)
    peers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        inputs = write_inputs(Path(scratch), max(sizes), embedder, seed=seed, cache=corpus.default_cache())
        kept = results or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        for name, script in scripts.items():
            try:
                peers[name] = run_peer(script, inputs, sizes, kept / f"{name}.json", python, threads, seconds)
            except PeersError as error:  # one that fails does not take the others' results with it
                peers[name] = {"failed": str(error)}
    about = {"records": max(sizes), "joined_pairs": corpus.made_up(max(sizes)), "seed": seed, "encoder": embedder.name}
    return {"corpus": about, "peers": peers}


def _main() -> None:
    parser = argparse.ArgumentParser(description="Run the peers beside slowwave and print what they measured.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--folder", type=Path, help="the peers' environment")
    parser.add_argument("--results", type=Path, help="folder for each peer's JSON")
    parser.add_argument("--only", nargs="+", choices=sorted(SCRIPTS), default=list(SCRIPTS))
    parser.add_argument("--seconds", type=float, default=60.0, help="cap on a load; searches and adds get a quarter")
    args = parser.parse_args()
    scripts = {name: SCRIPTS[name] for name in args.only}
    found = run(args.sizes, args.folder, scripts, seconds=args.seconds, results=args.results)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    _main()
