"""What must not be in anybody's hands when the process forks: locks are held meanwhile, and freed on both sides."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

_guarded: weakref.WeakSet[Any] = weakref.WeakSet()
_before: list[Callable[[], Iterable[Any]]] = []
_in_child: list[Callable[[], None]] = []
_held: list[Any] = []


def guard(lock: Any) -> Any:
    """Hold this lock while the process forks, so that no child finds it taken by a thread that it does not have.

    Whoever holds it may read the database, and may take no other guarded lock. Returns the lock.
    """
    _guarded.add(lock)
    return lock


def at_fork(locks: Callable[[], Iterable[Any]], in_child: Callable[[], None]) -> None:
    """Hold these locks too, after the guarded ones; and call `in_child` in the child while all are held.

    What `locks` yields is asked for one by one, so that the later ones may depend on the earlier ones being held.
    """
    _before.append(locks)
    _in_child.append(in_child)


def _take() -> None:
    for lock in list(_guarded):
        lock.acquire()
        _held.append(lock)
    for locks in _before:
        for lock in locks():
            lock.acquire()
            _held.append(lock)


def _free() -> None:
    while _held:
        _held.pop().release()


def _free_in_child() -> None:
    for call in _in_child:
        call()
    _free()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_free, after_in_child=_free_in_child)

__all__ = ["at_fork", "guard"]
