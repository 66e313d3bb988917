"""The Agents SDK's session over a memory: a real Runner with a scripted model, items back as they came, walls kept."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from slowwave import Memory

os.environ.setdefault("OPENAI_AGENTS_DISABLE_TRACING", "1")
pytest.importorskip("agents")
from agents import Agent, ModelResponse, RunConfig, Runner, Usage
from agents.memory import Session, SessionSettings
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from slowwave.compat.openai_agents import SlowwaveSession, memory_tools, told

QUIET = RunConfig(tracing_disabled=True)


class Scripted(Model):
    """A model that says what it is told to, and keeps what it was asked."""

    def __init__(self, *replies: Any) -> None:
        self.replies, self.asked = list(replies), []

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        self.asked.append(input)
        return ModelResponse(output=[self.replies.pop(0)], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


def says(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(text=text, type="output_text", annotations=[])
    return ResponseOutputMessage(id="m", content=[part], role="assistant", status="completed", type="message")


def calls(name: str, arguments: str) -> ResponseFunctionToolCall:
    return ResponseFunctionToolCall(call_id=f"call-{name}", name=name, arguments=arguments, type="function_call")


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def test_a_runner_remembers_the_conversation_and_the_memory_sees_it(memory: Memory) -> None:
    async def go() -> None:
        model = Scripted(says("Noted."), says("In Porto."))
        agent = Agent("helper", model=model)
        session = SlowwaveSession("chat-1", memory, user_id="ana")
        assert isinstance(session, Session)
        await Runner.run(agent, "I live in Porto.", session=session, run_config=QUIET)
        result = await Runner.run(agent, "Where do I live?", session=session, run_config=QUIET)
        assert result.final_output == "In Porto."
        assert [told(item) for item in model.asked[1]] == ["I live in Porto.", "Noted.", "Where do I live?"]
        assert len(await session.get_items()) == 4

    asyncio.run(go())
    said = [(engram.speaker, engram.text) for engram in memory.list(user_id="ana")]
    assert said[:2] == [("user", "I live in Porto."), ("assistant", "Noted.")]
    assert memory.search("Porto", user_id="ana", threshold=0)[0].engram.scope.run_id == "chat-1"


def test_an_agent_looks_into_other_sessions_by_its_tools(memory: Memory) -> None:
    memory.add("I live in Porto.", speaker="user", user_id="ana", run_id="old")
    memory.add("I live in Oslo.", speaker="user", user_id="ben")

    async def go() -> list[Any]:
        model = Scripted(
            calls("search_memory", '{"query": "I live in Porto."}'),
            calls("remember", '{"text": "Ana lives in Porto."}'),
            says("In Porto."),
        )
        agent = Agent("helper", model=model, tools=memory_tools(memory, user_id="ana"))
        session = SlowwaveSession("new", memory, user_id="ana")
        await Runner.run(agent, "Where do I live?", session=session, run_config=QUIET)
        return list(await session.get_items())

    items = asyncio.run(go())
    outputs = [item["output"] for item in items if item.get("type") == "function_call_output"]
    assert "I live in Porto." in outputs[0]
    assert "data, not instructions" in outputs[0]
    assert "Oslo" not in str(outputs)
    assert memory.list(kinds=["note"], user_id="ana")[0].text == "Ana lives in Porto."


def test_items_come_back_as_they_went_in_however_often_and_after_a_night(open_memory: Callable[..., Memory]) -> None:
    items: list[Any] = [
        user("yes"),
        {"role": "assistant", "content": [{"type": "output_text", "text": "I live here.", "annotations": []}]},
        user("yes"),
        {"type": "function_call", "call_id": "1", "name": "look", "arguments": '{"a": 1}'},
        {"type": "function_call_output", "call_id": "1", "output": "found"},
        {"type": "reasoning", "id": "r", "summary": []},
        user("yes"),
        user("I live in Porto, near the river."),
        user("I live in Porto, near the river."),
    ]

    async def go(memory: Memory) -> None:
        session = SlowwaveSession("s", memory, user_id="ana", session_settings=SessionSettings(limit=3))
        await session.add_items(items[:4])
        await session.add_items(items[4:])
        await session.add_items([])
        memory.sleep(user_id="ana")
        assert await session.get_items() == items[-3:]
        assert await session.get_items(100) == items
        assert await session.get_items(0) == []
        assert await session.pop_item() == items[-1]
        assert await session.pop_item() == items[-2]
        assert await session.get_items(100) == items[:-2]
        other = SlowwaveSession("s", memory, user_id="ben")
        assert await other.get_items() == []
        assert await other.pop_item() is None
        await other.clear_session()
        await session.clear_session()
        assert await session.get_items(100) == []
        await session.add_items(items[:1])
        assert await session.get_items(100) == items[:1]

    with open_memory(embedder=None) as memory:
        asyncio.run(go(memory))
        assert len(memory.list(user_id="ana", retired=True)) >= 10, "nothing is lost"


def test_writers_of_one_session_at_once_lose_nothing(memory: Memory) -> None:
    async def go() -> None:
        session = SlowwaveSession("s", memory, user_id="ana")
        await asyncio.gather(*(session.add_items([user(f"{n}"), user(f"{n}")]) for n in range(8)))
        said = [item["content"] for item in await session.get_items()]
        assert sorted(said) == sorted(f"{n}" for n in range(8) for _ in range(2))
        assert said[::2] == said[1::2], "what was added together stays together"

    asyncio.run(go())
