"""Chats of a user with an assistant that sometimes claims what was never said, with the truth known at every moment.

Each user is a FactStream of one person (facts that are stated, repeated in other words and changed at known dates,
chatter, traps), with an assistant who answers. Some of its turns echo what was said; some are distractors, which claim
another value of a fact, or a value of one that the user never spoke of: "I have noted that you live in Rome", "Marta
works at Globex, as far as I see." The user lets them pass, or says in general words that it is not so.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import timedelta

from slowwave.bench.factstream import FactStream, Question, Turn, render
from slowwave.bench.factstream_words import STATES
from slowwave.bench.truth import named
from slowwave.errors import InputError

USERS = ("Marta", "Julian", "Priya", "Tomas", "Ingrid", "Kwame", "Lucia", "Henrik")
ASSISTANT = "assistant"
WEIGHTS = {  # how much it matters to remember it
    "home": 1.0, "employer": 1.0, "job": 1.0, "phone": 0.9, "boss": 0.7, "rent": 0.7, "meeting": 0.6, "office": 0.6,
    "car": 0.5, "password": 0.9, "food": 0.4, "colour": 0.3,
}  # fmt: skip
ANSWERS = (
    "Thanks for telling me.", "Understood.", "Good to know.", "Is there anything else?", "That sounds fine.",
    "Let me know if I can help with that.", "I see.", "All right.", "Noted.", "Glad to hear from you again.",
)  # fmt: skip
ECHOES = ("So {whose} {what} is {v}, noted.", "Got it: {v}.", "I have put down {v} as {whose} {what}.")
CLAIMS = (  # of the user, by name or not; the last two read like any statement
    "I have noted that {whose} {what} is {v}.", "As we said last time, {whose} {what} is {v}.",
    "{name}'s {what} is {v}.", "{plain}",
)  # fmt: skip
DENIALS = ("No, that is not what I said.", "I never told you that.", "You must be confusing me with somebody else.")


@dataclass
class Chats(FactStream):
    """One user's chats; equal arguments give equal chats. `people` is 1 and the user's name is one of USERS.

    claims   distractors, on average a chat
    contested  attribute -> the values that the assistant claimed of it
    """

    people: int = 1
    sessions: int = 20
    claims: float = 1.0
    user: str = field(init=False, default="")
    contested: dict[str, list[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if self.people != 1:
            raise InputError(f"people is {self.people}; a user's chats are of one")
        super().__post_init__()
        self.user = USERS[self.seed % len(USERS)]
        self._chance = random.Random(f"chats {self.seed}")
        self.turns = [
            replace(t, speaker=self.user, person=self._name(t.person), text=self._name(t.text)) for t in self.turns
        ]
        self.turns = self._answered()
        self.questions = [self._contested(q) for q in self.questions]

    def chats(self) -> list[str]:
        """The chats' names, in order."""
        return list(dict.fromkeys(turn.session for turn in self.turns))

    def points(self, chat: str) -> list[Turn]:
        """The gold points of a chat: the turns that state a fact for the first time, or change one."""
        return [turn for turn in self.turns if turn.session == chat and turn.label in ("states", "changes")]

    def distractors(self, chat: str) -> list[Turn]:
        """The false claims of a chat."""
        return [turn for turn in self.turns if turn.session == chat and turn.label == "claim"]

    def _name(self, text: str) -> str:
        return text.replace("Anna", self.user)

    def _answered(self) -> list[Turn]:
        """The turns with the assistant's between them."""
        out: list[Turn] = []
        chance = self._chance
        due = [
            number
            for number in range(self.sessions)
            for _ in range(int(self.claims) + (chance.random() < self.claims % 1))
        ]
        for chat in dict.fromkeys(turn.session for turn in self.turns):
            said = [turn for turn in self.turns if turn.session == chat]
            claimed = set(chance.sample(range(len(said)), min(len(said), due.count(int(chat[1:])))))
            for place, turn in enumerate(said):
                out.append(turn)
                if place in claimed:
                    out += self._claim(turn)
                else:
                    out.append(self._answer(turn))
        return out

    def _answer(self, turn: Turn) -> Turn:
        """What the assistant says to a turn: something general, or an echo."""
        known = turn.label in ("states", "changes", "repeats")
        if known and self._chance.random() < 0.3:
            text = self._chance.choice(ECHOES).format(whose="your", what=named(turn.attribute), v=turn.value)
            return self._after(turn, "echo", text, turn.attribute, turn.value)
        return self._after(turn, "reply", self._chance.choice(ANSWERS))

    def _claim(self, turn: Turn) -> list[Turn]:
        """A distractor after a turn, and sometimes the user's denial."""
        chance = self._chance
        attribute = chance.choice([name for name in STATES if len(self._unused[name]) > 1])
        value = self._unused[attribute].pop()
        plain = render(chance.choice(self._forms(STATES[attribute])), self.user, value)
        text = chance.choice(CLAIMS).format(whose="your", what=named(attribute), v=value, name=self.user, plain=plain)
        self.contested.setdefault(attribute, []).append(value)
        out = [self._after(turn, "claim", text, attribute, value)]
        if chance.random() < 0.5:
            at = turn.at + timedelta(seconds=40)
            denial = chance.choice(DENIALS)
            out.append(Turn(f"{turn.origin}d", turn.session, self.user, denial, at, "denial", self.user))
        return out

    def _after(self, turn: Turn, label: str, text: str, attribute: str = "", value: str = "") -> Turn:
        at = turn.at + timedelta(seconds=20)
        return Turn(f"{turn.origin}a", turn.session, ASSISTANT, text, at, label, self.user, attribute, value)

    def _contested(self, question: Question) -> Question:
        """The question of this user, with what was falsely claimed among the wrong values."""
        kind, claimed = question.kind, self.contested.get(question.attribute, ())
        if claimed and kind in ("current", "never_said"):
            kind += ", contested"
        return replace(
            question, kind=kind, text=self._name(question.text), person=self.user, wrong=(*question.wrong, *claimed)
        )
