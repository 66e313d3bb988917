"""What every verb stands on: the store, the models and the clock of a memory that is open, and letting them go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from slowwave.errors import InputError
from slowwave.models.base import Embedder
from slowwave.models.llm import LLM
from slowwave.ops.acting import acting_for
from slowwave.ops.uses import Uses
from slowwave.records import Scope, ScopeArgs, scope_of
from slowwave.store.base import Operation, Store, View
from slowwave.store.ids import new_id
from slowwave.text.base import TextSystem

if TYPE_CHECKING:
    from slowwave.promote.kv import KeyValues
    from slowwave.watch import Watch


class Opened:
    """The parts of a Memory, which its constructor fills in; the verbs are in `memory.py`."""

    path: str
    zone: tzinfo
    half_life_days: float
    clock: Callable[[], datetime]
    readonly: bool
    embedder: Embedder
    llm: LLM | None
    system: TextSystem
    store: Store
    _llm_is_own: bool
    _uses: Uses
    _watches: list[Watch]
    _key_values: dict[Any, KeyValues]
    _model_checked: bool

    def close(self) -> None:
        """End what sleeps in the background, write the noted uses and let the file go."""
        try:
            while self._watches:
                self._watches.pop().stop()
        finally:
            self._uses.flush()
            self.store.close()
            if self._llm_is_own and self.llm is not None:
                self.llm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _view(self, scope: ScopeArgs) -> View:
        return self.store.view(scope_of(scope))

    def _now(self) -> datetime:
        now = self.clock()
        if now.tzinfo is None:
            raise InputError(f"the clock gave {now}, without a zone; give a clock of aware times")
        return now.astimezone(UTC)

    def _operation(self, verb: str, scope: Scope, now: datetime, params: Mapping[str, Any], **more: Any) -> Operation:
        params = {**params, **acting_for()}
        return Operation(new_id(), verb, scope, now, system=self.system.name, params=params, **more)

    def _check_model(self) -> None:
        if not self._model_checked:
            self.store.set_model(self.embedder.name, self.embedder.dim)
            self._model_checked = True
