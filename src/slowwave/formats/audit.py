"""What an import found, counted as the items pass: repeats, conflicts, junk, and troubles with dates, with examples."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from slowwave.formats.base import Junk
from slowwave.records import Item

EXAMPLES = 3  # of each finding
SHOWN_CHARS = 100
MIN_LETTERS = 4  # letters and digits; a text with fewer says next to nothing
MAX_FACT_WORDS = 24  # longer facts are not compared value by value
FUTURE = timedelta(days=1)  # clocks and zones differ by less
# one value: a number with what hangs on it, a name of several capitalised words, or a word
WORD = re.compile(r"[A-ZÀ-Þ][\w'’.-]*(?:\s+[A-ZÀ-Þ][\w'’.-]*)+|\w[\w'’.,:/%-]*\w|\w")
FINDINGS = {
    "duplicates": "say the same as an item before",
    "near_empty": f"have fewer than {MIN_LETTERS} letters or digits",
    "same_origin": "have the origin of an item before but another text",
    "values_differ": "state one fact of an entity with another value",
    "no_date": "have no date",
    "future": "lie in the future",
    "ends_before_start": "end before they begin",
}


class Audit:
    """Counts what passes: `for taken in audit.watch(format.read(path, zone)): ...`, then `audit.to_dict()`.

    Sees only what can be seen without a model. Keeps 8 bytes or so a text, an origin and a word of a fact, never the
    texts themselves, except a few examples.

    now  what counts as the future; the present if not given
    """

    def __init__(self, now: datetime | None = None) -> None:
        self.items = 0
        self.kinds: Counter[str] = Counter()
        self.junk: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._limit = (now or datetime.now(UTC)) + FUTURE
        self._texts: set[bytes] = set()
        self._origins: dict[bytes, bytes] = {}
        self._values: dict[bytes, str] = {}

    def watch(self, source: Iterable[Item | Junk]) -> Iterator[Item | Junk]:
        """The same things, looked at on their way."""
        for taken in source:
            self.see(taken)
            yield taken

    def see(self, taken: Item | Junk) -> None:
        """Look at one thing."""
        if isinstance(taken, Junk):
            self.junk[taken.reason] += 1
            self._example(f"junk: {taken.reason}", taken.where, taken.text)
            return
        self.items += 1
        self.kinds[taken.kind] += 1
        where = taken.origin or taken.session or f"item {self.items}"
        text = normalised(taken.text)
        self._look_at_text(where, taken, text)
        self._look_at_dates(where, taken)
        if taken.kind == "fact":
            self._look_at_values(where, taken)

    def _look_at_text(self, where: str, item: Item, text: str) -> None:
        if sum(map(str.isalnum, text)) < MIN_LETTERS:
            self._found("near_empty", where, item.text)
        key = _key(*_owner(item), text)
        if item.origin is not None:
            known = self._origins.setdefault(_key(*_owner(item), item.origin), key)
            if known != key:
                self._found("same_origin", where, item.text)
        if key in self._texts:
            self._found("duplicates", where, item.text)
        self._texts.add(key)

    def _look_at_dates(self, where: str, item: Item) -> None:
        at = _aware(item.at)
        if at is None:
            self._found("no_date", where, item.text)
            return
        if at > self._limit:
            self._found("future", where, f"{at:%Y-%m-%d} {item.text}")
        if item.until is not None and (until := _aware(item.until)) is not None and until < at:
            self._found("ends_before_start", where, item.text)
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)

    def _look_at_values(self, where: str, item: Item) -> None:
        """Two facts of one entity with the same words but for one value, which is a number, a name or the last word."""
        entity = str(item.attrs.get("entity", ""))
        words = [" ".join(word.casefold().split()).rstrip(".,:-") for word in WORD.findall(item.text)]
        shown = WORD.findall(item.text)
        if not 3 <= len(words) <= MAX_FACT_WORDS:
            return
        told = False
        for place in range(1, len(words)):
            is_value = place == len(words) - 1 or shown[place][:1].isupper() or any(map(str.isdigit, words[place]))
            if not is_value:
                continue
            key = _key(*_owner(item), entity, *words[:place], "\0", *words[place + 1 :])
            other = self._values.setdefault(key, words[place])
            if other != words[place] and not told:
                self._found("values_differ", where, f"{item.text} (before: {other})")
                told = True

    def _found(self, finding: str, where: str, text: str) -> None:
        self.counts[finding] += 1
        self._example(finding, where, text)

    def _example(self, finding: str, where: str, text: str) -> None:
        shown = self.examples.setdefault(finding, [])
        if len(shown) < EXAMPLES:
            text = " ".join(text.split())
            shown.append(f"{where}: {text[:SHOWN_CHARS]}{'…' if len(text) > SHOWN_CHARS else ''}")

    def to_dict(self) -> dict[str, Any]:
        """Counts and examples as plain JSON values."""
        return {
            "items": self.items,
            "kinds": dict(self.kinds),
            "from": self.first.isoformat() if self.first else None,
            "to": self.last.isoformat() if self.last else None,
            "findings": {name: self.counts[name] for name in FINDINGS},
            "junk": dict(self.junk.most_common()),
            "examples": {name: list(shown) for name, shown in self.examples.items()},
        }

    def summary(self) -> str:
        """The same for people, a line a finding with its examples below."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        span = f", {self.first:%Y-%m-%d} to {self.last:%Y-%m-%d}" if self.first and self.last else ""
        lines = [f"{self.items} items" + (f" ({kinds}{span})" if self.items else "")]
        for name, words in FINDINGS.items():
            if self.counts[name]:
                lines.append(f"  {self.counts[name]} {words}")
                lines += [f"      {example}" for example in self.examples[name]]
        if self.junk:
            lines.append(f"{sum(self.junk.values())} left out")
        for reason, count in self.junk.most_common():
            lines.append(f"  {count} {reason}")
            lines += [f"      {example}" for example in self.examples[f"junk: {reason}"]]
        return "\n".join(lines)


def normalised(text: str) -> str:
    """The text by which repeats are told: compatible characters, case, white space and outer punctuation set aside."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(" .,;:!?…\"'()[]*_-")


def _owner(item: Item) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in sorted(item.scope.items()))


def _key(*parts: str) -> bytes:
    return hashlib.blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _aware(moment: datetime | None) -> datetime | None:
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
