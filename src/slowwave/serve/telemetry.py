"""What the server says of itself: metrics, spans, a log line a request. Nothing is sent anywhere by itself."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from slowwave.serve.service import Service

log = logging.getLogger("slowwave.serve")
SPANS = {  # of the GenAI semantic conventions
    "add": "create_memory",
    "import": "create_memory",
    "update": "update_memory",
    "link": "update_memory",
    "sleep": "upsert_memory",
    "undo": "update_memory",
    "forget": "delete_memory",
    "erase": "delete_memory",
    "search": "search_memory",
    "context": "search_memory",
    "answer": "search_memory",
}
try:
    from opentelemetry import trace

    _tracer: Any = trace.get_tracer("slowwave")
except ImportError:
    _tracer = None
SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class Telemetry:
    """The metrics of one server, in a registry of their own."""

    def __init__(self, service: Service) -> None:
        self.registry = registry = CollectorRegistry()
        at = ("door", "route")
        self.requests = Counter(
            "slowwave_requests_total", "Requests by door, route and status", (*at, "status"), registry=registry
        )
        self.seconds = Histogram(
            "slowwave_request_seconds", "Time to the answer", at, buckets=SECONDS, registry=registry
        )
        self.running = Gauge("slowwave_requests_running", "Requests that are being answered", registry=registry)
        self.refused = Counter("slowwave_refused_total", "Requests turned down", ("reason",), registry=registry)
        self.records = Counter(
            "slowwave_records_total", "Records given, by what became of them", ("event",), registry=registry
        )
        self.hits = Counter("slowwave_hits_total", "Records that searches found", registry=registry)
        self.tokens = Counter(
            "slowwave_tokens_total", "Tokens of language models", ("door", "direction"), registry=registry
        )

    def answered(self, line: dict[str, Any]) -> None:
        """Count an answer and log it: never a text, a query or a key's secret."""
        door, route, status = line["door"], line["route"], line["status"]
        self.requests.labels(door, route, str(status)).inc()
        self.seconds.labels(door, route).observe(line["ms"] / 1000)
        level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, json.dumps(line), extra={"slowwave": line})

    @contextmanager
    def span(self, verb: str, scope: Any = None) -> Iterator[None]:
        """A span of OpenTelemetry with the names of the GenAI conventions; nothing where it is not installed.

        Neither texts nor queries go into it, and of the scope only which fields it names.
        """
        if _tracer is None:
            yield
            return
        name = SPANS.get(verb, verb)
        with _tracer.start_as_current_span(name) as span:
            span.set_attribute("gen_ai.operation.name", name)
            span.set_attribute("gen_ai.provider.name", "slowwave")
            span.set_attribute("gen_ai.memory.store.name", "slowwave")
            if scope is not None:
                span.set_attribute("gen_ai.memory.scope", ",".join(scope.to_dict()))
            yield

    def page(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self.registry)


def log_to_stderr(level: str) -> None:
    """Write the log of the server as lines of JSON; only the command line calls this, never an import."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    log.addHandler(handler)
    log.setLevel(level.upper())
    log.propagate = False


class _Lines(logging.Formatter):
    """One JSON object a line; a traceback is a field of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = getattr(record, "slowwave", None) or {"message": record.getMessage()}
        out = {"at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower(), **line}
        if record.exc_info:
            out["traceback"] = self.formatException(record.exc_info)
        return json.dumps(out)
