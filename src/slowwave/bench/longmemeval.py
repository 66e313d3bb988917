"""LongMemEval (Wu et al. 2025): is the right chat among some forty found, and are the questions' times understood?

Two histories are to be had whole. Each has one question of the data set itself and eight that the repository it came
from added about its filler chats: 18 questions are few, so read the numbers as a check, not as a measurement. Evidence
is labelled by chat: a chat is found when one of its turns is. The other 345 questions have no history here; what is
measured on them is how many times named in the words ("last week", "in May") resolve against the asking time.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from slowwave.bench.base import Result
from slowwave.bench.datasets import folder_of
from slowwave.bench.evidence import EvidenceBenchmark
from slowwave.bench.retrieval import Conversation, Question
from slowwave.bench.system import Filled
from slowwave.records import Item

LONGEST = 8000  # characters of one turn that are kept; one of the data set is 76,560 long


class LongMemEval(EvidenceBenchmark):
    """Recall of evidence chats in two histories, and the times named in 347 questions.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    sleep     also measure after a night
    """

    name = "longmemeval"
    needs = ("longmemeval",)
    title = "LongMemEval, chats with evidence"
    shown = ("any@5", "any@10", "recall@5", "recall@10", "recall@1000t")

    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        folder = folder_of("longmemeval")
        files = sorted(folder.glob("history_*.json"))[: 1 if self.quick else None]
        return [read(file, counts) for file in files], [*files, folder / "questions.json"]

    def more(self, filled: Filled, conversations: Sequence[Conversation]) -> Result:
        entries = json.loads((folder_of("longmemeval") / "questions.json").read_text(encoding="utf-8"))
        return {"times in questions": times_named(entries[: 40 if self.quick else None])}

    def remarks(self, result: Result) -> list[str]:
        out = super().remarks(result)
        for kind, row in result["times in questions"].items():
            others = f"{row['beyond the hints']} others do too, {row['future']} in the future"
            out.append(
                f"{kind}: {row['questions']} questions, {row['hints']} name a time by a list of words, "
                f"{row['resolved']} of those resolve, {others}"
            )
        return out


def read(file: Path, counts: Counter[str]) -> Conversation:
    """One history: every turn is a record, its unit is its chat."""
    data = json.loads(file.read_text(encoding="utf-8"))
    items: list[Item] = []
    chats = zip(data["haystack_session_ids"], data["haystack_dates"], data["haystack_sessions"], strict=True)
    for chat, date, turns in chats:
        for number, turn in enumerate(turns):
            text = turn["content"].strip()
            if text:
                counts["turns cut"] += len(text) > LONGEST
                origin = f"{chat}:{number}"
                items.append(Item(text[:LONGEST], speaker=turn["role"], at=moment(date), session=chat, origin=origin))
    questions = tuple(
        Question(text, tuple(dict.fromkeys(chats)), "of the data set" if number == 0 else "about filler chats")
        for number, (text, chats) in enumerate(zip(data["questions"], data["answer_session_ids"], strict=True))
    )
    counts["turns"] += len(items)
    counts["questions"] += len(questions)
    units = tuple(str(item.session) for item in items)
    return Conversation(file.stem, tuple(items), units, questions, moment(data["question_date"]))


def moment(text: str) -> datetime:
    """ "2022/09/01 (Thu) 23:52"."""
    return datetime.strptime(text, "%Y/%m/%d (%a) %H:%M")


UNITS = "days?|weeks?|months?|years?"
SEASONS = "spring|summer|autumn|fall|winter"
DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
NUMBERS = r"\d+|an?|two|three|four|five|six|seven|eight|nine|ten"
HINT = re.compile(  # a plain list of words, so that what the reader misses can be counted without trusting it
    rf"\b(?:today|yesterday|tonight|this (?:morning|weekend|{UNITS}|{SEASONS})"
    rf"|(?:last|past|previous) (?:\w+ )?(?:weekend|night|{UNITS}|{SEASONS}|{DAYS})"
    rf"|(?:in|since|on|of|by) (?:mid-|early |late )?(?:{MONTHS})"
    rf"|(?:{NUMBERS}) (?:{UNITS}) ago|(?:19|20)\d\d|start of the year)\b",
    re.I,
)


def times_named(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Kind of question -> how many name a time by a plain list of words, and how many of those resolve to a span."""
    from slowwave.ops.dates import find_times

    out: dict[str, Counter[str]] = {}
    for entry in entries:
        asked = datetime.fromisoformat(entry["meta"]["query_timestamp"])
        spans = find_times(entry["query"], asked)
        row = out.setdefault(entry["meta"]["question_type"], Counter())
        hinted = bool(HINT.search(entry["query"]))
        row["questions"] += 1
        row["hints"] += hinted
        row["resolved"] += hinted and bool(spans)
        row["beyond the hints"] += bool(spans) and not hinted
        row["future"] += any(span.start.replace(tzinfo=None) > asked.replace(tzinfo=None) for span in spans)
    return {kind: dict(row) for kind, row in sorted(out.items())}
