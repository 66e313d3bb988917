"""Proof of an erasure: which bytes to look for, and the receipt of what was found."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from slowwave.records import Engram, Receipt, Scope
from slowwave.store.base import Store

WINDOW = 48  # bytes of a long text that are looked for at once
STRIDE = 400  # bytes between two windows
LONG_WORD = 9  # letters from which a word is telling enough to be looked for by itself


def needles(doomed: Sequence[Engram]) -> list[bytes]:
    """Pieces of the engrams that would betray them: ids, whole texts or windows of long ones, long words, origins."""
    out: dict[bytes, None] = {}
    for engram in doomed:
        out[engram.id.encode()] = None
        for text in (engram.text, engram.origin or ""):
            data = text.encode("utf-8")
            if len(data) >= 8:
                for start in range(0, max(1, len(data) - WINDOW + 1), STRIDE):
                    out[data[start : start + WINDOW]] = None
                out[data[-WINDOW:]] = None
        for word in re.findall(r"\w{%d,}" % LONG_WORD, engram.text):
            out[word.encode("utf-8")] = None
            out[word.lower()[: LONG_WORD - 2].encode("utf-8")] = None  # as the full-text index stems it
    return list(out)


def mentions(engram: Engram, subject: str) -> bool:
    """Whether a name said it, or it speaks of the name as a whole word, whatever the case."""
    if (engram.speaker or "").casefold() == subject.casefold():
        return True
    return re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", engram.text, re.IGNORECASE) is not None


def make(
    at: datetime,
    scope: Scope,
    ids: Sequence[str],
    counts: Mapping[str, int],
    looked_for: Sequence[bytes],
    found: Mapping[str, Sequence[str]],
    store: Store,
) -> Receipt:
    """The receipt; a piece that a remaining record holds as well is no trace of the erased one."""
    left = tuple(sorted(piece for piece in found if not store.holds(piece)))
    body = {
        "at": at.isoformat(),
        "scope": scope.to_dict(),
        "ids": list(ids),
        "counts": dict(counts),
        "files": store.size(),
        "needles": len(looked_for),
        "found": list(left),
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return Receipt(at, scope, tuple(ids), dict(counts), body["files"], len(looked_for), left, digest)  # type: ignore[arg-type]
