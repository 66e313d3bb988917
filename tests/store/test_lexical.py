"""A scope's lexical scores come from its own records alone."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from slowwave import Memory, Scope
from slowwave.store.base import Want

OWN = [
    "the ferry to Split leaves at nine",
    "a ferry and another ferry",
    "she missed the boat",
    "nine boats and one ferry in the harbour of Split",
    "nothing of the kind",
] * 3
OTHERS = ["ferry ferry ferry", "split split", "harbour ferry split nine"] * 40


def bm25(texts: list[str], query: list[str], mean: float) -> list[float]:
    """The formula by hand, k1 = 1.2 and b = 0.75, lengths against the given mean."""
    bags = [Counter(re.findall(r"\w+", text.lower())) for text in texts]
    out = []
    for bag in bags:
        score = 0.0
        for word in query:
            holding = sum(word in other for other in bags)
            idf = max(1e-6, math.log((len(bags) - holding + 0.5) / (holding + 0.5)))
            length = sum(bag.values())
            score += idf * bag[word] * 2.2 / (bag[word] + 1.2 * (0.25 + 0.75 * length / mean))
        out.append(score)
    return out


@pytest.fixture
def memory():
    with Memory(":memory:", embedder="fake") as memory:
        yield memory


def scores(memory: Memory, terms: list[str]) -> list[float]:
    view = memory.store.view(Scope("ana"))
    found = dict(view.lexical(terms, 100, Want()))
    return [round(score, 6) for _, score in sorted(found.items())]


def test_what_others_wrote_does_not_change_how_rare_a_word_is_here(memory):
    texts = [f"{text} {number}" for number, text in enumerate(OWN)]
    memory.add(texts, user_id="ana")
    memory.add([f"{text} {number}" for number, text in enumerate(OTHERS)], user_id="ben")
    view = memory.store.view(Scope("ana"))
    assert view.document_frequency(["ferry", "split", "absent"]) == (15, {"ferry": 9, "split": 6, "absent": 0})
    found = dict(view.lexical(["split", "boat"], 100, Want()))
    ranked = {engram.text: found[n] for n, engram in view.engrams(list(found)).items()}
    # Lengths are measured against the whole index, so only what does not depend on them is compared with the formula.
    by_hand = bm25([re.sub("boats", "boat", text) for text in texts], ["split", "boat"], 10.0)
    assert sorted(ranked) == sorted(text for text, score in zip(texts, by_hand, strict=True) if score > 0)
    split = next(score for text, score in ranked.items() if "ferry to Split" in text)
    boat = next(score for text, score in ranked.items() if "missed the boat" in text)
    assert boat == pytest.approx(split, rel=0.2), "equally rare here, not elsewhere"


def test_scores_stay_when_others_write_more_of_the_same_length(memory):
    memory.add([f"{text} {number}" for number, text in enumerate(OWN)], user_id="ana")
    memory.add([f"quite other words here {number}" for number in range(40)], user_id="ben")
    before = scores(memory, ["ferry", "split", "nine"])
    memory.add([f"ferry split nine here {number}" for number in range(40)], user_id="ben")
    after = scores(memory, ["ferry", "split", "nine"])
    assert after == pytest.approx(before, rel=0.02)


def test_a_phrase_is_found_as_words_side_by_side(memory):
    memory.add(["Van Helsing came", "Helsing drove a van"], user_id="ana")
    memory.add(["nothing"] * 30, user_id="ben")
    view = memory.store.view(Scope("ana"))
    found = view.engrams([n for n, _ in view.lexical(["Van Helsing"], 9, Want())])
    assert [engram.text for engram in found.values()] == ["Van Helsing came"]
