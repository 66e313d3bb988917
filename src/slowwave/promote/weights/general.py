"""Ordinary language that a night must not harm: what the model itself says, or a text of one's own, and its next words.

What the bare model expected after each token is kept once (its likeliest continuations), so that every night can be
held to it without running the bare model again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowwave.cloze.subject import Subject
from slowwave.errors import InputError, NotFoundError
from slowwave.weights.objective import plain
from slowwave.weights.vectors import still

ROWS, LENGTH, TOP = 96, 32, 255  # sequences, tokens of each, continuations kept beside the one that came
GUARDED = 48  # sequences on which perplexity is watched
OPENERS = ("The", "In", "A", "It", "He", "She", "There", "When", "We", "This", "On", "I", "After", "For", "Many", "My")


@dataclass(frozen=True)
class General:
    """Sequences to replay with what the bare model expected, and others on which perplexity is watched.

    rows            (n, time) token ids: running text, then sentences
    chosen, scores  (n, time, top + 1) the likeliest next tokens and the one that came, with their log-probabilities by
                    the bare model; where it is among the likeliest, it counts once
    guard           (m, time) token ids, never trained on
    texts           how many of the rows are running text; None where all are
    """

    rows: Tensor
    chosen: Tensor
    scores: Tensor
    guard: Tensor
    texts: int | None = None

    def draw(self, rng: np.random.Generator, many: int) -> Tensor:
        """(many,) places of rows by chance: half of them sentences, where there are sentences."""
        texts = len(self.rows) if self.texts is None else self.texts
        said = min(many // 2, len(self.rows) - texts)
        places = [rng.permutation(texts)[: many - said], texts + rng.permutation(len(self.rows) - texts)[:said]]
        return torch.from_numpy(np.concatenate(places))

    def loss(self, logits: Tensor, places: Tensor) -> Tensor:
        """Divergence of what a model expects from what the bare model did, nats a token; the rest counts as one word.

        logits  (n, time, vocabulary) of the rows at these places
        """
        kept = self.scores[places]
        now = torch.log_softmax(logits, -1).gather(-1, self.chosen[places])
        now = torch.where(kept > -29.0, now, kept)  # the one that is among the likeliest already
        rest = torch.log1p(-kept.exp().sum(-1).clamp(max=1 - 1e-6))
        left = torch.log1p(-now.exp().sum(-1).clamp(max=1 - 1e-6))
        each = (kept.exp() * (kept - now)).sum(-1) + rest.exp() * (rest - left)
        return each.mean()


def general_of(
    subject: Subject, folder: Path, text: str | Path | None, guard: str | Path | None, name: str, seed: int,
    sentences: Sequence[str] = (),
) -> General:  # fmt: skip
    """Made once for a model and kept in a folder; nothing of a memory is in it.

    text, guard  files to take it from; None lets the model speak
    name         of the model: its fingerprint
    sentences    to be rehearsed as well, in rows
    """
    from safetensors.torch import load_file, save_file

    about = "\0".join((name, _content(text), _content(guard), str(seed), *sentences))
    file = folder / f"general-{hashlib.sha256(about.encode()).hexdigest()[:16]}.safetensors"
    if file.is_file():
        kept = load_file(file)
        return General(**kept, texts=len(kept["rows"]) - _sentence_rows(subject, sentences).shape[0])
    rows = _rows(subject, text, "general", ROWS + GUARDED, seed)
    if guard is None:
        cut = min(ROWS, 2 * len(rows) // 3)  # of a short text a third is watched
        rows, watched = rows[:cut], rows[cut:]
    else:
        rows, watched = rows[:ROWS], _rows(subject, guard, "guard", GUARDED, seed)
    texts = len(rows)
    rows = torch.cat([rows, _sentence_rows(subject, sentences)])
    chosen, scores = _expected(subject.model, rows)
    found = {"rows": rows, "chosen": chosen, "scores": scores, "guard": watched}
    folder.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in found.items()}, file.with_suffix(".new"))
    file.with_suffix(".new").replace(file)
    return General(**found, texts=texts)


def _sentence_rows(subject: Subject, sentences: Sequence[str]) -> Tensor:
    """(n, LENGTH) token ids of sentences one after the other."""
    ids = subject.encode(" ".join(f"{one}." for one in sentences))
    return torch.tensor(ids[: len(ids) // LENGTH * LENGTH], dtype=torch.int64).view(-1, LENGTH)


def _content(path: str | Path | None) -> str:
    if path is None:
        return "own words"
    file = Path(path).expanduser()
    if not file.is_file():
        raise NotFoundError(f"no text file {file}; give one of ordinary language, or leave it out")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _rows(subject: Subject, path: str | Path | None, what: str, most: int, seed: int) -> Tensor:
    """(n, LENGTH) token ids, spread evenly over a text, or said by the model."""
    if path is None:
        return own_words(subject, most, LENGTH, seed)
    ids = subject.encode(Path(path).expanduser().read_text("utf-8", "replace"))
    many = len(ids) // LENGTH
    if many < 8:
        raise InputError(f"{what} {path} has {len(ids)} tokens; give a text of at least {8 * LENGTH}")
    cut = torch.tensor(ids[: many * LENGTH]).view(many, LENGTH)
    places = torch.linspace(0, many - 1, min(most, many)).round().long()
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))
    return cut[places[order]]


@torch.no_grad()
def own_words(subject: Subject, many: int, length: int, seed: int) -> Tensor:
    """(many, length) tokens that the model says by chance, each as likely as it finds it."""
    generator = torch.Generator().manual_seed(seed)
    starts = [subject.encode(word)[:1] for word in OPENERS]
    ids = torch.tensor([starts[n % len(starts)] for n in range(many)])
    parts: list[Tensor] = []
    with still(subject.model):
        for batch in torch.split(ids, 32):
            said, cache = batch, None
            while said.shape[1] < length:
                out = subject.model(said[:, -1:] if cache is not None else said, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                chances = out.logits[:, -1].float().softmax(-1)
                said = torch.cat([said, torch.multinomial(chances, 1, generator=generator)], 1)
            parts.append(said)
    return torch.cat(parts)


@torch.no_grad()
def _expected(model: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
    chosen, scores = [], []
    with still(model):
        for part in torch.split(rows, 16):
            every = torch.log_softmax(plain(model(part)), -1)
            likely = every.topk(min(TOP, every.shape[-1] - 2), -1)
            came = torch.cat([part[:, 1:], likely.indices[:, -1:, 0]], 1)[..., None]  # of the last there is none
            score = every.gather(-1, came).masked_fill((likely.indices == came).any(-1, keepdim=True), -30.0)
            chosen.append(torch.cat([likely.indices, came], -1))
            scores.append(torch.cat([likely.values, score], -1))
    return torch.cat(chosen), torch.cat(scores)
