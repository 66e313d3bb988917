"""Memory nodes: a statement with its key, tags, background, confidence and tier, as a memory tree keeps them.

A node is an engram of kind "fact". Its key names the slot it fills ("ana|home") and is the end of its origin, so that a
slot is found again by one look-up; its tags are the stems of its telling words.

Source: MemOS (2025, arXiv 2507.03724): {key, tags, background, sources, confidence}, long-term and user memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from slowwave.ops import words
from slowwave.ops.extraction import Draft, as_fact
from slowwave.ops.keyphrases import LIGHT
from slowwave.ops.query import USER_ROLES
from slowwave.records import Engram

CONFIDENCE = 0.99  # of what was extracted; MemOS' own figure
MOST_TAGS = 12
BESIDES = (
    3  # telling words that may stand beside a statement in a turn that says nothing else ("I should mention that")
)


@lru_cache(maxsize=16384)
def tags(text: str) -> tuple[str, ...]:
    """The stems of the telling words, names and numbers of a text, each once, in order of mention."""
    found = (
        token.key
        for token in words.tokens(text)
        if token.kind in ("word", "name", "number") and token.key not in LIGHT and token.surface.lower() not in LIGHT
    )
    return tuple(dict.fromkeys(found))


def tags_of(text: str, speaker: str | None) -> frozenset[str]:
    """The tags of a record: those of its words and of who speaks."""
    return frozenset(tags(text)) | (frozenset(tags(speaker)) if speaker else frozenset())


def key_of(subject: str, attribute: str) -> str:
    """The slot that a statement fills, spelled alike for "Home" and "homes"; "" where either is unknown."""
    stems = " ".join(words.stem(word) for word in attribute.casefold().split())
    return f"{subject.strip().casefold()}|{stems}" if subject.strip() and stems else ""


def origin_of(key: str) -> str:
    """The name under which the nodes of one slot are found again."""
    return f"node:{key}"


def keys_asked(names: Iterable[str], asked: Sequence[str]) -> list[str]:
    """The slots that a query may be about: each name with each word, and with each two that stand side by side."""
    stems = [words.stem(word) for word in asked]
    attributes = [*stems, *(f"{a} {b}" for a, b in pairwise(stems))]
    return [f"{name.casefold()}|{attribute}" for name in names for attribute in attributes]


def as_node(draft: Draft, sources: Sequence[Engram], now: datetime, half_life_days: float, system: str) -> Engram:
    """A draft as a node: a fact with its key, tags, background (where it was said), confidence and tier.

    The tier is "user" for what is about the scope's owner or whoever speaks as the user, else "long-term".
    """
    fact = as_fact(draft, sources, now, half_life_days, system)
    said = next(engram for engram in sources if engram.id == draft.sources[-1])
    where = f"session {said.session}" if said.session else "no session"
    owner = (fact.scope.user_id or "").casefold()
    about_user = draft.subject.casefold() in {owner, *USER_ROLES} - {""}
    attrs = {
        **fact.attrs,
        "key": key_of(draft.subject, draft.attribute),
        "tags": list(tags(draft.text)[:MOST_TAGS]),
        "background": f"said by {said.speaker or 'someone'} on {said.at:%Y-%m-%d}, {where}",
        "confidence": CONFIDENCE,
        "tier": "user" if about_user else "long-term",
        "status": "activated",
        "single": draft.single,
    }
    return fact.with_(attrs=attrs, origin=origin_of(str(attrs["key"])) if attrs["key"] else None)


def says_more(episode: Engram, nodes: Iterable[Engram]) -> bool:
    """Whether a turn tells more than these nodes do: more than a few other words, or another name or number."""
    told = {tag for node in nodes for tag in tags_of(node.text, str(node.attrs.get("attribute", "")))}
    rest = [t for t in words.tokens(episode.text) if t.key in set(tags(episode.text)) - told]
    return len({t.key for t in rest}) > BESIDES or any(t.kind in ("name", "number") for t in rest)
