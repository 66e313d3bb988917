"""What a memory holds, in the order in which it happened; and what it finds on a question, with the reasons."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from starlette.responses import Response

from slowwave.records import KINDS, Engram
from slowwave.serve.page.frame import Asked, view

PAGE = 50
SHOWN_NEAREST = 5  # of what was almost returned


@view("/timeline", "list")
async def timeline(asked: Asked) -> Response:
    """Episodes by day, newest first; other kinds, and what left the view, if asked for."""
    kind, until, offset = asked.text("kind", "episode"), asked.text("until"), asked.number("offset")
    retired = asked.text("retired") == "yes"
    found = await asked.call(
        asked.memory.list,
        kinds=[kind] if kind in KINDS else None,
        filters={"at": {"lte": f"{until}T23:59:59" if len(until) == 10 else until}} if until else None,
        limit=PAGE + 1,
        offset=offset,
        newest_first=True,
        retired=retired,
        **asked.named,
    )
    return asked.render(
        "timeline.html",
        days=by_day(found[:PAGE]),
        more=offset + PAGE if len(found) > PAGE else None,
        offset=offset,
        kind=kind,
        kinds=KINDS,
        until=until,
        retired=retired,
    )


def by_day(engrams: Any) -> list[tuple[Engram, list[Engram]]]:
    """Records by the day on which they happened, each day with its first record for the heading."""
    groups = [list(group) for _, group in groupby(engrams, key=lambda engram: engram.at.date())]
    return [(group[0], group) for group in groups]


@view("/search", "search")
async def search(asked: Asked) -> Response:
    """What bears on a question, best first, and why; looking is not noted as a use."""
    query = asked.text("query")
    values: dict[str, Any] = {
        "query": query, "at": asked.text("at"), "as_of": asked.text("as_of"), "kind": asked.text("kind"),
        "weak": asked.text("weak") == "yes", "kinds": KINDS, "hits": None, "trace": {}, "nearest": [],
    }  # fmt: skip
    if query:
        hits = await asked.call(
            asked.memory.search,
            query,
            top_k=20,
            threshold=0.0 if values["weak"] else None,
            kinds=[values["kind"]] if values["kind"] in KINDS else None,
            at=values["at"] or None,
            as_of=values["as_of"] or None,
            explain=True,
            note_use=False,
            **asked.named,
        )
        values |= {"hits": hits, "trace": dict(hits.trace), "nearest": _nearest(hits.trace)}
    return asked.render("search.html", **values)


def _nearest(trace: Any) -> list[Any]:
    found = trace.get("almost", [])
    return [one for one in found if isinstance(one, dict) and "memory" in one][:SHOWN_NEAREST]
