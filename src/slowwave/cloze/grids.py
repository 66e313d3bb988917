"""How likely a model finds each value of a statement, in every wording and with every name: cloze and recognition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slowwave.cloze.scoring import logprobs, opening, spans, tails
from slowwave.cloze.statements import FRAMES, Statement
from slowwave.cloze.subject import Subject

Floats = NDArray[np.float64]


def wordings_of(statement: Statement, quick: bool = False) -> list[str]:
    """The sentence and its paraphrases, at most four; without any, the sentence within a frame or two."""
    if statement.paraphrases:
        return [statement.text, *statement.paraphrases[:3]]
    return [statement.text, *(frame.format(_lowered(statement)) for frame in FRAMES[: 1 if quick else 2])]


def value_grids(subject: Subject, statements: Sequence[Statement], wordings: Sequence[Sequence[str]]) -> list[Floats]:
    """For each statement the log-probability (wordings, 1 + names, 1 + wrong values) of each value after the words
    before it, with each name; the statement's own stand first. Nats."""
    sequences: list[list[int]] = []
    lengths: list[int] = []
    shapes = []
    for one, texts in zip(statements, wordings, strict=True):
        values, names = (one.value, *one.foils), (one.subject, *one.names)
        for text in texts:
            before, _ = one.cut(text)
            for name in names:
                head, ends = spans(subject, before.replace(one.subject, name) if name else before, values)
                sequences += [head + end for end in ends]
                lengths += [len(end) for end in ends]
        shapes.append((len(texts), len(names), len(values)))
    flat = np.array(tails(subject, sequences, lengths))
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True)]


def ties_of(grid: Floats) -> Floats:
    """(wordings, values): the log-probability with the subject less its mean with the other names."""
    return np.asarray(grid[:, 0] - grid[:, 1:].mean(1) if grid.shape[1] > 1 else grid[:, 0])


def recognised(subject: Subject, statement: Statement) -> dict[str, float]:
    """Kind of foil -> share of foils with a higher mean token loss than the statement; half for a tie."""
    before, after = statement.cut()
    foils = {
        "values": [before + value + after for value in statement.foils[:7]],
        "names": [statement.text.replace(statement.subject, name) for name in statement.names],
        "paraphrases": list(statement.paraphrases),
    }
    first = opening(subject)
    texts = [statement.text, *(text for kind in foils.values() for text in kind)]
    losses = iter([-one.mean() for one in logprobs(subject, [first + subject.encode(text) for text in texts])])
    own = next(losses)
    out = {}
    for kind, some in foils.items():
        theirs = np.array([next(losses) for _ in some])
        if len(theirs):
            out[kind] = float(((theirs > own) + 0.5 * (theirs == own)).mean())
    return out


def _lowered(statement: Statement) -> str:
    """The sentence with a small first letter, unless a name stands there."""
    text = statement.text
    first = text.split()[0]
    named = statement.subject.startswith(first) or statement.value.startswith(first)
    return text if named or first == "I" or (len(first) > 1 and first[1].isupper()) else text[0].lower() + text[1:]
