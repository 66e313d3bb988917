"""What a language model adds to a night of the default memory: facts that no rule reads, and what causes what.

The rules' part is done by then and does not wait. The model reads the new turns a segment at a time; what it says is
grounded, then settled with the facts of the same subject and attribute, the rules' among them. Where it is exhausted or
silent, the turns that are left are remembered, and the next night goes on there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slowwave.models.llm import LLM
from slowwave.ops.causes import tie_causes
from slowwave.ops.drafts import Settling
from slowwave.ops.extraction import ask_many, segments
from slowwave.ops.made import Made
from slowwave.records import Engram
from slowwave.store.base import Want
from slowwave.text.base import Night, batches

AT_ONCE = 8  # segments that a model which takes several prompts reads at the same time
PAGE = 2048  # records read at once
MARKS = 20  # of the turns that were left, kept by name, so that erasing one loses no place


def read_with_model(night: Night, llm: LLM, made: Made, notes: list[str]) -> dict[str, Any]:
    """Read with the model what is new, and what an earlier night left; returns what the cursor has to remember of it.

    A memory's first night with a model begins with what is new then; `sleep(since=...)` looks at earlier turns.
    """
    turns = _unread(night)
    folded = {change.id for change in made.changes if change.verb == "merge"}
    order = _by_session(engram for engram in turns.values() if engram.id not in folded)
    voices = night.view.speakers(50)
    settling = Settling(night.view, made, night.now, float(night.params.get("half_life_days", 30.0)), llm)
    left: list[Engram] = []
    done = 0
    for part in batches(list(segments(order)), AT_ONCE):
        unheard: list[Sequence[Engram]] = []
        asked = [None] * len(part) if llm.exhausted else ask_many(part, llm, made, voices, unheard)
        for segment, drafts in zip(part, asked, strict=True):
            if drafts is None and (llm.exhausted or segment in unheard):
                left += segment
                continue
            settling.take(drafts or (), segment)
            tie_causes(night.view, segment, llm, made)
            done += len(segment)
        night.progress("read with the model", done, len(order))
    if left:
        why = f"the model stopped: {llm.exhausted}" if llm.exhausted else "the model gave no reply"
        notes.append(f"{why}; {len(left)} turns are left for the next night")
    return _remembered(night, turns, left)


def _by_session(turns: Iterable[Engram]) -> list[Engram]:
    """Turns a session at a time, the sessions and what is in them in the order of time."""
    sessions: dict[tuple[str, str], list[Engram]] = {}
    for engram in turns:
        sessions.setdefault((str(engram.scope), engram.session or ""), []).append(engram)
    parts = [sorted(part, key=lambda engram: (engram.at, engram.id)) for part in sessions.values()]
    return [engram for part in sorted(parts, key=lambda part: (part[0].at, part[0].id)) for engram in part]


def _unread(night: Night) -> dict[int, Engram]:
    """The turns that the model has not read, by row number."""
    kept: Mapping[str, Any] = night.since.state.get("model", {})
    marks = night.view.numbers(list(kept.get("next", ())))
    start = min([night.since.last, *(n - 1 for n in marks.values())])
    again = marks and night.since.last < min(marks.values()) - 1  # what was read is to be read once more
    done = set() if again else set(kept.get("done", ()))
    out: dict[int, Engram] = {}
    while page := night.view.after(start, PAGE, Want(kinds=("episode",))):
        start = page[-1][0]
        out.update((n, engram) for n, engram in page if engram.id not in done)
    return out


def _remembered(night: Night, turns: Mapping[int, Engram], left: Iterable[Engram]) -> dict[str, Any]:
    """Where the next night goes on: {} behind all there is, else the first turns that were left, and what is done."""
    waiting = {engram.id for engram in left}
    if not waiting:
        return {}
    first = min(n for n, engram in turns.items() if engram.id in waiting)
    here = {engram.id for n, engram in turns.items() if n > first and engram.id not in waiting}
    before = set(night.since.state.get("model", {}).get("done", ()))
    marks = [engram.id for n, engram in sorted(turns.items()) if engram.id in waiting]
    return {"next": marks[:MARKS], "done": sorted(here | before)}
