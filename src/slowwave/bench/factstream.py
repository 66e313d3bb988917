"""FactStream: a generated dialogue over many sessions whose facts change, with the truth known at every moment.

People say where they live, whom they work for, which colour they like best; they repeat themselves in other words,
change their minds, chat, and say sentences that look like a change and are none ("I visited Rome", "she would love to
live in Oslo"). Every value occurs for one person and one attribute only, so a text that holds a value's words states
that value. Where causes are asked for, some changes say why ("... because of the flood"), each for a cause of its own.
Each attribute's templates are parted in two halves: `tuning`, for work on the rules, and `held-out`, for reporting
alone.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from slowwave.bench.factstream_words import (
    BECAUSE,
    CAUSES,
    CHANGES,
    CHATTER,
    EVENTS,
    PEOPLE,
    POOLS,
    PREFIXES,
    STATES,
    TRAPS,
    WHY,
    WORDINGS,
)
from slowwave.errors import InputError
from slowwave.records import Item

Half = Literal["tuning", "held-out", "all"]
START = datetime(2023, 1, 2, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said, with its gold label.

    label  states, repeats, changes, trap, chatter or event; person, attribute and value are "" for chatter
    form   the template it was made from, with "I" or a name for its subject
    cause  of a change, where it says one; of an event, which says no more than that, what it is; else ""
    """

    origin: str
    session: str
    speaker: str
    text: str
    at: datetime
    label: str
    person: str = ""
    attribute: str = ""
    value: str = ""
    form: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """kind is current, at_date, history, never_said or cause; `gold` is what is right, `wrong` what was or will be so.

    as_of     the moment that an at_date question asks about; None otherwise
    evidence  origins of the turns that state a gold value
    """

    id: str
    kind: str
    text: str
    person: str
    attribute: str
    gold: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    as_of: datetime | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two statements of one voice; the newer restates or supersedes the older, or is new; `why` says how made."""

    old: str
    new: str
    gold: str
    why: str


@dataclass
class FactStream:
    """A dialogue of `sessions` sessions about `people` people; equal arguments give equal streams.

    changes  how often a fact changes, on average, after it is first said
    repeats  how often it is repeated in other words, on average
    noise    turns of chatter and traps for each turn that states something
    half     which templates are used: tuning, held-out, or all
    causes   share of changes that say why, as long as there are causes (60); half of these causes are told of in an
             earlier session as well. All other turns and questions are the same as without
    wording    of the questions: "plain" ones; "otherwise", which no rule was written against; "development", for that

    Example:
        >>> stream = FactStream(seed=1, people=2, sessions=4)
        >>> sorted({turn.label for turn in stream.turns})
        ['changes', 'chatter', 'repeats', 'states', 'trap']
    """

    seed: int = 0
    people: int = 3
    sessions: int = 12
    changes: float = 1.5
    repeats: float = 1.5
    noise: float = 1.0
    half: Half = "all"
    causes: float = 0.0
    wording: Literal["plain", "otherwise", "development"] = "plain"
    turns: list[Turn] = field(init=False, default_factory=list)
    questions: list[Question] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if not 1 <= self.people <= len(PEOPLE) or self.sessions < 2:
            raise InputError(
                f"people is {self.people} and sessions {self.sessions}; give 1 to {len(PEOPLE)} and at least 2"
            )
        self._rng = random.Random(f"factstream {self.seed}")
        self._unused = {attribute: self._values(attribute) for attribute in STATES}
        self._plan()
        self._explain()
        self._ask()
        self._ask_why()

    def items(self) -> list[Item]:
        """The turns as items to add, in order."""
        return [Item(t.text, speaker=t.speaker, at=t.at, session=t.session, origin=t.origin) for t in self.turns]

    def values(self, person: str, attribute: str) -> list[tuple[datetime, str]]:
        """(since when, value), oldest first."""
        return [
            (t.at, t.value)
            for t in self.turns
            if (t.person, t.attribute) == (person, attribute) and t.label in ("states", "changes")
        ]

    def pairs(self, most: int = 400) -> list[Pair]:
        """Labelled pairs of statements for measuring an operator that compares two; "trap" pairs look like changes."""
        rng = random.Random(f"pairs {self.seed}")
        said = defaultdict(list)
        for turn in self.turns:
            if turn.attribute:
                said[turn.attribute].append(turn)
        made: list[Pair] = []
        for group in said.values():
            for i, old in enumerate(group):
                for new in group[i + 1 :]:
                    voice = (old.speaker == old.person, new.speaker == new.person)
                    if voice[0] != voice[1] or (voice[0] and old.person != new.person):
                        continue  # who "I" is cannot be read off the words
                    same_form = "same form" if old.form == new.form else "other form"
                    if "trap" in (old.label, new.label):
                        made.append(Pair(old.text, new.text, "new", f"trap, {same_form}"))
                    elif old.person != new.person:
                        made.append(Pair(old.text, new.text, "new", f"another person, {same_form}"))
                    elif old.value == new.value:
                        made.append(Pair(old.text, new.text, "restates", same_form))
                    elif new.label == "changes":
                        made.append(Pair(old.text, new.text, "supersedes", same_form))
        rng.shuffle(made)
        return made[:most]

    def _values(self, attribute: str) -> list[str]:
        rng = self._rng
        if attribute in POOLS:
            pool = POOLS[attribute].split()
        elif attribute == "phone":
            pool = [f"555-{n:04d}" for n in rng.sample(range(10_000), 60)]
        elif attribute == "office":
            pool = [str(n) for n in rng.sample(range(101, 999), 60)]
        elif attribute == "rent":
            pool = [f"£{n}" for n in rng.sample(range(1101, 1999), 60)]
        else:  # a day and an hour, so that there are enough of them
            days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
            pool = [f"{day} at {hour}:{minute}" for day in days for hour in (8, 9, 10, 11) for minute in (15, 30, 45)]
        rng.shuffle(pool)
        return pool

    def _forms(self, forms: tuple[str, ...]) -> tuple[str, ...]:
        middle = len(forms) // 2
        return {"tuning": forms[:middle], "held-out": forms[middle:], "all": forms}[self.half]

    def _plan(self) -> None:
        rng = self._rng
        by_session: dict[int, list[tuple[str, str, str, str]]] = defaultdict(list)  # label, person, attribute, value
        for person in PEOPLE[: self.people]:
            for attribute in STATES:
                if rng.random() < 0.2:
                    continue  # never said: what the never_said questions ask about
                first = rng.randrange(max(1, self.sessions // 2))
                times = sorted(
                    rng.sample(
                        range(first + 1, self.sessions), min(self._count(self.changes), self.sessions - first - 1)
                    )
                )
                for n, session in enumerate([first, *times]):
                    value = self._unused[attribute].pop()
                    by_session[session].append(("changes" if n else "states", person, attribute, value))
                    until = times[n] if n < len(times) else self.sessions
                    for again in range(self._count(self.repeats) if until > session + 1 else 0):
                        del again
                        by_session[rng.randrange(session + 1, until)].append(("repeats", person, attribute, value))
        for number in range(self.sessions):
            self._speak(number, by_session[number])

    def _speak(self, number: int, facts: list[tuple[str, str, str, str]]) -> None:
        rng = self._rng
        plan = list(facts)
        for _ in range(round(self.noise * max(2, len(facts)))):
            attribute = rng.choice(list(STATES))
            if rng.random() < 0.5 and len(self._unused[attribute]) > 3 * self.people:
                plan.append(("trap", rng.choice(PEOPLE[: self.people]), attribute, self._unused[attribute].pop()))
            else:
                plan.append(("chatter", rng.choice(PEOPLE[: self.people]), "", ""))
        rng.shuffle(plan)
        at = START + timedelta(days=14 * number)
        for n, (label, person, attribute, value) in enumerate(plan):
            origin, when = f"s{number}t{n}", at + timedelta(minutes=n)
            if label == "chatter":
                self.turns.append(Turn(origin, f"s{number}", person, rng.choice(CHATTER), when, label))
                continue
            table = {"changes": CHANGES, "trap": TRAPS}.get(label, STATES)
            form = rng.choice(self._forms(table[attribute]))
            others = [p for p in PEOPLE[: self.people] if p != person]
            speaker = rng.choice(others) if others and rng.random() < 0.5 else person
            text = render(form, person if speaker != person else "I", value)
            if rng.random() < 0.2:
                prefix = rng.choice(PREFIXES)
                text = prefix + (text if text.startswith(("I ", person, value)) else text[0].lower() + text[1:])
            self.turns.append(Turn(origin, f"s{number}", speaker, text, when, label, person, attribute, value, form))

    def _explain(self) -> None:
        """Give some changes a cause, by a chance of their own, so that nothing else of the stream is touched."""
        rng = random.Random(f"causes {self.seed}")
        unused = CAUSES.split()
        rng.shuffle(unused)
        told: list[Turn] = []
        for place, turn in enumerate(self.turns):
            if turn.label != "changes" or not unused or rng.random() >= self.causes:
                continue
            cause = unused.pop()
            clause = rng.choice(self._forms(BECAUSE)).replace("{v}", cause)
            self.turns[place] = replace(turn, text=f"{turn.text[:-1]} {clause}.", cause=cause)
            number = int(turn.session[1:])
            if rng.random() < 0.5:
                told.append(self._event(turn, cause, rng.randrange(max(0, number - 3), number), rng))
        self.turns = sorted([*self.turns, *told], key=lambda turn: turn.at)

    def _event(self, change: Turn, cause: str, number: int, rng: random.Random) -> Turn:
        """The cause as a turn of its own, at the end of an earlier session."""
        form = rng.choice(self._forms(EVENTS))
        speaker = rng.choice(PEOPLE[: self.people])
        text = render(form, "I" if speaker == change.person else change.person, cause)
        at = START + timedelta(days=14 * number, hours=2, minutes=int(change.origin.split("t")[1]))
        origin = f"{change.origin}-event"
        return Turn(origin, f"s{number}", speaker, text, at, "event", change.person, "", cause, form, cause)

    def _count(self, mean: float) -> int:
        return int(mean) + (self._rng.random() < mean % 1)

    def _ask(self) -> None:
        rng = self._rng
        for person in PEOPLE[: self.people]:
            for attribute, asked in WORDINGS[self.wording].items():
                name, past = asked.format(p=person), f"{person}-{attribute}"
                line = self.values(person, attribute)
                if not line:
                    self.questions.append(Question(f"{past}-never", "never_said", f"{name}?", person, attribute, ()))
                    continue
                said = [value for _, value in line]
                self._put(past, "current", f"{name} now?", person, attribute, said[-1:], said[:-1])
                self._put(past, "history", f"{name}, from first to last?", person, attribute, said, [])
                if len(line) > 1:
                    n = rng.randrange(len(line) - 1)
                    moment = line[n][0] + (line[n + 1][0] - line[n][0]) / 2
                    text = f"{name} on {moment:%-d %B %Y}?"
                    self._put(past, "at_date", text, person, attribute, [said[n]], said[:n] + said[n + 1 :], moment)

    def _ask_why(self) -> None:
        for person in PEOPLE[: self.people]:
            for attribute, asked in WHY.items():
                changed = [t for t in self.turns if (t.person, t.attribute, t.label) == (person, attribute, "changes")]
                line = [value for _, value in self.values(person, attribute)]
                for turn in changed:
                    if not turn.cause:
                        continue
                    old = line[line.index(turn.value) - 1]
                    text = asked.format(p=person, v=old, a=_article(old)) + "?"
                    wrong = tuple(t.cause for t in changed if t.cause and t.cause != turn.cause)
                    evidence = tuple(t.origin for t in self.turns if t.cause == turn.cause)
                    name = f"{person}-{attribute}-cause-{turn.cause}"
                    cause = (turn.cause,)
                    self.questions.append(
                        Question(name, "cause", text, person, attribute, cause, wrong, evidence=evidence)
                    )

    def _put(
        self, stem: str, kind: str, text: str, person: str, attribute: str,
        gold: Sequence[str], wrong: Sequence[str], as_of: datetime | None = None,
    ) -> None:  # fmt: skip
        evidence = tuple(t.origin for t in self.turns if t.value in gold and t.person == person and t.label != "trap")
        question = Question(f"{stem}-{kind}", kind, text, person, attribute, tuple(gold), tuple(wrong), as_of, evidence)
        self.questions.append(question)


def render(form: str, who: str, value: str) -> str:
    """A template in words: `who` is "I" or a name."""
    first = who == "I"
    text = re.sub(r"\[([\w ]+)\|([\w ]+)\]", r"\1" if first else r"\2", form)
    text = text.replace("{a}", _article(value)).replace("{v}", value).replace("{I}", who)
    text = text.replace("{my}", "my" if first else f"{who}'s").replace("{me}", "me" if first else who)
    return text[0].upper() + text[1:]


def _article(value: str) -> str:
    return "an" if value[0].lower() in "aeiou" else "a"


def states_value(text: str, value: str) -> bool:
    """Whether a text holds the words of a value."""
    return re.search(rf"(?<![\w£-]){re.escape(value)}(?![\w-])", text, re.I) is not None


def score(
    stream: FactStream, answers: Mapping[str, Sequence[str]], kept: Sequence[str] | None = None
) -> dict[str, float]:
    """Score the evidence that a memory gives to each question, best first, and the texts that it holds to be true.

    answers  question id -> texts; an empty list is "nothing on that"
    kept     the memory's current statements, each once; None leaves `duplicate_rate` out
    returns  shares in [0, 1]:
             stale_rate      current questions whose first text with any value of the fact holds an older one
             lost_rate       current questions of which no text holds the value (of all kinds: `evidence_lost_rate`)
             at_date_right   at_date questions whose first text with any value holds the right one
             history_whole   history questions of which every value is held by some text
             invented_rate   never_said questions that were given any text
             cause_right     cause questions of which some text holds the cause; only where causes are asked for
             duplicate_rate  kept statements of facts that say what an earlier one says
    """
    tally: Counter[str] = Counter()
    totals = Counter(q.kind for q in stream.questions)
    for q in stream.questions:
        texts = answers.get(q.id, ())
        if q.kind == "never_said":
            tally["invented"] += bool(texts)
            continue
        first = next((v for text in texts for v in (*q.gold, *q.wrong) if states_value(text, v)), None)
        missing = [v for v in q.gold if not any(states_value(text, v) for text in texts)]
        tally["evidence_lost"] += bool(missing)
        if q.kind == "current":
            tally["stale"] += first in q.wrong
            tally["lost"] += bool(missing)
        elif q.kind == "at_date":
            tally["at_date"] += first in q.gold
        else:
            tally[q.kind] += not missing
    answerable = max(1, sum(n for kind, n in totals.items() if kind != "never_said"))
    out = {
        "stale_rate": tally["stale"] / max(1, totals["current"]),
        "lost_rate": tally["lost"] / max(1, totals["current"]),
        "evidence_lost_rate": tally["evidence_lost"] / answerable,
        "at_date_right": tally["at_date"] / max(1, totals["at_date"]),
        "history_whole": tally["history"] / max(1, totals["history"]),
        "invented_rate": tally["invented"] / max(1, totals["never_said"]),
    }
    if totals["cause"]:
        out["cause_right"] = tally["cause"] / totals["cause"]
    if kept is not None:
        out["duplicate_rate"] = _duplicates(stream, kept)
    return out


def _duplicates(stream: FactStream, kept: Sequence[str]) -> float:
    facts = {t.value for t in stream.turns if t.label in ("states", "changes")}
    said = Counter(value for text in kept for value in facts if states_value(text, value))
    return (sum(said.values()) - len(said)) / max(1, sum(said.values()))
