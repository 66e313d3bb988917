"""States on disk: safetensors with a header that says whose they are, and a reader that refuses what does not fit."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowwave.errors import ExtraMissingError, FormatError, InputError, ModelMismatchError
from slowwave.state.values import State

SCHEMA = 1
HEADER = "slowwave"
CURES = {
    "system": "load it with that system",
    "schema": "it was written by another version of slowwave",
    "settings": "build the system with those settings",
    "weights": "load the weights it was made with first: a latent state means nothing to other ones",
    "base_model": "wrap the same model; a state cannot move to another: encode its source text again",
    "dtype": "convert the system to that dtype first",
}


Source = str | Sequence[str] | Sequence[int] | None
SHOWN = 60  # letters of a source that an error tells


def save(system: Any, state: State, path: str | Path, source: Source = None) -> None:
    """Write the state; the file appears whole or not at all.

    The header holds system, schema, settings, dtype, fingerprints of the system's weights and of a base model with its
    tokenizer, the batch, and the source.

    source  what the state was made of: a text, ids of records, or of tokens; another model has to read it anew
    """
    safetensors = _safetensors()
    leaves = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.leaves().items()}
    if not leaves:
        raise InputError(f"the state of {type(system).__name__} holds no tensor; there is nothing to save")
    header = {**header_of(system), "batch": state.batch, "source": _listed(source)}
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    safetensors.torch.save_file(leaves, str(temporary), metadata={HEADER: json.dumps(header, sort_keys=True)})
    os.replace(temporary, path)


def load(system: Any, path: str | Path) -> Any:
    """The state in the file, on the system's device.

    raises  FormatError where it is no state; ModelMismatchError where it belongs to another system, with the source
            that has to be encoded again where one was saved
    """
    path = Path(path)
    header, leaves = _opened(path, tensors=True)
    _refuse_others(path, header, header_of(system))
    fresh = system.init_state(int(header["batch"]))
    wanted = fresh.leaves()
    if set(wanted) != set(leaves):
        raise FormatError(f"{path} holds {sorted(leaves)}, this system's state {sorted(wanted)}")
    device = system._device()

    def place(name: str, fresh_leaf: Tensor) -> Tensor:
        found = leaves[name]
        if found.dtype != fresh_leaf.dtype or system._unlike(found, tuple(fresh_leaf.shape[1:])):
            raise FormatError(
                f"{name} in {path} is {tuple(found.shape)} {found.dtype}; this system's is "
                f"{tuple(fresh_leaf.shape)} {fresh_leaf.dtype}"
            )
        placed: Tensor = found.to(device)
        return placed

    return fresh.named_map(place)


def source_of(path: str | Path) -> str | list[str] | list[int] | None:
    """What a saved state was made of, as `save` was told: a text, ids of records or of tokens; None where it was not.

    raises  FormatError where the file is no state
    """
    found: str | list[str] | list[int] | None = _opened(Path(path), tensors=False)[0].get("source")
    return found


def _opened(path: Path, tensors: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header of a file, and its tensors where they are wanted."""
    if not path.is_file():
        raise InputError(f"there is no state at {path}; save one with system.save(state, path)")
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            leaves = {name: file.get_tensor(name) for name in (file.keys() if tensors else ())}
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise FormatError(f"{path} is not a state that slowwave wrote: {error}") from error
    if not isinstance(header, dict):
        raise FormatError(f"{path} is a safetensors file, but no state that slowwave wrote: it lacks the header")
    return header, leaves


def header_of(system: Any) -> dict[str, Any]:
    """What a file has to say of itself to be this system's."""
    return {
        "system": system.name or type(system).__name__,
        "schema": SCHEMA,
        "settings": json.loads(json.dumps(system.settings(), default=str, sort_keys=True)),
        "weights": fingerprint(system),
        "base_model": getattr(getattr(system, "base_model", None), "fingerprint", None),
        "dtype": str(system._dtype()).removeprefix("torch."),
    }


def fingerprint(module: nn.Module) -> str:
    """A hash of a module's parameters and buffers, by name; those of a frozen base model are not its own."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name.startswith("base_model."):
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        raw = tensor.detach().cpu().contiguous().flatten()
        digest.update(raw.view(torch.uint8).numpy().tobytes() if raw.numel() else b"")
    return digest.hexdigest()[:32]


def _refuse_others(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, cure in CURES.items():
        if found.get(key) != wanted[key]:
            was, now = found.get(key), wanted[key]
            if isinstance(was, dict) and isinstance(now, dict):
                differing = [name for name in {**was, **now} if was.get(name) != now.get(name)]
                was = {name: was.get(name) for name in differing}
                now = {name: now.get(name) for name in differing}
            source = found.get("source")
            kept = "" if source is None else f"; it was made of {_shown(source)}: read it with source_of({str(path)!r})"
            raise ModelMismatchError(f"the state in {path} has {key} {was}, this system has {now}; {cure}{kept}")


def _shown(source: str | list[Any]) -> str:
    """The beginning of a source."""
    told = source if isinstance(source, str) else ", ".join(map(str, source))
    return repr(told if len(told) <= SHOWN else f"{told[:SHOWN]}...")


def _listed(source: Source) -> str | list[Any] | None:
    """A source as JSON has it."""
    if source is None or isinstance(source, str):
        return source
    try:
        items = list(source)
    except TypeError:
        items = [None]
    if not all(isinstance(item, (str, int)) for item in items):
        raise InputError(f"source is {source!r:.60}; give a text, or ids of records or of tokens")
    return items


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise ExtraMissingError("saving a state", "state") from error
    return safetensors
