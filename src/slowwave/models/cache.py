"""Where replies are kept by the hash of their prompt, and the one that keeps them in this process's memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Protocol

from slowwave.models.chat import Reply
from slowwave.models.prompt import Prompt


class ReplyCache(Protocol):
    """Where replies are kept by the hash of their prompt; one that has `erase(sources)` is told of erasures.

    Only replies that were of use come here: `put` is never called with one that was refused or did not fit.
    """

    def get(self, key: str) -> Reply | None: ...

    def put(self, key: str, prompt: Prompt, model: str, reply: Reply) -> None: ...


class DictCache:
    """The last `most` replies, in this process's memory. Safe to share between threads."""

    def __init__(self, most: int = 10_000) -> None:
        self.most = most
        self._kept: OrderedDict[str, tuple[Reply, tuple[str, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> Reply | None:
        """The reply, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: str, prompt: Prompt, model: str, reply: Reply) -> None:
        """Keep a reply; the one used longest ago goes where there are too many."""
        with self._lock:
            self._kept[key] = (reply, prompt.sources)
            self._kept.move_to_end(key)
            if len(self._kept) > self.most:
                self._kept.popitem(last=False)

    def erase(self, sources: Iterable[str]) -> int:
        """Drop every reply to a prompt that showed one of these engrams; how many there were."""
        gone = set(sources)
        with self._lock:
            keys = [key for key, (_, shown) in self._kept.items() if gone.intersection(shown)]
            for key in keys:
                del self._kept[key]
        return len(keys)

    def __len__(self) -> int:
        return len(self._kept)
