"""The part of a text that bears most on a question: for people, who read a line and not a page."""

from __future__ import annotations

from slowwave.ops.query import STOP_WORDS
from slowwave.ops.words import sentences, stem, tokens


def excerpt(text: str, question: str, length: int = 200) -> str:
    """The sentences around the one that shares most words with the question, within `length` characters."""
    flat = [" ".join(sentence.split()) for sentence in sentences(text)] or [" ".join(text.split())]
    asked = _stems(question)
    scores = [len(asked & _stems(sentence)) / (1 + 0.005 * len(sentence)) for sentence in flat]
    best = max(range(len(flat)), key=lambda place: (scores[place], -place))
    chosen, begin, stop = flat[best], best, best + 1
    while True:
        if stop < len(flat) and len(chosen) + len(flat[stop]) < length:
            chosen, stop = f"{chosen} {flat[stop]}", stop + 1
        elif begin > 0 and len(chosen) + len(flat[begin - 1]) < length:
            chosen, begin = f"{flat[begin - 1]} {chosen}", begin - 1
        else:
            break
    if len(chosen) > length:
        chosen = chosen[: length - 3].rsplit(" ", 1)[0] + "..."
    return ("... " if begin > 0 else "") + chosen + (" ..." if stop < len(flat) and not chosen.endswith("...") else "")


def _stems(text: str) -> set[str]:
    return {stem(token.surface.lower()) for token in tokens(text) if token.surface.lower() not in STOP_WORDS}
