"""EpBench (Huet et al. 2025): chapters of a generated book found by time, place, person, content, or several of them.

The books are made with the authors' generator but are not theirs, so published scores do not carry over. Paragraphs are
records, a chapter is the unit of evidence. No record carries a date of its own: that an event happened on a certain day
is only to be read in the text, as in the benchmark. In *thriller* the content phrases mostly do not occur in the text,
so questions that give or ask for content are left out there, as its keepers advise. Questions whose right answer is
"nothing" have no evidence; at the default threshold it is counted how many get nothing, apart from all recall.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slowwave.bench.base import Result
from slowwave.bench.datasets import folder_of
from slowwave.bench.evidence import EvidenceBenchmark
from slowwave.bench.metrics import interval
from slowwave.bench.retrieval import Conversation, Question
from slowwave.bench.system import Filled
from slowwave.records import Item

READ = datetime(2030, 1, 1, tzinfo=UTC)  # when the book was read: after all it tells
CUES = {"t": "time", "s": "place", "ent": "person", "c": "content"}


class EpBench(EvidenceBenchmark):
    """Recall of evidence chapters in the books *news* (60 chapters) and *thriller* (120).

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    sleep     also measure after a night
    """

    name = "epbench"
    needs = ("epbench_gen",)
    title = "EpBench (generated books), chapters with evidence"
    shown = ("recall@5", "recall@10", "any@5", "all@10", "recall@1000t")
    dated = False

    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        folder = folder_of("epbench_gen")
        books = ("news",) if self.quick else ("news", "thriller")
        files = [folder / f"{book}_{part}" for book in books for part in ("book.txt.gz", "qa.jsonl.gz")]
        return [read(folder, book, counts) for book in books], files

    def more(self, filled: Filled, conversations: Sequence[Conversation]) -> Result:
        nothing, where = list[float](), list[str]()
        for book in conversations:
            asked = tuple(Question(q["question"], (), "") for q in entries(folder_of("epbench_gen"), book.name))
            unanswerable = replace(book, questions=asked[: 40 if self.quick else None])
            for found in filled.ask(unanswerable, book, lambda done, total: None, threshold=None):
                nothing.append(float(not found))
                where.append(book.name)
        return {"questions without an answer that get nothing": interval(nothing, where, self.seed)}

    def remarks(self, result: Result) -> list[str]:
        share = result["questions without an answer that get nothing"]
        told = "none were asked" if share["mean"] is None else f"{share['mean']:.1%} of {share['n']} get nothing"
        return [*super().remarks(result), f"questions whose answer is 'nothing', at the default threshold: {told}"]


def read(folder: Path, book: str, counts: Counter[str]) -> Conversation:
    """One book, paragraph by paragraph."""
    with gzip.open(folder / f"{book}_book.txt.gz", "rt", encoding="utf-8") as handle:
        parts = re.split(r"(?m)^Chapter (\d+)\s*$", handle.read())
    items: list[Item] = []
    for chapter, text in zip(parts[1::2], parts[2::2], strict=True):
        for number, paragraph in enumerate(filter(None, map(str.strip, text.split("\n\n"))), 1):
            at = READ + timedelta(minutes=len(items))
            items.append(Item(paragraph, at=at, session=chapter, origin=f"{chapter}:{number}"))
    questions = []
    for entry in entries(folder, book, answerable=True):
        evidence = tuple(dict.fromkeys(str(chapter) for chapter in entry["correct_answer_chapters"]))
        questions.append(Question(entry["question"], evidence, kind(entry)))
    counts["chapters"] += len(parts) // 2
    counts["paragraphs"] += len(items)
    counts["questions"] += len(questions)
    return Conversation(book, tuple(items), tuple(str(item.session) for item in items), tuple(questions), READ)


def entries(folder: Path, book: str, answerable: bool = False) -> Iterator[dict[str, Any]]:
    """The questions that have evidence, or those that have none; without those that *thriller* cannot ask fairly."""
    with gzip.open(folder / f"{book}_qa.jsonl.gz", "rt", encoding="utf-8") as handle:
        for entry in map(json.loads, handle):
            content = "c" in cues(entry["cue"]) or entry["retrieval_type"] in ("Event contents", "Full event details")
            if bool(entry["correct_answer_chapters"]) == answerable and not (book == "thriller" and content):
                yield entry


def cues(cue: str) -> list[str]:
    """ "(t, *, *, c)" -> ["t", "c"]."""
    return [part for part in cue.strip("()").replace(" ", "").split(",") if part != "*"]


def kind(entry: dict[str, Any]) -> str:
    """What is asked for, and by which cues: "all, by time and place"."""
    return f"{entry['get']}, by {' and '.join(CUES[cue] for cue in cues(entry['cue']))}"
