"""Cuts long texts into pieces that make good memories, at the largest natural break that fits."""

from __future__ import annotations

MAX_CHARS = 1600  # of one piece: about what a sentence encoder and a reader can hold together
BREAKS = ("\n\n", "\n", ". ", " ")


def pieces(text: str, max_chars: int = MAX_CHARS) -> list[str]:
    """The text in order, in pieces of at most `max_chars`, cut between paragraphs, else lines, sentences, words.

    Nothing but the white space at the cuts is lost.
    """
    text = text.strip()
    out = []
    while len(text) > max_chars:
        cut = 0
        for mark in BREAKS:
            cut = text.rfind(mark, max_chars // 4, max_chars)
            if cut > 0:
                cut += len(mark.rstrip())
                break
        cut = cut if cut > 0 else max_chars
        out.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*out, text] if text else out
