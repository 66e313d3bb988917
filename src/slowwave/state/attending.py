"""A pretrained model whose attention is ours: what each layer asks, and is asked by, before any position is put in.

The model runs as transformers wrote it, with every token at position 0, where a rotation changes nothing; each layer's
queries, keys and values then come to a `Look`, which puts positions in and attends to whatever it likes besides. Works
with decoders of transformers that rotate queries and keys and whose layers all attend to everything (Llama, SmolLM2,
Qwen2, Qwen3, Mistral without a window, ...); others are refused when they are opened, by comparing logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from slowwave.errors import ExtraMissingError, ModelError
from slowwave.state.frozen import Frozen, check_sees_all, view_of
from slowwave.state.kernels.attention import prefix_attention

NAME = "slowwave"
TOLERANCE = 1e-3  # of the largest logit: how far ours may be from the model's own
ROUNDING, LOOSEST = 4.0, 0.5  # in half precision: times that two of its own ways are apart, and at most


class Look:
    """What a layer of the model sees. This one: the tokens themselves, causally, from position 0 on.

    base  the model; positions are put in by it
    """

    def __init__(self, base: Attending) -> None:
        self.base = base

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """q (batch, heads, time, dim), k and v (batch, kv heads, time, dim), unrotated -> as q."""
        places = torch.arange(q.shape[2], device=q.device)
        q, k = (self.base.rotate(x, places) for x in (q, k))
        return prefix_attention((q, k, v), scale=scale)[0]

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """What goes into a layer, (batch, time, width)."""
        return hidden

    def leave(self, layer: int, hidden: Tensor) -> Tensor:
        """What comes out of a layer."""
        return hidden


class _Entrances(Look):
    """Notes what enters each layer, and the keys and values made of it."""

    def __init__(self, base: Attending) -> None:
        super().__init__(base)
        self.hidden: list[Tensor] = []
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        self.hidden.append(hidden)
        return hidden

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        self.keys.append(k)
        self.values.append(v)
        return super().attend(layer, q, k, v, scale)


_LOOK: ContextVar[Look] = ContextVar("slowwave_look")


class Attending(Frozen):
    """A causal language model, frozen, whose attention can be given another view.

    model      of transformers, or (model, tokenizer), or a path or name that `load_causal` takes
    frozen     False leaves it to be trained with the memory that stands around it
    raises     ModelError where its attention is of a kind that cannot be opened
    """

    def __init__(self, model: Any, tokenizer: Any = None, frozen: bool = True) -> None:
        model, tokenizer = _pair(model, tokenizer)
        super().__init__(model, tokenizer, frozen)
        _register()
        self.config = _text_config(self.model)
        self._open()
        self._check()

    @classmethod
    def of(cls, model: Any) -> Attending:
        """Itself, or the model opened."""
        return model if isinstance(model, Attending) else cls(model)

    def _open(self) -> None:
        """The model once more, of the same parameters, attending as a look says; whoever calls `model` meets none."""
        opened = view_of(self.model, frozen=False)
        _text_config(opened)._attn_implementation = NAME
        opened.train(self.model.training)
        decoder = opened.get_decoder() if hasattr(opened, "get_decoder") else getattr(opened, "model", None)
        self.opened: list[Any] = [opened]  # in lists, so that parameters are not counted twice
        self.decoder: list[Any] = [decoder]
        for n, layer in enumerate(getattr(decoder, "layers", ())):
            layer.register_forward_pre_hook(partial(_entering, n))
            layer.register_forward_hook(partial(_leaving, n))

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moved or converted, as a module is."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._open()
        return self

    def train(self, mode: bool = True) -> Self:
        """A frozen one stays in evaluation mode, so that nothing is dropped."""
        super().train(mode)
        self.opened[0].train(mode and not self.frozen)
        return self

    @property
    def blocks(self) -> Any:
        """The model's layers."""
        return self.decoder[0].layers

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.blocks)

    @property
    def heads(self) -> int:
        """Of the queries."""
        return int(self.config.num_attention_heads)

    @property
    def kv_heads(self) -> int:
        """Of the keys and values."""
        return int(getattr(self.config, "num_key_value_heads", None) or self.heads)

    @property
    def dim(self) -> int:
        """Of a head."""
        return int(getattr(self.config, "head_dim", None) or self.config.hidden_size // self.heads)

    def through(self, ids: Tensor, look: Look) -> Tensor:
        """ids (batch, time) -> logits (batch, time, vocabulary), every layer seeing what the look lets it see."""
        token = _LOOK.set(look)
        try:
            nowhere = torch.zeros(1, 1, dtype=torch.int64, device=ids.device)  # one place, for however many tokens
            out = self.opened[0](inputs_embeds=self.embed(ids), position_ids=nowhere, use_cache=False)
        finally:
            _LOOK.reset(token)
        found: Tensor = out.logits
        return found

    def rotate(self, x: Tensor, positions: Tensor) -> Tensor:
        """x (..., time, dim) at positions (..., time) int64, which are broadcast to it."""
        cos, sin = self.angles(positions)
        return turned(x, cos.to(x.dtype), sin.to(x.dtype))

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin, (..., time, rotated), without the factor that some models put on them."""
        flat = positions.reshape(1, -1)
        like = next(self.model.parameters())
        cos, sin = self.decoder[0].rotary_emb(like, torch.cat([flat.new_zeros(1, 1), flat], 1))
        factor = cos[:, :1]
        shape = (*positions.shape, cos.shape[-1])
        return (cos[:, 1:] / factor).reshape(shape), (sin[:, 1:] / factor).reshape(shape)

    def keys_values(self, layer: int, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """What a layer makes of vectors at its entrance: (batch, slots, width) -> keys, unrotated, and values
        (batch, kv heads, slots, dim)."""
        block = self.blocks[layer]
        attention = block.self_attn
        normed = block.input_layernorm(hidden)
        keys, values = (
            getattr(attention, part)(normed).unflatten(-1, (self.kv_heads, self.dim)) for part in ("k_proj", "v_proj")
        )
        if hasattr(attention, "k_norm"):
            keys = attention.k_norm(keys)
        return keys.transpose(1, 2), values.transpose(1, 2)

    @torch.no_grad()
    def check_entrances(self) -> None:
        """Whether `keys_values` makes what the layers themselves make.

        raises  ModelError where it does not
        """
        ids = torch.arange(5, 11, device=next(self.model.parameters()).device)[None] % self.config.vocab_size
        look = _Entrances(self)
        self.through(ids, look)
        name = type(self.model).__name__
        for layer, (hidden, keys, values) in enumerate(zip(look.hidden, look.keys, look.values, strict=True)):
            try:
                made = self.keys_values(layer, hidden)
            except (AttributeError, RuntimeError) as error:
                raise ModelError(f"the layers of {name} are built in a way that is not known here: {error}") from error
            off = max(float((a - b).abs().max()) for a, b in zip(made, (keys, values), strict=True))
            if off > TOLERANCE:
                raise ModelError(f"the layers of {name} make keys in a way that is not known here (off by {off:.1e})")

    @torch.no_grad()
    def _check(self) -> None:
        name = type(self.model).__name__
        check_sees_all(name, self.config)
        decoder = self.decoder[0]
        if not hasattr(decoder, "layers") or not hasattr(decoder, "rotary_emb"):
            raise ModelError(f"{name} has no rotary positions, so its keys cannot be moved; use a Llama, Qwen2.5, ...")
        ids = torch.arange(5, 11, device=next(self.model.parameters()).device)[None] % self.config.vocab_size
        try:
            ours, theirs = self.through(ids, Look(self)), self.logits(ids)
        except (KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise ModelError(f"the attention of {name} cannot be opened: {error}") from error
        off, allowed = _apart(ours, theirs), TOLERANCE
        if theirs.dtype.itemsize < 4:  # what rounding alone does: two of the model's own ways to attend differ as well
            ways = []
            for way in ("eager", "sdpa"):
                with _attention(self.config, way):
                    ways.append(self.logits(ids))
            allowed = min(LOOSEST, max(allowed, ROUNDING * _apart(*ways)))
        if off > allowed:
            raise ModelError(f"{name} attends in a way that is not known here (logits off by {off:.1e})")


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, halves paired as Llama pairs them; what the angles do not reach stays."""
    size = cos.shape[-1]
    part, rest = x[..., :size], x[..., size:]
    first, second = part.chunk(2, -1)
    done = part * cos + torch.cat([-second, first], -1) * sin
    return torch.cat([done, rest], -1) if rest.shape[-1] else done


def _looking(
    module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, scaling: float | None = None, **_: Any
) -> tuple[Tensor, None]:
    """What transformers calls in each layer."""
    scale = q.shape[-1] ** -0.5 if scaling is None else scaling
    return _LOOK.get().attend(int(module.layer_idx), q, k, v, scale).transpose(1, 2), None


def _register() -> None:
    try:
        from transformers import AttentionInterface
    except ImportError as error:
        raise ExtraMissingError("a memory around a pretrained model", "state") from error
    AttentionInterface.register(NAME, _looking)


def _apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, in parts of the largest number."""
    return float((a - b).abs().max().float() / b.abs().max().float().clamp_min(1e-6))


@contextmanager
def _attention(config: Any, name: str) -> Iterator[None]:
    """The model attends as transformers calls by this name."""
    before = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = before


def _pair(model: Any, tokenizer: Any) -> tuple[Any, Any]:
    if isinstance(model, (str, Path)):
        from slowwave.models.causal import load_causal

        return load_causal(model, purpose="a memory around a pretrained model", extra="state")
    return model if isinstance(model, tuple) else (model, tokenizer)


def _text_config(model: Any) -> Any:
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _entering(layer: int, _module: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
    look = _LOOK.get()
    return None if type(look).enter is Look.enter else (look.enter(layer, given[0]), *given[1:])


def _leaving(layer: int, _module: Any, _given: Any, out: Any) -> Any:
    look = _LOOK.get()
    if type(look).leave is Look.leave:
        return None
    return (look.leave(layer, out[0]), *out[1:]) if isinstance(out, tuple) else look.leave(layer, out)
