"""LangGraph's `BaseStore` over a slowwave memory: put, get, search, delete, list_namespaces, and batches of them.

    store = SlowwaveStore(Memory("agent.db"), user_id="ana")
    graph = builder.compile(store=store)

- A put over a key is an update: the old value stays in the history (`store.memory.history(...)`).
- A delete takes out of view; `store.memory.undo(...)` brings back, `erase` removes for good.
- Everything lies in the scope that the store was opened with. With `walls=("memories", "{user_id}")` labels of a
  namespace fill fields of the scope instead, and no operation reaches across: one that names no user is an error.
- What a value says is found by search without an embedding config: by meaning, words, names and time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from slowwave.compat.keyed import Keyed, data
from slowwave.errors import ExtraMissingError, InputError, ScopeError
from slowwave.records import SCOPE_FIELDS, Engram

try:
    from langgraph.store.base import (
        BaseStore,
        GetOp,
        Item,
        ListNamespacesOp,
        MatchCondition,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
        get_text_at_path,
        tokenize_path,
        validate_op_namespace,
    )
except ImportError as missing:
    raise ExtraMissingError("slowwave.compat.langgraph", "langgraph") from missing

OWNER = "langgraph"
MOST = 1000  # hits that are looked through for those that pass a filter on the value
COMPARE = {
    "$eq": lambda a, b: a == b,
    "$ne": lambda a, b: a != b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


class SlowwaveStore(BaseStore):
    """A LangGraph store in one scope of a memory, or, with `walls`, in one scope for each user, agent or run.

    memory     an open Memory or AsyncMemory
    walls      the labels with which every namespace begins, such as ("memories", "{user_id}")
    fields     the paths of a value that are searched, as in LangGraph's `index["fields"]`; None takes all its texts
    threshold  least score of a hit with a query; 0 lets the nearest through, as LangGraph's own stores do

    TTLs are not supported: what is not used fades by itself, and what has to go is forgotten or erased.
    """

    __slots__ = ("_keyed", "fields", "memory", "scope", "threshold", "walls")

    def __init__(
        self,
        memory: Any,
        *,
        walls: Sequence[str] = (),
        fields: Sequence[str] | None = None,
        threshold: float | None = 0.0,
        **scope: str,
    ) -> None:
        self.walls, self.fields, self.threshold, self.scope = tuple(walls), fields, threshold, scope
        self._keyed: dict[tuple[tuple[str, Any], ...], Keyed] = {}
        known = {f"{{{name}}}" for name in SCOPE_FIELDS}
        unknown = [label for label in self.walls if label[:1] == "{" and label not in known]
        if unknown:
            raise InputError(f"walls has {', '.join(unknown)}; the fields of a scope are {', '.join(SCOPE_FIELDS)}")
        if scope or not self.walls:
            self.memory = Keyed(memory, OWNER, scope).memory  # a wrong scope is told now
        else:
            self.memory = Keyed(memory, OWNER, {"user_id": "x"}).memory

    # -- what LangGraph calls

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: reads see what was there before the batch, and of several puts on one key the last counts."""
        given = list(ops)
        for op in given:
            if not isinstance(op, (GetOp, SearchOp, ListNamespacesOp, PutOp)):
                raise ValueError(f"Unknown operation type: {type(op)}")
            validate_op_namespace(op)
        results: list[Result] = [self._read(op) for op in given]
        puts = {(op.namespace, op.key): op for op in given if isinstance(op, PutOp)}
        for op in puts.values():
            self._put(op)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`, in a thread."""
        return await asyncio.to_thread(self.batch, list(ops))

    # -- the parts

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            held = self._of(op.namespace).get(_key(op.namespace, op.key))
            return None if held is None else _item(held)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._namespaces(op)
        return None

    def _put(self, op: PutOp) -> None:
        keyed, key = self._of(op.namespace), _key(op.namespace, op.key)
        if op.value is None:
            keyed.drop(key)
            return
        if op.ttl is not None:
            raise NotImplementedError("SlowwaveStore has no TTL: what is not used fades, what has to go is forgotten")
        value = data(dict(op.value))
        old = keyed.get(key)
        attrs = {
            "value": value,
            "namespace": ".".join(op.namespace) + ".",
            "put": op.key,
            "searched": op.index is not False,
            "updated": datetime.now(UTC).isoformat(),
        }
        keyed.put(key, self._text(value, op), attrs, old=old)

    def _text(self, value: Any, op: PutOp) -> str:
        """What of a value is read by a search: its texts at the paths, one a line."""
        paths = op.index or self.fields
        if op.index is False:
            return f"{op.key} in {'.'.join(op.namespace)}"
        texts = [
            text for path in paths or () if path != "$" for text in get_text_at_path(value, tokenize_path(path)) or ()
        ]
        return "\n".join(texts or _texts(value)).replace("\0", "") or json.dumps(value)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        keyed, inside = self._of(op.namespace_prefix), _inside(op.namespace_prefix)
        if not (op.query or "").strip():
            held = [engram for engram in keyed.list(inside) if _passes(engram, op.filter)]
            return [_found(engram, None) for engram in held[op.offset : op.offset + op.limit]]
        wanted = op.offset + op.limit
        hits = keyed.memory.search(
            str(op.query),
            top_k=MOST if op.filter else max(wanted, 1),
            threshold=self.threshold,
            filters={"AND": [{"made_by": OWNER, "searched": True}, inside]},
            **keyed.scope,
        )
        passed = [hit for hit in hits if _passes(hit.engram, op.filter)]
        return [_found(hit.engram, hit.score) for hit in passed[op.offset : wanted]]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        begins = [tuple(c.path) for c in op.match_conditions or () if c.match_type == "prefix" and "*" not in c.path]
        prefix = max(begins, key=len, default=())
        held = self._of(prefix).list(_inside(prefix))
        there = {tuple(engram.attrs["namespace"][:-1].split(".")) for engram in held}
        matched = {ns for ns in there if all(_matches(condition, ns) for condition in op.match_conditions or ())}
        cut = sorted({ns if op.max_depth is None else ns[: op.max_depth] for ns in matched})
        return cut[op.offset : op.offset + op.limit]

    def _of(self, namespace: Sequence[str]) -> Keyed:
        """The records of the scope that a namespace lies in."""
        scope: dict[str, Any] = dict(self.scope)
        for place, label in enumerate(self.walls):
            named = namespace[place] if place < len(namespace) else None
            if label[:1] == "{" and named not in (None, "*"):
                scope[label[1:-1]] = named
            elif named != label:
                raise ScopeError(f"namespace {tuple(namespace)} does not lie within {self.walls}; begin it with these")
        name = tuple(sorted(scope.items()))
        if name not in self._keyed:
            self._keyed[name] = Keyed(self.memory, OWNER, scope)
        return self._keyed[name]


def _key(namespace: Sequence[str], key: str) -> str:
    return json.dumps([*namespace, key], ensure_ascii=False)


def _inside(prefix: Sequence[str]) -> Mapping[str, Any]:
    """The filter for namespaces that begin with these labels: "a.b." up to "a.b/", the next character after the dot."""
    start = "".join(f"{label}." for label in prefix)
    return {"namespace": {"gte": start, "lt": start[:-1] + "/"}} if start else {}


def _texts(value: Any) -> list[str]:
    """The texts in a value, each with the name it stands under, but for a lone one."""
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(only := next(iter(value.values())), str):
        return [only] if only.strip() else []
    if isinstance(value, Mapping):
        pairs = [(name, text) for name, item in value.items() for text in _texts(item)]
        return [f"{name}: {text}" for name, text in pairs]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [] if value is None or (isinstance(value, str) and not value.strip()) else [str(value)]


def _passes(engram: Engram, wanted: Mapping[str, Any] | None) -> bool:
    value = engram.attrs["value"]
    return all(_compares(value.get(name), what) for name, what in (wanted or {}).items())


def _compares(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and any(str(name).startswith("$") for name in wanted):
        unknown = [name for name in wanted if name not in COMPARE]
        if unknown:
            raise ValueError(f"Unsupported operator: {unknown[0]}; there are {', '.join(COMPARE)}")
        return all(_compared(name, found, what) for name, what in wanted.items())
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_compares(found.get(name), what) for name, what in wanted.items())
    if isinstance(wanted, (list, tuple)):
        same = isinstance(found, (list, tuple)) and len(found) == len(wanted)
        return same and all(_compares(a, b) for a, b in zip(found, wanted, strict=True))
    return bool(found == wanted)


def _compared(operator: str, found: Any, wanted: Any) -> bool:
    if operator in ("$eq", "$ne"):
        return bool(COMPARE[operator](found, wanted))
    try:
        return bool(COMPARE[operator](float(found), float(wanted)))
    except (TypeError, ValueError):
        return False


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = tuple(condition.path)
    if len(namespace) < len(path) or condition.match_type not in ("prefix", "suffix"):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for label, wanted in zip(part, path, strict=True))


def _item(engram: Engram) -> Item:
    return Item(**_shape(engram))


def _found(engram: Engram, score: float | None) -> SearchItem:
    return SearchItem(**_shape(engram), score=score)


def _shape(engram: Engram) -> dict[str, Any]:
    namespace = tuple(cast(str, engram.attrs["namespace"])[:-1].split("."))
    return {
        "namespace": namespace,
        "key": engram.attrs["put"],
        "value": json.loads(json.dumps(engram.attrs["value"])),  # the caller's own, to change as it likes
        "created_at": engram.at,  # a successor keeps the moment of the first
        "updated_at": datetime.fromisoformat(engram.attrs["updated"]),
    }
