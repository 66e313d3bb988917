"""A summary says nothing that its sources do not, rests on what it quotes, and holds from the latest of them on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from replying import Replying
from slowwave.ops.abridge import abridge
from slowwave.ops.made import Made
from slowwave.records import Engram, Scope

NOW = datetime(2024, 1, 9, tzinfo=UTC)
SAID = [
    "Captain Weber sailed from Bergen to Oulu with a cargo of timber in the spring of 1893.",
    "In Oulu the harbour master refused him a berth because of the fever on board.",
    "They waited for eleven days off the coast until Doctor Lindqvist came out in a small boat.",
    "Hm.",
]


def records(session="a", times=12):
    return [
        Engram(f"{n:02}", "episode", SAID[n % 4], Scope(user_id="u"), NOW - timedelta(days=times - n), NOW,
               attrs={"speaker": "Ana" if n % 2 else "Ben", **({"session": session} if session else {})})
        for n in range(times)
    ]  # fmt: skip


def test_an_extract_quotes_its_sources_and_names_only_those():
    made = Made()
    members = records(times=8)
    summary = abridge(members, {"by": "test"}, "window", None, NOW, made)
    quoted = " ".join(e.text for e in members if e.id in summary.sources)
    for sentence in summary.text.replace("Ana: ", "").replace("Ben: ", "").split(". "):
        assert sentence.rstrip(".") in quoted
    assert not {"03", "07"} & set(summary.sources), "what says nothing is not quoted"
    assert summary.at == members[-1].at
    assert summary.session == "a"
    assert {link.source for link in made.changes[0].links} == {e.id for e in members}, "but all are parts"


def test_several_sessions_make_no_session():
    members = [*records("a", 4), *[e.with_(id=f"b{e.id}", attrs={"session": "b"}) for e in records("b", 4)]]
    assert abridge(members, {}, "window", None, NOW, Made()).session is None


@pytest.mark.parametrize("members", [[], records(times=1), [e.with_(text="Hm.") for e in records(times=8)]])
def test_what_is_short_is_not_summed_up(members):
    assert abridge(members, {}, "window", None, NOW, Made()) is None


def test_a_models_summary_rests_on_all_and_loses_the_sentences_that_it_invented():
    words = "Captain Weber sailed from Bergen to Oulu. He was eaten by Zorblax in 1999."
    model = Replying(lambda operation, inputs: {"summary": words})
    made, members = Made(), records(times=8)
    summary = abridge(members, {}, "window", model.llm(), NOW, made)
    assert summary.text == "Captain Weber sailed from Bergen to Oulu."
    assert summary.sources == tuple(e.id for e in members)
    assert [r.text for r in made.rejected] == ["He was eaten by Zorblax in 1999."]


@pytest.mark.parametrize("value", ["", "no", {"summary": 3}, {"summary": "Zorblax landed on Mars in 4242."}, None])
def test_a_model_that_fails_or_invents_leaves_the_extract(value):
    members = records(times=8)
    plain = abridge(members, {}, "window", None, NOW, Made())
    made = Made()
    summary = abridge(members, {}, "window", Replying(lambda operation, inputs: value).llm(), NOW, made)
    assert summary.text == plain.text
    assert made.rejected
