"""One memory for many: REST, MCP and a page over the same verbs, behind keys.

    from slowwave.serve import create_app
    app = create_app(Memory("team.db"))  # an ASGI application

`access` says who may do what, `gate` stands before every request, `rest` and `mcp` are the doors, `service` is what
they share. All of it needs the extra `server`; nothing outside this folder does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowwave.serve.app import create_app
    from slowwave.serve.service import Service


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from slowwave.serve.app import create_app

        return create_app
    if name == "Service":
        from slowwave.serve.service import Service

        return Service
    raise AttributeError(f"module 'slowwave.serve' has no attribute {name!r}")


__all__ = ["Service", "create_app"]
