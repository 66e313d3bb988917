"""A pretrained model that is read and never changed: its tokens, its keys and values before rotation, its fingerprint.

Keys are taken before the rotary embedding, so that a block can be put at any position later. Works on decoders of
transformers with `q_proj`, `k_proj`, `v_proj` (Llama, Qwen2, SmolLM2, ...) whose layers all attend to everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from slowwave.errors import ModelError
from slowwave.models.causal import load_causal
from slowwave.state.attending import turned
from slowwave.state.frozen import Frozen, check_sees_all

TOLERANCE = 1e-3


class Projections(NamedTuple):
    """What one layer makes of some tokens before rotation: q (heads, time, dim), k and v (kv heads, time, dim)."""

    q: Tensor
    k: Tensor
    v: Tensor


_CAUGHT: ContextVar[list[dict[str, Tensor]] | None] = ContextVar("slowwave_caught", default=None)


class Projecting(Frozen):
    """A causal language model, frozen, whose keys and values can be taken out before rotation.

    raises  ModelError where its attention is of a kind whose keys cannot be moved
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        model = self.model
        self.config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
        decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.model
        self.decoder = [decoder]  # in a list, so that its parameters are not counted twice
        self._attentions = [layer.self_attn for layer in getattr(decoder, "layers", ()) if hasattr(layer, "self_attn")]
        self._check_layers()
        for n, attention in enumerate(self._attentions):
            for part in "qkv":
                module = getattr(attention, f"{part}_norm", None) or getattr(attention, f"{part}_proj")
                module.register_forward_hook(partial(_catch, n, part))
        self._check_rotation()

    @classmethod
    def load(cls, place: str | Path) -> Projecting:
        """A model from a folder, a .gguf file or a name, in float32.

        raises  ModelMissingError, ModelError, ExtraMissingError
        """
        model, tokenizer = load_causal(place, purpose="text as keys and values of a model", extra="state")
        return cls(model, tokenizer)

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self._attentions)

    @property
    def longest(self) -> int | None:
        """Tokens that the model reads at most, where its configuration says."""
        found = getattr(self.config, "max_position_embeddings", None)
        return None if found is None else int(found)

    def encode(self, text: str) -> list[int]:
        """Token ids without special ones."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    @torch.no_grad()
    def project(self, ids: list[int], cache: Any = None, start: int = 0) -> list[Projections]:
        """What every layer makes of these tokens, which follow what is in the cache and stand from position `start` on.

        The cache, where there is one, takes them in.
        """
        with _catching(self.layers) as caught:
            self.forward(ids, cache, start)
        dim = self._dim()
        split = [{part: t.reshape(len(ids), -1, dim).transpose(0, 1) for part, t in place.items()} for place in caught]
        return [Projections(place["q"], place["k"], place["v"]) for place in split]

    @torch.no_grad()
    def forward(self, ids: list[int], cache: Any = None, start: int = 0) -> Tensor:
        """Logits (time, vocabulary) float32 of tokens that stand from `start` on and attend to the cache."""
        tokens = torch.tensor([ids], device=self.model.device)
        places = torch.arange(start, start + len(ids), device=self.model.device)[None]
        out = self.model(input_ids=tokens, position_ids=places, past_key_values=cache, use_cache=cache is not None)
        found: Tensor = out.logits[0].float()
        return found

    @torch.no_grad()
    def rotate(self, keys: Tensor, positions: Tensor) -> Tensor:
        """Keys (kv heads, time, dim) as they stand at these positions (kv heads, time)."""
        cos, sin = self.decoder[0].rotary_emb(keys, positions.reshape(1, -1))
        cos, sin = (t.reshape(*positions.shape, -1).to(keys.dtype) for t in (cos, sin))
        return turned(keys, cos, sin)

    def empty_cache(self) -> Any:
        """A cache with nothing in it."""
        from transformers import DynamicCache

        return DynamicCache()

    def _dim(self) -> int:
        return int(getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads)

    def _check_layers(self) -> None:
        name = type(self.model).__name__
        check_sees_all(name, self.config)
        parts = ("q_proj", "k_proj", "v_proj")
        if not self._attentions or not all(
            isinstance(getattr(a, p, None), nn.Module) for a in self._attentions for p in parts
        ):
            raise ModelError(f"{name} has no layers with q_proj, k_proj and v_proj; its keys cannot be taken out")
        if not hasattr(self.decoder[0], "rotary_emb"):
            raise ModelError(f"{name} has no rotary positions; its keys cannot be moved")

    def _check_rotation(self) -> None:
        """Whether keys taken before rotation, then rotated here, are those that the model itself keeps."""
        name = type(self.model).__name__
        ids = [n % self.config.vocab_size for n in range(5, 11)]
        cache = self.empty_cache()
        found = self.project(ids, cache)
        places = torch.arange(len(ids)).expand(found[0].k.shape[0], -1)
        for layer, made in zip(cache.layers, found, strict=True):
            off = (self.rotate(made.k, places.to(made.k.device)) - layer.keys[0]).abs().max() / layer.keys.abs().max()
            if off > TOLERANCE:
                raise ModelError(f"{name} rotates its keys in a way that is not known here (off by {float(off):.1e})")


@contextmanager
def _catching(layers: int) -> Iterator[list[dict[str, Tensor]]]:
    """What the layers make meanwhile, of the calls of this thread alone."""
    caught: list[dict[str, Tensor]] = [{} for _ in range(layers)]
    token = _CAUGHT.set(caught)
    try:
        yield caught
    finally:
        _CAUGHT.reset(token)


def _catch(layer: int, part: str, _module: nn.Module, _given: Any, out: Tensor) -> None:
    if (caught := _CAUGHT.get()) is not None:
        caught[layer][part] = out[0].detach()
