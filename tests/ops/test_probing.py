"""The loop gathers what one search misses, asks nothing twice, and a failed try is never an answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from replying import Replying
from slowwave.ops.probing import Piece, Pool, by_model, by_rule, within
from slowwave.records import Engram, Scope

NOW = datetime(2024, 1, 1, tzinfo=UTC)
STORY = [
    "The red boat belongs to Mara.",
    "Mara takes after her brother, Tom.",
    "Tom found a job at Kestrel.",
    "Kestrel is run from Oulu.",
    "Nadia owns the blue boat.",
    "Nadia's brother is Leo.",
    "It rained in Porto.",
]
LIKE = [0.6, 0.4, 0.2, 0.3, 0.55, 0.45, 0.05]
QUESTION = "Where does the brother of the owner of the red boat work?"


def piece(n, layer="veridical", worth=None):
    engram = Engram(f"{n:026}", "episode", STORY[n], Scope(user_id="u"), NOW, NOW)
    return Piece(n, engram, layer, LIKE[n], LIKE[n] if worth is None else worth)


def mentions(name):
    return [piece(n) for n, said in enumerate(STORY) if name in said]


@pytest.fixture
def pool():
    pool = Pool(QUESTION)
    pool.add(map(piece, range(len(STORY))))
    return pool


def order(pool):
    return [p.n for p in pool.ranked()]


def test_evidence_is_kept_once_with_its_highest_worth(pool):
    assert pool.add([piece(3, worth=0.1), piece(3, worth=0.9)]) == []
    assert order(pool)[0] == 3
    assert len(pool.ids) == len(STORY)


def test_probing_with_names_brings_the_chain_forward_cycle_by_cycle(pool):
    assert order(pool) == [0, 4, 5, 1, 3, 2, 6]
    by_rule(pool, mentions, cycles=3, look=1)
    assert pool.probed[0] == "Mara"
    assert "Tom" in pool.probed
    assert order(pool) == [0, 1, 4, 2, 3, 5, 6]
    assert pool.pieces[2].probe == "Tom"
    assert pool.pieces[2].cycle > pool.pieces[1].cycle > 0


def test_what_a_probe_finds_is_worth_what_led_to_it_and_what_it_is_itself(pool):
    by_rule(pool, mentions, cycles=1, look=1)
    assert pool.pieces[1].worth == pytest.approx(0.7 * 0.6 + 0.3 * 0.4 + 0.05)
    assert pool.pieces[6].worth == LIKE[6], "nothing led to it"


def test_no_name_is_asked_for_twice_and_the_loop_ends_where_none_is_left(pool):
    by_rule(pool, mentions, cycles=50)
    assert len(pool.probed) == len(set(pool.probed))
    assert len(pool.cycles) < 6


def test_no_cycles_no_probes_and_names_that_are_left_out_stay_out(pool):
    by_rule(pool, mentions, cycles=0)
    assert pool.probed == []
    by_rule(pool, mentions, cycles=3, leave_out=["mara"])
    assert "Mara" not in pool.probed


def test_one_name_brings_no_more_than_it_may(pool):
    by_rule(pool, mentions, cycles=1, per_probe=1, look=1)
    assert sum(p.cycle > 0 for p in pool.pieces.values()) == 2, "what it already knows, and one new piece"


def test_a_name_in_the_question_is_the_first_probe():
    pool = Pool("Where does Leo live?")
    pool.add(map(piece, range(len(STORY))))
    by_rule(pool, mentions, cycles=1)
    assert pool.probed[0] == "Leo"


def retrieve(probe):
    words = set(probe.rstrip("?").split())
    return [piece(n, worth=len(words & set(said.rstrip(".").split())) / 10) for n, said in enumerate(STORY)]


def scripted(tries=3):
    """Asks for Mara, then for Tom, and knows when it has read of Kestrel."""

    def answer(operation, inputs):
        if operation == "cue":
            return {"cue": inputs["records"][0]}
        if operation == "try":
            known = "Tom found a job at Kestrel." in inputs["records"]
            return {"known": "yes" if known else "no", "answer": "Kestrel" if known else "The employer is missing."}
        if operation == "probes":
            return {"probes": ["Who is the brother of Mara?", "job of Tom"][: 1 + len(inputs["tried"])]}
        return {"cue": "Mara takes after her brother, Tom."}

    return Replying(answer)


def test_with_a_model_the_loop_goes_on_until_it_can_answer():
    pool = Pool(QUESTION)
    pool.add([piece(0)])
    model = scripted()
    assert by_model(pool, retrieve, model.llm(), 5, per_probe=2) == "Kestrel"
    assert pool.probed == ["Who is the brother of Mara?", "job of Tom"]
    assert pool.cues
    assert 2 in pool.pieces


def test_what_the_first_search_found_but_no_try_could_read_is_brought_by_a_probe(pool):
    model = scripted()
    assert by_model(pool, retrieve, model.llm(), 5, per_probe=2, budgets={"veridical": 40}) == "Kestrel"
    assert pool.pieces[2].probe in pool.probed
    assert pool.pieces[2].cycle > 0


def test_a_failed_try_is_no_answer_however_it_is_worded():
    pool = Pool(QUESTION)
    pool.add([piece(0)])
    model = scripted()
    assert by_model(pool, retrieve, model.llm(), 1) == ""
    assert [operation for operation, _ in model.asked] == ["cue", "try"]


def test_an_answer_that_names_what_no_evidence_does_is_none():
    pool = Pool(QUESTION)
    pool.add([piece(0)])
    model = Replying(lambda operation, inputs: {"known": "yes", "answer": "Zorblax Inc"} if operation == "try" else "?")
    assert by_model(pool, retrieve, model.llm(), 2) == ""


@pytest.mark.parametrize("value", ["", "I cannot help with that.", {"known": "maybe"}, {"probes": []}, None])
def test_a_model_that_talks_nonsense_ends_the_loop_without_an_answer(value):
    pool = Pool(QUESTION)
    pool.add([piece(0)])
    assert by_model(pool, retrieve, Replying(lambda operation, inputs: value).llm(), 5) == ""
    assert order(pool) == [0]


def test_a_model_that_asks_the_same_again_ends_the_loop():
    pool = Pool(QUESTION)
    pool.add([piece(0)])
    replies = {
        "try": {"known": "no", "answer": "?"},
        "cue": {"cue": "nothing"},
        "probes": {"probes": [QUESTION.upper()]},
    }
    model = Replying(lambda operation, inputs: replies[operation])
    assert by_model(pool, retrieve, model.llm(), 5) == ""
    assert [operation for operation, _ in model.asked].count("try") == 1


def test_a_spent_model_is_not_asked_again():
    pool = Pool(QUESTION)
    pool.add([piece(0)])
    model = scripted()
    assert by_model(pool, retrieve, model.llm(max_calls=2), 5) == ""
    assert len(model.asked) == 2


def test_a_try_reads_no_more_of_a_layer_than_its_budget(pool):
    texts = [piece.engram.text for piece in within(pool, {"veridical": 18})]
    assert texts == ["The red boat belongs to Mara.", "Nadia owns the blue boat."]
    assert len(within(pool, None)) == len(STORY)
    assert within(pool, {"episodic": 100}) == []
