"""What a night costs in time as the store grows, and what months of forgetting cost in recall.

The cost: a store of 1,000, 10,000 and 100,000 records (sentences of novels, vectors known beforehand) sleeps once, then
gets 100 new records (every fifth one says again what is there already) and sleeps again, several times over. The second
number must not grow with the store: a sleep costs what is new, not what is old.

The recall: the LoCoMo conversations (where they are at hand) sleep, then go unused for months and sleep each month.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from slowwave.bench import corpus
from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.datasets import CachedEmbedder, KnownVectors, cache_folder, data_root
from slowwave.bench.locomo import KINDS, Locomo
from slowwave.bench.metrics import interval
from slowwave.bench.retrieval import Conversation, Question, judged
from slowwave.bench.system import Filled
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.records import Item

NEW = 100  # records between two nights
START = datetime(2024, 1, 1, 8, tzinfo=UTC)
A_SESSION = 25  # records


class SleepCost(Benchmark):
    """Seconds a night at several sizes, and recall after months without use.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    sizes     records before the nights that are timed
    nights    of them at each size; the median is told
    months    of forgetting
    """

    name = "sleep"
    needs = ("classic_books",)

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        embedder: str | None = None,
        sizes: Sequence[int] = (1_000, 10_000, 100_000),
        nights: int = 5,
        months: Sequence[int] = (1, 3, 6, 12),
    ) -> None:
        super().__init__(quick, seed, out)
        self.embedder = embedder
        self.sizes = tuple(sizes)
        self.nights = nights
        self.months = tuple(months)

    def measure(self, progress: Progress) -> Result:
        embedder = resolve_embedder("fake" if self.quick else self.embedder)
        sizes, nights = ((200, 400), 1) if self.quick else (self.sizes, self.nights)
        costs = {}
        for size in sizes:
            costs[str(size)] = self._cost(size, nights, embedder, progress)
        out: Result = {"encoder": model_of(embedder), "night": costs}
        if (data_root() / "locomo").is_dir():
            out["forgetting"] = self._forgetting(progress)
        return out

    def _cost(self, size: int, nights: int, embedder: Embedder, progress: Progress) -> Result:
        texts = corpus.texts(size, self.seed)
        fresh = iter(corpus.extras(NEW * nights, self.seed))
        cache = None if self.quick else cache_folder()
        known = KnownVectors(embedder)
        known.know(texts, corpus.vectors(size, embedder, self.seed, cache=cache))
        known.know(extra := corpus.extras(NEW * nights, self.seed), corpus.encoded(extra, embedder, cache))
        now = [START]
        spent, changed = list[float](), Counter[str]()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "memory.db"
            with Memory(path, embedder=known, clock=lambda: now[0], durable=False) as memory:
                for start in range(0, size, 5000):
                    progress(f"add {size}", start, size)
                    memory.add(_items(texts[start : start + 5000], start), user_id="ana")
                now[0] = START + timedelta(minutes=size + 60)
                begin = time.perf_counter()
                progress(f"first night of {size}", 0, 1)
                first = memory.sleep(user_id="ana")
                first_seconds = time.perf_counter() - begin
                for night in range(nights):
                    progress(f"nights at {size}", night, nights)
                    again = texts[night * 20 : night * 20 + NEW // 5]
                    new = [*(next(fresh) for _ in range(NEW - NEW // 5)), *(f"As I said: {text}" for text in again)]
                    known.know(new, embedder.embed(new))
                    memory.add(_items(new, size + night * NEW, now[0]), user_id="ana")
                    now[0] += timedelta(hours=24)
                    begin = time.perf_counter()
                    changed.update(memory.sleep(user_id="ana").counts)
                    spent.append(time.perf_counter() - begin)
        return {
            "seconds, median": round(float(np.median(spent)), 3),
            "seconds, each": [round(s, 3) for s in spent],
            "first night, seconds": round(first_seconds, 2),
            "first night, ms a record": round(first_seconds / size * 1000, 3),
            "first night, changes": dict(first.counts),
            "changes a night": {verb: round(n / nights, 1) for verb, n in changed.items()},
            "made-up vectors": corpus.made_up(size),
        }

    def _forgetting(self, progress: Progress) -> Result:
        bench = Locomo(quick=self.quick, seed=self.seed)
        conversations, _ = bench.read(Counter())
        conversations = [_without_adversarial(c, 30 if self.quick else None) for c in conversations]
        names = np.array([c.name for c in conversations for _ in c.questions])
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        out: Result = {}

        def note(label: str, filled: Filled) -> None:
            found = judged(conversations, filled.rank(lambda n, of: progress(label, n, of)))
            out[label] = {m: interval(found[m], names, self.seed) for m in ("recall@10", "recall@1000t")}

        with Filled(conversations, embedder, lambda n, of: progress("add", n, of)) as filled:
            note("before any night", filled)
            filled.sleep(lambda n, of: progress("sleep", n, of))
            note("after one night", filled)
            passed = 0
            for month in (1,) if self.quick else self.months:
                while passed < month:
                    filled.later(30)
                    filled.sleep(lambda n, of: progress("sleep", n, of))
                    passed += 1
                note(f"after {month} months unused", filled)
        embedder.close()
        return out

    def render(self, result: Result) -> str:
        lines = [f"A night after {NEW} new records", ""]
        lines.append(f"{'records':>9}  {'median s':>9}  {'first night s':>13}  {'ms a record':>11}  changes a night")
        for size, row in result["night"].items():
            changes = ", ".join(f"{n} {verb}" for verb, n in row["changes a night"].items()) or "none"
            lines.append(
                f"{int(size):>9,}  {row['seconds, median']:>9.3f}  {row['first night, seconds']:>13.1f}  "
                f"{row['first night, ms a record']:>11.2f}  {changes}"
            )
        if "forgetting" in result:
            lines += ["", "LoCoMo recall as time passes without use (records asked for at the end of the conversation)"]
            for label, row in result["forgetting"].items():
                cells = []
                for metric, v in row.items():
                    bounds = "" if v["low"] is None else f" ({v['low']:.3f} to {v['high']:.3f})"
                    cells.append(f"{metric} {v['mean']:.3f}{bounds}")
                lines.append(f"  {label}: {', '.join(cells)}")
        return "\n".join(lines)


def _items(texts: Sequence[str], start: int, at: datetime | None = None) -> list[Item]:
    """Records of sessions of 25, a minute apart."""
    return [
        Item(
            text,
            at=(at or START + timedelta(minutes=start)) + timedelta(minutes=n),
            session=f"s{(start + n) // A_SESSION}",
        )
        for n, text in enumerate(texts)
    ]


def _without_adversarial(conversation: Conversation, most: int | None) -> Conversation:
    questions: tuple[Question, ...] = tuple(q for q in conversation.questions if q.kind != KINDS[5])[:most]
    return Conversation(conversation.name, conversation.items, conversation.units, questions, conversation.asked)
