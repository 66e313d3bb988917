"""Memory: add, search, context, sleep, forget, erase, undo, history, ... Start reading here, then go down.

An utterance is taken in (`ops/intake.py`), indexed (`text/`), kept (`store/`), found again (`text/`), and at night
turned into what is known: `sleep` proposes Changes, the store applies them in one transaction, `undo` takes them back.
What each verb does, step by step, is in `verbs/`: `write.py`, `read.py`, `sleep.py`, `journal.py`, `upkeep.py`.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from slowwave.errors import InputError
from slowwave.models import resolve_embedder, resolve_llm
from slowwave.models.base import Embedder
from slowwave.models.chat import ChatModel
from slowwave.models.llm import LLM
from slowwave.ops.answering import Answered
from slowwave.ops.arguments import (
    Moment,
    count_of,
    mapping_of,
    path_of,
    positive,
    scope_and_filters,
    want_of,
    zone_named,
)
from slowwave.ops.fading import MAX_HALF_LIFE_DAYS
from slowwave.ops.intake import check_text, to_items
from slowwave.ops.packing import Context, estimate_tokens
from slowwave.ops.provenance import chosen_ids, one
from slowwave.ops.uses import Uses
from slowwave.records import (
    Engram,
    Hits,
    Item,
    Link,
    Outcome,
    Receipt,
    Report,
    Scope,
    ScopeArgs,
    scope_of,
    utc_now,
)  # fmt: skip
from slowwave.store import open_store
from slowwave.store.base import Entry, Held, Store
from slowwave.store.clock import parse_moment
from slowwave.store.filters import parse
from slowwave.text import resolve_system
from slowwave.text.base import TextSystem, no_progress
from slowwave.verbs import journal, quarantine, read, sleep, upkeep, write
from slowwave.verbs.opened import Opened
from slowwave.watch import Slept, Watch, watch

if TYPE_CHECKING:
    from slowwave.formats.arrive import Arrival
    from slowwave.promote.kv import KeyValues
    from slowwave.promote.weights import Adapter

Progress = Callable[[str, int, int], None]


class Memory(Opened):
    """A memory in one file. Every call names a scope; nothing outside it is seen or touched.

    path             the file; ":memory:" for a passing one; None takes `default_path()`
    key              what opens a server, where the path is its address ("https://..."); see `slowwave.client`
    embedder         see `slowwave.models.SPEC_HELP`; None takes the encoder that comes with the install
    llm              the language model that sleep, and reading where it is told to, may ask; see
                     `slowwave.models.LLM_HELP`; None asks none
    system           the text-form system that indexes, searches and sleeps; see `slowwave systems`
    zone             in which times without a zone are read
    half_life_days   days without use in which a record's strength halves
    clock            the present moment; for tests and replays
    readonly         search only; not even uses are noted
    timeout_seconds  how long a write waits for another process
    durable          wait for the disk at each commit, to survive a power cut and not only a kill
    vector_dtype     "int8" or "float32", for a new file
    cache_mb         memory for the vectors of scopes that are searched
    ann_from         vectors from which a scope gets an approximate index, see `build_ann`; 0 or None for never

    >>> memory = Memory(":memory:", embedder="fake")
    >>> memory.add("Ana moved to Lisbon", user_id="ana").counts
    {'ADD': 1}
    >>> memory.search("Where did Ana move?", user_id="ana", threshold=0)[0].text
    'Ana moved to Lisbon'
    """

    def __new__(cls, path: Any = None, *_: Any, **__: Any) -> Memory:
        """Where the path is the address of a server ("https://..."), its client: see `slowwave.client`."""
        if cls is Memory and isinstance(path, str) and path.startswith(("http://", "https://")):
            from slowwave.client import RemoteMemory

            return object.__new__(RemoteMemory)
        return object.__new__(cls)

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        key: str | None = None,
        embedder: str | Path | Embedder | None = None,
        llm: str | ChatModel | LLM | None = None,
        system: str | TextSystem = "default",
        zone: str | tzinfo = "UTC",
        half_life_days: float = 30.0,
        clock: Callable[[], datetime] = utc_now,
        readonly: bool = False,
        timeout_seconds: float = 60.0,
        durable: bool = True,
        vector_dtype: Literal["int8", "float32"] = "int8",
        cache_mb: int = 2048,
        ann_from: int | None = 200_000,
    ) -> None:
        self.path = path_of(path)
        if key is not None:
            raise InputError(f"a key opens a server, and {self.path!r:.80} is none; give its address, or leave key out")
        self.zone = zone_named(zone)
        self.half_life_days = positive("half_life_days", half_life_days, MAX_HALF_LIFE_DAYS)
        self.clock = clock
        self.readonly = readonly
        self.embedder = resolve_embedder(embedder)
        self.llm = resolve_llm(llm)
        self._llm_is_own = not isinstance(llm, (ChatModel, LLM))
        self.system = resolve_system(system)
        self.store: Store = open_store(
            self.path,
            readonly=readonly,
            timeout_seconds=positive("timeout_seconds", timeout_seconds),
            durable=durable,
            vector_dtype=vector_dtype,
            cache_mb=cache_mb,
            ann_from=ann_from,
        )
        self.path = self.store.path  # without a password
        self._uses = Uses(self.store)
        self._watches: builtins.list[Watch] = []
        self._key_values: dict[Any, KeyValues] = {}
        self._model_checked = False

    # -- write

    def add(
        self,
        content: Any,
        *,
        at: Moment = None,
        until: Moment = None,
        kind: str = "episode",
        speaker: str | None = None,
        session: str | None = None,
        origin: str | None = None,
        attrs: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        trusted: bool = True,
        progress: Progress = no_progress,
        **scope: Unpack[ScopeArgs],
    ) -> Report:
        """Take in a text, a message, an Item, or a list of these; says of each whether it is new (ADD) or known (NONE).

        content   "text", {"role": "user", "content": "..."}, Item(...), or a list; `at`, `speaker`, `session`, `attrs`
                  fill what an entry leaves open
        at        when it happened; ISO 8601 text, datetime, date, or seconds since 1970; left out, the present
        origin    its name in the source: adding the same origin and text again is a no-op, as is the same text alone
        trusted   False keeps apart what looks written for a model to obey (HELD, with the reason), see `held`
        raises    InputError before anything is written, if any entry cannot be used

        Long lists are written in transactions of 256: a kill in between leaves whole batches, and adding the list
        again completes it.
        """
        own = scope_of(scope)
        common = {
            "at": at,
            "until": until,
            "kind": kind,
            "speaker": speaker,
            "session": session,
            "origin": origin,
            "attrs": {**mapping_of("metadata", metadata), **mapping_of("attrs", attrs)},
        }
        items = to_items(content, common)
        return (write.take_in if trusted else quarantine.sifted)(self, items, own, "add", progress)

    def update(
        self,
        id: str,
        text: str | None = None,
        *,
        until: Moment = None,
        attrs: Mapping[str, Any] | None = None,
        reason: str = "",
        **scope: Unpack[ScopeArgs],
    ) -> Report:
        """Correct a record. A new text makes a new record that takes the old one's place; the old one stays in history.

        until  it stopped being true then
        attrs  these keys are set; None as a value takes a key away
        """
        view = self._view(scope)
        check_text(reason, "reason")
        end = None if until is None else parse_moment(until, self.zone, "until")
        return write.correct(self, view, id, text, end, mapping_of("attrs", attrs), reason)

    def link(
        self,
        source: str,
        relation: str,
        target: str,
        *,
        weight: float = 1.0,
        **scope: Unpack[ScopeArgs],
    ) -> Report:
        """Tie two records of the scope: (source, "causes", target). Tying them again changes nothing."""
        return write.tie(self, self._view(scope), Link(source, relation, target, weight))

    # -- read

    def search(
        self,
        query: str,
        *,
        top_k: int = 10,
        threshold: float | None = None,
        filters: Mapping[str, Any] | None = None,
        kinds: Sequence[str] | None = None,
        at: Moment = None,
        as_of: Moment = None,
        now: Moment = None,
        explain: bool = False,
        note_use: bool = True,
        ask: bool = False,
        **scope: Unpack[ScopeArgs],
    ) -> Hits:
        """What bears on the query, best first.

        threshold  least score in [0, 1]; None takes the calibrated default, 0 lets everything through. The best hit's
                   score is the probability that this memory holds something on the query; the others' fall from it
                   with their rank. So a query on which nothing is known gets nothing
        filters    see `slowwave.store.filters`; scope fields in it narrow, and stand in for the arguments
        at         only what was true at that moment
        as_of      only what this memory knew at that moment
        now        the moment of asking, by which "last summer" is read; the present
        explain    put each channel's score, what was degraded and what was almost returned into `hits.trace`
        note_use   count this as a use of what was found, which keeps it from fading
        ask        let the reading ask the language model (expand the query, look again, rerank), as the system does
        """
        view, cue = read.asked(
            self, query, top_k, threshold, filters, kinds, at, as_of, now, explain=explain, ask=ask, **scope
        )
        return read.find(self, view, cue, note_use)

    def context(
        self,
        query: str,
        *,
        max_tokens: int = 1000,
        count_tokens: Callable[[str], int] = estimate_tokens,
        top_k: int = 50,
        note_use: bool = True,
        form: Literal["text", "kv"] = "text",
        model: Any = None,
        joint: bool = False,
        **search: Any,
    ) -> Context:
        """Prompt-ready text on the query within a token budget: oldest first, with dates, speakers and ids.

        count_tokens  your model's counter; the default estimates
        form          "kv": also as keys and values that `model` attends to, in `.attended`; see `slowwave.promote`
        model         for "kv": a KeyValues, (model, tokenizer) of transformers, or the path of one
        joint         for "kv": as one text, exactly as in a prompt, and not as a block a record that others can share
        search        scope, filters, at, as_of, ... as for `search`
        """
        view, cue = read.asked(self, query, top_k, **search)
        keys = read.key_values(self, form, model, joint)
        return read.compose(self, view, cue, max_tokens, count_tokens, note_use, keys, joint)

    def answer(
        self,
        question: str,
        *,
        max_tokens: int = 1000,
        top_k: int = 20,
        note_use: bool = True,
        **search: Any,
    ) -> Answered:
        """A short answer by the language model from what is remembered, with what it cites; or none, and why.

        max_tokens  of memories that the model is shown
        search      scope, filters, at, as_of, now, ask, threshold, ... as for `search`

        It abstains where nothing bears on the question, where the model says that nothing answers it, and where the
        model fails; `ungrounded` names what the answer says and neither the memories nor the question do.
        raises  InputError if the memory was opened without a model
        """
        if self.llm is None:
            raise InputError("answer asks a language model, and there is none; open Memory(llm=...)")
        view, cue = read.asked(self, question, top_k, **search)
        return read.reply(self, view, cue, max_tokens, note_use)

    def get(self, id: str, **scope: Unpack[ScopeArgs]) -> Engram:
        """One record, in view or not; NotFoundError if this scope has none of that id."""
        return one(self._view(scope), id)

    def list(
        self,
        *,
        filters: Mapping[str, Any] | None = None,
        kinds: Sequence[str] | None = None,
        at: Moment = None,
        as_of: Moment = None,
        limit: int | None = 100,
        offset: int = 0,
        newest_first: bool = False,
        retired: bool = False,
        **scope: Unpack[ScopeArgs],
    ) -> Sequence[Engram]:
        """Records in the order in which they happened. `retired` shows what left the view as well."""
        own, rest = scope_and_filters(scope, filters)
        want = want_of(kinds, rest, at, as_of, self.zone, retired)
        bound = None if limit is None else count_of("limit", limit)
        if not isinstance(offset, int) or not 0 <= offset < 2**63:
            raise InputError(f"offset is {offset!r}; it must be a whole number from 0")
        return self.store.view(own).select(want, bound, offset, newest_first)

    def history(
        self,
        id: str,
        **scope: Unpack[ScopeArgs],
    ) -> Sequence[Entry]:
        """Every change to a record, its predecessors and successors, oldest first."""
        return journal.history(self._view(scope), id)

    def log(
        self,
        op: str | None = None,
        *,
        limit: int = 50,
        verb: str | None = None,
        rejected: bool = False,
        calls: bool = False,
        **scope: Unpack[ScopeArgs],
    ) -> Sequence[Any]:
        """The operations, newest first; or the journal lines of one operation, in order, with its calls of a model.

        op        one operation: `Lines`, a list of Entry with `calls` and `rejected`
        rejected  instead what a model proposed and nobody applied (SetAside): the text, the reason, model and sources
        calls     instead the calls of language models (Asked): for what, the hash of the prompt, model, tokens
        """
        return journal.log(self._view(scope), op, limit, verb, rejected, calls)

    # -- sleep

    def sleep(
        self,
        *,
        dry_run: bool = False,
        since: Moment = None,
        into: Adapter | str | Path | None = None,
        leave: Sequence[str] | None = None,
        progress: Progress = no_progress,
        **scope: Unpack[ScopeArgs],
    ) -> Report:
        """Consolidate what came since the last sleep: merge, supersede, summarise, link, weaken; one transaction.

        dry_run  propose only; the report is the same diff
        since    look again at everything recorded from that moment on, instead of since the last sleep
        into     then also teach a model what is worth keeping: an Adapter, or the TOML file of one
        leave    keys of changes that are left out, as a dry run shows them; what stands on them is left out too
        raises   LeaseHeldError, naming who it is, if somebody sleeps on records of this scope already

        What a model has answered is kept until its sources are erased: a night that was killed pays for nothing twice.
        """
        if into is not None:
            from slowwave.verbs import train

            return train.trained(self, self._view(scope), into, dry_run, since, progress, leave)
        return (sleep.rehearsal if dry_run else sleep.night)(self, self._view(scope), since, progress, leave)

    def sleep_every(
        self,
        minutes: float | None = None,
        *,
        idle_seconds: float | None = None,
        hours: str | None = None,
        new_records: int = 1,
        each: Literal["user_id", "agent_id", "run_id", "app_id"] | None = None,
        on_night: Callable[[Slept], None] | None = None,
        on_trouble: Callable[[Scope | None, Exception], None] | None = None,
        **scope: Unpack[ScopeArgs],
    ) -> Watch:
        """Sleep in the background, whenever there is something new and nobody writes, until `stop()` or `close()`.

        minutes       from the beginning of one night to that of the next, at least
        idle_seconds  begin when nothing was written to the scope for so long; 60, unless hours are given
        hours         begin inside these stretches of the day, idle or not: "02:00-05:00", "22:30-06:00,12:00-13:00"
        new_records   begin when at least so many came since the last night; 0, with minutes, sleeps without any, too
        each          sleep on every value of this field by itself, such as every user; others name what they lie in
        on_night      called after each night, in the watching thread
        on_trouble    called there with an error that may pass (a busy file, a full disk), after which it tries again

        One thread, one night at a time; processes that watch the same records take turns. A language model's budget
        begins anew each day. See `slowwave.watch.Watch` for what comes back.
        """
        calls = {"on_night": on_night, "on_trouble": on_trouble}
        given = {name: call for name, call in calls.items() if call is not None}
        self._watches.append(watch(self, minutes, idle_seconds, hours, new_records, each, scope, **given))
        return self._watches[-1].start()

    def undo(
        self,
        op: str | None = None,
        *,
        only: Sequence[str] | None = None,
        **scope: Unpack[ScopeArgs],
    ) -> Report:
        """Take back one operation, such as a whole night; None takes the last one. An undo can be undone.

        only  ids of records, or VERB:ID for one change of several: these go, and what stands and falls with them

        ConflictError if a later operation changed the same records: undo that one first. All of it or nothing.
        """
        return sleep.take_back(self, self._view(scope), op, only)

    # -- forget and erase

    def forget(
        self,
        id: str | Iterable[str] | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        subject: str | None = None,
        all: bool = False,
        reason: str = "",
        **scope: Unpack[ScopeArgs],
    ) -> Report:
        """Take records out of view, with what was derived from them alone; `undo` brings them back.

        id       one id or several
        filters  those that pass the filter
        subject  those that this name said, or that mention it
        all      everything in the scope
        """
        own, rest = scope_and_filters(scope, filters)
        check_text(reason, "reason")
        view = self.store.view(own)
        chosen = chosen_ids(view, id, parse(rest, self.zone), filters is not None, subject, all)
        return write.retire(self, view, chosen, reason)

    def erase(
        self,
        id: str | Iterable[str] | None = None,
        *,
        filters: Mapping[str, Any] | None = None,
        subject: str | None = None,
        all: bool = False,
        adapters: Literal["mark", "dampen", "retrain"] = "mark",
        progress: Progress = no_progress,
        **scope: Unpack[ScopeArgs],
    ) -> Receipt:
        """Remove records for good, with all that was derived from them, and prove it: the files' bytes are scanned.

        Chosen as in `forget`, and what left the view counts too. The receipt says what went, what was looked for in
        which files, and whether it was found. This cannot be undone.

        adapters  what becomes of weights that hold them: the snapshots are marked; or the records are dampened out of
                  the active one; or it is trained anew without them. See `slowwave.promote.weights`
        """
        from slowwave.verbs import erasing

        own, rest = scope_and_filters(scope, filters)
        chosen = erasing.Chosen(id, subject, all, filters is not None, rest)
        return erasing.erase(self, own, chosen, adapters, progress)

    # -- what is kept apart

    def held(
        self,
        *,
        limit: int = 100,
        decided: bool = False,
        **scope: Unpack[ScopeArgs],
    ) -> Sequence[Held]:
        """What `add(trusted=False)` kept apart, newest first, each with its reason; no search reads it.

        decided  also what was released or dropped; of these the text is gone from here
        """
        return self._view(scope).held(count_of("limit", limit), decided=decided)

    def release(self, id: str, **scope: Unpack[ScopeArgs]) -> Report:
        """What was kept apart becomes a record, as it was given; NotFoundError if nothing waits under that id."""
        return quarantine.release(self, self._view(scope), id)

    def drop(self, id: str, **scope: Unpack[ScopeArgs]) -> Report:
        """What was kept apart goes for good; that it came and why it was held stays in the journal."""
        return quarantine.drop(self, self._view(scope), id)

    # -- keep in order

    def stats(
        self,
        **scope: Unpack[ScopeArgs],
    ) -> dict[str, Any]:
        """Counts by kind and state, sessions, speakers, first and last time, the model and the bytes on disk."""
        view = self._view(scope)
        size = self.store.size()
        return {
            "scope": view.scope.to_dict(),
            **view.stats(),
            "embedder": self.embedder.name,
            "system": self.system.name,
            "path": self.path,
            "bytes_on_disk": sum(size.values()),
        }

    def scopes(self) -> Sequence[tuple[Scope, int]]:
        """Every scope of the file and its number of records: for its owner, not for search."""
        return self.store.scopes()

    def build_ann(self, *, progress: Progress = no_progress, **scope: Unpack[ScopeArgs]) -> str:
        """Make the approximate index of a large scope, or fold into it what came since; says what was done.

        It needs usearch (`pip install "slowwave[ann]"`) and `ann_from` vectors, and lies beside the file. "" means that
        there is nothing to do. A sleep does this as well; a search never does, and scans all vectors until it is done.
        """
        return self.store.build_ann(scope_of(scope), partial(progress, "ann"))

    def rebuild(self, *, progress: Progress = no_progress) -> int:
        """Remake all that is derived (full text, times, vectors) for every record of the file; resumes after a kill."""
        return upkeep.rebuild(self, progress)

    def reembed(self, embedder: str | Path | Embedder | None = None, *, progress: Progress = no_progress) -> int:
        """Change the embedder for good: new vectors beside the old, then a swap at once; resumes after a kill."""
        return upkeep.reembed(self, resolve_embedder(embedder), progress)

    def export(
        self,
        path: str | Path,
        *,
        format: Literal["jsonl", "markdown"] = "jsonl",
        **scope: Unpack[ScopeArgs],
    ) -> int:
        """Write the scope's records; returns how many.

        path    a file for jsonl, a folder for markdown
        format  jsonl loses nothing: what left the view, links and journal too; markdown is for reading
        """
        from slowwave.formats.leave import export

        self._uses.flush()
        return export(self._view(scope), Path(path), format)

    def import_(
        self,
        path: str | Path,
        *,
        format: str | None = None,
        dry_run: bool = False,
        rehome: bool = False,
        trusted: bool = True,
        progress: Progress = no_progress,
        **scope: Unpack[ScopeArgs],
    ) -> Arrival:
        """Take in another system's data, or slowwave's own export, which loses nothing. Importing again is a no-op.

        path     a file or a folder
        format   jsonl, chatgpt, claude, mcp-memory, mem0, messages, markdown or text; None looks at the data
        dry_run  write nothing; the report says what would be done
        rehome   what belongs to another scope becomes this one's, instead of being left out
        trusted  False keeps apart what looks written for a model to obey, see `held`; not in slowwave's own export
        """
        from slowwave.formats.arrive import arrive

        self._uses.flush()
        return arrive(self, Path(path), scope_of(scope), format, dry_run, progress, rehome, trusted)

    def backup(self, path: str | Path, *, progress: Progress = no_progress) -> int:
        """Copy the whole file while others go on writing; returns the bytes of the copy, which is a memory like any.

        path    a new file. What was written before the call is in it; to restore, put it where the memory was
        raises  InputError for a file that is there, or a memory that is none
        """
        from slowwave.store.backups import backup

        self._uses.flush()
        return backup(self.path, Path(path).expanduser(), progress)

    def check(self) -> Sequence[str]:
        """What is wrong with the file; empty if nothing is."""
        return self.store.check()

    def _hold(self, scope: Scope, items: Sequence[Item], reasons: Sequence[str]) -> Sequence[Outcome]:
        return quarantine.hold(self, scope, items, reasons)
