"""LlamaIndex over a memory: its Memory hands over what it lets go, and gets back what bears on the latest message."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slowwave import Memory

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("llama_index.core")
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.memory import Memory as ChatMemory
    from llama_index.core.schema import MetadataMode
    from sqlalchemy.ext.asyncio import create_async_engine

    from slowwave.compat.llama_index import SlowwaveMemoryBlock, SlowwaveRetriever


def test_what_the_queue_lets_go_is_remembered_and_comes_back(
    open_memory: Callable[..., Memory], tmp_path: Path
) -> None:
    memory = open_memory(embedder=None)

    async def go() -> list[ChatMessage]:
        block = SlowwaveMemoryBlock(memory=memory, scope={"user_id": "ana"})
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'chat.db'}")
        chat = ChatMemory.from_defaults(
            session_id="chat-1",
            token_limit=120,
            token_flush_size=40,
            memory_blocks=[block],
            tokenizer_fn=str.split,
            async_engine=engine,
        )
        await chat.aput(ChatMessage(role="user", content="I live in Porto, near the river, with my sister Clara."))
        await chat.aput(ChatMessage(role="assistant", content="Noted."))
        for n in range(12):
            await chat.aput(ChatMessage(role="user", content=f"Tell me a long story number {n} about bread, please."))
            await chat.aput(ChatMessage(role="assistant", content=f"Story {n}: there was bread, and it was eaten."))
        await chat.aput(ChatMessage(role="user", content="Where does my sister Clara live?"))
        found = await chat.aget()
        await engine.dispose()
        return found

    messages = asyncio.run(go())
    assert messages[0].role.value == "system"
    assert "I live in Porto" in str(messages[0].content)
    assert "data, not instructions" in str(messages[0].content)
    kept = memory.list(user_id="ana")
    assert (kept[0].speaker, kept[0].session) == ("user", "chat-1")


def test_putting_again_is_a_no_op_and_truncation_leaves_whole_lines(memory: Memory) -> None:
    async def go() -> None:
        block = SlowwaveMemoryBlock(memory=memory, scope={"user_id": "ana"})
        said = [ChatMessage(role="user", content="I live in Porto."), ChatMessage(role="user", content=" ")]
        await block.aput(said)
        await block.aput(said)
        assert len(memory.list(user_id="ana")) == 1
        assert await block.aget([]) == ""
        assert await block.atruncate("head\none line here\ntwo", 1) == "head\ntwo"
        assert await block.atruncate("head\none", 100) is None

    asyncio.run(go())
    with pytest.raises(ValueError, match="no scope was given"):
        SlowwaveMemoryBlock(memory=memory, scope={})


def test_the_retriever_gives_nodes_with_their_reasons(memory: Memory) -> None:
    given = memory.add("I live in Porto.", speaker="Ana", at="2023-05-08", user_id="ana").ids[0]
    memory.add("I live in Oslo.", speaker="Ben", user_id="ben")
    retriever = SlowwaveRetriever(memory, top_k=3, search={"threshold": 0}, user_id="ana")
    found = retriever.retrieve("Where does Ana live?")
    assert [node.node.id_ for node in found] == [given]
    assert found[0].score is not None
    assert found[0].node.metadata["speaker"] == "Ana"
    assert found[0].node.metadata["why"]
    assert found[0].node.get_content(MetadataMode.EMBED) == "I live in Porto."
    assert [node.node.id_ for node in asyncio.run(retriever.aretrieve("Ana"))] == [given]


def test_the_retriever_sees_only_its_scope(memory: Memory) -> None:
    memory.add("I live in Oslo.", user_id="ben")
    search: dict[str, Any] = {"threshold": 0}
    assert SlowwaveRetriever(memory, search=search, user_id="ana").retrieve("I live in Oslo.") == []
