"""Scores of answers follow LoCoMo's rules, and a long benchmark that was killed goes on where it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slowwave.bench.answers import f1
from slowwave.bench.partial import Partial


@pytest.mark.parametrize(
    ("reply", "gold", "kind", "score"),
    [
        ("The Lisbon trip", "a trip to Lisbon", "single-hop", 0.8),  # 2 of 2 words, 2 of 3
        ("trips", "trip", "single-hop", 1.0),
        ("nothing", "Lisbon", "temporal", 0.0),
        ("pottery, camping", "camping, pottery", "multi-hop", 1.0),
        ("pottery", "camping, pottery", "multi-hop", 0.5),
        ("yes", "yes; because she said so", "open-domain", 1.0),
        ("Not mentioned.", "whatever", "adversarial", 1.0),
        ("She went to Rome", "whatever", "adversarial", 0.0),
        ("", "Lisbon", "single-hop", 0.0),
    ],
)
def test_f1(reply: str, gold: str, kind: str, score: float) -> None:
    assert f1(reply, gold, kind) == pytest.approx(score)


def test_parts_are_kept_through_a_kill_and_not_across_settings(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    first = Partial(out, {"seed": 0})
    assert first.get("a", lambda: {"x": 1}) == {"x": 1}
    part = out.with_name("r.json.part")
    part.write_text(part.read_text() + '["b", {"y":')  # a kill in the middle of a line
    again = Partial(out, {"seed": 0})
    assert again.get("a", lambda: pytest.fail("measured twice")) == {"x": 1}
    assert again.get("b", lambda: [2]) == [2]
    assert Partial(out, {"seed": 1}).get("a", lambda: 3) == 3
    Partial(out, {}).finish()
    assert not part.exists()
    assert json.loads(json.dumps(Partial(None, {}).get("c", lambda: (1, 2)))) == [1, 2]
