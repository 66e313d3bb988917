"""A process that watches a scope and says what it does, line by line: `python sleeper.py FILE JSON`.

The JSON's keys: `stop_at` waits before that question until there is the file that `go` names, having said so;
`lease_seconds` shortens its leases; `stranger` makes it look like a process of another machine. It says each renewal
of a lease, and ends when it is given a line.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import slowwave.verbs.sleep
from asking import Asking, echoing
from slowwave import Memory
from slowwave.store import leases
from slowwave.store.holding import Holding
from slowwave.text.base import Dream, Night


def say(*words: Any) -> None:
    """One line of JSON, with the moment in seconds since 1970."""
    sys.stdout.write(json.dumps([time.time(), *words]) + "\n")
    sys.stdout.flush()


class Telling(Asking):
    """Says when a night begins and ends."""

    def sleep(self, night: Night) -> Dream:
        say("begin")
        dream = super().sleep(night)
        say("end", len(dream.changes))
        return dream


def main(path: str, go: str, stop_at: int = -1, lease_seconds: float = 60.0, stranger: bool = False) -> None:
    def between(n: int) -> None:
        time.sleep(0.001)
        if n == stop_at:
            say("waiting", n)
            while not Path(go).exists():
                time.sleep(0.01)

    if stranger:
        leases.machine = lambda: ""
    slowwave.verbs.sleep.Holding = partial(Holding, seconds=lease_seconds)  # type: ignore[misc,assignment]
    llm = echoing()
    with Memory(path, embedder="fake", llm=llm, system=Telling(between)) as memory:
        renew = memory.store.renew_lease

        def telling(*lease: Any) -> Any:
            renewed = renew(*lease)
            say("renewed")
            return renewed

        memory.store.renew_lease = telling  # type: ignore[method-assign]
        say("ready")
        watching = memory.sleep_every(
            idle_seconds=0, user_id="u",
            on_night=lambda slept: say("slept", slept.report.op, len(llm.model.asked)),  # type: ignore[attr-defined]
            on_trouble=lambda scope, error: say("trouble", f"{type(error).__name__}: {error}"),
        )  # fmt: skip
        sys.stdin.readline()
        watching.stop()
    say("stopped", watching.nights)


if __name__ == "__main__":
    main(sys.argv[1], **json.loads(sys.argv[2]))
