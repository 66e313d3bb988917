"""Markdown vaults and plain dated text: sections, dates and where they come from, speakers."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from slowwave.errors import FormatError
from slowwave.formats.front_matter import parse, split_note, write
from slowwave.formats.split import pieces
from slowwave.formats.times import instant, written


def test_a_note_becomes_an_episode_a_section(samples, reading):
    got = reading(samples / "vault")
    porto = [item for item in got.items if item.attrs["path"] == "Porto.md"]
    assert [item.attrs.get("heading") for item in porto] == [None, "Food", "2023-06-01"]
    assert [item.origin for item in porto] == [
        "markdown:Porto.md",
        "markdown:Porto.md#Food",
        "markdown:Porto.md#2023-06-01",
    ]
    assert "# not a heading" in porto[1].text
    assert {item.session for item in porto} == {"Porto"}
    assert got.reasons == ["an empty note", "a heading with nothing under it"]
    assert not any("settings" in text for text in got.texts)  # .obsidian


def test_front_matter_tags_links_and_aliases_are_kept(samples, reading):
    got = reading(samples / "vault")
    food = got.item("francesinha")
    assert food.attrs["tags"] == ["city", "travel/portugal", "eat"]
    assert food.attrs["aliases"] == ["Oporto"]
    assert food.attrs["rating"] == 4.5
    assert food.attrs["links"] == ["places/Café Santiago", "Lisbon"]
    assert food.links == (("about", "markdown:Lisbon.md"),)
    assert got.item("capital").origin == "markdown:Lisbon.md"


def test_a_note_is_dated_by_heading_front_matter_file_name_or_file_time(samples, reading, tmp_path):
    vault = shutil.copytree(samples / "vault", tmp_path / "vault")
    os.utime(vault / "Lisbon.md", (1700000000, 1700000000))
    got = reading(vault)
    by = {
        "Douro": ("front matter", "2023-05-08T14:03:00+01:00"),
        "beach": ("heading", "2023-06-01T00:00:00+01:00"),
        "Met Ben": ("file name", "2023-05-09T00:00:00+01:00"),
        "capital": ("file time", "2023-11-14T22:13:20+00:00"),
    }
    for part, (source, at) in by.items():
        item = got.item(part)
        assert (item.attrs["dated_by"], item.at) == (source, datetime.fromisoformat(at)), part


def test_one_note_can_be_imported_alone(samples, reading):
    assert reading(samples / "vault" / "Lisbon.md").texts == ["The capital."]


def test_a_long_section_is_cut_at_paragraphs_and_loses_nothing(reading, tmp_path):
    paragraphs = [f"Paragraph {n}. " + "word " * 60 for n in range(20)]
    (tmp_path / "long.md").write_text("# All\n" + "\n\n".join(paragraphs), "utf-8")
    got = reading(tmp_path)
    assert len(got.items) > 2
    assert all(len(text) <= 1600 for text in got.texts)
    assert " ".join(" ".join(got.texts).split()) == " ".join(("# All " + " ".join(paragraphs)).split())
    assert len({item.origin for item in got.items}) == len(got.items)


def test_pieces_cut_even_a_text_without_breaks():
    assert pieces("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
    assert pieces("  \n ") == []


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("a: 1", 1),
        ("a: 1.5 # note", 1.5),
        ("a: true", True),
        ("a:", None),
        ("a: 'it''s'", "it's"),
        ('a: "x: y # z"', "x: y # z"),
        ("a: [x, 'y, z', 3]", ["x", "y, z", 3]),
        ("a:\n- x\n- [[Note]]", ["x", "[[Note]]"]),
        ("a: 2023-05-08", "2023-05-08"),
        ("a: 007", "007"),
        ("a: |\n  two\n  lines", "two\nlines"),
        ("a: !!python/object/apply:os.system [ls]", "!!python/object/apply:os.system [ls]"),
        ("a: [unclosed", "[unclosed"),
    ],
)
def test_the_subset_of_yaml(source, value):
    assert parse(source) == {"a": value}


def test_front_matter_that_is_written_is_read_back():
    values = {"a": "x # y: [z]", "b": {"user_id": "ana # 1"}, "c": [1, "two"], "d": None, "e": 'say "hi"'}
    assert split_note(write(values) + "body") == (values, "body")
    assert split_note("---\n---\nbody") == ({}, "body")
    assert split_note("no front matter\n---\n") == ({}, "no front matter\n---\n")


def test_whatsapp_of_an_iphone(samples, reading):
    got = reading(samples / "whatsapp_ios.txt")
    assert got.texts == [
        "Messages and calls are end-to-end encrypted.",
        "I moved to Porto\nand it rains: a lot\n\nevery day",
        "ok",
        "ok",
    ]
    moved = got.item("moved")
    assert (moved.speaker, moved.session) == ("Ana", "whatsapp_ios 2023-05-13")
    assert moved.at == datetime.fromisoformat("2023-05-13T14:03:30+01:00")
    assert len({item.origin for item in got.items}) == 4  # the two "ok" of one minute are two
    assert got.reasons == ["media that is not in the export"]


def test_whatsapp_of_an_android_phone_in_english(samples, reading):
    got = reading(samples / "whatsapp_android.txt")
    assert [(i.speaker, i.text) for i in got.items] == [
        ("Ana", "I moved to Porto"),
        ("+351 912 345 678", "See: https://example.com/a"),
    ]
    assert got.items[0].at == datetime.fromisoformat("2023-05-08T14:03:00+01:00")  # month first, by 5/20
    assert got.items[1].at == datetime.fromisoformat("2023-05-20T00:06:00+01:00")  # 12 AM is midnight
    assert got.reasons == ["a notice of the messenger", "media that is not in the export"]


def test_what_is_only_assumed_about_dates_is_said(reading, tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text("05/08/2023, 14:03 - Ana: hello there\n", "utf-8")
    (item,) = reading(path).items
    assert (item.at.month, item.attrs["date_order"]) == (8, "day first (assumed)")


def test_a_diary_with_headings_lines_and_speakers(samples, reading):
    got = reading(samples / "diary.txt")
    assert [(i.at.isoformat() if i.at else None, i.speaker, i.text) for i in got.items] == [
        (None, None, "Notes of a summer"),
        ("2023-05-03T00:00:00+01:00", None, "Left Munich at 8:35 in the evening\nand slept on the train."),
        ("2023-05-03T00:00:00+01:00", None, "Vienna was early and cold."),
        ("2023-05-04T00:00:00+01:00", "Ana", "Did you sleep?"),
        ("2023-05-04T00:00:00+01:00", "Ben", "A little."),
        ("2023-05-06T18:30:00+01:00", None, "Home again."),
        ("2023-05-07T08:00:00+02:00", None, "The cat was glad."),
    ]


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        ("2024-05-08T14:03:00Z", "2024-05-08T14:03:00+00:00"),
        ("2024-05-08 14:03:00.5-07:00", "2024-05-08T14:03:00.500000-07:00"),
        ("2024-05-08", "2024-05-08T00:00:00+01:00"),
        ("20240508", "2024-05-08T00:00:00+01:00"),
        ("8 May 2024", "2024-05-08T00:00:00+01:00"),
        ("1715173440", "2024-05-08T13:04:00+00:00"),
        (1715173440.0, "2024-05-08T13:04:00+00:00"),
        (1715173440000, "2024-05-08T13:04:00+00:00"),
    ],
)
def test_times_as_sources_write_them(value, iso):
    assert instant(value, ZoneInfo("Europe/Lisbon")) == datetime.fromisoformat(iso)


@pytest.mark.parametrize("value", [None, "", "soon", True, [], float("inf"), float("nan"), 10**30, "2024-13-01", "12"])
def test_what_is_no_time_is_none(value):
    assert instant(value, UTC) is None


@pytest.mark.parametrize(
    "text",
    [
        "3 May 2023",
        "May 3rd, 2023",
        "Wednesday, 3 May 2023",
        "Wed 3 May 2023",
        "2023-05-03",
        "3.5.2023",
        "2023/5/3",
        "3rd of May 2023",
    ],
)
def test_dates_written_for_people(text):
    found = written(text, UTC)
    assert found == (datetime(2023, 5, 3, tzinfo=UTC), len(text))


@pytest.mark.parametrize(
    "text",
    [
        "# a" + " " * 100_000 + "b",
        "---\n" + "a: [" * 20_000,
        "[[" * 50_000,
        "```\n" * 20_000,
        "2023-05-08 " + " " * 100_000 + ":",
        "Monday" + " " * 100_000,
        "A" * 100_000 + ": b",
        "1." * 50_000,
    ],
    ids=range(8),
)
@pytest.mark.parametrize("suffix", ["md", "txt"])
def test_long_odd_lines_are_read_in_linear_time(reading, tmp_path, text, suffix):
    path = tmp_path / f"odd.{suffix}"
    path.write_text(f"2023-05-08 first\n\n{text}\n\n2023-05-09 last", "utf-8")
    (tmp_path / f"odd2.{suffix}").write_text(text, "utf-8")
    begin = time.process_time()
    reading(path, {"md": "markdown", "txt": "text"}[suffix])
    with contextlib.suppress(FormatError):
        reading(tmp_path / f"odd2.{suffix}", {"md": "markdown", "txt": "text"}[suffix])
    assert time.process_time() - begin < 5  # a regular expression that backtracks would take minutes
