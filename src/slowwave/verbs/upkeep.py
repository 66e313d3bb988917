"""Upkeep: what is derived from the records is made anew, by the same embedder or by another."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from slowwave.models.base import Embedder
from slowwave.verbs.write import BATCH

if TYPE_CHECKING:
    from slowwave.memory import Memory

Progress = Callable[[str, int, int], None]


def rebuild(memory: Memory, progress: Progress) -> int:
    """Full text, times and vectors of every record; how many there are."""
    memory._check_model()
    done, large = 0, memory.store.ann_scopes()
    for done, total in memory.store.rebuild(
        lambda engrams: list(memory.system.index(engrams, [b""] * len(engrams), memory.embedder).values()), BATCH
    ):
        progress("rebuild", done, total)
    for scope in large:
        memory.store.build_ann(scope, partial(progress, "ann"))
    return done


def reembed(memory: Memory, chosen: Embedder, progress: Progress) -> int:
    """Vectors of another embedder beside the old ones, then a swap at once; how many there are."""
    done, large = 0, memory.store.ann_scopes()
    for done, total in memory.store.reembed(
        chosen.name, chosen.dim, lambda engrams: memory.system.embed(engrams, chosen), BATCH
    ):
        progress("reembed", done, total)
    memory.embedder = chosen
    memory._model_checked = False
    for scope in large:
        memory.store.build_ann(scope, partial(progress, "ann"))
    return done
