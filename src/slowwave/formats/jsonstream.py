"""Reads a large JSON file value by value: the elements of a top-level array, or the values that follow each other."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

from slowwave.errors import FormatError

CHUNK_CHARS = 2**16
MAX_VALUE_CHARS = 512 * 2**20  # one value, such as one conversation, or a file that is one object
SPACE = " \t\r\n"


class JsonStream:
    """The values of a JSON text in turn; of a top-level array, its elements.

    Holds one chunk and the value at hand, never the whole file: the elements are decoded with
    `json.JSONDecoder.raw_decode`, and a value that the chunk cuts is tried again with twice as much text.
    Raises FormatError where the text is cut off or broken, with the place.
    """

    def __init__(self, text: io.TextIOBase, name: str) -> None:
        self._text, self._name = text, name
        self._buffer, self._at, self._read = "", 0, 0
        self._ended = False
        self._decoder = json.JSONDecoder()

    def __iter__(self) -> Iterator[Any]:
        while character := self._peek():
            if character == "[":
                self._at += 1
                yield from self._elements()
            else:
                yield self._value()

    def _elements(self) -> Iterator[Any]:
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            character = self._peek()
            self._at += 1
            if character == "]":
                return
            if character == "":
                raise FormatError(f"{self._name} ends inside its list after {self._read} characters: {CUT}")
            if character != ",":
                raise FormatError(
                    f"{self._name} is broken at character {self._place(self._at - 1)}: a comma is missing"
                )

    def _value(self) -> Any:
        self._peek()
        size = CHUNK_CHARS
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                self._raise_unless_cut(error)
            except RecursionError as error:
                raise FormatError(f"{self._name} is nested too deeply to be an export") from error
            except ValueError as error:  # a number of thousands of digits
                raise FormatError(f"{self._name} cannot be read: {error}") from error
            else:
                # a number at the very end of the chunk may go on in the next
                if end < len(self._buffer) or self._ended or isinstance(value, dict | list | str):
                    self._at = end
                    return value
            if len(self._buffer) > MAX_VALUE_CHARS:
                raise FormatError(f"{self._name} holds one value of over {MAX_VALUE_CHARS} characters; split it")
            self._fill(size)
            size *= 2

    def _raise_unless_cut(self, error: json.JSONDecodeError) -> None:
        """Goes on where more text may mend it: an open string, or an error at the very end of what was read."""
        cut = error.msg.startswith("Unterminated") or error.pos >= len(self._buffer) - 16
        if self._ended or not cut:
            hint = CUT if cut else "it is damaged, or is no JSON"
            raise FormatError(
                f"{self._name} cannot be read at character {self._place(error.pos)}: {error.msg}; {hint}"
            ) from error

    def _peek(self) -> str:
        """The next character that is no space, without taking it; empty at the end of the text."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in SPACE:
                    return self._buffer[self._at]
                self._at += 1
            if self._ended:
                return ""
            self._fill(CHUNK_CHARS)

    def _fill(self, size: int) -> None:
        more = self._text.read(size)
        self._ended = not more
        self._buffer, self._at = self._buffer[self._at :] + more, 0
        self._read += len(more)

    def _place(self, position: int) -> int:
        return self._read - len(self._buffer) + position


CUT = "it was cut off; download or export it again"
