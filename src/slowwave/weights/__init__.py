"""Weights-form memory: one learner, and ways not to forget, one file each. To add one: its file, and its line here.

`SYSTEMS` holds the published methods, `METHODS` the baselines too. Nothing here loads torch until a name is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from slowwave.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from slowwave.weights.base import Method
    from slowwave.weights.learner import Learner
    from slowwave.weights.model import Classifier

BASELINES = {
    "naive": "baselines:Naive",
    "replay": "baselines:Replay",
    "lwf": "baselines:LwF",
    "joint": "baselines:Joint",
}
PUBLISHED: dict[str, str] = {
    "ewc": "ewc:EWC",
    "gem": "gem:GEM",
    "ssd": "ssd:SSD",
    "pca-ogd": "pca_ogd:PCAOGD",
    "remind": "remind:Remind",
    "factorize-centralize": "factorize_centralize:FactorizeCentralize",
    "rer": "rer:RER",
    "refresh": "refresh:RefreshLearning",
    "center-loss": "center_loss:CenterLoss",
    "view-batch": "view_batch:ViewBatch",
    "hypernetworks": "hypernetworks:Hypernetworks",
    "elephant": "elephant:Elephant",
    "spurious-forgetting": "spurious_forgetting:Freeze",
    "sa-proj": "sa_proj:SAProj",
    "sparse-memory-finetuning": "sparse_memory_finetuning:SparseMemoryFinetuning",
    "slm-mitigation": "slm_mitigation:SLMMitigation",
}
_NAMES = {"Learner": "learner", "Classifier": "model", "Method": "base"}


class _Register(Mapping[str, "type[Method]"]):
    """Name -> class; a file is imported when it is asked for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> type[Method]:
        module, _, attribute = self._places[name].partition(":")
        found: type[Method] = getattr(import_module(f"slowwave.weights.{module}"), attribute)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


SYSTEMS: Mapping[str, type[Method]] = _Register(PUBLISHED)
METHODS: Mapping[str, type[Method]] = _Register({**BASELINES, **PUBLISHED})


def resolve_method(method: str | Method) -> Method:
    """A method by name, with its defaults, or as it is given."""
    from slowwave.weights.base import Method

    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        raise InputError(f"a method is a {type(method).__name__}; give a name or a Method")
    if method not in METHODS:
        close = difflib.get_close_matches(method, METHODS, n=3)
        hint = f"did you mean {', '.join(close)}? " if close else ""
        raise NotFoundError(f"no method {method!r}; {hint}there are {', '.join(METHODS)}")
    return METHODS[method]()


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"slowwave.weights.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["METHODS", "SYSTEMS", "Classifier", "Learner", "Method", "resolve_method"]
