"""Causal language models as transformers loads them, for what has to see inside: probes, state, promotion, training.

Whoever only wants words from a model takes `models.chat`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.errors import ExtraMissingError, ModelError, ModelMissingError


def load_causal(place: str | Path, *, attention: str = "sdpa", purpose: str, extra: str) -> tuple[Any, Any]:
    """(model, tokenizer) from a folder, a .gguf file or an OWNER/NAME, in float32, in evaluation mode.

    attention  "eager" where attention weights are to be read
    purpose    what it is for, and the `extra` that brings what is missing: for the error
    raises     ModelMissingError, ModelError, ExtraMissingError
    """
    try:
        import torch
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise ExtraMissingError(purpose, extra) from error

    path = Path(place).expanduser()
    given: dict[str, Any] = {}
    where = str(place)
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelMissingError(f"no file {path}; give a GGUF file, a folder with a model, or a name")
        given, where = {"gguf_file": path.name}, str(path.parent)
    elif path.exists():
        where = str(path)
        if not (path / "config.json").is_file():
            inside = ", ".join(sorted(file.name for file in path.glob("*.gguf"))[:3])
            named = f"; name the file in it: {inside}" if inside else "; give a folder with a model or a .gguf file"
            raise ModelMissingError(f"{path} holds no model: it has no config.json{named}")
    elif "/" not in str(place):
        raise ModelMissingError(f"no folder {path}, and {place} is no OWNER/NAME; give a folder or a .gguf file")
    with quiet():
        try:
            with _read_once() if given else contextlib.nullcontext():
                tokenizer = AutoTokenizer.from_pretrained(where, **given)
                model = AutoModelForCausalLM.from_pretrained(
                    where, dtype=torch.float32, attn_implementation=attention, **given
                )
        except (*_BROKEN, SafetensorError) as error:
            told = str(error).partition("\n")[0] or type(error).__name__
            raise ModelError(f"{place} could not be loaded: {told}; is it a whole causal language model?") from error
    return model.eval(), tokenizer


def opening_of(tokenizer: Any) -> list[int]:
    """The tokens that a tokenizer puts before every text, such as a beginning-of-sequence mark; often none."""
    try:
        whole = list(tokenizer.encode("a", add_special_tokens=True))
        bare = list(tokenizer.encode("a", add_special_tokens=False))
    except (AttributeError, TypeError):
        return []
    many = len(whole) - len(bare)
    return [int(i) for i in whole[:many]] if many > 0 and whole[many:] == bare else []


# What a file that is no model, or not all of it, makes the readers raise.
_BROKEN = (OSError, ValueError, LookupError, ImportError, EOFError, RuntimeError, TypeError, struct.error)


@cache
def gguf_reader() -> Any:
    """gguf's reader on a plain view of the file: slices of a memory map cost ten times as much."""
    import gguf

    class Plain(gguf.GGUFReader):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, value: Any) -> None:
            self._plain = np.asarray(value)

    return Plain


@contextlib.contextmanager
def _read_once() -> Iterator[None]:
    """A GGUF file's header parsed once and from a plain array.

    transformers parses it three times over, through slices of a memory map, and makes the table of names anew for every
    module: a minute for a model of 135M parameters, of which five seconds are needed.
    """
    import gguf

    before = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(gguf_reader()), cache(gguf.get_tensor_name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = before


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and notices of the libraries."""
    from transformers.utils import logging as theirs

    before = theirs.get_verbosity()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        theirs.set_verbosity(before)
        theirs.enable_progress_bar()


def fake_causal(layers: int = 2, seed: int = 0, **settings: Any) -> tuple[Any, FakeByteTokenizer]:
    """A Llama of random weights, large ones so that every token matters, and a tokenizer of bytes: for tests.

    settings  of its LlamaConfig
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    given = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, **settings}
    config = LlamaConfig(
        vocab_size=256,
        num_hidden_layers=layers,
        initializer_range=0.3,
        max_position_embeddings=1024,
        eos_token_id=None,
        **given,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval(), FakeByteTokenizer()


class FakeByteTokenizer:
    """Every byte is a token."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """The bytes."""
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of bytes; what is no UTF-8 becomes a mark."""
        return bytes(ids).decode("utf-8", "replace")
