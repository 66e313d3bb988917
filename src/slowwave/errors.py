"""Every exception that slowwave raises. Each says what was asked, what was found, and what to do next.

SlowwaveError
├── InputError(ValueError)        what was given cannot be used
│   ├── ScopeError                no scope, or one that is not well formed
│   ├── FilterError               a filter that does not parse
│   └── FormatError               a file to import that is not in the format it was said to be in
├── NotFoundError(KeyError)       no such record, operation or system in this scope
├── AccessError                   a server: the key may not do that, or does not reach that scope
│   ├── UnknownKeyError           no key, or one that opens nothing
│   └── QuotaError                the key has used up what it may use for now
├── ConflictError                 an undo or an edit that later changes stand against
├── StoreError                    the file under the memory
│   ├── StoreCorruptError         not a database, or damaged
│   ├── StoreReadOnlyError        opened or mounted read-only
│   ├── StoreFullError            no room left; nothing was written
│   ├── StoreBusyError            another process held the file for longer than `timeout_seconds`
│   │   └── LeaseHeldError        somebody sleeps on records of this scope already
│   ├── SchemaError               made by a newer slowwave
│   └── ServerError               the server of a memory cannot be reached, or is none
├── ModelError                    an embedder or a language model
│   ├── ModelMissingError         the model's files are not where they were said to be
│   ├── ModelBusyError            it timed out, refused for now, or cannot be reached: trying again may help
│   └── ModelMismatchError        the store holds vectors of another model
└── ExtraMissingError(ImportError)  an optional package is not installed
"""

from __future__ import annotations


class SlowwaveError(Exception):
    """Base of all errors that slowwave raises on purpose."""


class InputError(SlowwaveError, ValueError):
    """What was given cannot be used."""


class ScopeError(InputError):
    """No scope was given, or one that is not well formed. A missing scope never means "everything"."""


class FilterError(InputError):
    """A filter that does not parse; the message shows the part and the operators there are."""


class FormatError(InputError):
    """A file to import that is not in the format it was said to be in."""


class NotFoundError(SlowwaveError, KeyError):
    """No such record, operation or system, or none that this scope may see."""

    def __str__(self) -> str:  # KeyError shows repr(args[0]); people should see the sentence
        return str(self.args[0]) if self.args else ""


class AccessError(SlowwaveError):
    """Whoever asks a server may not do that, or may not reach that scope."""


class UnknownKeyError(AccessError):
    """No key was given where one is needed, or one that opens nothing (any more)."""


class QuotaError(AccessError):
    """A key has used up its quota or its rate; `retry_seconds` says when it helps to try again."""

    def __init__(self, message: str, retry_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class ConflictError(SlowwaveError):
    """An undo or an edit that later changes stand against."""


class StoreError(SlowwaveError):
    """The file (or server) under the memory."""


class StoreCorruptError(StoreError):
    """Not a database, or a damaged one."""


class StoreReadOnlyError(StoreError):
    """The store was opened, or lies on a disk that is mounted, read-only."""


class StoreFullError(StoreError):
    """No room left on the disk. The write was rolled back; nothing half-written stays."""


class StoreBusyError(StoreError):
    """Another process held the write lock for longer than `timeout_seconds`."""


class LeaseHeldError(StoreBusyError):
    """Somebody works on records of this scope already, such as sleeps on them; the message names who."""


class SchemaError(StoreError):
    """The store was made by a newer slowwave than this one."""


class ServerError(StoreError):
    """The server of a memory gave no answer, or one that is none of slowwave's."""


class ModelError(SlowwaveError):
    """An embedder or a language model."""


class ModelMissingError(ModelError):
    """The model's files are not where they were said to be."""


class ModelBusyError(ModelError):
    """The model timed out, was overloaded, or could not be reached; the same call may succeed later."""


class ModelMismatchError(ModelError):
    """The store holds vectors of another model; run `slowwave reembed`."""


class ExtraMissingError(SlowwaveError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed; run: pip install 'slowwave[{extra}]'")
