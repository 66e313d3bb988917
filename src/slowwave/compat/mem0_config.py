"""mem0's configuration read for what it means here, with a note on everything that means nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowwave.errors import InputError
from slowwave.ops.arguments import default_path
from slowwave.store import is_url

DATABASES = (".db", ".sqlite", ".sqlite3")
SERVERS = ("host", "url", "port", "connection_string")  # of a vector store
USED_EMBEDDER = ("model", "api_key", "openai_base_url", "ollama_base_url", "lmstudio_base_url", "embedding_dims")
UNUSED = {
    "llm": "no language model is called: messages are kept as they were said, and sleep() consolidates by rules",
    "reranker": "search ranks by meaning, words, speaker and time already; no reranker is loaded",
    "graph_store": "links between memories are kept in the same file; there is no graph database",
    "history_db_path": "the history is kept in the same file as the memories",
    "custom_instructions": "nothing is extracted by a prompt",
    "custom_fact_extraction_prompt": "nothing is extracted by a prompt",
    "custom_update_memory_prompt": "nothing is updated by a prompt",
    "version": "results have the shape of mem0's v1.1",
}


@dataclass(slots=True)
class Settings:
    """What `Memory` is opened with: a file, an embedder, and notes on what was not taken over."""

    path: str | Path
    embedder: Any = None
    notes: list[str] = field(default_factory=list)


def settings(config: Any = None) -> Settings:
    """mem0's config, as a dictionary or as its MemoryConfig object -> Settings.

    vector_store  its `path` says where the file lies (a folder gets COLLECTION.db; a .db file is taken as it is)
    embedder      huggingface, openai, ollama, lmstudio and mock are taken over; others give way to the default
    """
    given = _plain(config)
    out = Settings(default_path())
    for key, value in given.items():
        if key == "vector_store":
            _vector_store(_plain(value), out)
        elif key == "embedder":
            _embedder(_plain(value), out)
        elif key not in UNUSED:
            out.notes.append(f"{key}: not known here, ignored")
        elif value is not None:
            out.notes.append(f"{key}: {UNUSED[key]}")
    return out


def _plain(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return dict(config)
    if hasattr(config, "model_dump"):
        return dict(config.model_dump(exclude_unset=True))
    raise InputError(f"config is a {type(config).__name__}; give a dictionary as to mem0's from_config")


def _vector_store(given: Mapping[str, Any], out: Settings) -> None:
    config = _plain(given.get("config"))
    provider = given.get("provider")
    if provider is not None:
        out.notes.append(f"vector_store.provider {provider}: memories are kept in one SQLite file")
    path, collection = config.pop("path", None), str(config.pop("collection_name", None) or "mem0")
    if path == ":memory:":
        out.path = path
    elif path is not None:
        place = Path(str(path)).expanduser()
        out.path = place if place.suffix in DATABASES else place / f"{collection.replace('/', '_')}.db"
    elif collection != "mem0":
        home = default_path()
        out.path = home if is_url(home) else Path(home).with_name(f"{collection.replace('/', '_')}.db")
    if any(config.get(name) is not None for name in SERVERS):
        out.notes.append(f"vector_store: no server is asked; memories are kept in {out.path}")
    out.notes += [f"vector_store.config.{name}: ignored" for name in config if name not in SERVERS]


def _embedder(given: Mapping[str, Any], out: Settings) -> None:
    provider, config = given.get("provider"), _plain(given.get("config"))
    model = config.get("model")
    if provider == "mock":
        out.embedder = "fake"
    elif provider == "huggingface" and not config.get("huggingface_base_url"):
        out.embedder = f"st:{model or 'multi-qa-MiniLM-L6-cos-v1'}"
    elif provider in ("openai", "ollama", "lmstudio"):
        from slowwave.models.remote import OpenAIEmbedder

        base = {
            "openai": config.get("openai_base_url"),
            "ollama": f"{str(config.get('ollama_base_url') or 'http://localhost:11434').rstrip('/')}/v1",
            "lmstudio": config.get("lmstudio_base_url") or "http://localhost:1234/v1",
        }[provider]
        name = model or {"openai": "text-embedding-3-small", "ollama": "nomic-embed-text"}.get(provider, "default")
        out.embedder = OpenAIEmbedder(str(name), base, config.get("api_key"))
    else:
        out.notes.append(
            f"embedder.provider {provider}: not known here; the encoder that comes with the install is used"
        )
    out.notes += [f"embedder.config.{name}: ignored" for name in config if name not in USED_EMBEDDER]
