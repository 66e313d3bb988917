"""Answers of a real language model on LoCoMo, with each memory in front of it: F1 by rule, no judge.

Every row gets the same tokens of memory and the same instruction, so rows differ by what was remembered alone. Scored
as the data set's authors do (Maharana et al. 2024): token F1 after lower-casing, without punctuation and articles, on
word stems; multi-hop golds part by part; adversarial questions (category 5) by whether the reply abstains, apart.
"""

from __future__ import annotations

import json
import random
import re
import string
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

from slowwave.bench.base import Benchmark, Progress, Result, model_of
from slowwave.bench.baselines import bm25, dense, recency
from slowwave.bench.datasets import CachedEmbedder, data_root, fingerprints, folder_of
from slowwave.bench.locomo import KINDS, read
from slowwave.bench.metrics import interval
from slowwave.bench.partial import Partial
from slowwave.bench.retrieval import Conversation, Question, cost, printed
from slowwave.memory import Memory
from slowwave.models import resolve_embedder, resolve_llm
from slowwave.models.llm import LLM, Prompt
from slowwave.ops.words import stem
from slowwave.records import Item
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


class Answers(Benchmark):
    """F1 of a real model's answers on LoCoMo, with each system's memory and with plain references.

    llm            see `slowwave.models.LLM_HELP`
    embedder       see `slowwave.models.SPEC_HELP`; None takes the default
    systems        names, apart by commas; a name with "+llm" sleeps with the model as well
    conversations  how many, in the order of the data
    questions      of each conversation, drawn evenly over the kinds
    budget         tokens of memory that each question gets
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
        conversations: int = 2,
        questions: int = 40,
        budget: int = 500,
    ) -> None:
        super().__init__(quick, seed, out)
        self.llm = llm
        self.embedder = embedder
        self.systems = systems
        self.conversations = conversations
        self.questions = questions
        self.budget = budget

    def measure(self, progress: Progress) -> Result:
        asked_llm = resolve_llm("fake" if self.quick else self.llm or "env")
        assert asked_llm is not None
        embedder = CachedEmbedder(resolve_embedder("fake" if self.quick else self.embedder))
        files = sorted(folder_of("locomo").glob("conv-*.json"))[: 1 if self.quick else self.conversations]
        data = [(read(file, set(), Counter()), self._drawn(file)) for file in files]
        kept = Partial(self.out, {**self.settings(), "encoder": embedder.name, "model": asked_llm.name})
        names = [*REFERENCES, *self.systems.split(",")]
        rows: dict[str, Any] = {}
        for done, name in enumerate(names):
            progress("rows", done, len(names))
            each = []
            for conversation, questions in data:
                make = partial(self._row, name, conversation, questions, asked_llm, embedder)
                each.append(kept.get(f"{name} {conversation.name}", make))
            rows[name] = _merged(each, [c.name for c, _ in data], self.seed)
        progress("rows", len(names), len(names))
        embedder.close()
        kept.finish()
        return {
            "model": asked_llm.name,
            "encoder": model_of(embedder),
            "data": fingerprints(files, data_root()),
            "counts": {"conversations": len(data), "questions": sum(len(q) for _, q in data)},
            "rows": rows,
        }

    def _drawn(self, file: Path) -> list[Asked]:
        """So many questions, evenly over the kinds, by the seed."""
        by_kind: dict[str, list[Asked]] = {}
        for entry in json.loads(file.read_text(encoding="utf-8"))["qa"]:
            kind = KINDS[entry["category"]]
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

    def _row(
        self, name: str, conversation: Conversation, questions: Sequence[Asked], llm: LLM, embedder: CachedEmbedder
    ) -> dict[str, Any]:
        """One conversation with one memory: a score a question, and what writing, sleeping and reading cost."""
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            notes, took = self._notes(name, conversation, questions, llm, embedder, Path(folder))
        before = llm.total().to_dict()
        start = time.perf_counter()
        scores = []
        for question, given in zip(questions, notes, strict=True):
            prompt = Prompt("answer", INSTRUCTIONS, {"notes": given, "question": question.text}, max_tokens=40)
            answer = llm.ask(prompt)
            scores.append(f1(str(answer.value or ""), question.gold, question.kind))
        took["answer_seconds"] = round(time.perf_counter() - start, 1)
        took["answer_tokens_in"] = llm.total().tokens_in - before["tokens_in"]
        return {"scores": scores, "kinds": [q.kind for q in questions], "took": took}

    def _notes(
        self,
        name: str,
        conversation: Conversation,
        questions: Sequence[Asked],
        llm: LLM,
        embedder: CachedEmbedder,
        folder: Path,
    ) -> tuple[list[str], dict[str, Any]]:
        """What the memory puts before the model for each question."""
        if name in REFERENCES:
            return [_plain(name, conversation, q, embedder, self.budget) for q in questions], {}
        system, _, also = name.partition("+")
        now = conversation.asked if conversation.asked.tzinfo else conversation.asked.replace(tzinfo=UTC)
        took: dict[str, Any] = {}
        with Memory(
            folder / "memory.db",
            embedder=embedder,
            llm=llm if also == "llm" else None,
            system=resolve_system(system),
            clock=lambda: now,
            durable=False,
        ) as memory:
            start = time.perf_counter()
            memory.add(list(conversation.items), user_id=conversation.name)
            took["write_seconds"] = round(time.perf_counter() - start, 1)
            before = llm.total().to_dict()
            start = time.perf_counter()
            report = memory.sleep(user_id=conversation.name)
            took["sleep_seconds"] = round(time.perf_counter() - start, 1)
            after = llm.total().to_dict()
            spent = ("calls", "problems", "tokens_in", "tokens_out")
            took |= {f"sleep_{key}": after[key] - before[key] for key in spent}
            took["night"] = dict(report.counts)
            notes = [
                memory.context(
                    q.text, max_tokens=self.budget, threshold=0.0, note_use=False, user_id=conversation.name
                ).text
                for q in questions
            ]
        return notes, took

    def render(self, result: Result) -> str:
        head = f"LoCoMo answers of {result['model']}, {self.budget} tokens of memory a question"
        lines = [head, ""]
        kinds = next(iter(result["rows"].values()))["kinds"]
        lines.append(f"{'':<24}{'F1':>8}" + "".join(f"{kind:>14}" for kind in kinds) + f"{'sleep calls':>14}")
        for name, row in result["rows"].items():
            cells = "".join(f"{row['kinds'][kind]:>14.3f}" for kind in kinds)
            calls = row["took"].get("sleep_calls")
            lines.append(f"{name:<24}{row['f1']['mean']:>8.3f}{cells}{calls if calls is not None else '-':>14}")
        return "\n".join(lines)


def f1(reply: str, gold: str, kind: str) -> float:
    """The score of one reply in [0, 1], by the data set's rules."""
    if kind == KINDS[5]:
        return float(bool(ABSTAINS.search(reply)) or not reply.strip())
    if kind == KINDS[1]:
        parts = [part for part in gold.split(",") if part.strip()]
        given = [part for part in reply.split(",") if part.strip()] or [""]
        return sum(max(_overlap(one, part) for one in given) for part in parts) / max(1, len(parts))
    return _overlap(reply, gold.split(";")[0] if kind == KINDS[3] else gold)


def _overlap(reply: str, gold: str) -> float:
    a, b = _tokens(reply), _tokens(gold)
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b)) if shared else 0.0


def _tokens(text: str) -> list[str]:
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [stem(word) for word in plain.split() if word not in ("a", "an", "the", "and")]


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


def _merged(each: Sequence[Mapping[str, Any]], names: Sequence[str], seed: int) -> dict[str, Any]:
    """The conversations of one row together; adversarial questions stay out of the mean."""
    flat = [
        (score, kind, name)
        for row, name in zip(each, names, strict=True)
        for score, kind in zip(row["scores"], row["kinds"], strict=True)
    ]
    plain = [(score, name) for score, kind, name in flat if kind != KINDS[5]]
    by_kind = {
        kind: round(sum(s for s, k, _ in flat if k == kind) / max(1, sum(k == kind for _, k, _ in flat)), 4)
        for kind in KINDS.values()
    }
    took: dict[str, Any] = {}
    for row in each:
        for key, value in row["took"].items():
            if not isinstance(value, Mapping):
                took[key] = round(took.get(key, 0) + value, 1)
    return {
        "f1": interval([score for score, _ in plain], list(range(len(plain))), seed),
        "kinds": by_kind,
        "took": took,
        "night": [row["took"].get("night") for row in each],
    }
