"""Progress bars: drawn on a terminal for long work, absent everywhere else."""

from __future__ import annotations

import io
import sys

from slowwave.progress import Bars


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_long_work_on_a_terminal_shows_a_bar_for_each_stage():
    stream = Terminal()
    with Bars(stream, wait_seconds=0) as progress:
        progress("index", 1, 4)
        progress("write", 0, 0)  # a total that is not known
        progress("index", 4, 4)
    assert "index" in stream.getvalue()
    assert "write" in stream.getvalue()


def test_short_work_shows_nothing():
    stream = Terminal()
    with Bars(stream) as progress:
        progress("index", 1, 1)
    assert stream.getvalue() == ""


def test_where_nobody_looks_nothing_is_drawn_or_imported(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    stream = io.StringIO()
    with Bars(stream, wait_seconds=0) as progress:
        progress("index", 1, 2)
    assert stream.getvalue() == ""
    assert "rich" not in sys.modules
