"""Measured runs of tasks, read off episodes: what was tried, how it went, what it teaches, what the others came to.

An agent adds a run as an episode: its text is what was done, its attrs hold `task` and `reward`, and where they are
known `tokens`, `latency_ms`, `seed`, `memories` (ids of what it was shown) and `answer` (the task's right answer).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slowwave.models.base import Embedder
from slowwave.ops.admission import Trial
from slowwave.ops.nearness import alike
from slowwave.ops.summarise import summarise
from slowwave.records import Engram
from slowwave.store.base import View, Want

PEERS = 64  # runs that are looked up of one task
LONGEST = 300  # characters of a lesson
_TOLD = re.compile(r"\b(?:lessons?(?: learned| learnt)?|takeaway|insight)\s*:\s*(\S.*)$", re.I | re.M)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a task.

    memories  ids of what it was shown
    answer    the task's right answer; "" where that is not known
    """

    engram: Engram
    task: str
    trial: Trial
    memories: tuple[str, ...] = ()
    answer: str = ""

    @property
    def id(self) -> str:
        """The episode's id."""
        return self.engram.id

    @property
    def when(self) -> datetime:
        """When it was recorded."""
        return self.engram.recorded


def run_of(engram: Engram) -> Run | None:
    """An episode as a run; None if its attrs hold no task with a finite reward."""
    attrs = engram.attrs
    task, reward = attrs.get("task"), _number(attrs.get("reward"))
    if engram.kind != "episode" or not isinstance(task, str) or not task.strip() or reward is None:
        return None
    seed, named, answer = attrs.get("seed"), attrs.get("memories"), attrs.get("answer")
    trial = Trial(
        reward,
        _number(attrs.get("tokens")) or 0.0,
        _number(attrs.get("latency_ms")) or 0.0,
        seed if isinstance(seed, int) else 0,
        task,
    )
    memories = tuple(str(id_) for id_ in named) if isinstance(named, (list, tuple)) else ()
    return Run(engram, task, trial, memories, answer if isinstance(answer, str) else "")


def runs_of_task(view: View, task: str, embedder: Embedder | None, k: int = PEERS) -> list[Run]:
    """Runs of one task, up to k of them found by likeness and as many by words, oldest first."""
    found = alike(view, task, embedder, k, Want())[0] | alike(view, task, None, k, Want())[0]
    runs = [run for engram in view.engrams(sorted(found)).values() if (run := run_of(engram)) is not None]
    mine = [run for run in runs if _plain(run.task) == _plain(task) and run.engram.retired is None]
    return sorted(mine, key=lambda run: (run.when, run.id))


def with_and_without(runs: Sequence[Run], lesson: str) -> tuple[list[Trial], list[Trial]]:
    """Trials that taught a lesson, by rule, and those that taught another; runs that were shown one are left out.

    Each is a trial of its own, with a seed of its own: what was only observed has no partner.
    """
    own = [(_plain(lesson_by_rule(run)) == _plain(lesson), run.trial) for run in runs if not run.memories]
    trials = [(mine, Trial(t.reward, t.tokens, t.latency_ms, seed, t.task)) for seed, (mine, t) in enumerate(own)]
    return [t for mine, t in trials if mine], [t for mine, t in trials if not mine]


def lesson_by_rule(run: Run) -> str:
    """What a run says that it learned ("Lesson: ..."), else the two sentences of it that say most."""
    told = _TOLD.search(run.engram.text)
    if told:
        return " ".join(told[1].split())[:LONGEST]
    return summarise([run.engram.text], None, 2, LONGEST).text


def graded(expected: str, reply: str) -> float:
    """1 if the reply is the expected answer, or holds it as whole words; else 0."""
    want, got = (" ".join(re.findall(r"\w+", value.casefold())) for value in (expected, reply))
    return float(bool(want) and f" {want} " in f" {got} ")


def _plain(words: str) -> str:
    return " ".join(words.casefold().split())


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
