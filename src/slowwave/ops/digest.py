"""Summaries of sittings and of long stretches: every sentence stands in a source that is named, or rests on one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import ScopeError
from slowwave.models.llm import LLM
from slowwave.ops.made import Made
from slowwave.ops.summarise import summarise
from slowwave.ops.telling import SUMMARY, tell
from slowwave.records import Engram, Link, Scope
from slowwave.store.ids import new_id

GAP = timedelta(hours=6)  # silence that ends a sitting
MOST_TURNS = 60  # turns that one summary covers
FEWEST_TURNS, FEWEST_WORDS = 5, 100  # less needs no summary
MOST_TOLD = 6  # sentences that a model may write
FEWEST_TOLD = 2  # of these must stand on their turns
STRETCH = 8  # summaries that make a stretch


def sittings(episodes: Sequence[Engram]) -> Iterator[list[Engram]]:
    """New episodes in the order of time, cut where the session changes, a silence falls in none, or it grows long."""
    order = sorted(episodes, key=lambda engram: (str(engram.scope), engram.session or "", engram.at, engram.id))
    group: list[Engram] = []
    for engram in order:
        if group and (
            engram.scope != group[-1].scope
            or engram.session != group[-1].session
            or (engram.session is None and engram.at - group[-1].at > GAP)
            or len(group) >= MOST_TURNS
        ):
            yield group
            group = []
        group.append(engram)
    if group:
        yield group


def digest_sitting(
    sitting: Sequence[Engram],
    vectors: Mapping[str, NDArray[np.float32]],
    made: Made,
    now: datetime,
    max_sentences: int = 5,
    llm: LLM | None = None,
) -> str | None:
    """Propose a summary of one sitting; returns its id, None where the sitting is too short for one.

    llm  writes it, sentence by sentence from turns that it cites; None, or where too little of that stands on its
         turns: the sentences that say most, as they were said
    """
    words = sum(len(engram.text.split()) for engram in sitting)
    if len(sitting) < FEWEST_TURNS or words < FEWEST_WORDS:
        return None
    told = [] if llm is None else tell("summary", SUMMARY, sitting, llm, made, MOST_TOLD)
    if len(told) >= FEWEST_TOLD:
        cited = {id_ for _, ids in told for id_ in ids}
        sources = [engram for engram in sitting if engram.id in cited]
        text = " ".join(sentence for sentence, _ in told)
        return _propose(text, sources, sitting[0], sitting[-1], len(sitting), 1, made, now, sitting[0].session, "model")
    rows = [vectors[engram.id] for engram in sitting if engram.id in vectors]
    table = np.stack(rows) if len(rows) == len(sitting) else None
    speakers = {engram.speaker for engram in sitting if engram.speaker}
    summary = summarise([engram.text for engram in sitting], table, max_sentences, 700, speakers)
    if not summary.sentences:
        return None
    text, last = "", None
    for place, sentence in summary.sentences:
        speaker = sitting[place].speaker
        text += f"{' ' if text else ''}{f'{speaker}: ' if speaker and speaker != last else ''}{sentence}"
        last = speaker
    sources = [sitting[place] for place in summary.sources]
    return _propose(text, sources, sitting[0], sitting[-1], len(sitting), 1, made, now, sitting[0].session)


def digest_stretch(
    parts: Sequence[Engram], level: int, made: Made, now: datetime, llm: LLM | None = None
) -> str | None:
    """Propose a summary of summaries; returns its id, None where they share no scope or say nothing.

    llm  writes it, as in `digest_sitting`
    """
    try:
        Scope.common(part.scope for part in parts)
    except ScopeError:
        return None
    turns = sum(int(part.attrs.get("turns", 1)) for part in parts)
    told = [] if llm is None else tell("summary", SUMMARY, parts, llm, made, MOST_TOLD)
    if len(told) >= FEWEST_TOLD:
        cited = {id_ for _, ids in told for id_ in ids}
        sources = [part for part in parts if part.id in cited]
        text = " ".join(sentence for sentence, _ in told)
        return _propose(text, sources, parts[0], parts[-1], turns, level, made, now, None, "model")
    summary = summarise([part.text for part in parts], None, STRETCH, 1000)
    if not summary.sentences:
        return None
    sources = [parts[place] for place in summary.sources]
    return _propose(
        " ".join(sentence for _, sentence in summary.sentences),
        sources,
        parts[0],
        parts[-1],
        turns,
        level,
        made,
        now,
        None,
    )


def _propose(
    text: str,
    sources: Sequence[Engram],
    first: Engram,
    last: Engram,
    turns: int,
    level: int,
    made: Made,
    now: datetime,
    session: str | None,
    written: str = "",
) -> str:
    end = str(last.attrs.get("last_at", last.at.isoformat()))
    attrs = {"by": "sleep", "level": level, "turns": turns, "last_at": end}
    if session is not None:
        attrs["session"] = session
    if written:
        attrs["from"] = written
    engram = Engram(
        id=new_id(),
        kind="summary",
        text=text,
        scope=Scope.common(source.scope for source in sources),
        at=first.at,
        recorded=now,
        sources=tuple(source.id for source in sources),
        attrs=attrs,
        origin=f"summary:{level}",
    )
    what = f"session {session!r}" if session else "a sitting" if level == 1 else f"{STRETCH} summaries"
    links = [Link(engram.id, "about", source.id) for source in sources]
    made.add(engram, "summarise", f"{turns} turns of {what}, {first.at:%Y-%m-%d} to {end[:10]}", links)
    return engram.id
