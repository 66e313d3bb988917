"""Windows grow with what there is to cover, leave nothing out, and chunks keep to one session and a size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slowwave.errors import InputError
from slowwave.ops.packing import estimate_tokens
from slowwave.ops.windows import chunked, window_size, windows
from slowwave.records import Engram, Scope

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def test_the_size_of_a_window_is_the_published_one():
    given = {1: 2, 5: 2, 6: 3, 20: 3, 21: 5, 50: 5, 51: 8, 100: 8, 101: 10, 200: 10, 201: 15, 1000: 19, 10**6: 20}
    assert {n: window_size(n) for n in given} == given


@pytest.mark.parametrize("chunks", [0, 1, 2, 5, 7, 12])
@pytest.mark.parametrize(("size", "stride"), [(1, None), (3, None), (3, 1), (5, 2)])
def test_windows_cover_everything_and_none_lies_within_the_last(chunks, size, stride):
    found = windows(chunks, size, stride)
    assert sorted({place for window in found for place in window}) == list(range(chunks))
    assert all(len(window) <= size for window in found)
    assert all(window.stop < found[-1].stop for window in found[:-1])


def test_windows_lie_side_by_side_unless_a_stride_says_otherwise():
    assert windows(7, 3) == [range(3), range(3, 6), range(6, 7)]
    assert windows(4, 3, 1) == [range(3), range(1, 4)]
    with pytest.raises(InputError, match="at least 1"):
        windows(4, 0)


def test_chunks_are_consecutive_within_a_session_and_a_size():
    engrams = [
        Engram(f"{n:02}", "episode", "word " * 40, Scope(user_id="u"), NOW + timedelta(minutes=n), NOW,
               attrs={"session": "a" if n < 7 else "b"})
        for n in range(10)
    ]  # fmt: skip
    found = chunked(engrams, tokens=120)
    assert [[e.id for e in chunk] for chunk in found] == [["00", "01"], ["02", "03"], ["04", "05"], ["06"],
                                                         ["07", "08"], ["09"]]  # fmt: skip
    assert all(sum(estimate_tokens(e.text) for e in chunk) <= 120 for chunk in found)
    assert [[e.id for e in chunk] for chunk in chunked(engrams[:2], tokens=10)] == [["00"], ["01"]]
