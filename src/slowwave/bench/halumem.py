"""HaluMem-style scores: where does a memory invent or lose things: extracting, updating, or answering?

Generated chats (`chats.py`) are fed one by one, a night after each; then what the memory holds is compared with what
was said, by slot and value, without a judge. What a memory makes counts as stored, the raw turns do not: they are kept
whatever happens. Source: HaluMem (Chen et al. 2025), whose data is not used; numbers compare within one table only.

    extraction   recall          share of the facts first said in a chat that the memory now holds, whole (2 of 2)
                 weighted        the same by importance, half credit where it does not say whose the value is (1 of 2)
                 precision       mean score / 2 of what was made and is about one of the user's slots
                 accuracy        the same over all that was made
                 resistance      share of the assistant's false claims that nothing holds
                 f1              of precision and recall
                 stored          records made and in view at the end; recall is bought by storing much
    updating     of the facts that changed: correct (the new value stands, the old one does not), hallucinated (a value
                 that was never said stands for the slot), omitted (anything else; `old beside new` says how many of
                 all were only not told apart)
    answering    of the questions, from as many tokens as the budget allows: correct, hallucinated (the first text with
                 a value has a wrong one), omitted (none has any)
    model        calls of the oracle for one user, and the share of them for which it has no truth: rules answer those
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.baselines import bm25, dense, recency
from slowwave.bench.chats import Chats
from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.facts import spread
from slowwave.bench.halumem_scores import ANSWERING, UPDATING, Book, answered
from slowwave.bench.partial import Partial
from slowwave.bench.retrieval import Conversation, cost
from slowwave.bench.retrieval import Question as Asked
from slowwave.bench.truth_pairs import oracle
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.models.llm import LLM
from slowwave.text import SYSTEMS, resolve_system

RULES = "rules"
REFERENCES = ("no memory", "full text", "recency", "bm25", "dense")
EXTRACTION = ("recall", "weighted", "precision", "accuracy", "resistance", "f1", "stored")
PARTS = {"extraction": EXTRACTION, "updating": UPDATING, "answering": ANSWERING, "model": ("calls", "no truth")}
Row = dict[str, dict[str, float | None]]


class HaluMem(Benchmark):
    """Extraction, updating and answering of every text system on generated chats, by rules and with an oracle.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    systems   names, apart by commas; None takes all
    users     generated, seeded from `seed` on
    chats     of each user
    errors    shares of the oracle's replies that are wrong
    budget    tokens that each question gets
    """

    name = "halumem"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        embedder: str | None = None,
        systems: str | None = None,
        users: int = 5,
        chats: int = 20,
        errors: Sequence[float] = (0.0, 0.05, 0.2),
        budget: int = 300,
    ) -> None:
        super().__init__(quick, seed, out)
        self.embedder = embedder
        self.systems = systems
        self.users = users
        self.chats = chats
        self.errors = tuple(float(error) for error in errors)
        self.budget = budget

    def measure(self, progress: Progress) -> Result:
        wanted = self.systems.split(",") if self.systems else ["default", "memos"] if self.quick else list(SYSTEMS)
        names = [resolve_system(name).name for name in wanted]
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        kept = Partial(self.out, {**self.settings(), "encoder": embedder.name})
        users = [
            Chats(seed=self.seed + n, sessions=4 if self.quick else self.chats, half="held-out")
            for n in range(1 if self.quick else self.users)
        ]
        rows = {
            name: {"": kept.get(name, partial(_reference, name, users, embedder, self.budget))} for name in REFERENCES
        }
        errors = [None, *(self.errors[:1] if self.quick else self.errors)]
        for done, (name, error) in enumerate(product(names, errors)):
            progress("rows", done, len(names) * len(errors))
            label = RULES if error is None else f"ε = {error:g}"
            measured = partial(_system, name, users, embedder, error, self.budget)
            rows.setdefault(name, {})[label] = kept.get(f"{name} {label}", measured)
        progress("rows", len(names) * len(errors), len(names) * len(errors))
        embedder.close()
        counts = Counter(turn.label for user in users for turn in user.turns)
        questions = Counter(question.kind for user in users for question in user.questions)
        return {
            "encoder": model_of(embedder),
            "counts": {
                "users": len(users),
                "chats": sum(len(user.chats()) for user in users),
                "turns": sum(counts.values()),
                "facts": counts["states"] + counts["changes"],
                "updates": counts["changes"],
                "distractors": counts["claim"],
                "questions": dict(questions),
            },
            "rows": rows,
        }

    def run(self, progress: Progress = lambda stage, done, total: None) -> Result:
        result = super().run(progress)
        Partial(self.out, {}).finish()
        return result

    def render(self, result: Result) -> str:
        counts = result["counts"]
        head = (
            f"{counts['users']} users, {counts['chats']} chats, {counts['facts']} facts, {counts['updates']} updates, "
            f"{counts['distractors']} false claims, {sum(counts['questions'].values())} questions; mean over the users"
        )
        return "\n\n".join([head, *(_table(result["rows"], part, columns) for part, columns in PARTS.items())])


# -- one row


def _system(name: str, users: Sequence[Chats], embedder: Embedder, error: float | None, budget: int) -> Row:
    return _merged([lived(name, user, embedder, error, budget) for user in users])


def lived(system: str, user: Chats, embedder: Embedder, error: float | None, budget: int) -> Row:
    """One user's chats with a night after each, scored as they go, then every question."""
    llm = None if error is None else LLM(oracle(user, error), retries=0)
    now = [user.turns[0].at]
    scope: Any = {"user_id": user.user}
    book = Book(user)
    with Memory(":memory:", embedder=embedder, llm=llm, system=system, clock=lambda: now[0], durable=False) as memory:
        for chat in user.chats():
            said = [item for item in user.items() if item.session == chat]
            now[0] = max(item.at for item in said if item.at is not None) + timedelta(hours=1)
            memory.add(said, **scope)
            now[0] += timedelta(hours=8)
            memory.sleep(**scope)
            book.after(chat, memory.list(at=now[0], limit=None, **scope))
        answers = {}
        for q in user.questions:
            when: dict[str, Any] = {} if q.as_of is None else {"at": q.as_of, "now": q.as_of}
            least = None if q.kind.startswith("never_said") else 0.0
            made = memory.context(q.text, max_tokens=budget, threshold=least, note_use=False, **scope, **when)
            answers[q.id] = [hit.text for hit in made.hits]
    row: Row = {"extraction": book.extraction(), "updating": book.updating(), "answering": answered(user, answers)}
    spent = None if llm is None else llm.total()
    row["model"] = {
        "calls": None if spent is None else float(spent.calls),
        "no truth": None if spent is None or not spent.calls else spent.problems / spent.calls,
    }
    return row


def _reference(name: str, users: Sequence[Chats], embedder: Embedder, budget: int) -> Row:
    """Answering without a memory: nothing, the whole text, the newest turns, BM25, dense search."""
    return _merged([{"answering": answered(user, _plain(name, user, embedder, budget))} for user in users])


def _plain(name: str, user: Chats, embedder: Embedder, budget: int) -> dict[str, list[str]]:
    items = tuple(user.items())
    asked = tuple(Asked(q.text, ()) for q in user.questions)
    conversation = Conversation(user.user, items, tuple(str(i.origin) for i in items), asked, user.turns[-1].at)
    if name == "bm25":
        places = bm25(conversation)
    elif name == "dense":
        places = dense(conversation, embedder)
    else:
        places = recency(conversation) if name != "no memory" else [[] for _ in asked]
    out = {}
    for q, order in zip(user.questions, places, strict=True):
        seen = [n for n in order if q.as_of is None or user.turns[n].at <= q.as_of]
        out[q.id] = [user.turns[n].text for n in (seen if name == "full text" else _within(items, seen, budget))]
    return out


def _within(items: Sequence[Any], order: Sequence[int], budget: int) -> list[int]:
    used, out = 0, []
    for n in order:
        if used + cost(items[n]) <= budget:
            used += cost(items[n])
            out.append(n)
    return out


def _merged(each: Sequence[Row]) -> dict[str, Any]:
    """Part -> measure -> mean, lowest and highest over the users."""
    return {
        part: {
            name: spread([one[part].get(name) for one in each])
            for name in dict.fromkeys(name for one in each for name in one[part])
        }
        for part in each[0]
    }


def _table(rows: Mapping[str, Any], part: str, columns: Sequence[str]) -> str:
    lines = [f"{part:<28}" + "".join(f"{column:>15}" for column in columns)]
    for name, by_model in rows.items():
        for label, row in by_model.items():
            if part in row:
                cells = "".join(f"{_mean(row[part].get(column)):>15}" for column in columns)
                lines.append(f"{f'{name}, {label}' if label else name:<28}{cells}")
    return "\n".join(lines)


def _mean(value: Mapping[str, Any] | None) -> str:
    return "-" if value is None or value["mean"] is None else f"{value['mean']:.3f}".rstrip("0").rstrip(".")
