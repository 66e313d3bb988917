"""FactStream: of facts that change and are repeated, what is stale, lost, doubled or invented, without and with sleep?

The dialogue is generated (`factstream.py`), so the truth is known at every moment. Reported on held-out templates: the
rules of sleep were written with the other half in sight. A night follows every fourth session, as it would in use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.factstream import FactStream, score
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.records import Engram

TOP_K = 10
NIGHT_EVERY = 4  # sessions
USER = "stream"


class Facts(Benchmark):
    """Rates over generated dialogues: plain dense search, slowwave without sleep, slowwave with it.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    seeds     how many dialogues, seeded from `seed` on
    half      which templates: held-out, tuning, all
    sessions  in each dialogue
    """

    name = "factstream"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        embedder: str | None = None,
        seeds: int = 5,
        half: Literal["held-out", "tuning", "all"] = "held-out",
        sessions: int = 12,
    ) -> None:
        super().__init__(quick, seed, out)
        self.embedder = embedder
        self.seeds = seeds
        self.half = half
        self.sessions = sessions

    def measure(self, progress: Progress) -> Result:
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        seeds = range(self.seed, self.seed + (1 if self.quick else self.seeds))
        rows: dict[str, list[dict[str, float]]] = {}
        turns = questions = 0
        for done, seed in enumerate(seeds):
            progress("dialogues", done, len(seeds))
            stream = FactStream(seed=seed, sessions=4 if self.quick else self.sessions, half=self.half)
            turns += len(stream.turns)
            questions += len(stream.questions)
            rows.setdefault("dense, newest of equals first", []).append(score(stream, nearest(stream, embedder)))
            for name, sleeps in (("slowwave", False), ("slowwave, after sleep", True)):
                for cut, threshold in (("", 0.0), (", default threshold", None)):
                    rows.setdefault(name + cut, []).append(lived(stream, embedder, sleeps, threshold))
        embedder.close()
        progress("dialogues", len(seeds), len(seeds))
        return {
            "encoder": model_of(embedder),
            "counts": {"dialogues": len(seeds), "turns": turns, "questions": questions},
            "rates": {
                row: {name: spread([one.get(name) for one in each]) for name in NAMES} for row, each in rows.items()
            },
        }

    def render(self, result: Result) -> str:
        counts = ", ".join(f"{n} {what}" for what, n in result["counts"].items())
        width = max(map(len, result["rates"]))
        names = [name for name in NAMES if any(row[name]["mean"] is not None for row in result["rates"].values())]
        lines = [f"FactStream, {self.half} templates: {counts} (mean, and lowest to highest over the dialogues)", ""]
        lines.append("  ".join(["".ljust(width), *(name.rjust(19) for name in names)]))
        for row, values in result["rates"].items():
            cells = [
                "-" if (v := values[name])["mean"] is None else f"{v['mean']:.3f} ({v['low']:.2f}-{v['high']:.2f})"
                for name in names
            ]
            lines.append("  ".join([row.ljust(width), *(cell.rjust(19) for cell in cells)]))
        return "\n".join(lines)


NAMES = (
    "stale_rate",
    "lost_rate",
    "evidence_lost_rate",
    "at_date_right",
    "history_whole",
    "invented_rate",
    "duplicate_rate",
)


def lived(stream: FactStream, embedder: Embedder, sleeps: bool, threshold: float | None) -> dict[str, float]:
    """One dialogue taken in session by session, with its nights, then asked."""
    now = [stream.turns[0].at]
    sessions = list(dict.fromkeys(turn.session for turn in stream.turns))
    items = stream.items()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "memory.db"
        with Memory(path, embedder=embedder, clock=lambda: now[0], durable=False) as memory:
            for number, session in enumerate(sessions, 1):
                said = [item for item in items if item.session == session]
                now[0] = max(item.at for item in said if item.at is not None) + timedelta(hours=1)
                memory.add(said, user_id=USER)
                if sleeps and (number % NIGHT_EVERY == 0 or number == len(sessions)):
                    now[0] += timedelta(hours=12)
                    memory.sleep(user_id=USER)
            answers = {}
            for q in stream.questions:
                when: dict[str, Any] = {} if q.as_of is None else {"at": q.as_of, "now": q.as_of}
                hits = memory.search(q.text, user_id=USER, top_k=TOP_K, threshold=threshold, note_use=False, **when)
                answers[q.id] = [hit.text for hit in hits]
            return score(stream, answers, standing(memory.list(at=now[0], limit=None, user_id=USER)))


def standing(engrams: Sequence[Engram]) -> list[str]:
    """The statements that a memory holds now, each told once: what another one was made from is not told again."""
    told = {id_ for engram in engrams if engram.kind == "fact" for id_ in engram.sources}
    return [engram.text for engram in engrams if engram.kind in ("episode", "fact") and engram.id not in told]


def nearest(stream: FactStream, embedder: Embedder) -> dict[str, list[str]]:
    """Cosine alone over what was said; dated questions see what was said by then."""
    rows = embedder.embed([f"{turn.speaker}: {turn.text}" for turn in stream.turns])
    out = {}
    for q in stream.questions:
        scores = rows @ embedder.embed([q.text])[0]
        if q.as_of is not None:
            scores = np.where([turn.at <= q.as_of for turn in stream.turns], scores, -2)
        best = np.lexsort((-np.arange(len(scores)), -scores))[:TOP_K]
        out[q.id] = [stream.turns[place].text for place in best if scores[place] > -2]
    return out


def spread(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean, lowest and highest; None where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": None, "low": None, "high": None}
    return {"mean": round(float(np.mean(known)), 4), "low": round(min(known), 4), "high": round(max(known), 4)}
