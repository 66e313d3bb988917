"""A block: the keys and values of one text at every layer, before rotation, and the file it is kept in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowwave.errors import ExtraMissingError, FormatError, InputError
from slowwave.promote.files import HEADER
from slowwave.promote.projecting import Projections
from slowwave.state.kernels.sparse import strongest

CHUNK = 128  # tokens of a reference in Memory^3
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Block:
    """Keys and values of one text.

    keys, values  (layers, kv heads, kept, dim), keys before rotation
    places        (layers, kv heads, kept) int32: where in the text each kept token stands, rising
    length        tokens of the whole text
    engrams       ids of the records it was made from
    """

    keys: Tensor
    values: Tensor
    places: Tensor
    length: int
    engrams: tuple[str, ...]

    @property
    def kept(self) -> int:
        """Tokens that are kept, for each layer and head."""
        return int(self.keys.shape[2])

    @property
    def bytes(self) -> int:
        """Of keys and values."""
        return self.keys.nbytes + self.values.nbytes


def made(layers: Sequence[Projections], engrams: Sequence[str], keep: int | None, dtype: str) -> Block:
    """A block of what a model made of a text.

    keep   tokens kept of each 128, for each layer and kv head those that draw most attention; None keeps all
    dtype  of DTYPES

    Source: Memory^3 (Yang et al. 2024, arXiv 2407.01178, section 3): the weight of token j is the sum over i of
    exp(q_i . k_j / sqrt(dim)), without causal mask and without positions; 8 of 128 stay. Differs: all layers and not
    the first half, since a model that was not trained with memory needs them; the first token of a text is not
    excluded, since blocks here begin after a prefix that is kept whole; a kv head's queries are summed over its group.
    """
    time, heads = layers[0].k.shape[1], layers[0].k.shape[0]
    keys, values = (torch.stack([getattr(layer, part) for layer in layers]).to(DTYPES[dtype]).cpu() for part in "kv")
    everywhere = torch.arange(time, dtype=torch.int32).expand(len(layers), heads, -1).contiguous()
    block = Block(keys.contiguous(), values.contiguous(), everywhere, time, tuple(engrams))
    return (
        block
        if keep is None
        else thinned(block, torch.stack([strongest(layer.q, layer.k, keep, CHUNK) for layer in layers]).cpu())
    )


def thinned(block: Block, places: Tensor) -> Block:
    """What stands at these places (layers, kv heads, kept), which rise, of a block that has them all."""
    index = places.to(torch.int64)[..., None].expand(-1, -1, -1, block.keys.shape[-1])
    keys, values = block.keys.gather(2, index), block.values.gather(2, index)
    return replace(block, keys=keys, values=values, places=places.to(torch.int32).contiguous())


def write(block: Block, path: Path, header: Mapping[str, Any]) -> None:
    """Keep a block; the file appears whole or not at all."""
    save_file = _safetensors().torch.save_file
    path.parent.mkdir(parents=True, exist_ok=True)
    told = json.dumps({**header, "engrams": list(block.engrams), "length": block.length}, sort_keys=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        save_file(
            {"keys": block.keys, "values": block.values, "places": block.places},
            str(temporary),
            metadata={HEADER: told},
        )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path, header: Mapping[str, Any]) -> Block:
    """The block in a file, its tensors mapped and not copied.

    raises  FormatError where it is none, or another than the header says
    """
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            said = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in ("keys", "values", "places")}
        block = Block(**tensors, length=int(said["length"]), engrams=tuple(said["engrams"]))
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is no key/value block: {error}; delete it, it is made again when needed") from error
    if other := [name for name in header if said.get(name) != header[name]]:
        raise FormatError(
            f"{path} has other {', '.join(other)} than asked for; delete it, it is made again when needed"
        )
    return block


def dtype_named(dtype: str) -> str:
    """The name itself.

    raises  InputError for one that is not in DTYPES
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}; give one of {', '.join(DTYPES)}")
    return dtype


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise ExtraMissingError("keeping key/value blocks", "state") from error
    return safetensors
