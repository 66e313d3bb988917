"""Reading: a question becomes a cue, the system answers it, and what was used and asked of a model is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from slowwave.errors import InputError
from slowwave.models.llm import LLM, DictCache
from slowwave.ops.answering import Answered, answer
from slowwave.ops.arguments import (
    Moment,
    count_of,
    query_of,
    scope_and_filters,
    threshold_of,
    want_of,
)
from slowwave.ops.packing import Context, estimate_tokens
from slowwave.records import Hit, Hits, ScopeArgs
from slowwave.store.base import View
from slowwave.store.clock import parse_moment
from slowwave.text.base import Cue

if TYPE_CHECKING:
    from slowwave.memory import Memory
    from slowwave.promote.kv import KeyValues


def asked(
    memory: Memory,
    query: str,
    top_k: int,
    threshold: float | None = None,
    filters: Mapping[str, Any] | None = None,
    kinds: Sequence[str] | None = None,
    at: Moment = None,
    as_of: Moment = None,
    now: Moment = None,
    *,
    explain: bool = False,
    ask: bool = False,
    **scope: Unpack[ScopeArgs],
) -> tuple[View, Cue]:
    """What may be read, and the question put to it."""
    own, rest = scope_and_filters(scope, filters)
    if ask and memory.llm is None:
        raise InputError("ask=True lets reading ask a language model, and there is none; open Memory(llm=...)")
    cue = Cue(
        text=query_of(query),
        now=memory._now() if now is None else parse_moment(now, memory.zone, "now"),
        want=want_of(kinds, rest, at, as_of, memory.zone),
        top_k=count_of("top_k", top_k),
        threshold=threshold_of(threshold),
        explain=explain,
        llm=_apart(memory.llm) if ask and memory.llm is not None else None,
    )
    memory._check_model()
    return memory.store.view(own), cue


def find(memory: Memory, view: View, cue: Cue, note_use: bool) -> Hits:
    """What bears on the cue, best first."""
    hits = memory.system.search(view, cue, memory.embedder)
    if note_use:
        _note(memory, hits, cue)
    _note_calls(memory, "search", view, cue.llm)
    return hits


def compose(
    memory: Memory,
    view: View,
    cue: Cue,
    max_tokens: int,
    count_tokens: Callable[[str], int],
    note_use: bool,
    keys: KeyValues | None = None,
    joint: bool = False,
) -> Context:
    """Prompt-ready text within a budget, and the same as keys and values where a model for them is given."""
    most = count_of("max_tokens", max_tokens)
    made = memory.system.context(view, cue, memory.embedder, most, count_tokens if keys is None else keys.count)
    if keys is not None:
        engrams = sorted((hit.engram for hit in made.hits), key=lambda engram: (engram.at, engram.id))
        made = replace(made, attended=keys.attend(engrams, joint=joint))
        ids = [engram.id for engram in engrams]
        keys.drop(set(ids) - set(view.get(ids)))  # what was erased while it was being encoded
    if note_use:
        _note(memory, [*made.hits, *made.left_out], cue)
    _note_calls(memory, "context", view, cue.llm)
    return made


def key_values(memory: Memory, form: str, model: Any, joint: bool = False) -> KeyValues | None:
    """What makes keys and values for a model, if they are asked for; the same one each time for the same model."""
    if form not in ("text", "kv"):
        raise InputError(f"form is {form!r}; give 'text', or 'kv' with a model")
    if form == "text":
        if joint:
            raise InputError("joint is for form='kv': whether its keys and values are made of one text; leave it out")
        if model is not None:
            raise InputError("model is for form='kv'; for text, open Memory(llm=...) or leave it out")
        return None
    if model is None:
        raise InputError("form='kv' needs model=: a KeyValues, (model, tokenizer) of transformers, or a path")
    from slowwave.promote.files import folder_of
    from slowwave.promote.kv import KeyValues

    if not isinstance(model, (KeyValues, tuple, str, Path)):
        raise InputError(f"model is a {type(model).__name__}; give a KeyValues, (model, tokenizer), or a path")
    if isinstance(model, KeyValues):
        found = model
    else:
        name = tuple(map(id, model)) if isinstance(model, tuple) else str(model)
        if name in memory._key_values:
            return memory._key_values[name]
        folder = folder_of(str(memory.path))
        found = KeyValues(*model, folder=folder) if isinstance(model, tuple) else KeyValues.load(model, folder=folder)
        memory._key_values[name] = found
    memory._key_values.setdefault(id(found), found)
    return found


def reply(memory: Memory, view: View, cue: Cue, max_tokens: int, note_use: bool) -> Answered:
    """The language model's answer from what a context of so many tokens holds."""
    assert memory.llm is not None
    llm = cue.llm or _apart(memory.llm)
    most = count_of("max_tokens", max_tokens)
    made = memory.system.context(view, cue, memory.embedder, most, estimate_tokens)
    said = answer(cue.text, cue.now.astimezone(memory.zone), made, llm)
    if note_use:
        _note(memory, said.hits or made.hits, cue)
    _note_calls(memory, "answer", view, llm)
    return said


def _note(memory: Memory, hits: Iterable[Hit], cue: Cue) -> None:
    if not memory.readonly and cue.want.as_of is None:
        memory._uses.note(hits, memory._now())


def _note_calls(memory: Memory, verb: str, view: View, llm: LLM | None) -> None:
    """Write the calls of a reading that asked a model into the journal, as an operation that changed nothing."""
    calls = llm.take_calls() if llm is not None else []
    if calls and llm is not None and not memory.readonly:
        operation = memory._operation(verb, view.scope, memory._now(), {}, model=llm.name, calls=tuple(calls))
        memory.store.apply(operation, [], {})


def _apart(llm: LLM) -> LLM:
    """The model with a list of calls of its own, so that a reading knows which were its."""
    return llm.session(llm.cache if llm.cache is not None else DictCache())
