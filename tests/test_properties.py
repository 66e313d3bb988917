"""Memory against a plain model of it: any sequence of calls leaves what the model says, in every scope, at any time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from postgres_server import Server
from slowwave import Engram, Memory, Scope
from slowwave.errors import ConflictError, NotFoundError
from ticking import Clock

ANA, RUN, BEN = Scope(user_id="ana"), Scope(user_id="ana", run_id="r"), Scope(user_id="ben")
SCOPES = (ANA, RUN, BEN)
TEXTS = st.sampled_from(
    ["I live in Porto", "I moved to Lisbon", "I like red wine", "I like white wine", "My name is Ana", "Yes", "No",
     "I live in Porto now", "We met Ben in May", "The train to Lisbon was late", "Ben works at the harbour"]
)  # fmt: skip
USED = ("strength", "used", "due", "half_life_days")
INDEX = st.integers(0, 10_000)


@dataclass
class Held:
    """A record as the model knows it."""

    id: str
    text: str
    scope: Scope
    kind: str
    sources: tuple[str, ...]
    fields: dict[str, Any]


@dataclass
class Done:
    """An operation as the model knows it: lines are (id, field, before, after); field "added" for a new record."""

    op: str
    verb: str
    scope: Scope
    lines: list[tuple[str, str, Any, Any]] = field(default_factory=list)
    undone_by: str | None = None
    undoes: str | None = None


def state(engram: Engram) -> dict[str, Any]:
    """The fields of a record that the journal keeps, apart from its strength."""
    return {"out": engram.retired_why, "until": engram.until, "attrs": dict(engram.attrs)}


def plain(engrams: Iterable[Engram]) -> list[dict[str, Any]]:
    """Records without what uses change, which is no part of what was known."""
    return [{name: value for name, value in engram.to_dict().items() if name not in USED} for engram in engrams]


class MemoryMachine(RuleBasedStateMachine):
    """Each rule calls Memory and the model alike; the invariants compare them in every scope."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "memory.db"
        self.clock = Clock()
        self.memory = self.reopened()
        self.records: dict[str, Held] = {}
        self.keys: dict[tuple[Scope, str, int], str] = {}
        self.done: list[Done] = []
        self.snapshots: list[tuple[datetime, Scope, list[dict[str, Any]]]] = []

    def reopened(self) -> Memory:
        return Memory(self.path, embedder="fake", clock=self.clock, durable=False)

    def teardown(self) -> None:
        if hasattr(self, "memory"):
            try:
                self.time_travel()
                assert self.memory.check() == []
            finally:
                self.memory.close()
                self.folder.cleanup()

    # -- the model

    def seen(self, scope: Scope) -> list[Held]:
        return [held for held in self.records.values() if scope.covers(held.scope)]

    def shown(self, scope: Scope) -> list[Held]:
        return [held for held in self.seen(scope) if held.fields["out"] is None]

    def dependents(self, scope: Scope, ids: Iterable[str]) -> list[str]:
        gone, out = set(ids), []
        while more := [
            h.id for h in self.shown(scope) if h.id not in gone and h.sources and gone.issuperset(h.sources)
        ]:
            gone.update(more)
            out += more
        return out

    def set(self, done: Done, id_: str, name: str, value: Any) -> None:
        held = self.records[id_]
        done.lines.append((id_, name, held.fields[name], value))
        held.fields[name] = value

    def finish(self, done: Done) -> None:
        if done.lines:
            self.done.append(done)

    def reverse(self, done: Done, op: str, scope: Scope) -> Done:
        """The model's undo; ConflictError if a later operation stands against it."""
        before = {id_: dict(held.fields) for id_, held in self.records.items()}
        back = Done(op, "undo", scope, undoes=done.op)
        added = [id_ for id_, name, *_ in done.lines if name == "added"]
        for id_ in self.dependents(scope, added):
            self.set(back, id_, "out", "undone")
        for id_, name, old, new in reversed(done.lines):
            held = self.records[id_]
            if name == "tie":
                back.lines.append((id_, "tie", None, None))
                continue
            if (held.fields["out"] is not None) if name == "added" else (held.fields[name] != new):
                for other, fields in before.items():
                    self.records[other].fields = fields
                raise ConflictError(f"{id_} was changed meanwhile")
            self.set(back, id_, "out" if name == "added" else name, "undone" if name == "added" else old)
        done.undone_by = op
        for other in self.done:
            if other.undone_by == done.op:
                other.undone_by = None
        return back

    def pick(self, scope: Scope, index: int) -> Held | None:
        shown = self.shown(scope)
        return shown[index % len(shown)] if shown else None

    # -- the rules

    @rule(scope=st.sampled_from(SCOPES), texts=st.lists(TEXTS, min_size=1, max_size=4), many=st.booleans())
    def add(self, scope: Scope, texts: list[str], many: bool) -> None:
        content: Any = [{"content": text} for text in texts] if many else texts[0]
        report = self.memory.add(content, **scope.to_dict())
        done = Done(report.op or "", "add", scope)
        said: dict[str, int] = {}
        for text, outcome in zip(texts if many else texts[:1], report, strict=True):
            nth = said.get(text, 0)
            said[text] = nth + 1
            known = self.keys.get((scope, text, nth))
            if known is None:
                assert outcome.event == "ADD"
                self.keys[scope, text, nth] = outcome.id
                fields = {"out": None, "until": None, "attrs": {}}
                self.records[outcome.id] = Held(outcome.id, text, scope, "episode", (), fields)
                done.lines.append((outcome.id, "added", None, True))
            elif self.records[known].fields["out"] in ("forgotten", "undone"):
                assert (outcome.id, outcome.event) == (known, "UPDATE")
                self.set(done, known, "out", None)
            else:
                assert (outcome.id, outcome.event) == (known, "NONE")
        assert bool(report.op) == bool(done.lines)
        self.finish(done)

    @rule(scope=st.sampled_from(SCOPES), index=INDEX, text=TEXTS)
    def update_text(self, scope: Scope, index: int, text: str) -> None:
        held = self.pick(scope, index)
        if held is None or held.text == text:
            return
        report = self.memory.update(held.id, text, **scope.to_dict())
        done = Done(report.op or "", "update", scope)
        kind = "fact" if held.kind == "episode" else held.kind
        fields = {**held.fields, "attrs": {k: v for k, v in held.fields["attrs"].items() if v is not None}}
        self.records[report[0].id] = Held(report[0].id, text, held.scope, kind, (held.id,), fields)
        done.lines.append((report[0].id, "added", None, True))
        self.set(done, held.id, "out", "corrected")
        self.finish(done)

    @rule(scope=st.sampled_from(SCOPES), index=INDEX, key=st.sampled_from("ab"), value=st.integers(0, 2) | st.none())
    def update_attrs(self, scope: Scope, index: int, key: str, value: int | None) -> None:
        held = self.pick(scope, index)
        if held is None:
            return
        report = self.memory.update(held.id, attrs={key: value}, **scope.to_dict())
        attrs = {k: v for k, v in {**held.fields["attrs"], key: value}.items() if v is not None}
        done = Done(report.op or "", "update", scope)
        if attrs != held.fields["attrs"]:
            self.set(done, held.id, "attrs", attrs)
        assert bool(report.op) == bool(done.lines)
        self.finish(done)

    @rule(scope=st.sampled_from(SCOPES), index=INDEX)
    def update_until(self, scope: Scope, index: int) -> None:
        held = self.pick(scope, index)
        if held is None:
            return
        end = self.clock.now
        report = self.memory.update(held.id, until=end, **scope.to_dict())
        done = Done(report.op or "", "update", scope)
        self.set(done, held.id, "until", end)
        self.finish(done)

    @rule(scope=st.sampled_from(SCOPES), index=INDEX, how=st.sampled_from(["id", "filters", "subject", "all"]))
    def forget(self, scope: Scope, index: int, how: str) -> None:
        shown = self.shown(scope)
        word = ("wine", "Lisbon", "Ben")[index % 3]
        asked: dict[str, Any] = {how: True}
        chosen = [held.id for held in shown if how == "all" or word.lower() in held.text.lower()]
        if how == "id":
            chosen = [held.id for held in shown[index % 5 :][:2]]
            asked = {"id": chosen}
        elif how == "filters":
            asked = {"filters": {"text": {"icontains": word}}}
        elif how == "subject":
            chosen = [held.id for held in shown if held.id in chosen or held.fields["attrs"].get("speaker") == word]
            asked = {"subject": word}
        report = self.memory.forget(**asked, **scope.to_dict())
        done = Done(report.op or "", "forget", scope)
        for id_ in [*chosen, *self.dependents(scope, chosen)]:
            self.set(done, id_, "out", "forgotten")
        assert set(report.ids) == {id_ for id_, *_ in done.lines}
        self.finish(done)

    @precondition(lambda self: self.done)
    @rule(index=INDEX, last=st.booleans(), scope=st.sampled_from(SCOPES))
    def undo(self, index: int, last: bool, scope: Scope) -> None:
        own = [done for done in self.done if scope.covers(done.scope)]
        if last:
            own = [done for done in own if done.undone_by is None and done.verb != "undo"]
            if not own:
                with pytest.raises(NotFoundError):
                    self.memory.undo(**scope.to_dict())
                return
        chosen = own[-1] if last else self.done[index % len(self.done)]
        scope = scope if last else chosen.scope
        asked = None if last else chosen.op
        now = self.clock.now
        try:
            if chosen.undone_by is not None:
                raise ConflictError("it was undone already")
            back = self.reverse(chosen, "", scope)
        except ConflictError:
            with pytest.raises(ConflictError):
                self.memory.undo(asked, **scope.to_dict())
            assert self.clock.now >= now
            return
        report = self.memory.undo(asked, **scope.to_dict())
        assert report.op is not None
        back.op = chosen.undone_by = report.op
        self.done.append(back)

    @rule(scope=st.sampled_from(SCOPES), index=INDEX, how=st.sampled_from(["id", "filters"]))
    def erase(self, scope: Scope, index: int, how: str) -> None:
        seen = self.seen(scope)
        if not seen:
            return
        held = seen[index % len(seen)]
        chosen = {held.id} if how == "id" else {other.id for other in seen if "Yes" in other.text}
        asked: dict[str, Any] = {"id": held.id} if how == "id" else {"filters": {"text": {"contains": "Yes"}}}
        while more := {h.id for h in self.records.values() if h.id not in chosen and chosen.intersection(h.sources)}:
            chosen |= more
        receipt = self.memory.erase(**asked, **scope.to_dict())
        assert set(receipt.ids) == chosen
        assert receipt.clean, receipt
        for id_ in chosen:
            del self.records[id_]
        self.keys = {key: id_ for key, id_ in self.keys.items() if id_ in self.records}
        for done in self.done:
            done.lines = [line for line in done.lines if line[0] in self.records]
        self.done = [done for done in self.done if done.lines]
        left = {done.op for done in self.done}
        for done in self.done:
            done.undone_by = done.undone_by if done.undone_by in left else None
        self.snapshots.clear()  # what an erased record did to others is not known any more
        self.resync()

    def resync(self) -> None:
        """An erased successor takes its mark off what it replaced."""
        for scope in SCOPES:
            for engram in self.memory.list(limit=None, retired=True, **scope.to_dict()):
                self.records[engram.id].fields["until"] = engram.until

    @rule(scope=st.sampled_from(SCOPES), one=INDEX, two=INDEX)
    def link(self, scope: Scope, one: int, two: int) -> None:
        a, b = self.pick(scope, one), self.pick(scope, two)
        if a is None or b is None or a is b:
            return
        report = self.memory.link(a.id, "similar", b.id, **scope.to_dict())
        if report.op:
            self.done.append(Done(report.op, "link", scope, [(a.id, "tie", None, None)]))

    @rule(scope=st.sampled_from(SCOPES), back=st.booleans())
    def sleep(self, scope: Scope, back: bool) -> None:
        before = plain(self.memory.list(limit=None, **scope.to_dict()))
        proposed = self.memory.sleep(dry_run=True, **scope.to_dict())
        assert plain(self.memory.list(limit=None, **scope.to_dict())) == before, "a dry run changed something"
        report = self.memory.sleep(**scope.to_dict())
        assert len(report) <= len(proposed)
        for change in report:
            assert change.reason
            if change.engram is not None:
                assert change.engram.sources, f"{change.engram.text!r} names no source"
        if report.op is None:
            return
        if back:
            self.memory.undo(report.op, **scope.to_dict())
            after = plain(self.memory.list(limit=None, **scope.to_dict()))
            assert after == before, "undoing the night does not restore what was"
        self.absorb(scope, report.op, back)

    def absorb(self, scope: Scope, op: str, back: bool) -> None:
        """Take a night's changes over into the model, from its journal."""
        done = Done(op, "sleep", scope)
        names = {"retired_why": "out", "until": "until", "attrs": "attrs"}
        for entry in self.memory.log(op, **scope.to_dict()):
            if entry.after.get("added"):
                engram = self.memory.get(entry.engram, **scope.to_dict())
                assert engram.sources
                held = Held(engram.id, engram.text, engram.scope, engram.kind, engram.sources, state(engram))
                held.fields["out"] = None
                self.records[engram.id] = held
                done.lines.append((engram.id, "added", None, True))
                if engram.until is not None:  # set later in this night
                    held.fields["until"] = None
            for name, after in entry.after.items():
                if name in names:
                    self.set(done, entry.engram, names[name], after)
            for link in (*entry.links, *entry.unlinks):
                done.lines.append((link.source, "tie", None, None))
        self.done.append(done)
        if back:
            last = self.memory.log(limit=1, **scope.to_dict())[0]
            assert last["verb"] == "undo"
            self.done.append(self.reverse(done, last["op"], scope))

    @rule(days=st.floats(0, 40))
    def wait(self, days: float) -> None:
        self.clock.pass_(days=days)

    @rule()
    def close_and_open(self) -> None:
        self.memory.close()
        self.memory = self.reopened()

    @rule(scope=st.sampled_from(SCOPES))
    def search(self, scope: Scope) -> None:
        hits = self.memory.search("Where does Ana live, and the wine", threshold=0, top_k=20, **scope.to_dict())
        shown = {held.id for held in self.shown(scope)}
        assert {hit.id for hit in hits} <= shown
        assert bool(hits) == bool(shown)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    @rule(scope=st.sampled_from(SCOPES))
    def remember_this_moment(self, scope: Scope) -> None:
        listed = plain(self.memory.list(limit=None, **scope.to_dict()))
        self.snapshots.append((self.clock.now, scope, listed))
        self.clock.pass_(seconds=1)

    @rule()
    def time_travel(self) -> None:
        for moment, scope, listed in self.snapshots:
            then = plain(self.memory.list(limit=None, as_of=moment, **scope.to_dict()))
            assert then == listed, f"as of {moment}"

    # -- what always holds

    @invariant()
    def the_lists_are_the_models(self) -> None:
        if not hasattr(self, "memory"):
            return
        for scope in SCOPES:
            every = self.memory.list(limit=None, retired=True, **scope.to_dict())
            told = {e.id: (e.text, e.scope, e.kind, e.sources, state(e)) for e in every}
            model = {h.id: (h.text, h.scope, h.kind, h.sources, h.fields) for h in self.seen(scope)}
            assert told == model
            shown = self.memory.list(limit=None, **scope.to_dict())
            assert {e.id for e in shown} == {h.id for h in self.shown(scope)}
            assert [(e.at, e.id) for e in shown] == sorted((e.at, e.id) for e in shown) or len(
                {e.at for e in shown}
            ) < len(shown)
            assert self.memory.stats(**scope.to_dict())["in_view"] == len(shown)
            now = self.clock.now
            holds = {e.id for e in self.memory.list(limit=None, at=now, **scope.to_dict())}
            assert holds == {e.id for e in shown if e.at <= now and (e.until is None or e.until > now)}


MemoryMachine.TestCase.settings = settings(settings.default, stateful_step_count=25)
test_memory_does_what_the_model_does = MemoryMachine.TestCase


class PostgresMachine(MemoryMachine):
    """The same rules on a tenant of its own."""

    server: Server

    def reopened(self) -> Memory:
        if not hasattr(self, "url"):
            self.url = self.server.tenant()
        return Memory(self.url, embedder="fake", clock=self.clock, durable=False)


PostgresMachine.TestCase.settings = settings(settings.default, stateful_step_count=20, max_examples=12)


def test_memory_in_postgres_does_what_the_model_does(server: Server) -> None:
    PostgresMachine.server = server
    run_state_machine_as_test(PostgresMachine, settings=PostgresMachine.TestCase.settings)
