"""All text systems side by side: evidence recall on LoCoMo, rates on FactStream, and what each costs.

Every row gets the same tokens. LoCoMo runs without a language model. FactStream runs by rules, and with an oracle: a
stand-in for a model that returns the generator's truth, flipped in a share ε of its answers, so that a mechanism is
tested and not a model. The reference rows are the whole text, the newest turns, BM25 and plain dense search.
"""

from __future__ import annotations

import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.baselines import baseline_rows
from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.facts import NIGHT_EVERY, USER, spread, standing
from slowwave.bench.factstream import FactStream, score
from slowwave.bench.locomo import TUNED, Locomo
from slowwave.bench.metrics import interval
from slowwave.bench.partial import Partial
from slowwave.bench.retrieval import Conversation, Ranking, cost, judged, labels, printed
from slowwave.bench.system import Filled
from slowwave.bench.truth_pairs import oracle
from slowwave.errors import NotFoundError
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.models.llm import LLM
from slowwave.ops.packing import estimate_tokens
from slowwave.text import SYSTEMS, resolve_system

RULES = "rules"
REFERENCES = ("full text", "recency", "bm25", "dense")
RATES = (
    "stale_rate", "lost_rate", "at_date_right", "history_whole", "invented_rate", "duplicate_rate", "kept",
)  # fmt: skip
SHOWN = ("recall@500t", "recall@1000t")


class Systems(Benchmark):
    """One table over the text systems and the plain references.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    systems   names, apart by commas; None takes all
    seeds     FactStream dialogues, seeded from `seed` on
    errors    shares of the oracle's answers that are wrong
    budget    tokens that each FactStream question gets
    sessions  in each FactStream dialogue
    wording   of FactStream's questions; other than "plain", LoCoMo is left out. No rule was written against "otherwise"
    """

    name = "systems"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        embedder: str | None = None,
        systems: str | None = None,
        seeds: int = 5,
        errors: Sequence[float] = (0.0, 0.05, 0.2),
        budget: int = 300,
        sessions: int = 12,
        wording: Literal["plain", "otherwise", "development"] = "plain",
    ) -> None:
        super().__init__(quick, seed, out)
        self.wording = wording
        self.embedder = embedder
        self.systems = systems
        self.seeds = seeds
        self.errors = tuple(float(error) for error in errors)
        self.budget = budget
        self.sessions = sessions

    def measure(self, progress: Progress) -> Result:
        wanted = self.systems.split(",") if self.systems else ["default", "memos"] if self.quick else list(SYSTEMS)
        names = [resolve_system(name).name for name in wanted]
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        kept = Partial(self.out, {**self.settings(), "encoder": embedder.name})
        seeds = range(self.seed, self.seed + (1 if self.quick else self.seeds))
        streams = [
            FactStream(seed=seed, sessions=4 if self.quick else self.sessions, half="held-out", wording=self.wording)
            for seed in seeds
        ]
        conversations = _conversations(self.quick) if self.wording == "plain" else []
        rows: dict[str, dict[str, Any]] = {}
        for done, name in enumerate([*REFERENCES, *names]):
            progress("systems", done, len(REFERENCES) + len(names))
            if name in REFERENCES:
                row = kept.get(f"{name} locomo", partial(_reference_recall, name, conversations, embedder))
                facts = kept.get(f"{name} facts", partial(_reference_facts, name, streams, embedder, self.budget))
                rows[name] = {"locomo": row, "facts": {RULES: facts}}
                continue
            row = kept.get(f"{name} locomo", partial(_system_recall, name, conversations, embedder, self.seed))
            by_model: dict[str, Any] = {}
            for error in (None, *(self.errors[:1] if self.quick else self.errors)):
                label = RULES if error is None else f"ε = {error:g}"
                make = partial(_system_facts, name, streams, embedder, error, self.budget)
                by_model[label] = kept.get(f"{name} {label}", make)
            rows[name] = {"locomo": row, "facts": by_model}
        progress("systems", len(REFERENCES) + len(names), len(REFERENCES) + len(names))
        embedder.close()
        counts = {"conversations": len(conversations), "dialogues": len(streams)}
        return {"encoder": model_of(embedder), "counts": counts, "rows": rows}

    def run(self, progress: Progress = lambda stage, done, total: None) -> Result:
        result = super().run(progress)
        Partial(self.out, {}).finish()
        return result

    def render(self, result: Result) -> str:
        return "\n\n".join([*_recall_table(result["rows"]), *_facts_tables(result["rows"])])


def _conversations(quick: bool) -> list[Conversation]:
    """LoCoMo, adversarial questions left out; empty where the data is absent."""
    from slowwave.bench.evidence import shortened

    try:
        found, _ = Locomo(quick=quick).read(Counter())
    except NotFoundError:
        return []
    plain = [
        Conversation(c.name, c.items, c.units, tuple(q for q in c.questions if q.kind != "adversarial"), c.asked)
        for c in found
    ]
    return [shortened(c, 60, 12) for c in plain[:1]] if quick else plain


def _recall(conversations: Sequence[Conversation], rankings: Sequence[Ranking], seed: int = 0) -> dict[str, Any]:
    """Recall at token budgets on the conversations that nothing was chosen on, with intervals; on the others beside."""
    names, kinds, _ = labels(conversations)
    values = judged(conversations, rankings)
    apart = ~np.isin(names, TUNED) if len(set(names.tolist())) > 1 else np.ones(len(names), dtype=bool)
    out: dict[str, Any] = {m: interval(values[m][apart], names[apart], seed) for m in SHOWN}
    for kind in sorted(set(kinds.tolist())):
        mine = apart & (kinds == kind)
        out[f"{SHOWN[-1]}, {kind}"] = round(float(values[SHOWN[-1]][mine].mean()), 4) if mine.any() else None
    if (~apart).any():
        out["tuned on"] = {m: round(float(values[m][~apart].mean()), 4) for m in SHOWN}
    return out


def _reference_recall(name: str, conversations: Sequence[Conversation], embedder: Embedder) -> dict[str, Any] | None:
    if not conversations:
        return None
    if name == "full text":
        tokens = [sum(cost(item) for item in c.items) for c in conversations]
        return {"recall": 1.0, "tokens": round(float(np.mean(tokens)))}
    rows = baseline_rows(conversations, embedder, lambda done, total: None)
    return _recall(conversations, rows[name])


def _system_recall(
    name: str, conversations: Sequence[Conversation], embedder: Embedder, seed: int
) -> dict[str, Any] | None:
    """After a night, without a model; with the seconds that writing, sleeping and reading took."""
    if not conversations:
        return None

    def quiet(done: int, total: int) -> None:
        pass

    clock = [time.perf_counter()]

    def lap() -> float:
        clock.append(time.perf_counter())
        return round(clock[-1] - clock[-2], 2)

    with Filled(conversations, embedder, quiet, system=name) as filled:
        took = {"write_seconds": lap()}
        slept = filled.sleep(quiet)
        took["sleep_seconds"] = lap()
        rankings = filled.rank(quiet)
        took["read_ms"] = round(1000 * lap() / max(1, sum(len(c.questions) for c in conversations)), 2)
        size = filled.bytes_on_disk
    return {**_recall(conversations, rankings, seed), **took, "night": dict(slept), "bytes": size}


def _system_facts(
    name: str, streams: Sequence[FactStream], embedder: Embedder, error: float | None, budget: int
) -> dict[str, Any]:
    each = [lived(name, stream, embedder, error, budget) for stream in streams]
    return {key: spread([one.get(key) for one in each]) for key in each[0]}


def lived(
    system: str, stream: FactStream, embedder: Embedder, error: float | None, budget: int
) -> dict[str, float | None]:
    """One dialogue with its nights, then every question, each with the same tokens; rates, and what the nights cost."""
    llm = None if error is None else LLM(oracle(stream, error), retries=0)
    now = [stream.turns[0].at]
    items = stream.items()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "memory.db"
        with Memory(path, embedder=embedder, llm=llm, system=system, clock=lambda: now[0], durable=False) as memory:
            sessions = list(dict.fromkeys(turn.session for turn in stream.turns))
            for number, session in enumerate(sessions, 1):
                said = [item for item in items if item.session == session]
                now[0] = max(item.at for item in said if item.at is not None) + timedelta(hours=1)
                memory.add(said, user_id=USER)
                if number % NIGHT_EVERY == 0 or number == len(sessions):
                    now[0] += timedelta(hours=12)
                    memory.sleep(user_id=USER)
            answers = {}
            for q in stream.questions:
                when: dict[str, Any] = {} if q.as_of is None else {"at": q.as_of, "now": q.as_of}
                least = None if q.kind == "never_said" else 0.0  # whether anything bears on it is the system's to say
                made = memory.context(q.text, max_tokens=budget, threshold=least, note_use=False, user_id=USER, **when)
                answers[q.id] = [hit.text for hit in made.hits]
            held = memory.list(at=now[0], limit=None, user_id=USER)
            out: dict[str, float | None] = dict(score(stream, answers, standing(held)))
            out["kept"] = float(len(held))
    spent = None if llm is None else llm.total()
    out["calls"] = None if spent is None else float(spent.calls)
    out["tokens_in"] = None if spent is None else float(spent.tokens_in)
    out["tokens_out"] = None if spent is None else float(spent.tokens_out)
    return out


def _reference_facts(name: str, streams: Sequence[FactStream], embedder: Embedder, budget: int) -> dict[str, Any]:
    each = [score(stream, _plain_answers(name, stream, embedder, budget)) for stream in streams]
    return {key: spread([one[key] for one in each]) for key in each[0]}


def _plain_answers(name: str, stream: FactStream, embedder: Embedder, budget: int) -> dict[str, list[str]]:
    """Texts for each question, best first, within the budget (the whole text has none, newest first)."""
    vectors = embedder.embed([f"{turn.speaker}: {turn.text}" for turn in stream.turns])
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE f USING fts5(t, tokenize='porter unicode61')")
    db.executemany(
        "INSERT INTO f(rowid, t) VALUES (?, ?)", [(n, f"{t.speaker}: {t.text}") for n, t in enumerate(stream.turns)]
    )
    out: dict[str, list[str]] = {}
    for q in stream.questions:
        if name == "dense":
            order = [int(n) for n in np.lexsort((-np.arange(len(vectors)), -(vectors @ embedder.embed([q.text])[0])))]
        elif name == "bm25":
            words = " OR ".join(f'"{word}"' for word in q.text.replace("'", " ").replace("?", " ").split())
            sql = "SELECT rowid FROM f WHERE f MATCH ? ORDER BY bm25(f), rowid DESC"
            order = [n for (n,) in db.execute(sql, [words])]
        else:
            order = list(range(len(stream.turns) - 1, -1, -1))
        seen = [stream.turns[n] for n in order if q.as_of is None or stream.turns[n].at <= q.as_of]
        if name != "full text":
            seen = _within(seen, budget)
        out[q.id] = [turn.text for turn in seen]
    db.close()
    return out


def _within(turns: Sequence[Any], budget: int) -> list[Any]:
    used, out = 0, []
    for turn in turns:
        price = estimate_tokens(printed(turn.text, turn.speaker, turn.at))
        if used + price <= budget:
            used += price
            out.append(turn)
    return out


def _recall_table(rows: Mapping[str, Any]) -> list[str]:
    if all(row["locomo"] is None for row in rows.values()):
        return ["LoCoMo: left out"]
    head = "".join(f"{column:>26}" for column in SHOWN) + "".join(f"{key.split('_')[0]:>9}" for key in TOOK)
    lines = [f"{'LoCoMo, after a night by rules':<32}{head}"]
    for name, row in rows.items():
        found = row["locomo"]
        if "recall" in found:
            lines.append(f"{name:<32}{'1.000 in ' + format(found['tokens'], ',') + ' tokens':>26}")
            continue
        cells = "".join(f"{_interval(found[metric]):>26}" for metric in SHOWN)
        took = "".join(f"{found[key]:>9.1f}" if key in found else f"{'-':>9}" for key in TOOK)
        lines.append(f"{name:<32}{cells}{took}")
    return ["\n".join(lines)]


TOOK = ("write_seconds", "sleep_seconds", "read_ms")


def _facts_tables(rows: Mapping[str, Any]) -> list[str]:
    labels_ = list(dict.fromkeys(label for row in rows.values() for label in row["facts"]))
    out = []
    for label in labels_:
        head = f"{'FactStream, ' + label:<32}" + "".join(f"{rate:>16}" for rate in (*RATES, "calls"))
        lines = [head]
        for name, row in rows.items():
            found = row["facts"].get(label)
            if found is None:
                continue
            cells = "".join(f"{_mean(found.get(rate)):>16}" for rate in (*RATES, "calls"))
            lines.append(f"{name:<32}{cells}")
        out.append("\n".join(lines))
    return out


def _interval(value: Mapping[str, Any]) -> str:
    bounds = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['mean']:.3f}{bounds}"


def _mean(value: Mapping[str, Any] | None) -> str:
    return "-" if value is None or value["mean"] is None else f"{value['mean']:.3f}".rstrip("0").rstrip(".")
