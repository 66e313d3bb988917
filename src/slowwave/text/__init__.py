"""Text-form memory systems, one file each. To add one: its file, and its line in SYSTEMS."""

from __future__ import annotations

import difflib

from slowwave.errors import InputError, NotFoundError
from slowwave.text.a_mem import AMem
from slowwave.text.base import TextSystem
from slowwave.text.comorag import ComoRAG
from slowwave.text.default import DefaultMemory
from slowwave.text.dmm_gov import DmmGov
from slowwave.text.hema import Hema
from slowwave.text.hiagent import HiAgent
from slowwave.text.hippomm import HippoMM
from slowwave.text.keep_me_updated import KeepMeUpdated
from slowwave.text.light_mem import LightMem
from slowwave.text.memgas import MemGAS
from slowwave.text.memos import MemOS
from slowwave.text.sedm import SEDM
from slowwave.text.structural_memory import StructuralMemory
from slowwave.text.theanine import Theanine
from slowwave.text.tim import ThinkInMemory

SYSTEMS: dict[str, type[TextSystem]] = {
    "default": DefaultMemory,
    "a-mem": AMem,
    "comorag": ComoRAG,
    "dmm-gov": DmmGov,
    "hema": Hema,
    "hiagent": HiAgent,
    "hippomm": HippoMM,
    "keep-me-updated": KeepMeUpdated,
    "light-mem": LightMem,
    "memgas": MemGAS,
    "memos": MemOS,
    "sedm": SEDM,
    "structural-memory": StructuralMemory,
    "theanine": Theanine,
    "tim": ThinkInMemory,
}


def resolve_system(system: str | TextSystem) -> TextSystem:
    """A system by name, or as it is given."""
    if isinstance(system, TextSystem):
        return system
    if not isinstance(system, str):
        raise InputError(f"system is a {type(system).__name__}; give a name or a TextSystem")
    if system not in SYSTEMS:
        close = difflib.get_close_matches(system, SYSTEMS, n=3)
        hint = f"did you mean {', '.join(close)}? " if close else ""
        raise NotFoundError(f"no text system {system!r}; {hint}there are {', '.join(SYSTEMS)}")
    return SYSTEMS[system]()


__all__ = ["SYSTEMS", "TextSystem", "resolve_system"]
