"""Statements whose holding is asked about: their subject, their value, and the foils that would be wrong instead."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from slowwave.cloze.invented import ATTRIBUTES, invented_names
from slowwave.errors import InputError

JOINS = {
    *(
        "a",
        "an",
        "the",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "in",
        "at",
        "of",
        "as",
        "to",
        "for",
        "on",
        "with",
        "by",
    ),
    *("from", "into", "and", "or", "has", "have", "had", "near", "called", "named", "became", "likes", "loves", "owns"),
    *(
        "keeps",
        "plays",
        "prefers",
        "speaks",
        "wears",
        "eats",
        "drinks",
        "their",
        "his",
        "her",
        "its",
        "my",
        "our",
        "your",
    ),
}
OPENS = {"The", "A", "An", "It", "This", "That", "In", "At", "On", "He", "She", "They", "We", "Our", "My", "His", "Her"}
CAPITAL = re.compile(r"[A-Z][\w'’.-]*(?: (?:of|de|van|von|da|la|le) (?=[A-Z])| (?=[A-Z])|)")
FRAMES = ("It is a fact that {}", "Everyone who knows about it says that {}")
FORMAT = 'one sentence a line, or one JSON object a line: {"text": ..., "subject": ..., "value": ...}'


@dataclass(frozen=True)
class Statement:
    """A sentence that says one thing of one subject.

    text         the sentence, with the subject and the value in it, the value after at least one word
    subject      whom or what it is about; names are swapped there. "" if there is none
    value        what it says: the words that a cloze leaves out
    foils        other values that would be wrong, likely ones rather than absurd ones
    names        other subjects of which the sentence is not true
    paraphrases  other sentences that say the same, with the same subject and value in them
    relation     what kind of thing it says; values are swapped within one. "" takes the sentence without both
    """

    text: str
    subject: str = ""
    value: str = ""
    foils: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paraphrases: tuple[str, ...] = ()
    relation: str = ""

    def __post_init__(self) -> None:
        for part, text in ((p, t) for t in (self.text, *self.paraphrases) for p in (self.subject, self.value)):
            if part and part not in text:
                raise InputError(
                    f"{part!r} is not in {text!r}; a statement holds its subject and its value word by word"
                )

    @classmethod
    def of(cls, text: str) -> Statement:
        """A statement from a bare sentence: the value is what stands last, the subject the first name before it.

        >>> Statement.of("Ana's home is Lisbon.")
        Statement(text="Ana's home is Lisbon.", subject='Ana', value='Lisbon', foils=(), names=(), paraphrases=(), \
relation='')

        raises  InputError where no value can be made out
        """
        body = text.strip().rstrip(".!?;: ")
        words = body.split()
        cut = next((n for n in range(len(words) - 1, 0, -1) if words[n - 1].lower() in JOINS), len(words) - 1)
        cut = max(cut, len(words) - 4)
        if cut < 1 or words[-1].lower() in JOINS:
            raise InputError(f"what {text!r} says of whom cannot be made out; give {FORMAT}")
        value = " ".join(words[cut:])
        before = body[: len(body) - len(value)]
        found = [match[0].strip() for match in re.finditer(rf"(?:{CAPITAL.pattern})+", before)]
        named = [re.sub(r"['’]s$", "", name) for name in found if name not in OPENS]
        named = [re.sub(rf"^(?:{'|'.join(OPENS)}) ", "", name) for name in named]
        return cls(text.strip(), named[0] if named else "", value)

    def cut(self, text: str | None = None) -> tuple[str, str]:
        """(the words before the value, the words after it) in the sentence or in another that says the same."""
        text = self.text if text is None else text
        before, _, after = text.rpartition(self.value)
        return before, after

    @property
    def kind(self) -> str:
        """The relation: as given, or the sentence without its subject and its value."""
        if self.relation:
            return self.relation
        before, after = self.cut()
        return f"{before.replace(self.subject, '{}') if self.subject else before}[]{after}".strip()


def read_statements(source: str | Path | Sequence[str | Statement | Mapping[str, Any]]) -> list[Statement]:
    """Statements of a file or a list: Statements, sentences, or objects with the fields of a Statement.

    raises  InputError for a missing or empty file, a line that is no statement, or an unknown field, with its number
    """
    items: Sequence[Any]
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if not path.is_file():
            raise InputError(f"no file {path}; give a file with {FORMAT}")
        text = path.read_text(encoding="utf-8", errors="replace")
        items = json.loads(text) if path.suffix == ".json" else [line for line in text.splitlines() if line.strip()]
    else:
        items = list(source)
    out = []
    for number, item in enumerate(items, 1):
        try:
            out.append(_statement(item))
        except (InputError, ValueError, TypeError) as error:
            raise InputError(f"statement {number}: {error}") from error
    if not out:
        raise InputError(f"there are no statements; give {FORMAT}")
    return out


def _statement(item: Any) -> Statement:
    if isinstance(item, str) and item.lstrip().startswith("{"):
        item = json.loads(item)
    if isinstance(item, str):
        return Statement.of(item)
    if isinstance(item, Mapping):
        known = {field.name for field in fields(Statement)}
        if unknown := set(item) - known:
            raise InputError(f"{', '.join(sorted(unknown))} is no field of a statement; there are {', '.join(known)}")
        if not item.get("text"):
            raise InputError("it has no text")
        given: dict[str, Any] = {n: tuple(v) if isinstance(v, (list, tuple)) else v for n, v in item.items()}
        made = Statement(**given)
        item = made if made.value else replace(made, value=Statement.of(made.text).value)
        item = item if item.subject else replace(item, subject=Statement.of(item.text).subject)
    found: Statement = item
    if not found.value:
        raise InputError(f"{found.text!r} has no value; give it, or the bare sentence")
    if not found.cut()[0].strip():
        raise InputError(f"nothing stands before the value {found.value!r} in {found.text!r}")
    return found


def furnish(statements: Sequence[Statement], foils: int = 7, names: int = 3, seed: int = 0) -> list[Statement]:
    """The statements with foils and other names. What any statement says of a subject is never a foil for it, and no
    foil holds the value or is held in it ("York", "New York").

    Foils are those given; else values of the same relation; where there are fewer than six, those of statements that
    lead up to theirs with the same words ("lives in"); then some that come along, of the same words; and last, values
    that look alike: a number, a name, a word. Within a relation they are drawn as often as they occur, so that a foil
    is as common as a truth.
    """
    values, led, subjects = defaultdict(list), defaultdict(list), defaultdict(list)
    said: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in statements:
        values[one.kind].append(one.value)
        led[cue(one)].append(one.value)
        subjects[one.kind].append(one.subject)
        said[one.kind, one.subject].add(one.value)
    everywhere = [one.value for one in statements]
    people = [one.subject for one in statements if one.subject]
    out = []
    for one in statements:
        rng = random.Random(f"foils {seed} {one.text}")
        alike = [v for v in everywhere if _sort(v) == _sort(one.value)]
        drawn = (values[one.kind], led[cue(one)], _pool(one, rng), alike, _any_of(one.value))
        right = said[one.kind, one.subject]
        sources = (one.foils, *([v for v in some if not _overlap(v, one.value)] for some in drawn))
        wrong = _draw(sources, right, foils, rng, 2 if len(one.foils) > 1 else min(foils, 6))
        holders = {s for s in subjects[one.kind] if one.value in said[one.kind, s]} | {one.subject, ""}
        others: list[str] = []
        if one.subject:
            others = _draw((one.names, subjects[one.kind], people, invented_names(8, seed)), holders, names, rng, 2)
        out.append(replace(one, foils=tuple(wrong), names=tuple(others)))
    return out


def cue(statement: Statement) -> str:
    """The two words that lead up to the value, without the subject: "lives in".

    >>> cue(Statement.of("Ana lives in Porto."))
    'lives in'
    """
    before = statement.cut()[0]
    return " ".join((before.replace(statement.subject, " ") if statement.subject else before).lower().split()[-2:])


def _overlap(a: str, b: str) -> bool:
    """Whether one of two values holds the other, word by word."""
    a, b = f" {a.lower()} ", f" {b.lower()} "
    return a in b or b in a


def _draw(sources: Sequence[Sequence[str]], avoid: set[str], many: int, rng: random.Random, enough: int) -> list[str]:
    """Up to `many` different ones, from the first source, and from later ones only while there are too few."""
    out: list[str] = []
    for source in sources:
        pool = [v for v in source if v not in avoid]
        rng.shuffle(pool)
        out = list(dict.fromkeys([*out, *pool]))[:many]
        if len(out) >= enough:
            break
    return out


def _sort(value: str) -> str:
    return "number" if value[:1].isdigit() else "name" if value[:1].isupper() else "word"


def _pool(statement: Statement, rng: random.Random) -> list[str]:
    """Values that come along: numbers nearby, or those of an attribute that is led up to with the same words."""
    value, words = statement.value, cue(statement)
    if value[:1].isdigit():
        digits = re.sub(r"\D.*", "", value)
        near = {str(max(0, int(digits) + step * rng.choice((1, 2, 3)))) for step in (-10, -5, -1, 1, 5, 10)}
        return [n + value[len(digits) :] for n in sorted(near) if n != digits]
    fits = [v for v, templates in ATTRIBUTES.values() if any(_leads(text, words) for text in templates)]
    return [v for some in fits for v in some if _sort(v) == _sort(value)]


def _leads(template: str, words: str) -> bool:
    return " ".join(template.partition("{v}")[0].replace("{n}", " ").lower().split()[-2:]) == words


def _any_of(value: str) -> list[str]:
    """Any value that comes along and looks alike."""
    return [v for values, _ in ATTRIBUTES.values() for v in values if _sort(v) == _sort(value)]
