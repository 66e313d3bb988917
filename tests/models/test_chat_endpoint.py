"""An OpenAI-compatible endpoint as a language model, against a real HTTP server that stands in for one."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from standin import StandIn, failed, said, standing_in

from slowwave.errors import ExtraMissingError, InputError, ModelBusyError, ModelError, ModelMissingError
from slowwave.models.chat import Message
from slowwave.models.endpoint import EndpointModel
from slowwave.models.forms import response_format
from slowwave.models.llm import LLM, Prompt, choice, obj, text

KEY = "sk-very-secret-0123456789"
SCHEMA = obj("pet", kind=choice(["dog", "cat"]), name=text(20))
PROMPT = Prompt("pet", "Which pet?", {"said": "Rex barks."}, SCHEMA, max_tokens=40)
GOOD = '{"kind": "dog", "name": "Rex"}'
VARIABLES = ["OPENAI_API_KEY", "OPENAI_BASE_URL", "SLOWWAVE_LLM_API_KEY", "SLOWWAVE_LLM_BASE_URL", "SLOWWAVE_LLM_MODEL"]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def there() -> Iterator[StandIn]:
    with standing_in() as server:
        yield server


@pytest.fixture
def model(there: StandIn) -> Iterator[EndpointModel]:
    model = EndpointModel("tiny", there.url, KEY, timeout_seconds=5)
    yield model
    model.close()


def ask(model: EndpointModel, **options: Any) -> Any:
    return model.chat(PROMPT.messages(), schema=SCHEMA, max_tokens=40, **options)


def test_a_prompt_goes_out_with_its_schema_and_comes_back_counted(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: said(GOOD)
    answer = LLM(model).ask(PROMPT)
    assert answer.value == {"kind": "dog", "name": "Rex"}
    assert (answer.call.tokens_in, answer.call.tokens_out) == (11, 7)
    assert answer.call.model == model.name == f"openai:tiny@{there.url.split('/')[2]}"
    (sent,) = there.asked
    assert sent["model"] == "tiny"
    assert (sent["max_tokens"], sent["temperature"]) == (40, 0.0)
    assert sent["messages"] == [
        {"role": "system", "content": "Which pet?"}, {"role": "user", "content": '{"said": "Rex barks."}'},
    ]  # fmt: skip
    asked_for = sent["response_format"]
    assert (asked_for["type"], asked_for["json_schema"]["name"]) == ("json_schema", "pet")
    assert asked_for["json_schema"]["schema"] == SCHEMA
    assert there.headers[0]["authorization"] == f"Bearer {KEY}"


def test_tokens_are_estimated_where_the_endpoint_does_not_count(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: said(GOOD, usage=False)
    reply = ask(model)
    assert reply.tokens_in == sum(model.count_tokens(message.content) for message in PROMPT.messages())
    assert reply.tokens_out == model.count_tokens(GOOD) > 5


@pytest.mark.parametrize(("refused", "kept"), [({"json_schema"}, "json_object"), ({"json_schema", "json_object"}, "")])
def test_an_endpoint_that_takes_no_schema_is_asked_in_a_plainer_form_from_then_on(
    there: StandIn, model: EndpointModel, refused: set[str], kept: str
) -> None:
    def script(request: dict[str, Any]) -> Any:
        if request.get("response_format", {}).get("type") in refused:
            return failed(400, "'response_format.type' must be one of text")
        return said(GOOD)

    there.script = script
    assert ask(model).text == GOOD
    before = len(there.asked)
    assert before > 1
    assert ask(model).text == GOOD
    assert len(there.asked) == before + 1, "it tried again what had been turned down"
    sent = there.asked[-1]
    assert sent.get("response_format", {}).get("type", "") == kept
    assert '"enum": ["dog", "cat"]' in sent["messages"][0]["content"], "the schema is told in words"


def test_one_that_minds_only_the_length_of_texts_keeps_the_rest_of_the_schema(
    there: StandIn, model: EndpointModel
) -> None:
    def script(request: dict[str, Any]) -> Any:
        return failed(400, "'maxLength' is not permitted here") if "maxLength" in str(request) else said(GOOD)

    there.script = script
    assert ask(model).text == GOOD
    schema = there.asked[-1]["response_format"]["json_schema"]["schema"]
    assert schema["properties"] == {"kind": choice(["dog", "cat"]), "name": {"type": "string"}}


def test_a_property_named_like_a_limit_stays() -> None:
    sent = response_format("lean", obj("x", maxLength={"type": "integer"}, a=text(3)))
    assert sent["response_format"]["json_schema"]["schema"]["properties"] == {
        "maxLength": {"type": "integer"}, "a": {"type": "string"},
    }  # fmt: skip


def test_one_that_pays_no_heed_to_the_schema_is_told_it_in_words(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: said(
        GOOD if "JSON schema" in request["messages"][0]["content"] else "Sure! The pet is a dog called Rex."
    )
    reply = ask(model)
    assert (reply.text, reply.tokens_in) == (GOOD, 22), "both requests are counted"
    assert len(there.asked) == 2
    ask(model)
    assert len(there.asked) == 3


def test_a_form_is_not_given_up_for_a_fault_of_the_request(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: failed(400, "the context length is 4096 tokens, whatever the schema")
    with pytest.raises(ModelError, match="4096"):
        ask(model)
    assert len(there.asked) == 1
    there.script = lambda request: failed(400, "something else is wrong")
    with pytest.raises(ModelError, match="something else is wrong"):
        ask(model)
    assert len(there.asked) > 2, "it may have been the form, as long as none has worked"
    there.script = lambda request: said(GOOD)
    ask(model)
    assert there.asked[-1]["response_format"]["type"] == "json_schema"
    tried = len(there.asked)
    there.script = lambda request: failed(400, "something else is wrong")
    with pytest.raises(ModelError, match="something else is wrong"):
        ask(model)
    assert len(there.asked) == tried + 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("temperature", "Unsupported value: 'temperature' does not support 0.0 with this model."),
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        ("logprobs", "logprobs is not supported by this model"),
        ("seed", "Extra inputs are not permitted: seed"),
    ],
)
def test_a_parameter_that_is_not_known_there_is_left_out_from_then_on(there: StandIn, name: str, message: str) -> None:
    there.script = lambda request: failed(400, message) if name in request else said(GOOD)
    model = EndpointModel("tiny", there.url, KEY, seed=1)
    assert ask(model, top_logprobs=2).text == GOOD
    assert len(there.asked) == 2
    ask(model, top_logprobs=2)
    assert len(there.asked) == 3
    assert there.asked[-1].get("max_completion_tokens", there.asked[-1].get("max_tokens")) == 40
    model.close()


def test_a_length_that_is_too_large_is_no_unknown_parameter(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: failed(400, "max_tokens is too large: at most 30")
    with pytest.raises(ModelError, match="too large"):
        model.chat(PROMPT.messages(), max_tokens=40)
    there.script = lambda request: said("fine")
    model.chat(PROMPT.messages(), max_tokens=40)
    assert there.asked[-1]["max_tokens"] == 40


def test_probabilities_come_where_they_are_offered(there: StandIn, model: EndpointModel) -> None:
    def script(request: dict[str, Any]) -> Any:
        body = said("dog")
        top = [{"token": "dog", "logprob": -0.1, "bytes": None}, {"token": "cat", "logprob": -2.5, "bytes": None}]
        body["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
        return body

    there.script = script
    reply = model.chat(PROMPT.messages(), top_logprobs=2)
    assert (there.asked[0]["logprobs"], there.asked[0]["top_logprobs"]) == (True, 2)
    assert [(t.text, t.logprob, t.top) for t in reply.tokens] == [("dog", -0.1, (("dog", -0.1), ("cat", -2.5)))]
    answer = LLM(model).ask(Prompt("pet", "Which?", {}, top_logprobs=2))
    assert answer.tokens == reply.tokens
    model.chat(PROMPT.messages())
    assert "logprobs" not in there.asked[-1]


@pytest.mark.parametrize("body", [said(None, refusal="I cannot help."), said("", "content_filter")])
def test_a_refusal_is_a_problem_and_is_asked_once(there: StandIn, model: EndpointModel, body: dict[str, Any]) -> None:
    there.script = lambda request: body
    llm = LLM(model)
    answer = llm.ask(PROMPT)
    assert answer.problem.startswith("refused: ")
    assert len(there.asked) == 1
    assert llm.exhausted == ""


def test_a_prompt_that_a_filter_stops_is_a_refusal_too(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: failed(400, "The prompt was filtered", code="content_filter")
    assert LLM(model).ask(PROMPT).problem == "refused: The prompt was filtered"
    assert len(there.asked) == 1


def test_a_reply_that_is_cut_off_says_so(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: said('{"kind": "do', "length")
    assert LLM(model, retries=0).ask(PROMPT).problem.startswith("not JSON (cut off at max_tokens)")


def test_a_busy_endpoint_is_left_alone_for_as_long_as_it_asks(there: StandIn, model: EndpointModel) -> None:
    answers = iter([failed(429, "slow down", {"Retry-After": "70"}), said(GOOD)])
    there.script = lambda request: next(answers)
    waits: list[float] = []
    answer = LLM(model, wait=waits.append).ask(PROMPT)
    assert answer.ok
    assert len(there.asked) == 2
    assert len(waits) == 1
    assert 50 < waits[0] <= 70


def test_a_retry_after_may_be_a_date_and_one_of_an_hour_is_not_waited_for(there: StandIn, model: EndpointModel) -> None:
    there.script = lambda request: failed(503, "later", {"Retry-After": formatdate(time.time() + 3600, usegmt=True)})
    with pytest.raises(ModelBusyError, match="503"):
        ask(model)
    assert 3500 < model.hold_seconds <= 3600
    waits: list[float] = []
    answer = LLM(model, wait=waits.append).ask(PROMPT)
    assert (len(there.asked), waits) == (1, []), "it is not asked while it wants to be left alone"
    assert answer.problem.startswith("no reply: ")


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_busy_statuses_may_be_tried_again_and_are_after_a_while(
    there: StandIn, model: EndpointModel, status: int
) -> None:
    there.script = lambda request: failed(status, "not now")
    waits: list[float] = []
    answer = LLM(model, retries=2, wait=waits.append).ask(PROMPT)
    assert answer.problem == f"no reply: {model.name} is busy ({status}: not now)"
    assert len(there.asked) == 3
    assert 0.5 <= waits[0] <= 0.625 < 1.0 <= waits[1] <= 1.25


def test_a_time_out_is_busy(there: StandIn) -> None:
    there.script = lambda request: time.sleep(1) or said(GOOD)
    model = EndpointModel("tiny", there.url, KEY, timeout_seconds=0.1)
    with pytest.raises(ModelBusyError, match=r"timed out after 0\.1 s"):
        ask(model)
    model.close()


def test_an_endpoint_that_is_not_there_is_busy() -> None:
    with standing_in() as server:
        model = EndpointModel("tiny", server.url, KEY)
    with pytest.raises(ModelBusyError, match="cannot be reached"):
        ask(model)
    model.close()


@pytest.mark.parametrize(
    ("status", "more", "step"),
    [
        (401, {}, "SLOWWAVE_LLM_API_KEY"),
        (403, {}, "SLOWWAVE_LLM_API_KEY"),
        (404, {}, "/v1"),
        (402, {}, "quota"),
        (429, {"code": "insufficient_quota"}, "quota"),
    ],
)
def test_what_no_further_try_can_mend_ends_the_asking_at_once_with_the_next_step(
    there: StandIn, model: EndpointModel, status: int, more: dict[str, str], step: str
) -> None:
    there.script = lambda request: failed(status, f"no, not with {KEY}", **more)
    with pytest.raises(ModelMissingError) as caught:
        ask(model)
    assert step in str(caught.value)
    llm = LLM(model)
    assert llm.ask(PROMPT).problem.startswith("failed: ")
    assert step in llm.exhausted
    assert llm.ask(PROMPT).problem == llm.exhausted
    assert len(there.asked) == 2


@pytest.mark.parametrize(
    "body",
    [b"{not json", b"<html>it works</html>", {}, {"choices": []}, {"error": {"message": "upstream"}},
     {"choices": [{"index": 0, "finish_reason": "stop", "message": None}]}],
)  # fmt: skip
def test_a_malformed_answer_is_an_error_of_ours(there: StandIn, model: EndpointModel, body: Any) -> None:
    there.script = lambda request: body
    with pytest.raises(ModelBusyError, match="no reply"):
        ask(model)
    there.script = lambda request: (200, body, {"Content-Type": "text/html"})
    with pytest.raises(ModelBusyError, match="no reply"):
        ask(model)


def test_the_key_stands_in_no_repr_no_error_and_no_log(
    there: StandIn, model: EndpointModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    shown = [repr(model), repr(LLM(model)), model.name]
    for status in (400, 401, 429, 500):
        there.script = lambda request, status=status: failed(status, f"Incorrect API key provided: {KEY}")
        with pytest.raises(ModelError) as caught:
            ask(model)
        error: BaseException | None = caught.value
        while error is not None:
            shown.append(f"{error} {error!r}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    text_ = "\n".join([*shown, caplog.text])
    assert KEY not in text_
    assert "Incorrect API key provided: ***" in text_


def test_the_constructor_and_the_environment_name_model_url_and_key(
    there: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="SLOWWAVE_LLM_MODEL"):
        EndpointModel()
    monkeypatch.setenv("SLOWWAVE_LLM_MODEL", "openai:of-env")
    monkeypatch.setenv("SLOWWAVE_LLM_BASE_URL", there.url)
    monkeypatch.setenv("SLOWWAVE_LLM_API_KEY", "of-env-key")
    model = EndpointModel()
    model.chat([Message("user", "hi")])
    assert (there.asked[0]["model"], there.headers[0]["authorization"]) == ("of-env", "Bearer of-env-key")
    assert "response_format" not in there.asked[0]
    model.close()
    model = EndpointModel("mine", api_key="my-key")
    model.chat([Message("user", "hi")])
    assert (there.asked[1]["model"], there.headers[1]["authorization"]) == ("mine", "Bearer my-key")
    model.close()


def test_openais_key_goes_to_nobody_else(there: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = EndpointModel("tiny", there.url)
    model.chat([Message("user", "hi")])
    assert there.headers[0]["authorization"] == "Bearer none"
    model.close()
    monkeypatch.setenv("OPENAI_BASE_URL", there.url)
    model = EndpointModel("tiny")
    model.chat([Message("user", "hi")])
    assert there.headers[1]["authorization"] == f"Bearer {KEY}"
    model.close()
    monkeypatch.delenv("OPENAI_BASE_URL")
    model = EndpointModel("tiny")
    assert (model.host, model.name) == ("api.openai.com", "openai:tiny")
    model.close()
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelMissingError, match="SLOWWAVE_LLM_API_KEY"):
        EndpointModel("tiny")


def test_lone_surrogates_go_out_as_the_replacement_mark(there: StandIn, model: EndpointModel) -> None:
    model.chat([Message("user", "half \ud83d a pair")])
    assert there.asked[0]["messages"][0]["content"] == "half ? a pair"


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(ExtraMissingError, match=r"slowwave\[llm\]"):
        EndpointModel("tiny", "http://127.0.0.1:1/v1")
