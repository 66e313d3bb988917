"""Re-activation: does a feature that a content word fires come back at later function tokens, prompt by prompt?

Source: Zhang, Lin, Li 2025 show it on strips of chosen features. Ours, beside the strips: the rate over a set of
prompts that differ in one word, with the same features in the prompts that lack the word as the control.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowwave.probes.classes import Classes
from slowwave.probes.sae import Sae
from slowwave.probes.subjects import Subject
from slowwave.probes.taps import Taps

TEMPLATE = "Answer in Chinese: what is the capital of {}? Give the name of the city only."
WORDS = ("Russia", "England", "France", "Japan", "Egypt", "Brazil", "India", "Spain", "Germany", "Italy")
PROMPTS = (TEMPLATE.format("Russia"), TEMPLATE.format("the UK"))
SPECIFIC = 5  # features of each word


def strips(
    subject: Subject, sae: Sae, layer: int, prompts: Sequence[str], features: Sequence[int] = ()
) -> dict[str, Any]:
    """Chosen features, token by token, for prompts inside the chat template.

    features  () takes those in which two prompts differ most from where they begin to differ, and the strongest that
              both share
    returns   features; prompts, each with pieces, values by feature, and where each fires: first, and again
    """
    ids = [subject.ask(prompt) for prompt in prompts]
    latents = [latents_of(subject, sae, layer, one) for one in ids]
    chosen = list(features)
    if not chosen:
        begin = _common(ids) if len(ids) > 1 else 1
        peaks = [one[max(1, begin) :].amax(0) for one in latents]
        for place, peak in enumerate(peaks):
            rivals = [other for n, other in enumerate(peaks) if n != place]
            rival = torch.stack(rivals).amax(0) if rivals else torch.zeros_like(peak)
            chosen += [int(i) for i in (peak - rival).argsort(descending=True)[:2]]
        chosen += [int(i) for i in torch.stack(peaks).amin(0).argsort()[-1:]]
        chosen = list(dict.fromkeys(chosen))
    shown = []
    for one, values in zip(ids, latents, strict=True):
        fires = [torch.nonzero(values[1:, feature])[:, 0] + 1 for feature in chosen]
        shown.append(
            {
                "pieces": subject.pieces(one),
                "values": [[round(float(v), 3) for v in values[:, feature]] for feature in chosen],
                "first": [int(at[0]) if len(at) else None for at in fires],
                "again": [[int(v) for v in at[1:]] for at in fires],
            }
        )
    return {"layer": layer, "features": chosen, "prompts": shown}


def echo(
    subject: Subject,
    sae: Sae,
    layer: int,
    classes: Classes,
    template: str = TEMPLATE,
    words: Sequence[str] = WORDS,
) -> dict[str, Any]:
    """How often the features of a word fire after it, at function tokens, content tokens and the template's own marks.

    The features of a word are the five that its last token fires most above the mean of the other words' last tokens.
    The control is the rate of the same features at the same later tokens of the prompts that hold another word.
    returns  kind -> places a prompt, rate and control, a pair a word
    """
    after = template.partition("{}")[2]
    ids = [subject.ask(template.format(word)) for word in words]
    tail = len(subject.encode(after)) + len(subject.ask("x")) - _until_end_of(subject, "x")
    tail = min(tail, *(len(one) - 2 for one in ids))
    latents = [latents_of(subject, sae, layer, one) for one in ids]
    at_word = torch.stack([values[-tail - 1] for values in latents])
    later = torch.stack([(values[-tail:] > 0).float() for values in latents])  # (words, places, features)
    kinds = np.array([_kind(subject, classes, token) for token in ids[0][-tail:]])
    out: dict[str, Any] = {"words": list(words), "tail": subject.pieces(ids[0][-tail:])}
    for kind in ("function", "content", "template"):
        places = torch.from_numpy(np.flatnonzero(kinds == kind))
        rates, control = [], []
        for n in range(len(words)):
            others = [m for m in range(len(words)) if m != n]
            own = (at_word[n] - at_word[others].mean(0)).topk(SPECIFIC).indices
            rates.append(float(later[n][places][:, own].mean()) if len(places) else 0.0)
            control.append(float(later[others][:, places][:, :, own].mean()) if len(places) else 0.0)
        out[kind] = {"places": len(places), "rate": rates, "control": control}
    return out


def latents_of(subject: Subject, sae: Sae, layer: int, ids: Sequence[int]) -> Tensor:
    """What an autoencoder's features do at each token of a prompt: (tokens, features)."""
    with Taps(subject.model) as taps:
        taps.read(layer)
        taps.stop_after(layer)
        taps.run(subject.states, torch.tensor([list(ids)]))
        return sae.encode(taps.seen[layer, "block"][0])


def _common(ids: Sequence[Sequence[int]]) -> int:
    """How many tokens the prompts share at their beginning."""
    shortest = min(map(len, ids))
    return next((n for n in range(shortest) if len({one[n] for one in ids}) > 1), shortest)


def _until_end_of(subject: Subject, text: str) -> int:
    """Tokens of a prompt up to the end of what was asked."""
    whole, inside = subject.ask(text), subject.encode(text)
    for end in range(len(whole), 0, -1):
        if list(whole[end - len(inside) : end]) == list(inside):
            return end
    return len(whole)


def _kind(subject: Subject, classes: Classes, token: int) -> str:
    if token in set(getattr(subject.tokenizer, "all_special_ids", ())):
        return "template"
    piece = subject.pieces([token])[0]
    if bool(classes.is_function(np.array([token]))[0]) or not any(c.isalnum() for c in piece):
        return "function"
    return "template" if piece.strip() in ("user", "assistant", "model", "system") else "content"
