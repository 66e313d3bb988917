"""Sleeping in the background: when it sleeps and when not, that it stops at once, and that its errors are heard."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from asking import Asking, echoing
from slowwave import AsyncMemory, Memory, Scope
from slowwave.errors import InputError, StoreBusyError, StoreFullError
from slowwave.store.base import Cursor, Want
from slowwave.store.holding import Holding
from slowwave.text.base import Dream, Night
from slowwave.text.default import DefaultMemory
from slowwave.watch import Slept, Watch, watch
from ticking import Clock

U: Any = {"user_id": "u"}
Open = Callable[..., Memory]
SOON = 60.0  # seconds that a test waits for what is due at once, before it fails

pytestmark = pytest.mark.any_store


def own_threads() -> list[str]:
    """The threads of watching and of its lease that still run (other tests and libraries have some of their own)."""
    return [t.name for t in threading.enumerate() if t.name == "slowwave-watch" or t.name.endswith("-lease")]


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until it is told to move."""

    class Still(Clock):
        def __call__(self) -> Any:
            return self.now

    return Still()


def looking(memory: Memory, each: str | None = None, within: Any = None, **plan: Any) -> Watch:
    """A watch that looks when the test says so."""
    chosen = {"minutes": None, "idle_seconds": None, "hours": None, "new_records": 1, **plan}
    return watch(memory, **chosen, each=each, within=U if within is None and each is None else within or {})


# -- when


def test_it_sleeps_when_nobody_wrote_for_a_while_and_not_again_without_news(memory: Memory, clock: Clock) -> None:
    watching = looking(memory)
    watching.look()
    assert watching.state == "user_id=u: 0 of 1 new records are there"
    memory.add("I live in Porto", speaker="Ana", **U)
    watching.look()
    assert watching.state.startswith("user_id=u: written to 0 s ago")
    clock.pass_(seconds=59)
    watching.look()
    assert watching.nights == 0
    clock.pass_(seconds=1)
    watching.look()
    assert watching.nights == 1
    assert watching.last is not None
    assert watching.last.report.counts == {"add": 1}
    assert (watching.last.scope, watching.last.began) == (Scope(**U), clock.now)
    assert watching.last.line() == (
        f"{clock.now:%Y-%m-%d %H:%M}  user_id=u  1 add  ({watching.last.report.seconds:.2f} s)  "
        f"{watching.last.report.op}"
    )
    clock.pass_(days=1)
    watching.look()
    assert watching.nights == 1
    memory.add("I like tea", speaker="Ana", **U)
    clock.pass_(seconds=30)
    memory.forget(subject="tea", **U)  # a write, though there is nothing new to sleep on
    memory.add("I like wine", speaker="Ana", **U)
    clock.pass_(seconds=45)
    watching.look()
    assert watching.nights == 1
    clock.pass_(seconds=15)
    watching.look()
    assert watching.nights == 2


def test_hours_are_the_memorys_zones(open_memory: Open, clock: Clock) -> None:
    memory = open_memory(zone="Asia/Tokyo")
    watching = looking(memory, hours="23:00-01:00")
    memory.add("I live in Porto", **U)  # 2024-01-01 09:00 in Tokyo
    watching.look()
    assert watching.state == "user_id=u: it is not the hour"
    clock.pass_(hours=14)
    memory.add("I like tea", **U)
    watching.look()
    assert (watching.nights, watching.state) == (1, "user_id=u: slept at 23:00:00")


def test_nights_without_news_are_slept_where_that_was_asked_for(memory: Memory, clock: Clock) -> None:
    watching = looking(memory, minutes=30, idle_seconds=0, new_records=0)
    for _ in range(4):
        watching.look()
        clock.pass_(minutes=20)
    assert watching.nights == 2


def test_every_user_is_slept_on_alone(memory: Memory, clock: Clock) -> None:
    watching = looking(memory, each="user_id", idle_seconds=0)
    watching.look()
    assert watching.nights == 0
    memory.add("I live in Porto", speaker="Ana", user_id="ana", run_id="r")
    memory.add("I live in Faro", speaker="Ben", user_id="ben", agent_id="bot")
    memory.add("I live in a server", speaker="bot", agent_id="bot")
    told: list[str] = []
    watching.on_night = lambda slept: told.append(str(slept.scope))
    watching.look()
    assert told == ["user_id=ana", "user_id=ben"]
    within = looking(memory, each="user_id", within={"agent_id": "bot"}, idle_seconds=0)
    within.look()
    assert (within.nights, str(within.last and within.last.scope)) == (1, "user_id=ben agent_id=bot")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "no scope"),
        ({"each": "session", **U}, "each is 'session'"),
        ({"each": "user_id", **U}, "leave one of them out"),
        ({"hours": "soon", **U}, "hours"),
        ({"user": "u"}, "user"),
        ({"each": "agent_id", "user": "u"}, "user"),
    ],
)
def test_what_cannot_be_watched_is_named(memory: Memory, given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        memory.sleep_every(**given)
    assert own_threads() == []


# -- what stands in its way


def test_it_waits_for_who_sleeps_already(open_memory: Open, clock: Clock) -> None:
    memory, other = open_memory(), open_memory()
    memory.add("I live in Porto", run_id="r", **U)
    watching = looking(memory, idle_seconds=0)
    with Holding(other.store, Scope(**U, run_id="r"), "sleep"):
        watching.look()
        assert watching.state.startswith("user_id=u: process ")
        assert watching.state.endswith("sleeps on user_id=u run_id=r")
        assert (watching.nights, watching.error) == (0, None)
    watching.look()
    assert watching.nights == 1


def test_an_error_that_may_pass_is_tried_again_ever_more_rarely(memory: Memory, clock: Clock) -> None:
    memory.add("I live in Porto", **U)
    watching = looking(memory, idle_seconds=0)
    times: list[Any] = []
    watching.on_trouble = lambda scope, error: times.append(clock.now)
    apply = memory.store.apply

    def full(*given: Any) -> Any:
        raise StoreFullError("no room")

    memory.store.apply = full  # type: ignore[method-assign]
    for _ in range(800):
        watching.look()
        clock.pass_(seconds=15)
    gaps = [(b - a).total_seconds() for a, b in pairwise(times)]
    assert gaps[:9] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert isinstance(watching.error, StoreFullError)
    memory.store.apply = apply  # type: ignore[method-assign]
    clock.pass_(hours=1)
    watching.look()
    assert (watching.nights, watching.error) == (1, None)
    memory.add("I like tea", **U)
    watching.look()
    assert watching.nights == 2


def test_a_night_that_gets_nowhere_is_not_slept_again_at_once(open_memory: Open, clock: Clock) -> None:
    llm = echoing(max_calls=2)
    memory = open_memory(llm=llm, system=Asking())
    memory.add([f"thing {n}" for n in range(5)], **U)
    watching = looking(memory, idle_seconds=0)
    for _ in range(20):
        watching.look()
        clock.pass_(seconds=1)
    assert watching.nights == 2, "one that spends the budget, one that finds it spent"
    clock.pass_(days=1)
    watching.look()
    assert watching.nights == 3
    assert len(memory.list(kinds=["fact"], **U)) == 4, "the budget is a day's"


def test_what_a_night_leaves_behind_is_slept_on_when_more_comes(memory: Memory, clock: Clock) -> None:
    class Pairs(DefaultMemory):
        """Looks at records two at a time, and leaves an odd one for the next night."""

        def sleep(self, night: Night) -> Dream:
            ns = [n for n, _ in night.view.after(night.since.last, 99, Want())]
            return Dream((), {}, Cursor(ns[len(ns) // 2 * 2 - 1] if len(ns) > 1 else night.since.last))

    memory.system = Pairs()
    memory.add(["one", "two", "three"], **U)
    watching = looking(memory, idle_seconds=0)
    for _ in range(1000):
        watching.look()
        clock.pass_(seconds=1)
    assert 5 <= watching.nights <= 8, "ever more rarely, while there is nothing more"
    nights = watching.nights
    memory.add("four", **U)
    watching.look()
    assert watching.nights == nights + 1
    assert memory.store.view(Scope(**U)).pulse("default", 9).fresh == 0


# -- in its thread


def test_it_sleeps_by_itself_until_the_memory_is_closed(open_memory: Open) -> None:
    memory = open_memory()
    slept = threading.Event()
    told: list[Slept] = []

    def night(one: Slept) -> None:
        told.append(one)
        slept.set()

    memory.add("I live in Porto", speaker="Ana", **U)
    watching = memory.sleep_every(idle_seconds=0, on_night=night, **U)
    assert slept.wait(SOON)
    assert watching.running
    assert watching.to_dict()["last"]["counts"] == {"add": 1}
    memory.close()
    assert (watching.running, watching.state, watching.nights) == (False, "stopped", 1)
    assert told == [watching.last]
    assert own_threads() == []


def test_it_stops_in_the_middle_of_a_night_and_the_next_goes_on(open_memory: Open) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(n: int) -> None:
        if n == 2:
            begun.set()
            assert go_on.wait(SOON)

    llm = echoing()
    memory = open_memory(llm=llm, system=Asking(wait))
    memory.add([f"thing {n}" for n in range(5)], **U)
    watching = memory.sleep_every(idle_seconds=0, **U)
    assert begun.wait(SOON)
    assert watching.state == "user_id=u: sleeping, ask 1 of 5"
    assert watching.stop(timeout_seconds=0.01) is None
    assert watching.running, "it waits for the step that is under way"
    go_on.set()
    assert watching.stop(SOON) is None
    assert (watching.running, watching.nights, watching.state) == (False, 0, "stopped")
    assert memory.log(verb="sleep", **U) == []
    assert memory.store.held_lease(Scope(**U), "sleep") is None
    memory.system = Asking()
    assert len(memory.sleep(**U)) == 5
    assert len(llm.model.asked) == 5, "two were asked before, and three now"  # type: ignore[attr-defined]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_does_not_watch_and_can_end(memory: Memory) -> None:
    watching = memory.sleep_every(**U)
    child = os.fork()
    if not child:
        os._exit(watching.running or watching.stop() is not None)
    assert os.waitpid(child, 0)[1] == 0
    assert watching.running


def test_a_fault_ends_it_and_is_raised_where_somebody_waits(open_memory: Open) -> None:
    class Faulty(DefaultMemory):
        def sleep(self, night: Night) -> Dream:
            raise ZeroDivisionError("a fault")

    memory = open_memory(system=Faulty())
    memory.add("I live in Porto", **U)
    watching = memory.sleep_every(idle_seconds=0, **U)
    with pytest.raises(ZeroDivisionError, match="a fault"):
        watching.wait(SOON)
    assert (watching.running, watching.state) == (False, "ended: ZeroDivisionError: a fault")
    assert watching.to_dict()["error"] == "ZeroDivisionError: a fault"
    with pytest.raises(ZeroDivisionError):
        memory.close()
    with pytest.raises(Exception, match="closed"):
        memory.list(**U)


def test_it_goes_on_after_a_file_that_was_busy_while_it_looked(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slowwave.watch.FIRST_PAUSE", 0.0)
    memory.add("I live in Porto", **U)
    heard, slept = threading.Event(), threading.Event()
    view = memory.store.view

    def busy(scope: Scope) -> Any:
        if not heard.is_set():
            raise StoreBusyError("locked")
        return view(scope)

    monkeypatch.setattr(memory.store, "view", busy)
    watching = memory.sleep_every(
        idle_seconds=0, on_night=lambda one: slept.set(), on_trouble=lambda scope, error: heard.set(), **U
    )
    assert slept.wait(SOON)
    assert watching.error is None
    watching.stop()


def test_two_watches_of_one_memory_never_sleep_at_once(open_memory: Open) -> None:
    inside: list[int] = []
    most: list[int] = []
    done = threading.Event()

    def step(n: int) -> None:
        inside.append(n)
        most.append(len(inside))
        time.sleep(0.002)
        inside.pop()

    memory = open_memory(llm=echoing(), system=Asking(step))
    both = [memory.sleep_every(idle_seconds=0, **scope) for scope in ({**U}, {**U, "run_id": "r"})]
    for turn in range(10):
        memory.add([f"thing {turn} {n}" for n in range(5)], run_id="r", **U)
        end = time.monotonic() + SOON
        while len(memory.list(kinds=["fact"], limit=None, **U)) < 5 * (turn + 1):
            assert time.monotonic() < end, [each.state for each in both]
            done.wait(0.01)
    for each in both:
        each.stop()
    assert set(most) == {1}
    assert len(memory.list(kinds=["fact"], limit=None, **U)) == 50


def test_an_async_memory_sleeps_in_the_background_too() -> None:
    async def live() -> None:
        async with AsyncMemory(":memory:", embedder="fake") as memory:
            await memory.add("I live in Porto", speaker="Ana", **U)
            slept: asyncio.Queue[str] = asyncio.Queue()
            loop = asyncio.get_running_loop()
            watching = await memory.sleep_every(
                idle_seconds=0, on_night=lambda one: loop.call_soon_threadsafe(slept.put_nowait, one.line()), **U
            )
            assert "1 add" in await asyncio.wait_for(slept.get(), SOON)
            await asyncio.to_thread(watching.stop)
            assert not watching.running

    asyncio.run(live())
