"""What a perfect reader would answer about a FactStream, prompt by prompt; and how it would answer if it erred.

For the oracle of `models/oracle.py`: `oracle(stream, error)` is a model that draws the stream's facts, says what one
statement does to another, and answers questions, wrongly with the probability `error` a prompt.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from slowwave.bench.factstream import FactStream, Question, Turn, states_value
from slowwave.models.oracle import Flip, Oracle, Truth

NAMED = {
    "colour": "favourite colour",
    "food": "favourite food",
    "phone": "phone number",
    "meeting": "weekly review",
    "password": "wifi password",
}  # the stream's attributes as facts name them; the others have one name
SAID = ("states", "repeats", "changes")
OUTCOMES = ("new", "restates", "refines", "supersedes", "contradicts", "unsure")


def oracle(stream: FactStream, error: float = 0.0, seed: int = 0) -> Oracle:
    """A model that knows the stream: operations "facts", "outcome", "relations" and "answer"."""
    return Oracle(truths(stream), error, flips(stream), seed)


def truths(stream: FactStream) -> dict[str, Truth]:
    """Operation -> what is true, as its schema asks for it."""
    known = Known(stream)
    return {
        "facts": known.facts,
        "outcome": known.outcome,
        "relations": lambda inputs: {"items": known.causes(inputs)},
        "answer": known.answer,
    }


def flips(stream: FactStream) -> dict[str, Flip]:
    """Operation -> the truth made wrong, in all that one reply says: every fact, every outcome, the answer's value.

    So a fact is wrong with the oracle's probability, however many are asked for at once. It goes wrong in one of five
    ways: another value of the stream, another person, another attribute, left out, or beside it one that was never
    said. The wrong ones use the stream's own names and values, so that they are not plain to see.
    """
    known = Known(stream)
    return {
        "facts": known.wrong_facts,
        "outcome": known.wrong_outcome,
        "relations": known.wrong_causes,
        "answer": known.wrong_answer,
    }


class Known:
    """A stream, looked up by what was said."""

    def __init__(self, stream: FactStream) -> None:
        self.stream = stream
        self.said = {(turn.speaker, turn.text): turn for turn in stream.turns}
        self.stating = [turn for turn in stream.turns if turn.label in SAID]
        self.person_of = {turn.value: turn.person for turn in self.stating}
        self.attribute_of = {turn.value: turn.attribute for turn in self.stating}
        self.questions = {question.text: question for question in stream.questions}

    # -- facts

    def facts(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The facts that turns state: {"turns": [{"id", "who", "said", ...}]} -> {"items": [...]}."""
        found = ((turn["id"], self.turn(turn.get("who", ""), turn["said"])) for turn in inputs["turns"])
        return {"items": [fact_of(id_, turn) for id_, turn in found if turn is not None and turn.label in SAID]}

    def wrong_facts(self, inputs: Mapping[str, Any], value: Any, chance: random.Random) -> Any:
        """Each of the facts made wrong; where there is none, one that nobody stated."""
        turns = inputs["turns"]
        if not value["items"]:
            return {"items": [self._unsaid(chance.choice(turns)["id"], chance)] if turns else []}
        return {"items": [wrong for item in value["items"] for wrong in self._wrong(item, chance)]}

    def _wrong(self, item: Mapping[str, Any], chance: random.Random) -> list[dict[str, Any]]:
        said_in, subject, attribute, value = (item[name] for name in ("said_in", "subject", "attribute", "value"))
        way = chance.choice(("value", "person", "attribute", "left out", "never said"))
        if way == "left out":
            return []
        if way == "never said":
            return [dict(item), self._unsaid(said_in[0], chance)]
        if way == "value":
            return [told(said_in, subject, attribute, self._value(value, chance))]
        if way == "person":
            other = chance.choice([p for p in self._people() if p != subject] or [subject])
            return [told(said_in, other, attribute, value)]
        others = [named(other) for other in self._attributes() if named(other) != attribute]
        return [told(said_in, subject, chance.choice(others or [attribute]), value)]

    # -- outcomes

    def outcome(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the newer of each pair does to the older: {"pairs": [{"id", "older", "newer"}]} -> {"items": [...]}."""
        return {
            "items": [
                {"id": pair["id"], "outcome": self._outcome(self.find(pair["older"]), self.find(pair["newer"]))}
                for pair in inputs["pairs"]
            ]
        }

    def wrong_outcome(self, inputs: Mapping[str, Any], value: Any, chance: random.Random) -> Any:
        """Each of the outcomes made another."""
        return {
            "items": [
                {"id": item["id"], "outcome": chance.choice([other for other in OUTCOMES if other != item["outcome"]])}
                for item in value["items"]
            ]
        }

    def _outcome(self, old: Turn | None, new: Turn | None) -> str:
        if old is None or new is None or old.label not in SAID or new.label not in SAID:
            return "new"
        if (old.person, old.attribute) != (new.person, new.attribute):
            return "new"
        if old.value == new.value:
            return "restates"
        line = [value for _, value in self.stream.values(old.person, old.attribute)]
        return "supersedes" if line.index(new.value) > line.index(old.value) else "unsure"

    # -- causes

    def causes(self, inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Which statement is the cause of which: {"statements": [{"id", "said"}]} -> [{"cause", "effect"}]."""
        known = [(one["id"], self.find(one)) for one in inputs["statements"]]
        events = {turn.cause: id_ for id_, turn in known if turn is not None and turn.label == "event"}
        return [
            {"cause": events[turn.cause], "effect": id_}
            for id_, turn in known
            if turn is not None and turn.label == "changes" and turn.cause in events
        ]

    def wrong_causes(self, inputs: Mapping[str, Any], value: Any, chance: random.Random) -> Any:
        """Two statements that have nothing to do with each other, tied as well."""
        ids = [one["id"] for one in inputs["statements"]]
        if len(ids) < 2:
            return {"items": []}
        cause, effect = chance.sample(ids, 2)
        return {"items": [*value["items"][:-1], {"cause": cause, "effect": effect}]}

    # -- answers

    def answer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a question of the stream from what is shown; abstains where that does not hold it."""
        question = self.questions.get(inputs["question"])
        shown = inputs["memories"]
        if question is None:
            return _abstained()
        cited = [one["id"] for one in shown if any(states_value(one["said"], value) for value in question.gold)]
        missing = [v for v in question.gold if not any(states_value(one["said"], v) for one in shown)]
        if missing or not question.gold:
            return _abstained()
        return {"known": True, "answer": ", then ".join(question.gold), "cites": cited[:8]}

    def wrong_answer(self, inputs: Mapping[str, Any], value: Any, chance: random.Random) -> Any:
        """Another value of the stream, with the same citations; or an answer to what is not known."""
        ids = [one["id"] for one in inputs["memories"]]
        said = self._value(value["answer"], chance)
        return {"known": True, "answer": said, "cites": value["cites"] or ids[:1]}

    # -- looking up

    def turn(self, who: str, said: str) -> Turn | None:
        """The turn that was said so by them; for a changed text, one that states a value that it holds."""
        exact = self.said.get((who, said)) or next((t for (_, text), t in self.said.items() if text == said), None)
        return exact or self.find({"said": said})

    def find(self, told_: Mapping[str, Any]) -> Turn | None:
        """What a statement says: the turn itself, or the first that states the value it holds; None for neither."""
        who, said = str(told_.get("who", "")), str(told_["said"])
        if (who, said) in self.said:
            return self.said[who, said]
        held = [turn for turn in self.stream.turns if turn.value and states_value(said, turn.value)]
        return next((turn for turn in held if turn.label in SAID), held[0] if held else None)

    # -- what may be wrong

    def _people(self) -> list[str]:
        return sorted({turn.person for turn in self.stating})

    def _attributes(self) -> list[str]:
        return sorted({turn.attribute for turn in self.stating})

    def _value(self, not_this: str, chance: random.Random) -> str:
        """Another value of the same attribute, as far as it is known."""
        attribute = self.attribute_of.get(not_this)
        pool = sorted({t.value for t in self.stating if t.attribute == attribute and t.value != not_this})
        return chance.choice(pool or sorted({turn.value for turn in self.stating} - {not_this}) or [not_this])

    def _unsaid(self, id_: str, chance: random.Random) -> dict[str, Any]:
        turn = chance.choice(self.stating)
        return told([id_], chance.choice(self._people()), named(turn.attribute), turn.value)


def fact_of(id_: str, turn: Turn) -> dict[str, Any]:
    """A turn's fact, as the operation "facts" gives it."""
    return told([id_], turn.person, named(turn.attribute), turn.value)


def told(said_in: Iterable[str], subject: str, attribute: str, value: str) -> dict[str, Any]:
    """A fact in the form of the operation "facts"."""
    return {
        "said_in": list(said_in),
        "subject": subject,
        "attribute": attribute,
        "value": value,
        "fact": f"{subject}'s {attribute} is {value}.",
    }


def named(attribute: str) -> str:
    """A stream's attribute under the name that facts have for it."""
    return NAMED.get(attribute, attribute)


def holds(answer: str, question: Question) -> bool:
    """Whether an answer holds every gold value and none of the wrong ones."""
    right = all(states_value(answer, value) for value in question.gold)
    return right and not any(states_value(answer, value) for value in question.wrong)


def _abstained() -> dict[str, Any]:
    return {"known": False, "answer": "unknown", "cites": []}
