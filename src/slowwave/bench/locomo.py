"""LoCoMo (Maharana et al. 2024): is the evidence for a question about months of chat found again? No language model.

Every turn is a record: its text, with the caption of an image where one was shared, its speaker, its session's date.
The field that names what an image was searched with is never read: it gives answers away. Questions of category 5 ask
about the wrong person; they are reported apart. The weights of the default ranking were chosen on two conversations
(conv-26, conv-30), so each number is given for those, for the other five, and for all.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slowwave.bench.base import Result
from slowwave.bench.datasets import folder_of
from slowwave.bench.evidence import EvidenceBenchmark
from slowwave.bench.metrics import interval
from slowwave.bench.retrieval import Conversation, Question
from slowwave.bench.system import Filled
from slowwave.records import Item

KINDS = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
TUNED = ("conv-26", "conv-30")
STRANGERS = 60  # questions of other conversations asked of each one


class Locomo(EvidenceBenchmark):
    """Recall of evidence turns on seven conversations, beside recency, BM25, dense search and rank fusion.

    embedder  see `slowwave.models.SPEC_HELP`; None takes the default
    sleep     also measure after a night
    """

    name = "locomo"
    needs = ("locomo",)
    title = "LoCoMo, evidence retrieval"
    shown = ("recall@10", "recall@5", "recall@20", "recall@500t", "recall@1000t", "all@10")

    def read(self, counts: Counter[str]) -> tuple[list[Conversation], list[Path]]:
        folder = folder_of("locomo")
        files = sorted(folder.glob("conv-*.json"))[: 1 if self.quick else None]
        wrong = audited(folder)
        return [read(file, wrong, counts) for file in files], [*files, folder / "audit_errors.json"]

    def parts(self, names: NDArray[np.str_], kinds: NDArray[np.str_]) -> Mapping[str, NDArray[np.bool_]]:
        plain, tuned = kinds != KINDS[5], np.isin(names, TUNED)
        return {"all": plain, "tuned on": plain & tuned, "the others": plain & ~tuned, "adversarial": ~plain}

    def more(self, filled: Filled, conversations: Sequence[Conversation]) -> Result:
        """Questions about other people's lives: how many get nothing at the default threshold."""
        rng, nothing, where = random.Random(self.seed), list[float](), list[str]()
        for here in conversations:
            others = [q for c in conversations if c is not here for q in c.questions]
            asked = rng.sample(others, min(STRANGERS, len(others)))
            of = Conversation("", (), (), tuple(asked), here.asked)
            for found in filled.ask(of, here, lambda done, total: None, threshold=None):
                nothing.append(float(not found))
                where.append(here.name)
        return {"questions of other conversations that get nothing": interval(nothing, where, self.seed)}

    def remarks(self, result: Result) -> list[str]:
        share = result["questions of other conversations that get nothing"]
        told = "not asked" if share["mean"] is None else f"{share['mean']:.1%} of {share['n']} got nothing"
        return [*super().remarks(result), f"questions of other conversations, at the default threshold: {told}"]


def read(file: Path, wrong: set[tuple[str, int]], counts: Counter[str]) -> Conversation:
    """One conversation. Evidence lists with two ids in a string or a stray colon are mended; `counts` says how many."""
    data = json.loads(file.read_text(encoding="utf-8"))
    talk = data["conversation"]
    items: list[Item] = []
    for key in sorted((k for k in talk if re.fullmatch(r"session_\d+", k)), key=lambda k: int(k[8:])):
        at = datetime.strptime(talk[f"{key}_date_time"], "%I:%M %p on %d %B, %Y")
        for turn in talk[key]:
            caption = turn.get("blip_caption")
            text = turn["text"].strip() + (f" [image: {caption}]" if caption else "")
            items.append(Item(text, speaker=turn["speaker"], at=at, session=key, origin=turn["dia_id"]))
    known = {item.origin for item in items}
    questions = []
    for number, entry in enumerate(data["qa"]):
        given = entry["evidence"]
        ids = [f"D{int(m[1])}:{int(m[2])}" for m in re.finditer(r"D:?(\d+):(\d+)", " ".join(given))]
        counts["evidence lists mended"] += ids != given
        evidence = tuple(dict.fromkeys(id_ for id_ in ids if id_ in known))
        counts["unknown ids dropped"] += len({*ids} - known)
        if not evidence:
            counts["questions without evidence skipped"] += 1
            continue
        counts["questions"] += 1
        label = (file.stem, number)
        questions.append(Question(entry["question"], evidence, KINDS[entry["category"]], label in wrong))
    counts["turns"] += len(items)
    units = tuple(str(item.origin) for item in items)
    asked = max(item.at for item in items if item.at is not None)
    return Conversation(file.stem, tuple(items), units, tuple(questions), asked)


def audited(folder: Path) -> set[tuple[str, int]]:
    """(conversation, position of the question) of every label that the audit found wrong."""
    errors = json.loads((folder / "audit_errors.json").read_text(encoding="utf-8"))
    return {(error["sample_id"], number) for error in errors for number in error["qa_indices"]}
