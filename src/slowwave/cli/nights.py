"""Commands about nights: sleeping in the background, and the log with the calls of models and what was turned down."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from slowwave.cli.arguments import Parser, UsageError, given, options, positional, scope_args, variable
from slowwave.cli.commands import Args, Done, journal, opened, takes
from slowwave.cli.page import Page, day, entry_values
from slowwave.records import SCOPE_FIELDS, Call, Rejected

if TYPE_CHECKING:
    from slowwave.memory import Memory
    from slowwave.store.base import Asked, Lines, SetAside
    from slowwave.watch import Slept

CALLBACKS = ("on_night", "on_trouble")


# -- sleeping in the background


def fill_sleep(parser: Parser) -> None:
    """One night's options, and those of `--watch`."""
    from slowwave.memory import Memory

    takes("sleep")(parser)
    group = parser.add_argument_group("sleeping in the background")
    group.add_argument(
        "--watch", action="store_true", help="go on until SIGINT or SIGTERM, and print a line for each night"
    )
    minutes = positional(Memory.sleep_every, "minutes")
    group.add_argument("--minutes", type=float, metavar="MINUTES", help=f"with --watch: {minutes}")
    options(group, Memory.sleep_every, skip=CALLBACKS)


def one_night(args: Args) -> None:
    """What is for a watch alone was not given; UsageError if it was."""
    from slowwave.memory import Memory

    for name in given(args, Memory.sleep_every) | ({"minutes": None} if hasattr(args, "minutes") else {}):
        raise UsageError(f"slowwave sleep: --{name.replace('_', '-')} is for sleeping in the background; add --watch")


def watched(args: Args) -> Done:
    """Nights until a signal ends it; each is told when it was slept, as a line or as one line of JSON."""
    for name in ("dry_run", "since", "into", "leave"):
        if getattr(args, name, None):
            raise UsageError(f"slowwave sleep: --{name.replace('_', '-')} is for one night; leave --watch out")
    as_json, page = bool(getattr(args, "json", False)), Page()

    def night(slept: Slept) -> None:
        if as_json:
            sys.stdout.write(json.dumps(slept.to_dict()) + "\n")
        else:
            page.line(slept.line())
        sys.stdout.flush()

    def trouble(scope: Any, error: Exception) -> None:
        print(f"slowwave: {scope or 'all'}: {error}; trying again", file=sys.stderr, flush=True)

    scope = watched_scope(args)
    with opened(args, create=True) as memory, ended_by_signals():
        chosen = {**given(args, memory.sleep_every), **({"minutes": args.minutes} if hasattr(args, "minutes") else {})}
        watch = memory.sleep_every(**chosen, on_night=night, on_trouble=trouble, **scope)
        what = f"each {args.each} " if hasattr(args, "each") else ""
        named = " ".join(f"{name}={value}" for name, value in scope.items())
        print(f"slowwave: watching {what}{named or 'of the file'} in {memory.path}", file=sys.stderr, flush=True)
        try:
            watch.wait()
        except KeyboardInterrupt:
            watch.stop()
    return Done({"nights": watch.nights}, lambda page: None, told=True)


def watched_scope(args: Args) -> dict[str, Any]:
    """The scope to watch; with --each it may be left open, and the environment does not name the field it goes over."""
    each = getattr(args, "each", None)
    if each is None:
        return scope_args(args)
    found = {name: getattr(args, name, None) for name in SCOPE_FIELDS}
    found |= {name: os.environ.get(variable(name)) for name in SCOPE_FIELDS if found[name] is None and name != each}
    return {name: value for name, value in found.items() if value}


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl-C does."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# -- the log


def logged(memory: Memory, args: Args, scope: Mapping[str, Any]) -> Done:
    """The operations; or one of them; or calls of models, or what was turned down."""
    rows: Sequence[Any] = memory.log(getattr(args, "op", None), **given(args, memory.log), **scope)
    if getattr(args, "calls", False):
        return called(rows)
    if getattr(args, "rejected", False):
        return turned_down(rows)
    if getattr(args, "op", None) is not None:
        return one_operation(memory, scope, rows)  # type: ignore[arg-type]

    def show(page: Page) -> None:
        for row in rows:
            undone = f"  undone by {row['undone_by']}" if row["undone_by"] else ""
            asked = f", {row['calls']} calls of {row['model'] or 'a model'}" if row["calls"] else ""
            aside = f", {row['rejected']} turned down" if row["rejected"] else ""
            page.line((f"{row['op']}  ", "dim"), (f"{row['recorded'][:16].replace('T', ' ')}  ", "cyan"),
                      (f"{row['verb']:<8}", "bold"), f" {row['changes']} changes{asked}", (aside, "yellow"),
                      (undone, "red"))  # fmt: skip
        if not rows:
            page.line("nothing was done here yet")

    return Done({"results": list(rows)}, show)


def one_operation(memory: Memory, scope: Mapping[str, Any], lines: Lines) -> Done:
    """The changes of one operation, then what it asked of a model, then what it turned down."""
    changes = journal(memory, scope, lines)

    def show(page: Page) -> None:
        changes.show(page)
        if not lines:
            page.line("it changed nothing")
        for call in lines.calls:
            show_call(page, call)
        for aside in lines.rejected:
            show_rejected(page, aside)

    values = {
        "results": [entry_values(entry) for entry in lines],
        "calls": [call.to_dict() for call in lines.calls],
        "rejected": [aside.to_dict() for aside in lines.rejected],
    }
    return Done(values, show)


def called(rows: Sequence[Asked]) -> Done:
    """Calls of language models."""

    def show(page: Page) -> None:
        for row in rows:
            show_call(page, row.call, f"{day(row.recorded)}  ", row.op)
        page.line(f"{len(rows)} calls" if rows else "no language model was asked here")

    return Done({"results": [{**head(row), **row.call.to_dict()} for row in rows]}, show)


def turned_down(rows: Sequence[SetAside]) -> Done:
    """What a model proposed and nobody applied."""

    def show(page: Page) -> None:
        for row in rows:
            show_rejected(page, row.rejected, f"{day(row.recorded)}  ", row.op)
        if not rows:
            page.line("nothing was turned down here")

    return Done({"results": [{**head(row), **row.rejected.to_dict()} for row in rows]}, show)


def head(row: Asked | SetAside) -> dict[str, Any]:
    """Which operation, and when."""
    return {"op": row.op, "recorded": row.recorded.isoformat()}


def show_call(page: Page, call: Call, when: str = "", op: str = "") -> None:
    """A call as one line: for what, of which model, the prompt's hash, tokens in and out, seconds."""
    cost = "from the cache" if call.cached else f"{call.seconds:.2f} s"
    page.line((when, "cyan"), (f"{call.operation:<10} ", "bold"), f"{call.model}  {call.tokens_in} tokens in, "
              f"{call.tokens_out} out, {cost}", (f"  {call.prompt[:16] or 'erased'}", "dim"),
              (f"  {call.problem}", "red") if call.problem else "", (f"  {op}", "dim") if op else "")  # fmt: skip


def show_rejected(page: Page, aside: Rejected, when: str = "", op: str = "") -> None:
    """A proposal as two lines: its text; then why it was turned down, whose it was and from what it was made."""
    page.line((when, "cyan"), (f"{aside.operation:<10} ", "bold"), (f"“{page.short(aside.text)}”", "red"))
    whose = f"  {aside.model}" if aside.model else ""
    made = f"  from {', '.join(aside.sources)}" if aside.sources else ""
    page.line((f"{'':<10} {aside.reason}{whose}{made}{f'  {op}' if op else ''}", "dim"))
