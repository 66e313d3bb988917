"""What one night makes of what was said: repeats are folded, newer values supersede older ones, facts are written down.

Pure: records in, Changes out. Nothing is decided on likeness alone (see `compare`), and nothing is lost: what is folded
or superseded keeps its text, leaves or stays in view with a reason, and comes back with `undo`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from slowwave.ops.compare import compare
from slowwave.ops.dates import find_times
from slowwave.ops.made import Made
from slowwave.ops.statements import Statement, statements
from slowwave.ops.vocabulary import canonical, value_key
from slowwave.records import Change, Engram, Link
from slowwave.store.ids import new_id

SIMILAR = 0.6  # cosine from the scope's centre above which two records of different sessions are tied as similar
_SUPPOSED = re.compile(r"\b(?:when|if|once|until|till|before|after|unless|whether|as though|as if)\b[^.!?;\n]*$", re.I)
LONGEST = 500  # characters; a longer text is no single statement, and only its very repetition counts
_HAPPENED = re.compile(
    r"\b(?:was|were|went|did|had|got|came|saw|made|took|gave|found|met|bought|said|told|felt|left|ran|ate|\w{3,}ed)\b",
    re.I,
)


def compare_with_older(new: Engram, older: Sequence[tuple[Engram, float]], now: datetime) -> list[Change]:
    """What a new record does to the nearest older ones: at most one repeat or replacement, and ties to what is alike.

    older  (record, cosine), best first
    """
    out: list[Change] = []
    for old, cosine in older:
        if old.speaker != new.speaker or old.kind != new.kind or old.until is not None:
            continue
        if max(len(old.text), len(new.text)) > LONGEST and old.text != new.text:
            continue
        verdict = compare(old.text, new.text, cosine)
        if verdict.outcome == "restates" and _same_occasion(old, new):
            out.append(_fold(old, new, verdict.reason, now))
            break
        if verdict.outcome == "supersedes" and new.at >= old.at:
            out.append(_supersede(old, new, verdict.reason, now))
            break
        if verdict.outcome == "contradicts":
            tie = Link(new.id, "contradicts", old.id)
            out.append(Change("contradict", new.id, verdict.reason, links=(tie,), sources=(old.id, new.id)))
        elif verdict.outcome == "refines":
            tie = Link(new.id, "supports", old.id)
            out.append(Change("refine", new.id, verdict.reason, links=(tie,), sources=(old.id, new.id)))
    if not out:
        out += _ties(new, older)
    return out


def _ties(new: Engram, older: Sequence[tuple[Engram, float]]) -> list[Change]:
    alike = [(old, cosine) for old, cosine in older if cosine >= SIMILAR and old.session != new.session][:2]
    if not alike:
        return []
    links = tuple(Link(new.id, "similar", old.id, round(min(1.0, cosine), 3)) for old, cosine in alike)
    sources = (new.id, *(old.id for old, _ in alike))
    return [Change("link", new.id, "comes back to what an earlier session spoke of", links=links, sources=sources)]


def _same_occasion(old: Engram, new: Engram) -> bool:
    """Whether words that agree also speak of the same thing: "I ran yesterday", said twice, is two runs."""
    if old.session == new.session and old.at.date() == new.at.date():
        return True
    if _HAPPENED.search(new.text):
        return False
    return not find_times(new.text, new.at) and not find_times(old.text, old.at)


def _fold(old: Engram, new: Engram, reason: str, now: datetime) -> Change:
    return Change(
        "merge",
        new.id,
        f"repeats {old.id}: {reason}",
        fields={"retired": now, "retired_why": "merged"},
        guard={"retired": None},
        links=(Link(new.id, "supports", old.id),),
        sources=(old.id, new.id),
    )


def _supersede(old: Engram, new: Engram, reason: str, now: datetime) -> Change:
    return Change(
        "supersede",
        old.id,
        f"{reason} (says {new.id})",
        fields={"until": max(new.at, old.at), "closed": now},
        guard={"until": None, "retired": None},
        links=(Link(new.id, "supersedes", old.id),),
        sources=(old.id, new.id),
    )


def fact_origin(statement: Statement) -> str:
    """The name under which facts about a statement's attribute of its subject are found again."""
    return fact_name(statement.subject, canonical(statement.attribute))


def fact_name(subject: str, attribute: str) -> str:
    """The name under which facts about one attribute of one subject are found again."""
    return f"fact:{subject.casefold()}|{attribute.casefold()}"


def read_facts(engram: Engram) -> list[Statement]:
    """The statements of a record that are worth a fact; what stands in quotation marks is somebody else's."""
    if engram.kind != "episode" or len(engram.text) > 4000:
        return []
    text = unquoted(engram.text)
    return [
        found
        for found in statements(text, engram.speaker)
        if not found.about_past and not _SUPPOSED.search(text[: found.span[0]])
    ]


def unquoted(text: str) -> str:
    """The text with what stands between double quotation marks blanked out.

    A quotation that is opened goes on to the end; one that is only closed has begun before the text.
    """
    parts = re.split(r'["“”]', text)
    first = re.search(r'["“”]', text)
    if first and (first.group() == "”" or (first.start() > 0 and not text[first.start() - 1].isspace())):
        parts.insert(0, "")  # the first mark closes
    return "".join(part if place % 2 == 0 else "." + " " * (len(part) + 1) for place, part in enumerate(parts))


def note_fact(
    said: Statement, engram: Engram, held: list[Engram], made: Made, now: datetime, half_life_days: float
) -> None:
    """Write a statement down: a new fact, one more support of a known one, or the successor of an older value.

    held  the facts in view of the same subject and attribute, oldest first; it is brought up to date
    """
    value = _key(said.value)
    same = next((fact for fact in held if _key(str(fact.attrs["value"])) == value and fact.until is None), None)
    if not said.polarity:
        if same is not None and engram.at >= same.at:
            reason = f"{said.subject} no longer: {said.value}"
            made.changes.append(_supersede(same, engram, reason, now))
            held[held.index(same)] = same.with_(until=engram.at)
        return
    if same is not None:
        if engram.id not in same.sources:
            tie = Link(engram.id, "supports", same.id)
            made.changes.append(Change("support", same.id, "said again", links=(tie,), sources=(engram.id, same.id)))
        if said.single_valued:
            _settle(same, held, made, now)
        return
    current = [fact for fact in held if fact.until is None] if said.single_valued else []
    following = min((fact for fact in current if fact.at > engram.at), key=lambda fact: fact.at, default=None)
    later = following.at if following else None
    fact = Engram(
        id=new_id(),
        kind="fact",
        text=f"{said.subject}'s {said.attribute} is {said.value}",
        scope=engram.scope,
        at=engram.at,
        until=later,
        closed=now if later else None,
        recorded=now,
        sources=(engram.id,),
        attrs={
            "subject": said.subject,
            "attribute": canonical(said.attribute),
            "value": said.value,
            "speaker": engram.speaker,
            "by": "sleep",
        },
        origin=fact_origin(said),
        half_life_days=half_life_days,
    )
    links = [Link(following.id, "supersedes", fact.id)] if following else []
    made.add(fact, "add", f"{engram.speaker or 'it'} said so on {engram.at:%Y-%m-%d}", links)
    if said.single_valued:
        _settle(fact, held, made, now)
    held.append(fact)


def _settle(fact: Engram, held: list[Engram], made: Made, now: datetime) -> None:
    """Of facts that exclude each other the older ones end where this one began."""
    for old in [other for other in held if other.until is None and other.id != fact.id and other.at <= fact.at]:
        if _key(str(old.attrs["value"])) != _key(str(fact.attrs["value"])):
            reason = f"{fact.attrs['attribute']} of {fact.attrs['subject']} was {old.attrs['value']}, "
            made.changes.append(_supersede(old, fact, f"{reason}is {fact.attrs['value']}", now))
            held[held.index(old)] = old.with_(until=fact.at)


def _key(value: str) -> frozenset[str]:
    return value_key(value) or frozenset(re.findall(r"\w+", value.casefold()))


def fade(due: Sequence[Engram], now: datetime) -> list[Change]:
    """The steps down the forgetting curve that are due: what was not used for a half-life weighs half."""
    from slowwave.ops.fading import next_halving, strength_at

    out = []
    for engram in due:
        last = engram.used or engram.recorded
        strength = strength_at(1.0, last, now, engram.half_life_days)
        days = (now - last).days
        out.append(
            Change(
                "weaken",
                engram.id,
                f"not used for {days} days",
                fields={"strength": strength, "due": next_halving(1.0, last, now, engram.half_life_days)},
                guard={"strength": engram.strength},
                sources=(engram.id,),
            )
        )
    return out
