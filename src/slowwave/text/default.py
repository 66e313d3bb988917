"""slowwave's own text memory: hybrid retrieval over turns, and a sleep that needs no language model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave.models.base import Embedder, Vectors
from slowwave.ops.calibration import (
    THRESHOLD,
    Evidence,
    cover,
    hit_scores,
    names_known,
    probability,
    support,
)
from slowwave.ops.closeness import DAY, time_closeness
from slowwave.ops.dates import TimeSpan, describe, find_event_times, find_times, resolve_event
from slowwave.ops.disputes import tell_disputes
from slowwave.ops.endings import end_told, fold_told
from slowwave.ops.fusion import Candidates, Weights, fuse, unite
from slowwave.ops.made import Made
from slowwave.ops.neighbours import adjacent, shape
from slowwave.ops.query import GENERIC, QueryAnalysis, analyse, asks_nothing_else, choose_terms, speaker_match
from slowwave.ops.slots import asked_facts, names_attribute, overtaking
from slowwave.ops.succession import successors
from slowwave.ops.words import spaced
from slowwave.records import Engram, Hit, Hits
from slowwave.store.base import Cursor, Index, Row, View, Want
from slowwave.store.clock import EPOCH, from_micros, to_micros
from slowwave.text.base import Cue, Dream, Night, TextSystem
from slowwave.text.night import compare_all, digest, note_names, weaken, write_facts
from slowwave.text.night_model import read_with_model
from slowwave.text.reading_model import Asking, search_asking

# English whatever the locale, because the encoder and the stemmer are
MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905

Vector = NDArray[np.float32]
GATHERED = ("summary", "note")
PAGE = 2048  # records read at once by a night
MEANT = 0.75  # of that, for a fact that the question asks for in words of its own
MEANING = 1.0  # deviations above the mean cosine from which it may
ENOUGH_FACTS = 6  # of whom a question names, for the nearest to mean anything
NEAREST_FACTS = 3  # facts of whom a question names that it may ask for in words of its own
AT_HAND = 0.5  # of that, for further current facts of whom it names: they are short, and one of them may be meant
BESIDE = 9  # of these, the nearest in meaning
NAMED_ALONE = 0.25  # what words count for where only the names of those who speak are shared: who speaks counts already
ALONE = 1.0  # what a fact gains, which stands alone, for what its session and its neighbours give to a turn
KNOWN = 2.0  # what a fact gains where the question asks for it by subject and attribute
SUPERSEDED = 1.5  # what a superseded record loses where the question is about the present
FADED = 0.15  # what each halving of its strength costs a record
DIALOGUE = 2  # voices up to which a scope is a dialogue
RECENT, RECENT_DAYS = (
    0.8,
    14,
)  # what the newest record gains where the question is how things stand, and how long it lasts


@dataclass(frozen=True, slots=True)
class _Pool:
    """The candidates of one search, and what is known of the whole scope.

    rows    one a candidate, in the order of the arrays in `candidates`
    known   row numbers of the facts that the question asks for by subject and attribute, and how much it does
    named_alone  whether of the question's words only the names of those who speak occur anywhere
    later   of these, those that a later turn may have overtaken, and that turn
    """

    rows: Sequence[Row]
    candidates: Candidates
    mean: float
    std: float
    vector: Vector | None
    records: int
    frequency: Mapping[str, int]
    beside: Set[str]
    degraded: Sequence[str]
    known: Mapping[int, float]
    later: Mapping[int, int]
    named_alone: bool
    dense: int
    lexical: int
    timely: int


class DefaultMemory(TextSystem):
    """Dense and lexical search fused with the turns around, the speaker, the time and the session; sleep by rules, and
    with a language model where there is one.

    candidates  records that each channel offers to the ranking
    weights     what each channel counts for
    gathered    what a summary or a note loses against what was said, which is more to the point
    asking      what a reading that may ask a language model asks it
    """

    name = "default"
    operations = ("consolidation", "updating", "indexing", "forgetting", "retrieval", "compression")
    asks = ("sleep", "reading")
    claim = (
        "After a night without a language model fewer answers are stale and no more facts are lost; "
        "with one, even one that errs in a fifth of its replies, fewer still."
    )
    proof = "proofs/default.py"

    def __init__(
        self,
        candidates: int = 100,
        weights: Weights | None = None,
        gathered: float = 1.0,
        asking: Asking | None = None,
    ) -> None:
        self.asking = asking or Asking()
        self.gathered = gathered
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
        if cue.llm is not None:
            return search_asking(self._search, view, cue, embedder, self.asking)
        return self._search(view, cue, embedder)

    def _search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        speakers = view.speakers()
        asked = analyse(cue.text, speakers)
        events = self._events(view, cue, embedder)
        times = [*find_times(cue.text, cue.now), *(span for span, _ in events)]
        pool = self._pool(view, cue, asked, times, embedder, len(speakers))
        # Of two people who talk, the one asked about is the one who told; among many, others tell of them as well.
        told = self.weights.speaker * min(1.0, DIALOGUE / max(1, len(speakers)))
        # "What happened in May?" asks for a time and nothing else, so the time decides.
        only_time = bool(times) and asks_nothing_else(asked.terms, [*asked.speakers, *(span.text for span in times)])
        weights = replace(
            self.weights,
            speaker=told,
            time=self.weights.time * (3 if only_time else 1),
            lexical=self.weights.lexical * (NAMED_ALONE if pool.named_alone else 1),
        )
        fused = fuse(pool.candidates, pool.mean, pool.std, weights)
        present = not (cue.want.at or cue.want.as_of or asked.wants_past or times)
        extra = {
            "known": np.array(
                [0.0 if present and row.until else KNOWN * pool.known.get(row.n, 0.0) for row in pool.rows]
            ),
            "superseded": np.array([-SUPERSEDED if present and row.until is not None else 0.0 for row in pool.rows]),
            "strength": np.array([FADED * math.log2(row.strength) for row in pool.rows]),
            "recent": _recency(pool.rows, cue, asked),
            "gathered": np.array([-self.gathered if row.kind in GATHERED else 0.0 for row in pool.rows]),
            "alone": np.array(
                [ALONE if row.kind == "fact" and not (present and row.until) else 0.0 for row in pool.rows]
            ),
        }
        ranked = fused.score + sum(extra.values())
        if present:
            _later_first(ranked, pool)
        order = [int(place) for place in np.argsort(-ranked, kind="stable")]
        bearing = self._bearing(view, pool, asked, order)
        if only_time and pool.candidates.time.max(initial=0.0) >= 1.0:
            bearing = max(bearing, 0.5)
        scores = hit_scores(ranked[order], bearing)
        least = THRESHOLD if cue.threshold is None else cue.threshold
        kept = [place for place, score in zip(order, scores, strict=True) if score >= least][: cue.top_k]
        spare = order[len(kept) : len(kept) + 3] if cue.explain else []
        engrams = view.engrams([pool.rows[place].n for place in [*kept, *spare]], cue.want.as_of)

        def hit(rank: int, place: int) -> Hit:
            channels = {**fused.explain(place), **{name: float(values[place]) for name, values in extra.items()}}
            return Hit(engrams[pool.rows[place].n], float(scores[rank]), channels, _why(channels, asked, times))

        hits = [hit(rank, place) for rank, place in enumerate(kept)]
        if present:
            hits = _successors_first(view, hits, cue.want)[: cue.top_k]
        hits = tell_disputes(view, hits, present)
        trace: dict[str, Any] = {"degraded": pool.degraded, "threshold": least}
        if cue.explain:
            trace |= {
                "asked": {"terms": list(asked.terms), "speakers": list(asked.speakers), "names": list(asked.names)},
                "times": [describe(span) for span in times],
                "events": [{"said": span.text, "is": describe(span), "by": hit.id} for span, hit in events],
                "candidates": {"dense": pool.dense, "lexical": pool.lexical, "time": pool.timely},
                "almost": [hit(len(kept) + rank, place).to_dict() for rank, place in enumerate(spare)],
            }
        return Hits(hits, trace)

    def _events(self, view: View, cue: Cue, embedder: Embedder | None) -> list[tuple[TimeSpan, Hit]]:
        """Times told by an event, "the week before the wedding": the event is looked for first, and when it was."""
        out = []
        for event in find_event_times(cue.text):
            near = replace(cue, text=event.event, top_k=2, threshold=None, explain=False)
            for hit in self._search(view, near, embedder):
                spoken = view.times(list(view.numbers([hit.id]).values()))
                named = [part for parts in spoken.values() for part in parts if part[1] - part[0] <= DAY]
                at = hit.engram.at
                when = from_micros(named[0][0]).astimezone(at.tzinfo) if len(named) == 1 else at
                with suppress(ValueError, OverflowError):
                    out.append((resolve_event(event, when), hit))
        return out

    def _pool(
        self,
        view: View,
        cue: Cue,
        asked: QueryAnalysis,
        times: Sequence[TimeSpan],
        embedder: Embedder | None,
        voices: int,
    ) -> _Pool:
        """Everything that some channel offers, with the turns around it, ready to be ranked."""
        most = max(self.candidates, cue.top_k)
        dialogue = voices <= DIALOGUE
        degraded = [] if embedder is not None else ["dense: there is no embedder"]
        dense: dict[int, float] = {}
        mean, std, vector = 0.0, 0.0, None
        if embedder is not None:
            vector = embedder.embed([asked.embedding if dialogue else asked.text])[0]
            near = view.dense(vector, most, cue.want)
            dense = dict(zip(near.ids.tolist(), near.scores.tolist(), strict=True))
            mean, std = near.mean, near.std
            degraded += [f"dense: {near.note}"] if near.note else []
        records, frequency = view.document_frequency(asked.terms)
        terms = choose_terms(asked.terms, frequency, records)
        lexical = dict(view.lexical(terms, most, cue.want))
        whose = {part for name in asked.speakers for part in name.casefold().split()}
        named_alone = bool(terms) and whose.issuperset(terms)
        timely = [n for span in times for n in view.during(*time_range(span), most, cue.want)]
        asked_for = _facts_asked_for(view, cue.want, asked, dense, mean + MEANING * std)
        numbers = view.numbers([fact.id for fact, _ in asked_for])
        known = {numbers[fact.id]: weight for fact, weight in asked_for if fact.id in numbers}
        found = unite(list(dense), list(lexical), timely, sorted(known))
        rows = view.rows(found, cue.want)
        around = view.neighbours(list(rows.values()), 1)
        rows |= view.rows([n for n in around.values() if n not in rows], cue.want)
        timely_words = {word.lower() for span in times for word in span.text.split()}
        beside = GENERIC | timely_words | {value.casefold() for value in view.scope.to_dict().values()}
        offered = (len(dense), len(lexical), len(timely))
        later = {
            numbers[fact.id]: row.n
            for fact, weight in asked_for
            if fact.id in numbers and weight == 1 and fact.until is None and (row := overtaking(fact, rows.values()))
        }
        if vector is not None:
            dense |= view.cosines(vector, [n for n in rows if n not in dense])
        chosen = list(rows.values())
        candidates = _candidates(chosen, dense, lexical, asked)
        if times:
            spoken = view.times(list(rows))
            closeness = time_closeness(
                [time_range(span) for span in times],
                [row.at for row in chosen],
                [spoken.get(row.n, []) for row in chosen],
            )
            candidates = replace(candidates, time=closeness)
        return _Pool(
            chosen,
            candidates,
            mean,
            std,
            vector,
            records,
            frequency,
            beside,
            degraded,
            known,
            later,
            named_alone,
            *offered,
        )

    def _bearing(self, view: View, pool: _Pool, asked: QueryAnalysis, order: Sequence[int]) -> float:
        """The probability that the memory holds something on the question; see `ops/calibration.py`."""
        c = pool.candidates
        nearest = math.nan
        if pool.vector is not None:
            best = view.vectors([pool.rows[place].n for place in order[:10]])
            nearest = max((float(vector @ pool.vector) for vector in best.values()), default=math.nan)
        own = {value.casefold() for value in view.scope.to_dict().values()}
        names = [name for name in asked.names if name.casefold() not in own]  # a memory need not name its owner
        known = sum(1 for name in names if view.lexical([name], 1, Want()))
        # Words that ask for whatever there is, and pairs of characters that nobody wrote, are not what is asked about.
        frequency = {t: n for t, n in pool.frequency.items() if n or (" " not in t and t not in pool.beside)}
        return probability(
            Evidence(
                nearest=nearest,
                support=support(c.dense, cover(c.lexical, frequency, pool.records)),
                names=names_known(known, len(names) - known),
                unknown=_share(frequency.values()),
                records=pool.records,
                time=float(c.time.max(initial=0.0)),
            )
        )

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
        compare_all(night, episodes, made)
        write_facts(night, [engram for _, engram in episodes], made)
        notes: list[str] = []
        state: dict[str, Any] = {**night.since.state, "open": open_}
        if night.llm is not None:
            state["model"] = read_with_model(night, night.llm, made, notes)
        end_told(night.view, made, night.now)
        fold_told(night.view, made, night.now)
        digest(night, episodes, open_, made)
        note_names(night, episodes, made)
        weaken(night, made)
        return self.dream(night, made, Cursor(seen, state), notes)


def _share(counts: Iterable[int]) -> float:
    """The share of words that occur nowhere."""
    known = list(counts)
    return sum(not count for count in known) / len(known) if known else 0.0


def _successors_first(view: View, hits: Sequence[Hit], want: Want) -> list[Hit]:
    """What was superseded never stands above what replaced it; a wanted successor that was not found is brought in."""
    old = [hit.id for hit in hits if hit.engram.until is not None]
    if not old:
        return list(hits)
    successor = successors(view, old)
    present = {hit.id: hit for hit in hits}
    numbers = view.numbers([id_ for id_ in successor.values() if id_ not in present])
    wanted = view.rows(list(numbers.values()), want)
    missing = view.get([id_ for id_, n in numbers.items() if n in wanted])
    out: list[Hit] = []
    for hit in hits:
        new = successor.get(hit.id)
        if new is not None and all(kept.id != new for kept in out):
            held = present.get(new)
            if held is None and new in missing and missing[new].retired is None:
                held = Hit(missing[new], hit.score, hit.channels, f"replaces what was found: {hit.why}")
            if held is not None:
                out.append(replace(held, score=max(held.score, hit.score)))
        if all(kept.id != hit.id for kept in out):
            out.append(hit)
    return out


def embedding_text(engram: Engram) -> str:
    """What the encoder reads: who speaks, and the text."""
    return f"{engram.speaker}: {engram.text}" if engram.speaker else engram.text


def lexical_text(engram: Engram) -> str:
    """What the full-text index reads: who speaks, when, and the text."""
    return (
        f"{engram.speaker or ''} {engram.at.day} {MONTHS[engram.at.month - 1]} {engram.at.year} {spaced(engram.text)}"
    )


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
) -> Candidates:
    shapes = [shape(row.text) for row in rows]
    found = np.array([lexical.get(row.n, 0.0) for row in rows])
    said = np.array([row.kind not in GATHERED for row in rows], dtype=bool)
    if said.any():  # a note repeats its name, and must not set the measure for what was said
        found = np.minimum(found, found[said].max())
    session = [row.session if row.turn else -1 for row in rows]
    before, after = adjacent(session, [row.turn for row in rows])
    return Candidates(
        dense=np.array([dense.get(row.n, np.nan) for row in rows]),
        lexical=found,
        speaker=np.array([_told_of(row, asked) for row in rows]),
        time=np.zeros(len(rows)),
        session=np.array(session, dtype=np.int64),
        before=before,
        after=after,
        words=np.array([s.words for s in shapes], dtype=np.int64),
        asks=np.array([s.asks for s in shapes], dtype=np.int64),
    )


def _facts_asked_for(
    view: View, want: Want, asked: QueryAnalysis, dense: Mapping[int, float], least: float
) -> list[tuple[Engram, float]]:
    """The facts on the attribute that a question names; where it names none, those its words and its meaning lead to.

    dense    row number -> cosine with the question
    least    cosine from which a fact may be meant in other words
    returns  (fact, how much it counts as asked for)
    """
    whom = [*asked.speakers, *asked.names]
    found = view.find_origin(asked_facts(asked.text, whom))
    out = {fact.id: (fact, 1.0) for many in found.values() for fact in many}
    if whom and dense and not (out and names_attribute(asked.text)):
        begins = tuple(name.casefold() for name in whom)
        rows = view.rows(list(dense), want)
        facts = [n for n, row in rows.items() if row.kind == "fact" and row.text.casefold().startswith(begins)]
        near = sorted((n for n in facts if dense[n] >= least), key=lambda n: -dense[n])[:NEAREST_FACTS]
        nearest = view.engrams(near if len(facts) >= ENOUGH_FACTS else [])
        meant = view.find_origin(sorted({fact.origin for fact in nearest.values() if fact.origin}))
        out = {fact.id: (fact, MEANT) for many in meant.values() for fact in many} | out
        others = [n for n in facts if n not in near and rows[n].until is None]
        beside = sorted(others, key=lambda n: -dense[n])[:BESIDE] if len(facts) >= ENOUGH_FACTS else []
        out = {fact.id: (fact, AT_HAND) for fact in view.engrams(beside).values()} | out
    return list(out.values())


def _later_first(ranked: NDArray[np.float64], pool: _Pool) -> None:
    """A turn that may have overtaken a fact goes right above it."""
    place = {row.n: at for at, row in enumerate(pool.rows)}
    for fact, turn in pool.later.items():
        if fact in place and turn in place:
            ranked[place[turn]] = max(ranked[place[turn]], ranked[place[fact]] + 0.01)


def _told_of(row: Row, asked: QueryAnalysis) -> float:
    """1 where a turn was said by one whom the question speaks of, or a fact begins with them, whoever said it."""
    if row.kind != "fact":
        return speaker_match(row.speaker, asked)
    begins = row.text.casefold()
    return 1.0 if any(begins.startswith(name.casefold()) for name in asked.speakers) else 0.0


def _recency(rows: Sequence[Row], cue: Cue, asked: QueryAnalysis) -> NDArray[np.float64]:
    """Where the question is how things stand, at a date or now, what was said last before counts for more."""
    if asked.wants_past or not (cue.want.at or asked.wants_current):
        return np.zeros(len(rows))
    moment = to_micros(cue.want.at or cue.now)
    days = np.array([max(0, moment - row.at) for row in rows]) / 86_400e6
    return np.asarray(RECENT * np.exp2(-days / RECENT_DAYS))


def _why(channels: Mapping[str, float], asked: QueryAnalysis, times: Sequence[TimeSpan]) -> str:
    parts = []
    if channels.get("dense", 0) > 1.5:
        parts.append("close in meaning")
    if channels.get("lexical", 0) > 0.5:
        parts.append("shares words with the question")
    if channels.get("around", 0) > 0.7:
        parts.append("next to turns that fit")
    if channels.get("known", 0) > 0:
        parts.append("the fact that is asked for")
    if channels.get("speaker", 0) > 0:
        parts.append(f"said by {' or '.join(asked.speakers)}")
    if channels.get("time", 0) > 0.5 and times:
        parts.append(f"of {describe(times[0])}")
    if channels.get("recent", 0) > 0.4:
        parts.append("among the last said before then")
    if channels.get("superseded", 0) < 0:
        parts.append("but no longer so")
    return "; ".join(parts) or "the nearest there is"
