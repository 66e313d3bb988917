"""Questions whose answers must not get worse: asked before and after a change, marked by rule, compared pair by pair.

A gate that looks at new items alone misses the damage to old ones. Several measures are taken of each answer, and their
p values corrected (Holm), so that many measures do not find by chance what is not there.

Source: DMM Gov (Zhang et al. 2025, arXiv 2509.18868): answer correctness apart from citation support, outdated answers,
refusals, paired tests with correction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from slowwave.ops.admission import sign_flip
from slowwave.ops.outcomes import slot_of
from slowwave.ops.vocabulary import canonical, value_key
from slowwave.records import Change, Engram, Hit
from slowwave.store.base import View

MEASURES = ("fresh", "right", "cited", "refused")
# Another value where none was, or an answer where nothing is known, counts from `alpha` on. A right answer that falls
# out of the hits, or loses its source, counts where chance is ruled out: any new record can crowd one out.
DECISIVE = ("fresh", "refused")
SURE = 0.05
NO_GROUND = ("archived", "forgotten", "undone")  # a record that left the view for these is no source to rest on


@dataclass(frozen=True, slots=True)
class Check:
    """A question whose answer is known, and must stay so.

    gold     texts of which the answer holds one; none: nothing is known, and nothing may be answered
    wrong    values that are known not to be the answer, such as earlier ones
    subject, attribute  the slot that it asks for, so that another value of it is seen to be wrong
    at       asked as of this moment, rather than now
    since, until  between which the gold is true: outside it the check is not asked
    fact     id of the record it was drawn from; "" for one that a user gave

    >>> Check("Where does Ana live?", ("Oslo",), subject="Ana", attribute="home").name
    'Where does Ana live?'
    """

    question: str
    gold: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    subject: str = ""
    attribute: str = ""
    at: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    fact: str = ""

    @property
    def name(self) -> str:
        """What it is told apart by: the record it was drawn from, else the question and its dates."""
        if self.fact:
            return self.fact
        dates = [f"{name} {value:%Y-%m-%d}" for name in ("at", "since", "until") if (value := getattr(self, name))]
        return ", ".join([self.question, *dates])

    def applies(self, now: datetime) -> bool:
        """Whether its gold is true at this moment."""
        return (self.since is None or self.since <= now) and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class Mark:
    """How one check was answered; None where a measure does not apply to it.

    fresh    the first hit that answers gives no other value
    right    it gives the gold
    cited    of a right answer: it rests on a record that says so and was not taken out of the memory
    refused  for a question on which nothing is known: nothing was answered
    """

    fresh: bool | None = None
    right: bool | None = None
    cited: bool | None = None
    refused: bool | None = None


Marks = Mapping[str, Mark]
Ask = Callable[[Check], Sequence[Hit]]
Sources = Callable[[Sequence[str]], Mapping[str, Engram]]


def mark(check: Check, hits: Sequence[Hit], sources: Sources) -> Mark:
    """Mark the answer that hits give, best first: the first that holds the gold, or another value, is the answer.

    sources  reads records by id
    """
    if not check.gold:
        return Mark(refused=not hits)
    for hit in hits:
        gold, other = holds_any(hit.text, check.gold), holds_any(hit.text, check.wrong) or _differs(hit.engram, check)
        if gold and other:
            continue  # it tells of a change, and does not answer what holds
        if gold:
            made_of = [e for e in sources(hit.engram.sources).values() if e.retired_why not in NO_GROUND]
            cited = not hit.engram.sources or any(holds_any(engram.text, check.gold) for engram in made_of)
            return Mark(fresh=True, right=True, cited=cited)
        if other:
            return Mark(fresh=False, right=False)
    return Mark(fresh=True, right=False)


def measure(checks: Iterable[Check], ask: Ask, sources: Sources) -> dict[str, Mark]:
    """The marks of all checks, by name."""
    return {check.name: mark(check, ask(check), sources) for check in checks}


@dataclass(frozen=True, slots=True)
class Paired:
    """One measure before and after: how many got worse and better, and how often chance alone makes so many worse."""

    worse: int
    better: int
    of: int
    p: float = 1.0


@dataclass(frozen=True, slots=True)
class Ruling:
    """Whether a batch may go on, why, and on which numbers; p values are corrected."""

    holds: bool
    reason: str
    tests: Mapping[str, Paired] = field(default_factory=dict)


def not_worse(before: Marks, after: Marks, alpha: float, overturned: int = 0, rate: float = 0.0) -> Ruling:
    """Rule on marks of the same checks before and after: no measure may get worse beyond chance.

    alpha       the largest corrected p at which that counts, for what is decisive; 1 lets no more get worse than better
    overturned  checks drawn from the store whose fact the batch itself replaces; they are not in the marks
    rate        the share of such checks that a batch usually overturns: far more than that speaks against it
    """
    tests: dict[str, Paired] = {}
    for name in MEASURES:
        pairs = [(getattr(before[key], name), getattr(after[key], name)) for key in before if key in after]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        if known:
            worse, better = sum(a and not b for a, b in known), sum(b and not a for a, b in known)
            tests[name] = Paired(worse, better, len(known), sign_flip([1.0] * worse + [-1.0] * better))
    if overturned:
        total = overturned + len(before)
        tests["overturned"] = Paired(overturned, 0, total, at_least(overturned, total, rate))
    corrected = holm({name: test.p for name, test in tests.items()})
    tests = {name: Paired(test.worse, test.better, test.of, corrected[name]) for name, test in tests.items()}
    level = {name: alpha if name in DECISIVE else min(alpha, SURE) for name in tests}
    bad = [name for name, test in tests.items() if test.worse > test.better and test.p <= level[name]]
    told = [f"{name}: {t.worse} of {t.of} worse, {t.better} better, p = {t.p:.3f}" for name, t in tests.items()]
    return Ruling(not bad, "; ".join(told) or "there was nothing to ask", tests)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """p values corrected for their number (Holm 1979): the error rate over all of them stays that of one."""
    out: dict[str, float] = {}
    highest = 0.0
    for place, (name, value) in enumerate(sorted(p.items(), key=lambda pair: pair[1])):
        highest = max(highest, min(1.0, (len(p) - place) * value))
        out[name] = highest
    return out


def at_least(k: int, n: int, rate: float) -> float:
    """How often n trials of this rate give k or more."""
    rate = min(max(rate, 0.0), 1.0)
    return float(sum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k, n + 1)))


def share_of(checks: Sequence[Check], share: float) -> list[Check]:
    """A share of the checks, the same every night: those whose name's hash is lowest."""
    order = sorted(checks, key=lambda check: sha256(check.name.encode()).hexdigest())
    return order[: max(1, math.ceil(share * len(order)))] if order else []


def drawn(fact: Engram) -> Check | None:
    """A check of what a fact says; None for one without subject, attribute and value, or that has ended."""
    subject, attribute, value = (str(fact.attrs.get(name) or "") for name in ("subject", "attribute", "value"))
    if (
        fact.kind != "fact"
        or fact.retired is not None
        or fact.until is not None
        or not (subject and attribute and value)
    ):
        return None
    return Check(f"What is {subject}'s {attribute}?", (value,), (), subject, attribute, fact=fact.id)


def draw(view: View, changes: Sequence[Change], held: Sequence[str], least_sources: int, most: int) -> list[str]:
    """The facts that checks are drawn from after these changes: those of before that hold, and the well supported.

    held           ids of the facts that checks were drawn from so far; they stay while they hold
    least_sources  sessions that a fact is said in, its own and its supporters', before it becomes one
    """
    made = {change.id: change.engram for change in changes if change.engram is not None}
    ended = {change.id for change in changes if change.fields.get("until") or change.fields.get("retired")}
    supports = [tie for change in changes for tie in change.links if tie.relation == "supports"]
    new = [id_ for id_ in dict.fromkeys([*(tie.target for tie in supports), *made]) if id_ not in set(held)]
    known = {**view.get([id_ for id_ in [*held, *new] if id_ not in made]), **made}
    supports += view.links([id_ for id_ in new if id_ not in made], ("supports",))
    said_in = {id_: set(known[id_].sources) for id_ in new if id_ in known}
    for tie in supports:
        if tie.target in said_in:
            said_in[tie.target].add(tie.source)
    said = view.get(sorted({id_ for many in said_in.values() for id_ in many}))
    sittings = {id_: f"{engram.session or engram.at.date()}" for id_, engram in said.items()}
    well = [id_ for id_ in new if len({sittings.get(one, "") for one in said_in.get(id_, ())} - {""}) >= least_sources]
    kept = [id_ for id_ in [*held, *well] if id_ in known and id_ not in ended and drawn(known[id_]) is not None]
    return kept[:most]


def holds_any(text: str, values: Iterable[str]) -> bool:
    """Whether a text holds the words of one of these values."""
    return any(re.search(rf"(?<![\w£$€-]){re.escape(value)}(?![\w-])", text, re.I) for value in values)


def _differs(engram: Engram, check: Check) -> bool:
    """Whether a record gives another value of the slot that is asked for."""
    slot = slot_of(engram) if check.subject and check.attribute else None
    if slot is None or slot.subject != check.subject.casefold() or slot.attribute != canonical(check.attribute):
        return False
    return all(value_key(slot.value).isdisjoint(value_key(gold)) for gold in check.gold)
