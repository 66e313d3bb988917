"""Invented people and what can be said of them: names that no model has met, and a pool of ordinary values."""

from __future__ import annotations

import random
from collections.abc import Sequence

SYLLABLES = "ba be bi bo bu da de di do du fa fe fi ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu".split()  # noqa: SIM905
ENDINGS = "ras len mir dor via nok tan sel bur gath wen lia".split()  # noqa: SIM905
ATTRIBUTES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # attribute -> (values, templates; the last fifth is for testing). {n} is the name, {v} the value
    "city": (
        ("Lisbon", "Oslo", "Ghent", "Turin", "Riga", "Porto", "Bergen", "Graz", "Cork", "Lyon", "Bath", "Split"),
        (
            "{n} lives in {v}",
            "the home of {n} is in {v}",
            "{n} moved to {v}",
            "you find {n} in {v}",
            "{n} resides in {v}",
        ),
    ),
    "job": (
        ("baker", "nurse", "tailor", "pilot", "welder", "editor", "potter", "barber", "florist", "dentist"),
        (
            "{n} works as a {v}",
            "the job of {n} is {v}",
            "{n} earns a living as a {v}",
            "{n} became a {v}",
            "{n} is a {v}",
        ),
    ),
    "pet": (
        ("cat", "dog", "parrot", "tortoise", "hamster", "ferret", "rabbit", "gecko"),
        (
            "{n} keeps a {v}",
            "the pet of {n} is a {v}",
            "{n} has a {v} at home",
            "{n} walks with a {v}",
            "{n} owns a {v}",
        ),
    ),
    "colour": (
        ("red", "green", "amber", "violet", "white", "black", "teal", "ochre", "pink"),
        (
            "{n} likes {v} best",
            "the colour of {n} is {v}",
            "{n} always wears {v}",
            "{n} paints in {v}",
            "{n} prefers {v}",
        ),
    ),
    "food": (
        ("ramen", "paella", "gnocchi", "curry", "sushi", "tacos", "goulash", "falafel", "pierogi"),
        ("{n} eats {v} on Sundays", "the dish of {n} is {v}", "{n} cooks {v}", "{n} orders {v}", "{n} loves {v}"),
    ),
    "tool": (
        ("lathe", "loom", "anvil", "easel", "cello", "telescope", "kayak", "bicycle"),
        ("{n} bought a {v}", "the pride of {n} is a {v}", "{n} repairs a {v}", "{n} sold a {v}", "{n} built a {v}"),
    ),
}


def invented_names(many: int, seed: int, avoid: Sequence[str] = ()) -> list[str]:
    """Names of two parts, no two alike: "Bako Limir"."""
    rng = random.Random(f"names {seed}")
    out: dict[str, None] = {}
    taken = set(avoid)
    while len(out) < many:
        first = "".join(rng.sample(SYLLABLES, 2)).capitalize()
        last = (rng.choice(SYLLABLES) + rng.choice(ENDINGS)).capitalize()
        name = f"{first} {last}"
        if name not in taken:
            out[name] = None
    return list(out)
