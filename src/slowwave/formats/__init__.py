"""Arriving and leaving: readers of other systems' exports, slowwave's own export, and the audit of what came in.

To add a format: one file here with a subclass of `Reader`, one line in FORMATS below, one test with a small sample in
the real layout. The order matters for guessing: what can be told surely comes first.
"""

from __future__ import annotations

from pathlib import Path

from slowwave.errors import FormatError
from slowwave.formats.audit import Audit
from slowwave.formats.base import Format, Junk, Reader, looks_like
from slowwave.formats.bundle import check_path
from slowwave.formats.chatgpt import ChatGPT
from slowwave.formats.claude import Claude
from slowwave.formats.jsonl import Jsonl, engram_of, engram_record, link_of, link_record, read_jsonl, write_jsonl
from slowwave.formats.markdown import Markdown
from slowwave.formats.markdown_export import write_markdown
from slowwave.formats.mcp_memory import McpMemory
from slowwave.formats.mem0 import Mem0
from slowwave.formats.messages import Messages
from slowwave.formats.text import Text

FORMATS: dict[str, Format] = {
    known.name: known for known in (Jsonl(), ChatGPT(), Claude(), McpMemory(), Mem0(), Messages(), Markdown(), Text())
}


def format_of(path: Path, name: str | None = None) -> Format:
    """The format of that name, or the one that the path looks like.

    raises FormatError if there is no such name, nothing at the path, or nothing that any format recognises
    """
    if name is not None:
        if name not in FORMATS:
            raise FormatError(f"there is no format {name!r}; there are {', '.join(FORMATS)}")
        return FORMATS[name]
    path = check_path(path)
    known = looks_like(path)
    if known is None:
        raise FormatError(
            f"{path} looks like none of the formats that can be imported: {', '.join(FORMATS)}; "
            f"if it is one of them, name it with --format"
        )
    return known


__all__ = [
    "FORMATS",
    "Audit",
    "Format",
    "Junk",
    "Reader",
    "engram_of",
    "engram_record",
    "format_of",
    "link_of",
    "link_record",
    "looks_like",
    "read_jsonl",
    "write_jsonl",
    "write_markdown",
]
