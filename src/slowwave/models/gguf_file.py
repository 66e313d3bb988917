"""What a GGUF file says of itself, read without loading it: a fingerprint, its context length, its quantisation."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from slowwave.errors import ModelError, ModelMissingError

SAMPLES = 64  # places at which a large file is read for its fingerprint
SAMPLE = 1 << 16  # bytes at each
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes of a value, by its type
TEXT, ARRAY = 8, 9
NUMBERS = {4: "<I", 5: "<i", 10: "<Q", 11: "<q"}
QUANTISATIONS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A model file.

    fingerprint     12 hex digits of a hash over its size and 64 stretches of it: tells weights apart in milliseconds
    architecture    such as "llama" or "qwen2"
    context_tokens  the context that it was trained with; 0 where the file does not say
    quantisation    such as "Q4_K_M"; "" where the file does not say
    """

    path: Path
    fingerprint: str
    architecture: str
    context_tokens: int
    quantisation: str


def look(path: str | Path) -> GgufFile:
    """Read a file's head; ModelMissingError where there is none, ModelError where it is no GGUF file."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelMissingError(f"there is no model file {file}; give the path of a .gguf file")
    with file.open("rb") as handle:
        if handle.read(4) != b"GGUF":
            raise ModelError(f"{file} is not a GGUF file; give a model in the format of llama.cpp")
        try:
            found = _metadata(handle)
        except (struct.error, UnicodeDecodeError, KeyError, MemoryError, OverflowError) as error:
            raise ModelError(f"{file} is damaged: its head cannot be read; fetch it again") from error
        architecture = str(found.get("general.architecture", ""))
        return GgufFile(
            file,
            _fingerprint(handle, file.stat().st_size),
            architecture,
            int(found.get(f"{architecture}.context_length", 0)),
            QUANTISATIONS.get(int(found.get("general.file_type", -1)), ""),
        )


def _metadata(handle: BinaryIO) -> dict[str, str | int]:
    """The plain texts and whole numbers that stand before the tokenizer's long lists."""
    _version, _tensors, count = struct.unpack("<IQQ", handle.read(20))
    found: dict[str, str | int] = {}
    for _ in range(count):
        key = _text(handle)
        if key.startswith("tokenizer.") and any(name.endswith(".context_length") for name in found):
            break
        (kind,) = struct.unpack("<I", handle.read(4))
        if kind == TEXT:
            found[key] = _text(handle)
        elif kind == ARRAY:
            inner, length = struct.unpack("<IQ", handle.read(12))
            if inner == TEXT:
                for _ in range(length):
                    (size,) = struct.unpack("<Q", handle.read(8))
                    handle.seek(size, 1)
            else:
                handle.seek(SIZES[inner] * length, 1)
        elif kind in NUMBERS:
            (found[key],) = struct.unpack(NUMBERS[kind], handle.read(SIZES[kind]))
        else:
            handle.seek(SIZES[kind], 1)
    return found


def _text(handle: BinaryIO) -> str:
    (size,) = struct.unpack("<Q", handle.read(8))
    if size > 1 << 20:
        raise struct.error("a text of more than a megabyte")
    return handle.read(size).decode("utf-8")


def _fingerprint(handle: BinaryIO, size: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    for place in range(SAMPLES):
        handle.seek(max(0, size - SAMPLE) * place // (SAMPLES - 1))
        digest.update(handle.read(SAMPLE))
    return digest.hexdigest()[:12]
