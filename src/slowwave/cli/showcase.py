"""The commands that need no memory: systems, atlas, reproduce, bench."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.cli.arguments import Parser, given, options
from slowwave.cli.commands import Args, Done, command
from slowwave.cli.page import Page
from slowwave.errors import NotFoundError
from slowwave.progress import Bars

if TYPE_CHECKING:
    from slowwave.bench.base import Benchmark


def as_json(parser: argparse.ArgumentParser) -> None:
    """--json alone, where no memory is opened."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


@command("the text-form systems that --system takes, and what each fills", "slowwave systems", as_json)
def systems(args: Args) -> Done:
    from slowwave.cli.systems import system_rows

    rows = system_rows()

    def show(page: Page) -> None:
        width = max(len(row["name"]) for row in rows)
        blank = f"{'':<{width}}  "
        for row in rows:
            page.line((f"{row['name']:<{width}}  ", "bold"), row["says"])
            if row["paper"]:
                page.line((f"{blank}{row['paper']}", "dim"))
            model = f"{' and '.join(row['model'])} may ask one" if row["model"] else "asks none"
            page.line((f"{blank}fills ", "dim"), ", ".join(row["operations"]), ("; language model: ", "dim"), model)
            if row["claim"]:
                page.line((f"{blank}claim ", "dim"), row["claim"])

    return Done({"results": rows}, show)


def fill_atlas(parser: Parser) -> None:
    """A system by name, or all of one form."""
    from slowwave.atlas import FORMS

    parser.add_argument("name", nargs="?", metavar="NAME", default=None, help="one system, by slug, name or number")
    parser.add_argument("--form", choices=FORMS, default=None, help="the systems of this form")
    as_json(parser)


@command("every published memory system, and what is built here", "slowwave atlas --form text", fill_atlas)
def atlas(args: Args) -> Done:
    from slowwave.atlas import render_card, render_table, row, rows

    if args.name is not None:
        one = row(args.name)
        return Done(one.to_dict(), lambda page: write(page, render_card, one))
    found = rows(args.form)
    return Done({"results": [one.to_dict() for one in found]}, lambda page: write(page, render_table, found))


def write(page: Page, render: Callable[..., str], what: Any) -> None:
    """A rendering of the atlas, as wide as the terminal."""
    width = page.console().width if page.styled else 100
    page.lines(render(what, width))


def fill_reproduce(parser: Parser) -> None:
    """The proof's name."""
    parser.add_argument("name", nargs="?", metavar="NAME", default=None, help="a proof; left out, they are listed")
    parser.add_argument("--quick", action="store_true", help="run its code paths alone, at a small size; write nothing")
    told = "the model that a proof around a pretrained one takes: a .gguf file, a folder or a name"
    parser.add_argument("--model", metavar="MODEL", default=None, help=told)
    as_json(parser)


@command("run a system's proof, and compare it with what is committed", "slowwave reproduce", fill_reproduce)
def reproduce(args: Args) -> Done:
    from slowwave.cli.systems import Proof

    folder = proofs()
    names = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_") and file.stem != "common")
    if args.name is None:
        return Done({"results": names}, lambda page: page.lines("\n".join(names) or f"no proofs yet in {folder}"))
    name = args.name.replace("-", "_")
    if name not in names:
        raise NotFoundError(f"no proof {args.name!r:.60} in {folder}; there are {', '.join(names) or 'none yet'}")
    proof = Proof(folder, name, quick=bool(getattr(args, "quick", False)), model=getattr(args, "model", None))
    proof.run()
    return Done(proof.to_dict(), proof.show, code=0 if proof.reproduced else 1)


def proofs() -> Path:
    """The folder of the proofs, which come with a checkout and not with the wheel."""
    folder = Path(__file__).resolve().parents[3] / "proofs"
    if not folder.is_dir():
        raise NotFoundError(
            f"the proofs come with the source, not with the installed package (there is no {folder}); run this in a "
            "checkout of slowwave, installed with: pip install -e ."
        )
    return folder


def fill_bench(parser: Parser) -> None:
    """One parser a benchmark, with the parameters of its constructor as options."""
    from slowwave.bench import BENCHMARKS

    as_json(parser)
    chosen = parser.add_subparsers(dest="name", metavar="NAME", parser_class=Parser)
    for name in BENCHMARKS:
        chosen.add_parser(name, fill=lambda own, name=name: fill_one(own, name))


def fill_one(parser: Parser, name: str) -> None:
    """The parameters of one benchmark."""
    found = benchmark(name)
    parser.description = (inspect.getdoc(found) or "").partition("\n")[0]
    options(parser, found)
    as_json(parser)


def benchmark(name: str) -> type[Benchmark]:
    """The class of a benchmark; NotFoundError if its part is missing from this install."""
    from slowwave.bench import BENCHMARKS

    try:
        return BENCHMARKS[name]
    except ImportError as error:
        raise NotFoundError(f"the benchmark {name} does not import here: {error}") from error


@command("run a benchmark, or list them", "slowwave bench", fill_bench)
def bench(args: Args) -> Done:
    from slowwave.bench import BENCHMARKS

    name = getattr(args, "name", None)
    if name is None:
        return Done({"results": list(BENCHMARKS)}, lambda page: page.lines("\n".join(BENCHMARKS)))
    chosen = benchmark(name)(**given(args, benchmark(name)))
    with Bars() as bars, redirect_stdout(sys.stderr):
        result = chosen.run(bars)
    return Done(result, lambda page: page.lines(chosen.render(result)))
