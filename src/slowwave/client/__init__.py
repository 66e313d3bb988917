"""A memory that is served elsewhere, with the shape of `Memory`: `Memory("https://...", key="sw_...")` makes one.

`asks` says which request each verb is, `reading` makes records of the answers, `wire` decides on errors and retries;
`remote` sends, `remote_async` awaits. Nothing here imports the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowwave.client.remote import RemoteMemory
    from slowwave.client.remote_async import AsyncRemoteMemory

__all__ = ["AsyncRemoteMemory", "RemoteMemory"]


def __getattr__(name: str) -> Any:
    if name == "RemoteMemory":
        from slowwave.client.remote import RemoteMemory

        return RemoteMemory
    if name == "AsyncRemoteMemory":
        from slowwave.client.remote_async import AsyncRemoteMemory

        return AsyncRemoteMemory
    raise AttributeError(f"module 'slowwave.client' has no attribute {name!r}")
