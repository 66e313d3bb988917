"""The approximate indexes of large scopes: where each lies, whether it may serve, and how it is made.

The database says in `meta` of each file which vectors are in it: of which model, moved by which centre, made after
which erasure. A file that the database does not know, or knows of another time, is never opened. Nothing here is made
or written by a search: a file is made by `Memory.build_ann`, by a sleep, and where there was one by `rebuild`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import ConflictError, StoreError
from slowwave.records import Scope
from slowwave.store.ann_file import ABANDONED_SECONDS, delete_sidecar
from slowwave.store.base import Want
from slowwave.store.centre import centre_of, centred, counted
from slowwave.store.connection import MEMORY
from slowwave.store.ids import new_id
from slowwave.store.processes import lives

if TYPE_CHECKING:
    from slowwave.store.ann import AnnSidecar
    from slowwave.store.cache import VectorCache
    from slowwave.store.sql import Model

Progress = Callable[[int, int], None]
MARK = ".ann-"  # between the database's name and the scope's hash
FOLD = 20_000  # rows scanned beside the graph from which a sleep, or closing, folds them in


@dataclass(frozen=True, slots=True)
class Entry:
    """What the database says of a file.

    token    names this very file: no other has it
    epoch    of the vectors; each erasure, rebuild and change of the model begins another
    counted  how many of the first records the centre was made of
    """

    scope: Scope
    token: str
    model: str
    epoch: str
    counted: int
    centre: NDArray[np.float32]

    def packed(self) -> str:
        """As it is kept in `meta`."""
        centre = base64.b64encode(self.centre.astype("<f4").tobytes()).decode()
        named = {"token": self.token, "model": self.model, "epoch": self.epoch, "counted": self.counted}
        return json.dumps({"scope": self.scope.to_dict(), **named, "centre": centre}, ensure_ascii=False)

    @classmethod
    def unpacked(cls, text: str) -> Entry:
        """The reverse of `packed`."""
        values = json.loads(text)
        centre = np.frombuffer(base64.b64decode(values.pop("centre")), dtype="<f4").astype(np.float32)
        return cls(scope=Scope(**values.pop("scope")), centre=centre, **values)


class Sidecars:
    """The index files beside one database.

    ann_from  vectors from which a scope has one; 0 or None for never
    """

    def __init__(self, cache: VectorCache, ann_from: int | None) -> None:
        self.cache = cache
        self.store = cache.store
        self.ann_from = ann_from or 0
        self._building = threading.Lock()
        self._process = os.getpid()

    @property
    def wanted(self) -> bool:
        """Whether large scopes have one: it was not declined, there is a file to lie beside, usearch is installed."""
        return bool(self.ann_from) and self.store.path != MEMORY and installed()

    def path(self, scope: Scope) -> Path:
        """Where the index of a scope lies."""
        main = Path(self.store.path).resolve()
        return main.with_name(f"{main.name}{MARK}{_hash(scope)}")

    def opened(self, scope: Scope, model: Model, epoch: str, newest: int, text: str) -> AnnSidecar | str:
        """The index of a scope, ready to search, as `meta` describes it in `text`; or why it cannot serve."""
        entry = Entry.unpacked(text)
        if (entry.model, entry.epoch) != (model.name, epoch):
            return "the approximate index is of other vectors"
        sidecar = self._sidecar(scope, model, entry.token)
        try:
            standing = sidecar.load(0, newest)
        except StoreError as error:
            return str(error)
        if standing.state in ("current", "stale"):
            return sidecar
        return f"the approximate index cannot serve: {standing.why}"

    def build(self, scope: Scope, progress: Progress | None = None) -> str:
        """Make the index of a scope, or fold into it what came since; what was done, "" if there was nothing to do.

        One process makes it, in the foreground; searches meanwhile answer from what there was before.
        raises  StoreFullError, StoreReadOnlyError, StoreError from the disk
        """
        if self._process != os.getpid():  # a fork; the lock may have been taken by a thread of the parent
            self._process, self._building = os.getpid(), threading.Lock()
        model = self.store.current_model()
        if not self.wanted or self.store.readonly or model is None:
            return ""
        if not self._building.acquire(blocking=False):
            return "being made by another thread"
        try:
            if self.store.view(scope).count(Want(retired=True)) < self.ann_from:
                return ""
            newest, epoch, text = self.cache.standing(scope)
            ids = self.cache.numbers(model, scope, newest)
            if len(ids) < self.ann_from:
                return ""
            if _being_made(self.path(scope)):
                return "being made by another process"
            if text is not None and (done := self._kept(scope, model, epoch, newest, text, len(ids))) is not None:
                return done
            return self._made(scope, model, epoch, ids, progress)
        finally:
            self._building.release()

    def scopes(self) -> list[Scope]:
        """The scopes that have one."""
        rows = self.store.read("SELECT value FROM meta WHERE key LIKE 'ann-%'", [])
        return [Entry.unpacked(text).scope for (text,) in rows]

    def _kept(self, scope: Scope, model: Model, epoch: str, newest: int, text: str, count: int) -> str | None:
        """Keep the index that there is, with the new rows in it; None if it has to be made anew."""
        entry = Entry.unpacked(text)
        sidecar = self.opened(scope, model, epoch, newest, text)
        if isinstance(sidecar, str) or counted(count) > entry.counted:
            return None
        try:
            last = int(sidecar.ids().max(initial=0))
            for ids, vectors in self.cache.pages(model, scope, last, newest):
                sidecar.add(ids, centred(vectors, entry.centre))
            if len(sidecar) != count:
                return None
            if sidecar.pending < FOLD:
                return ""
            folded = sidecar.pending
            sidecar.save()
            self.cache.forget(scope)
            return f"{folded} vectors folded in"
        except ConflictError:
            return None
        finally:
            sidecar.close()

    def _made(self, scope: Scope, model: Model, epoch: str, ids: NDArray[np.int64], progress: Progress | None) -> str:
        first = counted(len(ids))
        ordered = np.sort(ids)
        cut, newest = int(ordered[first - 1]), int(ordered[-1])
        centre = centre_of((vectors for _, vectors in self.cache.pages(model, scope, 0, cut)), model.dim)
        entry = Entry(scope, new_id(), model.name, epoch, first, centre)
        sidecar = self._sidecar(scope, model, entry.token)
        parts: Iterator[tuple[Any, Any]] = (
            (part, centred(vectors, centre)) for part, vectors in self.cache.pages(model, scope, 0, newest)
        )
        try:
            sidecar.build_from(parts, len(ids), progress)
            sidecar.save()
        except ConflictError:
            return "erased from meanwhile; nothing was made"
        finally:
            sidecar.close()
        if not self.store.note_sidecar(key(scope), entry.packed(), epoch):
            delete_sidecar(self.path(scope))
            return "erased from meanwhile; nothing was made"
        return f"made of {len(ids)} vectors"

    def _sidecar(self, scope: Scope, model: Model, token: str) -> AnnSidecar:
        from slowwave.store.ann import AnnSidecar

        return AnnSidecar(self.path(scope), model.dim, f"{model.name} {token}")


def drop_all(database: str) -> None:
    """Delete every index file of a database, and what is left of unfinished ones. Needs no usearch."""
    if database == MEMORY:
        return
    main = Path(database).resolve()
    length = len(f"{main.name}{MARK}") + len(_hash(Scope(user_id="any")))
    names = {file.name[:length] for file in main.parent.iterdir() if file.name.startswith(f"{main.name}{MARK}")}
    for name in names:
        delete_sidecar(main.with_name(name))


@lru_cache(maxsize=1)
def installed() -> bool:
    """Whether usearch is there; it is not imported."""
    return find_spec("usearch") is not None


def key(scope: Scope) -> str:
    """Under which `meta` keeps what there is to know of a scope's index."""
    return f"ann-{_hash(scope)}"


def _hash(scope: Scope) -> str:
    return hashlib.blake2b(json.dumps(scope.to_dict(), sort_keys=True).encode(), digest_size=8).hexdigest()


def _being_made(path: Path) -> bool:
    """Whether another process that lives has begun to make this file."""
    for claim in path.parent.iterdir():
        if not claim.name.startswith(f"{path.name}.") or claim.suffix != ".tmp":
            continue
        with suppress(OSError, ValueError):
            process = int(claim.name[len(path.name) + 1 :].split("-")[0])
            if time.time() - claim.stat().st_mtime < ABANDONED_SECONDS and process != os.getpid() and lives(process):
                return True
    return False
