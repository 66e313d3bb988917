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
from slowwave.state.files import Source, source_of
from slowwave.state.reader import Reader

Progress = Callable[[int, int], None]  # tokens read, of how many
CHUNK = 4096  # tokens between two words of progress


def attach(
    model: Any,
    system: str | type[Reader[Any]] = "em-llm",
    tokenizer: Any = None,
    keep_source: bool = False,
    **settings: Any,
) -> Attached:
    """A memory around a frozen model, from its beginning.

    model      a causal model of transformers, (model, tokenizer), or the path or name of one
    system     "em-llm", "memory-3", "memory-llm" or "m-plus", or a class of that kind
    tokenizer  for texts; without one only token ids are taken
    keep_source  keep what is read, and save it beside the state: another model has to read it anew
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
    return Attached(reader, keep_source=keep_source)


class Attached:
    """A model and its memory; `state` is all that it remembers, a value that can be kept and put back.

    reader  the system around the model
    state   what it has read so far; None begins
    keep_source  keep the tokens of what is read, too

    `ids` are these tokens, None where they are not kept.
    """

    def __init__(self, reader: Reader[Any], state: Any = None, keep_source: bool = False) -> None:
        self.reader = reader
        self.ids: list[int] | None = [] if keep_source else None
        self.state = reader.init_state(1) if state is None else state

    def write(self, text: str | Sequence[int] | Tensor, progress: Progress | None = None) -> int:
        """Read a text, and remember it; how many tokens were read."""
        ids = self.encode(text)
        with torch.no_grad():
            for start in range(0, ids.shape[1], CHUNK):
                self.state = self.reader.write(ids[:, start : start + CHUNK], self.state)
                self._note(ids[0, start : start + CHUNK].tolist())
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
            self._note([*ids[0].tolist(), *said[0].tolist()])
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
        self.ids = None if self.ids is None else []

    def save(self, path: str | Path, source: Source = None) -> None:
        """Keep the state; the model is not in it, only its fingerprint.

        source  what it was made of: a text, or ids of records; None is what was read, where that is kept
        """
        self.reader.save(self.state, path, self.source() if source is None else source)

    def source(self) -> str | list[int] | None:
        """What was read, where it is kept: the text, or without a tokenizer its ids."""
        if self.ids is None or self.reader.base_model.tokenizer is None:
            return self.ids
        before = self.reader.base_model.opening
        return self.decode(self.ids[len(before) :] if self.ids[: len(before)] == before else self.ids)

    def load(self, path: str | Path) -> None:
        """Go on from a state that was saved with the same model, system and settings.

        raises  FormatError where the file is no state; ModelMismatchError where it belongs to something else
        """
        self.state = self.reader.load(path)
        if self.ids is not None:
            found = source_of(path)
            self.ids = [] if found is None else self._again(found)

    @property
    def tokens(self) -> int:
        """Read so far."""
        return int(self.state.seen[0])

    def encode(self, text: str | Sequence[int] | Tensor) -> Tensor:
        """(1, tokens); of a text that begins the stream, with what the tokenizer puts before every text."""
        if isinstance(text, str):
            if self.reader.base_model.tokenizer is None:
                raise InputError(
                    "a text needs the model's tokenizer: attach(model, system, tokenizer=...); or give ids"
                )
            said = list(self.reader.base_model.tokenizer.encode(text, add_special_tokens=False))
            text = [*(() if self.tokens or not said else self.reader.base_model.opening), *said]
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

    def _note(self, ids: list[int]) -> None:
        if self.ids is not None:
            self.ids += ids

    def _again(self, source: str | list[str] | list[int]) -> list[int]:
        """The tokens of a source that was saved; none of ids of records."""
        base = self.reader.base_model
        if isinstance(source, str):
            return [*base.opening, *base.tokenizer.encode(source, add_special_tokens=False)] if base.tokenizer else []
        return [item for item in source if isinstance(item, int)]

    def _until(self, stop: str) -> Callable[[list[int]], bool] | None:
        return (lambda said: stop in self.decode(said)) if stop else None
