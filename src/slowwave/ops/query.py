"""What a query asks for: its telling words, whom it speaks of, whether it asks about time, and how to search for it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from slowwave.ops.words import MONTHS, WEEKDAYS, pairs, word_set

# Words that tell nothing about what is looked for; "t", "s", "re" is what a tokenizer leaves of "don't", "it's".
STOP_WORDS = word_set(
    "a about above after again all am an and any are as at be because been before being below between both but by can "
    "could d did do does doing don done down during each few for from further had has have having he her here hers "
    "him his how i if in into is it its just ll m may me might mine more most my no nor not now of off on once only or "
    "other our ours out over own re s same shall she should so some such t than that the their theirs them then there "
    "these they this those through to too under until up us ve very was we were what when where which while who whom "
    "whose why will with would you your yours"
)
GENERIC = word_set(  # verbs and nouns that ask for whatever there is
    "activities activity anything events event everything go going gone happen happened happening happens know "
    "mention mentioned remember say said something talk talked tell thing things told went"
)
USER_ROLES = word_set("user human me customer client")
ASSISTANT_ROLES = word_set("assistant ai bot agent model system chatbot")
_NO_NAMES = STOP_WORDS | MONTHS | WEEKDAYS
COMMON_SHARE = 0.2  # a word in more records than this tells little, and its list is long to read
MAX_TERMS = 24
MIN_TERMS = 3
MAX_POSTINGS = 5_000  # a few milliseconds

_WORD = re.compile(r"[^\W_]+")
_CAPITAL = re.compile(r"(?<![\w'’])[^\W\d_a-z][\w'’.-]*")
_OPENING = re.compile(r"(?:^|[.!?:;]\s|[\n\"“])\s*$")
_FOLLOWS = re.compile(r"\s+[^\W\d_a-z]")
_POSSESSIVE = re.compile(r"['’]s?$")
_FIRST_PERSON = re.compile(r"\b(?:I|i|my|My|me|mine|myself)\b")
_REMIND_ME = re.compile(r"\b(?:remind|tell|show|give|help) me\b", re.I)
_SAID = "said|told|recommended|suggested|mentioned|gave|given|advised|proposed|explained|listed|wrote|provided|shared"
_SAY = "say|tell|recommend|suggest|mention|give|advise|propose|explain|list|write|provide|share"
_YOU_SAID = re.compile(
    rf"\byou(?:['’]ve| have| had)?(?: once| previously| already| just| earlier)? (?:{_SAID})\b"
    rf"|\b(?:did|have|had) you (?:{_SAY}|{_SAID})\b"
    r"|\byour (?:advice|answer|recommendation|suggestion|reply|replies|response)s?\b",
    re.I,
)
_WHEN = re.compile(
    r"\bwhen\b|\bhow (?:long|often|recently)\b|\b(?:what|which) (?:date|day|month|year|time|week|weekend)\b"
    r"|\bhow many (?:days|weeks|months|years|hours)\b|\bsince\b",
    re.I,
)
_PAST = re.compile(
    r"\b(?:used to|previously|former(?:ly)?|before|in the past|back then|original(?:ly)?|at first|earlier|history"
    r"|from first to last|over (?:time|the years)|so far|one after (?:another|the other)"
    r"|in the beginning|at (?:that|the) time|ever|changed?)\b"
    r"|\b(?:was|were|did)\b[^?]*\b(?:until|back|ago)\b"
    r"|\bold (?:job|address|number|home|house|phone|email|car|name)\b",
    re.I,
)
_CURRENT = re.compile(
    r"\b(?:current|currently|now|nowadays|today|these days|at the moment|at present|latest|newest|most recent|still|"
    r"right now|as of (?:today|now))\b",
    re.I,
)


@dataclass(frozen=True, slots=True)
class QueryAnalysis:
    """What a query asks for.

    text           the query as it came
    terms          its telling words in lower case, each once; all its words where none tells anything
    speakers       those of the scope's speakers that it speaks of, spelled as the scope spells them
    names          capitalised words that are no speaker: perhaps people, places, things
    wants_time     asks when, how long or how often
    wants_past     asks about what was, so that superseded records are as good as current ones
    wants_current  asks for what holds now
    embedding      the text to encode: in the voice of the one speaker it is about, since that is how records read
    """

    text: str
    terms: tuple[str, ...]
    speakers: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    wants_time: bool = False
    wants_past: bool = False
    wants_current: bool = False
    embedding: str = ""


def analyse(query: str, speakers: Collection[str] = ()) -> QueryAnalysis:
    """Read a query by rules, without a model.

    query     any text; nothing in it can raise
    speakers  everyone who speaks in the scope

    A name is recognised whole, by its first word, or by a capitalised short form of three letters and more ("Mel" for
    "Melanie") if only one speaker fits. "I" and "my" mean a speaker with a role name such as "user"; what "you said"
    means the one called "assistant".
    """
    words = [word.lower() for word in _WORD.findall(query)]
    telling = [term for word in words if word not in STOP_WORDS for term in pairs(word)]
    about = _speakers(query, words, speakers)
    spoken_of = {part for name in about for part in _WORD.findall(name.lower())}
    return QueryAnalysis(
        text=query,
        terms=tuple(dict.fromkeys(telling or words)),
        speakers=about,
        names=tuple(name for name in _names(query) if name.lower() not in spoken_of),
        wants_time=bool(_WHEN.search(query)),
        wants_past=bool(_PAST.search(query)),
        wants_current=bool(_CURRENT.search(query)),
        embedding=_in_the_voice_of(about[0], query) if len(about) == 1 else query,
    )


def choose_terms(
    terms: Sequence[str], frequency: Mapping[str, int], records: int, at_most: int = MAX_TERMS
) -> tuple[str, ...]:
    """The terms worth looking up, rarest first. Unknown words go; common ones go where enough rarer ones remain.

    frequency  in how many records each term occurs (0 or missing: in none)
    records    how many records the index holds

    A search takes as long as the lists of its terms are, so in a large index they share `MAX_POSTINGS`; the rarest
    `MIN_TERMS` are looked up whatever they cost.
    """
    known = sorted((term for term in terms if frequency.get(term, 0) > 0), key=lambda term: frequency[term])
    rare = [term for term in known if frequency[term] <= COMMON_SHARE * records]
    chosen: list[str] = []
    postings = 0
    for term in (rare if len(rare) >= 2 else known)[:at_most]:
        postings += frequency[term]
        if len(chosen) >= MIN_TERMS and postings > MAX_POSTINGS:
            break
        chosen.append(term)
    return tuple(chosen)


def asks_nothing_else(terms: Sequence[str], said: Sequence[str]) -> bool:
    """Whether the telling words of a query are only those of its time expressions and words like "happen"."""
    timely = {word.lower() for text in said for word in _WORD.findall(text)}
    return all(term in timely or term in GENERIC for term in terms)


def speaker_match(speaker: str | None, analysis: QueryAnalysis) -> float:
    """1 if the query speaks of this speaker, else 0."""
    return 1.0 if speaker is not None and speaker in analysis.speakers else 0.0


def _names(query: str) -> list[str]:
    """Capitalised words but months and weekdays; one that opens a sentence only if another follows: "Ana Diaz"."""
    found: list[str] = []
    for match in _CAPITAL.finditer(query):
        name = _POSSESSIVE.sub("", match.group()).rstrip(".-’'")
        opens = _OPENING.search(query[: match.start()]) is not None
        named = len(name) > 1 and name.lower() not in _NO_NAMES
        if named and (not opens or _FOLLOWS.match(query, match.end())):
            found.append(name)
    return list(dict.fromkeys(found))


def _speakers(query: str, words: Sequence[str], speakers: Collection[str]) -> tuple[str, ...]:
    present = set(words)
    roles = USER_ROLES | ASSISTANT_ROLES
    people = [name for name in speakers if name.lower() not in roles]
    parts = {name: _WORD.findall(name.lower()) for name in people}
    found = {name for name in people if parts[name] and (parts[name][0] in present or set(parts[name]) <= present)}
    for short in _CAPITAL.findall(query):
        fits = [
            name for name in people if len(short) >= 3 and name.lower().startswith(_POSSESSIVE.sub("", short.lower()))
        ]
        if len(fits) == 1:
            found.add(fits[0])
    if not found:  # "what did I tell you about Ana" is about Ana where she speaks herself
        wanted: frozenset[str] = frozenset()
        if _YOU_SAID.search(query):
            wanted = ASSISTANT_ROLES
        elif _FIRST_PERSON.search(_REMIND_ME.sub("", query)):
            wanted = USER_ROLES
        found = {name for name in speakers if name.lower() in wanted}
    return tuple(name for name in speakers if name in found)


def _in_the_voice_of(speaker: str, query: str) -> str:
    """Records read "Ana: I went ...", so "When did Ana go?" is searched as "Ana: When did I go?"."""
    spoken = query
    if speaker.lower() not in USER_ROLES | ASSISTANT_ROLES:
        for name in (speaker, (_WORD.findall(speaker) or [speaker])[0]):
            spoken = re.sub(rf"\b{re.escape(name)}['’]s\b", "my", spoken)
            spoken = re.sub(rf"\b{re.escape(name)}\b", "I", spoken)
    return f"{speaker}: {spoken}"
