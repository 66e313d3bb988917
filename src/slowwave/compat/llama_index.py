"""LlamaIndex over a slowwave memory: a block of its `Memory` for the long term, and a retriever.

    block = SlowwaveMemoryBlock(memory=Memory("agent.db"), scope={"user_id": "ana"})
    chat = llama_index.core.memory.Memory.from_defaults(session_id="chat-1", memory_blocks=[block])
    retriever = SlowwaveRetriever(Memory("agent.db"), user_id="ana")

The block takes what the short-term queue lets go, word for word, and gives back what bears on the latest message,
within a budget of tokens. Adding the same message again is a no-op; nothing is ever dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from slowwave.compat.keyed import plain
from slowwave.errors import ExtraMissingError
from slowwave.records import Hit, Item, scope_of

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.bridge.pydantic import Field, field_validator
    from llama_index.core.memory import BaseMemoryBlock
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
except ImportError as missing:
    raise ExtraMissingError("slowwave.compat.llama_index", "llama-index") from missing


class SlowwaveMemoryBlock(BaseMemoryBlock[str]):
    """A block of LlamaIndex's Memory that remembers for good.

    memory      an open Memory or AsyncMemory
    scope       whose memory it is, such as {"user_id": "ana"}
    max_tokens  of what is given back at most
    look_back   latest messages whose words are the question
    """

    name: str = Field(default="slowwave")
    memory: Any = Field(exclude=True)
    scope: dict[str, str]
    max_tokens: int = 1000
    look_back: int = 2

    @field_validator("memory")
    @classmethod
    def _open(cls, value: Any) -> Any:
        return plain(value)

    @field_validator("scope")
    @classmethod
    def _named(cls, value: dict[str, str]) -> dict[str, str]:
        return scope_of(value).to_dict()

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        asked = [text for message in (messages or [])[-self.look_back :] if (text := (message.content or "").strip())]
        if not asked:
            return ""
        found = await asyncio.to_thread(self.memory.context, "\n".join(asked), max_tokens=self.max_tokens, **self.scope)
        return str(found) if found.hits else ""

    async def _aput(self, messages: list[ChatMessage]) -> None:
        items = [_item(message) for message in messages if (message.content or "").strip()]
        if items:
            await asyncio.to_thread(self.memory.add, items, **self.scope)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Leave out whole lines from the front, the heading aside, until so many tokens are gone."""
        head, *lines = content.splitlines()
        while lines and tokens_to_truncate > 0:
            tokens_to_truncate -= max(1, len(lines.pop(0)) // 4)
        return "\n".join([head, *lines]) if lines else None


class SlowwaveRetriever(BaseRetriever):
    """What a memory holds on a query, as nodes with scores, ids, times and the reason why.

    memory  an open Memory or AsyncMemory
    search  further arguments of `Memory.search`, such as {"kinds": ["fact"], "at": "2023-05-08"}
    """

    def __init__(self, memory: Any, *, top_k: int = 10, search: Mapping[str, Any] | None = None, **scope: str) -> None:
        self._memory, self._scope = plain(memory), scope_of(scope).to_dict()
        self._search = {"top_k": top_k, **(search or {})}
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return nodes(self._memory.search(query_bundle.query_str, **self._search, **self._scope))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def nodes(hits: Sequence[Hit]) -> list[NodeWithScore]:
    """Hits -> nodes; the id stays, the times, speaker, sources and why are metadata."""
    out = []
    for hit in hits:
        engram = hit.engram
        about = {
            "at": engram.at.isoformat(),
            "until": engram.until.isoformat() if engram.until else None,
            "kind": engram.kind,
            "speaker": engram.speaker,
            "sources": list(engram.sources),
            "why": hit.why,
        }
        node = TextNode(id_=engram.id, text=engram.text, metadata=about)
        node.excluded_llm_metadata_keys = ["sources", "why"]
        node.excluded_embed_metadata_keys = list(about)
        out.append(NodeWithScore(node=node, score=hit.score))
    return out


def _item(message: ChatMessage) -> Item:
    known = {name: value for name, value in message.additional_kwargs.items() if isinstance(value, (str, int, float))}
    session = str(known.pop("session_id", "")) or None
    role = message.role.value
    text = (message.content or "").replace("\0", "").strip()
    name = hashlib.sha256(f"{session}\0{role}\0{text}\0{sorted(known.items())}".encode()).hexdigest()[:24]
    return Item(text, speaker=role, session=session, origin=f"llama-index:{name}", attrs={"role": role, **known})
