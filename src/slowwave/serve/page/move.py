"""Import and export: a file goes in after a look at what it would do; everything comes out, losing nothing."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from slowwave.errors import InputError
from slowwave.formats import FORMATS
from slowwave.records import Scope
from slowwave.serve.page.frame import Asked, view
from slowwave.serve.uploads import without

KEPT_SECONDS = 3600.0  # for which a file that was looked at waits to be taken in
MOST_KEPT = 20
PIECE = 1 << 20


@dataclass
class Waiting:
    """A file that was looked at and may be taken in, by the same key into the same scope."""

    path: Path
    name: str
    format: str | None
    key: str
    scope: Scope | None
    since: float


_waiting: dict[str, Waiting] = {}


@view("/move", "export")
async def move(asked: Asked) -> Response:
    """The two forms."""
    return asked.render("move.html", formats=sorted(FORMATS))


@view("/export", "export")
async def export(asked: Asked) -> Response:
    """Everything of the scope as one file."""
    kind = "markdown" if asked.text("format") == "markdown" else "jsonl"
    folder = Path(tempfile.mkdtemp(prefix="slowwave-export-"))
    try:
        path = await asked.call(_export, asked, folder, kind, slow=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, filename=path.name, background=done, media_type="application/octet-stream")


def _export(asked: Asked, folder: Path, kind: str) -> Path:
    name = "-".join(asked.named.values())
    safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)[:60] or "memory"
    if kind == "jsonl":
        path = folder / f"slowwave-{safe}.jsonl"
        asked.memory.export(path, **asked.named)
        return path
    inside = folder / "markdown"
    asked.memory.export(inside, format="markdown", **asked.named)
    path = folder / f"slowwave-{safe}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(inside.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(inside))
    return path


@view("/import", "import", post=True)
async def look(asked: Asked) -> Response:
    """Read a file and say what taking it in would do."""
    given = asked.upload("file")
    if given is None:
        raise InputError("no file was chosen; choose one, then look at what it holds")
    _clear()
    folder = Path(tempfile.mkdtemp(prefix="slowwave-import-"))
    path = folder / (Path(given.filename or "file").name.replace("\0", "")[-100:] or "file")
    with path.open("wb") as out:
        while piece := await given.read(PIECE):
            out.write(piece)
    kind = asked.text("format") or None
    try:
        with without(folder):
            arrival = await asked.call(
                asked.memory.import_, path, format=kind, dry_run=True, trusted=False, slow=True, **asked.named
            )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    token = secrets.token_urlsafe(24)
    _waiting[token] = Waiting(path, path.name, kind, asked.who.key, asked.scope, time.monotonic())
    return asked.render("arrival.html", arrival=arrival, token=token, name=path.name)


@view("/import/{token}", "import", post=True)
async def take_in(asked: Asked) -> Response:
    """Take in the file that was looked at."""
    held = _waiting.get(asked.request.path_params["token"])
    if held is None or held.key != asked.who.key or held.scope != asked.scope:
        raise InputError("that file is not waiting any more; choose it again")
    del _waiting[asked.request.path_params["token"]]
    try:
        arrival = await asked.call(
            asked.memory.import_, held.path, format=held.format, trusted=False, slow=True, **asked.named
        )
    finally:
        shutil.rmtree(held.path.parent, ignore_errors=True)
    return asked.render("arrival.html", arrival=arrival, token=None, name=held.name)


def _clear() -> None:
    """Let go of files that wait too long, or are too many."""
    now = time.monotonic()
    old = [token for token, held in _waiting.items() if now - held.since > KEPT_SECONDS]
    extra = list(_waiting)[: max(0, len(_waiting) - MOST_KEPT + 1)]
    for token in {*old, *extra}:
        shutil.rmtree(_waiting.pop(token).path.parent, ignore_errors=True)
