"""Taps on a model: read, replace or add at a layer, a site and chosen positions, with plain torch hooks.

Sites, all of shape (batch, time, ...):
    block      what a layer hands on, the residual stream after it             (..., width)
    heads      what the heads give to the output projection, side by side      (..., heads * head_dim)
    mlp        the hidden units of the feed-forward part, after its gate        (..., hidden)
    attention  the attention weights, to be read alone; the model must be loaded with attention="eager"
               (batch, heads, time, time)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from torch import Tensor, nn

from slowwave.errors import InputError

Site = Literal["block", "heads", "mlp", "attention"]
Edit = Callable[[Tensor], Tensor]
_BLOCKS = ("model.layers", "transformer.h", "gpt_neox.layers", "model.decoder.layers", "blocks")
_ATTENTION = ("self_attn", "attn", "attention")
_OUT = ("o_proj", "out_proj", "c_proj", "dense", "out")
_DOWN = ("down_proj", "c_proj", "fc2", "dense_4h_to_h", "fc_out", "down")


@dataclass(frozen=True)
class Anatomy:
    """Where the parts of a decoder lie.

    blocks     the layers, first to last
    attention  their attention modules; `out` the output projections, `down` the feed-forward's last projections
    heads      query heads a layer, and the width of one
    """

    blocks: tuple[nn.Module, ...]
    attention: tuple[nn.Module, ...]
    out: tuple[nn.Module, ...]
    down: tuple[nn.Module, ...]
    heads: int
    head_dim: int
    width: int


def anatomy(model: nn.Module) -> Anatomy:
    """The parts of a model of a known make; InputError names what was looked for where none fits."""
    for path in _BLOCKS:
        found = _at(model, path)
        if isinstance(found, nn.ModuleList) and len(found):
            blocks = tuple(found)
            break
    else:
        raise InputError(f"{type(model).__name__} has no layers at any of {', '.join(_BLOCKS)}")
    attention = tuple(_child(block, _ATTENTION) for block in blocks)
    mlp = [_child(block, ("mlp", "feed_forward", "ffn")) for block in blocks]
    out = tuple(_child(part, _OUT) for part in attention)
    down = tuple(_child(part, _DOWN) for part in mlp)
    config = getattr(model, "config", model)
    heads = int(getattr(config, "num_attention_heads", 0) or getattr(config, "heads", 0))
    width = int(getattr(config, "hidden_size", 0) or getattr(config, "width", 0))
    head_dim = int(getattr(config, "head_dim", 0) or width // heads)
    return Anatomy(blocks, attention, out, down, heads, head_dim, width)


class _EnoughError(Exception):
    """Raised in a hook to end a pass; never leaves `Taps.run`."""


class Taps:
    """Hooks on a model that are gone when the block is left, whatever happens in it.

    Example, on a loaded Subject:

        with Taps(subject.model) as taps:
            taps.read(9, "block")
            subject.logits(ids)
            stream = taps.seen[9, "block"]        # (batch, time, width)
    """

    def __init__(self, model: nn.Module) -> None:
        self.anatomy = anatomy(model)
        self.seen: dict[tuple[int, Site], Tensor] = {}
        self._handles: list[Any] = []

    def __enter__(self) -> Taps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take every hook away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def read(self, layer: int, site: Site = "block", take: Callable[[Tensor], Any] | None = None) -> None:
        """Keep what passes in `seen[layer, site]`, from each forward pass the latest; or hand it to `take`."""

        def keep(value: Tensor) -> None:
            if take is None:
                self.seen[layer, site] = value.detach()
            else:
                take(value.detach())

        if site == "attention":
            self._handles.append(self._part(layer, site).register_forward_hook(lambda m, a, out: keep(_weights(out))))
        else:
            self._hook(layer, site, lambda value: keep(value))

    def stop_after(self, layer: int) -> None:
        """Let passes that go through `run` end after this layer: what follows it is not worked out."""

        def stop(module: nn.Module, args: Any, out: Any) -> None:
            raise _EnoughError

        self._handles.append(self._part(layer, "block").register_forward_hook(stop))

    def run(self, forward: Callable[[Tensor], Any], ids: Tensor) -> None:
        """One pass for what it shows at the taps; ended early where `stop_after` says so."""
        with contextlib.suppress(_EnoughError):
            forward(ids)

    def edit(self, layer: int, site: Site, change: Edit) -> None:
        """Put `change(value)` in the place of what passes."""
        if site == "attention":
            raise InputError("attention weights can be read, not changed: change what the heads give, at site 'heads'")
        self._hook(layer, site, change)

    def replace(self, layer: int, site: Site, value: Tensor, positions: Sequence[int] | None = None) -> None:
        """Put a value in place at some positions (all where None); it broadcasts over the batch."""

        def change(old: Tensor) -> Tensor:
            new = old.clone()
            if positions is None:
                new[:] = value
            else:
                new[:, list(positions)] = value
            return new

        self.edit(layer, site, change)

    def add(self, layer: int, site: Site, value: Tensor, positions: Sequence[int] | None = None) -> None:
        """Add a value at some positions (all where None); it broadcasts over the batch."""

        def change(old: Tensor) -> Tensor:
            new = old.clone()
            if positions is None:
                new += value
            else:
                new[:, list(positions)] += value
            return new

        self.edit(layer, site, change)

    def _part(self, layer: int, site: Site) -> nn.Module:
        parts = self.anatomy
        if not -len(parts.blocks) <= layer < len(parts.blocks):
            raise InputError(f"layer is {layer}; this model has layers 0 to {len(parts.blocks) - 1}")
        table = {"block": parts.blocks, "heads": parts.out, "mlp": parts.down, "attention": parts.attention}
        return table[site][layer]

    def _hook(self, layer: int, site: Site, change: Callable[[Tensor], Tensor | None]) -> None:
        part = self._part(layer, site)
        if site == "block":  # a tuple in older transformers, a bare tensor in newer ones: hand back the same kind

            def after(module: nn.Module, args: Any, out: Any) -> Any:
                value = out[0] if isinstance(out, tuple) else out
                new = change(value)
                if new is None:
                    return None
                return (new, *out[1:]) if isinstance(out, tuple) else new

            self._handles.append(part.register_forward_hook(after))
        else:

            def before(module: nn.Module, args: tuple[Any, ...]) -> Any:
                new = change(args[0])
                return None if new is None else (new, *args[1:])

            self._handles.append(part.register_forward_pre_hook(before))


def _weights(out: Any) -> Tensor:
    found = out[1] if isinstance(out, tuple) and len(out) > 1 else None
    if not isinstance(found, Tensor):
        raise InputError('this model gives no attention weights; load it with attention="eager"')
    return found


def _at(module: nn.Module, path: str) -> Any:
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
        if found is None:
            return None
    return found


def _child(module: nn.Module, names: Sequence[str]) -> nn.Module:
    for name in names:
        found = getattr(module, name, None)
        if isinstance(found, nn.Module):
            return found
    raise InputError(f"{type(module).__name__} has none of {', '.join(names)}")
