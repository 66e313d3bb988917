"""A benchmark of evidence retrieval: conversations in, the table of all rows out; each data set says how to read it."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.baselines import baseline_rows
from slowwave.bench.datasets import CachedEmbedder, data_root, fingerprints
from slowwave.bench.metrics import Floats, table
from slowwave.bench.retrieval import COUNTER, Conversation, as_text, by_kind, judged, labels
from slowwave.bench.system import Filled
from slowwave.models import resolve_embedder

BASELINE = "dense"
Rows = dict[str, dict[str, Floats]]


class EvidenceBenchmark(Benchmark):
    """Recall of labelled evidence by recency, BM25, dense search, rank fusion, and slowwave before and after a night.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    sleep     also measure after a night
    """

    title: ClassVar[str]
    shown: ClassVar[tuple[str, ...]]  # metrics of the printed table, the main one first
    dated: ClassVar[bool] = True  # whether the data says when things were said

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        embedder: str | None = None,
        sleep: bool = True,
    ) -> None:
        super().__init__(quick, seed, out)
        self.embedder = embedder
        self.sleep = sleep

    @abstractmethod
    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        """The conversations, the files they came from; `counts` notes what was mended or left out."""

    def parts(self, names: NDArray[np.str_], kinds: NDArray[np.str_]) -> Mapping[str, NDArray[np.bool_]]:
        """Which questions each table is over."""
        return {"all": np.ones(len(names), dtype=bool)}

    def more(self, filled: Filled, conversations: Sequence[Conversation]) -> Result:
        """Whatever else this benchmark measures on the filled memory, before it sleeps."""
        return {}

    def measure(self, progress: Progress) -> Result:
        counts: Counter[str] = Counter()
        conversations, files = self.read(counts)
        if self.quick:
            conversations = [shortened(c, 60, 12) for c in conversations[:1]]
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        baselines = baseline_rows(conversations, embedder, lambda n, of: progress("baselines", n, of), self.dated)
        rows: Rows = {name: judged(conversations, rankings) for name, rankings in baselines.items()}
        out: Result = {
            "encoder": model_of(embedder),
            "tokens": COUNTER,
            "data": fingerprints(files, data_root()),
            "counts": {"conversations": len(conversations), **counts},
        }

        def step(done: int, total: int) -> None:
            progress("ask", done, total)

        with Filled(conversations, embedder, lambda n, of: progress("add", n, of)) as filled:
            rows["slowwave"] = judged(conversations, filled.rank(step))
            rows["slowwave, default threshold"] = judged(conversations, filled.rank(step, threshold=None))
            out |= self.more(filled, conversations)
            if self.sleep:
                out["sleep"] = filled.sleep(lambda n, of: progress("sleep", n, of))
                rows["slowwave, after sleep"] = judged(conversations, filled.rank(step))
                rows["slowwave, after sleep, episodes"] = judged(conversations, filled.rank(step, kinds=("episode",)))
        embedder.close()
        return out | self._tables(conversations, rows)

    def _tables(self, conversations: Sequence[Conversation], rows: Rows) -> Result:
        names, kinds, wrong = labels(conversations)
        parts = {part: chosen for part, chosen in self.parts(names, kinds).items() if chosen.any()}
        if wrong.any():
            parts["audited labels left out"] = next(iter(parts.values())) & ~wrong
        return {
            "parts": {part: table(rows, names, chosen, BASELINE, self.seed) for part, chosen in parts.items()},
            "kinds": by_kind(rows, kinds, np.ones(len(kinds), dtype=bool), self.shown),
        }

    def render(self, result: Result) -> str:
        main = self.shown[0]
        counts = ", ".join(f"{n} {what}" for what, n in result["counts"].items())
        blocks = [f"{self.title}: {counts}"]
        for part, rows in result["parts"].items():
            blocks.append(as_text(rows, self.shown, f"{part}, n={rows[BASELINE][main]['n']}", BASELINE))
        kinds = [
            f"  {kind} (n={rows[BASELINE]['n']}): " + "; ".join(f"{row} {v[main]:.3f}" for row, v in rows.items())
            for kind, rows in result["kinds"].items()
        ]
        blocks.append(f"{main} by kind\n" + "\n".join(kinds))
        blocks.append("\n".join(self.remarks(result)))
        return "\n\n".join(blocks)

    def remarks(self, result: Result) -> list[str]:
        """Lines below the tables."""
        values: dict[str, Any] = next(iter(result["parts"].values()))["slowwave, default threshold"]
        returned, nothing = values["returned"]["mean"], values["nothing"]["mean"]
        out = [f"default threshold: {returned:.1f} results a question, none for {nothing:.1%}"]
        if "sleep" in result:
            out.append("one night: " + (", ".join(f"{n} {verb}" for verb, n in result["sleep"].items()) or "no change"))
        return out


def shortened(conversation: Conversation, items: int, questions: int) -> Conversation:
    """The first items, and questions whose evidence lies in them."""
    kept = set(conversation.units[:items])
    asked = [q for q in conversation.questions if kept.issuperset(q.evidence)][:questions]
    first = conversation.items[:items]
    return Conversation(conversation.name, first, conversation.units[:items], tuple(asked), conversation.asked)
