"""Quarantine: what was kept apart and why; release it or drop it."""

from __future__ import annotations

from starlette.responses import Response

from slowwave.errors import InputError
from slowwave.serve.page.frame import Asked, view

SHOWN = 200


@view("/held", "review")
async def held(asked: Asked) -> Response:
    """What waits for a decision; what was decided too, if asked for."""
    decided = asked.text("decided") == "yes"
    found = await asked.call(asked.memory.held, limit=SHOWN, decided=decided, **asked.named)
    return asked.render("held.html", found=found, decided=decided)


@view("/held/{id}", "review", post=True)
async def decide(asked: Asked) -> Response:
    """Release it, so that it becomes a record as it was given, or drop it for good."""
    id_ = asked.request.path_params["id"]
    if asked.text("decision") == "released":
        report = await asked.call(asked.memory.release, id_, **asked.named)
        return asked.go(f"/memory/{report[0].id}", "Released: it is a memory now, as it was given.")
    if asked.text("decision") == "dropped":
        await asked.call(asked.memory.drop, id_, **asked.named)
        return asked.go("/held", "Dropped. That it came, and why it was held, stays in the journal.")
    raise InputError("say whether it is released or dropped")
