"""What goes over the wire: where to, with which key, how long to wait, which errors come back, when to try again."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
