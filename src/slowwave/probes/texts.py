"""Texts to run on: the user's own files, or the sample that comes with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from slowwave.errors import InputError


def read_texts(text: str | Path | Sequence[str] | None) -> list[str]:
    """Documents: of a file (a document a blank-line-free stretch of at least 200 characters), a folder of .txt files
    (one each), or as given; None takes the novel that comes along.

    raises  InputError where there is nothing to read
    """
    if text is None:
        from slowwave.data import dracula

        found = documents(dracula.text())
    elif isinstance(text, (str, Path)):
        path = Path(text).expanduser()
        if path.is_dir():
            files = sorted(path.rglob("*.txt"))
            if not files:
                raise InputError(f"there is no .txt file in {path}; give a text file or a folder of .txt files")
            found = [file.read_text(encoding="utf-8", errors="replace") for file in files]
        elif path.is_file():
            found = documents(path.read_text(encoding="utf-8", errors="replace"))
        else:
            raise InputError(f"no file or folder {path}; give a text file, a folder of .txt files, or texts")
    else:
        found = list(text)
    kept = [one for one in found if one.strip()]
    if not kept:
        raise InputError("there is no text to run on: what was given is empty")
    return kept


def documents(text: str, fewest: int = 200) -> list[str]:
    """A text cut at blank lines; stretches shorter than `fewest` characters join the next."""
    out: list[str] = []
    held = ""
    for part in text.replace("\r\n", "\n").split("\n\n"):
        held = f"{held}\n\n{part}" if held else part
        if len(held) >= fewest:
            out.append(held.strip())
            held = ""
    if held.strip():
        out.append(held.strip())
    return out
