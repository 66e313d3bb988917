"""What was said ends with what it told: a turn of which every fact has ended, and that tells nothing more, ends too.

"I live in Rome", said by Anna, is over when Bruno says "Anna moved to Oslo". The fact drawn from it is found by its
subject and attribute; the turn is found by the fact. A turn that tells more stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from slowwave.ops import words
from slowwave.ops.made import Made
from slowwave.ops.modality import is_state
from slowwave.ops.vocabulary import cues_of, is_cued, value_key
from slowwave.records import Change, Engram, Link
from slowwave.store.base import View

BESIDES = 2  # words that may be left over in a turn that tells nothing more


def end_told(view: View, made: Made, now: datetime) -> None:
    """Propose the end of the turns that told what this night's changes have ended."""
    ended = _ended(made)
    if not ended:
        return
    fresh = {engram.id: engram for engram in made.engrams}
    facts = {id_: e for id_, e in _get(view, fresh, ended).items() if e.kind == "fact"}
    told = _told_in(view, made, facts)
    turns = view.get(sorted({id_ for many in told.values() for id_ in many}))
    gone = {change.id for change in made.changes if {"until", "retired"} & change.fields.keys()}
    drawn = _drawn_from(view, made, fresh, list(turns))
    successors = _get(view, fresh, [successor for successor, _ in ended.values()])
    for fact in facts.values():
        successor, end = ended[fact.id]
        by = _turn_of(successors.get(successor), successor)
        for turn in (turns[id_] for id_ in told.get(fact.id, ()) if id_ in turns):
            live = turn.kind == "episode" and turn.until is None and turn.retired is None and turn.id not in gone
            others = drawn.get(turn.id, [])
            if not live or by == turn.id or any(e.until is None and e.id not in ended for e in others):
                continue
            if says_more(turn, [fact, *others]):
                continue
            gone.add(turn.id)
            made.changes.append(
                Change(
                    "supersede",
                    turn.id,
                    f"all that it says has ended with {fact.id}",
                    fields={"until": max(end, turn.at), "closed": now},
                    guard={"until": None, "retired": None},
                    links=(Link(by, "supersedes", turn.id),),
                    sources=(fact.id, by),
                )
            )


def fold_told(view: View, made: Made, now: datetime) -> None:
    """Propose that turns which only say a known fact again leave the view; they support the fact, and undo brings them.

    Whoever found the repeat, the words bear it out: the value, a word that goes with the attribute, the same subject,
    stated as so, and nothing more.
    """
    ties = {tie.source: tie.target for change in made.changes if change.verb == "support" for tie in change.links}
    fresh = {engram.id: engram for engram in made.engrams}
    facts = _get(view, fresh, list(dict.fromkeys(ties.values())))
    gone = {change.id for change in made.changes if {"until", "retired"} & change.fields.keys()}
    for turn in view.get(list(ties)).values():
        fact = facts.get(ties[turn.id])
        live = turn.kind == "episode" and turn.until is None and turn.retired is None and turn.id not in gone
        if fact is None or not live or fact.id in gone or not _is_repeat(turn, fact):
            continue
        made.changes.append(
            Change(
                "merge",
                turn.id,
                f"says {fact.id} again, and nothing more",
                fields={"retired": now, "retired_why": "merged"},
                guard={"retired": None},
                links=(Link(turn.id, "supports", fact.id),),
                sources=(turn.id, fact.id),
            )
        )


def _is_repeat(turn: Engram, fact: Engram) -> bool:
    subject, attribute = str(fact.attrs.get("subject", "")), str(fact.attrs.get("attribute", ""))
    value = value_key(str(fact.attrs.get("value", "")))
    said = _stems(turn.text)
    own = (turn.speaker or "").casefold() == subject.casefold() and "~i" in {t.key for t in words.tokens(turn.text)}
    named = all(part.casefold() in turn.text.casefold() for part in subject.split())
    if not (value and value <= said and (own or named) and is_cued(attribute, [turn.text]) and is_state(turn.text)):
        return False
    return not says_more(turn, [fact])


def says_more(turn: Engram, facts: Iterable[Engram]) -> bool:
    """Whether a turn tells more than these facts do: another name or number, or more than two other words."""
    known: set[str] = set()
    for fact in facts:
        known |= _stems(fact.text) | cues_of(str(fact.attrs.get("attribute", "")))
    rest = [t for t in words.tokens(turn.text) if t.kind in ("word", "name", "number") and t.key not in known | IDLE]
    own = {part.casefold() for part in (turn.speaker or "").split()}
    rest = [token for token in rest if token.surface.casefold() not in own]
    return len({t.key for t in rest}) > BESIDES or any(t.kind in ("name", "number") for t in rest)


IDLE = frozenset(
    words.stem(w)
    for w in words.word_set(
        "by way as said you know well just so good news update because have been get got from today days month week now"
    )
)


def _ended(made: Made) -> dict[str, tuple[str, datetime]]:
    """What this night has ended: id -> (what took its place, when)."""
    out = {}
    for change in made.changes:
        if change.verb == "supersede" and change.fields.get("until") is not None and change.links:
            out[change.id] = (change.links[0].source, change.fields["until"])
        elif change.engram is not None and change.engram.until is not None:  # it had ended before it was read
            later = next((tie.source for tie in change.links if tie.relation == "supersedes"), None)
            if later is not None and later != change.id:
                out[change.id] = (later, change.engram.until)
    return out


def _told_in(view: View, made: Made, facts: Mapping[str, Engram]) -> dict[str, list[str]]:
    """Fact -> the turns that say it: its sources, and what supports it, of earlier nights and of this one."""
    out = {id_: list(fact.sources) for id_, fact in facts.items()}
    ties = [*view.links(list(facts), ("supports",)), *(tie for change in made.changes for tie in change.links)]
    for tie in ties:
        if tie.relation == "supports" and tie.target in out:
            out[tie.target].append(tie.source)
    return {id_: list(dict.fromkeys(many)) for id_, many in out.items()}


def _drawn_from(view: View, made: Made, fresh: Mapping[str, Engram], turns: Sequence[str]) -> dict[str, list[Engram]]:
    """Turn -> the facts that were drawn from it, or that it supports."""
    ids: dict[str, set[str]] = {turn: set() for turn in turns}
    for turn, made_of in view.derived(turns).items():
        ids[turn].update(made_of)
    for tie in [*view.links(list(turns), ("supports",)), *(tie for change in made.changes for tie in change.links)]:
        if tie.relation == "supports" and tie.source in ids:
            ids[tie.source].add(tie.target)
    for engram in fresh.values():
        for source in engram.sources:
            if source in ids:
                ids[source].add(engram.id)
    known = _get(view, fresh, {id_ for many in ids.values() for id_ in many})
    facts = {id_: engram for id_, engram in known.items() if engram.kind == "fact" and engram.retired is None}
    return {turn: [facts[id_] for id_ in sorted(many) if id_ in facts] for turn, many in ids.items()}


def _get(view: View, fresh: Mapping[str, Engram], ids: Iterable[str]) -> dict[str, Engram]:
    wanted = list(dict.fromkeys(ids))
    return view.get([id_ for id_ in wanted if id_ not in fresh]) | {id_: fresh[id_] for id_ in wanted if id_ in fresh}


def _turn_of(successor: Engram | None, id_: str) -> str:
    """The turn behind a successor: the first source of a fact, the turn itself otherwise."""
    return successor.sources[0] if successor is not None and successor.kind == "fact" and successor.sources else id_


def _stems(text: str) -> set[str]:
    return {t.key for t in words.tokens(text) if t.kind in ("word", "name", "number")}
