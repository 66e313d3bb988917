"""The command line: parse (`arguments`), call (`commands`), print (`page`).

Exit codes: 0 fine; 1 a SlowwaveError, or a check that found something; 2 not a valid command line; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from slowwave import __version__
from slowwave.cli.arguments import Parser, UsageError, common
from slowwave.cli.commands import COMMANDS
from slowwave.cli.page import Page
from slowwave.errors import SlowwaveError

EPILOG = """\
example:
  slowwave add "Ana moved to Porto" --user-id ana
  slowwave search "Where does Ana live?" --user-id ana

Every command needs a scope: at least one of --user-id, --agent-id, --run-id, --app-id, or SLOWWAVE_USER_ID, ... in
the environment. The memory is one file: --db, or SLOWWAVE_DB, or ~/.slowwave/memory.db.
`slowwave COMMAND --help` shows a command's options and an example; --json prints one JSON document.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        try:
            code = _run(words)
            sys.stdout.flush()
            return code
        except UsageError as error:
            if as_json:
                _print_error("UsageError", str(error))
            else:
                print(error, file=sys.stderr)
            return 2
        except (SlowwaveError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            if as_json:
                _print_error(type(error).__name__, str(error))
            else:
                print(f"slowwave: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            if as_json:
                _print_error("KeyboardInterrupt", "interrupted")
            else:
                print("slowwave: interrupted", file=sys.stderr)
            return 130
    except BrokenPipeError:  # `slowwave list | head` is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> Parser:
    """The whole command line; a command's own options are read off Memory when that command is used."""
    top = Parser(
        prog="slowwave",
        description="A memory engine for AI: write, read, sleep.",
        epilog=EPILOG,
        fill=common,
    )
    top.add_argument("--version", action="version", version=f"slowwave {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS.values():
        commands.add_parser(
            command.name,
            help=command.says,
            description=command.says,
            epilog=f"example:\n  {command.example}\n",
            fill=command.fill,
        )
    return top


def _run(words: list[str]) -> int:
    try:
        args = parser().parse_args(words)
    except SystemExit as stop:  # --help and --version have printed what was asked for
        return int(stop.code or 0)
    done = COMMANDS[args.command].run(args)
    if done.told:
        return done.code
    if getattr(args, "json", False):
        _print_json(done.payload)
    else:
        done.show(Page())
    return done.code


def _print_json(value: Any) -> None:
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(value, ensure_ascii=plain, indent=2, default=str))


def _print_error(kind: str, message: str) -> None:
    _print_json({"error": {"type": kind, "message": message}})
