"""Signing in and out, whose memory to look at, light or dark."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from slowwave.errors import UnknownKeyError
from slowwave.records import SCOPE_FIELDS, Scope
from slowwave.serve.gate import COOKIE
from slowwave.serve.page.frame import NAV, THEME_COOKIE, THEMES, Asked, view

SHOWN = 200  # scopes on the first page


@view("/login", None, scoped=False)
async def login(asked: Asked) -> Response:
    """The form for a key."""
    return asked.render("login.html", next=asked.text("next", "/"), wrong=False)


@view("/login", None, post=True, scoped=False)
async def sign_in(asked: Asked) -> Response:
    """Check the key, and keep it in a cookie that no script can read and no other site can send."""
    given, then = asked.text("key"), asked.text("next", "/")
    try:
        asked.frame.service.keys.access(given)
    except UnknownKeyError:
        asked.access = None
        return asked.render("login.html", 401, next=then, wrong=True)
    inside = then.startswith("/") and not then.startswith(("//", "/\\")) and "://" not in then.split("?")[0]
    response = RedirectResponse(then if inside else "/", 303)
    asked._set(response, COOKIE, given, 30 * 86_400)
    return response


@view("/logout", None, post=True, scoped=False)
async def sign_out(asked: Asked) -> Response:
    """Forget the cookie."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, path="/")
    return response


@view("/theme", None, post=True, scoped=False)
async def theme(asked: Asked) -> Response:
    """Light, dark, or as the system has it."""
    back = asked.text("back", "/")
    response = RedirectResponse(back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/", 303)
    chosen = asked.text("theme")
    asked._set(response, THEME_COOKIE, chosen if chosen in THEMES else "system", 365 * 86_400)
    return response


@view("/", "list", scoped=False)
async def home(asked: Asked) -> Response:
    """Whose memory to look at; where there is only one, that one."""
    access = asked.who
    if asked.scope is not None or len(access.scopes) == 1:
        asked.scope = asked.scope or access.scopes[0]
        first = next((path for path, _, verb in NAV if access.may(verb)), "/timeline")
        return asked.go(first)
    offered: dict[Scope, int] = dict.fromkeys(access.scopes, 0)
    if not access.scopes and access.may("scopes"):
        for scope, count in await asked.call(asked.memory.scopes):
            name, value = next(iter(scope.to_dict().items()))
            whole = Scope(**{name: value})
            offered[whole] = offered.get(whole, 0) + count
    wanted = asked.text("q").casefold()
    found = [(scope, count) for scope, count in offered.items() if wanted in str(scope).casefold()]
    found.sort(key=lambda pair: (-pair[1], str(pair[0])))
    return asked.render(
        "home.html", found=found[:SHOWN], more=max(0, len(found) - SHOWN), q=asked.text("q"), fields=SCOPE_FIELDS
    )
