"""MemoryBank (Zhong et al. 2024): ten days of chat of 22 users, English and Chinese; no answers are published."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from slowwave.bench.datasets import folder_of
from slowwave.bench.retrieval import Conversation, Question
from slowwave.bench.unlabelled import UnlabelledBenchmark
from slowwave.records import Item


class MemoryBank(UnlabelledBenchmark):
    """Take in each user's chats and ask the probing questions.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    """

    name = "memorybank"
    needs = ("memorybank",)
    title = "MemoryBank"
    reason = "neither answers nor evidence are published; the authors scored by hand"

    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        folder = folder_of("memorybank")
        out: list[Conversation] = []
        files: list[Path] = []
        for language in ("en", "cn"):
            pair = [folder / f"{part}_{language}.json" for part in ("memory_bank", "probing_questions")]
            bank, asked = (json.loads(file.read_text(encoding="utf-8")) for file in pair)
            files += pair
            for user, about in bank.items():
                items: list[Item] = []
                for day, exchanges in about["history"].items():
                    at = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
                    for number, exchange in enumerate(exchanges):
                        for speaker, text in ((user, exchange["query"]), ("assistant", exchange["response"])):
                            origin = f"{day}:{number}:{speaker}"
                            items.append(Item(text, speaker=speaker, at=at, session=day, origin=origin))
                items = [item for item in items if item.text.strip()]
                questions = tuple(Question(text, (), language) for text in asked.get(user, []))
                end = max(item.at for item in items if item.at is not None)
                units = tuple(str(item.origin) for item in items)
                out.append(Conversation(f"{user} ({language})", tuple(items), units, questions, end))
                counts[f"questions ({language})"] += len(questions)
        return out, files
