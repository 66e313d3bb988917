"""Statements with attributes that hold over time, read off plain English by patterns: who, what about them, what value.

"I moved to Lisbon" says that the speaker's home is Lisbon; "my sister's name is Anna" that the speaker's sister is
Anna. Few forms, each tied to words that leave little doubt, because a wrong fact costs more than a missed one: recall
is modest by intent. Questions, hypotheses, plans, wishes and the words of others yield nothing; a denial yields
polarity False, and what was but need no longer be ("used to live", "worked at") yields about_past True.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from slowwave.ops import words
from slowwave.ops.forms import KIN_MANY, PETS, Rule, rules
from slowwave.ops.names import COMMON, TITLES


@dataclass(frozen=True, slots=True)
class Statement:
    """One attribute of one subject, as a text states it.

    subject        the speaker, or the name or thing spoken of
    attribute      such as "home", "employer", "favourite colour", "phone number", "daughter"
    value          as it was said, without the article
    single_valued  whether another value would replace this one
    span           (start, end) of the words that say it, in the text given
    polarity       False where it is denied or has ended ("I no longer work at Acme")
    about_past     whether it is told of the past alone ("I used to live in Rome")
    """

    subject: str
    attribute: str
    value: str
    single_valued: bool
    span: tuple[int, int]
    polarity: bool = True
    about_past: bool = False


_UNREAL = re.compile(
    r"\b(?:if|would|could|might|(?-i:may)|maybe|perhaps|wish|hope|hoping|imagine|suppose|pretend|thinking (?:of|"
    r"about)|consider(?:ing)?|"
    r"plan(?:ning)? (?:to|on)|want(?:s|ed)? to|going to|gonna|dream(?:ed|ing|t)? |unless|whether|what if|as if|"
    r"like when|"
    r"should|act as|role|story|character|write|novel|example\b(?!\.)|let's say|assume|will|decided? to|fantas\w+|"
    r"almost|nearly|not sure)\b"
    r"|'d\b|'ll\b",
    re.I,
)
_OTHERS = re.compile(
    r"\b(?:said|says|told|tells|heard|read|claims?|claimed|wrote|asked|reports?|according to|rumou?r|thinks?|thought|"
    r"believes?|believed|guess|lyrics?|song|movie|book|quote)\b[^.,;]*$",
    re.I,
)
_TRAIL = re.compile(r"\s(?:last|this|next|\w+ (?:years?|months?|weeks?|days?) ago)\b.*$|'s$", re.I)
_BACK = re.compile(r"\b(?:moved|rescheduled|pushed|postponed|scheduled)\b", re.I)


def statements(text: str, speaker: str | None = None) -> list[Statement]:
    """The statements in a text, in order of where they stand.

    speaker  who says "I" and "my"; "I" stands for an unknown one
    returns  Statements whose spans index `text`; none from questions, hypotheses, plans, wishes and quotations
    """
    found: dict[tuple[str, str, str], Statement] = {}
    plain = text.translate({0x2019: "'", 0x2018: "'", 0x201C: '"', 0x201D: '"'})
    begin = 0
    for sentence in words.sentences(plain):
        begin = plain.index(sentence, begin)
        if not sentence.rstrip("\"') ").endswith("?"):
            for statement in _read(sentence, begin, speaker or "I"):
                found.setdefault((statement.subject, statement.attribute, statement.value.lower()), statement)
        begin += len(sentence)
    return sorted(found.values(), key=lambda s: s.span)


def _read(sentence: str, begin: int, speaker: str) -> Iterator[Statement]:
    low = sentence.lower()
    for rule in rules():
        if not rule.cue.search(low):
            continue
        for match in rule.pattern.finditer(sentence):
            before = sentence[: match.start()]
            clause = re.split(r"[,;:]\s(?:but|and|so)?|\sbut\s|\s-\s", before)[-1]
            if (
                _UNREAL.search(clause)
                or _OTHERS.search(before)
                or before.count('"') % 2
                or _UNREAL.search(match.group())
            ):
                continue
            made = _made(rule, match, begin, speaker)
            if made is not None:
                yield made


def _made(rule: Rule, match: re.Match[str], begin: int, speaker: str) -> Statement | None:
    groups = match.groupdict()
    who = _who(groups.get("who") or groups.get("owner") or "I", speaker)
    attribute = rule.attribute if isinstance(rule.attribute, str) else rule.attribute(match)
    value = match["value"].strip(" .,'")
    if who is None or attribute is None or not value or (rule.proper and not _proper(value)):
        return None
    if any(part.lower() in words.PERSONS for part in value.split()) and attribute != "activity":
        return None
    if value.lower() in COMMON and not rule.proper and attribute not in ("marital status", "job status"):
        return None
    several = attribute in KIN_MANY | PETS or re.search(r"favou?rite .*\sare\b", match.group(), re.I) is not None
    single = rule.single and not several
    denied = groups.get("no") is not None
    was = rule.past or (bool(re.search(r"\swas\b", match.group())) and attribute != "birth" and not _result(match))
    return Statement(
        who,
        attribute,
        _TRAIL.sub("", re.sub(r"^(?:an?|the)\s", "", value, flags=re.I)),
        single,
        (begin + match.start(), begin + match.end()),
        rule.polarity and not denied,
        was,
    )


def _result(match: re.Match[str]) -> bool:
    """Whether a past form tells of a state that it led to: "was moved to", "was promoted to"."""
    return bool(_BACK.search(match.group()) or "promoted" in match.group().lower())


def _who(said: str, speaker: str) -> str | None:
    low = said.lower()
    if low in ("i", "we", "my", "our"):
        return speaker
    if low == "the":
        return speaker
    name = said.removesuffix("'s").strip()
    first = name.split()[0].lower()
    return None if first in COMMON or first in words.PERSONS or name.lower() in TITLES else name


def _proper(value: str) -> bool:
    first = value.removeprefix("the ").split()[0].lower().strip(".'")
    return first not in COMMON or (first in ("new", "great") and " " in value)
