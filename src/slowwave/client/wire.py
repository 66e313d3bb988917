"""What goes over the wire: where to, with which key, how long to wait, which errors come back, when to try again."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowwave import __version__, errors
from slowwave.client.asks import Ask
from slowwave.errors import InputError, QuotaError, ServerError, SlowwaveError
from slowwave.store.ids import new_id

KEY = re.compile(r"[\x21-\x7e]{1,500}")
TRANSIENT = (429, 502, 503, 504)
LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Wire:
    """How a server is asked.

    url              its root, such as "https://memory.example.org"
    key              what opens it; none where it stands on this machine and has no keys
    timeout_seconds  for an answer; what may take minutes is waited for
    retries          of what failed on the way, or what the server is too busy for
    """

    url: str
    key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 60.0
    retries: int = 3

    def __post_init__(self) -> None:
        if not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", self.url):
            raise InputError(f"the address is {self.url!r:.80}; give one such as https://memory.example.org")
        if self.key is not None and not (isinstance(self.key, str) and KEY.fullmatch(self.key)):
            raise InputError("key is not a key; `slowwave keys add` shows one, which begins with sw_")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise InputError(f"retries is {self.retries!r}; it must be a whole number from 0")

    @property
    def root(self) -> str:
        """Where the verbs are."""
        return self.url.rstrip("/") + "/v1"

    def headers(self) -> dict[str, str]:
        """Sent with every request."""
        out = {"prefer": "return=representation", "user-agent": f"slowwave/{__version__}"}
        return {**out, "authorization": f"Bearer {self.key}"} if self.key else out

    def request(self, ask: Ask) -> dict[str, Any]:
        """A request as httpx takes it; the same name each time that it is sent."""
        out: dict[str, Any] = {"method": ask.method, "url": self.root + ask.path, "params": dict(ask.params)}
        if ask.body is not None:
            try:
                out["content"] = json.dumps(ask.body, allow_nan=False, ensure_ascii=False).encode("utf-8")
            except ValueError as error:
                raise InputError(f"what was given cannot be sent as JSON: {error}") from error
            out["headers"] = {"content-type": "application/json"}
        if not ask.safe:
            out.setdefault("headers", {})["idempotency-key"] = new_id()
        return out

    def pause(self, attempt: int, error: SlowwaveError) -> float | None:
        """Seconds until the next try; None if there is none."""
        if attempt >= self.retries:
            return None
        wait = min(LONGEST_PAUSE, 0.1 * 2**attempt) * (0.75 + random.random() / 2)
        asked = error.retry_seconds if isinstance(error, QuotaError) else 0.0
        return None if asked > LONGEST_PAUSE else max(wait, asked)


class Tries:
    """How often one request was sent already, and what is known of the job that it began.

    request  what to send next, as httpx takes it
    over     whether the job whose states are followed has ended
    """

    def __init__(self, wire: Wire, ask: Ask) -> None:
        self.wire, self.ask = wire, ask
        self.request = wire.request(ask)
        self.over = False
        self._done = 0
        self._job = ""

    def pause(self, error: SlowwaveError) -> float:
        """Seconds until the next try; the error itself, raised, where there is none."""
        wait = self.wire.pause(self._done, error) if error.__dict__.get("transient") else None
        if wait is None:
            raise error
        self._done += 1
        return wait

    def heard(self, line: str) -> dict[str, Any] | None:
        """A line of a stream of states -> the job; None for what is no state."""
        if not line.startswith("data:"):
            return None
        job: dict[str, Any] = json.loads(line[5:])
        self._job, self._done = job["id"], 0
        self.over = job["state"] in ("done", "failed", "cancelled")
        return job

    def broken(self, problem: Exception | None) -> float:
        """Seconds until a stream that broke off is taken up again: at the same job, if it was begun."""
        told = problem or ServerError(f"{self.wire.url} broke off in the middle of a night")
        wait = self.pause(passing(unreachable(self.wire, told)))
        if self._job:
            self.request = self.wire.request(Ask("GET", f"/jobs/{self._job}/events", self.ask.read, safe=True))
        return wait


def passing(error: SlowwaveError) -> SlowwaveError:
    """Mark an error as one that may be gone at the next try."""
    error.transient = True  # type: ignore[attr-defined]
    return error


def check(status: int, body: bytes, headers: Any) -> None:
    """Raise the error that an answer tells of."""
    if status >= 400:
        error = error_of(status, body, headers)
        raise passing(error) if status in TRANSIENT else error
    if status >= 300:
        raise ServerError(f"the server answered {status}, as if it had moved to {headers.get('location', '?')}")


def json_of(body: bytes) -> Any:
    """An answer's JSON; ServerError if it is none, such as the page of a proxy."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise ServerError(f"what answered is no slowwave: {body[:80]!r}; see the address") from error


def ended(job: dict[str, Any], ask: Ask) -> Any:
    """The result of a job, or its error."""
    if job.get("state") == "failed":
        raise named(job["error"]["type"], job["error"]["message"])
    if job.get("state") != "done":
        raise InputError(f"the night was {job.get('state', 'lost')} on the server; nothing of it was written")
    return ask.read(job["result"])


@contextmanager
def arriving(to: Path) -> Iterator[Path]:
    """A file beside another, in which what comes is written; it takes the other's place at the end, and never half."""
    part = to.with_name(f".{to.name}.part")
    try:
        yield part
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)


def counted(path: Path) -> int:
    """Records in an export, by its closing line; ServerError if that is missing: the answer was cut off."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        last = file.read().rstrip().rsplit(b"\n", 1)[-1]
    end = json_of(last)
    if not isinstance(end, dict) or end.get("type") != "end":
        raise ServerError("the export was cut off; ask for it again")
    return int(end["counts"].get("engram", 0))


def unreachable(wire: Wire, problem: Exception) -> ServerError:
    """The error of a request that got no answer."""
    return ServerError(
        f"{wire.url} gave no answer: {type(problem).__name__}: {problem}; see whether `slowwave serve` runs there"
    )


def error_of(status: int, body: bytes, headers: Mapping[str, str]) -> SlowwaveError:
    """The same error that a Memory on a file would have raised."""
    try:
        told = json.loads(body)["error"]
        kind, message = str(told["type"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return ServerError(f"the server answered {status}: {body[:200].decode('utf-8', 'replace')!r}")
    return named(kind, message, status, headers)


def named(kind: str, message: str, status: int = 0, headers: Mapping[str, str] | None = None) -> SlowwaveError:
    """An error by its name; what there is none for is a ServerError."""
    found = getattr(errors, kind, None)
    if not (isinstance(found, type) and issubclass(found, SlowwaveError)):
        return ServerError(f"the server answered {status} {kind}: {message}" if status else f"{kind}: {message}")
    if found is QuotaError:
        after = (headers or {}).get("retry-after", "1")
        return QuotaError(message, float(after) if after.replace(".", "", 1).isdigit() else 1.0)
    made: SlowwaveError = found.__new__(found)
    Exception.__init__(made, message)
    return made
