"""A pretrained model with a memory beside it, as one object: it reads texts, is asked, and its state is saved.

model = attach("smollm2-135m.gguf", "em-llm", local=512, sinks=16, retrieve=512, block=128)
model.write(novel)
print(model.generate("Question: Where did the cat vanish?\\nAnswer:"))
model.save("novel.state")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowwave.errors import InputError
from slowwave.state.attending import Attending
from slowwave.state.reader import Reader

Progress = Callable[[int, int], None]  # tokens read, of how many
CHUNK = 4096  # tokens between two words of progress


def attach(model: Any, system: str | type[Reader[Any]] = "em-llm", tokenizer: Any = None, **settings: Any) -> Attached:
    """A memory around a frozen model, from its beginning.

    model      a causal model of transformers, (model, tokenizer), or the path or name of one
    system     "em-llm", "memory-3", "memory-llm" or "m-plus", or a class of that kind
    tokenizer  for texts; without one only token ids are taken
    settings   of the system's constructor
    raises     InputError where the system stands around no model, or a setting is none of its own; ModelError where the
               model's attention cannot be opened
    """
    from slowwave.state import PLACES, SYSTEMS

    kind: Any = SYSTEMS[system] if isinstance(system, str) else system
    if not (isinstance(kind, type) and issubclass(kind, Reader)):
        fitting = [name for name in PLACES if issubclass(SYSTEMS[name], Reader)]
        raise InputError(f"{system!r} is no memory that a model can be given as it is; there are {', '.join(fitting)}")
    base = model if isinstance(model, Attending) else Attending(model, tokenizer)
    try:
        reader = kind(base, **settings)
    except TypeError as error:
        known = ", ".join(kind(base).settings())
        raise InputError(f"{kind.name} does not take these settings: {error}; it has {known}") from error
    most = getattr(base.config, "max_position_embeddings", None)
    if most is not None and reader.reach() > most:
        raise InputError(
            f"{kind.name} takes {reader.reach()} positions in these sizes and the model reads {most}; give smaller ones"
        )
    return Attached(reader)


class Attached:
    """A model and its memory; `state` is all that it remembers, a value that can be kept and put back.

    reader  the system around the model
    state   what it has read so far; None begins
    """

    def __init__(self, reader: Reader[Any], state: Any = None) -> None:
        self.reader = reader
        self.state = reader.init_state(1) if state is None else state

    def write(self, text: str | Sequence[int] | Tensor, progress: Progress | None = None) -> int:
        """Read a text, and remember it; how many tokens it had."""
        ids = self.encode(text)
        with torch.no_grad():
            for start in range(0, ids.shape[1], CHUNK):
                self.state = self.reader.write(ids[:, start : start + CHUNK], self.state)
                if progress is not None:
                    progress(min(start + CHUNK, ids.shape[1]), ids.shape[1])
        return int(ids.shape[1])

    def generate(
        self, prompt: str | Sequence[int] | Tensor, max_new_tokens: int = 32, stop: str = "\n", keep: bool = False
    ) -> str:
        """The likeliest words after a prompt that follows what was read, up to the end, `stop`, or so many tokens.

        keep  whether prompt and answer are remembered; else the state stays as it is
        """
        if max_new_tokens < 0:
            raise InputError(f"max_new_tokens is {max_new_tokens}; give how many there may be at most, 0 for none")
        ids = self.encode(prompt)
        said, after = self.reader.generate(ids, self.state, max_new_tokens, until=self._until(stop))
        if keep:
            self.state = after
        text = self.decode(said[0].tolist())
        return text.partition(stop)[0] if stop else text

    def logits(self, prompt: str | Sequence[int] | Tensor) -> Tensor:
        """(time, vocabulary): what is expected after each token of a prompt, read as `generate` reads it: with the
        memories that its last block calls for, and block by block, so that a long one takes no more at once."""
        ids = self.encode(prompt)
        with torch.no_grad():
            found: Tensor = self.reader._asked(ids, self.state)[0][0]
        return found

    def sleep(self, budget: int | None = None) -> None:
        """Consolidate, as the system does; `budget` in what it counts."""
        with torch.no_grad():
            self.state = self.reader.sleep(self.state, budget)

    def reset(self) -> None:
        """Remember nothing."""
        self.state = self.reader.init_state(1)

    def save(self, path: str | Path) -> None:
        """Keep the state; the model is not in it, only its fingerprint."""
        self.reader.save(self.state, path)

    def load(self, path: str | Path) -> None:
        """Go on from a state that was saved with the same model, system and settings.

        raises  FormatError where the file is no state; ModelMismatchError where it belongs to something else
        """
        self.state = self.reader.load(path)

    @property
    def tokens(self) -> int:
        """Read so far."""
        return int(self.state.seen[0])

    def encode(self, text: str | Sequence[int] | Tensor) -> Tensor:
        """(1, tokens)."""
        if isinstance(text, str):
            if self.reader.base_model.tokenizer is None:
                raise InputError(
                    "a text needs the model's tokenizer: attach(model, system, tokenizer=...); or give ids"
                )
            text = self.reader.base_model.tokenizer.encode(text, add_special_tokens=False)
        if isinstance(text, Tensor) and text.dtype.is_floating_point:
            raise InputError(f"ids are whole numbers; these are {text.dtype}")
        try:
            ids = torch.as_tensor(text, dtype=torch.int64, device=self.reader._device())
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"give a text, or the ids of one; this is {text!r:.60}") from error
        ids = ids[None] if ids.dim() == 1 else ids
        vocabulary = self.reader.base_model.vocabulary
        if (
            ids.dim() != 2
            or ids.shape[0] != 1
            or (ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < vocabulary)
        ):
            raise InputError(f"give one text, or its ids, each below {vocabulary}; this is {tuple(ids.shape)}")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        tokenizer = self.reader.base_model.tokenizer
        if tokenizer is None:
            raise InputError("words need the model's tokenizer: attach(model, system, tokenizer=...)")
        return str(tokenizer.decode(list(ids))) if len(ids) else ""

    def _until(self, stop: str) -> Callable[[list[int]], bool] | None:
        return (lambda said: stop in self.decode(said)) if stop else None
