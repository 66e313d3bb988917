"""What is fading, and how the memory stands: counts, bytes, and what language models have cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from starlette.responses import Response

from slowwave.ops.fading import LEVELS
from slowwave.serve.page.frame import Asked, view
from slowwave.store.base import Asked as ModelAsked
from slowwave.store.base import View, Want
from slowwave.store.filters import parse

PAGE = 40
SOON_DAYS = 14
CALLS = 50_000  # that are counted


@view("/fading", "list")
async def fading(asked: Asked) -> Response:
    """How many memories are how strong, the weakest by name, and what fades next."""
    level, offset = asked.text("level"), asked.number("offset")
    chosen = next((one for one in LEVELS if f"{one:g}" == level), None)
    counts = await asked.call(_by_level, asked.see())
    if chosen is None:
        chosen = next((one for one, count in reversed(counts) if count and one < 1), 1.0)
    found = await asked.call(asked.memory.list, filters=_filter(chosen), limit=PAGE + 1, offset=offset, **asked.named)
    now = asked.memory.clock()
    soon = await asked.call(asked.see().due, now + timedelta(days=SOON_DAYS), 12)
    return asked.render(
        "fading.html",
        counts=counts,
        most=max([count for _, count in counts] or [1]) or 1,
        level=chosen,
        found=found[:PAGE],
        more=offset + PAGE if len(found) > PAGE else None,
        soon=soon,
        now=now,
        soon_days=SOON_DAYS,
    )


def _filter(level: float) -> dict[str, Any]:
    """From a level down to the next one."""
    above = min([one for one in LEVELS if one > level], default=None)
    lower = {"gte": level} if level > LEVELS[-1] else {}
    return {"strength": {**lower, **({"lt": above} if above else {"gte": level})} or {"gt": 0}}


def _by_level(view: View) -> list[tuple[float, int]]:
    return [(level, view.count(Want(where=parse(_filter(level))))) for level in LEVELS]


@view("/stats", "stats")
async def stats(asked: Asked) -> Response:
    """Counts, and calls, tokens and seconds of language models by what they were for."""
    found = await asked.call(asked.memory.stats, **asked.named)
    calls = await asked.call(asked.memory.log, calls=True, limit=CALLS, **asked.named)
    done = await asked.call(asked.memory.log, limit=1000, **asked.named)
    return asked.render(
        "stats.html",
        stats=found,
        costs=costs(calls),
        models=costs(calls, by="model"),
        done=Counter(row["verb"] for row in done).most_common(),
        last=done[0] if done else None,
        capped=len(calls) >= CALLS,
        whole=not asked.who.scopes,  # the path and the bytes are the owner's
    )


def costs(calls: Iterable[ModelAsked], by: str = "operation") -> list[dict[str, Any]]:
    """Calls, cached ones, tokens, seconds and failures by operation or model, and the sum last."""
    rows: dict[str, dict[str, Any]] = {}
    total: dict[str, Any] = _empty("all")
    for asked in calls:
        name = getattr(asked.call, by)
        for row in (rows.setdefault(name, _empty(name)), total):
            row["calls"] += 1
            row["cached"] += asked.call.cached
            row["tokens_in"] += asked.call.tokens_in
            row["tokens_out"] += asked.call.tokens_out
            row["seconds"] += asked.call.seconds
            row["failed"] += bool(asked.call.problem)
    return [*sorted(rows.values(), key=lambda row: -row["calls"]), total] if rows else []


def _empty(name: str) -> dict[str, Any]:
    return {"name": name, "calls": 0, "cached": 0, "tokens_in": 0, "tokens_out": 0, "seconds": 0.0, "failed": 0}
