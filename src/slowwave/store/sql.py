"""What the SQL of both databases shares: one text of each statement, a dialect for what they spell apart, connections.

Statements are written once, with `?` for a value, and run on SQLite and on PostgreSQL alike. Where the two have no
common form, the `Dialect` gives the piece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from slowwave.records import Scope

Compiled = tuple[str, list[Any]]
SQL_ORDER = {"eq": "=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Rows(Protocol):
    """What a statement gives back."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Any: ...


class Session(Protocol):
    """A connection within a transaction."""

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Rows: ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]], /) -> Any: ...


class Dialect(ABC):
    """What one database spells in its own way.

    each_number, each_text  a list given as one value, as a table `j (value)`
    ordered                 a join whose left side is read first, with ON
    least                   the smaller of two values
    own                     what stands before the columns that are unique for one owner of the database
    clashes                 what it raises where a row is there already
    """

    each_number: ClassVar[str]
    each_text: ClassVar[str]
    ordered: ClassVar[str]
    least: ClassVar[str]
    own: ClassVar[str]
    clashes: ClassVar[tuple[type[Exception], ...]]

    @abstractmethod
    def listed(self, values: Iterable[Any]) -> Any:
        """Many values as one, for `among`, `each_number` and `each_text`."""

    @abstractmethod
    def among(self, expression: str) -> str:
        """The condition that an expression is one of a list of values."""

    @abstractmethod
    def using(self, index: str) -> str:
        """Names the index that a table is to be read by; "" where the database does not take such advice."""

    @abstractmethod
    def locked(self) -> str:
        """At the end of a SELECT whose rows are about to be changed."""

    @abstractmethod
    def found_in(self, whole: str, part: str) -> str:
        """The condition that a text holds a part."""

    @abstractmethod
    def names(self, text: str) -> str:
        """The part of a text that stands before its first colon; all of it if there is none."""

    @abstractmethod
    def holds(self, expression: str, whatever_case: bool, value: str) -> Compiled:
        """Whether a column of texts holds a part."""

    @abstractmethod
    def attr_is(self, name: str, kind: str) -> Compiled:
        """Whether an attribute is "present", "absent", "true" or "false"."""

    @abstractmethod
    def attr_compares(self, name: str, operator: str, value: str | int | float) -> Compiled:
        """Whether an attribute of the value's type stands to it as an operator of SQL_ORDER says."""

    @abstractmethod
    def attr_holds(self, name: str, whatever_case: bool, value: str) -> Compiled:
        """Whether an attribute is a text with this part, or a list with this member."""


class Connections(ABC):
    """The ways to one database, errors in our words."""

    path: str
    readonly: bool
    dialect: Dialect

    @abstractmethod
    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows of a statement."""

    @abstractmethod
    def stamp(self) -> object:
        """Equal to an earlier one of this thread if nothing was written in between, by whomever."""

    @abstractmethod
    def write(self, scope: Scope | None = None) -> AbstractContextManager[Session]:
        """A transaction, committed whole or rolled back whole, that no other may overlap.

        scope  what it writes to; others may write to scopes with which it has no record in common. None: to everything
        """

    @abstractmethod
    def note(self) -> AbstractContextManager[Session]:
        """A transaction of what may be lost in a power cut: it survives a kill, and does not wait for the disk."""

    @abstractmethod
    def snapshot(self, scope: Scope) -> AbstractContextManager[None]:
        """A transaction that only reads, on this thread: what is read inside is of one moment."""

    @abstractmethod
    def now(self) -> int:
        """Microseconds since 1970 by the clock that all who use this database share."""

    @abstractmethod
    def horizon(self, scope: Scope) -> int | None:
        """The row number up to which all rows of a scope are to be seen; None if that is all there are.

        Where two transactions write at once, the later row may be there before the earlier one.
        """

    @abstractmethod
    def close(self) -> None:
        """Close every connection of this process."""


@dataclass(frozen=True, slots=True)
class Model:
    """An embedder as the store knows it: row number, name, width, and how its vectors are kept."""

    n: int
    name: str
    dim: int
    dtype: Any


def get_meta(read: Any, key: str) -> str | None:
    """A value of `meta`."""
    rows = read("SELECT value FROM meta WHERE key = ?", (key,))
    return None if not rows else str(rows[0][0])


def put_meta(session: Session, key: str, value: str) -> None:
    """Set a value of `meta`, in a transaction that writes to everything."""
    session.execute("DELETE FROM meta WHERE key = ?", (key,))
    session.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
