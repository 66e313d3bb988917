"""The model under the instrument: any causal language model that transformers loads, GGUF files too, or our decoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slowwave.cloze.subject import Subject
from slowwave.errors import InputError, ModelError
from slowwave.models.causal import gguf_reader, load_causal, quiet

__all__ = ["Subject", "attending", "load", "quantisation", "untrained"]


def load(model: str | Path, attention: str = "sdpa") -> Subject:
    """A model by folder, .gguf file or name, in float32, in evaluation mode.

    attention  "eager" where attention weights are to be read
    raises     ModelMissingError, ModelError (also for a model that sees what comes after a token), ExtraMissingError
    """
    loaded, tokenizer = load_causal(model, attention=attention, purpose="an instrument on a model", extra="probes")
    for parameter in loaded.parameters():
        parameter.requires_grad_(False)
    path = Path(model).expanduser()
    kinds = quantisation(path) if path.suffix == ".gguf" else ""
    subject = Subject(path.stem or str(model), loaded, tokenizer, kinds)
    if not is_causal(subject):
        raise ModelError(f"{model} sees what comes after a token; give a causal language model, not an encoder")
    return subject


def is_causal(subject: Subject) -> bool:
    """Whether what follows a token leaves its prediction alone."""
    import torch

    ids = torch.tensor([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 7, 8]])
    a, b = subject.logits(ids)[:, :4]
    return bool(torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(a.abs().max())))


def untrained(subject: Subject, seed: int = 0) -> Subject:
    """The same architecture before training: weights drawn anew, as its own rule draws them."""
    import copy

    import torch

    from slowwave.probes.decoder import Decoder

    with torch.random.fork_rng(), quiet():
        torch.manual_seed(seed)
        if isinstance(subject.model, Decoder):
            twin: Any = Decoder(subject.model.config, seed)
        else:
            twin = type(subject.model)(copy.deepcopy(subject.model.config)).float()
    twin.eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return Subject(f"{subject.name}, untrained", twin, subject.tokenizer)


@contextlib.contextmanager
def attending(subject: Subject) -> Iterator[None]:
    """The model computing its attention weights in full, so that taps can read them; as it was before, afterwards.

    raises  InputError where a model cannot be set to do so
    """
    from slowwave.probes.decoder import Decoder

    model = subject.model
    if isinstance(model, Decoder):
        for block in model.blocks:
            block.self_attn.keep_weights = True  # type: ignore[union-attr]
        try:
            yield
        finally:
            for block in model.blocks:
                block.self_attn.keep_weights = False  # type: ignore[union-attr]
        return
    before = getattr(model.config, "_attn_implementation", None)
    if before == "eager":
        yield
        return
    if not hasattr(model, "set_attn_implementation"):
        raise InputError(f'{subject.name} does not give attention weights; load it with attention="eager"')
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def quantisation(path: Path) -> str:
    """The kinds of tensors in a GGUF file, commonest first: "Q8_0" or "Q4_K, Q6_K"."""
    from collections import Counter

    kinds = Counter(tensor.tensor_type.name for tensor in gguf_reader()(str(path)).tensors)
    return ", ".join(kind for kind, _ in kinds.most_common() if kind != "F32") or "F32"
