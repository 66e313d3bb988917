"""What both doors that take in files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slowwave.errors import InputError


@contextmanager
def without(folder: str | Path) -> Iterator[None]:
    """Errors of input name an uploaded file without the passing folder that it lies in."""
    try:
        yield
    except InputError as error:
        told = str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), "the upload")
        raise type(error)(told) from None
