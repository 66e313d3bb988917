"""Other processes of this machine: whether one still lives."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")


@lru_cache(maxsize=1)
def machine() -> str:
    """Names what process numbers are counted in: this machine since it was started, or a container of it.

    "" where that cannot be told, and a number then says nothing of another process.
    """
    with suppress(OSError):
        return f"{BOOT.read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return f"{os.name} {platform.node()}" if os.name == "posix" and platform.system() == "Darwin" else ""


def lives(process: int) -> bool:
    """Whether a process of this machine is there; yes where one cannot ask without harm."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
