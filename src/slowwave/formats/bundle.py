"""Files as importers see them: one file, a folder, or a zip, all as named parts that open as bytes.

Nothing is ever unpacked to disk, links are not followed, and a zip is held to limits, so that a hostile archive can do
no more than end in a FormatError.
"""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from slowwave.errors import FormatError

MAX_MEMBERS = 100_000  # files in one zip
MAX_UNPACKED_BYTES = 16 * 2**30  # of the members that are read together
MAX_RATIO = 250  # unpacked over packed; JSON of chats reaches about 30, a bomb 1,000 and more
RATIO_FREE_BYTES = 16 * 2**20  # members below this may have any ratio
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Part:
    """One file to read: its name with forward slashes, and how to open it as bytes."""

    name: str
    opener: Callable[[], IO[bytes]]
    modified: float | None = None  # seconds since 1970, for files on disk

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes. Damage that shows only while reading is a FormatError too."""
        try:
            with self.opener() as handle:
                yield handle
        except ZIP_ERRORS as error:
            raise FormatError(f"{self.name} cannot be unpacked: {error}; download the archive again") from error
        except OSError as error:
            raise FormatError(f"{self.name} cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file of a bundle that is not read, and why."""

    name: str
    reason: str


def check_path(path: Path) -> Path:
    """The path, if there is something to read at it. Raises FormatError: missing, a link loop, no file, empty."""
    path = Path(path).expanduser()
    try:
        state = path.stat()
    except FileNotFoundError as error:
        raise FormatError(f"there is no file or folder at {path}; check the spelling") from error
    except (OSError, ValueError) as error:  # a loop of links, no permission, a NUL in the name
        raise FormatError(f"{str(path)!r} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISREG(state.st_mode):
        if state.st_size == 0:
            raise FormatError(f"{path} is empty (0 bytes); export it again")
    elif not stat.S_ISDIR(state.st_mode):
        raise FormatError(f"{path} is neither a file nor a folder; write what it gives to a file first")
    return path


def is_zip(path: Path) -> bool:
    """Whether the file begins as a zip does; a cut-off zip begins so too."""
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def parts(path: Path, wanted: Callable[[str], bool]) -> Iterator[Part | Skipped]:
    """The files at a path whose names are wanted, in the order of their names.

    A folder is walked through, without following links and without hidden folders; zips in it are looked into once.
    A single file is always wanted.
    """
    if path.is_dir():
        for file in walk(path):
            if isinstance(file, Skipped):
                yield file
                continue
            name = file.relative_to(path).as_posix()
            if wanted(name):
                yield Part(name, _opener(file), file.stat().st_mtime)
            elif file.suffix.lower() == ".zip":
                yield from _zip_parts(file, wanted, prefix=f"{name}!")
    elif is_zip(path):
        yield from _zip_parts(path, wanted)
    else:
        yield Part(path.name, _opener(path), path.stat().st_mtime)


def walk(folder: Path, hidden: bool = False) -> Iterator[Path | Skipped]:
    """The regular files below a folder, sorted; links and what cannot be looked at as Skipped."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield Skipped(str(folder), f"cannot be opened: {error.strerror or error}")
        return
    for entry in entries:
        if entry.is_symlink():
            yield Skipped(entry.path, "a symbolic link; links are not followed")
        elif entry.is_dir(follow_symlinks=False):
            if hidden or not entry.name.startswith("."):
                yield from walk(Path(entry.path), hidden)
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        else:
            yield Skipped(entry.path, "not a regular file")


def _opener(file: Path) -> Callable[[], IO[bytes]]:
    return lambda: cast("IO[bytes]", file.open("rb"))


def _zip_parts(path: Path, wanted: Callable[[str], bool], prefix: str = "") -> Iterator[Part | Skipped]:
    try:
        archive = zipfile.ZipFile(path)
    except (*ZIP_ERRORS, OSError, ValueError) as error:
        raise FormatError(f"{path} is cut off or is no zip ({error}); download or export it again") from error
    with archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise FormatError(f"{path} holds {len(members)} files, more than {MAX_MEMBERS}; unpack what you need first")
        total = 0
        for member in sorted(members, key=lambda member: member.filename):
            name = prefix + member.filename
            if member.is_dir() or member.filename.startswith("__MACOSX/"):
                continue
            if not _safe(member.filename):
                yield Skipped(name, "a name that leads out of the archive; not read")
            elif wanted(member.filename):
                total += member.file_size
                _within_limits(path, member, total)
                yield Part(name, lambda member=member: archive.open(member))  # type: ignore[misc]
            elif member.filename.lower().endswith(".zip"):
                yield Skipped(name, "a zip inside a zip; unpack the outer one first")


def _within_limits(path: Path, member: zipfile.ZipInfo, total: int) -> None:
    # zipfile hands out no more than the declared size, so checking what is declared is enough
    if total > MAX_UNPACKED_BYTES:
        raise FormatError(f"{path} unpacks to more than {MAX_UNPACKED_BYTES} bytes; unpack and import it in parts")
    if member.file_size > RATIO_FREE_BYTES and member.file_size > MAX_RATIO * max(member.compress_size, 1):
        raise FormatError(
            f"{member.filename} in {path} unpacks from {member.compress_size} to {member.file_size} bytes, over "
            f"{MAX_RATIO} times its size; this looks like a zip bomb, so unpack it yourself if you trust it"
        )


def _safe(name: str) -> bool:
    posix = PurePosixPath(name.replace("\\", "/"))
    return not (posix.is_absolute() or ".." in posix.parts or ":" in name.split("/")[0] or "\0" in name)
