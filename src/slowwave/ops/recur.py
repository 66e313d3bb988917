"""What recurs: a name that comes up again and again gets a note, and the records that speak of it are tied to it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.names import names
from slowwave.ops.telling import NOTE, tell
from slowwave.ops.words import sentences
from slowwave.records import Change, Engram, Link, Scope
from slowwave.store.ids import new_id

FEWEST = 3  # records, of at least two sessions, from which a name counts as recurring
_LOWER = re.compile(r"(?<![\w'’-])[a-z][\w'’-]{2,}")
_TITLES = "Mr|Mrs|Ms|Dr|Prof|Miss|Madam|Professor|Count|Lord|Lady|Sir|Herr|Captain|Old|The|Poor"
_HONORIFIC = re.compile(rf"^(?:{_TITLES})\.?\s+")
_NAMELIKE = re.compile(r"[A-Z][\w'’.&-]*(?: (?:of|the|de|da|di|van|von|der|du|la|le|and|[A-Z0-9][\w'’.&-]*))*")
GROWTH = 2  # a note is written anew when its name has come up this many times as often
MOST_SHOWN = 12  # records that a model is shown
MOST_TOLD = 3  # sentences that it may write
MOST_TIES = 20  # ties from one note that one night makes


def by_name(episodes: Sequence[Engram], voices: Iterable[str]) -> dict[str, list[Engram]]:
    """Names and the episodes that speak of them; without those who speak themselves, titles, and everyday words.

    voices  the speakers of the scope: what is said about them is found by who speaks
    """
    known = [word for voice in voices for word in [voice, *voice.split()]]
    everyday = {word for engram in episodes for word in _LOWER.findall(engram.text)}
    found: dict[str, list[Engram]] = {}
    for engram in episodes:
        for name in {_HONORIFIC.sub("", name) for name in names(engram.text)}:
            if (
                2 < len(name) <= 60
                and _NAMELIKE.fullmatch(name)
                and name.lower() not in everyday
                and not any(voice.startswith(name) or name.endswith(voice) for voice in known)
            ):
                found.setdefault(name, []).append(engram)
    return found


def name_origin(name: str) -> str:
    """The name under which the note of a name is found again."""
    return f"name:{name.casefold()}"


def note_name(
    name: str,
    fresh: Sequence[Engram],
    older: Sequence[Engram],
    held: Engram | None,
    made: Made,
    now: datetime,
    llm: LLM | None = None,
) -> None:
    """Propose a note for a name, a newer one where it has grown much, or only the ties of what is new.

    fresh  records of this night that speak of it; `older` those from before (a sample)
    held   the note that there is
    llm    tells who or what it is, in sentences that rest on records; None tells how often it came up, and where
    """
    if held is not None:  # a night that looks again must not count again
        fresh = [engram for engram in fresh if engram.recorded > held.recorded]
        if not fresh:
            return
    spoken = sorted([*older, *fresh], key=lambda engram: (engram.at, engram.id))
    count = len(fresh) + (int(held.attrs["mentions"]) if held else len(older))
    if held is not None and count < GROWTH * int(held.attrs["mentions"]):
        made.changes.append(_tie(held.id, name, fresh))
        return
    if held is None and (count < FEWEST or len({_sitting(engram) for engram in spoken}) < 2):
        return
    first, last = spoken[0], spoken[-1]
    if held is not None and str(held.attrs["first_at"]) < first.at.isoformat():
        opening = str(held.attrs["opening"])
        first_at, sources = str(held.attrs["first_at"]), (held.id, last.id)
    else:
        opening, first_at, sources = _sentence(first, name), first.at.isoformat(), (first.id, last.id)
    chosen = [*([held] if held else []), first, last]
    shown = _spread(spoken)
    told = [] if llm is None else tell("note", NOTE, shown, llm, made, MOST_TOLD, (), name)
    cited = {id_ for _, ids in told for id_ in ids}
    chosen += [engram for engram in shown if engram.id in cited and engram not in chosen]
    also = tuple(engram.id for engram in shown if engram.id in cited)
    note = Engram(
        id=new_id(),
        kind="note",
        text=" ".join(sentence for sentence, _ in told)
        + f"{' ' if told else ''}{name} comes up in {count} records from {first_at[:10]} to {last.at:%Y-%m-%d}. "
        f"First: {opening} Last: {_sentence(last, name)}",
        scope=Scope.common(engram.scope for engram in chosen),
        at=first.at if held is None else min(first.at, held.at),
        recorded=now,
        sources=tuple(dict.fromkeys((*sources, *also))),
        attrs={"by": "sleep", "name": name, "mentions": count, "first_at": first_at, "opening": opening},
        origin=name_origin(name),
    )
    links = [Link(engram.id, "about", note.id) for engram in fresh[:MOST_TIES]]
    if held is not None:
        links.append(Link(note.id, "supersedes", held.id))
    made.add(note, "note", f"{name} came up {len(fresh)} times since the last night", links)
    if held is not None:
        made.changes.append(
            Change(
                "retire",
                held.id,
                f"a newer note on {name} takes its place",
                fields={"retired": now, "retired_why": "corrected"},
                guard={"retired": None},
                sources=(held.id, note.id),
            )
        )


def _spread(spoken: Sequence[Engram]) -> list[Engram]:
    """At most a dozen of the records, from the first to the last."""
    if len(spoken) <= MOST_SHOWN:
        return list(spoken)
    last = len(spoken) - 1
    return [spoken[round(place * last / (MOST_SHOWN - 1))] for place in range(MOST_SHOWN)]


def _tie(note: str, name: str, fresh: Sequence[Engram]) -> Change:
    links = tuple(Link(engram.id, "about", note) for engram in fresh[:MOST_TIES])
    return Change("link", note, f"{name} came up again", links=links, sources=tuple(e.id for e in fresh[:MOST_TIES]))


def _sitting(engram: Engram) -> str:
    return engram.session or f"{engram.at:%Y-%m-%d}"


def _sentence(engram: Engram, name: str) -> str:
    """The sentence of a record that holds the name, with its speaker; cut at 240 characters."""
    pattern = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.I)
    found = next((sentence for sentence in sentences(engram.text) if pattern.search(sentence)), engram.text)
    found = found if len(found) <= 240 else found[:237] + "..."
    return f'{engram.speaker}: "{found}"' if engram.speaker else f'"{found}"'
