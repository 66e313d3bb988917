"""A copy of a model that can be trained a little, on batches of token ids, and goes back to what it was."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from slowwave.cloze.scoring import opening, spans
from slowwave.probes.subjects import Subject
from slowwave.probes.training import next_token_loss

KEEP_EVERY = 60.0


def trainable(subject: Subject) -> Subject:
    """A copy whose weights can be changed; the subject keeps its own."""
    model = copy.deepcopy(subject.model)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.eval()  # no dropout: each step is a function of its batch
    return Subject(subject.name, model, subject.tokenizer, subject.quantisation)


def step(model: nn.Module, optimiser: torch.optim.Optimizer, ids: torch.Tensor, clip: float = 1.0) -> float:
    """One update on ids (batch, time) with -1 as padding; the loss before it, nats a token."""
    loss = next_token_loss(model, ids)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
    return float(loss.detach())


def padded(rows: Sequence[Sequence[int]], context: int | None = None) -> torch.Tensor:
    """Rows of ids as one tensor, cut to `context`, the rest -1."""
    cut = [list(row)[:context] for row in rows]
    out = torch.full((len(cut), max(len(row) for row in cut)), -1, dtype=torch.int64)
    for n, row in enumerate(cut):
        out[n, : len(row)] = torch.tensor(row)
    return out


def background(rows: np.ndarray, batch: int, seed: int, skip: int = 0) -> Iterator[torch.Tensor]:
    """Batches of rows (n, context) without end, in a new random order each time through, the first `skip` left out."""
    rng = np.random.default_rng([seed, 11])
    held: list[int] = []
    while True:
        while len(held) < batch:
            held += rng.permutation(len(rows)).tolist()
        if skip <= 0:
            yield torch.from_numpy(rows[held[:batch]].astype(np.int64))
        skip -= 1
        held = held[batch:]


def encode_pair(subject: Subject, prompt: str, target: str) -> tuple[list[int], list[int]]:
    """(ids of the prompt, ids of the target after it), cut where the tokenizer lets them part."""
    head, ends = spans(subject, prompt, [target])
    return head, ends[0]


def encode_text(subject: Subject, text: str) -> list[int]:
    """Ids of a whole text, with what the tokenizer puts first."""
    return opening(subject) + subject.encode(text)


class Midway:
    """A training kept in a file on the way: one that was killed goes on from there, and ends with the same numbers.

    file   None keeps nothing; three times the model's size on disk while the training lasts
    every  seconds of work between two keepings; None takes a minute
    """

    def __init__(
        self, file: Path | None, model: nn.Module, optimiser: torch.optim.Optimizer, every: float | None = None
    ) -> None:
        self.file, self.model, self.optimiser = file, model, optimiser
        self.every = KEEP_EVERY if every is None else every
        self._last = time.monotonic()

    def restore(self) -> tuple[int, Any]:
        """(updates done, what was found so far) with model and optimiser as they were then; (0, None) at first."""
        if self.file is None or not self.file.is_file():
            return 0, None
        kept = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self.optimiser.load_state_dict(kept["optimiser"])
        return int(kept["done"]), json.loads(kept["found"])

    def keep(self, done: int, found: Any, now: bool = False) -> None:
        """Keep the state after so many updates, if it is time or `now`; a kill in between leaves the one before."""
        if self.file is None or not (now or time.monotonic() - self._last >= self.every):
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        new = self.file.with_suffix(".new")
        torch.save({**state, "done": done, "found": json.dumps(found)}, new)
        new.replace(self.file)
        self._last = time.monotonic()

    def finish(self) -> None:
        """Take the file away."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


@contextmanager
def put_back(model: nn.Module) -> Iterator[None]:
    """Whatever is done to the weights inside is undone afterwards."""
    kept = {name: value.detach().clone() for name, value in model.state_dict().items()}
    try:
        yield
    finally:
        model.load_state_dict(kept)
