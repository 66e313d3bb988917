"""The reference rows on a conversation small enough to know the answers."""

from datetime import datetime

import pytest

from slowwave.bench.baselines import baseline_rows, bm25, dense, recency, reciprocal_ranks
from slowwave.bench.retrieval import Conversation, Question, cost, said_on
from slowwave.bench.system import Filled
from slowwave.models import FakeEmbedder
from slowwave.records import Item

DAY = datetime(2023, 5, 8)
TEXTS = ("the cat sleeps", "dogs were barking loudly", "rain fell on Lisbon", "a cat and two dogs")


def nothing(done, total):
    pass


@pytest.fixture
def talk():
    items = tuple(Item(text, speaker="Ana", at=DAY, session="s1", origin=str(n)) for n, text in enumerate(TEXTS))
    questions = (Question("Where did rain fall?", ("2",)), Question('barked "dog" NEAR( OR?', ("1",)))
    return Conversation("ana", items, tuple("0123"), questions, DAY)


def test_recency_is_the_newest_first(talk):
    assert recency(talk) == [[3, 2, 1, 0], [3, 2, 1, 0]]


def test_bm25_stems_and_takes_no_query_syntax(talk):
    first, second = bm25(talk)
    assert first[0] == 2
    assert second[0] == 1


def test_dense_orders_by_cosine(talk):
    assert dense(talk, FakeEmbedder())[0][0] == 2


def test_fusion_prefers_what_both_found():
    assert reciprocal_ranks([[1, 2, 3]], [[9, 2, 8]]) == [[2, 1, 9, 3, 8]]


def test_dates_are_in_words(talk):
    assert said_on(talk.items[0]) == "8 May 2023, Ana: the cat sleeps"
    assert cost(talk.items[0]) == pytest.approx(len("[2023-05-08] Ana: the cat sleeps") / 4, abs=1)


def test_undated_data_has_no_dated_row(talk):
    assert "dense, dated" not in baseline_rows([talk], FakeEmbedder(), nothing, date_helps=False)
    assert "dense, dated" in baseline_rows([talk], FakeEmbedder(), nothing)


def test_slowwave_row_goes_through_a_real_file(talk):
    with Filled([talk], FakeEmbedder(), nothing) as filled:
        assert filled.path.is_file()
        found = filled.rank(nothing)
        assert found[0][0][0].units == ("2",)
        assert {unit for result in found[0][0] for unit in result.units} <= set("0123")
        folder = filled.path.parent
    assert not folder.exists()


def test_a_derived_record_shows_the_episodes_it_was_made_from(talk):
    with Filled([talk], FakeEmbedder(), nothing) as filled:
        old = filled.memory.list(user_id="ana")[0]
        report = filled.memory.update(old.id, "the cat sleeps all day", user_id="ana")
        new = filled.memory.get(report.ids[0], user_id="ana")
        assert filled.found(new, talk).units == (filled.found(old, talk).units)
