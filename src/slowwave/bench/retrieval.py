"""What the retrieval benchmarks share: records, questions with labelled evidence, and the table of all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from slowwave.bench.metrics import Floats, Found, scores
from slowwave.ops.packing import estimate_tokens
from slowwave.records import Item

DEPTH = 100  # results that each row may give
COUNTER = "slowwave.ops.packing.estimate_tokens on '[YYYY-MM-DD] Speaker: text' (4 Latin characters a token)"


@dataclass(frozen=True, slots=True)
class Question:
    """A question with its evidence: the units that answer it. `kind` is the group in which it is reported."""

    text: str
    evidence: tuple[str, ...]
    kind: str = ""
    audited: bool = False  # its label was found wrong by the data set's audit


@dataclass(frozen=True)
class Conversation:
    """Records of one scope and the questions about them.

    units  the unit of evidence that each item counts as: itself, its chat, its chapter
    asked  the moment of asking; the end of the conversation where the data names none
    """

    name: str
    items: tuple[Item, ...]
    units: tuple[str, ...]
    questions: tuple[Question, ...]
    asked: datetime

    def found(self, place: int) -> Found:
        """The result that shows this item."""
        return Found((self.units[place],), cost(self.items[place]))


Ranking = list[list[Found]]  # for each question, results best first
Step = Callable[[int, int], None]  # done, total
Rank = Callable[[Sequence[Conversation], Step], list[Ranking]]


def cost(item: Item) -> int:
    """Tokens of one record in a prompt: its date, speaker and text."""
    return estimate_tokens(printed(item.text, item.speaker, item.at))


def printed(text: str, speaker: str | None, at: datetime | None) -> str:
    """A record as a prompt would show it."""
    day = f"[{at:%Y-%m-%d}] " if at is not None else ""
    return f"{day}{speaker}: {text}" if speaker else f"{day}{text}"


def said(item: Item) -> str:
    """ "speaker: text", which the plain baselines read."""
    return f"{item.speaker}: {item.text}" if item.speaker else item.text


def said_on(item: Item) -> str:
    """The same with its date in words: "8 May 2023, speaker: text"."""
    return f"{item.at.day} {item.at:%B} {item.at.year}, {said(item)}" if item.at is not None else said(item)


def labels(
    conversations: Sequence[Conversation],
) -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.bool_]]:
    """For all questions in order: the conversation, the kind, and whether the label was audited as wrong."""
    flat = [(c.name, q.kind, q.audited) for c in conversations for q in c.questions]
    names, kinds, audited = zip(*flat, strict=True) if flat else ((), (), ())
    return np.array(names, dtype=str), np.array(kinds, dtype=str), np.array(audited, dtype=bool)


def judged(conversations: Sequence[Conversation], rankings: Sequence[Ranking]) -> dict[str, Floats]:
    """Metric -> one number a question, over all conversations in order."""
    each = [
        {**scores(found, question.evidence), "returned": float(len(found)), "nothing": float(not found)}
        for conversation, ranking in zip(conversations, rankings, strict=True)
        for found, question in zip(ranking, conversation.questions, strict=True)
    ]
    return {name: np.array([row[name] for row in each]) for name in each[0]} if each else {}


def by_kind(
    rows: Mapping[str, Mapping[str, Floats]], kinds: NDArray[np.str_], chosen: NDArray[np.bool_], metrics: Sequence[str]
) -> dict[str, dict[str, dict[str, float | int]]]:
    """Kind -> row -> metric -> mean over the chosen questions of that kind, and `n`."""
    out: dict[str, dict[str, dict[str, float | int]]] = {}
    for kind in sorted(set(kinds.tolist())):
        mine = chosen & (kinds == kind)
        if mine.any():
            out[kind] = {
                row: {
                    **{m: round(float(values[m][mine].mean()), 4) for m in metrics if m in values},
                    "n": int(mine.sum()),
                }
                for row, values in rows.items()
            }
    return out


def as_text(
    table: Mapping[str, Mapping[str, Mapping[str, float | int | None]]],
    metrics: Sequence[str],
    title: str = "",
    baseline: str = "",
) -> str:
    """Rows by metrics, each cell "0.812 (0.790 to 0.831)"; the last column is the paired difference to the baseline."""
    head = [title or "row", *metrics]
    lines = []
    for row, values in table.items():
        cells = [_cell(values[m]) if m in values else "" for m in metrics]
        if baseline:
            paired = values.get(f"{metrics[0]} over {baseline}")
            cells.append(_cell(paired, sign=True) if paired else "")
        lines.append([row, *cells])
    if baseline:
        head.append(f"{metrics[0]} over {baseline}")
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    rows = [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *lines]
    ]
    return "\n".join([rows[0], "-" * max(map(len, rows)), *rows[1:]])


def _cell(value: Mapping[str, float | int | None], sign: bool = False) -> str:
    mean, low, high = value.get("mean"), value.get("low"), value.get("high")
    if mean is None:
        return "-"
    plus = "+" if sign else ""
    bounds = "" if low is None or high is None else f" ({low:{plus}.3f} to {high:{plus}.3f})"
    return f"{mean:{plus}.3f}{bounds}"
