"""Loss by transition at one model, and over checkpoints and sizes: groups, single targets, a sentence's predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from slowwave.probes.activations import Tokens
from slowwave.probes.base import Progress
from slowwave.probes.classes import Classes, starts_word
from slowwave.probes.subjects import Subject
from slowwave.probes.transitions import (
    GROUPS,
    Losses,
    by_transition,
    groups_of,
    losses_of,
    split_continuations,
)

TARGETS = ("the", "of", ",")
SENTENCE = "The house stood at the end of the road, and there was nobody in it when we came."
SHARES = (0.3, 0.4, 0.5, 0.6)


def losses_at(
    subject: Subject,
    corpus: Tokens,
    classes: Classes,
    others: Sequence[Classes] = (),
    targets: Sequence[str] = TARGETS,
    sentence: str = SENTENCE,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Parts F and G at one model.

    others    classes cut at other shares, to see whether an order of groups hangs on the cut
    targets   words whose own loss is given, wherever they are the next token (with a space before them or not)
    returns   groups, parted (c>c into words begun and continued), by_share, mean, targets, sentence
    """
    losses = losses_of(subject.logits, corpus, progress)
    groups = groups_of(losses, classes)
    begins = np.ones(int(max(losses.target.max(), losses.current.max())) + 1, dtype=bool)
    seen = np.unique(losses.target)
    pieces = subject.pieces(seen.tolist())
    begins[seen] = starts_word(subject, seen.tolist())
    return {
        "groups": by_transition(losses, groups, seed=seed),
        "parted": by_transition(
            losses, split_continuations(groups, losses, begins), (*GROUPS, "c>c within a word"), seed=seed
        ),
        "by_share": {
            str(one.share): {
                name: found["loss"]
                for name, found in by_transition(losses, groups_of(losses, one), resamples=3).items()
            }
            for one in others
        },
        "mean": float(losses.loss.astype(np.float64).mean()),
        "targets": single_targets(losses, dict(zip(seen.tolist(), pieces, strict=True)), targets),
        "sentence": top_predictions(subject, sentence),
    }


def single_targets(losses: Losses, pieces: Mapping[int, str], targets: Sequence[str]) -> dict[str, Any]:
    """Word -> mean loss where it is the next token, and how often that is."""
    out: dict[str, Any] = {}
    for word in targets:
        ids = [token for token, piece in pieces.items() if piece.strip() == word]
        mine = losses.loss[np.isin(losses.target, ids)].astype(np.float64)
        out[word] = {"loss": float(mine.mean()) if len(mine) else None, "n": len(mine)}
    return out


def top_predictions(subject: Subject, sentence: str) -> list[dict[str, Any]]:
    """For each token of a sentence after the first: the likeliest one in its place, and both probabilities."""
    ids = subject.encode(sentence)
    shares = subject.logits(torch.tensor([ids]))[0, :-1].softmax(-1)
    best = shares.argmax(-1)
    pieces, guesses = subject.pieces(ids[1:]), subject.pieces(best.tolist())
    return [
        {
            "token": pieces[place],
            "guess": guesses[place],
            "share": round(float(shares[place, best[place]]), 4),
            "share_of_token": round(float(shares[place, ids[place + 1]]), 4),
        }
        for place in range(len(pieces))
    ]
