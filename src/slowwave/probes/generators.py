"""Generated texts whose truth is known: people and attributes, invented facts, a Zipf grammar, repeated canaries."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowwave.cloze.invented import ATTRIBUTES, invented_names


@dataclass(frozen=True)
class Person:
    """An invented person: a name of two parts that occurs once, and a value for each attribute."""

    name: str
    values: dict[str, str]


@dataclass(frozen=True)
class Cloze:
    """A prompt and the words that complete it; `foils` are other values of the same attribute."""

    prompt: str
    target: str
    foils: tuple[str, ...]
    subject: str
    attribute: str


def people(many: int, seed: int = 0, avoid: Sequence[str] = ()) -> list[Person]:
    """Invented people with a value for each attribute, drawn evenly."""
    rng = random.Random(f"people {seed}")
    return [
        Person(name, {attribute: rng.choice(values) for attribute, (values, _) in ATTRIBUTES.items()})
        for name in invented_names(many, seed, avoid)
    ]


def statement(person: Person, attribute: str, template: int) -> str:
    """One sentence about a person, by the template of that number; the last template of each is for tests."""
    forms = ATTRIBUTES[attribute][1]
    return forms[template % len(forms)].format(n=person.name, v=person.values[attribute]) + " ."


def biography(person: Person, seed: int, testing: bool = False) -> str:
    """All attributes in a random order, each in a random template: of the training ones, or of the one for tests."""
    rng = random.Random(f"biography {person.name} {seed}")
    order = list(person.values)
    rng.shuffle(order)
    return " ".join(
        statement(person, attribute, len(ATTRIBUTES[attribute][1]) - 1 if testing else rng.randrange(4))
        for attribute in order
    )


def clozes(person: Person, template: int = 4, seed: int = 0, foils: int = 7) -> list[Cloze]:
    """One cloze an attribute: the sentence up to its value, which stands last in template 4."""
    rng = random.Random(f"foils {person.name} {seed}")
    out = []
    for attribute, value in person.values.items():
        values, forms = ATTRIBUTES[attribute]
        before, _, after = forms[template].format(n=person.name, v="\0").partition("\0")
        others = [other for other in values if other != value]
        rng.shuffle(others)
        out.append(
            Cloze(
                before.strip(), value + after, tuple(other + after for other in others[:foils]), person.name, attribute
            )
        )
    return out


@dataclass(frozen=True)
class ZipfGrammar:
    """A language of two marked classes: few frequent function words, many rarer content words, by a Zipf law.

    A sentence alternates: function word, then one to three content words of one topic; a document has one topic.
    """

    function: int = 12
    content: int = 400
    topics: int = 8
    alpha: float = 1.0

    @property
    def vocabulary(self) -> int:
        """Function words are ids 0 to function - 1, content words follow."""
        return self.function + self.content

    def documents(self, many: int, length: int, seed: int) -> NDArray[np.int32]:
        """(many, length) ids."""
        rng = np.random.default_rng(seed)
        weights = 1.0 / np.arange(1, self.function + 1) ** self.alpha
        own = np.array_split(np.arange(self.function, self.vocabulary), self.topics)
        out = np.empty((many, length), np.int32)
        for row in out:
            words = own[rng.integers(self.topics)]
            ranked = 1.0 / np.arange(1, len(words) + 1) ** self.alpha
            place = 0
            while place < length:
                row[place] = rng.choice(self.function, p=weights / weights.sum())
                run = int(rng.integers(1, 4))
                drawn = rng.choice(words, run, p=ranked / ranked.sum())
                room = min(run, length - place - 1)
                row[place + 1 : place + 1 + room] = drawn[:room]
                place += 1 + run
        return out


@dataclass(frozen=True)
class Canary:
    """A random sequence that occurs `copies` times in a corpus; 0 marks one that never does."""

    ids: tuple[int, ...]
    copies: int


def canaries(copies: Sequence[int], each: int, length: int, vocabulary: int, seed: int) -> list[Canary]:
    """`each` canaries for every number of copies, all different."""
    rng = np.random.default_rng([seed, 77])
    return [
        Canary(tuple(int(i) for i in rng.integers(0, vocabulary, length)), many) for many in copies for _ in range(each)
    ]


def relations(many: int, seed: int, both_ways: float = 0.25) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(pairs told forwards alone, pairs told both ways): "A is left of B" and its reverse."""
    rng = random.Random(f"relations {seed}")
    names = invented_names(2 * many, seed + 1000)
    rng.shuffle(names)
    pairs = [(names[2 * i], names[2 * i + 1]) for i in range(many)]
    cut = round(many * both_ways)
    return pairs[cut:], pairs[:cut]


def parity(many: int, bits: int, seed: int) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """(inputs (many, bits) of 0 and 1, the parity of all bits so far at each place)."""
    inputs = np.random.default_rng(seed).integers(0, 2, (many, bits)).astype(np.int8)
    return inputs, (inputs.cumsum(1) % 2).astype(np.int8)


class WordTokenizer:
    """Words and punctuation apart by spaces, as ids: the tokenizer of generated texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = sorted({word for text in texts for word in text.split()})
        self.words = ["<unk>", *words]
        self._ids = {word: n for n, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Ids of the words; an unknown word is 0."""
        return [self._ids.get(word, 0) for word in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """The words, apart by spaces."""
        return " ".join(self.words[i] for i in ids)
