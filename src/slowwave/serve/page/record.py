"""One memory: its text, its sources and what was made from it, its history, its ties; correct, forget, erase it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from slowwave.errors import InputError
from slowwave.ops.quarantine import reason_of
from slowwave.records import Engram, Item
from slowwave.serve.page.frame import Asked, view
from slowwave.serve.page.words import cut
from slowwave.store.base import Entry, View

TIES = 400  # at most, that are read
DRAWN = 7  # on each side of the picture
ROW, WIDE, CARD, MIDDLE = 74, 860, 270, 190  # of the picture, in its own units


@dataclass(frozen=True)
class Tie:
    """A tie from the memory that is looked at to another one, in the words of the one that is looked at."""

    relation: str
    other: Engram
    outward: bool
    weight: float


@view("/memory/{id}", "get")
async def memory(asked: Asked) -> Response:
    """One memory, with its history and its sources."""
    id_ = asked.request.path_params["id"]
    engram = await asked.call(asked.memory.get, id_, **asked.named)
    history = await asked.call(asked.memory.history, id_, **asked.named)
    texts, ties = await asked.call(_around, asked.see(), engram, history)
    left = [tie for tie in ties if not tie.outward]
    right = [tie for tie in ties if tie.outward]
    return asked.render(
        "memory.html",
        engram=engram,
        history=history,
        texts=texts,
        sources=[texts[source] for source in engram.sources if source in texts],
        made=[tie.other for tie in ties if tie.relation == "source of"],
        ties=ties,
        picture=picture(engram, left, right),
        correcting=asked.text("correct") == "yes",
        erasing=asked.text("erase") == "yes",
    )


def _around(view: View, engram: Engram, history: Iterable[Entry]) -> tuple[dict[str, Engram], list[Tie]]:
    """The records that the page speaks of, by id, and the ties of this one; only what the scope may see."""
    links = view.links([engram.id])[:TIES]
    made = view.derived([engram.id]).get(engram.id, ())[:TIES]
    ids = {*engram.sources, *made}
    ids |= {end for link in links for end in (link.source, link.target)}
    ids |= {id_ for entry in history for id_ in (entry.engram, *entry.sources)}
    texts = view.get(sorted(ids | {engram.id}))
    ties = [Tie("made from", texts[source], False, 1.0) for source in engram.sources if source in texts]
    ties += [Tie("source of", texts[id_], True, 1.0) for id_ in made if id_ in texts]
    for link in links:
        outward = link.source == engram.id
        other = texts.get(link.target if outward else link.source)
        if other is not None and other.id != engram.id:
            ties.append(Tie(link.relation if outward else passive(link.relation), other, outward, link.weight))
    return texts, ties


def passive(relation: str) -> str:
    """A relation as its other end sees it."""
    return {
        "supersedes": "superseded by", "supports": "supported by", "contradicts": "contradicted by",
        "causes": "caused by", "hinders": "hindered by", "next": "after", "about": "spoken of in", "part": "has part",
        "reacts": "reacted to by", "wants": "wanted by",
    }.get(relation, relation)  # fmt: skip


def picture(engram: Engram, left: list[Tie], right: list[Tie]) -> dict[str, Any]:
    """Places for the drawing of a memory between what leads to it and what comes from it; the list says it all."""
    rows = max(len(left[:DRAWN]), len(right[:DRAWN]), 1)
    height = rows * ROW + 20
    cards = []
    for side, ties in (("left", left), ("right", right)):
        shown = ties[:DRAWN]
        top = (height - len(shown) * ROW) / 2
        for place, tie in enumerate(shown):
            y = top + place * ROW + ROW / 2
            x0, x1 = (CARD, (WIDE - MIDDLE) / 2) if side == "left" else ((WIDE + MIDDLE) / 2, WIDE - CARD)
            y0, y1 = (y, height / 2) if side == "left" else (height / 2, y)
            bend = (x0 + x1) / 2
            cards.append(
                {
                    "tie": tie, "x": 0 if side == "left" else WIDE - CARD, "y": y - 30, "side": side,
                    "path": f"M{x0:.0f},{y0:.1f} C{bend:.0f},{y0:.1f} {bend:.0f},{y1:.1f} {x1:.0f},{y1:.1f}",
                    "lines": _lines(tie.other.text),
                }
            )  # fmt: skip
    return {
        "cards": cards, "height": height, "wide": WIDE, "card": CARD, "middle": MIDDLE,
        "left": (WIDE - MIDDLE) / 2, "top": height / 2 - 30, "lines": _lines(engram.text, 24),
        "more": len(left[DRAWN:]) + len(right[DRAWN:]),
    }  # fmt: skip


def _lines(text: str, most: int = 36) -> list[str]:
    """A text on one line of a card, or two."""
    first = cut(text, most * 2)
    if len(first) <= most:
        return [first]
    space = first.rfind(" ", most // 2, most + 1)
    space = space if space > 0 else most
    return [first[:space].strip(), cut(first[space:], most)]


@view("/memory/{id}/correct", "update", post=True)
async def correct(asked: Asked) -> Response:
    """A new text takes the old one's place."""
    id_ = asked.request.path_params["id"]
    if (reason := reason_of(Item(asked.text("text")))) and not (asked.who.may("trust") and asked.who.key != "local"):
        raise InputError(f"the new text {reason}; a key that may trust can put it there all the same")
    report = await asked.call(
        asked.memory.update,
        id_,
        asked.text("text"),
        reason=asked.text("reason") or "corrected on the page",
        **asked.named,
    )
    return asked.go(f"/memory/{report[0].id}", "Corrected. The old text stays in the history.")


@view("/memory/{id}/forget", "forget", post=True)
async def forget(asked: Asked) -> Response:
    """Out of view, with what was made from it alone; the night's page takes it back."""
    id_ = asked.request.path_params["id"]
    report = await asked.call(
        asked.memory.forget, id_, reason=asked.text("reason") or "forgotten on the page", **asked.named
    )
    count = len(report)
    told = f"{count} {'memory is' if count == 1 else 'memories are'} out of view; this page can take it back."
    return asked.go(f"/nights/{report.op}" if report.op else f"/memory/{id_}", told if count else "Nothing to forget.")


@view("/memory/{id}/erase", "erase", post=True)
async def erase(asked: Asked) -> Response:
    """Gone for good, once the word was typed; the receipt says what the scan of the files found."""
    id_ = asked.request.path_params["id"]
    if asked.text("word").lower() != "erase":
        raise InputError("type the word erase to remove this memory, and what was made from it, for good")
    receipt = await asked.call(asked.memory.erase, id_, slow=True, **asked.named)
    return asked.render("erased.html", receipt=receipt)
