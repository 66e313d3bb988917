"""Marks what a memory holds against what a user said, by slot and value: for the HaluMem-style benchmark."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from slowwave.bench.chats import WEIGHTS, Chats
from slowwave.bench.factstream import Question, Turn, states_value
from slowwave.bench.truth import named
from slowwave.ops.outcomes import slot_of
from slowwave.ops.vocabulary import canonical, value_key
from slowwave.records import Engram

UPDATING = ("correct", "hallucinated", "omitted", "old beside new")
ANSWERING = ("correct", "hallucinated", "omitted")
_DENIED = r"\b(?:not|n't|never|no longer|denie[sd]|without)\b[^.!?;]*"


@dataclass
class Book:
    """What is noted of one user's memory, chat by chat."""

    user: Chats
    points: list[tuple[Turn, int]] = field(default_factory=list)  # gold point, best score of 0, 1, 2
    made: list[tuple[int, bool]] = field(default_factory=list)  # score of what was made, and whether it is of a slot
    resisted: list[bool] = field(default_factory=list)
    updates: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    said: list[Turn] = field(default_factory=list)
    claimed: list[Turn] = field(default_factory=list)
    stored: int = 0

    def after(self, chat: str, held: Sequence[Engram]) -> None:
        """Note what is in view after the night of a chat."""
        points, claims = self.user.points(chat), self.user.distractors(chat)
        self.said += points
        self.claimed += claims
        derived = [engram for engram in held if engram.kind != "episode"]
        self.stored = len(derived)
        self.points += [(turn, max((self.score(e, turn) for e in derived), default=0)) for turn in points]
        self.made += [self.worth(engram) for engram in derived if engram.id not in self.seen]
        self.seen |= {engram.id for engram in derived}
        self.resisted += [not any(claims_it(engram, turn) for engram in derived) for turn in claims]
        self.updates += [self.updated(turn, derived) for turn in points if turn.label == "changes"]

    def score(self, engram: Engram, turn: Turn) -> int:
        """2 if a record holds a fact and says whose, 1 if it holds the value alone, 0 if not or if it denies it."""
        if not holds(engram.text, turn.value):
            return 0
        return 2 if self._names_user(engram) else 1

    def worth(self, engram: Engram) -> tuple[int, bool]:
        """(score of what was made, whether it is about a slot of the user)."""
        if any(claims_it(engram, turn) for turn in self.claimed) or self._fabricates(engram):
            return 0, True
        best = max((self.score(engram, turn) for turn in self.said), default=0)
        return best, best > 0

    def updated(self, turn: Turn, derived: Sequence[Engram]) -> str:
        """correct, hallucinated, "old beside new" or omitted.

        A summary, and a note on whatever bears some name, tell of the days they sum up, and not of what holds.
        """
        told = (engram for engram in derived if engram.kind != "summary" and "name" not in engram.attrs)
        current = [engram for engram in told if engram.until is None]
        false = [claim for claim in self.claimed if claim.attribute == turn.attribute]
        for engram in current:
            fills = self._fills(engram, turn.attribute)
            if fills and (self._fabricates(engram) or any(claims_it(engram, claim) for claim in false)):
                return "hallucinated"
        before = [said.value for said in self.said if said.attribute == turn.attribute and said.value != turn.value]
        new = [engram for engram in current if holds(engram.text, turn.value)]
        old = [e for e in current if not holds(e.text, turn.value) and any(holds(e.text, value) for value in before)]
        return "omitted" if not new else "old beside new" if old else "correct"

    def extraction(self) -> dict[str, float | None]:
        """Recall, weighted recall, precision, accuracy, resistance, F1 and the stored count."""
        weights = [WEIGHTS[turn.attribute] for turn, _ in self.points]
        recall = _share([score == 2 for _, score in self.points])
        weighted = sum(w * s / 2 for w, (_, s) in zip(weights, self.points, strict=True)) / max(sum(weights), 1e-9)
        about = [score / 2 for score, of_slot in self.made if of_slot]
        precision = sum(about) / len(about) if about else None
        both = None if precision is None or recall is None else precision + recall
        f1 = 0.0 if not both or precision is None or recall is None else 2 * precision * recall / both
        accuracy = sum(score / 2 for score, _ in self.made) / len(self.made) if self.made else None
        return {
            "recall": recall, "weighted": weighted, "precision": precision, "accuracy": accuracy,
            "resistance": _share(self.resisted), "f1": f1, "stored": float(self.stored),
        }  # fmt: skip

    def updating(self) -> dict[str, float | None]:
        """Shares of the updates; "old beside new" is a part of "omitted"."""
        out = {name: _share([update == name for update in self.updates]) for name in UPDATING}
        if out["omitted"] is not None:
            out["omitted"] += out["old beside new"] or 0.0
        return out

    def _names_user(self, engram: Engram) -> bool:
        told = f"{engram.speaker or ''} {engram.attrs.get('subject', '')} {engram.text}"
        return re.search(rf"\b(?:{re.escape(self.user.user)}|user)\b", told, re.I) is not None

    def _fills(self, engram: Engram, attribute: str) -> bool:
        slot = slot_of(engram)
        mine = slot is not None and slot.subject in (self.user.user.casefold(), "user")
        return slot is not None and mine and slot.attribute == canonical(named(attribute))

    def _fabricates(self, engram: Engram) -> bool:
        """Whether a record gives a slot of the user a value that was never stated of it."""
        for attribute in WEIGHTS:
            if self._fills(engram, attribute):
                slot = slot_of(engram)
                said = [turn.value for turn in self.user.turns if turn.attribute == attribute and turn.label != "trap"]
                return slot is not None and all(value_key(value).isdisjoint(value_key(slot.value)) for value in said)
        return False


def holds(text: str, value: str) -> bool:
    """Whether a text states a value, and does not deny it."""
    return states_value(text, value) and not re.search(rf"{_DENIED}(?<![\w£-]){re.escape(value)}(?![\w-])", text, re.I)


def claims_it(engram: Engram, claim: Turn) -> bool:
    """Whether a record holds a value that the assistant falsely claimed."""
    return holds(engram.text, claim.value)


def answered(user: Chats, answers: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
    """Shares of correct, hallucinated and omitted answers, over all questions and by kind."""
    each: dict[str, list[str]] = defaultdict(list)
    for question in user.questions:
        verdict = verdict_on(user, question, answers.get(question.id, ()))
        each[question.kind].append(verdict)
        each["all"].append(verdict)
    out = {name: _share([verdict == name for verdict in each["all"]]) for name in ANSWERING}
    return out | {
        f"correct, {kind}": _share([v == "correct" for v in each[kind]]) for kind in sorted(each) if kind != "all"
    }


def verdict_on(user: Chats, question: Question, texts: Sequence[str]) -> str:
    """correct, hallucinated or omitted, from the texts that a question got, best first."""
    if question.kind.startswith("never_said"):
        trap = [t.value for t in user.turns if t.label == "trap" and t.attribute == question.attribute]
        wrong = any(states_value(text, value) for text in texts for value in (*question.wrong, *trap))
        return "hallucinated" if wrong else "correct"
    values = (*question.gold, *question.wrong)
    first = next((value for text in texts for value in values if states_value(text, value)), None)
    if question.kind == "history":
        whole = all(any(states_value(text, value) for text in texts) for value in question.gold)
        return "hallucinated" if first in question.wrong else "correct" if whole else "omitted"
    return "omitted" if first is None else "correct" if first in question.gold else "hallucinated"


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
