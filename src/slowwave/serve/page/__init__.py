"""The page: what a memory holds, how it came to know it, and what a night would change, for people, in a browser.

Server-rendered; htmx comes along in `static/`; it works without JavaScript, offline, by keyboard and by screen reader.
`routes(service)` gives its routes. `frame` is what all views share: who asks, on which scope, escaping, forms that no
other site can send. Each other file holds a few views.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from slowwave.serve.service import Service


def routes(service: Service) -> list[BaseRoute]:
    """The routes of the page, for `create_app`."""
    from slowwave.serve.page import door, held, keys, move, nights, record, standing, timeline  # noqa: F401  enter views
    from slowwave.serve.page.frame import Frame

    return Frame(service).routes()


__all__ = ["routes"]
