"""The model under the instrument: any causal language model that transformers loads, GGUF files too, or our decoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.errors import InputError
from slowwave.models.causal import load_causal, quiet

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Subject:
    """A model with its tokenizer.

    quantisation  of the file it came from, such as "Q8_0": every number then belongs to the quantised model; "" if none
    """

    name: str
    model: Any
    tokenizer: Any
    quantisation: str = ""

    def encode(self, text: str, limit: int | None = None) -> list[int]:
        """Token ids, without special tokens unless the tokenizer always adds a first one."""
        ids: list[int] = list(self.tokenizer.encode(text, add_special_tokens=False))
        return ids if limit is None else ids[:limit]

    def ask(self, text: str) -> list[int]:
        """Token ids of a request, inside the chat template where there is one, up to where the answer begins."""
        if not getattr(self.tokenizer, "chat_template", None):
            return self.encode(text + "\n")
        turn = [{"role": "user", "content": text}]
        ids = self.tokenizer.apply_chat_template(turn, tokenize=True, add_generation_prompt=True, return_dict=False)
        return [int(token) for token in ids]

    def decode(self, ids: list[int]) -> str:
        """The text of some tokens."""
        return str(self.tokenizer.decode(ids))

    def pieces(self, ids: list[int]) -> list[str]:
        """Each token as a reader sees it, a leading space included."""
        return [str(self.tokenizer.decode([i])) for i in ids]

    def logits(self, ids: torch.Tensor) -> torch.Tensor:
        """ids (batch, time) int64 -> (batch, time, vocabulary) float32, without gradients."""
        import torch

        with torch.no_grad():
            out = self.model(ids, use_cache=False) if hasattr(self.model, "base_model") else self.model(ids)
        found: torch.Tensor = out.logits if hasattr(out, "logits") else out
        return found.float()

    def states(self, ids: torch.Tensor) -> None:
        """One pass for the sake of taps: as `logits`, but what turns states into words is left out where it can be."""
        import torch

        if not hasattr(self.model, "base_model"):
            self.logits(ids)
            return
        with torch.no_grad():
            self.model.base_model(ids, use_cache=False)


def load(model: str | Path, attention: str = "sdpa") -> Subject:
    """A model by folder, .gguf file or name, in float32, in evaluation mode.

    attention  "eager" where attention weights are to be read
    raises     ModelMissingError, ModelError, ExtraMissingError
    """
    loaded, tokenizer = load_causal(model, attention=attention, purpose="an instrument on a model", extra="probes")
    for parameter in loaded.parameters():
        parameter.requires_grad_(False)
    path = Path(model).expanduser()
    return Subject(path.stem or str(model), loaded, tokenizer, quantisation(path) if path.suffix == ".gguf" else "")


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

    from gguf import GGUFReader

    kinds = Counter(tensor.tensor_type.name for tensor in GGUFReader(str(path)).tensors)
    return ", ".join(kind for kind, _ in kinds.most_common() if kind != "F32") or "F32"
