"""What took the place of what: the chain of `supersedes` links from a record that ended to the one that holds now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slowwave.store.base import View, Want

BEHIND = 0.999  # of its successor's score, which a record that ended never exceeds


def successors(view: View, ids: Sequence[str]) -> dict[str, str]:
    """Id -> the record at the end of its chain; what nothing supersedes is left out."""
    after: dict[str, str] = {}
    edge = list(ids)
    while edge:
        here = set(edge)
        found = {tie.target: tie.source for tie in view.links(edge, ("supersedes",)) if tie.target in here}
        edge = [new for new in found.values() if new not in after and new not in here]
        after |= found
    out: dict[str, str] = {}
    for id_ in ids:
        last, seen = id_, {id_}
        while last in after and after[last] not in seen:
            last = after[last]
            seen.add(last)
        if last != id_:
            out[id_] = last
    return out


def newest_first(view: View, near: Mapping[int, float], want: Want) -> dict[int, float]:
    """The scores by row number, such that what ended comes right behind what holds now; that is brought in if wanted.

    near  row number -> score in [0, 1]; rows that are not wanted are left out
    """
    rows = view.rows(list(near), want)
    ended = [n for n, row in rows.items() if row.until is not None]
    out = {n: near[n] for n in rows if rows[n].until is None}
    if not ended:
        return out
    ids = {engram.id: n for n, engram in view.engrams(ended).items()}
    later = successors(view, list(ids))
    numbers = view.numbers(list(set(later.values())))
    standing = view.rows(list(numbers.values()), want)
    for id_, n in sorted(ids.items(), key=lambda pair: (-near[pair[1]], pair[1])):
        new = numbers.get(later.get(id_, ""))
        if new is not None and new in standing and standing[new].until is None:
            out[new] = max(out.get(new, 0.0), near[n])
    for id_, n in ids.items():
        new = numbers.get(later.get(id_, ""))
        out[n] = BEHIND * min(near[n], out[new]) if new in out and new is not None else near[n] / 2
    return out
