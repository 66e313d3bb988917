"""Segmenters: by session and silence, by speaker, by a token buffer, by topic; planted topics are found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.errors import InputError
from slowwave.ops.segments import by_change, by_session, by_tokens, by_topic, low_cosines, runs, topic_cuts
from slowwave.records import Engram, Scope

START = datetime(2024, 1, 1, 9, tzinfo=UTC)


def turn(n: int, minutes: float, session: str | None = None, speaker: str = "Ana", text: str = "hello") -> Engram:
    attrs = {"speaker": speaker, **({"session": session} if session else {})}
    at = START + timedelta(minutes=minutes)
    return Engram(f"{n:026d}", "episode", text, Scope(user_id="a"), at, at, attrs=attrs)


def ids(parts: Sequence[Sequence[Engram]]) -> list[list[int]]:
    return [[int(engram.id) for engram in part] for part in parts]


def planted(topics: int, each: int, seed: int, noise: float = 0.6) -> tuple[np.ndarray, list[int]]:
    """Turns whose vectors scatter around one centre a topic."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((topics, 64))
    rows = np.repeat(centres, each, axis=0) + noise * rng.standard_normal((topics * each, 64))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), list(range(each, topics * each, each))


def test_sessions_are_kept_apart_and_brought_into_the_order_of_time() -> None:
    said = [turn(1, 5, "a"), turn(2, 0, "b"), turn(3, 0, "a"), turn(4, 5, "b")]
    assert ids(by_session(said)) == [[3, 1], [2, 4]]


def test_without_a_session_a_silence_ends_a_sitting() -> None:
    said = [turn(1, 0), turn(2, 60), turn(3, 60 + 6 * 60 + 1)]
    assert ids(by_session(said)) == [[1, 2], [3]]
    assert ids(by_session(said, silence=timedelta(minutes=30))) == [[1], [2], [3]]
    assert by_session([]) == []


def test_a_change_of_speaker_cuts() -> None:
    said = [turn(1, 0, speaker="Ana"), turn(2, 1, speaker="Ana"), turn(3, 2, speaker="Ben"), turn(4, 3, speaker="Ana")]
    assert ids(by_change(said, lambda engram: engram.speaker)) == [[1, 2], [3], [4]]


def test_a_buffer_is_filled_in_order_and_one_that_is_too_long_stands_alone() -> None:
    assert by_tokens(["aaaa"] * 3 + ["b" * 40] + ["cccc"], 2) == [["aaaa", "aaaa"], ["aaaa"], ["b" * 40], ["cccc"]]
    with pytest.raises(InputError, match="most is 0"):
        by_tokens(["a"], 0)


def test_a_buffer_ends_where_a_topic_begins_if_it_can() -> None:
    words = [str(n) for n in range(8)]
    assert by_tokens(words, 5, lambda _: 1) == [words[:5], words[5:]]
    assert by_tokens(words, 4, lambda _: 1, whole=[3, 6]) == [words[:3], words[3:6], words[6:]]
    assert by_tokens(words, 5, lambda _: 1, whole=[7]) == [words[:5], words[5:]], "a topic that is too long is cut"


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 12), st.sets(st.integers(1, 39)))
def test_nothing_is_lost_and_no_buffer_runs_over(sizes: list[int], most: int, whole: set[int]) -> None:
    items = list(enumerate(sizes))
    parts = by_tokens(items, most, lambda item: item[1], whole=sorted(n for n in whole if n < len(items)))
    assert [item for part in parts for item in part] == items
    assert all(len(part) == 1 or sum(size for _, size in part) <= most for part in parts)
    assert all(parts)


def test_planted_topics_are_found_by_valleys() -> None:
    for seed in range(5):
        vectors, edges = planted(6, 8, seed)
        cuts = topic_cuts(vectors)
        assert set(cuts) <= {edge + off for edge in edges for off in (-1, 0, 1)}, "a cut lies within a topic"
        assert len([e for e in edges if any(abs(e - c) <= 1 for c in cuts)]) >= len(edges) - 1


def test_talk_of_one_topic_over_and_over_gives_no_topic_to_cut() -> None:
    assert topic_cuts(np.ones((20, 8), dtype=np.float32) / np.sqrt(8).astype(np.float32)) == []
    assert topic_cuts(np.eye(2, dtype=np.float32)) == []
    assert by_topic(["a", "b"], None) == [["a", "b"]]


def test_a_fixed_threshold_is_raised_until_it_finds_something() -> None:
    base = np.array([[1, 0], [1, 0], [0.35, 0.9367], [0.35, 0.9367]], dtype=np.float32)
    assert low_cosines(base) == [2], "0.35 is found once the threshold has been raised to 0.4"
    assert low_cosines(base, highest=0.3) == []
    assert low_cosines(base[:1]) == []


def test_windows_and_fades_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="window is 0"):
        topic_cuts(np.eye(5, dtype=np.float32), window=0)
    with pytest.raises(InputError, match=r"fade 1\.5"):
        topic_cuts(np.eye(5, dtype=np.float32), fade=1.5)


def test_runs_of_no_items_are_none() -> None:
    assert runs([], []) == []
    assert runs([1, 2, 3], [1]) == [[1], [2, 3]]
