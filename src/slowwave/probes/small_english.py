"""Small models of plain English to watch while they learn: one tokenizer for all sizes, checkpoints, held-out text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.probes.base import Progress
from slowwave.probes.bpe import Bpe
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.subjects import Subject
from slowwave.probes.training import Schedule, Trail, rows_sampler, train, windows

SIZES: Mapping[str, tuple[int, int]] = {"small": (1, 32), "middle": (2, 48), "base": (3, 96)}  # layers, width


@dataclass(frozen=True)
class English:
    """Texts to train on, and others of the same books that no training sees.

    rows      (n, context) int32, what is trained on
    held_out  documents
    """

    tokenizer: Bpe
    rows: NDArray[np.int32]
    held_out: Sequence[str]


def english(documents: Sequence[str], vocabulary: int = 4096, context: int = 64, held_out: int = 6) -> English:
    """Learn a tokenizer and part the documents: every `held_out`-th is kept from training.

    raises  InputError where there is less than one row to train on, or nothing is held out
    """
    kept = [text for place, text in enumerate(documents) if place % held_out == held_out - 1]
    seen = [text for place, text in enumerate(documents) if place % held_out != held_out - 1]
    tokenizer = Bpe(seen, vocabulary)
    stream = [token for text in seen for token in tokenizer.encode(text + "\n\n")]
    rows = windows(stream, context)
    if not len(rows) or not kept:
        raise InputError(f"{len(documents)} documents give {len(rows)} rows and {len(kept)} held out; give more text")
    return English(tokenizer, rows, kept)


@dataclass(frozen=True)
class SmallTraining:
    """One training: its size by name, its seed, its length, and where its checkpoints lie.

    keep  steps whose checkpoint is kept
    """

    size: str
    seed: int
    folder: Path
    steps: int = 1200
    batch: int = 16
    keep: Sequence[int] = field(default=(0, 25, 50, 100, 200, 400, 800, 1200))
    lr: float = 3e-3

    def run(self, text: English, progress: Progress = lambda stage, done, total: None) -> Trail:
        """Train, or go on where a killed training was, and return the checkpoints; nothing is done twice."""
        trail = Trail(self.folder)
        if not trail.steps() or trail.steps()[-1] < self.steps:
            sampler = rows_sampler(text.rows, self.batch, self.seed)
            train(self._model(text), sampler, Schedule(self.steps, self.lr), trail, self.keep, progress=progress)
        return trail

    def at(self, text: English, step: int) -> Subject:
        """The model as it was at a step that was kept."""
        model = self._model(text)
        Trail(self.folder).load(step, model)
        return Subject(
            f"{self.size}, seed {self.seed}, step {step}", model.eval().requires_grad_(False), text.tokenizer
        )

    def _model(self, text: English) -> Decoder:
        layers, width = SIZES[self.size]
        context = text.rows.shape[1]
        return Decoder(DecoderConfig(len(text.tokenizer), width, layers, heads=4, context=context), self.seed)
