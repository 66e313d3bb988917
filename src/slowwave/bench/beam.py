"""BEAM (Tavakoli et al. 2025): the messages that ten kinds of questions rest on, in long chats with an assistant.

The marker "->-> i,j" at the end of user messages and the fields `index` and `question_type` point at the plan from
which the questions were made; they never reach a memory. Evidence is `source_chat_ids`, as messages; questions without
any (all abstention questions) are skipped and counted. A message is some 540 tokens long: few fit a budget of 1,000.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from slowwave.bench.datasets import folder_of
from slowwave.bench.evidence import EvidenceBenchmark
from slowwave.bench.retrieval import Conversation, Question
from slowwave.records import Item

MARKER = re.compile(r"\s*->->\s*[\d,\s]*$")
UNDATED = datetime(2024, 1, 1, tzinfo=UTC)  # chats whose first batch names no date begin here
GAP = timedelta(minutes=1)
LONGEST = 20_000  # characters of one message that are kept; one of the data set is 348,469 long


class Beam(EvidenceBenchmark):
    """Recall of evidence messages in 14 chats of 100k tokens, or in 4 of 500k.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    sleep     also measure after a night
    large     the longer chats instead
    """

    name = "beam"
    needs = ("beam_100k",)
    title = "BEAM, messages with evidence"
    shown = ("recall@10", "recall@5", "recall@20", "all@10", "recall@1000t")

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        embedder: str | None = None,
        sleep: bool = True,
        large: bool = False,
    ) -> None:
        super().__init__(quick, seed, out, embedder, sleep)
        self.large = large

    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        folder = folder_of("beam_500k" if self.large else "beam_100k")
        chats = sorted(path.parent for path in folder.glob("*/chat.json.gz"))[: 1 if self.quick else None]
        files = [chat / name for chat in chats for name in ("chat.json.gz", "probing_questions.json")]
        return [read(chat, counts) for chat in chats], files


def read(chat: Path, counts: Counter[str]) -> Conversation:
    """One chat; a message without a date of its own follows the one before by a minute."""
    with gzip.open(chat / "chat.json.gz", "rt", encoding="utf-8") as handle:
        batches = json.load(handle)
    items: list[Item] = []
    at = UNDATED
    for batch in batches:
        for message in (message for turn in batch["turns"] for message in turn):
            at = anchored(message.get("time_anchor")) or at + GAP
            text = MARKER.sub("", message["content"]).strip()
            counts["messages cut"] += len(text) > LONGEST
            session, origin = f"batch {batch['batch_number']}", str(message["id"])
            items.append(Item(text[:LONGEST], speaker=message["role"], at=at, session=session, origin=origin))
    items = [item for item in items if item.text]
    known = {item.origin for item in items}
    questions = []
    probes = json.loads((chat / "probing_questions.json").read_text(encoding="utf-8"))
    for kind, entries in probes.items():
        for entry in entries:
            ids = [str(n) for n in integers(entry.get("source_chat_ids"))]
            evidence = tuple(dict.fromkeys(id_ for id_ in ids if id_ in known))
            counts["unknown ids dropped"] += len({*ids} - known)
            if evidence:
                questions.append(Question(entry["question"], evidence, kind))
            else:
                counts["questions without evidence skipped"] += 1
    counts["messages"] += len(items)
    counts["questions"] += len(questions)
    units = tuple(str(item.origin) for item in items)
    return Conversation(f"beam-{chat.name}", tuple(items), units, tuple(questions), at)


def anchored(text: str | None) -> datetime | None:
    """ "March-15-2024"; None for anything else."""
    try:
        return None if text is None else datetime.strptime(text, "%B-%d-%Y").replace(tzinfo=UTC)
    except ValueError:
        return None


def integers(value: Any) -> Iterator[int]:
    """Every message id in lists and dictionaries of lists, whatever their depth."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from integers(part)
    elif isinstance(value, list):
        for part in value:
            yield from integers(part)
