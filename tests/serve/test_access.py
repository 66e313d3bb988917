"""Access: an effective scope lies within what is allowed, whatever is asked for; verbs are what a key names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave import Scope
from slowwave.errors import AccessError, InputError, ScopeError
from slowwave.records import SCOPE_FIELDS
from slowwave.serve.access import GROUPS, READS, VERBS, Access, expanded, verbs_of

ANA, BEN = Scope(user_id="ana"), Scope(user_id="ben")

fields = st.fixed_dictionaries({}, optional=dict.fromkeys(SCOPE_FIELDS, st.sampled_from(["a", "b", "c", None])))
scopes = fields.filter(lambda given: any(given.values())).map(lambda given: Scope(**given))


@given(st.lists(scopes, min_size=1, max_size=4), fields)
def test_no_request_widens_a_scope(allowed: list[Scope], asked: dict[str, str | None]) -> None:
    access = Access("k", tuple(allowed))
    try:
        scope = access.scope(asked)
    except (AccessError, ScopeError):
        return
    assert any(one.covers(scope) for one in allowed)
    assert access.reaches(scope)
    assert all(getattr(scope, name) == value for name, value in asked.items() if value is not None)


@given(st.lists(scopes, min_size=1, max_size=4), scopes)
def test_what_lies_within_can_be_asked_for(allowed: list[Scope], asked: Scope) -> None:
    if any(one.covers(asked) for one in allowed):
        assert Access("k", tuple(allowed)).scope(asked.to_dict()) == asked


def test_a_key_of_one_scope_needs_none_to_be_named() -> None:
    access = Access("k", (ANA,))
    assert access.scope({}) == ANA
    assert access.scope({"run_id": "r"}) == Scope(user_id="ana", run_id="r")
    with pytest.raises(AccessError, match="does not reach user_id=ben"):
        access.scope({"user_id": "ben"})


def test_a_key_of_several_scopes_has_to_say_which() -> None:
    access = Access("k", (ANA, BEN))
    assert access.scope({"user_id": "ben"}) == BEN
    with pytest.raises(ScopeError, match="name one of them"):
        access.scope({})


def test_a_key_of_everything_still_names_a_scope() -> None:
    with pytest.raises(ScopeError, match="no scope was given"):
        Access("k").scope({})


def test_a_scope_can_only_be_narrowed_for_good() -> None:
    access = Access("k", (ANA,)).narrowed(Scope(run_id="r"))
    assert access.scope({}) == Scope(user_id="ana", run_id="r")
    with pytest.raises(AccessError):
        access.scope({"run_id": "other"})
    with pytest.raises(AccessError):
        Access("k", (ANA,)).narrowed(BEN)


def test_readonly_takes_every_verb_that_changes_something() -> None:
    access = Access("k", readonly=True)
    assert [verb for verb in VERBS if access.may(verb)] == list(READS)
    with pytest.raises(AccessError, match="may not add; it may: search, context"):
        access.need("add")


def test_names_of_verbs_are_checked_when_a_key_is_made_and_forgiven_when_it_is_read() -> None:
    assert verbs_of(["read", "add"]) == ("read", "add")
    assert expanded(["read", "add"]) == {*GROUPS["read"], "add"}
    assert expanded(["all"]) == set(VERBS)
    assert expanded(["fly"]) == frozenset()
    for wrong in (["fly"], []):
        with pytest.raises(InputError):
            verbs_of(wrong)
