"""The nearest records by plain cosine, and by words where there are no vectors."""

from __future__ import annotations

import pytest

from slowwave.ops.nearness import alike, nearest
from slowwave.records import Scope
from slowwave.store.base import Want

TEXTS = ["the cat sleeps on the mat", "a dog barks", "cats and dogs", "rain in Lisbon"]


@pytest.fixture
def view(memory):
    memory.add(TEXTS, user_id="u")
    return memory.store.view(Scope(user_id="u"))


def test_a_cosine_is_that_of_the_vectors_as_the_encoder_made_them(memory, view):
    query = memory.embedder.embed(["the cat sleeps"])[0]
    found = nearest(view, query, 4, Want())
    engrams = view.engrams(list(found))
    plain = {engrams[n].text: float(memory.embedder.embed([engrams[n].text])[0] @ query) for n in found}
    assert [engrams[n].text for n in found] == sorted(plain, key=lambda text: -plain[text])
    for n, cosine in found.items():
        assert cosine == pytest.approx(plain[engrams[n].text], abs=0.02), "vectors are kept in eight bits"


def test_rows_that_are_named_are_measured_too(memory, view):
    query = memory.embedder.embed(["the cat sleeps"])[0]
    last = view.numbers([e.id for e in view.select(Want()) if e.text == TEXTS[3]])
    assert set(last.values()) <= set(nearest(view, query, 1, Want(), also=list(last.values())))


def test_without_an_embedder_words_decide_and_never_look_certain(view):
    found, degraded = alike(view, "Where does the cat sleep?", None, 4, Want())
    engrams = view.engrams(list(found))
    assert engrams[next(iter(found))].text == TEXTS[0]
    assert max(found.values()) == 0.5
    assert degraded == ["dense: there is no embedder"]
    assert alike(view, "xyzzy", None, 4, Want())[0] == {}
