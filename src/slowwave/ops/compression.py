"""Shortens a text by leaving out the words that were to be expected: what a reader would have guessed costs no tokens.

A word's surprisal is -log2 of its probability: by how seldom it occurs in the scope (`by_counts`, no model), or by what
a language model expected at its place (`by_model`). `shortened` keeps the share of words that surprise most, in their
order. Negations, numbers, names and pronouns are kept whatever they score: "not" and "I" are frequent, and without
them a text says the opposite, or nobody says it. `at_random` drops as many by chance; it is what the others must beat.

Source: Fang et al. 2025 (LightMem), after Li et al. 2023 (Selective Context) and Pan et al. 2024 (LLMLingua-2).
Differs: words instead of sub-word tokens, and the kinds of words that are always kept.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence

import numpy as np

from slowwave.errors import InputError
from slowwave.models.llm import LLM, Prompt, choice, obj
from slowwave.ops import words as wording

ALWAYS = ("negation", "number", "name", "person")  # kinds of words, see `ops/words.py`
INSTRUCTIONS = "You write the next turn of a conversation, as JSON."
_WORD = re.compile(r"\S+")
_BARE = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def terms_of(text: str) -> list[str]:
    """The word inside each piece between blanks, in lower case ("Rome," -> "rome"); "" for a piece without one."""
    return [found[0].lower() if (found := _BARE.search(piece)) else "" for piece in _WORD.findall(text)]


def by_counts(text: str, frequency: Mapping[str, int], records: int) -> list[float]:
    """Surprisal in bits of each piece between blanks, by how many of the scope's records hold its word.

    frequency  word in lower case -> records that hold it, such as `view.document_frequency` tells
    records    in the scope
    """
    return [
        -math.log2((min(frequency.get(term, 0), records) + 1) / (records + 2)) if term else 0.0
        for term in terms_of(text)
    ]


def by_model(text: str, llm: LLM, sources: Sequence[str] = ()) -> list[float] | None:
    """Surprisal in bits of each piece between blanks, as a model expected it; None where it does not tell.

    The model is made to say just this text, by a schema that allows no other, and its log-probabilities are read off;
    operation "surprisal", for which a small model will do. A server that gives them as they are after the schema has
    had its say (all 0) tells nothing, nor does one that gives none.
    """
    if not text.strip():
        return []
    answer = llm.ask(
        Prompt(
            "surprisal",
            INSTRUCTIONS,
            {},
            obj("surprisal", said=choice([text])),
            tuple(sources),
            max_tokens=2 * llm.count_tokens(text) + 32,
            top_logprobs=1,
        )
    )
    said = "".join(token.text for token in answer.tokens)
    start = said.find(json.dumps(text, ensure_ascii=False)[1:-1])
    if not answer.ok or start < 0 or all(abs(token.logprob) < 1e-9 for token in answer.tokens):
        return None
    edges = np.cumsum([0, *(len(token.text) for token in answer.tokens)])
    out = []
    for a, b in _places(text):
        bits = [
            -token.logprob / math.log(2)
            for token, first, last in zip(answer.tokens, edges[:-1], edges[1:], strict=True)
            if first < start + b and last > start + a
        ]
        out.append(float(sum(bits)))
    return out


def at_random(text: str, rng: random.Random) -> list[float]:
    """A score by chance for each piece between blanks: what surprisal is measured against."""
    return [rng.random() for _ in _WORD.findall(text)]


def shortened(text: str, scores: Sequence[float], keep: float = 0.8, always: Sequence[str] = ALWAYS) -> str:
    """The text without the words that score lowest; order, punctuation and capitals of the rest stay as they were.

    scores  one for each piece between blanks, higher is kept
    keep    share of the pieces to keep, in (0, 1]; those that are always kept count towards it, and may exceed it
    always  kinds of words kept whatever they score
    """
    pieces = _WORD.findall(text)
    if not 0 < keep <= 1:
        raise InputError(f"keep is {keep}; it must lie in (0, 1]")
    if len(scores) != len(pieces):
        raise InputError(f"{len(scores)} scores came for {len(pieces)} words; give one for each piece between blanks")
    most = math.ceil(keep * len(pieces))
    must = [place for place, piece in enumerate(pieces) if _kept_always(piece, place, always)]
    rest = sorted(set(range(len(pieces))) - set(must), key=lambda place: (-scores[place], place))
    chosen = sorted([*must, *rest[: max(0, most - len(must))]])
    return " ".join(pieces[place] for place in chosen)


def _kept_always(piece: str, place: int, always: Sequence[str]) -> bool:
    found = wording.tokens(piece if place == 0 else f"x {piece}")  # a capital tells a name only within a sentence
    return any(token.kind in always for token in found)


def _places(text: str) -> list[tuple[int, int]]:
    """Where each piece between blanks stands in the text as JSON writes it: a line break takes two characters there."""
    ends = np.cumsum([0, *(len(json.dumps(character, ensure_ascii=False)) - 2 for character in text)])
    return [(int(ends[match.start()]), int(ends[match.end()])) for match in _WORD.finditer(text)]
