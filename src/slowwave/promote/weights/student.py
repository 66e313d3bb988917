"""The model that learns: what a snapshot adds to it is put in, trained, and taken out again as a few tensors."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowwave.cloze.subject import Subject
from slowwave.errors import ExtraMissingError, FormatError, InputError, ModelMissingError
from slowwave.models.causal import load_causal
from slowwave.promote.weights.adapter import Adapter
from slowwave.promote.weights.snapshots import Snapshot
from slowwave.state.frozen import print_of
from slowwave.weights import adapters
from slowwave.weights.base import Method
from slowwave.weights.factorize_centralize import FactorizeCentralize
from slowwave.weights.learner import Learner
from slowwave.weights.model import named, train_only
from slowwave.weights.sparse_memory_finetuning import SparseMemoryFinetuning, add_memory, memory_of

PEFT, PLAIN = "adapter_model.safetensors", "weights.safetensors"
TRAINED = "trained_by_slowwave"  # of a model in memory: it is no longer the bare one


def _looked_for(adapter: Adapter, error: ModelMissingError) -> ModelMissingError:
    """The same error, with the folders in which a relative path was looked for."""
    if Path(adapter.model).expanduser().is_absolute():
        return error
    places = [place.resolve() for place in (adapter.beside, Path()) if place is not None]
    return ModelMissingError(f"{error} (looked for in {', then in '.join(map(str, dict.fromkeys(places)))})")


class Student:
    """A language model in float32 with its tokenizer, before or after a snapshot was put into it."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        if isinstance(adapter.model, (str, Path)):
            try:
                self.model, tokenizer = load_causal(adapter.model, purpose="sleep that trains", extra="weights")
            except ModelMissingError as error:
                raise _looked_for(adapter, error) from error
            name = Path(adapter.model).stem or str(adapter.model)
        elif isinstance(adapter.model, tuple) and len(adapter.model) == 2:
            self.model, tokenizer = adapter.model
            name = type(self.model).__name__
        else:
            raise InputError(
                f"model is a {type(adapter.model).__name__}; give a folder, a .gguf file, a name, or (model, tokenizer)"
            )
        self.subject = Subject(name, self.model, tokenizer)
        self.fingerprint = print_of(self.model, tokenizer)
        if hasattr(self.model, TRAINED):
            raise InputError("this model was trained by a night before, and is no longer the bare one; load it anew")
        self._stack: dict[str, Tensor] = {}  # the factors of nights that were added to the weights
        self._moved: set[str] = set()  # the parameters that nights before have changed, where all may be

    def prepare(self, parent: Snapshot | None, path: Path | None) -> list[Method]:
        """Put in what the method trains, as the parent snapshot left it; the methods that this takes."""
        given, kept = self.adapter, {} if path is None or parent is None else whole(parent, path)
        setattr(self.model, TRAINED, True)
        if given.kind == "lora":
            adapters.attach(self.model, given.rank, given.alpha, self._modules(), seed=given.seed)
            if kept and path is not None:
                put_lora(self.model, kept, _alpha(path))
            return []
        if given.kind == "stacked":
            if kept:
                add_stacked(self.model, kept)
                self._stack = kept
            return [Factors(self), FactorizeCentralize(given.rank, given.alpha, modules=tuple(self._modules()))]
        if given.kind == "memory":
            memory = add_memory(self.model, given.slots, generator=torch.Generator().manual_seed(given.seed))
            if kept:
                memory.take(kept)
            return [SparseMemoryFinetuning(given.slots, train=given.train, batch=1)]
        _put_plain(self.model, kept)
        self._moved = set(kept)
        chosen = named(self.model, given.modules) if given.modules else [n for n, _ in self.model.named_parameters()]
        train_only(self.model, chosen)
        return []

    def _modules(self) -> list[str]:
        return list(self.adapter.modules)

    def tensors(self) -> dict[str, Tensor]:
        """What a snapshot has to hold."""
        kind = self.adapter.kind
        if kind == "lora":
            return {
                f"{path}.lora_{part}.weight": getattr(layer, f"lora_{part}")["default"].weight.detach().clone()
                for path, layer in adapters.layers_of(self.model).items()
                for part in "AB"
            }
        if kind == "stacked":
            return dict(self._stack)
        if kind == "memory":
            memory = memory_of(self.model)
            assert memory is not None
            return {name: value.detach().clone() for name, value in memory.state_dict().items()}
        return {n: p.detach().clone() for n, p in self.model.named_parameters() if p.requires_grad or n in self._moved}

    def stack(self, factors: Mapping[str, Tensor]) -> None:
        """Add the factors of a night to those before it: their products add up."""
        for name, value in factors.items():
            before = self._stack.get(name)
            side = 0 if name.endswith("lora_A.weight") else 1
            self._stack[name] = value if before is None else torch.cat([before, value], side)

    def write(self, folder: Path, as_kind: str = "") -> str:
        """Keep what was trained in a folder; returns its hash.

        as_kind  of the files, where it was trained as another: a stack of adapters as one
        """
        from safetensors.torch import save_file

        found = {name: value.contiguous() for name, value in self.tensors().items()}
        if self.adapter.kind in ("lora", "stacked"):
            rank = next(v.shape[0] for n, v in found.items() if n.endswith("lora_A.weight"))
            alpha = self.adapter.alpha if (as_kind or self.adapter.kind) == "lora" else float(rank)
            layers = sorted({n.rpartition(".lora_")[0] for n in found})
            self._config(rank, alpha, layers).save_pretrained(folder)
            save_file({f"base_model.model.{name}": value for name, value in found.items()}, folder / PEFT)
        else:
            save_file(found, folder / PLAIN)
        from slowwave.weights.snapshot import digest

        return digest(found)

    def _config(self, rank: int, alpha: float, layers: list[str]) -> Any:
        try:
            from peft import LoraConfig
        except ImportError as error:
            raise ExtraMissingError("a low-rank adapter", "weights") from error
        named_ = str(self.adapter.model) if isinstance(self.adapter.model, (str, Path)) else None
        return LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=layers, base_model_name_or_path=named_, task_type="CAUSAL_LM"
        )


class Factors(Method):
    """Keeps the factors of a night's adapter before it is added to the weights."""

    name = "factors"

    def __init__(self, student: Student) -> None:
        self.student = student

    def sleep(self, learner: Learner, day: Any) -> Mapping[str, float]:
        found = {}
        for path, layer in adapters.layers_of(learner.model).items():
            found[f"{path}.lora_A.weight"] = layer.lora_A["default"].weight.detach().clone()
            scale = float(layer.scaling["default"])
            found[f"{path}.lora_B.weight"] = scale * layer.lora_B["default"].weight.detach().clone()
        self.student.stack(found)
        return {}


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a snapshot's folder.

    raises  FormatError where the file is missing or damaged
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = next((path / name for name in (PEFT, PLAIN) if (path / name).is_file()), None)
    if file is None:
        raise FormatError(f"{path} holds neither {PEFT} nor {PLAIN}; roll back to another snapshot")
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{file} cannot be read ({error}); roll back to another snapshot") from error
    return {name.removeprefix("base_model.model."): value for name, value in found.items()}


def whole(snapshot: Snapshot, path: Path) -> dict[str, Tensor]:
    """The same, where they are those that the snapshot names by its hash.

    raises  FormatError
    """
    from slowwave.weights.snapshot import digest

    found = tensors_of(path)
    if digest(found) != snapshot.hash:
        raise FormatError(f"the weights in {path} are not those that {snapshot.id} names; roll back to another")
    return found


def _alpha(path: Path) -> float:
    """Of the adapter in a snapshot's folder."""
    try:
        return float(json.loads((path / "adapter_config.json").read_text("utf-8"))["lora_alpha"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FormatError(f"{path / 'adapter_config.json'} cannot be read; roll back to another snapshot") from error


def put_lora(model: nn.Module, kept: Mapping[str, Tensor], alpha: float) -> None:
    """Set the factors of an attached adapter, which were trained at this alpha."""
    layers = adapters.layers_of(model)
    for layer in layers.values():
        if layer.lora_alpha["default"] != alpha:
            now = layer.lora_alpha["default"]
            raise InputError(f"the snapshot's adapter has alpha {alpha:g} and this one {now:g}; use that")
    wanted = {f"{path}.lora_{part}.weight" for path in layers for part in "AB"}
    if wanted != set(kept):
        odd = sorted(wanted ^ set(kept))[0]
        raise InputError(f"the snapshot's adapter sits on other layers ({odd}); use the modules it was made with")
    with torch.no_grad():
        for path, layer in layers.items():
            for part in "AB":
                weight, value = getattr(layer, f"lora_{part}")["default"].weight, kept[f"{path}.lora_{part}.weight"]
                if weight.shape != value.shape:
                    raise InputError(
                        f"the snapshot's adapter has rank {min(value.shape)} and this one {min(weight.shape)}; use that"
                    )
                weight.copy_(value)


def add_stacked(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    """Add the product of factors to the weights."""
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name, a in kept.items():
            if name.endswith("lora_A.weight"):
                path = name.removesuffix(".lora_A.weight")
                layer = modules[path]
                assert isinstance(layer, nn.Linear)
                layer.weight += kept[f"{path}.lora_B.weight"] @ a


def _put_plain(model: nn.Module, kept: Mapping[str, Tensor]) -> None:
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in kept.items():
            if name not in own or own[name].shape != value.shape:
                raise InputError(f"the snapshot changes {name} {tuple(value.shape)}, which this model has not")
            own[name].copy_(value)


def with_snapshot(model: nn.Module, snapshot: Snapshot, path: Path) -> Any:
    """The model with a snapshot in it: a PeftModel for low-rank ones, else the model itself, changed in place."""
    kept = whole(snapshot, path)
    if snapshot.kind in ("lora", "stacked"):
        from peft import PeftModel

        with warnings.catch_warnings():  # what peft calls and transformers is about to rename
            warnings.simplefilter("ignore", FutureWarning)
            return PeftModel.from_pretrained(model, str(path)).eval()
    if snapshot.kind == "memory":
        add_memory(model, len(kept["values"])).take(kept)
    else:
        _put_plain(model, kept)
    return model.eval()
