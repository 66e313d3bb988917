"""On whose behalf something is done: the journal names it as `by` in an operation's params."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_BY: ContextVar[str] = ContextVar("slowwave_by", default="")


@contextmanager
def acting(by: str) -> Iterator[None]:
    """What is done inside, in this thread or task, is done by this key."""
    token = _BY.set(by)
    try:
        yield
    finally:
        _BY.reset(token)


def acting_for() -> dict[str, str]:
    """{"by": ...}, or nothing where nobody in particular acts."""
    by = _BY.get()
    return {"by": by} if by else {}
