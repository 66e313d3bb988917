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
from slowwave.ops.vocabulary import SPELLINGS, VOCABULARY, cues_of, value_key
from slowwave.records import Engram
from slowwave.store.base import Row
from slowwave.store.clock import to_micros

SHARED = 3  # attributes that may have a word in common for it to tell anything: "like" goes with every favourite
MOST = 4  # attributes that one question may ask for


def asked_facts(question: str, subjects: Iterable[str]) -> list[str]:
    """The names under which the facts that a question asks for would be found, see `fact_name`."""
    attributes = attributes_in(question)
    return [fact_name(subject, attribute) for subject in subjects for attribute in attributes]


def attributes_in(question: str) -> list[str]:
    """The attributes that a question speaks of: by name ("phone number"), else by telling words ("live", "sit")."""
    said = " ".join(re.findall(r"\w+", question.casefold()))
    for other, usual in SPELLINGS:
        said = re.sub(rf"\b{other}\b", usual, said)
    named = [name for form, name in _forms() if re.search(rf"\b{form}\b", said)]
    if named:
        longest = max(len(VOCABULARY[name].name.split()) for name in named)
        return list(dict.fromkeys(n for n in named if len(VOCABULARY[n].name.split()) == longest))[:MOST]
    stems = {words.stem(token.surface.lower()) for token in words.tokens(question)}
    cued = Counter({name: len(attribute.cues & stems & _telling()) for name, attribute in VOCABULARY.items()})
    return [name for name, count in cued.most_common(MOST) if count and count == max(cued.values())]


def overtaking(fact: Engram, rows: Iterable[Row]) -> Row | None:
    """The latest turn after a fact that speaks of the same attribute of the same subject and does not say its value.

    What no rule and no model has read in it may be a newer value, so the fact is not to be shown before it.
    """
    newest: Row | None = None
    subject, attribute = str(fact.attrs.get("subject", "")), str(fact.attrs.get("attribute", ""))
    value = value_key(str(fact.attrs.get("value", "")))
    cues, since = cues_of(attribute), to_micros(fact.at)
    for row in rows:
        if row.kind != "episode" or row.at <= since or row.until is not None or (newest and row.at < newest.at):
            continue
        low = row.text.casefold()
        if not any(cue in low for cue in cues) or not _is_of(row, low, subject.casefold()):
            continue
        said = {token.key for token in words.tokens(row.text)}
        if said & cues and not value <= said and is_state(row.text):
            newest = row
    return newest


def _is_of(row: Row, low: str, subject: str) -> bool:
    if re.search(rf"\b{re.escape(subject)}\b", low):
        return True
    return (row.speaker or "").casefold() == subject and re.search(r"\b(?:i|my|me|mine|we|our)\b", low) is not None


@lru_cache(maxsize=1)
def _forms() -> tuple[tuple[str, str], ...]:
    """(name or other name, attribute), the longest first; of single-valued attributes, and plain nouns alone."""
    forms = [
        (re.escape(form), attribute.name)
        for attribute in VOCABULARY.values()
        if attribute.cues
        for form in {attribute.name, *attribute.also}
    ]
    return tuple(sorted(forms, key=lambda pair: (-len(pair[0]), pair[0])))


@lru_cache(maxsize=1)
def _telling() -> frozenset[str]:
    """Cues that go with few attributes."""
    counts = Counter(cue for attribute in VOCABULARY.values() for cue in attribute.cues)
    return frozenset(cue for cue, count in counts.items() if count <= SHARED)
