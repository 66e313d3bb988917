"""Evidence within a token budget: its recall, and whether all of it is there; with paired differences between rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave.bench.metrics import Floats, Found, interval
from slowwave.bench.retrieval import Conversation, Question, Ranking
from slowwave.records import Item

BUDGETS = (500, 1000)
PLAIN = ("multi-hop", "temporal", "open-domain", "single-hop")  # LoCoMo's kinds but the adversarial one
Rows = Mapping[str, Mapping[str, Floats]]


def within(found: Sequence[Found], budget: int) -> set[str]:
    """The units that the best results show in so many tokens; what is too long is passed over, as in `context`."""
    used, shown = 0, set[str]()
    for result in found:
        if used + result.tokens <= budget:
            used += result.tokens
            shown.update(result.units)
    return shown


def judged_within(
    conversations: Sequence[Conversation], rankings: Sequence[Ranking], budgets: Sequence[int] = BUDGETS
) -> dict[str, Floats]:
    """recall@Nt and all@Nt, one number a question, over all conversations in order."""
    out: dict[str, list[float]] = {f"{name}@{budget}t": [] for budget in budgets for name in ("recall", "all")}
    for conversation, ranking in zip(conversations, rankings, strict=True):
        for question, found in zip(conversation.questions, ranking, strict=True):
            wanted = set(question.evidence)
            for budget in budgets:
                shown = within(found, budget)
                out[f"recall@{budget}t"].append(len(wanted & shown) / len(wanted))
                out[f"all@{budget}t"].append(float(wanted <= shown))
    return {name: np.array(values) for name, values in out.items()}


def labelled(conversations: Sequence[Conversation]) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """For all questions in order: the conversation, and the kind."""
    flat = [(c.name, q.kind) for c in conversations for q in c.questions]
    return np.array([name for name, _ in flat], dtype=str), np.array([kind for _, kind in flat], dtype=str)


def by_kind(rows: Rows, names: NDArray[np.str_], kinds: NDArray[np.str_]) -> dict[str, dict[str, Any]]:
    """Row -> kind ("all" is every plain one) -> metric -> mean and 95 % interval, resampling conversations."""
    groups = {"all": np.isin(kinds, PLAIN), **{kind: kinds == kind for kind in PLAIN}}
    return {
        row: {
            kind: {metric: interval(values[chosen], names[chosen]) for metric, values in metrics.items()}
            for kind, chosen in groups.items()
            if chosen.any()
        }
        for row, metrics in rows.items()
    }


def gain(rows: Rows, row: str, over: str, metric: str, chosen: NDArray[np.bool_], names: NDArray[np.str_]) -> Any:
    """The mean paired difference of two rows with its 95 % interval."""
    return interval(rows[row][metric][chosen] - rows[over][metric][chosen], names[chosen])


def verdict_of(gains: Sequence[Mapping[str, Any]]) -> str:
    """ "holds" where every interval lies above 0, "does not hold" where one lies below or at most touches 0 from below,
    else it cannot be told."""
    if any(one["low"] is None for one in gains):
        return "cannot be told at this size"
    if all(one["low"] > 0 for one in gains):
        return "holds"
    return "does not hold" if any(one["high"] <= 0 for one in gains) else "cannot be told at this size"


def told(found: Mapping[str, Any], digits: int = 3) -> str:
    """A mean with its interval, in words."""
    if found["low"] is None:
        return f"{found['mean']:.{digits}f}"
    return f"{found['mean']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def signed(found: Mapping[str, Any], digits: int = 3) -> str:
    """A difference with its interval, in words."""
    if found["low"] is None:
        return f"{found['mean']:+.{digits}f}"
    return f"{found['mean']:+.{digits}f} [{found['low']:+.{digits}f}, {found['high']:+.{digits}f}]"


def made_up(count: int = 3, seed: int = 0) -> list[Conversation]:
    """Small conversations without any meaning, for the code paths alone; kinds go round."""
    rng = random.Random(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    things = ("lake", "cello", "bread", "train", "garden", "office", "harbour", "choir", "bicycle", "window")
    out = []
    for number in range(count):
        items = tuple(
            Item(
                f"I saw the {rng.choice(things)} near the {rng.choice(things)} number {n}.",
                speaker="Ana" if n % 2 else "Ben",
                at=start + timedelta(days=n // 5, minutes=n),
                session=f"session_{n // 5 + 1}",
                origin=f"D{n // 5 + 1}:{n % 5 + 1}",
            )
            for n in range(35)
        )
        units = tuple(str(item.origin) for item in items)
        asked = tuple(
            Question(f"Where was number {n}?", (units[n], units[(n + 9) % 35]), PLAIN[n % 4])
            for n in range(0, 32, 4 + 1)
        )
        out.append(Conversation(f"made-up-{number}", items, units, asked, start + timedelta(days=30)))
    return out


def timed(label: str, work: Callable[[], Any], seconds: dict[str, float]) -> Any:
    """What the work gives; its seconds are noted under the label."""
    from time import perf_counter

    begin = perf_counter()
    out = work()
    seconds[label] = round(seconds.get(label, 0.0) + perf_counter() - begin, 1)
    return out
