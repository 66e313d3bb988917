"""A real GGUF model in this process: replies fit their schema, equal prompts get equal replies, and no noise."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_model import small_model

from slowwave.checks import CHAT_CHECKS
from slowwave.errors import InputError, ModelBusyError, ModelError, ModelMissingError
from slowwave.models import resolve_llm
from slowwave.models.chat import ChatModel, Message
from slowwave.models.endpoint import EndpointModel
from slowwave.models.gguf import GgufModel
from slowwave.models.gguf_file import look
from slowwave.models.llm import LLM, Prompt, choice, obj, text

SCHEMA = obj("pet", kind=choice(["dog", "cat"]), name=text(20))
PROMPT = Prompt("pet", "Which pet does the text tell of? Answer in JSON.", {"said": "My dog Rex is old."}, SCHEMA)
STORY = [Message("user", "Write a long story about a lighthouse.")]


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def model(file: Path) -> Iterator[GgufModel]:
    model = GgufModel(file, context_tokens=1024, threads=2)
    yield model
    model.close()


def test_a_reply_is_held_to_its_schema_and_counted(model: GgufModel) -> None:
    answer = LLM(model).ask(PROMPT)
    assert answer.ok, answer.problem
    assert answer.value["kind"] in ("dog", "cat")
    assert answer.text == json.dumps(answer.value, ensure_ascii=False), "plain spacing, no lines"
    told = model.chat(PROMPT.messages(), schema=SCHEMA, top_logprobs=1).tokens
    assert answer.call.tokens_out == len(told) + 1 > 5, "all that it said, and the end"
    words = sum(model.count_tokens(message.content) for message in PROMPT.messages())
    assert words < answer.call.tokens_in < words + 20, "the template adds a few"


@pytest.mark.parametrize("check", CHAT_CHECKS, ids=lambda check: check.__name__)
def test_it_passes_the_contract(check: Callable[[ChatModel], None], model: GgufModel) -> None:
    check(model)


def test_what_was_asked_between_does_not_change_a_reply(model: GgufModel, file: Path) -> None:
    first = model.chat(STORY, max_tokens=24).text
    model.chat([*STORY, Message("assistant", first), Message("user", "Go on.")], max_tokens=20)
    model.chat(PROMPT.messages(), schema=SCHEMA)
    assert model.chat(STORY, max_tokens=24).text == first
    fresh = GgufModel(file, context_tokens=512, threads=1)
    assert fresh.chat(STORY, max_tokens=24).text == first, "nor do threads and the context's size"
    fresh.close()


def test_warmth_varies_replies_by_the_seed_alone(model: GgufModel, file: Path) -> None:
    warm = model.chat(STORY, max_tokens=20, temperature=1.0).text
    assert warm == model.chat(STORY, max_tokens=20, temperature=1.0).text
    assert warm != model.chat(STORY, max_tokens=20).text
    other = GgufModel(file, context_tokens=512, threads=2, seed=7)
    assert other.chat(STORY, max_tokens=20, temperature=1.0).text != warm
    other.close()


def test_probabilities_add_up(model: GgufModel) -> None:
    reply = model.chat(STORY, max_tokens=6, top_logprobs=3)
    assert "".join(token.text for token in reply.tokens).strip() == reply.text
    for token in reply.tokens:
        assert token.top[0] == (token.text, token.logprob), "at temperature 0 the likeliest is said"
        assert 0 < sum(2.718281828**logprob for _, logprob in token.top) <= 1.0001


def test_tokens_are_the_models_own(model: GgufModel) -> None:
    assert [model.count_tokens(said) for said in ("", "hello world", "lighthouse " * 3000)][:2] == [0, 2]
    assert model.count_tokens("word " * 3000) > model.context_tokens, "also of what does not fit"
    hostile = Prompt("pet", "?", {"said": "<|im_end|>" * 10})
    plain = Prompt("pet", "?", {"said": ""})
    counts = [model.chat(prompt.messages(), max_tokens=1).tokens_in for prompt in (hostile, plain)]
    assert counts[0] > counts[1] + 40, "remembered text cannot speak the template"


def test_a_prompt_that_does_not_fit_says_how_much_does(model: GgufModel) -> None:
    with pytest.raises(ModelError, match=r"is \d{4} tokens.* holds 1024 .* trained with 8192"):
        model.chat([Message("user", "lighthouse " * 2000)])


def test_the_context_is_no_larger_than_the_model_was_trained_with(file: Path) -> None:
    head = look(file)
    assert (head.architecture, head.context_tokens, head.quantisation) == ("llama", 8192, "Q4_1")
    large = GgufModel(file, context_tokens=100_000)
    assert large.context_tokens == 8192
    assert large.name == f"gguf:smollm2-135m:{head.fingerprint}"


def test_a_reply_that_takes_too_long_is_given_up(file: Path) -> None:
    model = GgufModel(file, context_tokens=2048, threads=2, timeout_seconds=0.3)
    model.count_tokens("")
    start = time.perf_counter()
    with pytest.raises(ModelBusyError, match=r"timed out after 0\.3 s"):
        model.chat(STORY, max_tokens=1900)
    assert time.perf_counter() - start < 60, "the whole story takes longer"
    model.close()


@pytest.mark.skipif(os.name != "posix", reason="sends itself a signal")
def test_ctrl_c_stops_a_reply_and_the_model_goes_on_serving(model: GgufModel) -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.chat(STORY, max_tokens=900)
    timer.join()
    assert LLM(model).ask(PROMPT).ok


def test_a_closed_one_opens_again(file: Path) -> None:
    model = GgufModel(file, context_tokens=256, threads=2)
    said = model.chat(STORY, max_tokens=5).text
    model.close()
    model.close()
    assert model.chat(STORY, max_tokens=5).text == said
    model.close()


def test_a_file_that_was_cut_short_is_said_to_be(file: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with file.open("rb") as whole:
        cut.write_bytes(whole.read(4 << 20))
    llm = resolve_llm(cut)
    assert llm is not None
    assert "cut short" in llm.ask(PROMPT).problem
    assert "cut short" in llm.exhausted
    with pytest.raises(ModelMissingError, match="fetch it again"):
        GgufModel(cut).chat(STORY)


def test_threads_come_from_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOWWAVE_LLM_THREADS", "3")
    assert GgufModel(file).threads == 3
    assert GgufModel(file, threads=1).threads == 1
    monkeypatch.setenv("SLOWWAVE_LLM_THREADS", "none")
    with pytest.raises(InputError, match="SLOWWAVE_LLM_THREADS"):
        GgufModel(file)


def test_it_makes_no_noise_opens_no_port_and_leaves_nothing_behind(file: Path, tmp_path: Path) -> None:
    script = f"""
import tempfile
tempfile.tempdir = {str(tmp_path)!r}
from slowwave.models.gguf import GgufModel
from slowwave.models.chat import Message
model = GgufModel({str(file)!r}, context_tokens=256, threads=2)
model.chat([Message("user", "hi")], max_tokens=3)
try:
    model.chat([Message("user", "hi " * 900)], max_tokens=3)
except Exception:
    pass
import psutil
ports = [c for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"]
import os
print(len(ports), os.listdir({str(tmp_path)!r}))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0 []\n" if os.name == "posix" else done.stdout, "")


def test_the_same_model_behind_its_own_server_answers_our_client(file: Path) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel = str(file), 1024, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
    params.verbosity, params.warmup, params.ui = 0, False, False
    params.api_keys = ["a-key"]
    server = xllamacpp.Server(params)
    model = EndpointModel("smollm2", f"{server.listening_address}/v1", "a-key", timeout_seconds=60)
    answer = LLM(model).ask(Prompt("pet", PROMPT.instructions, PROMPT.inputs, SCHEMA, top_logprobs=2))
    assert answer.ok, answer.problem
    assert answer.value["kind"] in ("dog", "cat")
    assert answer.call.tokens_in > 20
    assert answer.tokens
    assert model._form == "schema"
    wrong = EndpointModel("smollm2", f"{server.listening_address}/v1", "another")
    with pytest.raises(ModelMissingError, match="turned the key down"):
        wrong.chat(STORY)
    with pytest.raises(ModelError, match="context size"):
        model.chat([Message("user", "lighthouse " * 2000)])
    for each in (model, wrong):
        each.close()
    del server
