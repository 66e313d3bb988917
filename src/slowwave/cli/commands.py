"""Every command: what it takes, which method it calls, how the answer is shown. COMMANDS at the end is the list."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.cli.arguments import Parser, common, given, options, positional, scope_args
from slowwave.cli.page import Page, entry_values, plain, record_values, steps_done, steps_proposed
from slowwave.errors import InputError, NotFoundError
from slowwave.progress import Bars
from slowwave.records import RELATIONS, Engram, Report
from slowwave.signatures import WORDS

if TYPE_CHECKING:
    from slowwave.memory import Memory

Args = argparse.Namespace


@dataclass(frozen=True, slots=True)
class Done:
    """What a command gives back: the payload for --json, how to show it to people, and the exit code.

    told  all of it was printed while it ran
    """

    payload: Any
    show: Callable[[Page], None]
    code: int = 0
    told: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `fill` adds its options, `run` does it."""

    name: str
    says: str
    example: str
    fill: Callable[[Parser], None]
    run: Callable[[Args], Done]


COMMANDS: dict[str, Command] = {}


def command(
    says: str, example: str, fill: Callable[[Parser], None], name: str = ""
) -> Callable[[Callable[[Args], Done]], Callable[[Args], Done]]:
    """Enter a function into COMMANDS under its own name, or the one given."""

    def enter(run: Callable[[Args], Done]) -> Callable[[Args], Done]:
        called = name or run.__name__
        COMMANDS[called] = Command(called, says, example, fill, run)
        return run

    return enter


def takes(method: str = "", *arguments: tuple[str, Any], also: str = "", **words: str) -> Callable[[Parser], None]:
    """What fills a parser: a method's options, those of a second one, positional arguments, and how Memory is opened.

    arguments  (name, nargs) of each positional argument
    words      help texts that take the place of the docstring's
    """

    def fill(parser: Parser) -> None:
        from slowwave.memory import Memory
        from slowwave.models import LLM_HELP, SPEC_HELP

        for name, nargs in arguments:
            function = getattr(Memory, method)
            text = positional(function, name)
            parser.add_argument(name, nargs=nargs, metavar=name.upper(), help=text)
        if method:
            options(parser, getattr(Memory, method), skip=("count_tokens", "form", "model", "joint"), words=words)
        if also:
            skip = tuple(inspect.signature(getattr(Memory, method)).parameters)
            options(parser, getattr(Memory, also), skip=skip)
        common(parser)
        group = parser.add_argument_group("how it is opened")
        options(group, Memory, skip=("path", "clock", "key"), words={"embedder": SPEC_HELP, "llm": LLM_HELP})

    return fill


@contextmanager
def opened(args: Args, create: bool = False) -> Iterator[Memory]:
    """The memory that the command line names; only a command that writes makes a new file."""
    from slowwave.memory import Memory
    from slowwave.ops.arguments import default_path
    from slowwave.store import is_url

    named = getattr(args, "db", None) or default_path()
    path = named if is_url(named) else Path(named).expanduser()
    if not create and isinstance(path, Path) and not path.exists():
        raise NotFoundError(f"there is no memory at {path}; put something in with slowwave add, or name it with --db")
    own = ("path", "key")  # of import and export, of keys: the command's own
    chosen = {name: value for name, value in given(args, Memory).items() if name not in own}
    with Memory(path, **chosen) as memory:
        yield memory


def known(memory: Memory, scope: Mapping[str, Any], ids: Sequence[str]) -> Mapping[str, Engram]:
    """The records of these ids that the scope may see."""
    from slowwave.records import scope_of

    return memory.store.view(scope_of(scope)).get(list(dict.fromkeys(ids)))


def diff(memory: Memory, scope: Mapping[str, Any], report: Report, done: str, nothing: str) -> Done:
    """A report of changes, shown as lines with the texts before and after."""
    if report.op is None:
        ends = [end for change in report for link in change.links for end in (link.source, link.target)]
        proposed = {change.engram.id: change.engram for change in report if change.engram is not None}
        steps = steps_proposed(list(report), {**known(memory, scope, [*report.ids, *ends]), **proposed})
    else:
        entries = memory.log(report.op, **scope)
        ends = [end for entry in entries for link in entry.links for end in (link.source, link.target)]
        steps = steps_done(entries, known(memory, scope, [*(entry.engram for entry in entries), *ends]))

    def show(page: Page) -> None:
        for step in steps:
            page.step(step)
        for note in report.notes:
            page.line((note, "yellow"))
        if not steps:
            page.line(nothing)
            return
        counts = ", ".join(f"{count} {verb}" for verb, count in sorted(report.counts.items()))
        page.line((f"{done}: ", "bold"), counts, (f"  ({report.seconds:.2f} s)" if report.seconds else "", "dim"))
        if report.op:
            page.line((f"take it back with: slowwave undo {report.op}", "dim"))

    return Done(report.to_dict(), show)


def text_given(args: Args) -> str:
    """The text to add: from --file, from the arguments, or from standard input (`-`)."""
    words: list[str] = args.content
    if file := getattr(args, "file", None):
        if words:
            raise InputError(f"both a text and --file {file} were given; give one of them")
        raw, name = Path(file).expanduser().read_bytes(), str(file)
    elif words == ["-"] or (not words and not sys.stdin.isatty()):
        raw, name = sys.stdin.buffer.read(), "standard input"
    elif words:
        return " ".join(words)
    else:
        raise InputError('there is no text to add; write slowwave add "TEXT", or - for standard input, or --file FILE')
    try:
        return raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 at byte {error.start}; convert it first") from error


def fill_add(parser: Parser) -> None:
    """The text as an argument, from standard input or from a file."""
    parser.add_argument("content", nargs="*", default=[], metavar="TEXT", help="the text, or - for standard input")
    parser.add_argument("--file", metavar="FILE", help="take the text of this file, as one record")
    takes("add", at="when it happened, as ISO 8601 text such as 2023-05-08T14:03+02:00; left out, the present")(parser)


@command("take in a text", 'slowwave add "Ana moved to Porto" --at 2023-05-08 --speaker Ana --user-id ana', fill_add)
def add(args: Args) -> Done:
    scope, text = scope_args(args), text_given(args)
    with opened(args, create=True) as memory, Bars() as bars:
        report = memory.add(text, progress=bars, **given(args, memory.add), **scope)

    def show(page: Page) -> None:
        for outcome in report:
            style = "green" if outcome.event == "ADD" else "yellow"
            page.line((f"{outcome.event:<6} ", style), (f"{outcome.id}  ", "dim"), page.short(outcome.memory),
                      (f"  ({outcome.reason})" if outcome.reason else "", "dim"))  # fmt: skip

    return Done(report.to_dict(), show)


@command(
    "find what bears on a question",
    'slowwave search "Where does Ana live?" --user-id ana',
    takes("search", ("query", "+"), filters=WORDS["filters"]),
)
def search(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        hits = memory.search(" ".join(args.query), **given(args, memory.search), **scope)

    def show(page: Page) -> None:
        explain = bool(getattr(args, "explain", False))
        for hit in hits:
            page.hit(hit, explain)
        if not hits:
            page.line("nothing on that")
        for name, value in hits.trace.items() if explain else ():
            page.line((f"{name}: ", "dim"), plain(value))

    return Done(hits.to_dict(), show)


@command(
    "prompt-ready text on a question, within a token budget",
    'slowwave context "Where does Ana live?" --max-tokens 200 --user-id ana',
    takes("context", ("query", "+"), also="search"),
)
def context(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        asked = {**given(args, memory.context), **given(args, memory.search)}
        found = memory.context(" ".join(args.query), **asked, **scope)
    return Done(found.to_dict(), lambda page: page.lines(found.text or "nothing on that"))


def fill_sleep(parser: Parser) -> None:
    """One night's options, and those of a watch."""
    from slowwave.cli.nights import fill_sleep

    fill_sleep(parser)


@command("consolidate what came since the last sleep", "slowwave sleep --dry-run --user-id ana", fill_sleep)
def sleep(args: Args) -> Done:
    from slowwave.cli.nights import one_night, watched

    if getattr(args, "watch", False):
        return watched(args)
    one_night(args)
    scope = scope_args(args)
    with opened(args) as memory:
        with Bars() as bars:
            report = memory.sleep(progress=bars, **given(args, memory.sleep), **scope)
        done = "would change" if getattr(args, "dry_run", False) else "changed"
        shown = diff(memory, scope, report, done, "nothing to change")
        if report.trained is None:
            return shown
        from slowwave.cli.adapters import taught

        return taught(shown, report.trained)


@command("take back the last operation, or the one named", "slowwave undo --user-id ana", takes("undo", ("op", "?")))
def undo(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        report = memory.undo(getattr(args, "op", None), **scope)
        return diff(memory, scope, report, "undone", "nothing had to change")


@command("the operations, newest first, or the changes of one", "slowwave log --user-id ana", takes("log", ("op", "?")))
def log(args: Args) -> Done:
    from slowwave.cli.nights import logged

    scope = scope_args(args)
    with opened(args) as memory:
        return logged(memory, args, scope)


def journal(memory: Memory, scope: Mapping[str, Any], entries: Sequence[Any]) -> Done:
    """Lines of the journal, in the order given."""
    ends = [end for entry in entries for link in entry.links for end in (link.source, link.target)]
    steps = steps_done(entries, known(memory, scope, [*(entry.engram for entry in entries), *ends]))

    def show(page: Page) -> None:
        op = ""
        for entry, step in zip(entries, steps, strict=True):
            if entry.op != op:
                op = entry.op
                page.line((f"{entry.recorded:%Y-%m-%d %H:%M}  {entry.operation}  {op}", "cyan"))
            page.step(step)

    return Done({"results": [entry_values(entry) for entry in entries]}, show)


@command("records in the order in which they happened", "slowwave list --limit 20 --user-id ana", takes("list"), "list")
def list_(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        found = memory.list(**given(args, memory.list), **scope)

    def show(page: Page) -> None:
        for engram in found:
            page.record(engram)
        if not found:
            page.line("no records")

    return Done({"results": [record_values(engram) for engram in found]}, show)


@command("one record with all its fields", "slowwave get ID --user-id ana", takes("get", ("id", None)))
def get(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        engram = memory.get(args.id, **scope)

    def show(page: Page) -> None:
        page.lines(engram.text)
        values = {name: value for name, value in engram.to_dict().items() if value not in (None, [], {})}
        page.pairs({name: value for name, value in values.items() if name != "text"})

    return Done(record_values(engram), show)


@command("every change to a record, oldest first", "slowwave history ID --user-id ana", takes("history", ("id", None)))
def history(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        return journal(memory, scope, memory.history(args.id, **scope))


@command(
    "correct a record; the old text stays in its history",
    'slowwave update ID "Ana moved to Lisbon" --user-id ana',
    takes("update", ("id", None), ("text", "?")),
)
def update(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        report = memory.update(args.id, getattr(args, "text", None), **given(args, memory.update), **scope)

    def show(page: Page) -> None:
        for outcome in report:
            page.line((f"{outcome.event:<6} ", "yellow"), (f"{outcome.id}  ", "dim"), page.short(outcome.memory),
                      (f"  ({outcome.reason})" if outcome.reason else "", "dim"))  # fmt: skip

    return Done(report.to_dict(), show)


def fill_link(parser: Parser) -> None:
    """Two records and the tie between them."""
    parser.add_argument("source", metavar="SOURCE", help="id of a record")
    parser.add_argument("relation", metavar="RELATION", help=", ".join(RELATIONS), choices=RELATIONS)
    parser.add_argument("target", metavar="TARGET", help="id of a record")
    takes("link")(parser)


@command("tie two records", "slowwave link ID causes OTHER --user-id ana", fill_link)
def link(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        report = memory.link(args.source, args.relation, args.target, **given(args, memory.link), **scope)
        return diff(memory, scope, report, "tied", "they were tied already")


@command(
    "take records out of view; undo brings them back", "slowwave forget ID --user-id ana", takes("forget", ("id", "*"))
)
def forget(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        report = memory.forget(getattr(args, "id", None) or None, **given(args, memory.forget), **scope)
        return diff(memory, scope, report, "forgotten", "nothing to forget")


def fill_erase(parser: Parser) -> None:
    """What to erase, and whether to ask."""
    takes("erase", ("id", "*"))(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


@command(
    "remove records for good, with all that was made from them, and prove it",
    "slowwave erase --subject Ana --yes --user-id ana",
    fill_erase,
)
def erase(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        chosen = given(args, memory.erase)
        ids = getattr(args, "id", None) or None
        if not getattr(args, "yes", False):
            confirm(memory, scope, ids, chosen)
        with Bars() as bars:
            receipt = memory.erase(ids, progress=bars, **chosen, **scope)

    def show(page: Page) -> None:
        page.line((f"erased {len(receipt.ids)} records for good", "bold"))
        page.pairs(
            {"rows": dict(receipt.counts), "looked for": f"{receipt.needles} pieces of their texts",
             "in": dict(receipt.files), "sha256": receipt.sha256}
        )  # fmt: skip
        if receipt.clean:
            page.line(("nothing of them is left in the files", "green"))
        for piece in receipt.found:
            page.line((f"still there: {piece}", "bold red"))
        for said in receipt.unlearned:
            page.line((f"weights: {said}", "yellow"))
        for one in receipt.adapters:
            page.line((f"trained weights hold it still: snapshot {one}; see: slowwave adapters", "bold red"))

    return Done(receipt.to_dict(), show, code=0 if receipt.clean else 1)


def confirm(memory: Memory, scope: Mapping[str, Any], ids: Any, chosen: Mapping[str, Any]) -> None:
    """Ask on the terminal before anything is erased; InputError where there is nobody to ask, or the answer is no."""
    from slowwave.ops.provenance import chosen_ids, descendants
    from slowwave.records import scope_of
    from slowwave.store.filters import parse

    view = memory.store.view(scope_of(scope))
    filters = chosen.get("filters")
    subject, everything = chosen.get("subject"), bool(chosen.get("all"))
    found = chosen_ids(view, ids, parse(filters, memory.zone), filters is not None, subject, everything, retired=True)
    doomed = descendants(view, found)
    if not sys.stdin.isatty():
        raise InputError(f"erase would remove {len(doomed)} records for good; nobody can be asked here, so add --yes")
    page = Page()
    for engram in doomed[:10]:
        page.record(engram)
    if len(doomed) > 10:
        page.line(f"... and {len(doomed) - 10} more")
    if input(f"Erase these {len(doomed)} records for good? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("nothing was erased")


@command(
    "take in another system's data, or a slowwave export", "slowwave import notes/ --user-id ana",
    takes("import_", ("path", None)), "import",
)  # fmt: skip
def import_(args: Args) -> Done:
    scope = scope_args(args)
    dry_run = bool(getattr(args, "dry_run", False))
    with opened(args, create=True) as memory, Bars() as bars:
        report = memory.import_(args.path, progress=bars, **given(args, memory.import_), **scope)

    def show(page: Page) -> None:
        page.lines(report.summary())
        if dry_run:
            page.line(("nothing was written (--dry-run)", "yellow"))

    return Done(report.to_dict(), show)


@command("write the scope's records to a file or folder", "slowwave export ana.jsonl --user-id ana",
         takes("export", ("path", None)))  # fmt: skip
def export(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        chosen = given(args, memory.export)
        count = memory.export(args.path, **chosen, **scope)
    values = {"path": args.path, "records": count}
    return Done(values, lambda page: page.line(f"wrote {count} records to {args.path}"))


@command("counts, times and bytes of the scope", "slowwave stats --user-id ana", takes("stats"))
def stats(args: Args) -> Done:
    scope = scope_args(args)
    with opened(args) as memory:
        values = memory.stats(**scope)
    return Done(values, lambda page: page.pairs(values))


@command("every scope of the file and its number of records", "slowwave scopes", takes("scopes"))
def scopes(args: Args) -> Done:
    with opened(args) as memory:
        rows = memory.scopes()

    def show(page: Page) -> None:
        for scope, count in rows:
            page.line((f"{count:>8}  ", "cyan"), str(scope))

    return Done({"results": [{"scope": scope.to_dict(), "records": count} for scope, count in rows]}, show)


@command("remake all that is derived: full text, times, vectors", "slowwave rebuild", takes("rebuild"))
def rebuild(args: Args) -> Done:
    with opened(args) as memory, Bars() as bars:
        count = memory.rebuild(progress=bars)
    return Done({"records": count}, lambda page: page.line(f"rebuilt {count} records"))


BUILD_ANN = "slowwave build-ann --user-id ana"


@command("make the approximate index of a large scope", BUILD_ANN, takes("build_ann"), "build-ann")
def build_ann(args: Args) -> Done:
    with opened(args) as memory, Bars() as bars:
        said = memory.build_ann(progress=bars, **scope_args(args))
    return Done({"done": said}, lambda page: page.line(said or "nothing to do"))


def fill_reembed(parser: Parser) -> None:
    """The new embedder as an argument; how the file is opened does not matter here."""
    parser.add_argument("to", metavar="NEW", nargs="?", default=None, help="the new embedder, as for --embedder")
    takes()(parser)


@command("change the embedder for good; resumes after a kill", "slowwave reembed minilm", fill_reembed)
def reembed(args: Args) -> Done:
    with opened(args) as memory, Bars() as bars:
        count = memory.reembed(args.to, progress=bars)
        name = memory.embedder.name

    def show(page: Page) -> None:
        page.line(f"{count} records have vectors of {name} now")
        if args.to not in (None, "minilm"):
            page.line((f"from now on give --embedder {args.to}, or set SLOWWAVE_EMBED_MODEL={args.to}", "yellow"))

    return Done({"records": count, "embedder": name}, show)


@command("look for anything wrong with the file; exit code 1 if there is", "slowwave check", takes("check"))
def check(args: Args) -> Done:
    with opened(args) as memory:
        problems = list(memory.check())

    def show(page: Page) -> None:
        for problem in problems:
            page.line((problem, "red"))
        if not problems:
            page.line(("nothing is wrong", "green"))

    return Done({"problems": problems}, show, code=1 if problems else 0)


import slowwave.cli.adapters  # noqa: E402  enters slowwave adapters
import slowwave.cli.instruments  # noqa: E402  enters slowwave probe
import slowwave.cli.moving  # noqa: E402  enters migrate, worker and jobs
import slowwave.cli.serving  # noqa: E402  enters serve and keys
import slowwave.cli.showcase  # noqa: E402, F401  enters the commands that need no memory
