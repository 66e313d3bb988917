"""Log-probabilities of token sequences, many at a time, in bounded memory; and where a sentence's value begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from slowwave.cloze.subject import Subject
from slowwave.errors import InputError
from slowwave.models.causal import opening_of

ROOM = 30_000_000  # logits held at once

Progress = Callable[[str, int, int], None]
Floats = NDArray[np.float64]


def logprobs(
    subject: Subject,
    sequences: Sequence[Sequence[int]],
    progress: Progress = lambda stage, done, total: None,
    stage: str = "scoring",
) -> list[Floats]:
    """Log-probability of each token after the first, in nats: an array of len(sequence) - 1 for each sequence.

    Equal sequences are run once; batches are of like length and as large as fits beside the vocabulary.

    raises  InputError for a sequence of fewer than two tokens
    """
    short = [n for n, one in enumerate(sequences) if len(one) < 2]
    if short:
        raise InputError(f"sequence {short[0]} has {len(sequences[short[0]])} tokens; nothing can be predicted in it")
    distinct = sorted({tuple(one) for one in sequences}, key=lambda one: (len(one), one))
    found: dict[tuple[int, ...], Floats] = {}
    begin, size = 0, 1
    while begin < len(distinct):
        chosen = distinct[begin : begin + size]
        longest = len(chosen[-1])
        ids = torch.zeros((len(chosen), longest), dtype=torch.int64)
        for row, one in enumerate(chosen):
            ids[row, : len(one)] = torch.tensor(one)
        logits = subject.logits(ids)[:, :-1]
        taken = logits.gather(-1, ids[:, 1:, None])[..., 0] - logits.logsumexp(-1)
        for row, one in enumerate(chosen):
            found[one] = taken[row, : len(one) - 1].double().numpy()
        begin += len(chosen)
        progress(stage, begin, len(distinct))
        size = max(1, min(64, ROOM // (logits.shape[-1] * (longest + 4))))
    return [found[tuple(one)] for one in sequences]


def tails(subject: Subject, sequences: Sequence[Sequence[int]], lengths: Sequence[int]) -> list[float]:
    """Log-probability of the last `lengths[n]` tokens of each sequence, in nats, summed.

    Sequences that differ in their last token alone share one forward pass.
    """
    stems = sorted({tuple(one[:-1]) for one in sequences}, key=lambda one: (len(one), one))
    wanted: dict[tuple[int, ...], list[int]] = {stem: [] for stem in stems}
    for one in sequences:
        wanted[tuple(one[:-1])].append(one[-1])
    last: dict[tuple[int, ...], float] = {}
    body: dict[tuple[int, ...], Floats] = {}
    begin, size = 0, 8
    while begin < len(stems):
        chosen = stems[begin : begin + size]
        longest = len(chosen[-1])
        ids = torch.zeros((len(chosen), longest), dtype=torch.int64)
        for row, stem in enumerate(chosen):
            ids[row, : len(stem)] = torch.tensor(stem)
        logits = subject.logits(ids)
        scale = logits.logsumexp(-1)
        inner = (logits[:, :-1].gather(-1, ids[:, 1:, None])[..., 0] - scale[:, :-1]).double().numpy()
        for row, stem in enumerate(chosen):
            body[stem] = inner[row, : len(stem) - 1]
            end = len(stem) - 1
            for token in wanted[stem]:
                last[(*stem, token)] = float(logits[row, end, token] - scale[row, end])
        begin += len(chosen)
        size = max(1, min(64, ROOM // (logits.shape[-1] * (longest + 4))))
    out = []
    for one, many in zip(sequences, lengths, strict=True):
        before = body[tuple(one[:-1])]
        out.append(last[tuple(one)] + float(before[len(before) - (many - 1) :].sum()))
    return out


def opening(subject: Subject) -> list[int]:
    """The tokens that this tokenizer puts before every text, such as a beginning-of-sequence mark; often none."""
    return opening_of(subject.tokenizer)


def spans(subject: Subject, before: str, values: Sequence[str]) -> tuple[list[int], list[list[int]]]:
    """(ids common to all, ids of each value after them), for values that stand after the same words.

    The cut is where the tokens of all the whole texts still agree, so a tokenizer that joins a value's first letters
    to the words before it does no harm.

    raises  InputError where the words before the values make no token
    """
    joint = " " if before and not before[-1].isspace() else ""
    first = opening(subject)
    texts = [first + subject.encode(before + joint + value) for value in values]
    head = first + subject.encode(before.rstrip())
    common = len(head)
    for text in texts:
        same = next((n for n, (a, b) in enumerate(zip(head, text, strict=False)) if a != b), min(len(head), len(text)))
        common = min(common, same, len(text) - 1)
    if common < 1:
        raise InputError(f"there is nothing before the value in {before!r}; a statement needs words before its value")
    return head[:common], [text[common:] for text in texts]
