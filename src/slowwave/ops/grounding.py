"""Whether a statement stays within its sources: what none of them says turns it down, with the reason.

By words alone, in about a millisecond: names, numbers and dates must be in a source (a date also where words such as
"yesterday" lead to it from the day they were said), the statement must speak of whom the source speaks of ("I" is who
speaks), must not deny what the source affirms, and a share of its telling words must be the source's. A lie made of the
source's own words can pass; what may rest on a statement must be decided with that in mind (see `outcomes.py`).

How many true statements it turns down, and how many corrupted ones it lets pass, stands in tests/ops/test_grounding.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from slowwave.ops import words
from slowwave.ops.calendar import Stretch, stretch
from slowwave.ops.dates import TimeSpan, find_times
from slowwave.ops.modality import is_unreal
from slowwave.ops.names import COMMON, JOINS, names
from slowwave.ops.numbers import missing_number
from slowwave.records import Engram

SHARE = 0.4  # of a statement's telling words that must be in its sources; chosen on tuning data, see the test
NEAR = timedelta(days=10)  # a stretch no longer than this may be told as one of its days
ALIKE = 5  # letters that two words must share from their beginnings to count as one: "inspiring", "inspiration"

_IDIOMS = re.compile(  # a "not", an "I" or a "you" in these says nothing of what is told
    r"\b(?:(?:just so |as |did |do )?you know|(?:see|tell|told|thank|let) you(?: know)?"
    r"|i (?:think|guess|mean|see|bet|hope|know)"
    r"|(?:can|could)(?:'t| ?not) (?:wait|believe|help|imagine|agree|stop|thank)|couldn't be"
    r"|(?:don't|do not) (?:worry|get me wrong|forget|hesitate|mention|think|know|let|give up|quit)"
    r"|(?:not|never) (?:to )?(?:forget|give up|quit)|never (?:mind|fails?|thought|gets? old|too late)"
    r"|not (?:only|just|to mention|sure|so|too|that|bad)|why (?:not|don't)|nothing (?:beats|like|better)"
    r"|no (?:problem|worries|doubt|way|wonder|matter|need|idea)|without (?:a )?(?:doubt|question)"
    r"|(?:isn't|aren't|doesn't|don't|didn't|wasn't|won't) (?:it|you|that|they)\b|nor "
    r"|(?:have|has)n't .{0,20}(?:in|for) (?:a while|ages|so long))",
    re.I,
)
_ENDED = re.compile(
    r"\b(?:stopped|quit|quitting|gave up|given up|used to|no longer|anymore|any more|refus(?:es?|ed))\b", re.I
)
_DENIES = re.compile(
    r"n['’]t\b|\b(?:no|not|never|none|nobody|nothing|neither|nor|cannot|cant|dont|didnt|without|hardly|unable|fail\w*"
    r"|hat(?:e|es|ed)|dislik\w+|stopp?\w*|quit\w*|gave up|lack\w*|refus\w+|avoid\w*|lost|less|away from|instead"
    r"|un\w{4,})\b",
    re.I,
)
_DISLIKE = words.word_set("hate hates hated dislike dislikes disliked detest detests loathe loathes")
_LIKE = words.word_set("like likes liked love loves loved enjoy enjoys enjoyed adore adores adored prefer prefers")
_CLAUSE = re.compile(r"[,;:()]\s|\s[-–—]+\s|\s(?:and|but|or|because|while|although|though|so|whereas)\s")
_GREETING = r"(?:hey|hi|hello|thanks|thank you|wow|yeah|yes|no|congrats|bye|morning|dear|sorry|sure|absolutely),?\s"
_ADDRESS = re.compile(  # "Hey Mel, ...", "Anna, ...", "..., Anna!": who is spoken to, not of
    rf"(?i:\b{_GREETING})[A-Z]\w+(?=\s*[,.!?…-]|$)|^[A-Z]\w+(?=\s*[,!])|,\s[A-Z]\w+(?=\s*[.!?…]|,\s|$)"
)
_PAST_OR_PRESENT = re.compile(
    r"^(?:'s\b|(?:\s(?:now|just|also|still|already|recently|finally|really))*\s"
    rf"(?:\w+(?:s|ed)|{'|'.join(sorted(words.PAST_FORMS))})\b)"
)
_OPEN = re.compile(r"^(?:since|until|till|before|after|from|by|as of|up to)\s", re.I)
_EMPTY = words.MODALS | words.word_set(
    "be have get make take go come do say tell talk mention share express discuss describe state ask feel find think "
    "believe know like love enjoy want need look see use try keep give thing something someone people person way lot "
    "time day very more most also new good great who whom which that what when where how"
)
_SECOND, _FIRST, _THIRD = {"~you"}, {"~i", "~we"}, {"~he", "~she", "~they"}


def ungrounded(statement: str, sources: Sequence[Engram], around: Iterable[str] = (), value: str = "") -> str:
    """What the statement says that no source does, as a reason; "" if there is nothing.

    sources  their texts, speakers and dates count as said
    around   names of others who were there: "you" in a source may mean them
    value    the words that are the point of the statement, where they are known: most of them must be the sources'
    """
    ground = Ground.of(sources, around)
    return ground.lacks(statement) or (ground.lacks_value(value) if value else "")


@dataclass(frozen=True, slots=True)
class _Clause:
    """A piece of a sentence: its stems, who it speaks of, and whether it denies.

    sharp    those of the stems that are names or numbers
    persons  "~i", "~you", ... as `words.tokens` has them; `named` the names, in lower case
    leads    the name that is its grammatical subject; ""
    """

    stems: frozenset[str]
    sharp: frozenset[str]
    persons: frozenset[str]
    named: frozenset[str]
    leads: str
    speaker: str
    negative: bool
    unreal: bool


@dataclass(frozen=True, slots=True)
class Ground:
    """What some records say, made ready so that many statements can be held against it."""

    text: str
    stems: frozenset[str]
    heads: frozenset[str]
    clauses: tuple[_Clause, ...]
    said_at: datetime | None
    times: tuple[Stretch, ...]
    speakers: frozenset[str]
    around: frozenset[str]
    denies: bool

    @classmethod
    def of(cls, sources: Sequence[Engram], around: Iterable[str] = (), said: str = "") -> Ground:
        """The ground that records give.

        said  a further text whose words count as said, such as the question that a statement answers
        """
        voices = [engram.speaker for engram in sources if engram.speaker and engram.speaker.strip()]
        others = [name for name in around if name.strip()]
        speakers = frozenset(voice.casefold() for voice in voices)
        text = " ".join([said, *(f"{e.speaker or ''} {words.straight(e.text)} {e.at:%d %B %Y}" for e in sources)])
        stems = _stems(text)
        return cls(
            text,
            stems,
            frozenset(stem[:ALIKE] for stem in stems if len(stem) >= ALIKE),
            tuple(
                clause
                for engram in sources
                for clause in _clauses(engram.text, engram.speaker or "", [*others, *voices])
            ),
            max((engram.at for engram in sources), default=None),
            tuple(stretch for engram in sources for stretch in _spoken_of(engram)),
            speakers,
            frozenset(name.casefold() for name in others) - speakers,
            any(_DENIES.search(engram.text) or _ENDED.search(engram.text) for engram in sources),
        )

    def lacks(self, statement: str) -> str:
        """The first thing that keeps the statement from standing on this ground, as a sentence; "" if nothing does."""
        statement = words.straight(statement)
        if self.said_at is None:
            return "it names no source"
        return (
            self.lacks_detail(statement)
            or self.of_another(statement)
            or self.flips(statement)
            or self._made_real(statement)
            or self._too_far(statement)
        )

    def lacks_detail(self, statement: str) -> str:
        """The first name, date or number that is in none of the sources."""
        statement, low = words.straight(statement), self.text.casefold()
        for name in _names(statement, self.stems):
            if not all(self._knows(part) for part in re.findall(r"\w+", name) if part.lower() not in JOINS):
                return f"the name {name!r} is in none of its sources"
        bare = statement
        for span in _times(statement, self.said_at) if self.said_at else ():
            if span.text.casefold() not in low and not self._dated(span):
                return f"the time {span.text!r} is in none of its sources"
            bare = bare.replace(span.text, " ", 1)
        number = missing_number(bare, self.text)
        return f"the number {number!r} is in none of its sources" if number else ""

    def lacks_value(self, value: str) -> str:
        """Whether half of a value's telling words, or one of its names and numbers, is in none of the sources."""
        telling = [stem for stem in _stems(value) if stem not in _EMPTY]
        if 2 * sum(map(self._has, telling)) <= len(telling) and telling:
            return f"the value {value!r} is in none of its sources"
        return self.lacks_detail(value)

    def lacks_claim(self, subject: str, attribute: str, value: str) -> str:
        """What keeps "subject's attribute is value" from standing on this ground, its attribute aside."""
        return self.lacks_detail(subject) or self.of_another(f"{subject}'s {attribute} is {value}.")

    def share(self, statement: str) -> float:
        """The share of the statement's telling words that the sources have, in [0, 1]; 1 where it has none."""
        telling = [stem for stem in _stems(statement) if stem not in _EMPTY]
        return sum(map(self._has, telling)) / len(telling) if telling else 1.0

    def missing(self, statement: str) -> list[str]:
        """The stems of the statement's telling words that no source has, in the order of the alphabet."""
        return sorted(stem for stem in _stems(statement) if stem not in _EMPTY and not self._has(stem))

    # -- the parts

    def _has(self, stem: str) -> bool:
        return stem in self.stems or (len(stem) >= ALIKE and stem[:ALIKE] in self.heads)

    def _knows(self, part: str) -> bool:
        """Whether a part of a name is said, or is a short or long form of one that is ("Mel", "Melanie")."""
        low = part.casefold().removesuffix("'s")
        if low in self.stems or words.stem(low) in self.stems or re.search(rf"\b{re.escape(low)}\b", self.text, re.I):
            return True
        if low in self.around:
            return any(clause.persons & _SECOND for clause in self.clauses)
        forms = {word.casefold() for word in re.findall(r"\b[A-Z]\w{2,}", self.text)} - COMMON
        return len(low) > 2 and any(form.startswith(low) or low.startswith(form) for form in forms)

    def _dated(self, span: TimeSpan) -> bool:
        """Whether some source was said in the stretch, or speaks of a time that lies in it."""
        start, end = span.start.replace(tzinfo=None), span.end.replace(tzinfo=None)
        return any(
            (start <= first and last <= end) or (last - first <= NEAR and start < last and first < end)
            for first, last in self.times
        )

    def _best(self, stems: Iterable[str]) -> tuple[int, list[_Clause]]:
        """How many of the stems the best clauses hold, and those clauses."""
        wanted = frozenset(stems)
        counts = [(len(wanted & clause.stems), clause) for clause in self.clauses]
        most = max((count for count, _ in counts), default=0)
        return most, [clause for count, clause in counts if count == most]

    def of_another(self, statement: str) -> str:
        """Whether it says of one person what the best source clauses say of another."""
        subject = self._subject(statement)
        if subject is None:
            return ""
        most, best = self._best(stem for stem in _stems(statement) if stem not in _EMPTY)
        if not most or any(self._may_be_of(subject, clause) for clause in best):
            return ""
        return f"what it says of {subject.title()} its sources say of another"

    def _subject(self, statement: str) -> str | None:
        """The one person that the statement speaks of, of those who speak or were there; None if there are several."""
        known = self.speakers | self.around
        here = [name for name in known if re.search(rf"\b{re.escape(name.split()[0])}\b", statement, re.I)]
        return here[0] if len(here) == 1 else None

    def _may_be_of(self, subject: str, clause: _Clause) -> bool:
        first = subject.split()[0]
        if subject == clause.speaker.casefold():
            if clause.persons & _FIRST or first in clause.named:
                return True
            return not clause.leads and not (clause.persons & _SECOND and not clause.persons & _THIRD)
        if first in clause.named or any(len(n) > 2 and first.startswith(n) for n in clause.named):
            return True
        if clause.persons & _SECOND:
            return True
        return bool(clause.persons & _THIRD) and not clause.persons & _FIRST

    def flips(self, statement: str) -> str:
        """Whether it denies what its sources affirm, or the other way round, as far as the words show it."""
        for clause in _clauses(statement, "", ()):
            if clause.negative and not self.denies:
                return "it denies, and its sources deny nothing"
            telling = frozenset(stem for stem in clause.stems if not self._is_person(stem))
            most, best = self._best(telling)
            sharp = most and most == len(telling) - 1 and all(telling & clause.sharp & other.sharp for other in best)
            if most < 2 and most < len(telling) and not sharp:
                continue
            if most and all(other.negative != clause.negative for other in best):
                said = "denies what its sources affirm" if clause.negative else "affirms what its sources deny"
                return f"it {said}"
        return ""

    def _made_real(self, statement: str) -> str:
        """Whether it states as so what the best source clauses only ask, wish, plan or guess."""
        if is_unreal(statement):
            return ""
        most, best = self._best(stem for stem in _stems(statement) if not self._is_person(stem))
        wished = most > 1 and all(clause.unreal for clause in best)
        return "it states as so what its sources only ask, wish, plan or guess" if wished else ""

    def _is_person(self, stem: str) -> bool:
        return any(stem == words.stem(part) for name in self.speakers | self.around for part in name.split())

    def _too_far(self, statement: str) -> str:
        share = self.share(statement)
        return f"only {share:.0%} of its words are in its sources" if share < SHARE else ""


def _spoken_of(engram: Engram) -> Iterator[Stretch]:
    """The day on which it was said, and the times that it speaks of, without their zones."""
    day = engram.at.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    yield day, stretch(day, days=1)[1]
    for span in _times(words.straight(engram.text), engram.at):
        yield span.start.replace(tzinfo=None), span.end.replace(tzinfo=None)


def _times(text: str, moment: datetime) -> Iterator[TimeSpan]:
    """The times of a text; of one that is open to one side ("since May") the time that bounds it."""
    for span in find_times(text, moment):
        bound = _OPEN.sub("", span.text)
        yield from [span] if bound == span.text else find_times(f"in {bound}", moment)


def _names(statement: str, known: frozenset[str]) -> Iterator[str]:
    """The names of a statement, and its first word where a verb after it makes it one."""
    found = names(statement)
    yield from found
    first = re.match(r"[A-Z][\w]+", statement)
    if first and first.group() not in found and first.group().lower() not in COMMON:
        low = first.group().lower()
        verb = _PAST_OR_PRESENT.match(statement[first.end() :])
        if verb and low not in known and words.stem(low) not in known and not low.endswith(("ing", "ly")):
            yield first.group()


def _stems(text: str) -> frozenset[str]:
    """The telling stems of a text: words, names and numbers; Chinese and Japanese as pairs of characters."""
    found = {t.key for t in words.tokens(text) if t.kind in ("word", "name", "number") and t.key not in words.MODALS}
    return frozenset(part for stem in found for part in words.pairs(stem))


def _clauses(text: str, speaker: str, people: Sequence[str]) -> Iterator[_Clause]:
    """The clauses of a text; one that names nobody is about those of the clause before it in its sentence."""
    for sentence in words.sentences(words.straight(text)):
        plain = _IDIOMS.sub(" ", sentence)
        bare = _ADDRESS.sub(" ", plain)
        persons: frozenset[str] = frozenset()
        named: frozenset[str] = frozenset()
        leads = ""
        for piece in _CLAUSE.split(bare):  # a question mark asks with the last of them
            toks = words.tokens(piece)
            here = frozenset(t.key for t in toks if t.kind == "person")
            called = (name for name in names(piece, people) if not name.isupper())
            mentioned = frozenset(part.casefold() for name in called for part in re.findall(r"\w+", name))
            if here or mentioned:
                persons, named, leads = here, mentioned, _leads(piece, mentioned)
            sharp = frozenset(t.key for t in toks if t.kind in ("name", "number"))
            stems = frozenset(
                "like" if t.surface.lower() in _DISLIKE | _LIKE else t.key
                for t in toks
                if t.kind in ("word", "name", "number") and t.key not in words.MODALS
            )
            denials = sum(t.kind == "negation" for t in toks) + sum(t.surface.lower() in _DISLIKE for t in toks)
            ended = _ENDED.search(piece) is not None and not any(t.kind == "negation" for t in toks)
            unreal = is_unreal(piece)
            yield _Clause(stems, sharp, persons, named, leads, speaker, (denials + ended) % 2 == 1, unreal)


def _leads(piece: str, people: frozenset[str]) -> str:
    """The name that a verb or a possessive makes the subject of a clause."""
    for match in re.finditer(r"[A-Z]\w+", piece):
        name = match.group()
        if name.casefold() in people and not name.isupper() and _PAST_OR_PRESENT.match(piece[match.end() :]):
            return name.casefold()
    return ""
