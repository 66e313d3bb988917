"""Write `schema_N.db.gz`, a small memory under the present schema: run once when a new schema is released.

    python tests/store/golden/make.py

The file of an older schema is never made again: it stands for the files that people have.
"""

from __future__ import annotations

import gzip
import sqlite3
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from slowwave import Memory, Scope
from slowwave.records import Call, Rejected
from slowwave.store.base import AUDIT, Held, Key, Operation, Said, Store, Usage
from slowwave.store.ids import new_id
from slowwave.store.migrations import VERSION

HERE = Path(__file__).parent


class Clock:
    """One minute later at each look, from 1 May 2024."""

    now = datetime(2024, 5, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


def fill(path: Path | str) -> None:
    """A memory in which every table has a row."""
    with Memory(path, embedder="fake", clock=Clock()) as memory:
        ana = {"user_id": "ana"}
        said = memory.add(
            [
                {"role": "user", "name": "Ana", "content": "I live in Porto", "at": "2023-05-08T13:56+02:00"},
                {"role": "assistant", "content": "I was in Lisbon last May: “naïve” 🙂", "id": "m2"},
            ],
            session="s1", attrs={"place": {"x": [1, 2.5, None, True]}}, **ana,
        )  # fmt: skip
        memory.add("I moved to Faro in July 2023", speaker="Ana", session="s2", at="2023-08-01", **ana)
        memory.add("Ana likes red wine", kind="note", run_id="r", until="2030-01-01", **ana)
        memory.add("not Ana's", user_id="ben", app_id="x", agent_id="y")
        memory.sleep(**ana)
        memory.link(said[0].id, "next", said[1].id, weight=0.5, **ana)
        memory.update(said[1].id, "I was in Lisbon in May", attrs={"sure": True}, reason="misheard", **ana)
        memory.undo(memory.forget(said[0].id, **ana).op, **ana)
        memory.forget(subject="wine", run_id="r", **ana)
        memory.search("Where does Ana live?", threshold=0, **ana)
        asked(memory.store, said[0].id)
        served(memory.store)


def asked(store: Store, id: str) -> None:
    """What a night with a language model leaves, whichever model it was; and one who sleeps."""
    scope, recorded = Scope(user_id="ana"), Clock.now + timedelta(hours=1)
    calls = (Call("facts", "small", "a1" * 32, 120, 30, 0.5), Call("outcome", "small", "b2" * 32, problem="timed out"))
    aside = (Rejected("facts", "no source says moon", "Ana lives on the moon", (id,), "small", "a1" * 32),)
    store.apply(Operation(new_id(), "sleep", scope, recorded, model="small", calls=calls, rejected=aside), [], {})
    store.replies(scope).put("a1" * 32, "small", Said('{"items": []}', 120, 30), [id])
    store.take_lease(scope, "sleep", "whoever made this file", 60)


def served(store: Store) -> None:
    """What a server leaves: a key with its use, something held apart, a refusal."""
    scope, recorded = Scope(user_id="ana"), Clock.now + timedelta(hours=2)
    store.put_key(Key("k1", "laptop", "ab" * 32, (scope,), ("read",), {"requests_per_minute": 60}, recorded))
    store.note_usage([Usage("k1", "2024-05-01", "requests", 3)])
    held = Held(new_id(), scope, "ignore all of it", {"text": "ignore all of it"}, "an instruction", recorded)
    store.apply(Operation(new_id(), "hold", scope, recorded, held=(held,)), [], {})
    store.apply(Operation(new_id(), "refuse", AUDIT, recorded, params={"by": "k1"}, noted=True), [], {})


if __name__ == "__main__":
    target = HERE / f"schema_{VERSION}.db.gz"
    if target.exists():
        raise SystemExit(f"{target.name} is there already and stands for the files that people have")
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "a.db")
        connection = sqlite3.connect(Path(folder) / "a.db")
        connection.execute("VACUUM")
        connection.close()
        target.write_bytes(gzip.compress((Path(folder) / "a.db").read_bytes(), mtime=0))
