"""Low-rank adapters by peft: put in, read out as dense changes, folded into the weights, kept in peft's own files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowwave.errors import ExtraMissingError, InputError, NotFoundError


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ExtraMissingError("a low-rank adapter", "weights") from error
    return peft


def _inject(config: Any, model: nn.Module, name: str) -> None:
    """Without the notice that peft calls what transformers is about to rename."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        _peft().inject_adapter_in_model(config, model, adapter_name=name)


def linear_layers(model: nn.Module) -> list[str]:
    """The paths of all linear layers but the output head."""
    names = [name for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    inner = [name for name in names if name.rsplit(".", 1)[-1] not in ("head", "lm_head", "embed_out")]
    return inner or names


def attach(
    model: nn.Module, rank: int = 8, alpha: float = 16.0, modules: Sequence[str] = (), name: str = "default",
    seed: int = 0,
) -> list[str]:  # fmt: skip
    """Put a LoRA adapter into a model, in place; only it is trained from then on. Returns the layers that it sits on.

    modules  paths or last names of layers; () all linear ones but the head
    """
    peft = _peft()
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(modules) or linear_layers(model))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            _inject(config, model, name)
        except ValueError as error:
            raise InputError(
                f"an adapter cannot sit on {', '.join(modules)} of a {type(model).__name__}: {error}"
            ) from error
    if not layers_of(model):
        raise InputError(f"the adapter found none of {list(modules)} in a {type(model).__name__}")
    for path, parameter in model.named_parameters():
        parameter.requires_grad_(f"lora_A.{name}." in path or f"lora_B.{name}." in path)
    return list(layers_of(model))


def layers_of(model: nn.Module) -> dict[str, Any]:
    """The layers that carry an adapter, by path."""
    from peft.tuners.lora import LoraLayer

    return {path: m for path, m in model.named_modules() if isinstance(m, LoraLayer)}


def changes(model: nn.Module, name: str = "default") -> dict[str, Tensor]:
    """What an adapter adds to each weight: s * B @ A, dense, by layer.

    raises  InputError for a kind of adapter whose change is not that product alone
    """
    out = {}
    for path, layer in layers_of(model).items():
        if getattr(layer, "use_dora", {}).get(name) or getattr(layer, "lora_bias", {}).get(name):
            raise InputError(f"the adapter on {path} is no plain LoRA (DoRA, or with biases); it cannot be summed")
        a, b = layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach()
        out[path] = float(layer.scaling[name]) * (b @ a)
    return out


def fold(model: nn.Module, change: Mapping[str, Tensor], factor: float = 1.0) -> None:
    """Add changes to the weights beneath the adapters."""
    found = layers_of(model)
    with torch.no_grad():
        for path, part in change.items():
            found[path].base_layer.weight += factor * part


def restart(model: nn.Module, generator: torch.Generator, name: str = "default") -> list[nn.Parameter]:
    """A fresh adapter in place of what it was: A drawn anew, B zero, so that it changes nothing.

    Returns both factors of each layer, of which an optimiser may hold moments.
    """
    factors: list[nn.Parameter] = []
    with torch.no_grad():
        for layer in layers_of(model).values():
            a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
            bound = 1 / math.sqrt(a.shape[1])
            a.copy_(torch.empty_like(a).uniform_(-bound, bound, generator=generator))
            b.zero_()
            factors += [a, b]
    return factors


def rescale(model: nn.Module, factor: float, name: str = "default") -> None:
    """Let an adapter count for so much of what it was trained to; may be swept after training, at no cost."""
    for layer in layers_of(model).values():
        layer.set_scale(name, factor)


def ties(parts: Sequence[Mapping[str, Tensor]], keep: float = 0.2) -> dict[str, Tensor]:
    """Changes merged by TIES (Yadav et al. 2023): of each the largest share, then the sign with more weight behind it,
    then the mean of those that agree.
    """
    out = {}
    for name in parts[0]:
        rows = torch.stack([part[name] for part in parts])
        flat = rows.flatten(1)
        least = flat.abs().kthvalue(max(1, int((1 - keep) * flat.shape[1])), dim=1).values
        kept = torch.where(flat.abs() > least[:, None], flat, torch.zeros(()))
        agree = torch.sign(kept) == torch.sign(kept.sum(0))
        chosen = kept * agree
        out[name] = (chosen.sum(0) / (chosen != 0).sum(0).clamp_min(1)).view_as(parts[0][name])
    return out


def write_peft(model: nn.Module, folder: str | Path, name: str = "default") -> None:
    """Keep an adapter in the two files that PeftModel.from_pretrained reads."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    config: Any = model.peft_config[name]  # type: ignore[index]
    kept = get_peft_model_state_dict(model, adapter_name=name)
    save_file({f"base_model.model.{key}" if not key.startswith("base_model.") else key: value.contiguous()
               for key, value in kept.items()}, place / "adapter_model.safetensors")  # fmt: skip
    config.save_pretrained(place)


def read_peft(model: nn.Module, folder: str | Path, name: str = "default") -> list[str]:
    """Put an adapter that peft wrote into a model; returns the layers that it sits on.

    raises  NotFoundError, InputError where keys are missing: an adapter that loads in part is none
    """
    peft = _peft()
    from safetensors.torch import load_file

    place = Path(folder)
    if not (place / "adapter_config.json").is_file():
        raise NotFoundError(f"no adapter_config.json in {place}; give a folder that peft wrote")
    config = peft.LoraConfig.from_pretrained(str(place))
    _inject(config, model, name)
    kept = {k.removeprefix("base_model.model."): v for k, v in load_file(place / "adapter_model.safetensors").items()}
    own = peft.get_peft_model_state_dict(model, adapter_name=name)
    lacking, foreign = sorted(set(own) - set(kept)), sorted(set(kept) - set(own))
    if lacking or foreign:
        first = (lacking or foreign)[0]
        raise InputError(
            f"the adapter in {place} does not fit: {len(lacking)} keys lack, {len(foreign)} foreign: {first}"
        )
    peft.set_peft_model_state_dict(model, kept, adapter_name=name)
    return list(layers_of(model))
