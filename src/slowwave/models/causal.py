"""Causal language models as transformers loads them, for what has to see inside: probes, state, promotion, training.

Whoever only wants words from a model takes `models.chat`.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slowwave.errors import ExtraMissingError, ModelError, ModelMissingError


def load_causal(place: str | Path, *, attention: str = "sdpa", purpose: str, extra: str) -> tuple[Any, Any]:
    """(model, tokenizer) from a folder, a .gguf file or an OWNER/NAME, in float32, in evaluation mode.

    attention  "eager" where attention weights are to be read
    purpose    what it is for, and the `extra` that brings what is missing: for the error
    raises     ModelMissingError, ModelError, ExtraMissingError
    """
    try:
        import torch
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
    elif "/" not in str(place):
        raise ModelMissingError(f"no folder {path}, and {place} is no OWNER/NAME; give a folder or a .gguf file")
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(where, **given)
            model = AutoModelForCausalLM.from_pretrained(
                where, dtype=torch.float32, attn_implementation=attention, **given
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise ModelError(f"{place} could not be loaded: {error}") from error
    return model.eval(), tokenizer


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
