"""A language model with its tokenizer, as what is asked whether it holds something: any that gives logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
