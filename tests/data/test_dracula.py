"""The sample: every word of the novel, once, in order, by the right hand on the right day."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from datetime import datetime
from functools import cache
from importlib.resources import files

import pytest

from slowwave.data import dracula
from slowwave.records import Item


@cache
def all_episodes() -> list[Item]:
    return dracula.episodes()


def the_one(words: str) -> Item:
    found = [item for item in all_episodes() if words in item.text]
    assert len(found) == 1, f"{words!r} is in {[item.origin for item in found]}"
    return found[0]


def letters(text: str) -> str:
    """Letters and digits alone: what typesetting cannot change."""
    return re.sub(r"[\W_]+", "", text)


def test_every_line_of_the_novel_is_in_the_episodes_once_and_in_order() -> None:
    items = all_episodes()
    told = "".join(letters(item.text) for item in items)
    starts = [0]  # where each episode starts in `told`
    for item in items:
        starts.append(starts[-1] + len(letters(item.text)))
    read, number, headings = 0, 0, 0
    body = dracula.text().split("-------\n", 1)[1]
    for line in filter(None, map(letters, body.splitlines())):
        while starts[number + 1] <= read and number + 1 < len(items):
            number += 1
        attrs = items[number].attrs
        dated = letters(attrs.get("dated", ""))
        if told.startswith(line, read):
            read += len(line)
        elif dated and line.startswith(dated) and told.startswith(line[len(dated) :], read):
            read += len(line) - len(dated)
        else:
            printed = [letters(attrs["byline"]), f"CHAPTER{attrs['chapter']}", "THEEND"]
            printed.append(letters(attrs.get("note", "")))
            assert any(line in words for words in printed), f"lost near {items[number].origin}: {line}"
            headings += 1
    assert read == len(told)
    assert headings == 27 + 122 + 12 + 1  # chapters, headings of documents, remarks under them, THE END


def test_the_shipped_text_is_packed_without_a_time_so_that_it_is_built_the_same_everywhere() -> None:
    packed = (files("slowwave.data") / "dracula.txt.gz").read_bytes()
    assert packed[4:8] == b"\0\0\0\0"
    assert gzip.decompress(packed).decode().startswith("# Title: Dracula")


def test_an_episode_fits_an_encoder_and_only_a_whole_short_entry_is_shorter() -> None:
    by_entry: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for item in all_episodes():
        hour = item.at and f"{item.at:%d %H}"  # apart from this, one "Later" is like the other
        entry = (item.session, hour, item.attrs.get("dated"), item.attrs["byline"])
        by_entry[entry].append(len(item.text.split()))
    assert max(max(sizes) for sizes in by_entry.values()) <= dracula.MAX_WORDS
    short = [sizes for sizes in by_entry.values() if min(sizes) < dracula.MIN_WORDS and sum(sizes) > 100]
    assert short == []


def test_origins_are_unique_and_count_within_the_chapter() -> None:
    origins = [item.origin for item in all_episodes()]
    assert len(set(origins)) == len(origins) == 1225
    assert origins[:2] == ["dracula:ch01:001", "dracula:ch01:002"]
    assert origins == sorted(origins, key=str)


def test_parsing_twice_gives_the_same_items() -> None:
    assert dracula.episodes() == all_episodes()


def test_time_runs_forward_within_a_session() -> None:
    last: dict[str | None, datetime] = {}
    for item in all_episodes():
        assert item.at is not None
        assert item.session not in last or item.at > last[item.session], item.origin
        last[item.session] = item.at


def test_no_markup_is_left_in_a_text() -> None:
    assert [item.origin for item in all_episodes() if "*" in item.text or "##" in item.text or "  " in item.text] == []


def test_an_emphasised_word_keeps_its_place() -> None:
    assert the_one("what we have to do is to ascertain what water").session == "Mina Harker's Memorandum, 30 October"


@pytest.mark.parametrize(
    ("words", "speaker", "at"),
    [
        ("Left Munich at 8:35 P. M.", "Jonathan Harker", "1893-05-03 12:00"),
        ("I have had a long talk with the Count", "Jonathan Harker", "1893-05-08 23:59"),
        ("God preserve my sanity", "Jonathan Harker", "1893-05-16 08:00"),
        ("I awoke in my own bed", "Jonathan Harker", "1893-05-16 08:00"),
        ("Good-bye, all! Mina!", "Jonathan Harker", "1893-06-30 08:00"),
        ("life of an assistant schoolmistress", "Mina Harker", "1893-05-09 12:00"),
        ("tax me very unfairly", "Lucy Westenra", "1893-05-10 12:00"),
        ("Arthur has just gone, and I feel", "Lucy Westenra", "1893-05-24 19:00"),
        ("Count me in every time", "Arthur Holmwood", "1893-05-26 12:00"),
        ("Lucy met me at the station", "Mina Harker", "1893-07-24 12:00"),
        ("The same day. I came up here alone", "Mina Harker", "1893-08-01 21:00"),
        ("gave Renfield a strong opiate", "Dr. Seward", "1893-07-20 23:00"),
        ("greatest and suddenest storms", "Dailygraph correspondent", "1893-08-08 12:00"),
        ("Board of Trade inspector", "Dailygraph correspondent", "1893-08-09 13:00"),
        ("On 6 July we finished taking in cargo", "Captain of the Demeter", "1893-07-06 12:00"),
        ("Later in the day I got together", "Captain of the Demeter", "1893-07-17 12:00"),
        ("must be past Straits of Dover", "Captain of the Demeter", "1893-08-02 23:59"),
        ("Still fog, which the sunrise", "Captain of the Demeter", "1893-08-04 12:00"),
        ("the verdict was an open one", "Dailygraph correspondent", "1893-08-09 13:00"),
        ("Lucy was very restless all night", "Mina Harker", "1893-08-08 12:00"),
        ("If it were not that I had made my diary", "Mina Harker", "1893-08-10 23:00"),
        ("Diary again. No sleep now", "Mina Harker", "1893-08-11 03:00"),
        ("desire of Mr. Jonathan Harker", "Sister Agatha", "1893-08-12 12:00"),
        ("We are to be married on 28 September", "Lucy Westenra", "1893-08-30 12:00"),
        ("Terrible change for the worse", "Dr. Seward", "1893-09-06 12:00"),
        ("THE ESCAPED WOLF", "Pall Mall Gazette correspondent", "1893-09-18 12:00"),
        ("I write this and leave it to be seen", "Lucy Westenra", "1893-09-17 21:00"),
        ("enclose report of the conditions", "Patrick Hennessey", "1893-09-20 12:00"),
        ("You need not trouble about the knives", "Dr. Seward", "1893-09-21 08:00"),
        ("THE HAMPSTEAD HORROR", "Westminster Gazette correspondent", "1893-09-25 12:00"),
        ("husband's so wonderful diary", "Abraham Van Helsing", "1893-09-25 18:00"),
        ("if it be true, what terrible things", "Mina Harker", "1893-09-25 18:30"),
        ("to watch in that churchyard", "Abraham Van Helsing", "1893-09-27 12:00"),
        ("received Mr. Billington's courteous", "Jonathan Harker", "1893-09-29 12:00"),
        ("Just as we were about to leave the house", "Dr. Seward", "1893-10-01 04:00"),
        ("Last night I slept, but did not dream", "Mina Harker", "1893-10-02 22:00"),
        ("As I must do something or go mad", "Jonathan Harker", "1893-10-03 06:00"),
        ("Just before we reached Fenchurch", "Jonathan Harker", "1893-10-03 12:30"),
        ("I must have fallen asleep, for I was awaked", "Jonathan Harker", "1893-10-04 00:30"),
        ("reported this morning from Dardanelles", "Rufus Smith", "1893-10-24 12:00"),
        ("reported entering Galatz", "Rufus Smith", "1893-10-28 12:00"),
        ("light from the furnace door", "Jonathan Harker", "1893-10-30 21:00"),
        ("I am at least sane", "Abraham Van Helsing", "1893-11-05 15:00"),
        ("And, to our bitter grief", "Mina Harker", "1893-11-06 12:00"),
        ("Seven years ago we all went", "Jonathan Harker", "1900-11-06 12:00"),
    ],
)
def test_an_episode_has_its_writer_and_its_day(words: str, speaker: str, at: str) -> None:
    item = the_one(words)
    assert item.at is not None
    assert (item.speaker, f"{item.at:%Y-%m-%d %H:%M}") == (speaker, at)


@pytest.mark.parametrize(
    ("words", "session"),
    [
        ("I have had a long talk with the Count", "Jonathan Harker's Journal, 8 May"),
        ("I awoke in my own bed", "Jonathan Harker's Journal, 16 May"),
        ("tax me very unfairly", "Letter, Lucy Westenra to Mina Harker, 10 May"),
        ("Count me in every time", "Telegram, Arthur Holmwood to Quincey Morris, 26 May"),
        ("The same day. I came up here alone", "Mina Murray's Journal, 1 August"),
        ("greatest and suddenest storms", "The Dailygraph, 8 August"),
        ("On 6 July we finished taking in cargo", "Log of the Demeter, 6 July"),
        ("the verdict was an open one", "The Dailygraph, 9 August"),
        ("desire of Mr. Jonathan Harker", "Letter, Sister Agatha to Mina Harker, 12 August"),
        ("THE ESCAPED WOLF", "The Pall Mall Gazette, 18 September"),
        ("I write this and leave it to be seen", "Memorandum left by Lucy Westenra, 17 September"),
        ("to watch in that churchyard", "Note, Abraham Van Helsing to Dr. Seward, 27 September"),
        ("I must have fallen asleep, for I was awaked", "Jonathan Harker's Journal, 3 October"),
        ("reported entering Galatz", "Telegram, Rufus Smith to Arthur Holmwood, 28 October"),
        ("I am at least sane", "Dr. Van Helsing's Memorandum, 5 November"),
        ("Seven years ago we all went", "Note, 1900"),
    ],
)
def test_the_session_is_the_entry_of_the_document(words: str, session: str) -> None:
    assert the_one(words).session == session


@pytest.mark.parametrize(
    ("words", "attrs"),
    [
        ("Left Munich at 8:35", {"chapter": 1, "place": "Bistritz", "note": "Kept in shorthand."}),
        ("Lucy met me at the station", {"document": "journal", "place": "Whitby", "byline": "MINA MURRAY'S JOURNAL"}),
        ("life of an assistant schoolmistress", {"document": "letter", "recipient": "Lucy Westenra"}),
        ("desire of Mr. Jonathan Harker", {"document": "letter", "recipient": "Mina Harker", "place": "Buda-Pesth"}),
        ("I must imitate Mina", {"place": "Hillingham", "dated": "Hillingham, 24 August."}),
        ("Patient greatly improved", {"document": "telegram", "recipient": "Abraham Van Helsing", "place": "London"}),
        ("greatest and suddenest storms", {"document": "cutting", "place": "Whitby"}),
        ("On 6 July we finished", {"document": "log", "note": "Varna to Whitby."}),
        ("It seems an age since I heard", {"document": "letter", "note": "Unopened by her."}),
        ("I write this and leave it", {"document": "memorandum", "dated": "17 September. Night."}),
        ("to watch in that churchyard", {"document": "note", "note": "Not delivered.", "place": "Berkeley Hotel"}),
        ("We left Charing Cross", {"place": "Varna"}),
        ("This to Jonathan Harker.", {"byline": "DR. SEWARD'S PHONOGRAPH DIARY, SPOKEN BY VAN HELSING"}),
        ("Seven years ago", {"chapter": 27, "document": "note"}),
    ],
)  # fmt: skip
def test_an_episode_says_what_is_printed_about_it(words: str, attrs: dict[str, object]) -> None:
    found = the_one(words).attrs
    assert {key: found.get(key) for key in attrs} == attrs


def test_a_place_ends_with_its_dateline() -> None:
    assert "place" not in the_one("I found that my landlord had got a letter").attrs


def test_the_log_tells_of_6_july_to_4_august_and_stands_in_the_chapter_of_the_storm() -> None:
    log = [item for item in all_episodes() if item.attrs["document"] == "log"]
    days = sorted(item.at for item in log if item.at is not None)
    assert (days[0].isoformat()[:10], days[-1].isoformat()[:10]) == ("1893-07-06", "1893-08-04")
    assert {item.attrs["chapter"] for item in log} == {7}


def test_people_have_one_name_each() -> None:
    assert {item.speaker for item in all_episodes()} == {
        "Jonathan Harker", "Mina Harker", "Lucy Westenra", "Dr. Seward", "Abraham Van Helsing", "Quincey Morris",
        "Arthur Holmwood", "Captain of the Demeter", "Dailygraph correspondent", "Pall Mall Gazette correspondent",
        "Westminster Gazette correspondent", "Sister Agatha", "Samuel F. Billington & Son", "Carter, Paterson & Co.",
        "Patrick Hennessey", "Mitchell, Sons & Candy", "Rufus Smith",
    }  # fmt: skip


def test_every_date_but_the_last_note_lies_between_may_and_november_1893() -> None:
    days = [item.at for item in all_episodes()[:-3] if item.at is not None]
    assert (min(days).isoformat()[:10], max(days).isoformat()[:10]) == ("1893-05-03", "1893-11-06")


def test_there_are_ten_questions_and_one_has_no_answer() -> None:
    asked = dracula.questions()
    assert len({one["question"] for one in asked}) == 10
    assert all(one["answer"] and one["note"] for one in asked)
    nothing = [one["question"] for one in asked if not one["gold"]]
    assert nothing == ["What did Sherlock Holmes find out about the death of Lucy?"]
    assert "holmes" not in dracula.text().lower()


def test_every_gold_string_is_in_one_episode_that_was_written_when_the_question_is_asked() -> None:
    asked = [part for one in dracula.questions() for part in (one, one.get("then", {"gold": [], "kwargs": {}}))]
    for part in asked:
        for words in part["gold"]:
            at = the_one(words).at
            assert at is not None
            assert at <= datetime.fromisoformat(part["kwargs"].get("at", "1901-01-01")), words


def test_the_question_asked_twice_has_a_new_answer_that_was_not_there_before() -> None:
    (one,) = [one for one in dracula.questions() if "then" in one]
    new = the_one(one["then"]["gold"][0]).at
    assert new is not None
    assert datetime.fromisoformat(one["kwargs"]["at"]) < new <= datetime.fromisoformat(one["then"]["kwargs"]["at"])
