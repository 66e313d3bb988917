"""Which facts a question asks for: those on an attribute that it speaks of, of a subject that it names.

"Whom does Clara work for?" shares one word with "Clara joined Vandelay", but it asks for Clara's employer, and a fact
under that name says it is Vandelay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from slowwave.ops import words
from slowwave.ops.consolidate import fact_name
from slowwave.ops.modality import is_state
from slowwave.ops.vocabulary import SPELLINGS, VOCABULARY, cues_of, other_names, value_key
from slowwave.records import Engram
from slowwave.store.base import Row
from slowwave.store.clock import to_micros

SHARED = 3  # attributes that may have a word in common for it to tell anything: "like" goes with every favourite
_FIRST_PERSON = re.compile(r"\b(?:I|(?i:my|me|mine|we|our))\b")
MOST = 4  # attributes that one question may ask for


def asked_facts(question: str, subjects: Iterable[str]) -> list[str]:
    """The names under which the facts that a question asks for would be found, see `fact_name`."""
    attributes = attributes_in(question)
    return [fact_name(subject, attribute) for subject in subjects for attribute in attributes]


def attributes_in(question: str) -> list[str]:
    """The attributes that a question speaks of: by name ("phone number"), else by telling words ("live", "sit")."""
    named = _named(question)
    if named:
        longest = max(len(VOCABULARY[name].name.split()) for name in named)
        return list(dict.fromkeys(n for n in named if len(VOCABULARY[n].name.split()) == longest))[:MOST]
    stems = {words.stem(token.surface.lower()) for token in words.tokens(question)}
    cued = Counter({name: len(attribute.cues & stems & _telling()) for name, attribute in VOCABULARY.items()})
    return [name for name, count in cued.most_common(MOST) if count and count == max(cued.values())]


def names_attribute(question: str) -> bool:
    """Whether a question calls an attribute by a name of its own, so that it is plain which one it asks for."""
    return bool(_named(question))


def _named(question: str) -> list[str]:
    said = " ".join(re.findall(r"\w+", question.casefold()))
    for other, usual in SPELLINGS:
        said = said.replace(other, usual)
    pattern, names = _forms()
    return [names[form] for form in pattern.findall(said)]


def overtaking(fact: Engram, rows: Iterable[Row]) -> Row | None:
    """The latest turn after a fact that speaks of the same attribute of the same subject and does not say its value.

    What no rule and no model has read in it may be a newer value, so the fact is not to be shown before it.
    """
    newest: Row | None = None
    subject, attribute = str(fact.attrs.get("subject", "")), str(fact.attrs.get("attribute", ""))
    value = value_key(str(fact.attrs.get("value", "")))
    cues, since = cues_of(attribute), to_micros(fact.at)
    speaks = re.compile("|".join(map(re.escape, sorted(cues))) or r"(?!)", re.I).search
    name = re.compile(rf"\b{re.escape(subject)}\b", re.I).search
    for row in rows:
        if row.kind != "episode" or row.at <= since or row.until is not None or (newest and row.at < newest.at):
            continue
        own = (row.speaker or "").casefold() == subject.casefold() and _FIRST_PERSON.search(row.text)
        if not speaks(row.text) or not (own or name(row.text)):
            continue
        said = {token.key for token in words.tokens(row.text)}
        if said & cues and not value <= said and is_state(row.text):
            newest = row
    return newest


@lru_cache(maxsize=1)
def _forms() -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern of all names of attributes that have telling words, the longest first, and the attribute of each."""
    names = {form: name for form, name in other_names().items() if VOCABULARY[name].cues}
    forms = sorted(names, key=lambda form: (-len(form), form))
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, forms))})\b"), names


@lru_cache(maxsize=1)
def _telling() -> frozenset[str]:
    """Cues that go with few attributes."""
    counts = Counter(cue for attribute in VOCABULARY.values() for cue in attribute.cues)
    return frozenset(cue for cue, count in counts.items() if count <= SHARED)
