"""Compression by surprisal: what is dropped, what never is, and how a model's expectations are read off."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from typing import Any

import pytest

from slowwave.errors import InputError
from slowwave.models.chat import Message, Reply, Token
from slowwave.models.llm import LLM
from slowwave.ops.compression import at_random, by_counts, by_model, shortened, terms_of

SAID = "I do not think that the old bakery in Lisbon opens before 7 on Sundays, Clara."
COMMON = {"do": 60, "think": 40, "that": 70, "the": 95, "in": 80, "on": 60, "before": 30, "old": 20, "opens": 3}


class Expecting:
    """A model that tells of each token how likely it was: `unlikely` ones at a thousandth, others at a half."""

    name = "fake-expecting"
    context_tokens = 0

    def __init__(self, unlikely: set[str], probabilities: bool = True, says: str | None = None) -> None:
        self.unlikely, self.probabilities, self.says = unlikely, probabilities, says

    def chat(self, messages: Sequence[Message], *, schema: Any = None, **settings: Any) -> Reply:
        text = self.says or schema["properties"]["said"]["enum"][0]
        out = json.dumps({"said": text}, ensure_ascii=False)
        pieces = [out[:9], *(f" {w}" if n else w for n, w in enumerate(out[9:].split(" ")))]
        logprobs = [math.log(0.001 if p.strip(' ",.}') in self.unlikely else 0.5) for p in pieces]
        tokens = tuple(Token(p, logprob) for p, logprob in zip(pieces, logprobs, strict=True))
        return Reply(out, 5, len(tokens), tokens=tokens if self.probabilities else ())

    def count_tokens(self, text: str) -> int:
        return len(text) // 4


def test_rare_words_surprise_more_than_common_ones() -> None:
    scores = dict(zip(terms_of(SAID), by_counts(SAID, COMMON, 100), strict=True))
    assert scores["lisbon"] > scores["opens"] > scores["old"] > scores["the"]
    assert scores["lisbon"] == pytest.approx(-math.log2(1 / 102))


def test_the_least_surprising_words_go_and_the_rest_stays_in_order() -> None:
    scores = by_counts(SAID, COMMON, 100)
    assert shortened(SAID, scores, 1.0) == SAID
    short = shortened(SAID, scores, 0.7)
    assert "the" not in short.split()
    assert "bakery" in short
    words = SAID.split()
    places = [words.index(word) for word in short.split()]
    assert places == sorted(places)
    assert len(short.split()) == math.ceil(0.7 * len(words))


def test_negations_numbers_names_and_pronouns_are_kept_whatever_they_score() -> None:
    short = shortened(SAID, [0.0] * len(SAID.split()), 0.1)
    assert short == "I not Lisbon 7 Sundays, Clara."
    flipped = shortened("I don't eat meat", [0.0, 0.0, 9.0, 9.0], 0.5)
    assert "don't" in flipped, "without it the text would say the opposite"
    assert shortened(SAID, [0.0] * len(SAID.split()), 0.1, always=()) == "I do"


def test_a_text_without_words_and_settings_out_of_range() -> None:
    assert shortened("", [], 0.5) == ""
    assert by_counts("...", {}, 3) == [0.0]
    with pytest.raises(InputError, match="keep is 0"):
        shortened("a b", [1, 2], 0)
    with pytest.raises(InputError, match="1 scores came for 2 words"):
        shortened("a b", [1], 0.5)


def test_a_models_expectations_are_read_off_word_by_word() -> None:
    scores = by_model(SAID, LLM(Expecting({"bakery", "Lisbon"})))
    assert scores is not None
    by_word = dict(zip(terms_of(SAID), scores, strict=True))
    assert by_word["bakery"] == pytest.approx(-math.log2(0.001))
    assert by_word["the"] == pytest.approx(1.0)
    assert "bakery" in shortened(SAID, scores, 0.4)


def test_line_breaks_and_quotes_which_json_writes_longer_do_not_shift_the_words() -> None:
    said = 'He said "no" twice\nand then left'
    scores = by_model(said, LLM(Expecting({"left"})))
    assert scores is not None
    assert len(scores) == len(said.split())
    assert max(range(len(scores)), key=scores.__getitem__) == len(scores) - 1, "the last word is the unlikely one"


@pytest.mark.parametrize("model", [Expecting(set(), probabilities=False), Expecting(set(), says="other words")])
def test_a_model_that_tells_no_probabilities_or_says_something_else_tells_nothing(model: Expecting) -> None:
    assert by_model(SAID, LLM(model, wait=lambda seconds: None)) is None


def test_certainty_about_every_token_means_that_the_schema_had_its_say_first() -> None:
    class Certain(Expecting):
        def chat(self, messages: Sequence[Message], *, schema: Any = None, **settings: Any) -> Reply:
            reply = super().chat(messages, schema=schema, **settings)
            return Reply(reply.text, 1, 1, tokens=tuple(Token(token.text, 0.0) for token in reply.tokens))

    assert by_model(SAID, LLM(Certain(set()))) is None


def test_chance_drops_as_many() -> None:
    scores = at_random(SAID, random.Random(1))
    assert scores == at_random(SAID, random.Random(1)) != at_random(SAID, random.Random(2))
    assert len(shortened(SAID, scores, 0.6, always=()).split()) == math.ceil(0.6 * len(SAID.split()))
