"""PersonaMem 32k (Jiang et al. 2025): chats of 14 personas. Its labels name every document, so there is no recall."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slowwave.bench.datasets import folder_of
from slowwave.bench.retrieval import Conversation, Question
from slowwave.bench.unlabelled import UnlabelledBenchmark
from slowwave.records import Item

UNDATED = datetime(2024, 1, 1, tzinfo=UTC)  # the data gives no times
LONGEST = 2000  # characters of one turn


class PersonaMem(UnlabelledBenchmark):
    """Take in the chats of each context and ask its questions, without their options.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    """

    name = "personamem"
    needs = ("personamem_32k",)
    title = "PersonaMem 32k"
    reason = (
        "the labels of every question name all documents of its context, so any result counts as right; choosing "
        "among the four replies needs a language model"
    )

    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        folder = folder_of("personamem_32k")
        files = [folder / "documents.jsonl.gz", folder / "queries.jsonl.gz"]
        turns: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        for document in lines(files[0]):
            parts = re.split(r"(?m)^\[(SYSTEM|USER|ASSISTANT)\] ?", document["content"])
            for role, text in zip(parts[1::2], parts[2::2], strict=True):
                if role != "SYSTEM" and text.strip():  # the system turn sums the persona up: it would give answers away
                    turns[document["user_id"]].append((role.lower(), text.strip()[:LONGEST], document["id"]))
        asked: dict[str, list[Question]] = defaultdict(list)
        for entry in lines(files[1]):
            words = entry["meta"]["retrieval_query"].partition("\n\n")[2].strip()
            if words:
                asked[entry["user_id"]].append(Question(words, (), entry["meta"]["question_type"]))
        out = []
        for user in sorted(turns)[: 2 if self.quick else None]:
            items = tuple(
                Item(text, speaker=role, at=UNDATED + timedelta(minutes=n), session=chat, origin=f"{chat}:{n}")
                for n, (role, text, chat) in enumerate(turns[user])
            )
            units = tuple(str(item.origin) for item in items)
            end = UNDATED + timedelta(minutes=len(items))
            out.append(Conversation(user[:12], items, units, tuple(asked[user]), end))
        return out, files


def lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a gzipped JSONL file."""
    with gzip.open(file, "rt", encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]
