"""Commands of a store that many share: move one into another, work through the jobs, look at them."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from slowwave.cli.arguments import Parser, UsageError, scope_args
from slowwave.cli.commands import Args, Done, command, opened, takes
from slowwave.cli.page import Page
from slowwave.errors import InputError
from slowwave.progress import Bars

if TYPE_CHECKING:
    from slowwave.serve.jobs import Job
    from slowwave.store.sql_store import SqlStore


def fill_migrate(parser: Parser) -> None:
    """From where to where."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("source", metavar="SOURCE", help="a memory's file, or its postgresql:// URL; it stays as it is")
    parser.add_argument("target", metavar="TARGET", help="a new file, or the URL of a new database or ?tenant=")


@command(
    "move a whole memory between SQLite and PostgreSQL; verified, resumes after a kill",
    "slowwave migrate ana.db postgresql://host/memory",
    fill_migrate,
)
def migrate(args: Args) -> Done:
    from slowwave.store.transfer import migrate as move

    with closing(whole_store(args.source, True)) as source, closing(whole_store(args.target)) as target, Bars() as bars:
        moved = move(source, target, bars)
    values = {"rows": moved.rows, "checksum": moved.checksum}

    def show(page: Page) -> None:
        page.line((f"moved {moved.rows['engrams']} records, {sum(moved.rows.values())} rows in all", "bold"))
        page.line((f"both sides have the checksum {moved.checksum}", "green"))

    return Done(values, show)


def whole_store(path: str, readonly: bool = False) -> SqlStore:
    """A store without a memory over it."""
    from slowwave.store import open_store
    from slowwave.store.sql_store import SqlStore

    store = open_store(path, readonly=readonly)
    if not isinstance(store, SqlStore):
        raise InputError(f"{path} is neither a memory's file nor a postgresql:// URL")
    return store


def fill_worker(parser: Parser) -> None:
    """How many at once, and when the silent are given up."""
    takes()(parser)
    group = parser.add_argument_group("the worker")
    group.add_argument("--threads", type=int, default=2, help="jobs at once, each of another user (default: 2)")
    group.add_argument("--once", action="store_true", help="end when the line is empty")
    group.add_argument("--heartbeat-seconds", type=float, default=5.0, help="between signs of life (default: 5)")
    group.add_argument(
        "--stalled-seconds", type=float, default=30.0,
        help="without a sign of life, after which another takes its jobs over (default: 30)",
    )  # fmt: skip


@command("do the jobs of a memory in PostgreSQL", "slowwave worker --db postgresql://host/memory", fill_worker)
def worker(args: Args) -> Done:
    from slowwave.serve.postgres_jobs import Worker

    as_json, page, done = bool(getattr(args, "json", False)), Page(), 0

    def told(job: Job) -> None:
        nonlocal done
        done += 1
        if as_json:
            sys.stdout.write(json.dumps(job.to_dict()) + "\n")
        else:
            page.line(line_of(job))
        sys.stdout.flush()

    with opened(args, create=True) as memory:
        working = Worker(memory, args.threads, args.heartbeat_seconds, args.stalled_seconds, told)
        print(f"slowwave: working on {memory.path}", file=sys.stderr, flush=True)
        working.run(wait=not getattr(args, "once", False))
    return Done({"jobs": done}, lambda page: None, told=True)


def fill_jobs(parser: Parser) -> None:
    """The action, and what it is about."""
    parser.add_argument(
        "action", nargs="?", default="list", choices=("list", "show", "sleep", "reembed", "cancel"),
        help="show all, or one; put a sleep or a reembed in line; cancel one (default: list)",
    )  # fmt: skip
    parser.add_argument("job", nargs="?", default=None, metavar="ID",
                        help="with show and cancel: the job's id; with reembed: the new embedder")  # fmt: skip
    takes()(parser)
    parser.add_argument("--limit", type=int, default=100, help="jobs shown, newest first (default: 100)")


@command(
    "see, start and cancel jobs of a memory in PostgreSQL", "slowwave jobs --db postgresql://host/memory", fill_jobs
)
def jobs(args: Args) -> Done:
    from slowwave.serve.postgres_jobs import PostgresJobs

    if args.action in ("show", "cancel") and args.job is None:
        raise UsageError(f"slowwave jobs: {args.action} needs a job's id; see: slowwave jobs")
    scope = scope_args(args) if args.action == "sleep" else {}
    with opened(args) as memory:
        line = PostgresJobs(memory)
        if args.action == "list":
            found = line.list(args.limit)
        elif args.action == "show":
            one = line.get(args.job)
            if one is None:
                raise InputError(f"there is no job {args.job!r:.60}; see: slowwave jobs")
            found = [one]
        elif args.action == "cancel":
            found = [line.cancel(args.job)]
        elif args.action == "reembed":
            found = [line.start("reembed", None, {"embedder": args.job}, "")]
        else:
            from slowwave.records import scope_of

            found = [line.start("sleep", scope_of(scope), {}, "")]

    def show(page: Page) -> None:
        for job in found:
            page.line(line_of(job))

    values: dict[str, Any] = {"results": [job.to_dict() for job in found]}
    return Done(values, show)


def line_of(job: Job) -> str:
    """A job on one line."""
    far = f" {job.stage} {job.done}/{job.total}" if job.state == "running" and job.stage else ""
    why = f": {job.error['message']}" if job.error else ""
    outcome = " ".join(f"{name}={value}" for name, value in (job.result or {}).items())
    return (
        f"{job.id}  {job.created:%Y-%m-%d %H:%M:%S}  {job.state}{far}  {job.verb} {job.scope} {outcome}{why}".rstrip()
    )
