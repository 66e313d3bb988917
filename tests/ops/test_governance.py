"""Batches keep together what came together, thresholds refuse what may not be, and the audit tells everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from slowwave.ops.governance import admitted, audit, batches_of, parted
from slowwave.records import Change, Engram, Link, Scope

ANA = {"user_id": "ana"}
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def said(id_, session="s", days=0.0, **attrs):
    at = NOW + timedelta(days=days)
    return Engram(id_, "episode", id_, Scope(**ANA), at, at, attrs={"session": session, **attrs} if session else attrs)


def fact(id_, *sources, days=0.0):
    at = NOW + timedelta(days=days)
    return Change("add", id_, "", Engram(id_, "fact", id_, Scope(**ANA), at, NOW, sources=sources), sources=sources)


def ends(old, new):
    tie = Link(new, "supersedes", old)
    return Change("supersede", old, "", fields={"until": NOW, "closed": NOW}, links=(tie,), sources=(old, new))


def sort(changes, *known, days=1.0):
    held = {engram.id: engram for engram in known}
    kept, out = admitted(changes, lambda ids: {id_: held[id_] for id_ in ids if id_ in held}, NOW, days)
    return [change.id for change in kept], {change.id: reason for change, reason in out}


# -- batches


def test_a_batch_is_what_its_records_say_else_the_session_else_the_day():
    news = [said("a", "s1"), said("b", "s2"), said("c", "s1"), said("d", None), said("e", "s2", batch="import 7")]
    found = {name: [e.id for e in many] for name, many in batches_of(news)}
    assert found == {"s1": ["a", "c"], "s2": ["b"], "2024-06-01": ["d"], "import 7": ["e"]}
    assert batches_of([]) == []


def test_too_many_batches_are_taken_together_with_their_neighbours():
    found = batches_of([said(str(n), f"s{n}") for n in range(10)], most=4)
    assert [name for name, _ in found] == ["s0 to s2", "s3 to s5", "s6 to s8", "s9"]
    assert [e.id for _, many in found for e in many] == [str(n) for n in range(10)]


def test_a_change_goes_with_the_last_batch_that_it_rests_on():
    arrived = {"one": [said("a")], "two": [said("b")]}
    changes = [
        fact("f", "a"), fact("g", "f", "b"), ends("old", "a"), Change("weaken", "old", ""), fact("h", "f"),
        Change("link", "old", "", links=(Link("old", "similar", "b"),)),
    ]  # fmt: skip
    parts = {part.name: (part.records, [change.id for change in part.changes]) for part in parted(changes, arrived)}
    assert parts == {"": ((), ["old"]), "one": (("a",), ["f", "old", "h"]), "two": (("b",), ["g", "old"])}


# -- thresholds


def test_what_names_its_sources_passes():
    assert sort([fact("f", "a")], said("a")) == (["f"], {})


def test_a_record_without_a_source_or_with_one_that_is_not_there_is_refused():
    kept, out = sort([fact("f"), fact("g", "nobody"), fact("h", "a")], said("a"))
    assert kept == ["h"]
    assert "without a source" in out["f"]
    assert "nobody" in out["g"]


def test_what_rests_on_a_refused_change_is_refused():
    kept, out = sort([fact("f"), fact("g", "f", "a"), fact("h", "g"), fact("i", "a")], said("a"))
    assert kept == ["i"]
    assert set(out) == {"f", "g", "h"}


def test_what_is_dated_in_the_future_is_refused():
    assert sort([fact("f", "a")], said("a", days=0.5))[0] == ["f"]
    kept, out = sort([fact("f", "a")], said("a", days=30))
    assert kept == []
    assert "to come" in out["f"]
    assert sort([fact("f", "a")], said("a", days=30), days=60)[0] == ["f"]


def test_what_is_older_does_not_replace_what_is_newer():
    assert sort([ends("old", "new")], said("old", days=-5), said("new"))[0] == ["old"]
    kept, out = sort([ends("old", "new")], said("old"), said("new", days=-5))
    assert kept == []
    assert "before it" in out["old"]


# -- audit


def test_the_audit_tells_operations_with_their_hashes_and_finds_no_fault(memory):
    memory.add("I live in Rome.", speaker="Ana", **ANA)
    night = memory.sleep(**ANA)
    memory.undo(night.op, **ANA)
    told = audit(memory.store.view(Scope(**ANA)), "dmm-gov")
    added, slept, undone = told["operations"]
    assert (added["verb"], slept["verb"], undone["verb"]) == ("add", "sleep", "undo")
    assert slept["undone_by"] == undone["op"]
    assert added["hash"] == undone["hash"] == told["hash"] != slept["hash"]
    assert told["faults"] == told["decisions"] == told["turned_down"] == []
    assert len(audit(memory.store.view(Scope(**ANA)), "dmm-gov", most=1)["operations"]) == 1
