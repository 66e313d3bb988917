"""`slowwave probe`: the instruments on a model's memory, each with the parameters of its constructor as options."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from slowwave.cli.arguments import Parser, given, options
from slowwave.cli.commands import Args, Done, command
from slowwave.cli.page import Page
from slowwave.errors import ExtraMissingError
from slowwave.progress import Bars

if TYPE_CHECKING:
    from slowwave.probes.base import Probe


def fill_probe(parser: Parser) -> None:
    """One parser an instrument."""
    from slowwave.probes import SYSTEMS

    parser.add_argument("--json", action="store_true", help="print one JSON document")
    chosen = parser.add_subparsers(dest="name", metavar="NAME", parser_class=Parser)
    for name in SYSTEMS:
        chosen.add_parser(name, fill=lambda own, name=name: fill_instrument(own, name))


def fill_instrument(parser: Parser, name: str) -> None:
    """What every instrument takes, and the parameters of this one."""
    found = instrument(name)
    parser.description = (inspect.getdoc(found) or "").partition("\n")[0]
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    if name == "compare":
        parser.add_argument("model", metavar="A", help="the first model: a folder, a .gguf file, or a name")
        parser.add_argument("other", metavar="B", help="the second: how it differs from the first is told")
    else:
        told = "a folder, a .gguf file, or a name that transformers knows"
        parser.add_argument("--model", metavar="MODEL", help=told)
    parser.add_argument("--text", metavar="PATH", help="a text file or a folder of .txt files; else a novel")
    parser.add_argument("--out", metavar="DIR", help="folder for the page, its figures and the verdict")
    options(parser, found, skip=("other",))


def instrument(name: str) -> type[Probe]:
    """The class of an instrument; ExtraMissingError where torch or transformers is not installed."""
    from slowwave.probes import SYSTEMS

    try:
        return SYSTEMS[name]
    except ImportError as error:
        raise ExtraMissingError(f"the instrument {name}", "probes") from error


@command(
    "run an instrument on a model's memory, or list them",
    "slowwave probe",
    fill_probe,
)
def probe(args: Args) -> Done:
    from slowwave.probes import SYSTEMS

    name = getattr(args, "name", None)
    if name is None:
        return Done({"results": list(SYSTEMS)}, lambda page: page.lines("\n".join(SYSTEMS)))
    from slowwave.probes.report import as_text

    kind = instrument(name)
    out = getattr(args, "out", None)
    with Bars() as bars:
        finding = kind(**given(args, kind)).run(getattr(args, "model", None), getattr(args, "text", None), out, bars)

    def show(page: Page) -> None:
        page.lines(as_text(finding))
        if out is not None:
            page.line((f"the page is {Path(out) / 'report.html'}", "dim"))

    return Done(finding.to_dict(), show)
