"""Quarantine: what was kept apart and why; release it or drop it."""

from __future__ import annotations

from starlette.responses import Response

from slowwave.serve.page.frame import Asked, view

SHOWN = 200


@view("/held", "review")
async def held(asked: Asked) -> Response:
    """What waits for a decision; what was decided too, if asked for."""
    decided = asked.text("decided") == "yes"
    found = await asked.call(asked.see().held, SHOWN, None, decided)
    return asked.render("held.html", found=found, decided=decided)
