"""Proof of an erasure: which bytes to look for, and the receipt of what was found."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from slowwave.records import Engram, Receipt, Scope
from slowwave.store.base import Erased, Store

WINDOW = 48  # bytes of a long text that are looked for at once
STRIDE = 400  # bytes between two windows
LONG_WORD = 9  # letters from which a word is telling enough to be looked for by itself


def needles(doomed: Sequence[Engram]) -> list[bytes]:
    """Pieces of the engrams that would betray them: ids, texts (windows of long ones), long words, origins, attrs."""
    out: dict[bytes, None] = {}
    for engram in doomed:
        out[engram.id.encode()] = None
        for text in (engram.text, engram.origin or "", *_strings(engram.attrs)):
            data = text.encode("utf-8")
            if len(data) >= 8:
                for start in range(0, max(1, len(data) - WINDOW + 1), STRIDE):
                    out[data[start : start + WINDOW]] = None
                out[data[-WINDOW:]] = None
        for word in re.findall(rf"\w{{{LONG_WORD},}}", engram.text):
            out[word.encode("utf-8")] = None
            out[word.lower().encode("utf-8")] = None  # as the full-text index folds it
    return list(out)


def _strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys apart."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def mentions(engram: Engram, subject: str) -> bool:
    """Whether a name said it, or it speaks of the name as a whole word, whatever the case."""
    if (engram.speaker or "").casefold() == subject.casefold():
        return True
    return re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", engram.text, re.IGNORECASE) is not None


def make(
    at: datetime, scope: Scope, erased: Erased, store: Store, adapters: Sequence[str] = (),
    unlearned: Sequence[str] = (),
) -> Receipt:  # fmt: skip
    """Scan the files and write the receipt; a piece that what is left holds as well is no trace of the erased.

    adapters, unlearned  which trained weights hold it still, and what was done about others
    """
    looked_for = needles(erased.gone)
    left = tuple(sorted(piece for piece in store.scan(looked_for) if not store.holds(piece)))
    ids = [engram.id for engram in erased.gone]
    counts, files = dict(erased.counts), store.size()
    body = {
        "at": at.isoformat(),
        "scope": scope.to_dict(),
        "ids": ids,
        "counts": counts,
        "files": files,
        "needles": len(looked_for),
        "found": list(left),
        "open": erased.open,
        "adapters": list(adapters),
        "unlearned": list(unlearned),
    }
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return Receipt(
        at, scope, tuple(ids), counts, files, len(looked_for), left, erased.open, digest, tuple(adapters),
        tuple(unlearned),
    )  # fmt: skip
