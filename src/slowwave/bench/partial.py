"""Rows of a long benchmark kept as they are measured, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slowwave.bench.base import versions


class Partial:
    """Finished parts of one run, one JSON line each in `FILE.part` beside the result; without a file, in memory alone.

    out       the result's file; None keeps nothing
    settings  what the parts depend on: a file of other settings, or of another version, is not used
    """

    def __init__(self, out: Path | None, settings: Mapping[str, Any]) -> None:
        self.path = None if out is None else out.with_name(out.name + ".part")
        self._head = json.dumps({"settings": dict(settings), "versions": versions()}, sort_keys=True, default=str)
        self._done: dict[str, Any] = {}
        if self.path is not None and self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            if lines and lines[0] == self._head:
                for line in lines[1:]:
                    try:
                        key, value = json.loads(line)
                    except ValueError:  # the line that the kill cut off
                        continue
                    self._done[key] = value

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """The part of this name: as it was measured before, or measured now and kept. JSON values only."""
        if key not in self._done:
            self._done[key] = json.loads(json.dumps(measure()))
            self._write()
        return self._done[key]

    def know(self, key: str, value: Any) -> None:
        """A part that was measured elsewhere; what is known already stays."""
        self._done.setdefault(key, value)

    def finish(self) -> None:
        """Take the file away: the result is written."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = [self._head, *(json.dumps(pair) for pair in self._done.items())]
            temporary = self.path.with_name(self.path.name + ".new")
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
            temporary.replace(self.path)
