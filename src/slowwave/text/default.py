"""slowwave's own text memory: hybrid retrieval over turns, and a sleep that needs no language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from slowwave.models.base import Embedder, Vectors
from slowwave.ops.consolidate import Made, compare_with_older, fact_origin, fade, note_fact, read_facts
from slowwave.ops.dates import TimeSpan, describe, find_times
from slowwave.ops.digest import STRETCH, digest_sitting, digest_stretch, sittings
from slowwave.ops.fusion import Candidates, Weights, fuse, unite
from slowwave.ops.names import names
from slowwave.ops.neighbours import adjacent, shape
from slowwave.ops.query import QueryAnalysis, analyse, choose_terms, fts_any, speaker_match
from slowwave.ops.receipts import mentions
from slowwave.ops.recur import name_origin, note_name
from slowwave.records import Engram, Hit, Hits
from slowwave.store.base import Cursor, Index, Row, View, Want
from slowwave.store.clock import EPOCH, MICROSECOND, to_micros
from slowwave.text.base import Cue, Dream, Night, TextSystem, batches

# English whatever the locale, because the encoder and the stemmer are
MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905

PAGE = 2048  # records read at once by a night
NEAREST = 5  # older records that a new one is compared with
ALIKE = 0.35  # cosine from the scope's centre below which two records are not compared
MOST_NAMES = 200  # names that one night looks at


class DefaultMemory(TextSystem):
    """Dense and lexical search fused with the turns around, the speaker, the time and the session; sleep by rules.

    candidates  records that each channel offers to the ranking
    weights     what each channel counts for
    """

    name = "default"
    operations = ("consolidation", "updating", "indexing", "forgetting", "retrieval", "compression")

    def __init__(self, candidates: int = 100, weights: Weights | None = None) -> None:
        self.candidates = candidates
        self.weights = weights or Weights()

    # -- write

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        vectors = None if embedder is None else self.embed(engrams, embedder)
        return {
            engram.id: Index(
                content,
                lexical_text(engram),
                None if vectors is None else vectors[place],
                tuple(time_range(span) for span in find_times(engram.text, engram.at)[:16]),
            )
            for place, (engram, content) in enumerate(zip(engrams, contents, strict=True))
        }

    def embed(self, engrams: Sequence[Engram], embedder: Embedder) -> Vectors:
        return embedder.embed([embedding_text(engram) for engram in engrams])

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        asked = analyse(cue.text, view.speakers())
        degraded: list[str] = []
        dense: dict[int, float] = {}
        mean, std, vector = 0.0, 0.0, None
        if embedder is None:
            degraded.append("dense: no embedder")
        else:
            vector = embedder.embed([asked.embedding])[0]
            found = view.dense(vector, self.candidates, cue.want)
            dense = dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))
            mean, std = found.mean, found.std
        lexical = self._lexical(view, cue, asked)
        times = find_times(cue.text, cue.now)
        timely = [n for span in times for n in view.during(*time_range(span), self.candidates, cue.want)]
        pool = unite(list(dense), list(lexical), timely)
        rows = view.rows(pool)
        around = view.neighbours(list(rows.values()), 1)
        rows |= view.rows([n for n in around.values() if n not in rows])
        if vector is not None:
            dense |= view.cosines(vector, [n for n in rows if n not in dense])
        ns = list(rows)
        candidates = _candidates([rows[n] for n in ns], dense, lexical, asked, times)
        fused = fuse(candidates, mean, std, self.weights)
        allowed = set(pool)
        order = [int(place) for place in fused.order() if ns[place] in allowed][: cue.top_k]
        engrams = view.engrams([ns[place] for place in order], cue.want.as_of)
        hits = []
        for place in order:
            channels = fused.explain(place)
            score = float(1 / (1 + np.exp(-(fused.score[place] - 4))))
            hits.append(Hit(engrams[ns[place]], score, channels, _why(channels, asked, times)))
        return Hits(hits, {"degraded": degraded})

    def _lexical(self, view: View, cue: Cue, asked: QueryAnalysis) -> dict[int, float]:
        total, frequency = view.document_frequency(asked.terms)
        terms = choose_terms(asked.terms, frequency, total)
        return dict(view.lexical(fts_any(terms), self.candidates, cue.want)) if terms else {}

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        made = Made()
        seen = night.since.last
        open_: dict[str, list[str]] = {level: list(ids) for level, ids in night.since.state.get("open", {}).items()}
        episodes: list[tuple[int, Engram]] = []
        while page := night.view.after(seen, PAGE, Want()):
            seen = page[-1][0]
            episodes += [(n, engram) for n, engram in page if engram.attrs.get("by") != "sleep"]
            night.progress("read", len(episodes), len(episodes))
        _compare(night, episodes, made)
        _write_facts(night, [engram for _, engram in episodes], made)
        _digest(night, episodes, open_, made)
        _note_names(night, episodes, made)
        _fade(night, made)
        engrams = made.engrams
        index: dict[str, Index] = {}
        for part in batches(engrams, 256):
            index |= self.index(part, [made.contents[engram.id] for engram in part], night.embedder)
            night.progress("index", len(index), len(engrams))
        return Dream(tuple(made.changes), index, Cursor(seen, {"open": open_}))


def _compare(night: Night, episodes: Sequence[tuple[int, Engram]], made: Made) -> None:
    """Fold repeats, supersede old values, tie what comes back; each new record against its nearest older ones."""
    folded: set[str] = set()
    for part in batches(episodes, 256):
        near = night.view.nearest_older([n for n, _ in part], NEAREST)
        wanted = {m for pairs in near.values() for m, cosine in pairs if cosine >= ALIKE}
        older = {m: engram for m, engram in night.view.engrams(sorted(wanted)).items() if engram.retired is None}
        for n, engram in part:
            pairs = [(older[m], cosine) for m, cosine in near.get(n, []) if m in older and older[m].id not in folded]
            for change in compare_with_older(engram, pairs, night.now):
                made.changes.append(change)
                if change.verb in ("merge", "supersede"):
                    folded.add(change.id)
        night.progress("compare", min(len(episodes), 256), len(episodes))


def _write_facts(night: Night, episodes: Sequence[Engram], made: Made) -> None:
    """Facts with their validity, by subject and attribute."""
    half_life = float(night.params.get("half_life_days", 30.0))
    for part in batches(episodes, 256):
        said = [(statement, engram) for engram in part for statement in read_facts(engram)]
        held = night.view.find_origin(sorted({fact_origin(statement) for statement, _ in said}))
        for fact in (change.engram for change in made.changes):
            if fact is not None and fact.kind == "fact":
                held.setdefault(fact.origin or "", []).append(fact)
        for statement, engram in said:
            facts = held.setdefault(fact_origin(statement), [])
            note_fact(statement, engram, facts, made, night.now, half_life)


def _digest(night: Night, episodes: Sequence[tuple[int, Engram]], open_: dict[str, list[str]], made: Made) -> None:
    """Summaries of sittings, and of eight summaries as soon as there are eight, on every level."""
    said = [(n, engram) for n, engram in episodes if engram.kind == "episode"]
    numbers = {engram.id: n for n, engram in said}
    groups = list(sittings([engram for _, engram in said]))
    for done, group in enumerate(groups):
        stored = night.view.vectors([numbers[engram.id] for engram in group])
        vectors = {engram.id: stored[numbers[engram.id]] for engram in group if numbers[engram.id] in stored}
        id_ = digest_sitting(group, vectors, made, night.now)
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
        id_ = digest_stretch(parts, level + 1, made, night.now) if len(parts) > 1 else None
        if id_ is not None:
            open_.setdefault(str(level + 1), []).append(id_)
        if len(open_[str(level)]) < STRETCH:
            level += 1


def _note_names(night: Night, episodes: Sequence[tuple[int, Engram]], made: Made) -> None:
    """Notes on the names that recur, most spoken of first."""
    by_name: dict[str, list[Engram]] = {}
    voices = [word for speaker in night.view.speakers() for word in [speaker, *speaker.split()]]
    for _, engram in episodes:
        if engram.kind == "episode":
            for name in names(engram.text):
                if 2 < len(name) <= 60 and not any(voice.startswith(name) for voice in voices):
                    by_name.setdefault(name, []).append(engram)
    chosen = sorted(by_name, key=lambda name: (-len(by_name[name]), name))[:MOST_NAMES]
    held = night.view.find_origin([name_origin(name) for name in chosen])
    fresh = {engram.id for _, engram in episodes}
    for done, name in enumerate(chosen):
        note = next(iter(held.get(name_origin(name), [])), None)
        before: list[Engram] = []
        if note is None and night.since.last:
            found = night.view.lexical(fts_phrase(name), 50, Want(kinds=("episode",)))
            known = night.view.engrams([n for n, _ in found]).values()
            before = [engram for engram in known if engram.id not in fresh and mentions(engram, name)]
        note_name(name, by_name[name], before, note, made, night.now)
        night.progress("link", done + 1, len(chosen))


def _fade(night: Night, made: Made) -> None:
    """Weaken what was not used: only records whose next halving is due are visited."""
    due = [engram for engram in night.view.due(night.now, -1) if engram.kind == "episode"]
    made.changes += fade(due, night.now)
    night.progress("fade", len(due), len(due))


def embedding_text(engram: Engram) -> str:
    """What the encoder reads: who speaks, and the text."""
    return f"{engram.speaker}: {engram.text}" if engram.speaker else engram.text


def lexical_text(engram: Engram) -> str:
    """What the full-text index reads: who speaks, when, and the text."""
    return f"{engram.speaker or ''} {engram.at.day} {MONTHS[engram.at.month - 1]} {engram.at.year} {engram.text}"


def fts_phrase(words: str) -> str:
    """The full-text query for these words side by side."""
    return '"' + words.replace('"', " ") + '"'


def time_range(span: TimeSpan) -> tuple[int, int]:
    """A span as [start, end) in microseconds since 1970 UTC."""
    return _micros(span, "start"), _micros(span, "end")


def _micros(span: TimeSpan, name: str) -> int:
    moment = getattr(span, name)
    return to_micros(moment.replace(tzinfo=EPOCH.tzinfo) if moment.tzinfo is None else moment)


def _candidates(
    rows: Sequence[Row],
    dense: Mapping[int, float],
    lexical: Mapping[int, float],
    asked: QueryAnalysis,
    times: Sequence[TimeSpan],
) -> Candidates:
    shapes = [shape(row.text) for row in rows]
    session = [row.session if row.turn else -1 for row in rows]
    before, after = adjacent(session, [row.turn for row in rows])
    return Candidates(
        dense=np.array([dense.get(row.n, np.nan) for row in rows]),
        lexical=np.array([lexical.get(row.n, 0.0) for row in rows]),
        speaker=np.array([speaker_match(row.speaker, asked) for row in rows]),
        time=np.array([closeness(row, times) for row in rows]),
        session=np.array(session, dtype=np.int64),
        before=before,
        after=after,
        words=np.array([s.words for s in shapes], dtype=np.int64),
        asks=np.array([s.asks for s in shapes], dtype=np.int64),
    )


def closeness(row: Row, times: Sequence[TimeSpan]) -> float:
    """1 for a record that happened in a time asked about, falling to 0 within a week outside it."""
    best = 0.0
    for span in times:
        start, stop = time_range(span)
        gap = max(start - row.at, row.at - stop, 0) * MICROSECOND
        best = max(best, 1 - gap / timedelta(days=7))
    return best


def _why(channels: Mapping[str, float], asked: QueryAnalysis, times: Sequence[TimeSpan]) -> str:
    parts = []
    if channels.get("dense", 0) > 1.5:
        parts.append("close in meaning")
    if channels.get("lexical", 0) > 0.5:
        parts.append("shares words with the question")
    if channels.get("around", 0) > 0.7:
        parts.append("next to turns that fit")
    if channels.get("speaker", 0) > 0:
        parts.append(f"said by {' or '.join(asked.speakers)}")
    if channels.get("time", 0) > 0.5 and times:
        parts.append(f"of {describe(times[0])}")
    return "; ".join(parts) or "the nearest there is"
