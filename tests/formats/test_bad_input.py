"""What goes wrong with files: each gives a clear FormatError or Junk, never an import that looks well."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from datetime import UTC

import pytest

from slowwave.errors import FormatError
from slowwave.formats import FORMATS, format_of
from slowwave.formats import bundle as bundle_module
from slowwave.formats.decode import encoding_of
from slowwave.formats.jsonstream import CHUNK_CHARS, JsonStream
from slowwave.records import Item

GOOD = {
    "jsonl": '{"format": "slowwave", "version": 1}\n',
    "chatgpt": None,
    "claude": None,
    "mcp-memory": '{"type":"entity","name":"Ana","entityType":"person","observations":["Nurse"]}\n',
    "mem0": '{"results": [{"id": "1", "memory": "Lives in Porto", "user_id": "ana"}]}',
    "messages": '{"role": "user", "content": "I moved to Porto"}\n',
    "text": "2023-05-08 Ana: I moved to Porto\n",
    "markdown": "# Porto\n\nI moved there.\n",
}


@pytest.fixture
def sources(samples, tmp_path):
    """One path for each format."""
    paths = {"chatgpt": tmp_path / "conversations.json", "claude": samples / "claude"}
    paths["chatgpt"].write_bytes((samples / "chatgpt.json").read_bytes())
    suffix = {"text": ".txt", "markdown": ".md", "mem0": ".json"}
    for name, content in GOOD.items():
        if content is not None:
            paths[name] = tmp_path / f"{name}{suffix.get(name, '.jsonl')}"
            paths[name].write_text(content, "utf-8")
    return paths


def test_each_format_knows_its_own_and_no_other(sources):
    assert set(sources) == set(FORMATS)
    for name, path in sources.items():
        assert [known.name for known in FORMATS.values() if known.detect(path)] == [name]
        assert format_of(path).name == name


def test_a_wrong_name_is_answered_with_what_the_file_looks_like(sources):
    for name, path in sources.items():
        for wrong in FORMATS:
            if wrong != name:
                with pytest.raises(FormatError, match=f"as {wrong} .*it looks like .*import it as {name}"):
                    FORMATS[wrong].read(path, UTC)


def test_an_unknown_format_name_lists_the_known_ones(tmp_path):
    with pytest.raises(FormatError, match="no format 'zep'; there are jsonl, chatgpt"):
        format_of(tmp_path, "zep")


@pytest.mark.parametrize("name", list(FORMATS))
def test_empty_missing_and_odd_paths(name, tmp_path):
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases = {empty: "is empty", tmp_path / "gone": "no file or folder", loop: "cannot be opened", pipe: "neither"}
    for path, message in cases.items():
        assert FORMATS[name].detect(path) is False
        with pytest.raises(FormatError, match=message):
            FORMATS[name].read(path, UTC)


@pytest.mark.parametrize("name", list(FORMATS))
def test_binary_blank_and_foreign_files_are_errors(name, tmp_path):
    contents = {
        "noise": bytes(range(256)) * 20,
        "blank": b" \n\n ",
        "brackets": b"[]",
        "foreign": b'{"a": 1}\n{"a": 2}\n',
    }
    for stem, content in contents.items():
        path = tmp_path / f"{stem}.bin"
        path.write_bytes(content)
        if name in ("text", "markdown") and stem in ("foreign", "brackets"):
            continue  # where text was asked for, it may say anything
        with pytest.raises(FormatError):
            list(FORMATS[name].read(path, UTC))
        with pytest.raises(FormatError, match="none of the formats"):
            format_of(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends_make_no_difference(sources, reading, tmp_path, encoding, end):
    for name in ("messages", "mem0", "mcp-memory", "text", "chatgpt", "markdown"):
        want = reading(sources[name])
        path = tmp_path / "copy" / sources[name].name
        path.parent.mkdir(exist_ok=True)
        source = sources[name].read_text("utf-8").replace("\n", end)
        path.write_bytes(source.encode(encoding))
        got = reading(path)
        assert got.texts == want.texts, name
        assert [item.origin for item in got.items] == [item.origin for item in want.items]


def test_encodings_are_told_by_mark_or_by_nuls():
    assert encoding_of("a".encode("utf-16-le") * 10) == "utf-16-le"
    assert encoding_of("a".encode("utf-16-be") * 10) == "utf-16-be"
    assert encoding_of(b"") == encoding_of(b"ab\0c") == "utf-8"


def test_invalid_utf8_is_junk_by_line_and_by_note_and_an_error_in_an_array(reading, tmp_path):
    lines = tmp_path / "m.jsonl"
    lines.write_bytes(b'{"role": "user", "content": "caf\xe9"}\n{"role": "user", "content": "hello"}\n')
    got = reading(lines)
    assert (got.texts, got.reasons) == (["hello"], ["unreadable: not UTF-8"])
    assert "caf\\xe9" in got.junk[0].text
    text = tmp_path / "t.txt"
    text.write_bytes(b"2023-05-08 caf\xe9\n2023-05-09 tea time\n")
    assert reading(text).reasons == ["unreadable: not UTF-8"]
    (tmp_path / "vault").mkdir()
    (tmp_path / "vault" / "bad.md").write_bytes(b"caf\xe9")
    (tmp_path / "vault" / "good.md").write_bytes(b"tea")
    assert reading(tmp_path / "vault").texts == ["tea"]
    array = tmp_path / "a.json"
    array.write_bytes(b'[{"role": "user", "content": "caf\xe9"}]')
    with pytest.raises(FormatError, match="not utf-8: byte 0xe9"):
        reading(array, "messages")


def test_nul_and_half_surrogates_are_shown_as_replacement_characters(reading, tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"role": "user", "content": "a\\u0000b \\ud800 c", "id": "\\udfff", "extra": {"\\u0000": "\\u0000"}}', "utf-8"
    )
    (item,) = reading(path).items
    assert item.text == "a\ufffdb \ufffd c"
    json.dumps(dict(item.attrs), ensure_ascii=False).encode()
    assert "\0" not in json.dumps(dict(item.attrs), ensure_ascii=False) + (item.origin or "")
    raw = tmp_path / "raw.jsonl"
    raw.write_bytes(b'{"role": "user", "content": "fine"}\n{"role": "user", "content": "a\x00b"}\n')
    assert len(reading(raw).junk) == 1
    (tmp_path / "nul.md").write_bytes(b"a\x00b\x00\x00c, which is no text")
    with pytest.raises(FormatError, match="NUL"):
        reading(tmp_path / "nul.md")


def test_json_lines_are_only_cut_at_line_feeds(reading, tmp_path):
    path = tmp_path / "m.jsonl"
    text = "one\u2028two\u0085three\x1cfour"
    path.write_bytes(
        (json.dumps({"role": "user", "content": text}, ensure_ascii=False).replace("\x1c", "\\u001c") + "\n").encode()
    )
    assert reading(path).texts == [text]


@pytest.mark.parametrize(
    "source", ["[" * 100_000, '{"a":' * 100_000, "[" + "9" * 5000 + "]", '[{"role": "user"} {"x"', "[1, 2"]
)
def test_hostile_json_is_an_error(tmp_path, source):
    path = tmp_path / "conversations.json"
    path.write_text(source, "utf-8")
    for name in ("chatgpt", "claude", "mem0", "messages", "mcp-memory", "jsonl"):
        with pytest.raises(FormatError):
            list(FORMATS[name].read(path, UTC))


def test_a_cut_off_array_gives_what_came_before_and_then_an_error(samples, tmp_path):
    whole = (samples / "chatgpt.json").read_text("utf-8")
    path = tmp_path / "conversations.json"
    path.write_text(whole[: whole.index('"New chat"') + 300], "utf-8")
    taken = FORMATS["chatgpt"].read(path, UTC)
    got = []
    with pytest.raises(FormatError, match="cut off"):
        got.extend(map(got.append, taken))
    assert sum(isinstance(one, Item) for one in got) == 5  # the first conversation and its two notes


@pytest.mark.parametrize("size", [10, CHUNK_CHARS - 3, CHUNK_CHARS * 3 + 7])
def test_a_stream_of_json_is_cut_anywhere_and_loses_nothing(size):
    values = [{"text": "x" * size, "n": [1, -2.5e10, True, None, '\\"\u00e9']}, 123456789, "y" * 9, {"z": {}}] * 5
    for source in (
        json.dumps(values),
        json.dumps(values, indent=1, ensure_ascii=False),
        "\n".join(map(json.dumps, values)),
    ):
        assert list(JsonStream(io.StringIO(source), "test")) == values


def test_a_cut_off_zip_is_an_error(sources, tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.write(sources["chatgpt"], "conversations.json")
    whole = path.read_bytes()
    for size in (4, 30, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match="cut off or is no zip"):
            list(FORMATS["chatgpt"].read(path, UTC))
    path.write_bytes(whole[:60] + bytes(20) + whole[80:])
    with pytest.raises(FormatError):
        list(FORMATS["chatgpt"].read(path, UTC))


def test_a_locked_zip_is_an_error(sources, tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as out:
        out.write(sources["chatgpt"], "conversations.json")
    raw = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag for encryption, twice
        raw[raw.index(mark) + offset] |= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(FormatError, match="cannot be unpacked"):
        list(FORMATS["chatgpt"].read(path, UTC))


def test_a_zip_bomb_is_an_error(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out, out.open("conversations.json", "w") as member:
        member.write(b'[{"mapping": {')
        for _ in range(20):
            member.write(b" " * 2**20)
    assert path.stat().st_size < 2**16
    assert not FORMATS["chatgpt"].detect(path)
    with pytest.raises(FormatError, match="zip bomb"):
        list(FORMATS["chatgpt"].read(path, UTC))


def test_zips_with_too_many_files_or_bytes_are_errors(tmp_path, monkeypatch, sources):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as out:
        for n in range(5):
            out.write(sources["chatgpt"], f"conversations-{n}.json")
    monkeypatch.setattr(bundle_module, "MAX_MEMBERS", 4)
    with pytest.raises(FormatError, match="holds 5 files"):
        list(FORMATS["chatgpt"].read(path, UTC))
    monkeypatch.setattr(bundle_module, "MAX_MEMBERS", 5)
    monkeypatch.setattr(bundle_module, "MAX_UNPACKED_BYTES", 20_000)
    with pytest.raises(FormatError, match="more than 20000 bytes"):
        list(FORMATS["chatgpt"].read(path, UTC))


def test_zips_in_zips_and_names_that_lead_out_are_not_read(sources, reading, tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as out:
        out.write(sources["chatgpt"], "conversations.json")
    path = tmp_path / "export.zip"
    evil = ("../../conversations.json", "/conversations.json", "..\\conversations.json", "C:/x/conversations.json")
    with zipfile.ZipFile(path, "w") as out:
        out.write(sources["chatgpt"], "a/conversations.json")
        out.writestr("nested.zip", inner.getvalue())
        for name in evil:
            out.writestr(name, sources["chatgpt"].read_bytes())
    got = reading(path)
    assert got.items == reading(sources["chatgpt"]).items
    assert sum("leads out" in reason for reason in got.reasons) == len(evil)
    assert sum("zip inside a zip" in reason for reason in got.reasons) == 1


def test_links_in_a_folder_are_not_followed(reading, tmp_path):
    vault, outside = tmp_path / "vault", tmp_path / "outside"
    for folder in (vault / "sub", outside):
        folder.mkdir(parents=True)
    (vault / "note.md").write_text("kept", "utf-8")
    (outside / "secret.md").write_text("secret", "utf-8")
    (vault / "sub" / "up").symlink_to(vault)
    (vault / "loop.md").symlink_to(vault / "loop.md")
    (vault / "out.md").symlink_to(outside / "secret.md")
    got = reading(vault)
    assert got.texts == ["kept"]
    assert [reason for reason in got.reasons if "symbolic link" in reason] == got.reasons
    assert len(got.junk) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_opened_is_junk(reading, tmp_path):
    (tmp_path / "note.md").write_text("kept", "utf-8")
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut").chmod(0)
    try:
        assert len(reading(tmp_path).junk) == 1
    finally:
        (tmp_path / "shut").chmod(stat.S_IRWXU)


def test_a_line_over_the_limit_is_junk(reading, tmp_path, monkeypatch):
    monkeypatch.setattr("slowwave.formats.decode.MAX_LINE_BYTES", 1000)
    path = tmp_path / "m.jsonl"
    rows = [{"role": "user", "content": text} for text in ("short", "x" * 5000, "after")]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    got = reading(path)
    assert got.texts == ["short", "after"]
    assert got.junk[0].where == "m.jsonl:2"
