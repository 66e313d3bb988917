"""Steering: add a vector at the last function token of a prompt, and find the fewest features that still turn it.

Source: Zhang, Lin, Li 2025: directions of a sparse autoencoder enter with one coefficient each; features are sorted by
their activation in the trait's prompt, and the smallest k is searched for which adding the first k succeeds. Ours:
success need not grow with k, so k - 1, k and k + 1 are verified; a random vector of equal length is the control.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slowwave.probes.subjects import Subject
from slowwave.probes.taps import Taps


@dataclass(frozen=True)
class Smallest:
    """The smallest k that succeeds, or None; the k that were tried, in order; and whether success is steady around it.

    steady  k succeeds, k - 1 does not, k + 1 does
    """

    k: int | None
    tried: tuple[int, ...]
    steady: bool


def smallest_k(succeeds: Callable[[int], bool], most: int) -> Smallest:
    """Double until it succeeds, then bisect: about 2 log2(k) tries."""
    known: dict[int, bool] = {0: False}
    tried: list[int] = []

    def ask(k: int) -> bool:
        if k not in known:
            tried.append(k)
            known[k] = succeeds(k)
        return known[k]

    high = 1
    while high < most and not ask(high):
        high *= 2
    high = min(high, most)
    if not ask(high):
        return Smallest(None, tuple(tried), False)
    low = high // 2 if high > 1 else 0
    while high - low > 1:
        middle = (low + high) // 2
        if ask(middle):
            high = middle
        else:
            low = middle
    steady = not ask(high - 1) and (high >= most or ask(high + 1))
    return Smallest(high, tuple(tried), steady)


def generate(
    subject: Subject,
    ids: Sequence[int],
    many: int,
    layer: int | None = None,
    vector: Tensor | None = None,
    at: int = -1,
) -> str:
    """The likeliest continuation, with a vector added once, at one place of the prompt and one layer's output."""
    return generate_many(subject, [ids], many, layer, vector, at)[0]


def generate_many(
    subject: Subject,
    prompts: Sequence[Sequence[int]],
    many: int,
    layer: int | None = None,
    vector: Tensor | None = None,
    at: int = -1,
) -> list[str]:
    """The likeliest continuations of several prompts, up to where the model ends them.

    at  the place at which the vector is added, from the end of each prompt: -1 is its last token
    """
    end = getattr(subject.tokenizer, "eos_token_id", None)
    return [subject.decode(_until(row, end)) for row in continued(subject, prompts, many, layer, vector, at)]


@torch.no_grad()
def continued(
    subject: Subject,
    prompts: Sequence[Sequence[int]],
    many: int,
    layer: int | None = None,
    vector: Tensor | None = None,
    at: int = -1,
) -> list[list[int]]:
    """The `many` likeliest next tokens of several prompts, all at once; as in `generate_many`."""
    if not hasattr(subject.model, "base_model"):
        out: list[list[int]] = [[]] * len(prompts)
        for length in sorted({len(ids) for ids in prompts}):
            rows = [n for n, ids in enumerate(prompts) if len(ids) == length]
            found = _step_by_step(subject, [prompts[n] for n in rows], many, layer, vector, at % length)
            for n, answer in zip(rows, found, strict=True):
                out[n] = answer
        return out
    longest = max(map(len, prompts))
    ids = torch.zeros((len(prompts), longest), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # padded on the left, so that all end at one place
        ids[row, longest - len(prompt) :] = torch.tensor(list(prompt))
        mask[row, longest - len(prompt) :] = 1
    new: list[Tensor] = []
    given, past = ids, None
    places = (mask.cumsum(1) - 1).clamp_min(0)
    for step in range(many):
        with Taps(subject.model) as taps:
            if step == 0 and layer is not None and vector is not None:
                taps.add(layer, "block", vector, [longest + at if at < 0 else at])
            out_ = subject.model(
                given, attention_mask=mask, position_ids=places, past_key_values=past, use_cache=True,
                logits_to_keep=1,
            )  # fmt: skip
        past = out_.past_key_values
        given = out_.logits[:, -1].argmax(-1, keepdim=True)
        new.append(given)
        mask = torch.cat([mask, torch.ones_like(given)], 1)
        places = places[:, -1:] + 1
    return torch.cat(new, 1).tolist() if new else [[] for _ in prompts]


def _until(tokens: list[int], end: int | None) -> list[int]:
    return tokens[: tokens.index(end)] if end in tokens else tokens


def _step_by_step(
    subject: Subject,
    prompts: Sequence[Sequence[int]],
    many: int,
    layer: int | None,
    vector: Tensor | None,
    place: int,
) -> list[list[int]]:
    """Prompts of one length, each token from a whole pass: for models without a cache."""
    ids = torch.tensor([list(prompt) for prompt in prompts])
    begin = ids.shape[1]
    for _ in range(many):
        if layer is None or vector is None:
            logits = subject.logits(ids)
        else:
            with Taps(subject.model) as taps:
                taps.add(layer, "block", vector, [place])
                logits = subject.logits(ids)
        ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], 1)
    return [[int(token) for token in row] for row in ids[:, begin:].tolist()]


def state_at(subject: Subject, ids: Sequence[int], layer: int, at: int = -1) -> Tensor:
    """The output of a layer at one place of a prompt, (width,)."""
    with Taps(subject.model) as taps:
        taps.read(layer, "block")
        subject.logits(torch.tensor([list(ids)]))
        found: Tensor = taps.seen[layer, "block"][0, at].clone()
    return found


def successes(
    subject: Subject,
    prompts: Sequence[Sequence[int]],
    succeeded: Callable[[str], bool],
    many: int,
    layer: int | None = None,
    vector: Tensor | None = None,
    at: int = -1,
) -> list[bool]:
    """Whether each prompt's continuation succeeds."""
    return [succeeded(text) for text in generate_many(subject, prompts, many, layer, vector, at)]


def random_like(vector: Tensor, seed: int) -> Tensor:
    """A random direction of the same length: the control of every steering."""
    noise = torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
    scaled: Tensor = noise * (vector.norm() / noise.norm())
    return scaled
