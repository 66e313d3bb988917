"""Chats whose questions come without usable evidence labels: what can honestly be said of a search in them."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from pathlib import Path
from typing import ClassVar

import numpy as np

from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.datasets import CachedEmbedder, data_root, fingerprints
from slowwave.bench.evidence import shortened
from slowwave.bench.retrieval import COUNTER, Conversation
from slowwave.bench.system import Filled
from slowwave.models import resolve_embedder


class UnlabelledBenchmark(Benchmark):
    """Take in, ask, and count: no recall, because nothing says which records are right.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    """

    title: ClassVar[str]
    reason: ClassVar[str]  # why there is no recall

    def __init__(
        self, quick: bool = False, seed: int = 0, out: str | Path | None = None, embedder: str | None = None
    ) -> None:
        super().__init__(quick, seed, out)
        self.embedder = embedder

    @abstractmethod
    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        """The conversations, and the files they came from."""

    def measure(self, progress: Progress) -> Result:
        counts: Counter[str] = Counter()
        conversations, files = self.read(counts)
        if self.quick:
            conversations = [shortened(c, 40, 8) for c in conversations[:2]]
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        returned, tokens, spent = list[int](), list[int](), list[float]()
        with Filled(conversations, embedder, lambda n, of: progress("add", n, of)) as filled:
            for number, conversation in enumerate(conversations):
                progress("ask", number, len(conversations))
                start = time.perf_counter()
                answers = filled.ask(conversation, conversation, lambda n, of: None, threshold=None)
                spent.append((time.perf_counter() - start) / max(1, len(conversation.questions)))
                returned += [len(found) for found in answers]
                tokens += [sum(result.tokens for result in found[:10]) for found in answers]
            size = filled.bytes_on_disk
        embedder.close()
        records = sum(len(c.items) for c in conversations)
        return {
            "encoder": model_of(embedder),
            "tokens": COUNTER,
            "data": fingerprints(files, data_root()),
            "counts": {"conversations": len(conversations), "records": records, **counts},
            "recall": None,
            "why": self.reason,
            "at the default threshold": {
                "questions": len(returned),
                "get nothing": round(float(np.mean([n == 0 for n in returned])), 4) if returned else None,
                "results, median": float(np.median(returned)) if returned else None,
                "tokens of the first 10, median": float(np.median(tokens)) if tokens else None,
                "ms a search, encoding looked up": round(float(np.median(spent)) * 1000, 2),
            },
            "bytes per record": round(size / max(1, records)),
        }

    def render(self, result: Result) -> str:
        counts = ", ".join(f"{n} {what}" for what, n in result["counts"].items())
        lines = [f"{self.title}: {counts}", f"no recall: {result['why']}", "", "at the default threshold"]
        lines += [f"  {name}: {value}" for name, value in result["at the default threshold"].items()]
        return "\n".join([*lines, f"bytes per record: {result['bytes per record']}"])
