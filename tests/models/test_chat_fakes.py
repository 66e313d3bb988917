"""The fakes make the trouble that they are named after, and the shipped contract finds out models that break it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from slowwave.checks import CHAT_CHECKS, check_chat_model
from slowwave.models.chat import ChatModel, Message, Reply
from slowwave.models.fakes import NAMES, TROUBLEMAKERS, FakeChat, fake_invents, fake_slow, filled
from slowwave.models.llm import LLM, Prompt, array_of, choice, obj, text
from slowwave.models.oracle import Oracle

FACT = obj("", said_in={"type": "array", "items": choice(["1", "2"]), "minItems": 1}, fact=text(300), who=text(12))
FACTS = Prompt("facts", "Facts?", {"turns": ["I live in Porto."]}, array_of(FACT, "facts", 4))


def test_every_fake_says_that_it_is_one() -> None:
    assert FakeChat().name == "fake"
    for make in TROUBLEMAKERS.values():
        assert make().name.startswith("fake-")
        assert isinstance(make(), ChatModel)


@pytest.mark.parametrize(("trouble", "problem"), [("garbage", ""), ("refuses", "refused"), ("times-out", "no reply")])
def test_nothing_can_be_made_of_what_these_say(trouble: str, problem: str) -> None:
    llm = LLM(TROUBLEMAKERS[trouble](), retries=0)
    for number in range(20):
        answer = llm.ask(Prompt("facts", "Facts?", {"n": number}, FACTS.schema))
        assert not answer.ok
        assert answer.problem.startswith(problem)


def test_garbage_comes_in_several_kinds() -> None:
    llm = LLM(TROUBLEMAKERS["garbage"](), retries=0)
    problems = {
        llm.ask(Prompt("facts", "Facts?", {"n": number}, FACTS.schema)).problem.split(":")[0] for number in range(30)
    }
    assert problems >= {"not JSON", "does not fit the schema", "the reply is empty"}


def test_the_one_that_invents_fits_the_schema_names_valid_ids_and_says_what_nobody_said() -> None:
    answer = LLM(fake_invents()).ask(FACTS)
    assert answer.ok
    assert len(answer.value["items"]) == 3
    for item in answer.value["items"]:
        assert any(name in item["fact"] for name in NAMES)
        assert any(character.isdigit() for character in item["fact"])
        assert item["who"] in [name[:12] for name in NAMES]
    assert LLM(fake_invents()).ask(FACTS).value == answer.value


def test_the_slow_one_is_slow() -> None:
    start = time.perf_counter()
    assert LLM(fake_slow(0.05)).ask(FACTS).value == {"items": []}
    assert time.perf_counter() - start >= 0.05


def test_a_fake_says_what_it_is_told_in_turn_and_the_last_again() -> None:
    fake = FakeChat(["one", {"two": 2}, Reply("three", 5, 6)])
    said = [fake.chat([Message("user", "hi")]) for _ in range(4)]
    assert [reply.text for reply in said] == ["one", '{"two": 2}', "three", "three"]
    assert (said[2].tokens_in, said[2].tokens_out) == (5, 6)
    assert len(fake.asked) == 4
    cut = FakeChat(["word " * 100]).chat([Message("user", "hi")], max_tokens=5)
    assert (cut.finish, len(cut.text), cut.tokens_out) == ("length", 20, 5)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"type": ["string", "null"]}, "w"),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "number", "maximum": -1}, -1),
        ({"type": "boolean"}, False),
        ({"type": "string", "minLength": 3}, "wxx"),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 1}, ["a"]),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3}, ["a", "b", "a"]),
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "w"}),
    ],
)
def test_schemas_are_filled_within_their_limits(schema: dict[str, Any], value: Any) -> None:
    assert filled(schema, lambda most: "w", 2) == value


@pytest.mark.parametrize("check", CHAT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", [FakeChat, fake_invents], ids=["fake", "invents"])
def test_the_fakes_that_answer_pass_the_contract(
    check: Callable[[ChatModel], None], make: Callable[[], FakeChat]
) -> None:
    check(make())


class Faulty(FakeChat):
    """Breaks the contract in one way."""

    def __init__(self, fault: str) -> None:
        super().__init__(lambda messages, schema: filled(schema or {"type": "string"}, lambda most: "w", 2))
        self.fault = fault
        if fault == "context":
            self.context_tokens = 50
        if fault == "name":
            self.name = ""

    def chat(self, messages: Sequence[Message], **options: Any) -> Reply:
        reply = super().chat(messages, **options)
        if self.fault == "error" and any("\ud83d" in message.content for message in messages):
            raise KeyError("surrogate")
        changes: dict[str, dict[str, Any]] = {
            "schema": {"text": '{"city": "Rome"}'},
            "fickle": {"text": reply.text + " " * len(self.asked)},
            "tokens": {"tokens_in": 1},
            "endless": {"tokens_out": 9},
            "finish": {"finish": "stop", "text": "{", "tokens_out": 8} if options["max_tokens"] == 8 else {},
        }
        fields = {name: getattr(reply, name) for name in Reply.__slots__}
        return Reply(**fields | changes.get(self.fault, {}))

    def count_tokens(self, text: str) -> int:
        return 7 if self.fault == "count" else super().count_tokens(text)


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("name", "its_name_and_context_are_plain"),
        ("schema", "its_replies_fit_the_schema"),
        ("fickle", "equal_prompts_get_equal_replies"),
        ("count", "it_counts_tokens"),
        ("tokens", "it_counts_tokens"),
        ("endless", "a_long_reply_is_cut_off_and_says_so"),
        ("finish", "a_long_reply_is_cut_off_and_says_so"),
        ("error", "it_takes_any_text"),
        ("context", "a_prompt_beyond_the_context_is_a_model_error"),
    ],
)
def test_a_faulty_model_is_found_out(fault: str, check: str) -> None:
    with pytest.raises(AssertionError, match=f"^{check}: "):
        check_chat_model(Faulty(fault), show=lambda line: None)


def test_an_oracle_passes_what_applies_to_it() -> None:
    def truth(inputs: dict[str, Any]) -> Any:
        return {"city": "Lisbon"}

    lines: list[str] = []
    other = "it answers one schema, with its truth"
    check_chat_model(
        Oracle({"check": truth}),
        skip={"its_replies_fit_the_schema": other, "a_long_reply_is_cut_off_and_says_so": "it has no length"},
        show=lines.append,
    )
    assert len(lines) == len(CHAT_CHECKS)
    assert f"skipped  its_replies_fit_the_schema: {other}" in lines
    assert json.loads(Oracle({"check": truth}).chat(FACTS.messages(), schema={"title": "check"}).text) == truth({})
