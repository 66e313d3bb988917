"""Errors as answers: one shape for all, {"error": {"type": ..., "message": ...}}, and a status for each kind."""

from __future__ import annotations

from typing import Any

from slowwave import errors
from slowwave.errors import SlowwaveError

STATUS: tuple[tuple[type[SlowwaveError], int], ...] = (  # the first that fits
    (errors.UnknownKeyError, 401),
    (errors.QuotaError, 429),
    (errors.AccessError, 403),
    (errors.StoreReadOnlyError, 403),
    (errors.NotFoundError, 404),
    (errors.ConflictError, 409),
    (errors.LeaseHeldError, 409),
    (errors.ModelMismatchError, 409),
    (errors.InputError, 400),
    (errors.ExtraMissingError, 501),
    (errors.StoreBusyError, 503),
    (errors.StoreFullError, 507),
    (errors.ModelBusyError, 503),
    (errors.ModelError, 502),
)


def status_of(error: Exception) -> int:
    """The HTTP status of an error; 500 for what nobody foresaw."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def told(error: Exception) -> dict[str, Any]:
    """The body of an error's answer; of one that nobody foresaw, only that it is in the log."""
    if isinstance(error, SlowwaveError):
        return told_as(type(error).__name__, str(error))
    return told_as("InternalError", "the server failed; its log says more under this request's X-Request-Id")


def told_as(kind: str, message: str) -> dict[str, Any]:
    """The same for an error that is not one of slowwave's own."""
    return {"error": {"type": kind, "message": message}}
