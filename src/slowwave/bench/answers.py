"""What a real language model makes of LoCoMo: the facts its nights draw, and its answers. F1 by rule, no judge.

Every row gets the same tokens of memory and the same instruction, so rows differ by what was remembered alone. Scored
as the data set's authors do (Maharana et al. 2024): token F1 after lower-casing, without punctuation and articles, on
word stems; multi-hop golds part by part; adversarial questions (category 5) by whether the reply abstains, apart. What
a night drew is held against the observations that the data set ships (`observations.py`); what it did to what was known
already is counted, for the data names no updates; `bench halumem` scores those, on chats whose truth is known.

Equal prompts are asked once for all rows. Replies are kept in FILE.replies beside the result while a run is unfinished.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

from slowwave.bench.base import Benchmark, Progress, Result, model_of, no_progress
from slowwave.bench.baselines import bm25, dense, recency
from slowwave.bench.datasets import CachedEmbedder, data_root, fingerprints, folder_of
from slowwave.bench.locomo import KINDS, read
from slowwave.bench.metrics import interval, overlap
from slowwave.bench.observations import extraction, observations
from slowwave.bench.partial import Partial
from slowwave.bench.reply_file import FileCache
from slowwave.bench.retrieval import Conversation, Question, cost, printed
from slowwave.errors import InputError
from slowwave.memory import Memory
from slowwave.models import resolve_embedder, resolve_llm
from slowwave.models.llm import LLM, Prompt
from slowwave.ops.packing import estimate_tokens
from slowwave.records import Engram, Item
from slowwave.text import resolve_system

INSTRUCTIONS = (
    "Answer the question from the notes alone, in as few words as possible: a name, a date, a number, a short phrase. "
    "If the notes do not say it, answer: not mentioned."
)
ABSTAINS = re.compile(r"\b(?:not mentioned|no information|unknown|not (?:said|stated|known|specified))\b", re.I)
REFERENCES = ("no memory", "recency", "bm25", "dense")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its gold answer; `kind` as in LoCoMo's categories."""

    text: str
    gold: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Part:
    """One conversation, or its first sessions: what was said, what is asked, what was observed."""

    conversation: Conversation
    questions: Sequence[Asked]
    observed: Sequence[tuple[str, frozenset[str]]]


class Answers(Benchmark):
    """F1 of a real model's answers on LoCoMo, with each system's memory and with plain references.

    llm            see `slowwave.models.LLM_HELP`
    embedder       see `slowwave.models.SPEC_HELP`; None takes the default
    systems        names, apart by commas; a name with "+llm" sleeps with the model as well
    references     plain ones to run beside them, apart by commas: "no memory", recency, bm25, dense
    conversations  how many, in the order of the data
    sessions       the first so many of each conversation, and the questions that they answer; None takes all
    questions      of each conversation, drawn evenly over the kinds
    budget         tokens of memory that each question gets
    reuse_prefix   let a GGUF model keep the work on a prompt's beginning for the next: quicker, see `GgufModel`
    """

    name = "answers"
    needs = ("locomo",)

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        llm: str | None = None,
        embedder: str | None = None,
        systems: str = "default,default+llm",
        references: str = ",".join(REFERENCES),
        conversations: int = 2,
        sessions: int | None = None,
        questions: int = 40,
        budget: int = 500,
        reuse_prefix: bool = True,
    ) -> None:
        super().__init__(quick, seed, out)
        self.llm = llm
        self.embedder = embedder
        self.systems = systems
        self.references = references
        self.conversations = conversations
        self.sessions = sessions
        self.questions = questions
        self.budget = budget
        self.reuse_prefix = reuse_prefix

    def measure(self, progress: Progress) -> Result:
        references, systems = ([name for name in given.split(",") if name] for given in (self.references, self.systems))
        for name in references:
            if name not in REFERENCES:
                raise InputError(f"references names {name!r}; give some of: {', '.join(REFERENCES)}")
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        files = sorted(folder_of("locomo").glob("conv-*.json"))[: 1 if self.quick else self.conversations]
        data = [self._part(file) for file in files]
        with self._model() as llm:
            kept = Partial(self.out, {**self.settings(), "encoder": embedder.name, "model": llm.name})
            rows: dict[str, Any] = {}
            names = [*systems, *references]  # nights first: they take longest
            for done, name in enumerate(names):
                each = []
                for at, part in enumerate(data):
                    progress("rows", done * len(data) + at, len(names) * len(data))
                    make = partial(self._row, name, part, llm, embedder, progress)
                    each.append(kept.get(f"{name} {part.conversation.name}", make))
                rows[name] = _merged(each, self.seed)
            progress("rows", len(names) * len(data), len(names) * len(data))
        embedder.close()
        return {
            "model": llm.name,
            "encoder": model_of(embedder),
            "data": fingerprints(files, data_root()),
            "counts": {
                "conversations": len(data),
                "turns": sum(len(part.conversation.items) for part in data),
                "questions": sum(len(part.questions) for part in data),
                "observations": sum(len(part.observed) for part in data),
            },
            "rows": {name: rows[name] for name in (*references, *systems)},
        }

    def run(self, progress: Progress = no_progress) -> Result:
        result = super().run(progress)
        Partial(self.out, {}).finish()
        if self.out is not None:
            for file in self.out.parent.glob(f"{self.out.name}.replies*"):
                file.unlink()
        return result

    @contextmanager
    def _model(self) -> Iterator[LLM]:
        """The model, its replies kept in a file beside the result."""
        llm = resolve_llm("fake" if self.quick else self.llm or "env")
        assert llm is not None
        cache = None if self.out is None else FileCache(self.out.with_name(f"{self.out.name}.replies"))
        if cache is not None:
            llm.cache = cache
        for model in (llm.model, *llm.models.values()):
            if self.reuse_prefix and hasattr(model, "reuse_prefix"):
                model.reuse_prefix = True
        try:
            yield llm
        finally:
            llm.close()
            if cache is not None:
                cache.close()

    def _part(self, file: Path) -> _Part:
        whole = read(file, set(), Counter())
        items = tuple(item for item in whole.items if self.sessions is None or _session(item) <= self.sessions)
        asked = whole.asked if self.sessions is None else max(item.at for item in items if item.at is not None)
        units = tuple(str(item.origin) for item in items)
        said = replace(whole, items=items, units=units, questions=(), asked=asked)
        return _Part(said, self._drawn(file, set(units)), observations(file, self.sessions))

    def _drawn(self, file: Path, turns: Set[str]) -> list[Asked]:
        """So many questions on these turns, evenly over the kinds, by the seed."""
        by_kind: dict[str, list[Asked]] = {}
        for entry in json.loads(file.read_text(encoding="utf-8"))["qa"]:
            kind = KINDS[entry["category"]]
            evidence = {
                f"D{int(m[1])}:{int(m[2])}" for m in re.finditer(r"D:?(\d+):(\d+)", " ".join(entry["evidence"]))
            }
            if self.sessions is None or (evidence and evidence <= turns):
                gold = str(entry.get("answer", ""))
                by_kind.setdefault(kind, []).append(Asked(entry["question"], gold, kind))
        rng = random.Random(f"answers {self.seed} {file.stem}")
        for group in by_kind.values():
            rng.shuffle(group)
        out: list[Asked] = []
        most = 4 if self.quick else self.questions
        while len(out) < most and any(by_kind.values()):
            for group in by_kind.values():
                if group and len(out) < most:
                    out.append(group.pop())
        return out

    def _row(self, name: str, part: _Part, llm: LLM, embedder: CachedEmbedder, progress: Progress) -> dict[str, Any]:
        """One conversation with one memory: a score a question, what was drawn, and what it all cost."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            notes, night = self._notes(name, part, llm, embedder, Path(folder), progress)
        scores, took = [], Counter[str]()
        for done, (question, given) in enumerate(zip(part.questions, notes, strict=True)):
            prompt = Prompt("answer", INSTRUCTIONS, {"notes": given, "question": question.text}, max_tokens=40)
            answer = llm.ask(prompt)
            scores.append(f1(str(answer.value or ""), question.gold, question.kind))
            took["prompts"] += 1
            took["tokens_in"] += answer.call.tokens_in
            took["tokens_out"] += answer.call.tokens_out
            progress(f"{name}: answers", done + 1, len(notes))
        return {
            "scores": scores,
            "kinds": [q.kind for q in part.questions],
            "memory_tokens": sum(map(estimate_tokens, notes)),
            "answering": dict(took),
            **night,
        }

    def _notes(
        self, name: str, part: _Part, llm: LLM, embedder: CachedEmbedder, folder: Path, progress: Progress
    ) -> tuple[list[str], dict[str, Any]]:
        """What the memory puts before the model for each question, and the night before."""
        said = part.conversation
        if name in REFERENCES:
            return [_plain(name, said, q, embedder, self.budget) for q in part.questions], {}
        system, _, also = name.partition("+")
        now = said.asked if said.asked.tzinfo else said.asked.replace(tzinfo=UTC)
        with Memory(
            folder / "memory.db",
            embedder=embedder,
            llm=llm if also == "llm" else None,
            system=resolve_system(system),
            clock=lambda: now,
            durable=False,
        ) as memory:
            memory.add(list(said.items), user_id=said.name)
            start = time.perf_counter()
            report = memory.sleep(
                user_id=said.name, progress=lambda stage, done, total: progress(f"{name}: {stage}", done, total)
            )
            seconds = time.perf_counter() - start
            calls = [asked.call for asked in memory.log(calls=True, limit=100_000, user_id=said.name)]
            turns = {e.id: str(e.origin) for e in memory.list(kinds=["episode"], limit=None, user_id=said.name)}
            facts = memory.list(kinds=["fact"], limit=None, user_id=said.name)
            night = {
                "night": dict(report.counts),
                "sleeping": {
                    "prompts": len(calls),
                    "tokens_in": sum(call.tokens_in for call in calls),
                    "tokens_out": sum(call.tokens_out for call in calls),
                    "of no use": sum(bool(call.problem) for call in calls),
                    "set aside": len(memory.log(rejected=True, limit=100_000, user_id=said.name)),
                    "seconds": round(seconds, 1),
                },
                "extraction": extraction([_said(fact, turns) for fact in facts], part.observed),
            }
            notes = [
                memory.context(q.text, max_tokens=self.budget, threshold=0.0, note_use=False, user_id=said.name).text
                for q in part.questions
            ]
        return notes, night

    def render(self, result: Result) -> str:
        counts = result["counts"]
        lines = [
            f"LoCoMo with {result['model']}: {counts['conversations']} conversations, {counts['turns']} turns, "
            f"{counts['questions']} questions, {result['parameters']['budget']} tokens of memory each",
            "",
        ]
        kinds = next(iter(result["rows"].values()))["kinds"]
        lines.append(f"{'answers':<24}{'F1':>8}{'95 %':>16}" + "".join(f"{kind:>13}" for kind in kinds))
        for name, row in result["rows"].items():
            low, high = row["f1"]["low"], row["f1"]["high"]
            cells = "".join(f"{'-' if share is None else f'{share:.3f}':>13}" for share in row["kinds"].values())
            lines.append(f"{name:<24}{row['f1']['mean']:>8.3f}{f'{low:.3f} to {high:.3f}':>16}{cells}")
        drawn = ("facts", "precision", "recall", "f1", "turns")
        columns = (*drawn, "ended", "prompts", "tokens_in", "tokens_out", "of no use", "set aside")
        lines += ["", f"{'the night':<24}" + "".join(f"{column:>11}" for column in columns)]
        for name, row in result["rows"].items():
            if "extraction" in row:
                values = {**row["extraction"], **row["sleeping"], "ended": row["night"].get("supersede", 0)}
                cells = "".join(f"{_short(values[column]):>11}" for column in columns)
                lines.append(f"{name:<24}{cells}")
        return "\n".join(lines)


def f1(reply: str, gold: str, kind: str) -> float:
    """The score of one reply in [0, 1], by the data set's rules."""
    if kind == KINDS[5]:
        return float(bool(ABSTAINS.search(reply)) or not reply.strip())
    if kind == KINDS[1]:
        parts = [part for part in gold.split(",") if part.strip()]
        given = [part for part in reply.split(",") if part.strip()] or [""]
        return sum(max(overlap(one, part) for one in given) for part in parts) / max(1, len(parts))
    return overlap(reply, gold.split(";")[0] if kind == KINDS[3] else gold)


def _plain(name: str, conversation: Conversation, question: Asked, embedder: CachedEmbedder, budget: int) -> str:
    """Turns by a plain reference, as many as fit, in the order of time."""
    if name == "no memory":
        return ""
    one = replace(conversation, questions=(Question(question.text, ()),))
    ranked = {
        "recency": lambda: recency(one),
        "bm25": lambda: bm25(one),
        "dense": lambda: dense(one, embedder),
    }[name]()[0]
    used, chosen = 0, []
    for place in ranked:
        price = cost(conversation.items[place])
        if used + price <= budget:
            used += price
            chosen.append(place)
    return "\n".join(_line(conversation.items[place]) for place in sorted(chosen))


def _line(item: Item) -> str:
    return printed(item.text, item.speaker, item.at)


def _session(item: Item) -> int:
    return int(str(item.session).removeprefix("session_"))


def _said(fact: Engram, turns: Mapping[str, str]) -> tuple[str, frozenset[str]]:
    return fact.text, frozenset(turns[id_] for id_ in fact.sources if id_ in turns)


def _short(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _merged(each: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """The conversations of one row together; adversarial questions stay out of the mean."""
    flat = [pair for row in each for pair in zip(row["scores"], row["kinds"], strict=True)]
    plain = [score for score, kind in flat if kind != KINDS[5]]
    by_kind = {kind: [score for score, k in flat if k == kind] for kind in KINDS.values()}
    out: dict[str, Any] = {
        "f1": interval(plain, list(range(len(plain))), seed),
        "kinds": {kind: round(sum(part) / len(part), 4) if part else None for kind, part in by_kind.items()},
        "scores": [row["scores"] for row in each],
        "memory_tokens": sum(row["memory_tokens"] for row in each),
    }
    for name in ("answering", "sleeping", "night"):
        if name in each[0]:
            keys = dict.fromkeys(key for row in each for key in row[name])
            out[name] = {key: sum(row[name].get(key, 0) for row in each) for key in keys}
    if "extraction" in each[0]:
        drawn = [row["extraction"] for row in each]
        mean = {key: round(sum(one[key] for one in drawn) / len(drawn), 4) for key in drawn[0]}
        out["extraction"] = {**mean, **{key: sum(one[key] for one in drawn) for key in ("facts", "observations")}}
    return out
