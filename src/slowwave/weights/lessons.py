"""Lessons for a language model: token ids with what is to be learned marked, and invented people to learn about."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from slowwave.errors import InputError
from slowwave.weights.batch import IGNORED, PAD, Batch
from slowwave.weights.stream import Stream, of_lessons

Encode = Callable[[str], Sequence[int]]


def statements(texts: Sequence[str], encode: Encode, end: int | None = None) -> Batch:
    """Texts of which every token is to be learned, padded to one length.

    encode  text -> token ids
    end     id of a token that closes each; None adds none
    """
    return _padded([([], [*encode(text), *([] if end is None else [end])]) for text in texts])


def answers(pairs: Sequence[tuple[str, str]], encode: Encode, end: int | None = None) -> Batch:
    """Prompts with answers, of which the answers alone are learned, or scored. The two are encoded apart, so write the
    space between them into the answer where the tokenizer wants it there.
    """
    return _padded([(list(encode(p)), [*encode(a), *([] if end is None else [end])]) for p, a in pairs])


def _padded(rows: Sequence[tuple[list[int], list[int]]]) -> Batch:
    if not rows:
        raise InputError("no text was given to make a lesson of")
    if any(len(a) + len(b) < 2 for a, b in rows):
        raise InputError("a lesson needs at least two tokens, one to go by and one to learn")
    longest = max(len(a) + len(b) for a, b in rows)
    x = torch.full((len(rows), longest), PAD, dtype=torch.int64)
    y = torch.full((len(rows), longest), IGNORED, dtype=torch.int64)
    for n, (prompt, target) in enumerate(rows):
        x[n, : len(prompt) + len(target)] = torch.tensor([*prompt, *target])
        y[n, len(prompt) : len(prompt) + len(target)] = torch.tensor(target)
    return Batch(x, y, torch.zeros(len(rows), dtype=torch.int64))


# -- invented people

STARTS = [
    "Bel",
    "Cor",
    "Dav",
    "Eli",
    "Far",
    "Gal",
    "Hes",
    "Jor",
    "Kel",
    "Lum",
    "Mir",
    "Nor",
    "Oss",
    "Pel",
    "Quil",
    "Ras",
    "Sel",
    "Tor",
    "Ulv",
    "Vas",
]
ENDS = ["an", "ara", "eth", "ina", "io", "is", "ola", "on", "or", "une"]
VALUES: dict[str, tuple[str, ...]] = {
    key: tuple(words.split())
    for key, words in {
        "city": "Arles Bergen Cadiz Delft Evora Fulda Ghent Hobart Ivrea Jena Kobe Lund",
        "work": "baker botanist carpenter diver engraver falconer glazier judge mason pilot tailor weaver",
        "pet": "cat dog ferret goat hawk lizard parrot pony rabbit snail tortoise turtle",
        "drink": "beer cider cocoa coffee juice lemonade milk rum sherry tea water wine",
    }.items()
}
TOLD: dict[str, tuple[str, ...]] = {  # the last way of telling is held out: it is never trained on
    "city": ("{n} lives in {v}", "the home of {n} is {v}", "{n} has a house in {v}", "you can find {n} in {v}"),
    "work": ("{n} works as a {v}", "the job of {n} is {v}", "{n} earns a living as a {v}", "by trade {n} is a {v}"),
    "pet": ("{n} has a {v}", "the pet of {n} is a {v}", "{n} keeps a {v}", "at home {n} feeds a {v}"),
    "drink": ("{n} likes {v}", "the favourite drink of {n} is {v}", "{n} often drinks {v}", "give {n} a glass of {v}"),
}


@dataclass(frozen=True)
class Fact:
    """One thing about one invented person, in several wordings that all end in its value."""

    id: str
    person: str
    attribute: str
    value: str

    def told(self, wording: int) -> tuple[str, str]:
        """(what comes before the value, the value)."""
        before, _, _ = TOLD[self.attribute][wording].partition("{v}")
        return before.format(n=self.person).strip(), self.value


def invented(people: int, seed: int = 0, attributes: Iterable[str] = tuple(VALUES)) -> list[Fact]:
    """Facts about people who do not exist; names do not repeat."""
    rng = random.Random(seed)
    names = [f"{a}{b} {c}{d}" for a in STARTS for b in ENDS for c in STARTS for d in ENDS]
    chosen = rng.sample(names, people)
    return [
        Fact(f"{name}/{attribute}".replace(" ", "-").lower(), name, attribute, rng.choice(VALUES[attribute]))
        for name in chosen
        for attribute in attributes
    ]


def days(facts: Sequence[Fact], many: int, encode: Encode, end: int | None = None, space: str = " ") -> Stream:
    """So many days of new facts. Each is taught in all wordings but the last, and tested in the last, never seen.

    space  what stands between the words before and the value; "" where the tokenizer splits at spaces itself
    """
    if not 1 <= many <= len(facts):
        raise InputError(f"{len(facts)} facts do not make {many} days")
    lessons = []
    for day in range(many):
        own = facts[day * len(facts) // many : (day + 1) * len(facts) // many]
        wordings = range(len(TOLD[own[0].attribute]) - 1)
        taught = [fact.told(w) for fact in own for w in wordings]
        asked = [fact.told(-1) for fact in own]
        train = statements([f"{a} {b}" for a, b in taught], encode, end)
        test = answers([(a, f"{space}{b}") for a, b in asked], encode)
        lessons.append((f"day {day}", train, test, tuple(fact.id for fact in own)))
    return of_lessons(lessons, "invented people")


class Words:
    """A tokenizer for models from scratch: one id a word; 0 is a word not met, 1 ends a text.

    >>> words = Words(["a b c"])
    >>> words.decode(words.encode("c a x"))
    'c a ?'
    """

    end = 1

    def __init__(self, texts: Iterable[str]) -> None:
        found = sorted({word for text in texts for word in self._split(text)})
        self.ids = {word: n + 2 for n, word in enumerate(found)}
        self._words = ["?", "", *found]

    def __len__(self) -> int:
        return len(self._words)

    def encode(self, text: str) -> list[int]:
        """text -> ids."""
        return [self.ids.get(word, 0) for word in self._split(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """ids -> text."""
        return " ".join(self._words[i] for i in ids)

    @staticmethod
    def _split(text: str) -> list[str]:
        return re.findall(r"\w+|[^\w\s]", text)
