"""A pretrained model that stays as it is, behind the few calls that memories around it need.

Works with any causal model of transformers that takes `inputs_embeds`; transformers itself is not imported here. A
wrapper keeps one as `base_model`; its parameters are never saved with a state, and trained only on request.
"""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any, Self

import torch
from torch import Tensor, nn

from slowwave.errors import InputError, ModelError
from slowwave.models.causal import opening_of

SAMPLE = 4096  # numbers of each parameter that the fingerprint looks at, spread evenly


class Frozen(nn.Module):
    """A causal language model in evaluation mode, frozen unless it is to be trained together with a memory.

    model      of transformers, or anything with `get_input_embeddings()` and a forward that takes `inputs_embeds`,
               `attention_mask`, `output_hidden_states`, `past_key_values` and gives `logits` and `hidden_states`
    tokenizer  its fingerprint goes into saved states, so that ids cannot change their meaning
    frozen     False leaves the parameters to be trained, and `train` switches dropout on

    What is kept is a `view_of` the model: nothing that is done here changes the mode, the gradients or the
    configuration of what was given, and it may be called meanwhile, from another thread too.
    """

    def __init__(self, model: Any, tokenizer: Any = None, frozen: bool = True) -> None:
        super().__init__()
        if not hasattr(model, "get_input_embeddings"):
            raise InputError(f"{type(model).__name__} has no get_input_embeddings(); give a model of transformers")
        self.model = view_of(model, frozen)
        self.frozen = frozen
        self.tokenizer = tokenizer
        self._fingerprint: tuple[Any, str] = ((), "")

    def train(self, mode: bool = True) -> Self:
        """A frozen one stays in evaluation mode, so that nothing is dropped."""
        return super().train(mode and not self.frozen)

    @property
    def fingerprint(self) -> str:
        """Names this model with its tokenizer: configuration, an even sample of the weights, the vocabulary."""
        self._fingerprint = print_again(self._fingerprint, self.model, self.tokenizer)
        return self._fingerprint[1]

    @property
    def opening(self) -> list[int]:
        """What the tokenizer puts before every text, such as a beginning-of-sequence mark; often nothing."""
        return opening_of(self.tokenizer)

    @property
    def width(self) -> int:
        """Of the embeddings and hidden vectors."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def vocabulary(self) -> int:
        """How many token ids there are."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    @property
    def embedding_scale(self) -> float:
        """The root mean square of an embedding's numbers: the scale on which soft prompts should lie."""
        return float(self.model.get_input_embeddings().weight.detach().float().pow(2).mean().sqrt())

    def embed(self, ids: Tensor) -> Tensor:
        """(batch, time) -> (batch, time, width)."""
        found: Tensor = self.model.get_input_embeddings()(ids)
        return found

    def run(self, embeds: Tensor, mask: Tensor | None = None, **more: Any) -> Any:
        """The model on embeddings (batch, time, width); mask (batch, time), true where a token is there."""
        given = None if mask is None else mask.to(torch.int64)
        return self.model(inputs_embeds=embeds, attention_mask=given, use_cache=False, **more)

    def logits(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """(batch, time) -> (batch, time, vocabulary), with no memory at all."""
        found: Tensor = self.run(self.embed(ids), mask).logits
        return found


def check_sees_all(name: str, config: Any) -> None:
    """Whether every layer of a model attends to all that stands before a token.

    raises  ModelError where some see a window alone, or do not attend
    """
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    slides = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    if kinds != {"full_attention"} or slides:
        raise ModelError(
            f"{name} has layers of kind {', '.join(sorted(kinds))}, which do not see a whole memory; use a model "
            "whose layers all attend to everything (Llama, SmolLM2, Qwen2.5, ...)"
        )


def view_of(model: Any, frozen: bool = True) -> Any:
    """The same weights as another model, in evaluation mode: modules, hooks and configuration are its own.

    The numbers are not copied: what writes to the original's weights in place writes to these. What replaces a weight
    or a module of it afterwards (`model.to(...)` to another dtype or device, an adapter put in) is not seen here.

    frozen  whether the parameters are others, that take no gradient; else they are the original's own
    """
    shared: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for p in model.parameters():
        shared[id(p)] = nn.Parameter(p.detach(), requires_grad=False) if frozen and type(p) is nn.Parameter else p
    return copy.deepcopy(model, shared).eval()


def print_again(last: tuple[Any, str], model: Any, tokenizer: Any) -> tuple[Any, str]:
    """The fingerprint and what it was taken of; anew where a parameter was replaced or written to since `last`."""
    mark = tuple((id(p), 0 if p.is_inference() else p._version) for p in model.parameters())
    return last if last[0] == mark and last[1] else (mark, print_of(model, tokenizer))


def print_of(model: Any, tokenizer: Any) -> str:
    """A hash of the model's configuration, of what is looked at of its weights, and of how a text is read."""
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().flatten()
        taken = torch.cat([flat[:: max(1, -(-flat.numel() // SAMPLE))], flat[-1:]]).double().cpu().contiguous()
        digest.update(f"{name} {tuple(parameter.shape)}".encode() + taken.numpy().tobytes())
    config = getattr(model, "config", None)
    if config is not None and hasattr(config, "to_dict"):
        left_out = ("transformers_version", "dtype", "torch_dtype")
        shape = {k: v for k, v in config.to_dict().items() if not k.startswith("_") and k not in left_out}
        digest.update(json.dumps(shape, sort_keys=True, default=str).encode())
    if hasattr(tokenizer, "get_vocab"):
        vocabulary = tokenizer.get_vocab()
        digest.update(json.dumps(sorted(vocabulary.items(), key=lambda item: item[1])).encode())
    elif tokenizer is not None:
        digest.update(repr(list(tokenizer.encode("The year 2024, naïve Ängström\n[x] 日本 42!"))).encode())
    return digest.hexdigest()[:32]
