"""What every text system must hold, whatever paper it follows: sources, scopes, undo, nothing lost or invented.

Each check opens memories of its own with the system under test, the fake embedder and a short made-up diary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from slowwave.checks.bench import expect, run_all
from slowwave.memory import Memory
from slowwave.models.chat import Message, Reply
from slowwave.models.llm import LLM
from slowwave.ops.packing import estimate_tokens
from slowwave.records import Engram
from slowwave.text.base import TextSystem

SystemFactory = Callable[[], TextSystem]
ANA: Any = {"user_id": "ana"}
BEN: Any = {"user_id": "ben"}
OPERATIONS = {"consolidation", "updating", "indexing", "forgetting", "retrieval", "compression"}
START = datetime(2024, 3, 4, 9, tzinfo=UTC)
SAID = (
    "I live in Rome.", "My sister Clara plays the cello.", "The bakery opens at seven.", "I work at Acme.",
    "My favourite colour is green.", "We went to the lake by train.", "My dentist is called Weber.",
    "I adopted a cat named Miso.", "The garden needs rain.", "My phone number is 555-0147.",
)  # fmt: skip
LATER = (
    "I moved to Oslo.", "Clara gave a concert in the old church.", "I now work at Globex.", "I live in Oslo now.",
    "Miso caught a mouse.", "My favourite colour is now blue.", "The lake was frozen.", "I read a book on bees.",
)  # fmt: skip


class FakeNonsense:
    """A stand-in for a model that answers every prompt with the same words, whatever it was asked."""

    name = "fake-nonsense"
    context_tokens = 0

    def __init__(self, text: str) -> None:
        self.text = text

    def chat(self, messages: Sequence[Message], **settings: Any) -> Reply:
        return Reply(self.text, 1, 1)

    def count_tokens(self, text: str) -> int:
        return estimate_tokens(text)


@contextmanager
def lived(make: SystemFactory, nights: int = 2, **memory: Any) -> Iterator[Memory]:
    """A memory with two sessions of Ana's diary, one line of Ben's, and so many nights."""
    now = [START]
    with Memory(":memory:", embedder="fake", system=make(), clock=lambda: now[0], **memory) as opened:
        for session, lines in enumerate((SAID, LATER)):
            now[0] = START + timedelta(days=21 * session)
            turns = [
                {"role": "user", "content": line, "at": (now[0] + timedelta(minutes=n)).isoformat()}
                for n, line in enumerate(lines)
            ]
            opened.add(turns, session=f"s{session}", speaker="Ana", **ANA)
            now[0] += timedelta(hours=8)
            if session < nights:
                opened.sleep(**ANA)
        opened.add("Ana told me that the vault's code is 7731.", speaker="Ben", **BEN)
        yield opened


def state(memory: Memory) -> dict[str, tuple[Any, ...]]:
    """All of Ana's records as a comparable table."""
    return {
        e.id: (e.kind, e.text, e.until, e.retired, e.strength, tuple(sorted(map(str, e.attrs.items()))), e.sources)
        for e in memory.list(limit=None, retired=True, **ANA)
    }


def derived(memory: Memory) -> list[Engram]:
    return [e for e in memory.list(limit=None, retired=True, **ANA) if e.kind != "episode"]


def its_row_in_the_atlas_is_filled(make: SystemFactory) -> None:
    system = make()
    plain = system.name and system.name == system.name.lower() and " " not in system.name
    expect(plain, f"its name is {system.name!r}")
    expect(system.operations and set(system.operations) <= OPERATIONS, f"its operations are {system.operations}")
    for field in ("claim",) if system.name == "default" else ("paper", "claim", "differs"):
        expect(getattr(system, field).strip(), f"its {field} is empty")
    expect((type(system).__doc__ or "").strip(), "its class says nothing of itself")


def what_was_said_is_found_before_and_after_a_night(make: SystemFactory) -> None:
    for nights in (0, 2):
        with lived(make, nights) as memory:
            hits = memory.search("Which cat named Miso did I adopt?", top_k=5, threshold=0, **ANA)
            expect(hits and len(hits) <= 5, f"{len(hits)} hits of at most 5 after {nights} nights")
            expect(any("Miso" in hit.text for hit in hits), f"no cat after {nights} nights: {hits!r:.300}")
            scores = [hit.score for hit in hits]
            expect(scores == sorted(scores, reverse=True), f"the scores are not in order: {scores}")
            expect(scores[-1] >= 0 and scores[0] <= 1, f"a score lies outside [0, 1]: {scores}")
            expect(all(hit.engram.retired is None for hit in hits), "a retired record was found")


def an_empty_scope_gives_nothing(make: SystemFactory) -> None:
    with lived(make) as memory:
        expect(len(memory.search("Who?", threshold=0, user_id="nobody")) == 0, "it found something in an empty scope")
        expect(memory.sleep(user_id="nobody").op is None, "a night of an empty scope changed something")
        made = memory.context("Who?", user_id="nobody", threshold=0)
        expect(not made.hits, f"the context of an empty scope holds {made.text!r}")


def nobody_sees_another_scope(make: SystemFactory) -> None:
    with lived(make) as memory:
        memory.sleep(**BEN)
        for hit in memory.search("What is the code of the vault?", threshold=0, top_k=50, **ANA):
            expect(hit.engram.scope.user_id == "ana", f"Ana sees {hit.text!r}")
        expect("7731" not in memory.context("code of the vault", threshold=0, **ANA).text, "Ana's context shows Ben's")
        expect(all("7731" not in e.text for e in derived(memory)), "a night of Ana's wrote down what Ben said")


def filters_kinds_and_dates_hold(make: SystemFactory) -> None:
    with lived(make) as memory:
        for hit in memory.search("Where do I live?", kinds=["episode"], threshold=0, **ANA):
            expect(hit.engram.kind == "episode", f"asked for episodes, it gives a {hit.engram.kind}")
        moment = START + timedelta(days=1)
        for hit in memory.search("Where do I live?", at=moment, threshold=0, **ANA):
            held = hit.engram.at <= moment and (hit.engram.until is None or hit.engram.until > moment)
            expect(held, f"asked as of {moment:%Y-%m-%d}, it gives {hit!r}")
        for hit in memory.search("Where do I live?", filters={"session": "s0"}, threshold=0, **ANA):
            expect(hit.engram.session == "s0", f"asked for session s0, it gives {hit!r}")


def what_is_derived_names_its_sources(make: SystemFactory) -> None:
    with lived(make) as memory:
        known = state(memory)
        for engram in derived(memory):
            expect(engram.sources, f"{engram.kind} {engram.text!r:.80} names no source")
            expect(set(engram.sources) <= set(known), f"{engram.text!r:.80} names a source that is not there")


def episodes_keep_their_words(make: SystemFactory) -> None:
    with lived(make) as memory:
        kept = {e.text for e in memory.list(limit=None, retired=True, kinds=["episode"], **ANA)}
        expect(kept == {*SAID, *LATER}, f"episodes changed: {kept ^ {*SAID, *LATER}}")


def a_night_without_news_changes_nothing(make: SystemFactory) -> None:
    with lived(make) as memory:
        before = state(memory)
        report = memory.sleep(**ANA)
        expect(state(memory) == before, f"a night without news did {dict(report.counts)}")


def a_dry_run_changes_nothing_and_proposes_the_same(make: SystemFactory) -> None:
    with lived(make, nights=0) as memory:
        before = state(memory)
        proposed = memory.sleep(dry_run=True, **ANA)
        expect(state(memory) == before, "a dry run changed the store")
        done = memory.sleep(**ANA)
        expect(dict(proposed.counts) == dict(done.counts), f"proposed {proposed.counts}, done {done.counts}")


def undoing_a_night_brings_all_back(make: SystemFactory) -> None:
    with lived(make, nights=1) as memory:
        before = {id_: row for id_, row in state(memory).items() if row[3] is None}
        report = memory.sleep(**ANA)
        if report.op is not None:
            memory.undo(report.op, **ANA)
        after = {id_: row for id_, row in state(memory).items() if row[3] is None}
        expect(after == before, "what is in view after the undo is not what was before the night")


def the_same_days_give_the_same_memory(make: SystemFactory) -> None:
    tables = []
    for _ in range(2):
        with lived(make) as memory:
            tables.append(sorted((e.kind, e.text, str(e.until)) for e in memory.list(limit=None, **ANA)))
    expect(tables[0] == tables[1], "two memories that lived the same days differ")


def the_context_keeps_its_budget(make: SystemFactory) -> None:
    with lived(make) as memory:
        for budget in (60, 200, 1000):
            made = memory.context("Where do I live and work?", max_tokens=budget, threshold=0, **ANA)
            expect(estimate_tokens(made.text) <= budget, f"{estimate_tokens(made.text)} tokens in a budget of {budget}")


def erasing_a_source_erases_what_was_made_of_it(make: SystemFactory) -> None:
    with lived(make) as memory:
        cat = next(e for e in memory.list(limit=None, **ANA) if e.kind == "episode" and "Miso" in e.text)
        memory.erase(cat.id, **ANA)
        left = [e for e in memory.list(limit=None, retired=True, **ANA) if cat.id in e.sources]
        expect(not left, f"still there: {left!r:.200}")


def a_model_that_talks_nonsense_harms_nothing(make: SystemFactory) -> None:
    invented = '{"items": [{"said_in": ["1"], "subject": "Zorblax", "attribute": "home", "value": "Mars 4242", '
    invented += '"fact": "Zorblax lives on Mars 4242."}]}'
    for words in ("", "I cannot help with that.", "{", "[1, 2", '{"items": "none"}', invented):
        with lived(make, llm=LLM(FakeNonsense(words), wait=lambda seconds: None)) as memory:
            kept = {e.text for e in memory.list(limit=None, retired=True, kinds=["episode"], **ANA)}
            expect(kept == {*SAID, *LATER}, f"after {words!r:.40} episodes are gone")
            wrong = [e.text for e in derived(memory) if "Zorblax" in e.text or "cannot help" in e.text]
            expect(not wrong, f"after {words!r:.40} it holds {wrong}")
            hits = memory.search("Which cat named Miso did I adopt?", top_k=5, threshold=0, **ANA)
            expect(any("Miso" in hit.text for hit in hits), f"after {words!r:.40} the cat is not found")


def it_asks_a_model_only_when_it_says_so(make: SystemFactory) -> None:
    llm = LLM(FakeNonsense("{}"), wait=lambda seconds: None)

    def asked() -> int:
        return llm.total().calls + llm.total().cached

    with lived(make, llm=llm) as memory:
        slept = asked()
        expect(not slept or "sleep" in make().asks, f"nights asked a model {slept} times, and `asks` does not say so")
        for question in ("Where does Ana live?", "Why did Ana move, and what did we do in March?"):
            memory.search(question, ask=True, threshold=0, **ANA)
            memory.context(question, ask=True, threshold=0, **ANA)
        read = asked() - slept
        expect(not read or "reading" in make().asks, f"reading asked a model {read} times, and `asks` does not say so")


SYSTEM_CHECKS: tuple[Callable[[SystemFactory], None], ...] = (
    its_row_in_the_atlas_is_filled, what_was_said_is_found_before_and_after_a_night, an_empty_scope_gives_nothing,
    nobody_sees_another_scope, filters_kinds_and_dates_hold, what_is_derived_names_its_sources,
    episodes_keep_their_words, a_night_without_news_changes_nothing, a_dry_run_changes_nothing_and_proposes_the_same,
    undoing_a_night_brings_all_back, the_same_days_give_the_same_memory, the_context_keeps_its_budget,
    erasing_a_source_erases_what_was_made_of_it, a_model_that_talks_nonsense_harms_nothing,
    it_asks_a_model_only_when_it_says_so,
)  # fmt: skip


def check_text_system(
    make: SystemFactory, skip: Mapping[str, str] | None = None, show: Callable[[str], None] = print
) -> None:
    """Hold a text system to its contract; AssertionError names the first check that fails.

    make  called without arguments, gives a fresh system each time
    skip  check's name -> why it does not apply
    """
    run_all(SYSTEM_CHECKS, lambda check: check(make), skip or {}, show)
