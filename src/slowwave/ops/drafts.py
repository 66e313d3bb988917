"""A model's drafts made facts: held against the facts of the same subject and attribute, and settled with them.

The rules' facts are among those. A model's fact can end one only where a turn states another value of something that
has one value at a time, in words that go with it, and later: see `extraction.py` and `outcomes.py`. What rules read in
a turn is never gainsaid by what a model reads in the same turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from slowwave.models.llm import LLM
from slowwave.ops.consolidate import fact_name
from slowwave.ops.extraction import Draft, as_fact
from slowwave.ops.made import Made
from slowwave.ops.outcomes import judge_all
from slowwave.ops.vocabulary import is_single, value_key
from slowwave.records import Change, Engram, Link
from slowwave.store.base import View, Want

MOST_PAIRS = 3  # facts of an attribute with several values that a new one is compared with, the latest first
NEAR = 5  # facts that share words with one whose attribute is not known


@dataclass
class Settling:
    """The facts of one night as they come together: those of the store, the rules' of tonight, and the model's.

    llm  says what one statement does to another where rules do not know
    """

    view: View
    made: Made
    now: datetime
    half_life_days: float
    llm: LLM | None
    _held: dict[str, list[Engram]] = field(default_factory=dict)
    _ended: dict[str, datetime] = field(default_factory=dict)
    _seen: int = 0

    def take(self, drafts: Iterable[Draft], turns: Sequence[Engram]) -> None:
        """Make facts of drafts, in the order of time; a repeat supports the fact that is there."""
        for draft in sorted(drafts, key=lambda draft: draft.at):
            named = bool(draft.subject and draft.attribute and draft.value)
            fact = as_fact(draft, turns, self.now, self.half_life_days, "sleep")
            fact = replace(fact, attrs={**fact.attrs, "from": "model"})
            if named:
                self._settle(replace(fact, origin=fact_name(draft.subject, draft.attribute)), draft.single)
            else:
                self._add(fact, self._alike(fact))

    # -- the parts

    def _settle(self, fact: Engram, single: bool) -> None:
        held = self._of(str(fact.origin))
        value = value_key(str(fact.attrs["value"]))
        for old in held:
            ends = self._end(old)
            if value_key(str(old.attrs.get("value", ""))) == value and (ends is None or fact.at < ends):
                self._support(old, fact, "said again")
                return
        current = [old for old in held if self._end(old) is None]
        if self._read_by_rule(fact, current):
            return
        may_end = single or not is_single(str(fact.attrs["attribute"]))
        self._add(fact, current if single else current[-MOST_PAIRS:], may_end)

    def _add(self, fact: Engram, old: Sequence[Engram], may_end: bool = True) -> None:
        """Add the fact, unless it only says what an older one says; with what it does to each of those.

        may_end  whether its words bear out what it is about: if not, what it would end is tied as contradicting it
        """
        verdicts = judge_all([(other, fact, 1.0) for other in old], self.llm, self.made)
        until: datetime | None = None
        changes: list[Change] = []
        links: list[Link] = []
        for other, verdict in zip(old, verdicts, strict=True):
            if verdict.outcome == "restates":
                self._support(other, fact, verdict.reason)
                return
            if verdict.outcome == "supersedes" and not may_end:
                changes.append(self._tie("contradict", "contradicts", other, fact, verdict.reason))
            elif verdict.outcome == "supersedes" and fact.at > other.at:
                changes.append(self._supersede(other, fact, verdict.reason))
            elif verdict.outcome == "supersedes" and fact.at < other.at:
                until = other.at if until is None else min(until, other.at)
                links.append(Link(other.id, "supersedes", fact.id))
            elif verdict.outcome == "refines":
                changes.append(self._tie("refine", "supports", other, fact, verdict.reason))
            elif verdict.outcome != "new":
                changes.append(self._tie("contradict", "contradicts", other, fact, verdict.reason))
        fact = fact.with_(until=until, closed=self.now if until else None)
        self.made.add(fact, "add", f"the model read it in what was said on {fact.at:%Y-%m-%d}", links)
        self.made.changes += changes
        self._ended |= {change.id: fact.at for change in changes if change.verb == "supersede"}
        if fact.origin:
            self._held[fact.origin].append(fact)

    def _of(self, origin: str) -> list[Engram]:
        """The facts of an attribute of a subject, oldest first: those of the store, and tonight's."""
        for change in self.made.changes[self._seen :]:
            if change.engram is None and change.verb == "supersede":
                self._ended[change.id] = change.fields["until"]
        self._seen = len(self.made.changes)
        if origin not in self._held:
            fresh = [engram for engram in self.made.engrams if engram.origin == origin]
            self._held[origin] = [*self.view.find_origin([origin]).get(origin, []), *fresh]
        return sorted(self._held[origin], key=lambda engram: (engram.at, engram.id))

    def _end(self, fact: Engram) -> datetime | None:
        return self._ended.get(fact.id, fact.until)

    def _read_by_rule(self, fact: Engram, held: Sequence[Engram]) -> bool:
        """Whether a rule reads another value of this attribute in the same turn: the rule is right."""
        return any(set(old.sources) & set(fact.sources) and old.attrs.get("from") != "model" for old in held)

    def _alike(self, fact: Engram) -> list[Engram]:
        """Facts that share words with one whose attribute is not known: those of the store."""
        words = [word for word in fact.text.casefold().replace("'", " ").split() if len(word) > 3][:12]
        found = self.view.lexical(words, NEAR, Want(kinds=("fact",))) if words else []
        known = self.view.engrams([n for n, _ in found]).values()
        return [old for old in known if self._end(old) is None and old.retired is None and old.at <= fact.at]

    def _support(self, old: Engram, fact: Engram, reason: str) -> None:
        fresh = [source for source in fact.sources if source not in old.sources]
        ties = tuple(Link(source, "supports", old.id) for source in fresh)
        known = {tie for change in self.made.changes for tie in change.links if tie.target == old.id}
        if set(ties) - known:
            self.made.changes.append(Change("support", old.id, reason, links=ties, sources=(*fresh, old.id)))

    def _supersede(self, old: Engram, fact: Engram, reason: str) -> Change:
        return Change(
            "supersede",
            old.id,
            f"{reason} (says {fact.id})",
            fields={"until": fact.at, "closed": self.now},
            guard={"until": None, "retired": None},
            links=(Link(fact.id, "supersedes", old.id),),
            sources=(old.id, fact.id),
        )

    def _tie(self, verb: str, relation: str, old: Engram, fact: Engram, reason: str) -> Change:
        return Change(verb, fact.id, reason, links=(Link(fact.id, relation, old.id),), sources=(old.id, fact.id))
