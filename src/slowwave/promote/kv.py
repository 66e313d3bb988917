"""Text -> state: records as keys and values that a model attends to, encoded once instead of read in every prompt.

    kv = KeyValues.load("model.gguf", folder="ana.db.kv")
    attended = kv.attend(engrams)              # blocks from the folder, or made and kept
    print(attended.generate("Where does Ana live? Answer: "))

Every text is encoded behind one short opening, which stands first in every composition and takes the attention that
models give to their first tokens. `joint=True` encodes the whole selection as one text: exactly what a prompt of the
same tokens would be. Otherwise each record is a block of its own that no other record was read before: reusable in any
selection, and an approximation wherever a model has more than one layer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowwave.errors import FormatError, InputError, ModelError
from slowwave.ops.packing import OPENING, line
from slowwave.promote.block import CHUNK, Block, dtype_named, made, read, write
from slowwave.promote.files import JOINT, SUFFIX, drop
from slowwave.promote.projecting import Projecting
from slowwave.records import Engram

SCHEMA = 1


def told(engram: Engram) -> str:
    """A record as the model reads it: as in a prompt, without its id, which the block carries instead."""
    return line(engram).removesuffix(f" ({engram.id})") + "\n"


class KeyValues:
    """Key/value memories for one model.

    model    a causal language model of transformers and its tokenizer, or a `Projecting`
    folder   where blocks are kept; None keeps them in this object alone
    keep     tokens kept of each 128, as Memory^3 chooses them (it keeps 8); None keeps all
    dtype    of what is kept: "float16", "bfloat16" or "float32"
    opening  what stands before every memory

    raises   ModelError where the model's keys cannot be moved

    Source: Memory^3 (Yang et al. 2024) for sparsifying; Prompt Cache (Gim et al. 2024) for blocks that do not see each
    other. Differs: keys are kept before rotation and put at the positions that they would have in one prompt.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        folder: str | Path | None = None,
        keep: int | None = None,
        dtype: str = "float16",
        opening: str = OPENING + "\n",
    ) -> None:
        if keep is not None and (keep != int(keep) or not 1 <= keep <= CHUNK):
            raise InputError(f"keep is {keep!r}; give 1 to {CHUNK} tokens of each {CHUNK}, or None for all")
        if not isinstance(model, Projecting) and tokenizer is None:
            raise InputError("a model needs its tokenizer: KeyValues(model, tokenizer), or KeyValues.load(path)")
        self.frozen = model if isinstance(model, Projecting) else Projecting(model, tokenizer)
        self.folder = None if folder is None else Path(folder)
        self.keep = keep
        self.dtype = dtype_named(dtype)
        self.opening = opening
        self._kept: dict[str, Block] = {}
        if not opening or not self.frozen.encode(opening):
            raise InputError("the opening has no tokens; give a few words")
        self._opened = (self.frozen.fingerprint, self._open())

    @classmethod
    def load(cls, place: str | Path, **options: Any) -> KeyValues:
        """For the model in a folder, in a .gguf file or of a name."""
        return cls(Projecting.load(place), **options)

    @property
    def _opening(self) -> Block:
        """The opening's block; made anew where the model was trained since."""
        now = self.frozen.fingerprint
        if self._opened[0] != now:
            self._opened = (now, self._open())
        return self._opened[1]

    def _open(self) -> Block:
        return made(self.frozen.project(self._ids_before()), (), None, "float32")

    def _ids_before(self) -> list[int]:
        """What stands before all memories: what the tokenizer puts before every text, and the opening."""
        return [*self.frozen.opening, *self.frozen.encode(self.opening)]

    def ids(self, engrams: Sequence[Engram]) -> list[int]:
        """The tokens of a prompt that says the same: the opening, then each record."""
        return [*self._ids_before(), *(i for engram in engrams for i in self.frozen.encode(told(engram)))]

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.frozen.encode(text))

    def attend(self, engrams: Sequence[Engram], *, joint: bool = False) -> Attended:
        """Records as one state to go on from, in the order given.

        joint  encode them as one text: exact, and reusable only for this very selection
        raises ModelError where they are longer than the model reads
        """
        blocks = [self.block(engrams)] if joint and engrams else [self.block([engram]) for engram in engrams]
        return self.compose(blocks)

    def block(self, engrams: Sequence[Engram]) -> Block:
        """The block of these records as one text: from the folder, or made now and kept."""
        texts = [told(engram) for engram in engrams]
        header = self._header(texts)
        key = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:24]
        name = f"{engrams[0].id if len(engrams) == 1 else JOINT}-{key}{SUFFIX}"
        if name in self._kept:
            return self._kept[name]
        if self.folder is not None:
            with suppress(FormatError):
                return read(self.folder / name, header)
        ids = [i for text in texts for i in self.frozen.encode(text)]
        start = self._opening.length
        self._fits(start + len(ids))
        block = made(
            self.frozen.project(ids, self.compose([]).cache(), start), [e.id for e in engrams], self.keep, self.dtype
        )
        if self.folder is None:
            self._kept[name] = block
        else:
            write(block, self.folder / name, header)
        return block

    def compose(self, blocks: Sequence[Block]) -> Attended:
        """Blocks one after another behind the opening, each token at the position it would have in one prompt."""
        parts = [self._opening, *blocks]
        starts = [sum(part.length for part in parts[:n]) for n in range(len(parts) + 1)]
        self._fits(starts[-1])
        device, dtype = self.frozen.model.device, self.frozen.model.dtype
        keys, values = [], []
        for layer in range(self.frozen.layers):
            turned = [
                self.frozen.rotate(
                    part.keys[layer].to(device, dtype), (part.places[layer] + start).to(device, torch.int64)
                )
                for part, start in zip(parts, starts, strict=False)
            ]
            keys.append(torch.cat(turned, 1)[None])
            values.append(torch.cat([part.values[layer].to(device, dtype) for part in parts], 1)[None])
        return Attended(
            self.frozen, tuple(keys), tuple(values), starts[-1], tuple(i for b in blocks for i in b.engrams)
        )

    def drop(self, engrams: Collection[str]) -> int:
        """Let go of every block made from one of these records; how many there were."""
        mine = [name for name, block in self._kept.items() if not set(engrams).isdisjoint(block.engrams)]
        for name in mine:
            del self._kept[name]
        return len(mine) + drop(self.folder, engrams)

    def _header(self, texts: Sequence[str]) -> Mapping[str, Any]:
        return {
            "schema": SCHEMA,
            "model": self.frozen.fingerprint,
            "opening": self.opening,
            "texts": hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest(),
            "keep": self.keep,
            "dtype": self.dtype,
        }

    def _fits(self, tokens: int) -> None:
        most = self.frozen.longest
        if most is not None and tokens > most:
            raise ModelError(f"the memories take {tokens} tokens and the model reads {most}; choose fewer of them")


@dataclass(frozen=True, slots=True)
class Attended:
    """Memories as a model attends to them; never changed by what is asked of it.

    keys, values  for each layer (1, kv heads, kept, dim), rotated
    length        tokens they stand for, and the position where a prompt goes on
    engrams       ids of the records in them
    """

    frozen: Projecting
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    length: int
    engrams: tuple[str, ...]

    @property
    def kept(self) -> int:
        """Tokens that are attended to, for each layer and head; fewer than `length` where they were sparsified."""
        return int(self.keys[0].shape[2])

    @property
    def bytes(self) -> int:
        """In RAM."""
        return sum(t.nbytes for t in (*self.keys, *self.values))

    def cache(self) -> Any:
        """A transformers cache with these memories in it; give it to the model with `position_ids` from `length` on."""
        cache = self.frozen.empty_cache()
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            cache.update(keys, values, layer)
        return cache

    def logits(self, prompt: str | Sequence[int]) -> Tensor:
        """(time, vocabulary) float32: what the model expects after each token of a prompt that follows the memories."""
        return self.frozen.forward(self._tokens(prompt), self.cache(), self.length)

    def generate(self, prompt: str | Sequence[int], max_new_tokens: int = 32, stop: str = "\n") -> str:
        """The likeliest words after a prompt that follows the memories, up to the end, `stop`, or so many tokens."""
        if max_new_tokens < 0:
            raise InputError(f"max_new_tokens is {max_new_tokens}; give how many there may be at most, 0 for none")
        ids, cache, place = self._tokens(prompt, max_new_tokens), self.cache(), self.length
        ends = self.frozen.model.generation_config.eos_token_id if self.frozen.model.generation_config else None
        ends = set(ends) if isinstance(ends, list) else {ends}
        said: list[int] = []
        for _ in range(max_new_tokens):
            logits = self.frozen.forward(ids, cache, place)
            place += len(ids)
            ids = [int(logits[-1].argmax())]
            if ids[0] in ends:
                break
            said.append(ids[0])
            text = str(self.frozen.tokenizer.decode(said))
            if stop and stop in text:
                return text.partition(stop)[0]
        return str(self.frozen.tokenizer.decode(said)) if said else ""

    def _tokens(self, prompt: str | Sequence[int], more: int = 0) -> list[int]:
        ids = self.frozen.encode(prompt) if isinstance(prompt, str) else list(prompt)
        if not ids:
            raise InputError("the prompt has no tokens; ask something")
        most, last = self.frozen.longest, self.length + len(ids) + max(0, more - 1)  # the last that is said is not read
        if most is not None and last > most:
            answer = f" and an answer of up to {more}" if more else ""
            raise ModelError(
                f"{self.length} tokens of memories, a prompt of {len(ids)}{answer} are more than the {most} that the "
                "model reads; choose fewer memories or ask for less"
            )
        return ids
