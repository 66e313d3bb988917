"""What a language model adds to a reading that may ask one: other queries, a second look, and the order of the best.

Each step that the model gives nothing for is left out, with a note in the trace; without any of them the hits are those
of the plain search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from slowwave.models.base import Embedder
from slowwave.models.llm import LLM
from slowwave.ops.choosing import choose
from slowwave.ops.expansion import expand, fuse_ranks, seek
from slowwave.records import Hit, Hits
from slowwave.store.base import View
from slowwave.text.base import Cue

Search = Callable[[View, Cue, Embedder | None], Hits]


@dataclass(frozen=True, slots=True)
class Asking:
    """Which steps a reading with a model takes.

    expand  search for other words of the question as well
    again   look a second time for what is missing where the best score is below `thin`
    rerank  hits that the model puts in order; 0 for none
    """

    expand: bool = True
    again: bool = True
    thin: float = 0.5
    rerank: int = 20


def search_asking(search: Search, view: View, cue: Cue, embedder: Embedder | None, asking: Asking) -> Hits:
    """The plain search, then what the model makes of it; scores are the plain search's, in their order."""
    assert cue.llm is not None
    deep = max(cue.top_k, asking.rerank)
    plain = replace(cue, llm=None, top_k=deep)
    hits = search(view, plain, embedder)
    open_ = replace(plain, threshold=0.0, explain=False)
    degraded: list[str] = []
    queries: list[str] = []
    found = list(hits)
    if asking.expand:
        more, problem = expand(cue.text, cue.llm)
        found = fuse_ranks(found, [list(search(view, replace(open_, text=query), embedder)) for query in more])
        queries += more
        degraded += [f"expand: {problem}"] if problem else []
    if asking.again and (not hits or hits[0].score < asking.thin):
        more, problem = seek(cue.text, found[:5], cue.llm)
        found = fuse_ranks(found, [list(search(view, replace(open_, text=query), embedder)) for query in more])
        queries += more
        degraded += [f"seek: {problem}"] if problem else []
    if asking.rerank and len(found) > 1:
        found, problem = _reranked(cue.text, found, cue.llm, asking.rerank)
        degraded += [f"rerank: {problem}"] if problem else []
    scored = _rescored(found, hits)
    trace = {**hits.trace, "degraded": [*hits.trace.get("degraded", ()), *degraded], "queries": queries}
    return Hits(scored[: cue.top_k], trace)


def _reranked(question: str, found: list[Hit], llm: LLM, most: int) -> tuple[list[Hit], str]:
    """What the model chooses first, the rest behind it in the order it had; and why, where nothing was chosen."""
    chosen = choose(question, [hit.engram for hit in found[:most]], llm, operation="rerank")
    if not chosen:
        return found, llm.exhausted or "nothing was chosen"
    picked = set(chosen)
    return [found[place] for place in chosen] + [hit for place, hit in enumerate(found) if place not in picked], ""


def _rescored(found: list[Hit], plain: Hits) -> list[Hit]:
    """As many hits as the plain search let through, with its scores in falling order: it is as sure as it was."""
    scores = sorted((hit.score for hit in plain), reverse=True)
    known = {hit.id for hit in plain}
    return [
        replace(
            hit, score=score, why=hit.why if hit.id in known else f"{hit.why}; found by other words of the question"
        )
        for hit, score in zip(found, scores, strict=False)
    ]
