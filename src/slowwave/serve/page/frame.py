"""What all views share: who asks and on which scope, templates that escape, forms that no other site can send.

A view is a function of an `Asked`, entered by `@view(path, verb)`. The scope is that of the URL (user_id=...), within
what the key reaches, as `Access.scope` says; a view gets no other one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from slowwave import __version__
from slowwave.errors import AccessError, ExtraMissingError, InputError, ScopeError, SlowwaveError, UnknownKeyError
from slowwave.memory import Memory
from slowwave.records import SCOPE_FIELDS, Scope
from slowwave.serve.access import Access
from slowwave.serve.failures import status_of
from slowwave.serve.page.words import FILTERS
from slowwave.serve.service import Service
from slowwave.store.base import View

try:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
except ImportError as missing:
    raise ExtraMissingError("the page", "server") from missing

T = TypeVar("T")
HERE = Path(__file__).parent
MOST_FIELDS = 10_000  # of a form: two a change of a long night
FORM_COOKIE = "slowwave_form"  # random; what a form sends back is made from it, and no other site can read or set it
THEME_COOKIE = "slowwave_theme"
NOTICE_COOKIE = "slowwave_notice"
THEMES = ("system", "light", "dark")
NAV = (  # path, name, verb
    ("/timeline", "Timeline", "list"),
    ("/search", "Search", "search"),
    ("/nights", "Nights", "log"),
    ("/fading", "Fading", "list"),
    ("/held", "Quarantine", "review"),
    ("/stats", "Stats and cost", "stats"),
    ("/move", "Import, export", "export"),
    ("/keys", "Keys", "keys"),
)


@dataclass(frozen=True)
class ViewOf:
    """A view as it was entered."""

    path: str
    methods: tuple[str, ...]
    verb: str | None
    scoped: bool
    function: Callable[[Asked], Awaitable[Response]]


VIEWS: list[ViewOf] = []


def view(path: str, verb: str | None, *, post: bool = False, scoped: bool = True) -> Callable[[Any], Any]:
    """Enter a view.

    verb    what the key must be allowed to do; None lets everybody in
    scoped  whether it is about one scope, which is then there as `asked.scope`
    """

    def enter(function: Callable[[Asked], Awaitable[Response]]) -> Callable[[Asked], Awaitable[Response]]:
        VIEWS.append(ViewOf(path, ("POST",) if post else ("GET",), verb, scoped, function))
        return function

    return enter


@dataclass
class Asked:
    """One request: what was asked, by whom, on which scope; and how to answer it."""

    frame: Frame
    request: Request
    access: Access | None
    scope: Scope | None
    form: Mapping[str, Any] = field(default_factory=dict)
    ticked: Mapping[str, list[Any]] = field(default_factory=dict)  # fields of the form that may be there several times
    _token: str = ""

    @property
    def memory(self) -> Memory:
        """The memory that is served."""
        return self.frame.service.memory

    @property
    def named(self) -> dict[str, Any]:
        """The scope as arguments of a verb."""
        return dict(self.scope.to_dict()) if self.scope else {}

    @property
    def who(self) -> Access:
        """What the one who asks may do."""
        assert self.access is not None
        return self.access

    def see(self) -> View:
        """The records of the scope, and no others."""
        assert self.scope is not None
        return self.memory.store.view(self.scope)

    def text(self, name: str, default: str = "") -> str:
        """A field of the form, else of the URL."""
        value = self.form.get(name, self.request.query_params.get(name, default))
        return value.strip() if isinstance(value, str) else default

    def many(self, name: str) -> list[str]:
        """A field of the form as often as it was sent."""
        return [value for value in self.ticked.get(name, ()) if isinstance(value, str)]

    def number(self, name: str, default: int = 0) -> int:
        """A whole number from 0; anything else is the default."""
        value = self.text(name)
        return min(int(value), 10**9) if value.isascii() and value.isdigit() and len(value) < 12 else default

    def upload(self, name: str) -> UploadFile | None:
        """A file that was sent along."""
        value = self.form.get(name)
        return value if isinstance(value, UploadFile) and value.filename else None

    async def call(self, function: Callable[..., T], /, *args: Any, slow: bool = False, **kwargs: Any) -> T:
        """Run a verb in a thread, on behalf of whoever asks."""
        service = self.frame.service
        run = service.call_slow if slow else service.call
        return await run(self.who, function, *args, **kwargs)

    def url(self, path: str, **params: Any) -> str:
        """An address within the same scope."""
        given = {**self.named, **{name: value for name, value in params.items() if value not in (None, "", False)}}
        return f"{path}?{urlencode(given)}" if given else path

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page; where htmx asks for a part of it, the block of that name."""
        headers = self.request.headers
        part = headers.get("hx-target", "") if headers.get("hx-request") else ""
        made = self.frame.environment.get_template(template)
        context = {**self._common(), **values}
        whole = part not in made.blocks
        body = made.render(context) if whole else "".join(made.blocks[part](made.new_context(context)))
        response = HTMLResponse(body, status)
        response.headers["vary"] = "HX-Request"
        response.headers["referrer-policy"] = "same-origin"  # with "no-referrer" a form names its origin as null
        if self.request.cookies.get(NOTICE_COOKIE):
            response.delete_cookie(NOTICE_COOKIE, path="/")
        return self._with_form_cookie(response)

    def go(self, path: str, notice: str = "", **params: Any) -> Response:
        """Send on to another page of the scope, with a word of what was done; `undo` is an operation to take back."""
        response = RedirectResponse(self.url(path, **params), 303)
        if notice:
            self._set(response, NOTICE_COOKIE, notice.encode("utf-8").hex()[:3000], 60)
        return response

    def _set(self, response: Response, name: str, value: str, seconds: int | None) -> None:
        secure = self.request.url.scheme == "https"
        response.set_cookie(name, value, max_age=seconds, httponly=True, samesite="strict", secure=secure, path="/")

    def _with_form_cookie(self, response: Response) -> Response:
        if self.request.cookies.get(FORM_COOKIE) != self._token:
            self._set(response, FORM_COOKIE, self._token, None)
        return response

    def _common(self) -> dict[str, Any]:
        access = self.access
        theme = self.request.cookies.get(THEME_COOKIE, "system")
        return {
            "asked": self,
            "url": self.url,
            "scope": self.scope,
            "scope_fields": self.named,
            "may": access.may if access else lambda verb: False,
            "signed_in": access is not None and access.key != "local",
            "nav": [(path, name) for path, name, verb in NAV if access is not None and access.may(verb)],
            "here": self.request.url.path,
            "form_token": token_of(self._token),
            "theme": theme if theme in THEMES else "system",
            "themes": THEMES,
            "notice": _notice(self.request),
            "version": __version__,
            "zone": self.memory.zone,
            "readonly": access is not None and access.readonly,
        }


class Frame:
    """The page's templates and routes over a service."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters.update(FILTERS)

    def routes(self) -> list[BaseRoute]:
        """A route a view, and the static files."""
        static = Mount("/page/static", StaticFiles(directory=HERE / "static"), name="static")
        return [*(Route(one.path, self._endpoint(one), methods=list(one.methods)) for one in VIEWS), static]

    def _endpoint(self, one: ViewOf) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            asked = Asked(self, request, None, None, _token=request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe())
            try:
                async with request.form(max_fields=MOST_FIELDS) as form:
                    asked.form, asked.ticked = dict(form), {name: form.getlist(name) for name in form}
                    if "POST" in one.methods:
                        _check_form(request, asked)
                    self._let_in(one, asked)
                    return await one.function(asked)
            except UnknownKeyError:
                return RedirectResponse(f"/login?{urlencode({'next': _back(request)})}", 303)
            except ScopeError as error:
                if request.method == "GET" and not any(request.query_params.get(name) for name in SCOPE_FIELDS):
                    return RedirectResponse("/", 303)
                return asked.render("trouble.html", status_of(error), error=error, kind=type(error).__name__)
            except SlowwaveError as error:
                return asked.render("trouble.html", status_of(error), error=error, kind=type(error).__name__)

        endpoint.__name__ = one.function.__name__
        return endpoint

    def _let_in(self, one: ViewOf, asked: Asked) -> None:
        asked.access = asked.request.scope.get("state", {}).get("access")
        if one.verb is None:
            return
        asked.access = self.service.access(asked.request)
        given = {name: asked.text(name) or None for name in SCOPE_FIELDS}
        if one.scoped or any(given.values()):
            asked.scope = asked.who.scope(given)
        asked.who.need(one.verb)


def token_of(cookie: str) -> str:
    """What a form has to send back: whoever cannot read the cookie cannot make it."""
    return hashlib.sha256(f"slowwave form {cookie}".encode()).hexdigest()


def _check_form(request: Request, asked: Asked) -> None:
    cookie = request.cookies.get(FORM_COOKIE, "")
    given = asked.text("form_token") or request.headers.get("x-form-token", "")
    if not cookie or not hmac.compare_digest(given.encode(), token_of(cookie).encode()):
        raise AccessError("this form was not sent from the page, or the page is old; go back, reload it, and try again")


def _back(request: Request) -> str:
    return str(request.url.path) + (f"?{request.url.query}" if request.url.query else "")


def _notice(request: Request) -> str:
    try:
        return bytes.fromhex(request.cookies.get(NOTICE_COOKIE, "")).decode("utf-8")
    except ValueError:
        return ""


__all__ = ["Asked", "Frame", "InputError", "ScopeError", "view"]
