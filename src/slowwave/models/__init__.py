"""What computes: embedders (and, with the extra `llm`, language models), each behind a small protocol."""

from __future__ import annotations

import os
from pathlib import Path

from slowwave.errors import InputError
from slowwave.models.base import Embedder, FakeEmbedder
from slowwave.models.chat import ChatModel
from slowwave.models.llm import LLM

SPEC_HELP = (
    '"minilm" (comes with the install), a folder or file with an ONNX model, "hub:OWNER/NAME", "st:NAME" '
    '(sentence-transformers), "openai:MODEL" (any OpenAI-compatible endpoint), or "fake"'
)

LLM_HELP = (
    '"openai:MODEL" (any OpenAI-compatible endpoint), a GGUF file, "fake", a ChatModel, or an LLM with its budget'
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


def resolve_llm(spec: str | ChatModel | LLM | None = None) -> LLM | None:
    """A language model from what the user named, behind its budget; None stays None. See LLM_HELP."""
    if spec is None or isinstance(spec, LLM):
        return spec
    if isinstance(spec, str):
        raise InputError(f"llm is {spec!r}; give {LLM_HELP}")
    return LLM(spec)


__all__ = ["LLM", "ChatModel", "Embedder", "FakeEmbedder", "resolve_embedder", "resolve_llm"]
