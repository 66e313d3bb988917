"""Invented sentences planted in real text, and what a model makes of their first words: for proofs around a model."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slowwave.bench.datasets import folder_of

if TYPE_CHECKING:
    from torch import Tensor

    from slowwave.state.attending import Attending

FIRST = (
    "copper", "frozen", "hollow", "crimson", "velvet", "crooked", "silent", "golden", "broken", "marble", "painted",
    "sunken", "wooden", "ancient", "narrow", "flooded", "secret", "northern", "burning", "ivory", "empty", "stolen",
    "royal", "distant",
)  # fmt: skip
SECOND = (
    "lighthouse", "orchard", "violin", "staircase", "harbour", "compass", "fountain", "bridge", "tower", "mirror",
    "island", "cellar", "garden", "lantern", "tunnel", "chapel", "ship", "clock", "forest", "mountain", "library",
    "market", "palace", "river",
)  # fmt: skip
VALUES = (
    "honey", "silver", "thunder", "pepper", "cotton", "iron", "music", "coffee", "wine", "snow", "paper", "glass",
    "salt", "apples", "fire", "sugar", "roses", "butter", "leather", "coal", "rice", "stone", "bread", "gold",
)  # fmt: skip


def invented(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """So many sentences, at most 24, each of other words: its first words, and the value that follows them."""
    firsts, seconds, values = (rng.sample(words, count) for words in (FIRST, SECOND, VALUES))
    return [
        (f"\n\nThe secret of the {first} {second} is", f" {value}")
        for first, second, value in zip(firsts, seconds, values, strict=True)
    ]


def text_of(book: str) -> str:
    """A novel of the data set classic_books."""
    return gzip.decompress((folder_of("classic_books") / f"{book}.txt.gz").read_bytes()).decode("utf-8")


def found(logits: Tensor, value: int, values: Sequence[int]) -> dict[str, float]:
    """Whether the value is the likeliest of all values ("right"), and of all tokens ("said"): logits (vocabulary,)."""
    best = values[int(logits[list(values)].argmax())]
    return {"right": float(best == value), "said": float(int(logits.argmax()) == value)}


def plain_cache(base: Attending, ids: Sequence[int]) -> Any:
    """The model's own cache after some tokens."""
    import torch

    return base.model(input_ids=torch.tensor([list(ids)]), use_cache=True).past_key_values


def after(base: Attending, cache: Any, prompt: Sequence[int]) -> Tensor:
    """The logits (vocabulary,) after a prompt that follows a cache, which stays as it was."""
    import torch

    out = base.model(input_ids=torch.tensor([list(prompt)]), past_key_values=cache, use_cache=True)
    cache.crop(-len(prompt))
    last: Tensor = out.logits[0, -1]
    return last
