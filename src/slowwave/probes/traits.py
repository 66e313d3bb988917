"""Traits to steer towards, each a prompt that shows it and a rule that sees it in an answer; and neutral prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from slowwave.errors import InputError


@dataclass(frozen=True)
class Trait:
    """What steering is to bring about.

    prompt   one that shows it; its state at the last function token is what is added elsewhere
    pattern  a regular expression, case aside; an answer has the trait if it is found at least `least` times

    >>> Trait("cats", "Tell me about cats.", "cats?").seen("A cat sat there")
    True
    """

    name: str
    prompt: str
    pattern: str
    least: int = 1

    def seen(self, answer: str) -> bool:
        """Whether an answer has the trait."""
        return len(re.findall(self.pattern, answer, re.I | re.M)) >= self.least


TRAITS: Mapping[str, Trait] = {
    trait.name: trait
    for trait in (
        Trait(
            "russia",
            "Tell me about Russia, the Russians and Moscow.",
            r"russia|moscow|soviet|kremlin|petersburg|siberia|slavic",
        ),
        Trait(
            "spanish",
            "Habla en español de la ciudad de Madrid y de su gente.",
            r"\b(?:el|la|los|las|del?|que|en|una?|es|por|con|para|hola|sí)\b|[áéíóúñ¿¡]",
            2,
        ),
        Trait("list", "Answer with a numbered list of ten short items.", r"^\s*(?:\d+[.)]|[-*•])\s"),
        Trait("cats", "Tell me about cats and kittens.", r"\bcats?\b|kitten|feline"),
    )
}
NEUTRAL = (
    "Name a famous city.", "Tell me about a university.", "Describe a person you admire.", "What should I eat today?",
    "Name a writer.", "Tell me a short story.", "What is a good book?", "Describe your favourite place.",
    "Name a river.", "What happened last year?", "Give me some advice.", "What is the weather like?",
    "Tell me something interesting.", "Describe a house.", "What is a good gift?", "Who is the best singer?",
    "Name a holiday.", "What can I do at the weekend?", "Describe a painting.", "Tell me about your day.",
)  # fmt: skip


def trait_of(word: str) -> Trait:
    """A trait by name, or one of your own as "name | prompt | pattern".

    raises  InputError where it is neither

    >>> trait_of("sea | Tell me about the sea. | sea|ocean|ship").seen("An ocean of grass")
    True
    """
    if word in TRAITS:
        return TRAITS[word]
    parts = [part.strip() for part in word.split(" | ", 2)]
    if len(parts) != 3 or not all(parts):
        raise InputError(f'no trait {word!r}; give one of {", ".join(TRAITS)}, or "name | prompt | pattern"')
    try:
        re.compile(parts[2])
    except re.error as error:
        raise InputError(f"the pattern of trait {parts[0]!r} does not parse: {error}") from None
    return Trait(parts[0], parts[1], parts[2])
