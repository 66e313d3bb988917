"""Names of records: ids that sort by the moment they were made, and keys that say when two items are the same.

An id is 48 bits of milliseconds and 80 bits of chance, in Crockford's base 32. The layout is that of ULID
(https://github.com/ulid/spec), monotone within a process.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time

from slowwave.store import forks

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 26
_PAIRS = tuple(one + other for one in ALPHABET for other in ALPHABET)  # ten bits -> two characters
_lock = forks.guard(threading.Lock())
_last = 0


def new_id() -> str:
    """26 characters; each sorts after every one made before it in this process."""
    global _last
    with _lock:
        value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
        if value >> 80 <= _last >> 80:
            value = _last + 1 + int.from_bytes(os.urandom(4))
        _last = value
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def _after_fork() -> None:
    """A child counts on from a number of its own, and not from its parent's."""
    global _last
    _last = 0


forks.at_fork(list, _after_fork)


def content_key(text: str, kind: str, speaker: str | None, origin: str | None, at: int | None, nth: int) -> bytes:
    """What makes two items of one scope the same: 16 bytes over text, kind, speaker, origin, time and repetition.

    at   microseconds if the source gave a time, None if it was filled in with the present
    nth  0 for the first such item of one call, 1 for the second: "yes" said twice in a conversation is kept twice
    """
    parts = [text, kind, speaker, origin, at, nth]
    encoded = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=16).digest()
