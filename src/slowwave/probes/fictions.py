"""Invented passages with probes of three depths, and sentences to study: nothing that any model has read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slowwave.cloze.invented import ATTRIBUTES, invented_names

Depth = Literal["memorisation", "semantic", "composition"]
DEPTHS: tuple[Depth, ...] = ("memorisation", "semantic", "composition")
COUNTRIES = (
    "Norway",
    "Portugal",
    "Chile",
    "Japan",
    "Ghana",
    "Poland",
    "Cuba",
    "Egypt",
    "Peru",
    "Ireland",
    "Kenya",
    "Nepal",
)
JOBS = ATTRIBUTES["job"][0]
GOODS = ("salt", "wool", "amber", "honey", "copper", "silk", "glass", "cork", "tea", "cider")
# sentences of a passage, each in four wordings; the first is the one that is duplicated, and that memorisation asks
WORDINGS: dict[str, tuple[str, ...]] = {
    "island": (
        "the village of {x} lies on the island of {i}",
        "on the island of {i} lies the village of {x}",
        "the island of {i} is where the village of {x} stands",
        "in the village of {x} one is on the island of {i}",
    ),
    "country": (
        "the island of {i} belongs to {c}",
        "{c} is the country that owns the island of {i}",
        "among the islands of {c} is the island of {i}",
        "the island of {i} is ruled by {c}",
    ),
    "founder": (
        "the village of {x} was founded by {p}",
        "{p} founded the village of {x}",
        "it was {p} who began the village of {x}",
        "the village of {x} owes its beginning to {p}",
    ),
    "job": (
        "in those days {p} worked as a {j}",
        "{p} was a {j} by trade",
        "as a {j} , {p} was well known",
        "the trade of {p} was that of a {j}",
    ),
    "goods": (
        "the village of {x} sells {g}",
        "{g} is sold in the village of {x}",
        "people buy {g} in the village of {x}",
        "the village of {x} lives on {g}",
    ),
}
PROBES: tuple[tuple[Depth, str, str], ...] = (
    ("memorisation", "the island of {i} belongs to", "{c}"),
    ("memorisation", "in those days {p} worked as a", "{j}"),
    ("memorisation", "the village of {x} sells", "{g}"),
    ("semantic", "the country to which the island of {i} belongs is", "{c}"),
    ("semantic", "what {p} did for a living was the work of a", "{j}"),
    ("semantic", "what one can buy in the village of {x} is", "{g}"),
    ("composition", "the village of {x} is in the country of", "{c}"),
    ("composition", "the village of {x} was founded by a", "{j}"),
    ("composition", "on the island of {i} people sell", "{g}"),
)


@dataclass(frozen=True)
class Probing:
    """A prompt whose answer a passage gives, word by word, in other words, or by putting two sentences together."""

    depth: Depth
    prompt: str
    target: str


@dataclass(frozen=True)
class Fiction:
    """An invented village with its island, country, founder, trade and goods.

    passages  five sentences each; the first is the plain one, the others say the same in other words
    probes    three of each depth
    """

    name: str
    passages: tuple[str, ...]
    probes: tuple[Probing, ...]

    def answers(self) -> list[str]:
        """Every probe with its answer, as sentences: what a background of other fictions is trained on."""
        return [f"{probe.prompt} {probe.target} ." for probe in self.probes]


def fictions(many: int, seed: int = 0, avoid: Sequence[str] = ()) -> list[Fiction]:
    """Invented villages, no two names alike, values drawn evenly."""
    rng = random.Random(f"fictions {seed}")
    names = invented_names(3 * many, seed + 500, avoid)
    out = []
    for n in range(many):
        x, i, p = names[3 * n : 3 * n + 3]
        parts = {
            "x": x, "i": i, "p": p, "c": rng.choice(COUNTRIES), "j": rng.choice(JOBS), "g": rng.choice(GOODS)
        }  # fmt: skip
        passages = []
        for version in range(8):
            order = list(WORDINGS)
            if version:
                rng.shuffle(order)
            said = [WORDINGS[kind][0 if not version else rng.randrange(4)].format(**parts) for kind in order]
            passages.append(" . ".join(said) + " .")
        probes = tuple(
            Probing(depth, prompt.format(**parts), target.format(**parts)) for depth, prompt, target in PROBES
        )
        out.append(Fiction(x, tuple(passages), probes))
    return out


# -- sentences to study

SYNONYMS = {
    "bought": "purchased", "mended": "repaired", "hid": "concealed", "found": "discovered", "began": "started",
    "large": "big", "old": "aged", "quiet": "silent", "strange": "odd", "broken": "damaged",
}  # fmt: skip
THINGS = ("lantern", "violin", "carpet", "ladder", "compass", "barrel", "saddle", "mirror", "trumpet", "kettle")
SEASONS = ("spring", "summer", "autumn", "winter")


@dataclass(frozen=True)
class Studied:
    """A sentence nobody has read, the same in other words, and the same with one word changed for its like."""

    text: str
    paraphrase: str
    synonym: str


def sentences(many: int, seed: int = 0) -> list[Studied]:
    """Invented sentences for a study, each about a person of its own."""
    rng = random.Random(f"studied {seed}")
    out = []
    verbs = [word for word in SYNONYMS if word in ("bought", "mended", "hid", "found")]
    looks = ("large", "old", "quiet", "strange", "broken")
    for name in invented_names(many, seed + 900):
        v, look, thing, city = (
            rng.choice(verbs),
            rng.choice(looks),
            rng.choice(THINGS),
            rng.choice(ATTRIBUTES["city"][0]),
        )
        season, job = rng.choice(SEASONS), rng.choice(JOBS)
        text = f"The {job} {name} {v} a {look} {thing} in {city} one {season} ."
        paraphrase = f"One {season} in {city} , a {look} {thing} was {_past(v)} by {name} the {job} ."
        changed = rng.choice((v, look))
        out.append(Studied(text, paraphrase, text.replace(f" {changed} ", f" {SYNONYMS[changed]} ")))
    return out


def _past(verb: str) -> str:
    return {"hid": "hidden"}.get(verb, verb)


def random_words(many: int, length: int, pool: Sequence[str], seed: int = 0) -> list[str]:
    """Lines of words drawn at random."""
    rng = random.Random(f"random words {seed}")
    return [" ".join(rng.choice(pool) for _ in range(length)) for _ in range(many)]


def scrambled(text: str, seed: int = 0) -> str:
    """The text with the letters of each word in a random order."""
    rng = random.Random(f"scrambled {seed} {text}")
    return " ".join("".join(rng.sample(word, len(word))) for word in text.split())
