"""Bytes to text: the encoding a file begins with, lines one by one, JSON records one by one."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any, cast

from slowwave.errors import FormatError
from slowwave.formats.base import Junk, unreadable
from slowwave.formats.bundle import Part
from slowwave.formats.jsonstream import JsonStream

CHUNK_CHARS = 2**16
MAX_LINE_BYTES = 64 * 2**20
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def encoding_of(head: bytes) -> str:
    """The encoding of a file that begins so: by its mark, else UTF-16 if every other byte is NUL, else UTF-8."""
    for mark, name in BOMS:
        if head.startswith(mark):
            return name
    sample = head[:512]
    if len(sample) >= 4 and not len(sample) % 2:
        even, odd = sample[::2].count(0), sample[1::2].count(0)
        if odd > len(sample) * 0.3 and not even:
            return "utf-16-le"
        if even > len(sample) * 0.3 and not odd:
            return "utf-16-be"
    return "utf-8"


def head_of(part: Part, chars: int = CHUNK_CHARS) -> str:
    """The first characters of a part, for detection; what does not decode is shown as U+FFFD."""
    with part.open() as handle:
        raw = handle.read(chars)
    return raw.decode(encoding_of(raw), "replace")


def text_of(part: Part) -> str:
    """The whole text of a small file, line ends as \\n. Raises FormatError if it is binary or not in its encoding."""
    with part.open() as handle:
        raw = handle.read(MAX_LINE_BYTES + 1)
    if len(raw) > MAX_LINE_BYTES:
        raise FormatError(f"{part.name} is larger than {MAX_LINE_BYTES} bytes; split it")
    encoding = encoding_of(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise FormatError(f"{part.name} is not {encoding}: {_where_not(error)}") from error
    if "\0" in text:
        raise FormatError(f"{part.name} holds NUL bytes: it is not text")
    return text.replace("\r\n", "\n")


def lines_of(part: Part) -> Iterator[tuple[int, str | Junk]]:
    """Each line with its number from 1, without its end; Junk for a line that does not decode or is over 64 MB.

    Only \\n ends a line (and a \\r before it goes), since JSON may hold other separators, such as U+2028, as they are.
    """
    with part.open() as handle:
        buffered = _buffered(handle)
        encoding, number = encoding_of(buffered.peek(512)[:512]), 0
        if not encoding.startswith("utf-8"):
            text = io.TextIOWrapper(buffered, encoding, errors="replace", newline="\n")
            for number, line in enumerate(text, 1):
                yield number, line.removesuffix("\n").removesuffix("\r")
            return
        if encoding == "utf-8-sig":
            buffered.read(3)
        while raw := buffered.readline(MAX_LINE_BYTES):
            number += 1
            where = f"{part.name}:{number}"
            if len(raw) >= MAX_LINE_BYTES and not raw.endswith(b"\n"):
                while (more := buffered.readline(MAX_LINE_BYTES)) and not more.endswith(b"\n"):
                    pass
                yield number, unreadable(where, raw[:80].decode("utf-8", "replace"), "a line of over 64 MB")
                continue
            try:
                yield number, raw.removesuffix(b"\n").removesuffix(b"\r").decode()
            except UnicodeDecodeError:
                shown = raw.decode("utf-8", "backslashreplace").rstrip("\r\n")
                yield number, unreadable(where, shown, "not UTF-8")


def json_lines(part: Part) -> Iterator[tuple[str, Any]]:
    """(place, value) of each line of a JSONL file; the value is a Junk where the line is not JSON."""
    for number, line in lines_of(part):
        where = f"{part.name}:{number}"
        if isinstance(line, Junk):
            yield where, line
        elif line.strip():
            try:
                yield where, json.loads(line)
            except (ValueError, RecursionError) as error:
                why = "nested too deeply" if isinstance(error, RecursionError) else _brief(error)
                yield where, unreadable(where, line, f"not JSON ({why})")


def json_records(part: Part) -> Iterator[tuple[str, Any]]:
    """(place, value) of each record in JSONL, in a JSON array, or the one value of the file, without loading it whole.

    A bad line of JSONL comes as a Junk; a break in an array is a FormatError, as nothing after it can be trusted.
    """
    if _is_lines(part):
        yield from json_lines(part)
        return
    with part.open() as handle:
        buffered = _buffered(handle)
        text = io.TextIOWrapper(buffered, encoding_of(buffered.peek(512)[:512]), newline="")
        try:
            for index, value in enumerate(JsonStream(text, part.name)):
                yield f"{part.name}[{index}]", value
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{part.name} is not {error.encoding}: {_where_not(error)}; export it again, or convert it to UTF-8"
            ) from error


def _is_lines(part: Part) -> bool:
    """JSONL: one of the first five lines is an object by itself, at the left margin, where no printed JSON has one."""
    if head_of(part).lstrip("\ufeff \t\r\n").startswith("["):
        return False
    for _, line in islice((pair for pair in lines_of(part) if isinstance(pair[1], Junk) or pair[1].strip()), 5):
        if isinstance(line, str) and line.startswith("{"):
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                continue
            return True
    return False


def _buffered(handle: IO[bytes]) -> io.BufferedReader:
    """A reader that can be looked into without taking; files, zip members and bytes in memory all serve as its raw."""
    return io.BufferedReader(cast("io.RawIOBase", handle))


def _where_not(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02x} at {error.start}"


def _brief(error: ValueError) -> str:
    """What is wrong, without the place, so that equal faults are counted together."""
    return error.msg.removesuffix(" starting at").lower() if isinstance(error, json.JSONDecodeError) else "a bad number"
