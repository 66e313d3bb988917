"""`make demo` on the first passages of the book: it takes in, sleeps, asks, and is quick and quiet the second time."""

from __future__ import annotations

from slowwave import demo
from slowwave.data import dracula


def test_the_demo_runs_and_a_second_run_has_nothing_to_take_in_or_to_do(monkeypatch, tmp_path, capsys):
    first = dracula.episodes()[:100]
    monkeypatch.setattr(dracula, "episodes", lambda: first)
    monkeypatch.setenv("SLOWWAVE_DB", str(tmp_path / "demo.db"))
    code = demo.main()
    out = capsys.readouterr().out
    assert code == 1, "a hundred passages cannot answer nine of eleven questions"
    assert "taken in  100 dated passages" in out
    assert "slept" in out
    assert "there was no reflection of him in the mirror" in " ".join(out.split())
    assert "✓ 08 May 1893, Jonathan Harker" in out
    assert "Nothing on that." in out
    assert demo.main() == 1
    again = capsys.readouterr().out
    assert "adding them again is a no-op" in " ".join(again.split())
    assert "there was nothing to do" in " ".join(again.split())
