"""Arguments that name files, code or models of the server's machine are no fields of a request."""

from __future__ import annotations

import inspect

import pytest

from slowwave import Memory
from slowwave.errors import InputError

pytest.importorskip("pydantic")

from slowwave.client.asks import given_of
from slowwave.serve.shapes import request_of

VERBS = ("add", "search", "context", "answer", "sleep", "forget", "erase", "update", "link", "undo")


@pytest.mark.parametrize("verb", VERBS)
def test_no_request_names_a_path_a_model_or_code(verb):
    fields = set(request_of(verb).model_fields)
    never = {"path", "model", "form", "joint", "progress", "count_tokens", "embedder", "llm", "into", "adapters"}
    assert not fields & never


def test_every_argument_of_a_verb_is_a_field_or_left_out_on_purpose():
    left_out = {"self", "count_tokens", "form", "model", "joint", "search"}
    assert set(inspect.signature(Memory.context).parameters) - set(request_of("context").model_fields) == left_out


@pytest.mark.parametrize(("verb", "given"), [("sleep", {"into": "a.toml"}), ("erase", {"adapters": "retrain"})])
def test_a_client_says_that_training_happens_where_the_memory_lies(verb, given):
    with pytest.raises(InputError, match="where the memory lies"):
        given_of(verb, (), {**given, "user_id": "u"})
