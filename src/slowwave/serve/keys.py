"""Keys to a served memory: made once, shown once, kept as a hash, checked at each request."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from slowwave.errors import NotFoundError, UnknownKeyError
from slowwave.memory import Memory
from slowwave.records import Scope
from slowwave.serve.access import EVERYDAY, Access, expanded, verbs_of
from slowwave.serve.limits import limits_of
from slowwave.store.base import AUDIT, Key, Operation
from slowwave.store.clock import parse_moment
from slowwave.store.ids import new_id

SHAPE = re.compile(r"sw_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
FRESH_SECONDS = 1.0  # for which the keys that were read count as those that are there


class Keys:
    """The keys of a memory.

    A secret has 256 random bits, so that its hash needs no salt and no slow function: SHA-256 is kept, and compared in
    constant time. Another process sees a new or a revoked key within a second.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._read = float("-inf")

    def add(
        self,
        name: str = "",
        *,
        scopes: Iterable[Scope] = (),
        verbs: Iterable[str] = EVERYDAY,
        limits: Mapping[str, int] | None = None,
        expires: datetime | str | None = None,
        by: str = "local",
    ) -> tuple[Key, str]:
        """Make a key; returns it, and the text to give out, which is nowhere kept.

        name     what it is for, for people
        scopes   it reaches what lies in any of these; none of them is everything
        verbs    names of verbs or of groups: read, write, sleep, forget, erase, review, trust, admin, all
        limits   quotas, see `slowwave.serve.limits`
        expires  when it ends by itself
        by       who makes it, for the journal
        """
        memory = self.memory
        end = None if expires is None else parse_moment(expires, memory.zone, "expires")
        id_ = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)
        given = tuple(dict.fromkeys(scopes))
        key = Key(id_, name[:200], _hash(secret), given, verbs_of(verbs), limits_of(limits or {}), memory.clock(), end)
        self._put(key, "add-key", by)
        return key, f"sw_{id_}_{secret}"

    def revoke(self, id: str, *, by: str = "local") -> Key:
        """From now on the key opens nothing; NotFoundError if there is none of that id."""
        key = next((key for key in self.memory.store.all_keys() if key.id == id), None)
        if key is None:
            raise NotFoundError(f"there is no key {id!r:.60}; see: slowwave keys list")
        if key.revoked is None:
            key = Key(key.id, key.name, key.hash, key.scopes, key.verbs, key.limits, key.created, key.expires,
                      self.memory.clock())  # fmt: skip
            self._put(key, "revoke-key", by)
        return key

    def list(self) -> list[Key]:
        """Every key there ever was, revoked ones too."""
        return self.memory.store.all_keys()

    @property
    def exist(self) -> bool:
        """Whether a key was ever made: from then on every request needs one, and it stays so when all are revoked."""
        return bool(self._fresh())

    def known(self, id: str) -> Key | None:
        """The key of this id, as it was read last."""
        return self._fresh().get(id)

    def access(self, text: str) -> tuple[Access, Key]:
        """What a key opens; UnknownKeyError says no more than that it opens nothing."""
        match = SHAPE.fullmatch(text.strip())
        key = self._fresh().get(match[1]) if match else None
        given = _hash(match[2]) if match else ""
        if key is None or not hmac.compare_digest(given, key.hash):
            raise UnknownKeyError("there is no such key; see: slowwave keys list")
        now = self.memory.clock()
        if key.revoked is not None or (key.expires is not None and key.expires <= now):
            raise UnknownKeyError(f"the key {key.id} was revoked or has expired; see: slowwave keys list")
        return Access(key.id, key.scopes, expanded(key.verbs)), key

    def _put(self, key: Key, verb: str, by: str) -> None:
        self.memory.store.put_key(key)
        params = {"key": key.id, "by": by}
        operation = Operation(new_id(), verb, AUDIT, self.memory.clock(), params=params, noted=True)
        self.memory.store.apply(operation, [], {})
        with self._lock:
            self._read = float("-inf")

    def _fresh(self) -> dict[str, Key]:
        with self._lock:
            if time.monotonic() - self._read > FRESH_SECONDS:
                self._keys = {key.id: key for key in self.memory.store.all_keys()}
                self._read = time.monotonic()
            return self._keys


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def values(key: Key) -> dict[str, Any]:
    """A key as plain JSON values; its hash stays where it is."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope.to_dict() for scope in key.scopes],
        "verbs": list(key.verbs),
        "limits": dict(key.limits),
        "created": key.created.isoformat(),
        "expires": key.expires.isoformat() if key.expires else None,
        "revoked": key.revoked.isoformat() if key.revoked else None,
    }
