import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowwave.ops.query import MAX_TERMS, analyse, choose_terms, speaker_match
from slowwave.store.lexical import quoted

PAIR = ("Melanie Ortiz", "Caroline")


def test_telling_words_are_kept_once_and_in_lower_case():
    assert analyse("When did the Pottery class start, the POTTERY one?").terms == ("pottery", "class", "start", "one")


def test_a_query_of_stop_words_keeps_them_all():
    assert analyse("who are you?").terms == ("who", "are", "you")


def test_an_empty_query_has_no_terms():
    assert analyse("").terms == ()
    assert analyse(" ?! ").terms == ()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Where did Melanie camp?", ("Melanie Ortiz",)),
        ("What are Melanie's pets called?", ("Melanie Ortiz",)),
        ("What does Mel paint?", ("Melanie Ortiz",)),
        ("Are these Mel's paintings?", ("Melanie Ortiz",)),
        ("what does melanie think of caroline?", ("Melanie Ortiz", "Caroline")),
        ("What is melting there?", ()),
        ("Has anyone seen the Caroling party?", ()),
        ("What do I like?", ()),
    ],
)
def test_speakers_are_recognised_by_name(query, expected):
    assert analyse(query, PAIR).speakers == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Where did I camp?", ("user",)),
        ("What is my dog's name?", ("user",)),
        ("Which film did you recommend?", ("assistant",)),
        ("What did you tell me about Rome?", ("assistant",)),
        ("I liked the film that you've recommended.", ("assistant",)),
        ("Can you list my plants?", ("user",)),
        ("Remind me of the deadline", ()),
        ("How does photosynthesis work?", ()),
        ("Type I errors", ("user",)),
    ],
)
def test_pronouns_mean_the_role_that_is_spoken_of(query, expected):
    assert analyse(query, ("user", "assistant")).speakers == expected


def test_a_short_form_that_fits_two_speakers_names_neither():
    assert analyse("What does Mar paint?", ("Maria", "Mark")).speakers == ()


def test_a_query_about_one_speaker_is_put_in_their_voice():
    assert analyse("When did Caroline feed Caroline's cat?", PAIR).embedding == "Caroline: When did I feed my cat?"
    assert analyse("What is my job?", ("user", "assistant")).embedding == "user: What is my job?"


def test_a_query_about_both_or_nobody_is_searched_as_it_is():
    assert analyse("Do Melanie and Caroline paint?", PAIR).embedding == "Do Melanie and Caroline paint?"
    assert analyse("Who paints?", PAIR).embedding == "Who paints?"


def test_names_are_capitalised_words_that_are_no_speaker():
    assert analyse("What did Caroline buy in Paris on Friday with Anna's money?", PAIR).names == ("Paris", "Anna")
    assert analyse("Recall the day. Chloe Castillo fell. Who helped?").names == ("Chloe", "Castillo")


@pytest.mark.parametrize("query", ["When did she move?", "How long did it take?", "What year was it?"])
def test_asking_when(query):
    assert analyse(query).wants_time


@pytest.mark.parametrize(
    "query", ["Where did she live before?", "What did I use to... I used to drive?", "Her old job?"]
)
def test_asking_about_the_past(query):
    found = analyse(query)
    assert found.wants_past
    assert not found.wants_current


@pytest.mark.parametrize("query", ["Where does she live now?", "What is my current job?", "Does he still smoke?"])
def test_asking_what_holds(query):
    found = analyse(query)
    assert found.wants_current
    assert not found.wants_past


def test_a_plain_question_asks_nothing_about_time():
    found = analyse("What colour is the car?")
    assert not (found.wants_time)
    assert not (found.wants_past)
    assert not (found.wants_current)


def test_common_terms_go_where_two_rarer_ones_remain():
    frequency = {"dance": 90, "studio": 12, "rome": 1, "unknown": 0}
    assert choose_terms(("dance", "studio", "rome", "unknown"), frequency, 100) == ("rome", "studio")


def test_a_common_term_stays_where_there_is_nothing_better():
    assert choose_terms(("dance", "rome"), {"dance": 90, "rome": 1}, 100) == ("rome", "dance")
    assert choose_terms(("dance",), {"dance": 100}, 100) == ("dance",)


def test_long_queries_are_cut_to_their_rarest_terms():
    terms = [f"w{i}" for i in range(100)]
    chosen = choose_terms(terms, {term: 100 - i for i, term in enumerate(terms)}, 10_000)
    assert len(chosen) == MAX_TERMS
    assert chosen[0] == "w99"


def test_in_a_large_index_the_lists_of_common_terms_are_not_read():
    frequency = {"a1": 4000, "a2": 4500, "a3": 9000, "a4": 9500}
    assert choose_terms(tuple(frequency), frequency, 100_000) == ("a1", "a2", "a3")
    frequency = {"a1": 40, "a2": 45, "a3": 90, "a4": 95, "a5": 9000}
    assert choose_terms(tuple(frequency), frequency, 100_000) == ("a1", "a2", "a3", "a4")


@given(st.text(max_size=60), st.lists(st.text(min_size=1, max_size=12), max_size=4))
def test_no_text_breaks_the_analysis_or_the_full_text_query(query, speakers):
    found = analyse(query, speakers)
    assert set(found.speakers) <= set(speakers)
    if found.terms:
        table = sqlite3.connect(":memory:")
        table.execute("CREATE VIRTUAL TABLE words USING fts5 (body, tokenize = 'porter unicode61 remove_diacritics 2')")
        asked = " OR ".join(map(quoted, found.terms))
        table.execute("SELECT rowid FROM words WHERE words MATCH ?", (asked,)).fetchall()
        table.close()


def test_speaker_match_is_of_the_exact_name():
    found = analyse("What does Mel paint?", PAIR)
    assert speaker_match("Melanie Ortiz", found) == 1.0
    assert speaker_match("Caroline", found) == 0.0
    assert speaker_match(None, found) == 0.0
