"""Who may do what: the scopes and verbs of whoever asks, and the one way from asked to effective scope.

An effective scope lies within one of the scopes that are allowed, or there is an error: whatever a request says
(fields, filters, an URL, a record's own scope), it can name a narrower scope and never a wider one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from slowwave.errors import AccessError, InputError, ScopeError
from slowwave.records import SCOPE_FIELDS, Scope, ScopeArgs, scope_of

READS = ("search", "context", "answer", "get", "list", "history", "log", "stats", "export")
GROUPS: dict[str, tuple[str, ...]] = {
    "read": READS,
    "write": ("add", "update", "link", "import"),
    "sleep": ("sleep", "undo"),
    "forget": ("forget",),
    "erase": ("erase",),
    "review": ("review",),  # see what is held apart; release or drop it
    "trust": ("trust",),  # what is given is kept without being looked at: `trusted=True`
    "admin": ("keys", "scopes", "metrics"),
}
VERBS: tuple[str, ...] = tuple(verb for group in GROUPS.values() for verb in group)
EVERYDAY = ("read", "write", "sleep", "forget")  # what a key may do unless something else is said


@dataclass(frozen=True, slots=True)
class Access:
    """What one request may do.

    key       the id of the key that it came with; "local" where none is needed yet
    scopes    it reaches what lies in any of these; none of them is everything
    verbs     what it may do
    readonly  nothing may be changed, whatever the verbs say

    >>> ana = Access("k1", (Scope(user_id="ana"),), frozenset(READS))
    >>> str(ana.scope({"run_id": "r1"}))
    'user_id=ana run_id=r1'
    """

    key: str
    scopes: tuple[Scope, ...] = ()
    verbs: frozenset[str] = frozenset(VERBS)
    readonly: bool = False

    def may(self, verb: str) -> bool:
        """Whether this verb is allowed."""
        return verb in self.verbs and not (self.readonly and verb not in READS)

    def need(self, verb: str) -> None:
        """AccessError unless this verb is allowed."""
        if not self.may(verb):
            can = ", ".join(name for name in VERBS if self.may(name)) or "nothing"
            raise AccessError(f"the key {self.key} may not {verb}; it may: {can}. Ask whoever gave it out")

    def scope(self, given: Mapping[str, Any]) -> Scope:
        """The effective scope: what was asked for, within what is allowed.

        given   scope arguments; None stands for one that is left out
        raises  ScopeError if none is named and it is not plain which is meant, AccessError for one out of reach
        """
        asked = {name: value for name, value in given.items() if value is not None}
        if not self.scopes:
            return scope_of(asked)
        if asked:
            scope_of(asked)  # a name or a value that there cannot be is told as such
        fitting = [{**allowed.to_dict(), **asked} for allowed in self.scopes if _agree(allowed, asked)]
        named = list(dict.fromkeys(Scope(**fields) for fields in fitting))
        if not named:
            raise AccessError(f"the key {self.key} does not reach {_told(asked)}; it reaches {self._reach()}")
        whole = [scope for scope in named if scope.to_dict() == asked] or named
        if len(whole) > 1:
            raise ScopeError(f"the key {self.key} reaches {self._reach()}; name one of them")
        return whole[0]

    def reaches(self, scope: Scope) -> bool:
        """Whether all of a scope may be read."""
        return not self.scopes or any(allowed.covers(scope) for allowed in self.scopes)

    def narrowed(self, scope: Scope) -> Access:
        """The same access within one scope alone, such as that of an URL."""
        return Access(self.key, (self.scope(scope.to_dict()),), self.verbs, self.readonly)

    def _reach(self) -> str:
        shown = "; ".join(map(str, self.scopes[:5]))
        return f"{shown}; ..." if len(self.scopes) > 5 else shown


def named(scope: Scope) -> ScopeArgs:
    """A scope as the keyword arguments of a verb."""
    return cast(ScopeArgs, scope.to_dict())


def verbs_of(names: Iterable[str]) -> tuple[str, ...]:
    """Names of verbs and of groups of them, checked: "read", "add", "all"."""
    out: list[str] = []
    for name in names:
        if name != "all" and name not in GROUPS and name not in VERBS:
            raise InputError(f"there is no verb {name!r:.60}; there are all, {', '.join((*GROUPS, *VERBS))}")
        out.append(name)
    if not out:
        raise InputError(f"no verb was named; there are all, {', '.join(GROUPS)}")
    return tuple(dict.fromkeys(out))


def expanded(names: Iterable[str]) -> frozenset[str]:
    """The single verbs that these names stand for; what a newer version knows and this one does not is left out."""
    out: set[str] = set()
    for name in names:
        out.update(VERBS if name == "all" else GROUPS.get(name, (name,) if name in VERBS else ()))
    return frozenset(out)


def _agree(allowed: Scope, asked: Mapping[str, Any]) -> bool:
    return all(getattr(allowed, name) in (None, asked.get(name, getattr(allowed, name))) for name in SCOPE_FIELDS)


def _told(asked: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in asked.items()) or "everything"
