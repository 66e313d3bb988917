"""What the default memory does in a night, step by step: compare, write facts down, sum up, note names, weaken.

Each step reads what is new through the sleeper's view and adds Changes; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Sequence

from slowwave.ops.consolidate import compare_with_older, fact_origin, fade, note_fact, read_facts
from slowwave.ops.digest import STRETCH, digest_sitting, digest_stretch, sittings
from slowwave.ops.made import Made
from slowwave.ops.receipts import mentions
from slowwave.ops.recur import by_name, name_origin, note_name
from slowwave.records import Engram
from slowwave.store.base import Want
from slowwave.text.base import Night, batches

BATCH = 256  # records worked on at once
NEAREST = 5  # older records that a new one is compared with
ALIKE = 0.35  # cosine from the scope's centre below which two records are not compared
MOST_NAMES = 200  # names that one night looks at


def compare_all(night: Night, episodes: Sequence[tuple[int, Engram]], made: Made) -> None:
    """Fold repeats, supersede old values, tie what comes back; each new record against its nearest older ones."""
    folded: set[str] = set()
    for done, part in enumerate(batches(episodes, BATCH)):
        near = night.view.nearest_older([n for n, _ in part], NEAREST)
        wanted = {m for pairs in near.values() for m, cosine in pairs if cosine >= ALIKE}
        older = {m: engram for m, engram in night.view.engrams(sorted(wanted)).items() if engram.retired is None}
        for n, engram in part:
            pairs = [(older[m], cosine) for m, cosine in near.get(n, []) if m in older and older[m].id not in folded]
            for change in compare_with_older(engram, pairs, night.now):
                made.changes.append(change)
                if change.verb in ("merge", "supersede"):
                    folded.add(change.id)
        night.progress("compare", done * BATCH + len(part), len(episodes))


def write_facts(night: Night, episodes: Sequence[Engram], made: Made) -> None:
    """Facts with their validity, by subject and attribute."""
    half_life = float(night.params.get("half_life_days", 30.0))
    for part in batches(episodes, BATCH):
        said = [(statement, engram) for engram in part for statement in read_facts(engram)]
        held = night.view.find_origin(sorted({fact_origin(statement) for statement, _ in said}))
        for fact in (change.engram for change in made.changes):
            if fact is not None and fact.kind == "fact":
                held.setdefault(fact.origin or "", []).append(fact)
        for statement, engram in said:
            facts = held.setdefault(fact_origin(statement), [])
            note_fact(statement, engram, facts, made, night.now, half_life)


def digest(night: Night, episodes: Sequence[tuple[int, Engram]], open_: dict[str, list[str]], made: Made) -> None:
    """Summaries of sittings, and of eight summaries as soon as there are eight, on every level."""
    said = [(n, engram) for n, engram in episodes if engram.kind == "episode"]
    numbers = {engram.id: n for n, engram in said}
    groups = list(sittings([engram for _, engram in said]))
    for done, group in enumerate(groups):
        stored = night.view.vectors([numbers[engram.id] for engram in group])
        vectors = {engram.id: stored[numbers[engram.id]] for engram in group if numbers[engram.id] in stored}
        id_ = digest_sitting(group, vectors, made, night.now, llm=night.llm)
        if id_ is not None:
            open_.setdefault("1", []).append(id_)
        night.progress("summarise", done + 1, len(groups))
    level = 1
    while len(open_.get(str(level), [])) >= STRETCH:
        ids = open_[str(level)][:STRETCH]
        open_[str(level)] = open_[str(level)][STRETCH:]
        known = {engram.id: engram for engram in made.engrams} | night.view.get(ids)
        parts = sorted(
            (known[id_] for id_ in ids if id_ in known and known[id_].retired is None),
            key=lambda engram: (engram.at, engram.id),
        )
        id_ = digest_stretch(parts, level + 1, made, night.now, night.llm) if len(parts) > 1 else None
        if id_ is not None:
            open_.setdefault(str(level + 1), []).append(id_)
        if len(open_[str(level)]) < STRETCH:
            level += 1


def note_names(night: Night, episodes: Sequence[tuple[int, Engram]], made: Made) -> None:
    """Notes on the names that recur, most spoken of first."""
    said = [engram for _, engram in episodes if engram.kind == "episode"]
    spoken_of = by_name(said, night.view.speakers())
    chosen = sorted(spoken_of, key=lambda name: (-len(spoken_of[name]), name))[:MOST_NAMES]
    held = night.view.find_origin([name_origin(name) for name in chosen])
    fresh = {engram.id for _, engram in episodes}
    for done, name in enumerate(chosen):
        note = next(iter(held.get(name_origin(name), [])), None)
        before: list[Engram] = []
        if note is None and night.since.last:
            found = night.view.lexical([name], 50, Want(kinds=("episode",)))
            known = night.view.engrams([n for n, _ in found]).values()
            before = [engram for engram in known if engram.id not in fresh and mentions(engram, name)]
        note_name(name, spoken_of[name], before, note, made, night.now, night.llm)
        night.progress("link", done + 1, len(chosen))


def weaken(night: Night, made: Made) -> None:
    """Weaken what was not used: only records whose next halving is due are visited."""
    due = [engram for engram in night.view.due(night.now, -1) if engram.kind == "episode"]
    made.changes += fade(due, night.now)
    night.progress("fade", len(due), len(due))
