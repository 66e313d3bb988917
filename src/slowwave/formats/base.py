"""What a format is: a reader that turns files made elsewhere into Items to keep and Junk to report.

    detect(path)       whether the path looks like this format; never raises
    read(path, zone)   Items and Junk in the order of the source; naive times are read in `zone`

A reader loses nothing in silence: what it does not keep comes out as Junk with its place and its reason, and one bad
line never ends an import. It raises FormatError where the path as a whole cannot be read in that format, and then says
what it looks like instead.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Protocol

from slowwave.errors import FormatError
from slowwave.formats.bundle import check_path
from slowwave.records import SCOPE_FIELDS, Item, Scope

MAX_JUNK_CHARS = 2000  # of the text that a Junk shows
UNREADABLE = "unreadable: "  # how the reason begins where the layout itself was not understood


@dataclass(frozen=True, slots=True)
class Junk:
    """Something in a source that is not worth keeping, or could not be read.

    where   file and line, or file and entry
    text    what stood there, cut to 2,000 characters
    reason  why it was not kept, in a few words that can be counted
    """

    where: str
    text: str
    reason: str

    def __post_init__(self) -> None:
        if len(self.text) > MAX_JUNK_CHARS:
            object.__setattr__(self, "text", self.text[:MAX_JUNK_CHARS] + "…")


class Format(Protocol):
    """The contract: what `slowwave import` knows of a format."""

    name: str
    what: str

    def detect(self, path: Path) -> bool:
        """Whether the path looks like this format; False for what cannot be opened."""

    def read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        """Items and Junk in the order of the source. Raises FormatError."""


class Reader(ABC):
    """The part that all formats share: checks before, and an error after a file in which nothing was understood."""

    name: str
    what: str  # a noun phrase for messages: "a ChatGPT data export (zip, folder or conversations.json)"
    may_be_empty = False

    def detect(self, path: Path) -> bool:
        """Whether the path looks like this format; False for what cannot be opened."""
        try:
            return self._looks(check_path(path))
        except (FormatError, OSError):
            return False

    def read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        """Items and Junk in the order of the source.

        raises FormatError at once if the path is empty, missing or plainly in another format; while reading if the
        file is cut off or damaged as a whole; at the end if nothing in it was in this format.
        """
        path = check_path(path)
        if not self.detect(path) and (other := looks_like(path)) is not None:
            raise FormatError(
                f"asked to read {path} as {self.name} ({self.what}); it looks like {other.what}; "
                f"import it as {other.name}"
            )
        return self._checked(path, zone)

    def _checked(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        understood = 0
        first: Junk | None = None
        for taken in self._read(path, zone):
            if isinstance(taken, Junk) and (taken.reason.startswith(UNREADABLE) or not taken.text):
                first = first or taken
            else:
                understood += 1
            yield taken
        if not understood and not self.may_be_empty:
            found = f"{first.where}: {first.reason.removeprefix(UNREADABLE)}" if first else "nothing to import"
            raise FormatError(
                f"asked to read {path} as {self.name} ({self.what}); found {found}; "
                f"check the path, or name another format with --format"
            )

    @abstractmethod
    def _looks(self, path: Path) -> bool:
        """Whether the path, which exists and is not empty, looks like this format."""

    @abstractmethod
    def _read(self, path: Path, zone: tzinfo) -> Iterator[Item | Junk]:
        """What is in it."""


def looks_like(path: Path) -> Format | None:
    """The first format that recognises the path, or None."""
    from slowwave.formats import FORMATS  # here, since the dictionary is made of subclasses of Reader

    return next((known for known in FORMATS.values() if known.detect(path)), None)


def unreadable(where: str, value: Any, why: str) -> Junk:
    """Junk for what is not in the layout of the format."""
    return Junk(where, value if isinstance(value, str) else repr(value)[: MAX_JUNK_CHARS + 1], UNREADABLE + why)


def clean(text: str) -> str:
    """The text with NUL characters and lone surrogates, which no database takes, shown as U+FFFD."""
    if "\0" not in text and text.isascii():
        return text
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)


def clean_values(value: Any) -> Any:
    """The same for every text in nested JSON values."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): clean_values(v) for key, v in value.items()}
    if isinstance(value, list):
        return [clean_values(v) for v in value]
    return value


def scope_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The scope fields of a row. Raises ScopeError if one is not well formed: it must not end up in another scope."""
    found = {name: str(row[name]) for name in SCOPE_FIELDS if row.get(name) not in (None, "")}
    return Scope(**found).to_dict() if found else {}


def digest(*parts: object) -> str:
    """A name of 16 hexadecimal digits for what the parts say."""
    joined = "\x1f".join("" if part is None else str(part) for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class Origins:
    """Names items whose source gives them no id, from what they say, so that a second import finds them again.

    Equal words at one moment get a running number, as they were said twice. Where there are times, only the present
    moment is remembered, so a long file costs no memory.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._moment: datetime | None = None
        self._seen: dict[str, int] = {}

    def name(self, moment: datetime | None, *parts: object) -> str:
        """The origin of what the parts say at that moment."""
        if moment != self._moment:
            self._seen, self._moment = {}, moment
        key = digest(moment.isoformat() if moment else None, *parts)
        self._seen[key] = count = self._seen.get(key, 0) + 1
        return f"{self.prefix}:{key}" + (f":{count}" if count > 1 else "")
