"""Nights with a language model: each call is journalled, nothing is paid twice, nothing said outlives its source."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asking import Asking, echoing
from slowwave import Memory, Scope
from slowwave.bench.reply_file import FileCache
from slowwave.errors import ConflictError, InputError, LeaseHeldError, NotFoundError, StoreReadOnlyError
from slowwave.models.fakes import FakeChat, fake_garbage
from slowwave.models.llm import LLM
from slowwave.store import leases
from slowwave.store.base import Said
from slowwave.store.holding import Holding

U: Any = {"user_id": "u"}
Open = Callable[..., Memory]
Left = Callable[[list[str]], dict[str, list[str]]]

pytestmark = pytest.mark.any_store


def asked(llm: LLM) -> int:
    """How many calls reached the model."""
    assert isinstance(llm.model, FakeChat)
    return len(llm.model.asked)


def facts(memory: Memory, **scope: Any) -> list[str]:
    return [engram.text for engram in memory.list(kinds=["fact"], **(scope or U))]


# -- the log


def test_the_log_tells_each_call_and_what_was_turned_down(open_memory: Open) -> None:
    memory = open_memory(llm=echoing(), system=Asking())
    tea, moon = memory.add(["tea is fine", "the moon is far"], **U).ids
    night = memory.sleep(**U)
    lines = memory.log(night.op, **U)
    assert [line.verb for line in lines] == ["add"]
    assert [(call.operation, call.model, call.cached, call.problem) for call in lines.calls] == [
        ("facts", "fake-echo", False, "")
    ] * 2
    assert all(len(call.prompt) == 64 and call.tokens_in and call.tokens_out for call in lines.calls)
    (aside,) = memory.log(rejected=True, **U)
    assert (aside.op, aside.rejected.text, aside.rejected.sources) == (night.op, "lunarcanary cheese", (moon,))
    assert (aside.rejected.reason, aside.rejected.model) == ("it does not name what was said", "fake-echo")
    assert memory.log(night.op, rejected=True, **U) == [aside]
    assert lines.rejected == (aside.rejected,)
    assert [one.call for one in memory.log(calls=True, **U)] == list(lines.calls)
    assert len(memory.log(calls=True, limit=1, **U)) == 1
    row = memory.log(verb="sleep", **U)[0]
    assert (row["model"], row["changes"], row["calls"], row["rejected"]) == ("fake-echo", 1, 2, 1)
    assert memory.log(calls=True, user_id="other") == []
    assert tea in memory.list(kinds=["fact"], **U)[0].sources


def test_a_night_that_only_asked_is_logged_and_undone(open_memory: Open) -> None:
    memory = open_memory(llm=LLM(fake_garbage(), wait=lambda seconds: None), system=Asking())
    added = memory.add("the moon is far", **U)
    night = memory.sleep(**U)
    assert night.op is not None
    assert list(night) == []
    lines = memory.log(night.op, **U)
    assert (list(lines), len(lines.calls), len(lines.rejected)) == ([], 1, 1)
    assert lines.calls[0].problem == lines.rejected[0].reason != ""
    assert memory.undo(**U).ids == added.ids, "the last operation that changed something is the adding"
    memory.undo(night.op, **U)
    with pytest.raises(ConflictError, match="undone by"):
        memory.undo(night.op, **U)


def test_a_wrong_question_to_the_log(memory: Memory) -> None:
    memory.add("a", **U)
    with pytest.raises(NotFoundError, match="no operation 01X"):
        memory.log("01X", **U)
    with pytest.raises(NotFoundError):
        memory.log("01X", calls=True, **U)
    with pytest.raises(InputError, match="one, then"):
        memory.log(calls=True, rejected=True, **U)


def test_nights_of_two_scopes_do_not_mix_their_calls(open_memory: Open) -> None:
    llm = echoing()
    turn = threading.Barrier(2, timeout=30)
    memory = open_memory(llm=llm, system=Asking(lambda n: turn.wait()))
    for user in ("ana", "ben"):
        memory.add([f"{user} said {n}" for n in range(5)], user_id=user)
    threads = [threading.Thread(target=memory.sleep, kwargs={"user_id": user}) for user in ("ana", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked(llm) == 10
    for user in ("ana", "ben"):
        prompts = [one.call.prompt for one in memory.log(calls=True, user_id=user)]
        assert len(prompts) == len(set(prompts)) == 5
    assert llm.total().calls == 10


# -- nothing is paid twice


def test_a_night_that_was_cut_short_goes_on_without_paying_again(open_memory: Open) -> None:
    def cut(n: int) -> None:
        if n == 4:
            raise KeyboardInterrupt

    first = echoing()
    memory = open_memory(llm=first, system=Asking(cut))
    memory.add([f"thing {n}" for n in range(6)], **U)
    with pytest.raises(KeyboardInterrupt):
        memory.sleep(**U)
    assert (asked(first), facts(memory), memory.log(verb="sleep", **U)) == (4, [], [])
    second = echoing()
    again = open_memory(llm=second, system=Asking())
    night = again.sleep(**U)
    assert asked(second) == 2
    assert len(facts(again)) == 6
    assert [call.cached for call in again.log(night.op, **U).calls] == [True] * 4 + [False] * 2  # type: ignore[attr-defined]


def test_a_dry_run_pays_for_the_night(open_memory: Open) -> None:
    llm = echoing()
    memory = open_memory(llm=llm, system=Asking())
    memory.add("tea is fine", **U)
    assert len(memory.sleep(dry_run=True, **U)) == 1
    assert (facts(memory), memory.log(verb="sleep", **U)) == ([], [])
    memory.sleep(**U)
    assert (asked(llm), facts(memory)) == (1, ["tea is fine, says the model"])


def test_a_cache_of_the_users_own_is_left_to_work(open_memory: Open) -> None:
    class Own:
        def __init__(self) -> None:
            self.keys: list[str] = []

        def get(self, key: str) -> None:
            return None

        def put(self, key: str, prompt: Any, model: str, reply: Any) -> None:
            self.keys.append(key)

    own = Own()
    memory = open_memory(llm=echoing(cache=own), system=Asking())
    memory.add("tea is fine", **U)
    memory.sleep(**U)
    assert len(own.keys) == 1
    assert memory.store.replies(Scope(**U)).get(own.keys[0]) is None


def test_a_budget_is_shared_by_all_nights(open_memory: Open) -> None:
    llm = echoing(max_calls=3)
    memory = open_memory(llm=llm, system=Asking())
    for user in ("ana", "ben"):
        memory.add([f"{user} said {n}" for n in range(2)], user_id=user)
        memory.sleep(user_id=user)
    assert asked(llm) == 3
    assert len(facts(memory, user_id="ben")) == 1
    llm.renew()
    memory.sleep(user_id="ben")
    assert len(facts(memory, user_id="ben")) == 2


def test_only_the_newest_replies_are_kept(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slowwave.store.replies.MOST", 3)
    (id_,) = memory.add("a", **U).ids
    replies = memory.store.replies(Scope(**U))
    for n in range(5):
        replies.put(f"key {n}", "m", Said(f"said {n}", 1, 1), [id_])
    assert [n for n in range(5) if replies.get(f"key {n}")] == [2, 3, 4]


# -- nothing said outlives its source


@pytest.mark.any_store(alone=True)
def test_no_byte_of_what_models_said_outlives_its_source(open_memory: Open, left: Left) -> None:
    memory = open_memory(llm=echoing(), system=Asking())
    tea, moon = memory.add(["teacanary is fine", "moon is far"], **U).ids
    memory.add("othercanary is fine", user_id="v")
    memory.sleep(**U)
    memory.sleep(user_id="v")

    words = ["lunarcanary", "teacanary", "othercanary"]
    assert set(left(words)) == set(words)
    receipt = memory.erase(moon, **U)
    assert receipt.clean
    assert (receipt.counts["rejected"], receipt.counts["replies"]) == (1, 1)
    assert set(left(words)) == {"teacanary", "othercanary"}
    assert memory.log(rejected=True, **U) == []
    assert {one.call.prompt for one in memory.log(calls=True, **U)} == {""}
    assert memory.erase(tea, **U).clean
    assert set(left(words)) == {"othercanary"}
    assert memory.check() == []
    assert [len(one.call.prompt) for one in memory.log(calls=True, user_id="v")] == [64]


@pytest.mark.any_store(alone=True)
def test_an_erasure_reaches_a_cache_of_the_users_own(open_memory: Open, tmp_path: Path, left: Left) -> None:
    cache = FileCache(tmp_path / "replies.db")
    memory = open_memory(llm=echoing(cache=cache), system=Asking())
    memory.add(["teacanary is fine", "wine is fine"], **U)
    memory.sleep(**U)
    assert len(cache) == 2
    memory.erase(filters={"text": {"contains": "tea"}}, **U)
    assert len(cache) == 1
    cache.close()
    assert left(["teacanary"]) == {}
    assert b"teacanary" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_a_model_that_was_named_goes_with_the_memory_and_one_that_was_given_stays(open_memory: Open) -> None:
    for given, closed in (("fake", [True]), (LLM(FakeChat()), [])):
        memory = open_memory(llm=given)
        seen: list[bool] = []
        assert memory.llm is not None
        memory.llm.model.close = lambda seen=seen: seen.append(True)  # type: ignore[attr-defined]
        memory.close()
        assert seen == closed


@pytest.mark.any_store(alone=True)
def test_what_is_erased_while_a_night_runs_is_not_kept(open_memory: Open, left: Left) -> None:
    memory = open_memory(llm=echoing(), system=Asking())
    other = open_memory()
    moon, sun = memory.add(["moon is far", "moon of the suncanary"], **U).ids

    def erase(n: int) -> None:
        if n == 1:
            assert other.erase(moon, **U).clean

    memory.system = Asking(erase)
    memory.sleep(**U)
    assert [aside.rejected.sources for aside in memory.log(rejected=True, **U)] == [(sun,)]
    assert memory.erase(sun, **U).clean
    assert left(["lunarcanary"]) == {}


def test_calls_and_rejections_go_out_and_come_home(
    open_memory: Open, elsewhere: Callable[[str], Path | str], tmp_path: Path
) -> None:
    memory = open_memory(llm=echoing(), system=Asking())
    memory.add(["tea is fine", "the moon is far"], **U)
    night = memory.sleep(**U)
    memory.export(tmp_path / "out.jsonl", **U)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [len(line["calls"]) for line in lines if line.get("verb") == "sleep"] == [2]
    assert not any("calls" in line for line in lines if line.get("verb") == "add")
    home = open_memory(elsewhere("home"))
    for _ in range(2):
        home.import_(tmp_path / "out.jsonl", **U)
        assert home.log(calls=True, **U) == memory.log(calls=True, **U)
        assert home.log(rejected=True, **U) == memory.log(rejected=True, **U)
        assert home.log(**U) == memory.log(**U)
    home.undo(night.op, **U)
    assert facts(home) == []
    home.export(tmp_path / "again.jsonl", **U)
    moved = open_memory(elsewhere("moved"))
    moved.import_(tmp_path / "out.jsonl", rehome=True, user_id="w")
    assert len(moved.log(rejected=True, user_id="w")) == 1


@pytest.mark.parametrize(
    "broken", [{"calls": [{"operation": "x"}]}, {"calls": 3}, {"rejected": ["x"]}, {"calls": [{"tokens_in": 1e400}]}]
)
def test_a_broken_line_of_calls_is_named(open_memory: Open, tmp_path: Path, broken: dict[str, Any]) -> None:
    from slowwave.errors import FormatError
    from slowwave.formats import write_jsonl

    memory = open_memory()
    call = {"operation": "a", "model": "b", "prompt": "c", "tokens_in": 1, "tokens_out": 1, "seconds": 0.5,
            "cached": False, "problem": ""}  # fmt: skip
    if isinstance(broken.get("calls"), list) and "tokens_in" in broken["calls"][0]:
        broken = {"calls": [{**call, **broken["calls"][0]}]}
    line = {"type": "operation", "id": "01A", "verb": "sleep", "scope": U, "recorded": "2024-01-01T00:00:00+00:00",
            "system": "default", "model": "", "params": {}, "undone_by": None, "changes": []}  # fmt: skip
    with (tmp_path / "x.jsonl").open("wb") as handle:
        write_jsonl([{**line, **broken}], handle)
    with pytest.raises(FormatError, match="operation '01A'"):
        memory.import_(tmp_path / "x.jsonl", **U)


# -- one sleeper a scope


def test_who_sleeps_is_named_and_nothing_is_asked(open_memory: Open) -> None:
    llm = echoing()
    memory = open_memory(llm=llm, system=Asking())
    memory.add("tea is fine", run_id="r", **U)
    with Holding(memory.store, Scope(**U, run_id="r"), "sleep"):
        for scope in ({**U}, {**U, "run_id": "r"}, {"run_id": "r"}):
            with pytest.raises(LeaseHeldError, match=r"process \d+ on .* run_id=r"):
                memory.sleep(**scope)
        assert memory.sleep(run_id="other", **U).op is None
        assert len(memory.sleep(dry_run=True, **U)) == 1
    assert asked(llm) == 1
    assert memory.sleep(**U).counts == {"add": 1}


def test_a_night_that_fails_gives_the_scope_free(open_memory: Open) -> None:
    def fail(n: int) -> None:
        raise ValueError("oh")

    memory = open_memory(llm=echoing(), system=Asking(fail))
    memory.add("tea is fine", **U)
    for _ in range(2):
        with pytest.raises(ValueError, match="oh"):
            memory.sleep(**U)
    assert memory.store.held_lease(Scope(**U), "sleep") is None


def test_a_night_whose_lease_was_lost_writes_nothing(open_memory: Open) -> None:
    memory = open_memory(llm=echoing(), system=Asking())
    memory.add(["tea is fine", "wine is fine"], **U)
    other = open_memory(llm=echoing(), system=Asking())

    def stand_still(n: int) -> None:
        if n == 1:  # as if this process had been stopped for a minute, and another had taken over
            with memory.store.connections.write() as connection:  # type: ignore[attr-defined]
                connection.execute("UPDATE leases SET expires = 0")
            other.sleep(**U)

    memory.system = Asking(stand_still)
    with pytest.raises(ConflictError, match="begin"):
        memory.sleep(**U)
    assert len(memory.log(verb="sleep", **U)) == 1
    assert sorted(facts(memory)) == ["tea is fine, says the model", "wine is fine, says the model"]


def test_a_lease_is_renewed_while_a_night_takes_long(memory: Memory) -> None:
    beats: queue.Queue[Any] = queue.Queue()
    renew = memory.store.renew_lease

    def spy(lease: Any, seconds: float) -> Any:
        beats.put(renew(lease, seconds))
        return lease

    memory.store.renew_lease = spy  # type: ignore[method-assign]
    with Holding(memory.store, Scope(**U), "sleep", seconds=0.2) as held:
        ends = [held.lease.expires, beats.get(timeout=30).expires, beats.get(timeout=30).expires]
        assert ends == sorted(set(ends))
        assert not held.lost


def test_a_lost_lease_ends_the_work_at_its_next_step(memory: Memory) -> None:
    lost = threading.Event()
    renew = memory.store.renew_lease

    def spy(lease: Any, seconds: float) -> Any:
        renewed = renew(lease, seconds)
        if renewed is None:
            lost.set()
        return renewed

    memory.store.renew_lease = spy  # type: ignore[method-assign]
    steps: list[str] = []
    with Holding(memory.store, Scope(**U), "sleep", seconds=0.2) as held:
        progress = held.watching(lambda stage, done, total: steps.append(stage))
        progress("first", 0, 1)
        memory.store.release_lease(held.lease)
        assert lost.wait(30)
        held._beat.join()
        with pytest.raises(ConflictError, match="was lost"):
            progress("second", 0, 1)
    assert steps == ["first", "second"]


def test_what_a_dead_process_held_is_taken_over_at_once(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = Scope(**U)
    lease = memory.store.take_lease(scope, "sleep", "one that will die", 60)
    assert lease is not None
    monkeypatch.setattr(leases, "lives", lambda process: False)
    assert memory.store.held_lease(scope, "sleep") is None
    assert memory.store.take_lease(scope, "sleep", "the next", 60) is not None
    assert memory.store.renew_lease(lease, 60) is None
    monkeypatch.setattr(leases, "machine", lambda: "another machine")
    assert memory.store.held_lease(scope, "sleep") is not None, "of another machine's processes nothing is known"


def test_a_store_that_only_reads_is_not_slept_on(open_memory: Open) -> None:
    open_memory().add("I live in Porto", speaker="Ana", **U)
    late = open_memory(readonly=True)
    with pytest.raises(StoreReadOnlyError):
        late.sleep(**U)
    assert late.sleep(dry_run=True, **U).counts == {"add": 1}
