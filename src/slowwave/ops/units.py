"""The forms in which a stretch of talk can be kept so that it is found: chunks, knowledge triples, facts, a summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slowwave.models.base import Vectors
from slowwave.models.llm import LLM
from slowwave.ops.extraction import extract, ids_of
from slowwave.ops.granularity import digest, full_text
from slowwave.ops.made import Made
from slowwave.ops.packing import estimate_tokens
from slowwave.ops.triples import triples
from slowwave.records import Engram

FORMS = ("chunk", "triple", "fact", "summary")


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of text that stands for some turns: its form, its words, and the ids of the turns, in order."""

    form: str
    text: str
    sources: tuple[str, ...]


def units_of(
    stretch: Sequence[Engram],
    forms: Sequence[str],
    llm: LLM | None,
    made: Made,
    chunk_tokens: int,
    vectors: Vectors | None = None,
    frequency: Mapping[str, int] | None = None,
    records: int = 0,
) -> list[Unit]:
    """What a stretch of one session yields in these forms; each text once a form.

    llm      asked for facts, for triples and for the summary; where it is None, or fails, rules and extracts are used
    made     takes what the model said that the turns do not
    vectors  (len(stretch), dim) of the turns, for the extract; `frequency` and `records` see `keyphrases`
    """
    out: list[Unit] = []
    if "chunk" in forms:
        out += [Unit("chunk", full_text(part), ids_of(part)) for part in chunks(stretch, chunk_tokens)]
    if "triple" in forms:
        out += [Unit("triple", triple.text, (triple.source,)) for triple in triples(stretch, llm, made)]
    if "fact" in forms:
        out += [Unit("fact", draft.text, draft.sources) for draft in extract(stretch, llm, made)]
    if "summary" in forms:
        short = digest(stretch, llm, made, vectors, frequency, records).summary
        out += [Unit("summary", short, ids_of(stretch))] if short else []
    return list({(unit.form, unit.text, unit.sources): unit for unit in out}.values())


def chunks(stretch: Sequence[Engram], most: int) -> list[list[Engram]]:
    """Consecutive turns of at most `most` tokens together; a longer turn stands alone."""
    out: list[list[Engram]] = []
    used = 0
    for turn in stretch:
        tokens = estimate_tokens(full_text([turn])) + 1
        if out and used + tokens <= most:
            out[-1].append(turn)
            used += tokens
        else:
            out.append([turn])
            used = tokens
    return out
