"""Whether a statement stays within its sources: a name, number or date that is in none of them turns it down."""

from __future__ import annotations

import re
from collections.abc import Sequence

from slowwave.ops.names import names
from slowwave.records import Engram

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def ungrounded(statement: str, sources: Sequence[Engram]) -> str:
    """What the statement says that no source does, as a reason; "" if there is nothing.

    sources  their texts, speakers, attributes and dates count as said
    """
    if not sources:
        return "it names no source"
    known = " ".join(f"{e.speaker or ''} {e.text} {e.at:%Y-%m-%d %A %d %B %Y}" for e in sources).casefold()
    for name in names(statement):
        if any(part not in known for part in name.casefold().split()):
            return f"the name {name!r} is in none of its sources"
    for number in _NUMBER.findall(statement):
        if number.casefold() not in known:
            return f"the number {number!r} is in none of its sources"
    return ""
