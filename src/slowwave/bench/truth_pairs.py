"""FactStream's truth about pairs of statements: what a new one means for an old one, and how it follows from it.

For the oracle of `models/oracle.py`, beside `truth.py`: the operations "pairwise" (PASS, REPLACE, APPEND, DELETE) and
"relation" (THEANINE's seven), and facts that keep the reason which was given with them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slowwave.bench.factstream import FactStream, Turn, render, states_value
from slowwave.bench.truth import SAID, Known, told
from slowwave.bench.truth import flips as plain_flips
from slowwave.bench.truth import truths as plain_truths
from slowwave.models.oracle import Flip, Oracle, Truth
from slowwave.ops.pairwise import LABELS
from slowwave.ops.relations import RELATIONS


def oracle(stream: FactStream, error: float = 0.0, seed: int = 0, **other: Truth) -> Oracle:
    """A model that knows the stream, its pairs included; `other` truths take the place of these."""
    return Oracle({**truths(stream), **other}, error, flips(stream), seed)


def truths(stream: FactStream) -> dict[str, Truth]:
    """Operation -> what is true, as its schema asks for it; those of `truth.py` among them."""
    known = Pairs(stream)
    return {
        **plain_truths(stream),
        "facts": known.facts,
        "pairwise": lambda inputs: known.each(inputs, known.label),
        "relation": lambda inputs: known.each(inputs, known.relation),
    }


def flips(stream: FactStream) -> dict[str, Flip]:
    """Operation -> the truth made wrong: each label of a reply is another one, with the oracle's error a reply."""
    return {**plain_flips(stream), "pairwise": _another(LABELS), "relation": _another(RELATIONS)}


@dataclass(frozen=True, slots=True)
class Said:
    """What a statement says: the values and the causes of the stream that it holds, each by its first turn."""

    values: tuple[Turn, ...]
    causes: frozenset[str]
    event: str


class Pairs:
    """A stream, looked up by what two statements say."""

    def __init__(self, stream: FactStream) -> None:
        self.stream = stream
        self.known = Known(stream)
        self.first = {turn.value: turn for turn in reversed(stream.turns) if turn.label in SAID}
        self.causes = {turn.cause for turn in stream.turns if turn.cause}

    def facts(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The facts that turns state, each with its reason where it gives one, and the events they tell of."""
        items = []
        for shown in inputs["turns"]:
            turn = self.known.turn(shown.get("who", ""), shown["said"])
            if turn is None or turn.label not in (*SAID, "event"):
                continue
            if turn.label == "event":
                item = told([shown["id"]], turn.person, "event", turn.cause)
                items.append({**item, "fact": render(turn.form, turn.person, turn.cause)})
                continue
            item = self.known.facts({"turns": [shown]})["items"][0]
            why = f" because of the {turn.cause}." if turn.cause else "."
            items.append({**item, "fact": item["fact"].removesuffix(".") + why})
        return {"items": items}

    def each(self, inputs: Mapping[str, Any], of: Any) -> dict[str, str]:
        """{"new": {"text"}, "old": {"1": {"text"}, ...}} -> {"1": what holds of the first and the new, ...}."""
        new = self.said(inputs["new"]["text"])
        return {number: of(self.said(old["text"]), new) for number, old in inputs["old"].items()}

    def label(self, old: Said, new: Said) -> str:
        """What the operator should say: a later value replaces, the same value passes, all else is appended."""
        if not old.values or not new.values:
            return "APPEND"
        was, now = old.values[0], new.values[0]
        if (was.person, was.attribute) != (now.person, now.attribute):
            return "APPEND"
        if was.value == now.value:
            return "PASS" if new.causes <= old.causes else "REPLACE"
        return "REPLACE" if now.at > was.at else "APPEND"

    def relation(self, old: Said, new: Said) -> str:
        """How the new one follows from the old: a change, a cause told before or afterwards, one topic, or nothing."""
        if old.event and old.event in new.causes:
            return "Cause"
        if new.event and new.event in old.causes:
            return "Reason"
        label = self.label(old, new)
        if label != "APPEND" and old.values[0].value != new.values[0].value:
            return "Changed"
        return "SameTopic" if label != "APPEND" or (old.event and old.event == new.event) else "None"

    def said(self, text: str) -> Said:
        """What a statement says, by the values and causes of the stream that it holds."""
        values = [turn for value, turn in self.first.items() if states_value(text, value)]
        causes = frozenset(cause for cause in self.causes if states_value(text, cause))
        return Said(tuple(values), causes, "" if values else next(iter(sorted(causes)), ""))


def _another(options: Sequence[str]) -> Flip:
    def flip(inputs: dict[str, Any], value: Any, chance: random.Random) -> Any:
        return {number: chance.choice([o for o in options if o != said]) for number, said in sorted(value.items())}

    return flip
