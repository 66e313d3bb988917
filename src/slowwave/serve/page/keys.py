"""Keys: who reaches what; make one, which is shown once, or revoke one. Nobody gives out more than they have."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from slowwave.errors import AccessError, InputError, NotFoundError
from slowwave.records import SCOPE_FIELDS
from slowwave.serve.access import EVERYDAY, GROUPS, expanded
from slowwave.serve.keys import values
from slowwave.serve.limits import LIMITS
from slowwave.serve.page.frame import Asked, view
from slowwave.store.base import Key

GROUP_WORDS = {
    "read": "search, list, history, export",
    "write": "add, correct, tie, import",
    "sleep": "sleep and undo",
    "forget": "take out of view",
    "erase": "remove for good",
    "review": "release or drop what is in quarantine",
    "trust": "add without quarantine",
    "admin": "keys, scopes, metrics",
}


@view("/keys", "keys", scoped=False)
async def keys(asked: Asked) -> Response:
    """Every key that reaches no further than the one that asks."""
    return await _shown(asked)


@view("/keys", "keys", post=True, scoped=False)
async def make(asked: Asked) -> Response:
    """Make a key, and show it this once."""
    fields = {name: asked.text(f"key_{name}") for name in SCOPE_FIELDS if asked.text(f"key_{name}")}
    everyone = asked.text("everyone") == "yes"
    if everyone == bool(fields):
        raise InputError("name the scope that the key reaches, or say that it reaches everything: one of the two")
    if everyone and asked.who.scopes:
        raise AccessError("this key reaches some scopes alone, and can give out no more than that")
    scopes = [asked.who.scope(fields)] if fields else []
    verbs = [name for name in GROUPS if asked.text(f"may_{name}") == "yes"]
    if not expanded(verbs) <= asked.who.verbs:
        raise AccessError("a key can give out no more than it may do itself")
    limits = {name: asked.number(name) for name in LIMITS if asked.text(name)}
    first = not asked.frame.service.keys.exist
    key, secret = await asked.call(
        asked.frame.service.keys.add,
        asked.text("name"),
        scopes=scopes,
        verbs=verbs,
        limits=limits,
        expires=asked.text("expires") or None,
        by=asked.who.key,
    )
    return await _shown(asked, made=key, secret=secret, first=first)


@view("/keys/{id}/revoke", "keys", post=True, scoped=False)
async def revoke(asked: Asked) -> Response:
    """From now on it opens nothing."""
    id_ = asked.request.path_params["id"]
    if id_ not in {key.id for key in await _reached(asked)}:
        raise NotFoundError(f"there is no key {id_:.40} that you reach")
    await asked.call(asked.frame.service.keys.revoke, id_, by=asked.who.key)
    return asked.go("/keys", "Revoked. It opens nothing any more.")


async def _reached(asked: Asked) -> list[Key]:
    found = await asked.call(asked.frame.service.keys.list)
    if not asked.who.scopes:
        return found
    return [key for key in found if key.scopes and all(asked.who.reaches(scope) for scope in key.scopes)]


async def _shown(asked: Asked, **more: Any) -> Response:
    rows = [values(key) for key in await _reached(asked)]
    groups = [(name, GROUP_WORDS[name], name in EVERYDAY) for name in GROUPS if expanded([name]) <= asked.who.verbs]
    given = {"made": None, "secret": "", "first": False, **more}
    return asked.render(
        "keys.html", rows=sorted(rows, key=lambda row: (row["revoked"] or "", row["created"])), groups=groups,
        fields=SCOPE_FIELDS, limits=LIMITS, own=asked.who.key, everyone=not asked.who.scopes, **given,
    )  # fmt: skip
