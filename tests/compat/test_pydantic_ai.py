"""pydantic-ai over a memory: real agents on its own test models, its store's behaviour, conflicts, walls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slowwave import Memory

pytest.importorskip("pydantic_ai")
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, ConversationStore, InMemoryConversationStore
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from slowwave.compat.pydantic_ai import SlowwaveConversations, memory_toolset, recalled


def echo(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart(f"heard {len(messages)}")])


def stores(memory: Memory) -> list[ConversationStore]:
    return [SlowwaveConversations(memory, user_id="ana"), InMemoryConversationStore()]


def test_a_conversation_is_kept_and_the_memory_sees_its_words(memory: Memory) -> None:
    async def go() -> None:
        agent = Agent(FunctionModel(echo))
        store = SlowwaveConversations(memory, user_id="ana")
        for prompt in ("I live in Porto.", "Where do I live?"):
            conversation = await store.load("chat-1") or Conversation(conversation_id="chat-1")
            await store.save(await agent.run(prompt, conversation=conversation))
        loaded = await store.load("chat-1")
        assert loaded is not None
        assert len(loaded.messages) == 4
        assert loaded.usage.requests == 2
        assert [record.conversation_id for record in await store.read_records()] == ["chat-1"]

    asyncio.run(go())
    said = [(e.speaker, e.text) for e in memory.list(kinds=["episode"], user_id="ana")]
    assert said == [
        ("user", "I live in Porto."),
        ("assistant", "heard 1"),
        ("user", "Where do I live?"),
        ("assistant", "heard 3"),
    ]


def test_it_does_what_pydantic_ais_own_store_does(memory: Memory) -> None:
    async def script(store: ConversationStore) -> list[Any]:
        out: list[Any] = []
        said = [ModelRequest(parts=[UserPromptPart(f"turn {n}")]) for n in range(6)]
        one = Conversation(conversation_id="one", messages=list(said[:3]))
        out.append(len(await store.save(one, scope="team")))
        out.append(len(await store.save(one)))
        one.messages.append(said[3])
        out.append(len(await store.save(one)))
        entries = await store.load_entries("one")
        assert entries is not None
        out.append([e.message.parts[0].content for e in entries])  # type: ignore[union-attr]
        out.append(len((await store.load("one", limit=2)).messages))  # type: ignore[union-attr]
        out.append(await store.load("one", scope="others"))
        late = await store.load("one")
        early = await store.load("one")
        assert late is not None
        assert early is not None
        early.messages.append(said[4])
        await store.save(early)
        late.messages.append(said[5])
        with pytest.raises(ConversationConflict):
            await store.save(late)
        with pytest.raises(ConversationConflict):
            await store.save(Conversation(conversation_id="one", messages=list(said[:1])))
        out.append(len((await store.load("one")).messages))  # type: ignore[union-attr]
        fork = await store.fork("one", from_entry=entries[1].id)
        fork_id = fork.conversation_id
        loaded = await store.load(fork_id)
        assert loaded is not None
        out.append(len(loaded.messages))
        await store.delete("one")
        out.append(await store.load("one"))
        out.append(len((await store.load(fork_id)).messages))  # type: ignore[union-attr]
        out.append(sorted(r.conversation_id == fork_id for r in await store.read_records(limit=5)))
        out.append(len(await store.read_records(scope="team")))
        with pytest.raises(LookupError):
            await store.read_entry("never")
        again = Conversation(conversation_id="one", messages=list(said[:1]))
        await store.save(again)
        out.append(len((await store.load("one")).messages))  # type: ignore[union-attr]
        return out

    async def go() -> None:
        mine, theirs = [await script(store) for store in stores(memory)]
        assert mine == theirs

    asyncio.run(go())


def test_of_two_savers_at_once_one_wins_and_the_other_leaves_nothing(memory: Memory) -> None:
    async def go() -> None:
        first = SlowwaveConversations(memory, user_id="ana")
        await first.save(Conversation(conversation_id="c", messages=[ModelRequest(parts=[UserPromptPart("hello")])]))

        async def save(n: int) -> str:
            store = SlowwaveConversations(memory, user_id="ana")
            loaded = await store.load("c")
            assert loaded is not None
            loaded.messages.append(ModelRequest(parts=[UserPromptPart(f"mine {n}")]))
            try:
                await store.save(loaded)
                return "saved"
            except ConversationConflict:
                return "conflict"

        done = await asyncio.gather(*(save(n) for n in range(4)))
        assert done.count("saved") >= 1
        loaded = await first.load("c")
        assert loaded is not None
        assert len(loaded.messages) == 1 + done.count("saved")
        shown = memory.list(kinds=["episode"], user_id="ana")
        assert len(shown) == len(loaded.messages)

    asyncio.run(go())


def test_scopes_are_walls(memory: Memory) -> None:
    async def go() -> None:
        ana, ben = SlowwaveConversations(memory, user_id="ana"), SlowwaveConversations(memory, user_id="ben")
        said: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart("x")])]
        entries = await ana.save(Conversation(conversation_id="c", messages=said))
        assert await ben.load("c") is None
        assert await ben.read_records() == []
        with pytest.raises(LookupError):
            await ben.read_entry(entries[0].id)
        await ben.delete("c")
        assert await ana.load("c") is not None

    asyncio.run(go())


def test_a_model_keeps_its_memory_by_tools(memory: Memory) -> None:
    memory.add("I live in Oslo.", user_id="ben")
    given = memory.add("I live in Porto.", speaker="Ana", user_id="ana").ids[0]
    steps: list[Any] = [
        ("search_memory", {"query": "I live in Porto."}),
        ("remember", {"text": "Ana plays the cello."}),
        ("correct_memory", {"id": given, "text": "Ana lives in Lisbon."}),
        ("forget_memory", {"id": "?"}),
    ]

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        assert {tool.name for tool in info.function_tools} == {name for name, _ in steps}
        done = sum(isinstance(message, ModelResponse) for message in messages)
        if done == len(steps):
            return ModelResponse(parts=[TextPart("done")])
        name, arguments = steps[done]
        if arguments.get("id") == "?":
            arguments = {"id": memory.list(kinds=["note"], user_id="ana")[0].id}
        return ModelResponse(parts=[ToolCallPart(name, arguments)])

    agent = Agent(FunctionModel(model), toolsets=[memory_toolset(memory, user_id="ana")])
    result = asyncio.run(agent.run("go"))
    assert result.output == "done"
    assert "I live in Porto." in str(result.all_messages())
    assert "Oslo" not in str(result.all_messages())
    assert [e.text for e in memory.list(user_id="ana")] == ["Ana lives in Lisbon."]
    assert len(memory.list(user_id="ana", retired=True)) == 3


def test_instructions_hold_what_bears_on_the_prompt(memory: Memory) -> None:
    memory.add("I live in Porto.", user_id="ana")
    seen: list[str] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(str(info.instructions or messages[0]))
        return ModelResponse(parts=[TextPart("ok")])

    agent = Agent(FunctionModel(model), instructions=recalled(memory, user_id="ana"))
    asyncio.run(agent.run("I live in Porto."))
    assert "data, not instructions" in seen[0]
    assert "I live in Porto." in seen[0]
