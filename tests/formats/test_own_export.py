"""slowwave's own export: JSONL loses nothing and knows when it was cut; Markdown is readable and taken back."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slowwave.errors import FormatError, InputError
from slowwave.formats import (
    FORMATS,
    engram_of,
    engram_record,
    link_of,
    link_record,
    read_jsonl,
    write_jsonl,
    write_markdown,
)
from slowwave.records import KINDS, RELATIONS, Engram, Item, Link, Scope

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)
ANY_TEXT = st.text(st.characters())  # every character, half surrogates and NUL too
NAMES = st.text(st.characters(min_codepoint=33, exclude_categories=("Cs", "Z")), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
ENGRAMS = st.builds(
    Engram,
    id=NAMES,
    kind=st.sampled_from(KINDS),
    text=ANY_TEXT,
    scope=st.builds(Scope, user_id=NAMES, run_id=st.none() | NAMES),
    at=TIMES,
    recorded=TIMES,
    until=st.none() | TIMES,
    sources=st.lists(NAMES, max_size=2).map(tuple),
    strength=st.floats(0.01, 1),
    used=st.none() | TIMES,
    attrs=st.dictionaries(ANY_TEXT, JSON, max_size=3),
    closed=st.none() | TIMES,
    retired=st.none() | TIMES,
    retired_why=st.none() | ANY_TEXT,
    origin=st.none() | ANY_TEXT,
)
LINKS = st.builds(Link, NAMES, st.sampled_from(RELATIONS), NAMES, st.floats(0, 1))
OPERATIONS = st.dictionaries(ANY_TEXT.filter(lambda key: key != "type"), JSON, max_size=4)


def engram(text: str = "I moved to Porto.", **fields) -> Engram:
    at = datetime.fromisoformat("2023-05-08T14:03:00+01:00")
    values = {
        "id": "01A",
        "kind": "episode",
        "scope": Scope(user_id="ana"),
        "at": at,
        "recorded": datetime(2024, 1, 1, tzinfo=UTC),
    }
    return Engram(text=text, **{**values, **fields})


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(ENGRAMS, max_size=4), st.lists(LINKS, max_size=3), st.lists(OPERATIONS, max_size=2), st.booleans())
def test_a_round_trip_through_jsonl_loses_nothing(tmp_path, engrams, links, operations, as_text):
    records = [
        *map(engram_record, engrams),
        *map(link_record, links),
        *({**operation, "type": "operation"} for operation in operations),
    ]
    path = tmp_path / "export.jsonl"
    with path.open("w", encoding="utf-8", newline="\n") if as_text else path.open("wb") as handle:
        counts = write_jsonl(records, handle)
    assert counts == {"engram": len(engrams), "link": len(links), "operation": len(operations)}
    back = list(read_jsonl(path))
    assert back == json.loads(json.dumps(records))
    assert [engram_of(record) for record in back if record["type"] == "engram"] == engrams
    assert [link_of(record) for record in back if record["type"] == "link"] == links
    for record, kept in zip(back, engrams, strict=False):
        assert engram_of(record).at.utcoffset() == kept.at.utcoffset()


def exported(tmp_path, *records):
    path = tmp_path / "export.jsonl"
    with path.open("wb") as handle:
        write_jsonl(records, handle, slowwave="0.1.0")
    return path


def test_a_file_cut_anywhere_is_recognised_before_anything_is_given(tmp_path):
    path = exported(tmp_path, engram_record(engram()), link_record(Link("01A", "about", "01B")))
    whole = path.read_bytes()
    assert len(list(read_jsonl(path))) == 2
    for size in range(1, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"cut off|no header"):
            read_jsonl(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:1], *lines[2:]], "promises"),  # a record gone
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], "sha256 differs"),  # two in the other order
        (lambda lines: [lines[0], lines[1].replace("Porto", "Lisboa"), *lines[2:]], "sha256 differs"),
        (lambda lines: [*lines, lines[1]], "after its closing line"),
        (lambda lines: [lines[0], '{"type": "odd"}', *lines[1:]], "no known type"),
        (lambda lines: [lines[0].replace('"version": 1', '"version": 2'), *lines[1:]], "update slowwave"),
        (lambda lines: lines[1:], "no header"),
        (lambda lines: ["[1]", *lines[1:]], "no header"),
    ],
)
def test_a_changed_file_is_recognised(tmp_path, change, message):
    path = exported(tmp_path, engram_record(engram()), link_record(Link("01A", "about", "01B")))
    path.write_text("\n".join(change(path.read_text("utf-8").splitlines())), "utf-8")
    with pytest.raises(FormatError, match=message):
        read_jsonl(path)


def test_what_editors_do_to_a_file_does_no_harm(tmp_path):
    path = exported(tmp_path, engram_record(engram()))
    want = list(read_jsonl(path))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert list(read_jsonl(path)) == want
    assert FORMATS["jsonl"].detect(path)


def test_a_record_without_a_type_is_refused():
    with pytest.raises(InputError, match="type None"):
        write_jsonl([{"id": "01A"}], io.BytesIO())


def test_a_record_with_a_missing_field_says_which():
    record = engram_record(engram())
    del record["scope"]
    with pytest.raises(FormatError, match="scope"):
        engram_of(record)
    with pytest.raises(FormatError, match="odd"):
        link_of({"source": "a", "relation": "odd", "target": "b"})


def test_an_export_can_be_imported_as_items(tmp_path, reading):
    first = engram(attrs={"speaker": "Ana", "session": "s1", "place": "Porto"}, origin="chat:1")
    second = engram("I like it.", id="01B", until=datetime(2024, 1, 1, tzinfo=UTC))
    gone = engram("I moved to Prto.", id="01C", retired=datetime(2024, 1, 2, tzinfo=UTC), retired_why="corrected")
    ties = [link_record(Link("01B", "about", "01A"))]
    got = reading(exported(tmp_path, *map(engram_record, (first, second, gone)), *ties))
    assert got.items == [
        Item(first.text, "episode", "Ana", first.at, None, "s1", "chat:1", {"place": "Porto"}, {"user_id": "ana"}),
        Item(
            second.text,
            "episode",
            None,
            first.at,
            second.until,
            None,
            "slowwave:01B",
            {},
            {"user_id": "ana"},
            (("about", "chat:1"),),
        ),
    ]
    assert got.reasons == ["retired: corrected"]


def test_an_export_of_nothing_is_no_error(tmp_path, reading):
    assert reading(exported(tmp_path)).items == []


def test_markdown_is_readable_and_taken_back(tmp_path, reading):
    engrams = [
        engram(attrs={"speaker": "Ana", "session": "Trip: to/Porto", "tags": ["a", "-->"]}, origin="chat:1"),
        engram("# no heading\n\n> no quote\n```\n---", id="01B", attrs={"session": "Trip: to/Porto"}),
        engram("In another scope.", id="01C", scope=Scope(user_id="ben"), attrs={"session": "Trip: to/Porto"}),
        engram(
            "A fact\r\nof June.",
            id="01D",
            kind="fact",
            at=datetime(2023, 6, 1, tzinfo=UTC),
            until=datetime(2023, 7, 1, tzinfo=UTC),
        ),
    ]
    files = write_markdown(engrams, tmp_path / "out")
    assert sorted(path.name for path in files)[0] == "2023-06.md"
    assert len(files) == 3
    page = next(path for path in files if "no heading" in path.read_text("utf-8")).read_text("utf-8")
    assert "# Trip: to/Porto\n\n## 2023-05-08T14:03:00+01:00 Ana\n" in page
    assert "\n> I moved to Porto.\n" in page
    got = {item.origin: item for item in reading(tmp_path / "out").items}
    for kept in engrams:
        item = got[kept.origin or f"slowwave:{kept.id}"]
        assert (item.text, item.kind, item.at, item.until) == (kept.text, kept.kind, kept.at, kept.until)
        assert (item.speaker, item.session, dict(item.scope)) == (kept.speaker, kept.session, kept.scope.to_dict())
    assert got["chat:1"].attrs == {"tags": ["a", "-->"]}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip))
def test_any_text_comes_back_from_markdown(tmp_path, text):
    for old in tmp_path.glob("*.md"):
        old.unlink()
    write_markdown([engram(text, attrs={"speaker": text})], tmp_path)
    (item,) = FORMATS["markdown"].read(tmp_path, UTC)
    assert (item.text, item.speaker) == (text, text)


def test_an_edit_in_markdown_is_taken_in_under_the_same_origin(tmp_path, reading):
    (path,) = write_markdown([engram()], tmp_path)
    path.write_text(path.read_text("utf-8").replace("Porto", "Lisbon"), "utf-8")
    (item,) = reading(tmp_path).items
    assert (item.text, item.origin) == ("I moved to Lisbon.", "slowwave:01A")


def test_markdown_into_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x", "utf-8")
    with pytest.raises(InputError, match="is a file"):
        write_markdown([], tmp_path / "file")
