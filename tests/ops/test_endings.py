"""Whether a turn tells more than the facts drawn from it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slowwave.ops.endings import says_more
from slowwave.records import Engram, Scope

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def engram(kind, text, **attrs):
    return Engram("x", kind, text, Scope(user_id="a"), NOW, NOW, attrs=attrs)


FACT = engram("fact", "Anna's home is Rome", subject="Anna", attribute="home", value="Rome")


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("I live in Rome.", False),
        ("By the way, my flat is in Rome now.", False),
        ("I live in Rome with Tom.", True),
        ("I live in Rome and my rent is £900.", True),
        ("I live in Rome, above a bakery that opens early every morning.", True),
    ],
)
def test_a_turn_tells_more_where_a_name_a_number_or_several_words_are_left(text, more):
    assert says_more(engram("episode", text, speaker="Anna"), [FACT]) is more
