"""What signatures and docstrings say of parameters: the command line and the server read their options off them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

TOLD = re.compile(r"^(\w+(?:, \w+)*)  +(\S.*)$")
# what a docstring does not tell
WORDS = {
    "kind": "episode, fact, summary, note, event or skill",
    "speaker": "who said or wrote it",
    "session": "the conversation or document it belongs to",
    "until": "when it stopped being true",
    "attrs": "anything else worth keeping",
    "metadata": "the same as --attrs, in mem0's word",
    "kinds": "these kinds only; several with commas",
    "top_k": "at most so many",
    "limit": "at most so many",
    "offset": "leave out the first so many",
    "newest_first": "in the reverse order",
    "filters": 'a filter, such as \'{"speaker": "Mina"}\'; operators eq ne in nin gt gte lt lte contains icontains',
    "at": "only what was true at that moment",
    "as_of": "only what this memory knew at that moment",
    "retired": "also what was merged, corrected, forgotten or undone",
    "reason": "why, for the journal",
    "verb": "operations of this verb only, such as sleep",
    "weight": "how strong the tie is, in [0, 1]",
    "dry_run": "change nothing; show what would be done",
    "format": "the format by name",
    "max_tokens": "the budget",
    "subject": "those that this name said, or that mention it",
    "all": "everything in the scope",
}


def told(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstrings of a function, or of a class and its bases, say of each parameter.

    A line is `name  text`, and is continued by indented ones.
    """
    out: dict[str, str] = {}
    for part in reversed(function.__mro__) if isinstance(function, type) else (function,):
        names: list[str] = []
        for line in inspect.cleandoc(part.__doc__ or "").splitlines():
            if match := TOLD.match(line):
                names = match[1].split(", ")
                out.update(dict.fromkeys(names, match[2].strip()))
            elif line.startswith(" ") and line.strip() and names:
                out.update({name: f"{out[name]} {line.strip()}" for name in names})
            else:
                names = []
    return out
