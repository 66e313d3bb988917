"""The file under the approximate index: its layout, and how it is read, put in place whole, and deleted.

Layout: the graph as usearch writes it, the row number of each slot (int64), the sum (float64) and the second moments
(float64) of the vectors, a JSON manifest, and a footer with the CRC-32 of all before it. A file that ends early or was
damaged has no valid footer and is never opened as a graph.

A new file is made beside the old one, under a name that ends in ".tmp": its claim, made before any row is read. Whoever
erases deletes the claims too, so a file made from rows read before the erasure cannot appear after it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import mmap
import os
import secrets
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import ConflictError, StoreError, StoreFullError, StoreReadOnlyError

Identity = tuple[int, int, int, int]

FORMAT = 1
MAGIC = b"slow-ann"
FOOTER = struct.Struct("<8sII")  # magic, bytes of the manifest, CRC-32 of everything before the footer
ABANDONED_SECONDS = 24 * 3600  # a claim this old belongs to a process that was killed
ERRORS: dict[int, type[StoreError]] = {
    errno.ENOSPC: StoreFullError,
    errno.EDQUOT: StoreFullError,
    errno.EFBIG: StoreFullError,
    errno.EROFS: StoreReadOnlyError,
    errno.EACCES: StoreReadOnlyError,
    errno.EPERM: StoreReadOnlyError,
}


class UnusableError(Exception):
    """Why a file cannot serve. Never reaches the user: `AnnSidecar.load` puts it into a Standing."""


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What a file holds.

    graph     its first bytes, as usearch wrote them, mapped from the file (on Windows, which cannot replace a mapped
              file, copied into memory)
    ids       (slots,) row number by slot, -1 where the row was removed
    total     (dim,) sum of the vectors of all slots
    outer     (dim, dim) sum of their outer products
    identity  tells this file from one that takes its place
    """

    manifest: dict[str, Any]
    graph: NDArray[np.uint8]
    ids: NDArray[np.int64]
    total: NDArray[np.float64]
    outer: NDArray[np.float64]
    identity: Identity


def read(handle: BinaryIO, model: str, dim: int, verify: bool) -> Contents:
    """The contents of an open file; UnusableError with the reason if it does not hold such vectors, whole.

    verify  check the CRC-32, which reads the whole file (2 GB/s)
    """
    buffer = _bytes_of(handle)
    end = len(buffer) - FOOTER.size
    magic, length, crc = FOOTER.unpack(buffer[end:].tobytes())
    if magic != MAGIC or length > end:
        raise UnusableError("it was not finished, or is no index")
    if verify and zlib.crc32(buffer[:end].data) != crc:
        raise UnusableError("it is damaged: its CRC-32 is not the one it states")
    start = end - length
    try:
        manifest = json.loads(buffer[start:end].tobytes())
    except ValueError as error:
        raise UnusableError(f"its manifest cannot be read: {error}") from error
    for name, value in (("format", FORMAT), ("model", model), ("dim", dim)):
        if manifest.get(name) != value:
            raise UnusableError(f"its {name} is {manifest.get(name)!r}, this is {value!r}")
    slots, graph_bytes = int(manifest["slots"]), int(manifest["graph_bytes"])
    if graph_bytes + 8 * (slots + dim + dim * dim) != start:
        raise UnusableError("its parts do not add up to its length")
    numbers = buffer[graph_bytes:start].tobytes()
    ids = np.frombuffer(numbers, dtype="<i8", count=slots).astype(np.int64)
    moments = np.frombuffer(numbers, dtype="<f8", offset=8 * slots).astype(np.float64)
    outer = moments[dim:].reshape(dim, dim)
    return Contents(manifest, buffer[:graph_bytes], ids, moments[:dim], outer, _identity(os.fstat(handle.fileno())))


def put(path: Path, claim: Path, base: Identity | None, save: Callable[[str], None], contents: Contents) -> Contents:
    """Write a file under the claim, have it on the disk, give it the path in one step, and return it as read back.

    base      the file that the new one was made from, which must still be there; None if it was made from rows alone
    save      writes the graph to the name it is given
    contents  the rest; its graph and identity are not looked at
    raises    ConflictError if the base or the claim is gone; StoreFullError, StoreReadOnlyError, StoreError
    """
    lost = ConflictError(f"{path} was deleted or replaced by another process meanwhile; load it again, or build it")
    try:
        with disk(path, lost):
            with claim.open("r+b") as handle:
                if base is not None and identity_at(path) != base:
                    raise lost
                save(str(claim))
                # Saving opened by name: had the claim been deleted just now, that made another file.
                if identity_at(claim) != _identity(os.fstat(handle.fileno())):
                    raise lost
                _finish(handle, contents)
                written = read(handle, contents.manifest["model"], contents.manifest["dim"], verify=False)
            os.replace(claim, path)
            _sync_folder(path.parent)
            return written
    finally:
        with contextlib.suppress(OSError):
            claim.unlink(missing_ok=True)


def claimed(path: Path) -> Path:
    """An empty file beside the path, to become its next content; sweeps up those of processes long dead."""
    for old in _claims(path):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > ABANDONED_SECONDS:
                old.unlink(missing_ok=True)
    claim = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with disk(path):
        claim.open("xb").close()
    return claim


def delete_sidecar(path: str | Path) -> bool:
    """Delete an index file and all that is left of unfinished ones; True if there was any. Needs no usearch.

    A process that is making a new file from rows read before this call finds its claim gone and gives up. One that
    has the old file open keeps its own view until its next `load`, and cannot save it.
    """
    path = Path(path)
    with disk(path):
        # The claims first: one that becomes the file in between is then deleted as the file, which goes last.
        gone = [_unlinked(file) for file in [*_claims(path), path]]
        if any(gone):
            _sync_folder(path.parent)
    return any(gone)


def identity_at(path: Path) -> Identity | None:
    """Which file lies at a path; None if there is none."""
    try:
        return _identity(path.stat())
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def disk(path: Path, missing: Exception | None = None) -> Iterator[None]:
    """Turn what the system says of the disk into this project's errors; a missing file into `missing`, if given."""
    try:
        yield
    except FileNotFoundError as error:
        if missing is None:
            raise
        raise missing from error
    except OSError as error:
        kind = ERRORS.get(error.errno or 0, StoreError)
        raise kind(f"the index {path} cannot be read or written: {error}; the old file, if any, stays") from error
    except RuntimeError as error:  # usearch's own; it does not say which trouble of the disk it met
        raise StoreError(f"the index {path} cannot be written: {error}; the old file, if any, stays") from error


def _finish(handle: BinaryIO, contents: Contents) -> None:
    """Append to the graph what else belongs to the file, and have it on the disk."""
    crc, graph_bytes = 0, 0
    handle.seek(0)
    while block := handle.read(1 << 22):
        crc, graph_bytes = zlib.crc32(block, crc), graph_bytes + len(block)
    manifest = json.dumps({**contents.manifest, "format": FORMAT, "graph_bytes": graph_bytes}).encode()
    arrays = contents.ids.astype("<i8"), contents.total.astype("<f8"), contents.outer.astype("<f8")
    for block in (*(array.tobytes() for array in arrays), manifest):
        crc = zlib.crc32(block, crc)
        handle.write(block)
    handle.write(FOOTER.pack(MAGIC, len(manifest), crc))
    handle.flush()
    os.fsync(handle.fileno())


def _bytes_of(handle: BinaryIO) -> NDArray[np.uint8]:
    size = os.fstat(handle.fileno()).st_size
    if size < FOOTER.size:
        raise UnusableError(f"it has {size} bytes")
    if os.name == "posix":
        return np.frombuffer(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    handle.seek(0)
    return np.frombuffer(handle.read(), dtype=np.uint8)


def _claims(path: Path) -> list[Path]:
    if not path.parent.is_dir():
        return []
    return [file for file in path.parent.iterdir() if file.name.startswith(path.name + ".") and file.suffix == ".tmp"]


def _unlinked(file: Path) -> bool:
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    return True


def _identity(stat: os.stat_result) -> Identity:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _sync_folder(folder: Path) -> None:
    """Have the new name on the disk too; Windows does so by itself."""
    if os.name == "posix":
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
