"""A Llama of random weights and a tokenizer of bytes: exact tests need no trained model."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


class FakeByteTokenizer:
    """Every byte a token."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", "replace")


def tiny(layers: int = 2, **more: Any) -> Any:
    """A Llama of random weights, large enough that every token matters."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,
        max_position_embeddings=1024,
        eos_token_id=None,
        **more,
    )
    return transformers.LlamaForCausalLM(config).eval()
