"""Language models by their names: on a command line, in the environment, one per operation."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from slowwave.errors import ExtraMissingError, InputError, ModelError, ModelMissingError
from slowwave.models import resolve_llm
from slowwave.models.endpoint import EndpointModel
from slowwave.models.fakes import FakeChat
from slowwave.models.llm import LLM


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("SLOWWAVE_LLM_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLOWWAVE_LLM_BASE_URL", "http://127.0.0.1:1/v1")


def names(llm: LLM | None) -> dict[str, str]:
    assert llm is not None
    llm.close()
    return {"": llm.name, **{operation: model.name for operation, model in llm.models.items()}}


def test_no_model_is_asked_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOWWAVE_LLM_MODEL", "tiny")
    assert resolve_llm(None) is None


def test_an_llm_stays_and_a_model_gets_one() -> None:
    model = FakeChat()
    llm = LLM(model)
    assert resolve_llm(llm) is llm
    found = resolve_llm(model)
    assert found is not None
    assert found.model is model


@pytest.mark.parametrize(
    ("spec", "due"),
    [
        ("fake", {"": "fake"}),
        ("fake:invents", {"": "fake-invents"}),
        ("openai:tiny", {"": "openai:tiny@127.0.0.1:1"}),
        ("fake,facts=fake:slow, key-points = fake:garbage",
         {"": "fake", "facts": "fake-slow", "key-points": "fake-garbage"}),
    ],
)  # fmt: skip
def test_a_word_names_a_model(spec: str, due: dict[str, str]) -> None:
    assert names(resolve_llm(spec)) == due


@pytest.mark.parametrize(
    "spec", ["", "tiny", "openai:", "gguf:", "fake:nobody", "facts=fake", "fake,facts=", "minilm", "http://x/v1"]
)
def test_a_word_that_names_none_is_refused_with_what_would(spec: str) -> None:
    with pytest.raises(InputError, match="llm"):
        resolve_llm(spec)


def test_the_environment_names_models_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="SLOWWAVE_LLM_MODEL is not set"):
        resolve_llm("env")
    monkeypatch.setenv("SLOWWAVE_LLM_MODEL", "tiny,facts=fake")
    monkeypatch.setenv("SLOWWAVE_LLM_MODEL_OUTCOME", "large")
    monkeypatch.setenv("SLOWWAVE_LLM_MODEL_FACTS", "fake:slow")
    assert names(resolve_llm("env")) == {
        "": "openai:tiny@127.0.0.1:1", "facts": "fake", "outcome": "openai:large@127.0.0.1:1",
    }  # fmt: skip
    assert names(resolve_llm("fake,outcome=fake:invents")) == {
        "": "fake", "outcome": "fake-invents", "facts": "fake-slow",
    }  # fmt: skip


def test_operations_with_the_same_model_share_it() -> None:
    llm = resolve_llm("openai:tiny,facts=openai:other,outcome=openai:tiny")
    assert llm is not None
    assert llm.models["outcome"] is llm.model
    assert isinstance(llm.models["facts"], EndpointModel)
    llm.close()


def test_the_environment_sets_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLOWWAVE_LLM_MAX_CALLS", "12")
    monkeypatch.setenv("SLOWWAVE_LLM_MAX_SECONDS", "1.5")
    for spec in ("fake", FakeChat()):
        llm = resolve_llm(spec)
        assert llm is not None
        assert (llm.max_calls, llm.max_tokens, llm.max_seconds) == (12, None, 1.5)
    own = LLM(FakeChat(), max_calls=3)
    assert resolve_llm(own) is own
    assert own.max_calls == 3
    for wrong in ("many", "-1", "nan"):
        monkeypatch.setenv("SLOWWAVE_LLM_MAX_SECONDS", wrong)
        with pytest.raises(InputError, match="SLOWWAVE_LLM_MAX_SECONDS"):
            resolve_llm("fake")


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the extra local-llm is not installed")
def test_a_model_file_that_is_missing_or_is_none_is_said_to_be(tmp_path: Path) -> None:
    for spec in (tmp_path / "none.gguf", str(tmp_path / "none.gguf"), f"gguf:{tmp_path / 'none.bin'}"):
        with pytest.raises(ModelMissingError, match="there is no model file"):
            resolve_llm(spec)
    (tmp_path / "notes.gguf").write_text("no model")
    with pytest.raises(ModelError, match="not a GGUF file"):
        resolve_llm(tmp_path / "notes.gguf")
    for head in (b"GGUF\x03", b"GGUF" + b"\xff" * 200):
        (tmp_path / "cut.gguf").write_bytes(head)
        with pytest.raises(ModelError, match="damaged"):
            resolve_llm(tmp_path / "cut.gguf")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExtraMissingError, match=r"slowwave\[local-llm\]"):
        resolve_llm("small.gguf")
