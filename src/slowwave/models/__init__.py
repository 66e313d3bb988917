"""What computes: embedders and language models, each behind a small protocol, each with a shipped fake."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from slowwave.errors import InputError
from slowwave.models.base import Embedder, FakeEmbedder
from slowwave.models.chat import ChatModel
from slowwave.models.llm import LLM

SPEC_HELP = (
    '"minilm" (comes with the install), a folder or file with an ONNX model, "hub:OWNER/NAME", "st:NAME" '
    '(sentence-transformers), "openai:MODEL" (any OpenAI-compatible endpoint), or "fake"'
)

LLM_HELP = (
    '"openai:MODEL" (any OpenAI-compatible endpoint), a GGUF file ("gguf:PATH" or a path ending in .gguf), "fake" or '
    '"fake:TROUBLE", "env" (what SLOWWAVE_LLM_MODEL names), any of these with models for single operations after it, '
    'as in "openai:large,facts=small.gguf"; a ChatModel, or an LLM with its budget'
)


def resolve_embedder(spec: str | Path | Embedder | None = None, threads: int | None = None) -> Embedder:
    """An embedder from what the user named; None reads SLOWWAVE_EMBED_MODEL, else takes the one that comes along.

    spec     see SPEC_HELP, or an object with name, dim and embed
    threads  for in-process models; None reads SLOWWAVE_EMBED_THREADS, else takes the cores there are
    """
    if spec is not None and not isinstance(spec, (str, Path)):
        if isinstance(spec, Embedder):
            return spec
        raise InputError(f"embedder is a {type(spec).__name__} without name, dim and embed; give {SPEC_HELP}")
    if threads is None and (given := os.environ.get("SLOWWAVE_EMBED_THREADS")):
        if not given.isdigit() or not int(given):
            raise InputError(f"SLOWWAVE_EMBED_THREADS is {given!r}; it must be a whole number above 0")
        threads = int(given)
    name = str(spec if spec is not None else os.environ.get("SLOWWAVE_EMBED_MODEL") or "minilm")
    kind, _, rest = name.partition(":")
    if kind in ("openai", "st", "hub") and not rest:
        raise InputError(f"embedder is {name!r}, without a model after the colon; give {SPEC_HELP}")
    if kind == "openai":
        from slowwave.models.remote import OpenAIEmbedder

        return OpenAIEmbedder(rest)
    if kind == "st":
        from slowwave.models.local import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(rest)
    if name == "fake":
        return FakeEmbedder()
    from slowwave.models.onnx import OnnxEmbedder

    if kind == "hub":
        from slowwave.models.local import from_hub

        return OnnxEmbedder(from_hub(rest), threads)
    return OnnxEmbedder(None if name == "minilm" else name, threads)


def resolve_llm(spec: str | Path | ChatModel | LLM | None = None) -> LLM | None:
    """A language model from what the user named, behind its budget; None stays None: no model is asked unasked.

    spec  see LLM_HELP

    SLOWWAVE_LLM_MODEL_<OPERATION> names the model of one operation where the spec does not, in any form that the spec
    may have; SLOWWAVE_LLM_MAX_CALLS, _MAX_TOKENS and _MAX_SECONDS set the budget. An LLM comes back as it is.
    """
    if spec is None or isinstance(spec, LLM):
        return spec
    if not isinstance(spec, (str, Path)):
        return LLM(spec, **_budget())
    from slowwave.models.naming import models_named

    models = models_named(spec)
    return LLM(models.pop(""), models, **_budget())


def _budget() -> dict[str, Any]:
    """The limits that the environment sets."""
    limits: dict[str, Any] = {}
    for name, kind in (("max_calls", int), ("max_tokens", int), ("max_seconds", float)):
        variable = f"SLOWWAVE_LLM_{name.upper()}"
        if given := os.environ.get(variable):
            try:
                limits[name] = kind(given)
            except ValueError:
                raise InputError(f"{variable} is {given!r}; it must be a number, 0 or above") from None
            if not limits[name] >= 0:
                raise InputError(f"{variable} is {given!r}; it must be a number, 0 or above")
    return limits


__all__ = ["LLM", "ChatModel", "Embedder", "FakeEmbedder", "resolve_embedder", "resolve_llm"]
