"""Which records an operation is about: those chosen, those that rest on them alone, and all that was made from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from slowwave.errors import InputError, NotFoundError
from slowwave.ops.receipts import mentions
from slowwave.records import Engram
from slowwave.store.base import View, Want
from slowwave.store.filters import Filter, is_always, parse


def one(view: View, id_: str) -> Engram:
    """The record of this id; NotFoundError if the scope has none."""
    if not isinstance(id_, str):
        raise InputError(f"id is a {type(id_).__name__}; it must be a text")
    found = view.get([id_])
    if id_ not in found:
        raise NotFoundError(f"no record {id_!r:.60} in {view.scope}")
    return found[id_]


def chosen_ids(
    view: View,
    ids: str | Iterable[str] | None,
    where: Filter | None,
    filtered: bool,
    subject: str | None,
    everything: bool,
    retired: bool = False,
) -> Sequence[str]:
    """The ids that `forget` and `erase` are about; nothing is chosen by leaving everything out.

    where     a parsed filter; `filtered` says whether one was given at all
    subject   a name: what it said, and what mentions it
    retired   also what left the view
    """
    if sum([ids is not None, filtered, subject is not None, everything]) != 1:
        raise InputError("name exactly one of id, filters, subject, all; leaving all of them out chooses nothing")
    if ids is not None:
        if not isinstance(ids, Iterable):
            raise InputError(f"id is a {type(ids).__name__}; give an id, or a list of ids")
        given = [ids] if isinstance(ids, str) else list(ids)
        for id_ in given:
            one(view, id_)
        return list(dict.fromkeys(given))
    if subject is not None:
        if not isinstance(subject, str) or not subject.strip():
            raise InputError(f"subject is {subject!r:.60}; give a name")
        where = parse({"OR": [{"speaker": {"icontains": subject}}, {"text": {"icontains": subject}}]})
    elif filtered and is_always(where, True):
        raise InputError("filters chooses everything, since it asks for nothing; say all=True if that is meant")
    found = view.select(Want(where=where, retired=retired))
    return [engram.id for engram in found if subject is None or mentions(engram, subject)]


def dependents(view: View, ids: Sequence[str]) -> Sequence[str]:
    """Engrams in view that rest, directly or not, on nothing but these."""
    gone, out, edge = set(ids), [], list(ids)
    while edge:
        made = {made for many in view.derived(edge).values() for made in many if made not in gone}
        edge = [
            engram.id
            for engram in view.get(sorted(made)).values()
            if engram.retired is None and gone.issuperset(engram.sources)
        ]
        gone.update(edge)
        out += edge
    return out


def descendants(view: View, ids: Sequence[str]) -> Sequence[Engram]:
    """These and all that was made from them, directly or not."""
    known, edge = dict.fromkeys(ids), list(ids)
    while edge:
        edge = [made for many in view.derived(edge).values() for made in many if made not in known]
        known.update(dict.fromkeys(edge))
    return list(view.get(list(known)).values())
