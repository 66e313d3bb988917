"""Options of a command, read off the signature and the docstring of the method that it calls: no default twice."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

from slowwave.errors import ScopeError
from slowwave.records import SCOPE_FIELDS
from slowwave.signatures import WORDS, told

Scalar = Callable[[str], Any]


class UsageError(Exception):
    """The command line cannot be read; exit code 2."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose options are filled in when it is used: `slowwave --help` loads no command's code."""

    def __init__(self, *args: Any, fill: Callable[[Parser], None] | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", _formatter)
        kwargs.setdefault("argument_default", argparse.SUPPRESS)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self._fill = fill

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message}; see: {self.prog} --help")


def _formatter(prog: str) -> argparse.HelpFormatter:
    width = min(max(shutil.get_terminal_size().columns, 60), 110)
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=width)


def common(parser: argparse.ArgumentParser) -> None:
    """--json, --db and the scope, which every command of a memory takes, before or after the command's name."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    group = parser.add_argument_group("which memory")
    group.add_argument("--db", metavar="FILE", help="the memory's file (SLOWWAVE_DB, else ~/.slowwave/memory.db)")
    for name in SCOPE_FIELDS:
        group.add_argument(flag(name), metavar="NAME", help=f"scope ({variable(name)})")


def flag(name: str) -> str:
    """A parameter's name as an option: top_k -> --top-k."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """The environment variable of a scope field."""
    return f"SLOWWAVE_{name.upper()}"


def scope_args(args: argparse.Namespace) -> dict[str, Any]:
    """The scope that was given, or that the environment names. ScopeError if there is none."""
    found: dict[str, str] = {}
    for name in SCOPE_FIELDS:
        value = getattr(args, name, None)
        value = os.environ.get(variable(name)) or None if value is None else value
        if value is not None:
            found[name] = value
    if not found:
        raise ScopeError(
            f"no scope was given; name one with {', '.join(map(flag, SCOPE_FIELDS))}, or set {variable('user_id')}"
        )
    return found


def options(
    parser: argparse._ActionsContainer,
    function: Callable[..., Any],
    skip: tuple[str, ...] = (),
    words: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """An option for each keyword parameter of a function or a constructor; one that is not given is not passed.

    skip   parameters without an option
    words  help texts that take the place of the docstring's
    """
    explained = {**WORDS, **told(function), **words}
    for name, parameter in _keywords(function).items():
        if name not in (*skip, "progress"):
            _option(parser, name, _written(parameter.annotation), parameter.default, explained.get(name, ""))


def positional(function: Callable[..., Any], name: str) -> str:
    """What the docstring says of a parameter, as a help text."""
    return told(function).get(name, WORDS.get(name, "")).replace("%", "%%")


def given(args: argparse.Namespace, function: Callable[..., Any]) -> dict[str, Any]:
    """The options on the command line that are keyword parameters of the function."""
    return {name: getattr(args, name) for name in _keywords(function) if hasattr(args, name)}


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that may be left out; those of a class are its constructor's."""
    made: Any = vars(function).get("__init__", function) if isinstance(function, type) else function  # not __new__
    return {
        name: parameter
        for name, parameter in inspect.signature(made).parameters.items()
        if parameter.default is not inspect.Parameter.empty
        and (parameter.kind is inspect.Parameter.KEYWORD_ONLY or isinstance(function, type))
    }


def _option(parser: argparse._ActionsContainer, name: str, annotation: str, default: Any, explained: str) -> None:
    shown = "" if default in (None, "", False, ()) or callable(default) else f" (default: {_shown(default)})"
    how: dict[str, Any] = {"help": (explained + shown).strip().replace("%", "%%"), "dest": name}
    annotation = annotation.removesuffix(" | None")
    if annotation == "bool":
        how["action"] = argparse.BooleanOptionalAction if default else "store_true"
    elif annotation.startswith("Literal["):
        how["choices"] = ast.literal_eval(f"({annotation[8:-1]},)")
    elif annotation.startswith(("Mapping[", "dict[")):
        how |= {"type": json_object, "metavar": "JSON"}
    elif match := re.match(r"(?:Sequence|list|tuple|Iterable)\[(\w+)", annotation):
        how |= {"type": _many(_scalar(match[1])), "metavar": "A,B,..."}
    else:
        how |= {"type": _scalar(annotation), "metavar": "TIME" if annotation == "Moment" else name.upper()}
    parser.add_argument(flag(name), **how)


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)


def _written(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return annotation.__name__ if isinstance(annotation, type) and "[" not in str(annotation) else str(annotation)


def _scalar(annotation: str) -> Scalar:
    known: dict[str, Scalar] = {"int": whole, "float": float, "Path": Path}
    return known.get(annotation, str)


def _many(scalar: Scalar) -> Scalar:
    def several(text: str) -> list[Any]:
        return [scalar(part.strip()) for part in text.split(",") if part.strip()]

    return several


def whole(text: str) -> int:
    """A whole number, also as 10_000 or 10,000."""
    try:
        return int(text.replace(",", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def json_object(text: str) -> Mapping[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"{text!r:.80} is not JSON ({error})") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r:.80} is no JSON object such as \'{{"speaker": "Mina"}}\'')
    return value
