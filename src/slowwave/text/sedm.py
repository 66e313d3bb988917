"""SEDM: a lesson is remembered only if trials show that it helps, and then ranks by what came of using it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, Literal

import numpy as np

from slowwave.models.base import Embedder, Vectors
from slowwave.ops.admission import Gate, Replay, Ruling, Trial, replayed
from slowwave.ops.compare import compare
from slowwave.ops.consolidate import fade
from slowwave.ops.intake import later
from slowwave.ops.lessons import drawn, in_the_abstract, tried_by_model
from slowwave.ops.made import Made
from slowwave.ops.nearness import alike, nearest
from slowwave.ops.runs import Run, run_of, runs_of_task, with_and_without
from slowwave.ops.utility import Tally, failing, proven, reweighed
from slowwave.records import Change, Engram, Hit, Hits, Link, Rejected
from slowwave.store.base import Cursor, Index, View, Want
from slowwave.store.ids import content_key, new_id
from slowwave.text.base import Cue, Dream, Night
from slowwave.text.plain import PlainMemory, unread

Peers = Callable[[str], list[Run]]  # the runs of a task, looked up once a night
LESSONS = ("note", "skill")
THRESHOLD = 0.25  # least likeness of a hit, where the reader names no threshold
WAITING = 1000  # runs that wait for their trials
HOW = {
    "replay": "lessons were tried by replay, with and without",
    "model": "there is no replay: the model tried tasks whose answer is known, with the lesson and without",
    "observed": "there is no replay and no model for it: lessons were judged by the rewards of runs that taught them "
    "and of runs that did not, unpaired",
}


class SEDM(PlainMemory):
    """Memory for an agent whose runs are measured (see `ops/runs.py`): its lessons earn their place and their rank.

    replay        (task, lesson or None, seed) -> Trial, a mapping with reward, tokens, latency_ms, or a reward: tries a
                  task again, with a lesson and without. Without one a night's model tries tasks whose runs name their
                  answer; without that, lessons are judged by the rewards of runs that taught them and runs that did not
    seeds         paired trials a lesson
    gate          when trials admit a lesson: its costs, threshold and test
    most          lessons that one night tries; the others wait
    rule          how use changes a weight, see `ops/utility.py`: "success rate", or "printed" as in the paper
    alpha, beta   what mean utility and failed (printed: frequent) use weigh; the paper publishes neither
    demotion      what the weight of a lesson that turned bad is multiplied with
    floor         weight below which such a lesson leaves the view
    merge_at      cosine from which two lessons are compared, to be merged if one says what the other says
    diffusion     share of a proven lesson's weight that its copy with typed slots gets; 0 makes no copies
    unmeasured    weight of what no trial has measured: runs, and all that is no run

    >>> from slowwave import Memory
    >>> def replay(task, lesson, seed):
    ...     return 1.0 if lesson else float(seed % 2)
    >>> memory = Memory(":memory:", embedder="fake", system=SEDM(replay))
    >>> run = {"task": "find the key", "reward": 1}
    >>> _ = memory.add("I looked everywhere. Lesson: look under the mat first.", attrs=run, user_id="robot")
    >>> memory.sleep(user_id="robot").counts
    {'add': 1}
    >>> memory.search("find the key", user_id="robot")[0].text
    'look under the mat first.'
    """

    name = "sedm"
    paper = "SEDM: Scalable Self-Evolving Distributed Memory for Agents (2025)"
    operations = ("consolidation", "updating", "forgetting", "retrieval")
    asks = ("sleep",)
    claim = "FEVER 66 against 62 (G-Memory) and 57 without memory; HotpotQA 39 against 38 and 34; fewer prompt tokens."
    differs = (
        "Runs are taken in as they come; lessons are drawn, tried and weighed in sleep. The gate also asks whether "
        "chance explains the gain. Failed use is charged, not frequent use (`rule`); what is unused fades as all does "
        "here. A lesson that was refused, merged or turned bad is kept out of view, with its reason, and undo "
        "brings back what was there. Runs and plain records are found too, at a low weight. The paper publishes no "
        "costs, threshold or rates: those here are ours."
    )
    proof = "proofs/sedm.py"

    def __init__(
        self,
        replay: Replay | None = None,
        seeds: int = 8,
        gate: Gate | None = None,
        most: int = 64,
        rule: Literal["success rate", "printed"] = "success rate",
        alpha: float = 0.5,
        beta: float = 0.1,
        demotion: float = 0.5,
        floor: float = 0.05,
        merge_at: float = 0.8,
        diffusion: float = 0.5,
        unmeasured: float = 0.1,
    ) -> None:
        self.replay = replay
        self.seeds = seeds
        self.gate = gate or Gate()
        self.most = most
        self.rule: Literal["success rate", "printed"] = rule
        self.alpha = alpha
        self.beta = beta
        self.demotion = demotion
        self.floor = floor
        self.merge_at = merge_at
        self.diffusion = diffusion
        self.unmeasured = unmeasured

    # -- write

    def index(
        self, engrams: Sequence[Engram], contents: Sequence[bytes], embedder: Embedder | None
    ) -> dict[str, Index]:
        return super().index([_spelt(engram) for engram in engrams], contents, embedder)

    def embed(self, engrams: Sequence[Engram], embedder: Embedder) -> Vectors:
        return super().embed([_spelt(engram) for engram in engrams], embedder)

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        most = max(100, cue.top_k)
        kinds = tuple(kind for kind in LESSONS if cue.want.kinds is None or kind in cue.want.kinds)
        near, degraded = alike(view, cue.text, embedder, most, cue.want)
        if kinds:  # many runs that are nearer must not crowd the lessons out
            near |= alike(view, cue.text, embedder, most, replace(cue.want, kinds=kinds))[0]
        scored = []
        for n, engram in view.engrams(list(near), cue.want.as_of).items():
            measured = engram.attrs.get("by") == self.name
            weight = float(engram.attrs.get("weight", 0.0)) * engram.strength if measured else self.unmeasured
            score = near[n] * weight
            if near[n] >= THRESHOLD if cue.threshold is None else score >= cue.threshold:
                said = f"weight {weight:.2f}: {engram.attrs.get('state')}" if measured else "not measured"
                scored.append(Hit(engram, score, {"likeness": near[n], "weight": weight}, said))
        scored.sort(key=lambda hit: (-hit.score, hit.id))
        least = THRESHOLD if cue.threshold is None else cue.threshold
        return Hits(scored[: cue.top_k], {"degraded": degraded, "threshold": least})

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        made, notes = Made(), list[str]()
        news = unread(night, lambda engram: run_of(engram) is not None)
        runs = [run for engram in news.values() if (run := run_of(engram)) is not None]
        peers = cache(lambda task: runs_of_task(night.view, task, night.embedder))
        self._reweigh(night, runs, peers, made)
        waiting = [*night.since.state.get("waiting", ()), *(run.id for run in runs)]
        due = night.view.get(waiting[: self.most])
        done = 0
        for id_ in waiting[: self.most]:
            run = run_of(due[id_]) if id_ in due and due[id_].retired is None else None
            if run is not None and not self._learn(night, run, peers, made, notes):
                break
            done += 1
            night.progress("try", done, min(len(waiting), self.most))
        if len(waiting) > done:
            notes.append(f"{len(waiting) - done} runs wait for their trials until the next night")
        touched = {change.id for change in made.changes}
        made.changes += fade([e for e in night.view.due(night.now, -1) if e.id not in touched], night.now)
        state = {"waiting": waiting[done:][-WAITING:]}
        return self.dream(night, made, Cursor(news.seen, state), list(dict.fromkeys(notes)))

    def _learn(self, night: Night, run: Run, peers: Peers, made: Made, notes: list[str]) -> bool:
        """Draw a lesson from a run and put it on trial; False where the model was spent before that was done."""
        if night.llm is not None and night.llm.exhausted:
            return False
        lesson = drawn(run, night.llm, made)
        name = f"lesson:{run.task[:200]}"
        if not lesson or self._known(night.view, run, lesson, name, made):
            return True
        ruling, base, how = self._tried(night, run, lesson, peers)
        if how == "model" and night.llm is not None and night.llm.exhausted:
            return False
        notes.append(HOW[how])
        attrs = {
            "by": self.name,
            "task": run.task,
            "state": "admitted" if ruling.admitted else "refused",
            "weight": round(min(1.0, max(0.0, ruling.score)), 4),
            "base": round(base, 4),
            "admission": {**ruling.to_dict(), "by": how},
            "tally": Tally().to_dict(),
            "weighed": run.when.isoformat(),
        }
        engram = _note(night, lesson, name, [run.engram], attrs)
        if ruling.admitted:
            self._admit(night, run, engram, made)
        elif ruling.decided:
            made.rejected.append(Rejected("admission", ruling.reason, lesson, (run.id,)))
            if how != "observed":  # what was only observed may look otherwise after more runs
                _propose(engram, "add", "a lesson that was on trial", (), made)
                gone = {"retired": night.now, "retired_why": "refused"}
                reason = f"not admitted: {ruling.reason}"
                made.changes.append(Change("retire", engram.id, reason, fields=gone, sources=(run.id,)))
        return True

    def _known(self, view: View, run: Run, lesson: str, name: str, made: Made) -> bool:
        """Whether the lesson has had its trial: it is a memory, or was refused. More trials would be more chances."""
        key = _content(lesson, name)
        return key in made.contents.values() or bool(view.find_content(run.engram.scope, [key]))

    def _tried(self, night: Night, run: Run, lesson: str, peers: Peers) -> tuple[Ruling, float, str]:
        """(the ruling, the mean reward without the lesson, how it was come by)."""
        if self.replay is not None:
            how, (with_, without) = "replay", replayed(self.replay, run.task, lesson, range(self.seeds))
        elif night.llm is not None and run.answer:
            how, with_ = "model", [tried_by_model(night.llm, run, lesson, seed) for seed in range(self.seeds)]
            without = [tried_by_model(night.llm, run, "", seed) for seed in range(self.seeds)]
        else:
            how, (with_, without) = "observed", with_and_without(peers(run.task), lesson)
        return self.gate.judge(with_, without), _mean(without), how

    def _admit(self, night: Night, run: Run, engram: Engram, made: Made) -> None:
        """A new lesson; where one says the same already, that one is supported, and one that says less gives way."""
        why = str(engram.attrs["admission"]["reason"])
        changed = {change.id for change in made.changes if change.engram is None}
        for old, cosine in self._near(night, engram, made):
            outcome = compare(old.text, engram.text, cosine).outcome
            if outcome == "restates":
                tie, both = Link(run.id, "supports", old.id), (run.id, old.id)
                made.changes.append(
                    Change("support", old.id, f"a run teaches it again: {why}", links=(tie,), sources=both)
                )
                return
            if outcome == "refines" and old.id not in changed:
                attrs = {
                    **engram.attrs,
                    "weight": max(float(engram.attrs["weight"]), float(old.attrs["weight"])),
                    "tally": old.attrs["tally"],
                }
                engram = engram.with_(attrs=attrs, sources=(run.id, old.id))
                tie = Link(engram.id, "supports", old.id)
                _propose(engram, "add", f"trials with it go better: {why}; it says more than {old.id}", [tie], made)
                gone = {"retired": night.now, "retired_why": "merged"}
                made.changes.append(
                    Change("merge", old.id, f"{engram.id} says this and more", fields=gone, guard={"retired": None},
                           sources=(old.id, engram.id))
                )  # fmt: skip
                return
            if outcome == "contradicts":
                tie = Link(engram.id, "contradicts", old.id)
                _propose(
                    engram, "add", f"trials with it go better: {why}; it says otherwise than {old.id}", [tie], made
                )
                return
        _propose(engram, "add", f"trials with it go better: {why}", [Link(engram.id, "about", run.id)], made)

    def _near(self, night: Night, engram: Engram, made: Made) -> list[tuple[Engram, float]]:
        """Lessons on the same task that are like this one, in the store and of this night, best first."""
        if night.embedder is None:
            return []
        vector = self.embed([engram], night.embedder)[0]
        stored = nearest(night.view, vector, 10, Want(kinds=("note",)))
        engrams = night.view.engrams([n for n, cosine in stored.items() if cosine >= self.merge_at])
        out = [(old, stored[n]) for n, old in engrams.items() if old.attrs.get("by") == self.name]
        fresh = [other for other in made.engrams if other.kind == "note" and other.attrs["state"] == "admitted"]
        if fresh:
            cosines = self.embed(fresh, night.embedder) @ vector
            out += [(o, float(c)) for o, c in zip(fresh, cosines, strict=True) if c >= self.merge_at]
        same = [(old, cosine) for old, cosine in out if old.attrs.get("task") == engram.attrs["task"]]
        return sorted(same, key=lambda pair: (-pair[1], pair[0].id))

    def _reweigh(self, night: Night, runs: Sequence[Run], peers: Peers, made: Made) -> None:
        """Weigh the lessons that new runs were shown; demote what turned bad, promote and spread what is proven."""
        used: dict[str, list[Run]] = {}
        for run in runs:
            for id_ in run.memories:
                used.setdefault(id_, []).append(run)
        for id_, lesson in sorted(night.view.get(sorted(used)).items()):
            if lesson.attrs.get("by") != self.name or lesson.retired is not None:
                continue
            since = datetime.fromisoformat(str(lesson.attrs["weighed"]))
            mine = [run for run in used[id_] if run.when > since]
            utilities = [run.trial.reward - _base(lesson, peers(run.task)) for run in mine]
            if utilities:
                self._weigh(night, lesson, mine, utilities, len(mine) / len(runs), made)

    def _weigh(
        self, night: Night, lesson: Engram, runs: Sequence[Run], utilities: Sequence[float], share: float, made: Made
    ) -> None:
        old = float(lesson.attrs["weight"])
        weight = reweighed(old, utilities, share, self.rule, self.alpha, self.beta)
        tally, state = Tally.from_dict(lesson.attrs.get("tally", {})).after(utilities), str(lesson.attrs["state"])
        told = f"{len(runs)} runs used it, mean utility {np.mean(utilities):+.2f}"
        verb, sources = "update", (lesson.id, *(run.id for run in runs))
        if failing(tally.recent):
            weight, state, verb = weight * self.demotion, "demoted", "weaken"
            tally, told = replace(tally, recent=()), f"it turned bad: {told}"
        elif proven(tally.recent) and state != "promoted":
            state = "promoted"
            self._spread(night, lesson, weight, made)
        latest = max(run.when for run in runs).isoformat()
        attrs = {
            **lesson.attrs,
            "weight": round(weight, 4),
            "state": state,
            "tally": tally.to_dict(),
            "weighed": latest,
        }
        fields: dict[str, Any] = {"attrs": attrs}
        if state == "demoted" and weight < self.floor:
            fields |= {"retired": night.now, "retired_why": "demoted"}
            verb = "retire"
        guard = {"attrs": dict(lesson.attrs), "retired": None}
        told += f"; weight {old:.2f} -> {weight:.2f}"
        made.changes.append(Change(verb, lesson.id, told, fields=fields, guard=guard, sources=sources))

    def _spread(self, night: Night, lesson: Engram, weight: float, made: Made) -> None:
        """A copy of a proven lesson with typed slots for its names, dates and numbers, for tasks of other matters."""
        words = in_the_abstract(lesson, night.llm, made) if lesson.kind == "note" and self.diffusion else ""
        if not words:
            return
        attrs = {
            "by": self.name,
            "state": "diffused",
            "weight": round(self.diffusion * weight, 4),
            "base": lesson.attrs["base"],
            "tally": Tally().to_dict(),
            "weighed": night.now.isoformat(),
        }
        copy = _note(night, words, "abstract", [lesson], attrs, kind="skill")
        _propose(copy, "add", "a proven lesson in the abstract", [Link(copy.id, "about", lesson.id)], made)


def _note(
    night: Night, words: str, origin: str, sources: Sequence[Engram], attrs: Mapping[str, Any], kind: str = "note"
) -> Engram:
    half_life_days = float(night.params.get("half_life_days", 30.0))
    return Engram(
        id=new_id(),
        kind=kind,
        text=words,
        scope=sources[0].scope,
        at=sources[0].at,
        recorded=night.now,
        sources=tuple(source.id for source in sources),
        attrs=attrs,
        origin=origin,
        half_life_days=half_life_days,
        due=later(night.now, half_life_days),
    )


def _propose(engram: Engram, verb: str, reason: str, links: Sequence[Link], made: Made) -> None:
    """Add a lesson under a key of its words and task alone: whatever run teaches it, it is the same lesson."""
    made.add(engram, verb, reason, links)
    made.contents[engram.id] = _content(engram.text, str(engram.origin), engram.kind)


def _content(words: str, origin: str, kind: str = "note") -> bytes:
    return content_key(" ".join(words.casefold().split()), kind, None, origin, None, 0)


def _spelt(engram: Engram) -> Engram:
    """A run, or a lesson, with its task in words, so that the task finds it."""
    task = engram.attrs.get("task")
    return engram.with_(text=f"{task}\n{engram.text}") if isinstance(task, str) else engram


def _base(lesson: Engram, peers: Sequence[Run]) -> float:
    """What a task brings without the lesson: runs that were shown nothing, and the trials without it as so many more.

    A base of two runs alone that both failed would call every later failure no loss.
    """
    plain = [peer.trial.reward for peer in peers if not peer.memories]
    tried = int(lesson.attrs["admission"]["trials"]) if "admission" in lesson.attrs else 1
    return (sum(plain) + tried * float(lesson.attrs["base"])) / (len(plain) + tried)


def _mean(trials: Sequence[Trial]) -> float:
    return float(np.mean([trial.reward for trial in trials])) if trials else 0.0
