"""The register read and joined with what is built: a row a published system, from register.toml and from the classes.

A class that builds a system stands in the dictionary `SYSTEMS` of its form's package under its slug. It carries
`name` (the slug), `paper`, `form`, `operations`, `claim`, `differs` (what deviates from the paper, and why) and `proof`
(the path of its proof file, or None). What it carries wins over the register; its parameters are read off its
constructor; what its proof measured is read from `proofs/results/NAME.json`.
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from slowwave.errors import FormatError, InputError, NotFoundError

OPERATIONS = ("consolidation", "updating", "indexing", "forgetting", "retrieval", "compression")
FORMS = ("text", "state", "weights", "probe", "bench", "survey", "theory", "human", "tool")
# Where classes of a form live. Benchmarks stand beside the atlas, not below it, so none is looked up here.
PACKAGES = {
    "text": "slowwave.text",
    "state": "slowwave.state",
    "weights": "slowwave.weights",
    "probe": "slowwave.probes",
}
EXTRAS = {"state": "state", "weights": "weights", "probe": "probes"}
NOT_YET = "not yet"
NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Row:
    """One system: what its paper says, and what is here.

    number        in the register, 1 to 119; 0 for what has no paper there, such as slowwave's own default
    home          the forms of code among which it is to be built: a theory, say, among the weights systems
    operations    of the six in OPERATIONS
    write, read, sleep, working_memory   what a text system does at each stage; "" for nothing
    claim         the paper's central result; "(unverified)" marks what was not seen in a primary source
    proof         what is to be seen before it counts as proved
    where         dotted path of the class (several, with commas, if built in several forms), or "not yet", or
                  "not installed: ..." when a package of its home does not import here, so that nothing can be said
    parameters    the constructor's defaults; empty until built
    proof_file    path of the proof, from the checkout's root
    measured      what the proof measured, or None
    further       what other proofs of the same system measured, by their names
    """

    number: int
    slug: str
    name: str
    paper: str
    form: str
    home: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    authors_year: str = ""
    repository: str = ""
    licence: str = ""
    write: str = ""
    read: str = ""
    sleep: str = ""
    working_memory: str = ""
    summary: str = ""
    claim: str = ""
    proof: str = ""
    pitfalls: str = ""
    where: str = NOT_YET
    differs: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    proof_file: str | None = None
    measured: Mapping[str, Any] | None = field(default=None, hash=False)
    further: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    @property
    def built(self) -> bool:
        """Whether a class here builds it."""
        return self.where != NOT_YET and not self.where.startswith(NOT_INSTALLED)

    @property
    def verdict(self) -> str:
        """What its proof concluded, in the proof's own word ("holds", "does not hold", ...); "" if not measured."""
        return "" if self.measured is None else str(self.measured.get("verdict", "no verdict"))

    @property
    def proved(self) -> bool:
        """Whether it is built and its proof has shown the paper's effect."""
        return self.built and self.verdict == "holds"

    def to_dict(self) -> dict[str, Any]:
        """Every field, ready for JSON; a parameter that JSON cannot hold is given as Python writes it."""
        out = {f.name: getattr(self, f.name) for f in fields(self)}
        out["home"], out["operations"] = list(self.home), list(self.operations)
        out["parameters"] = {key: _jsonable(value) for key, value in self.parameters.items()}
        out["measured"] = None if self.measured is None else dict(self.measured)
        out["further"] = {name: dict(found) for name, found in self.further.items()}
        return out


def rows(form: str | None = None) -> list[Row]:
    """All systems by number, those of one form if named; what is built is joined from its classes.

    raises  InputError for a form that there is not; FormatError for a result file that does not parse
    """
    if form is not None and form not in FORMS:
        raise InputError(f"no form is called {form!r}; the forms are {', '.join(FORMS)}")
    by_slug = {row.slug: row for row in published()}
    spelled = {_squeeze(word): row.slug for row in published() for word in (row.name, row.slug)}
    classes, missing = _classes()
    for name, cls in classes:  # "tim" builds TiM, whose slug is think-in-memory
        slug = name if name in by_slug else spelled.get(_squeeze(name), name)
        by_slug[slug] = _merge(by_slug.get(slug) or _without_paper(name, cls), cls, name)
    found = []
    for row in by_slug.values():
        unknown = [missing[home] for home in row.home if home in missing]
        if unknown and not row.built:
            row = replace(row, where=f"{NOT_INSTALLED}: {'; '.join(unknown)}")
        found.append(replace(row, measured=_measured(row), further=_further(row)))
    return sorted((row for row in found if form in (None, row.form)), key=lambda row: row.number)


def row(name: str | int) -> Row:
    """The system of this slug, name, paper title or number; case, spaces and hyphens do not matter.

    raises  NotFoundError, naming what comes close
    """
    everything = rows()
    asked = str(name).strip()
    slugs = {one.number: one.slug for one in published()}  # what is built goes by the name of its class
    for one in everything:
        spelled = (one.slug, slugs.get(one.number), one.name.casefold(), one.paper.casefold() or None)
        if asked.casefold() in (str(one.number), *spelled):
            return one
    squeezed = _squeeze(asked)
    for one in everything:
        if len(squeezed) > 1 and squeezed in (_squeeze(one.slug), _squeeze(one.name), _squeeze(one.paper)):
            return one
    spellings = {spelling.casefold(): one.slug for one in everything for spelling in (one.slug, one.name)}
    close = list(dict.fromkeys(spellings[c] for c in difflib.get_close_matches(asked.casefold(), spellings, 5, 0.5)))
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise NotFoundError(f"no system is called {asked!r:.80}; {hint}`slowwave atlas` lists all {len(everything)}")


@cache
def published() -> tuple[Row, ...]:
    """The rows of register.toml alone: nothing built, nothing measured."""
    with Path(__file__).with_name("register.toml").open("rb") as file:
        entries = tomllib.load(file)["system"]
    return tuple(_from_entry(entry) for entry in entries)


def _from_entry(entry: Mapping[str, Any]) -> Row:
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return Row(**values)


def results_directory() -> Path:
    """Where the proofs' results lie: in a source checkout beside the proofs, in a wheel beside this file."""
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").is_file() and (checkout / "proofs").is_dir():
        return checkout / "proofs" / "results"
    return Path(__file__).with_name("results")


def _classes() -> tuple[list[tuple[str, type]], dict[str, str]]:
    """The classes that are built, by slug, and for each form whose package does not import, what to do about it."""
    classes: list[tuple[str, type]] = []
    missing: dict[str, str] = {}
    for form, package in PACKAGES.items():
        try:
            systems: Mapping[str, type] = dict(getattr(import_module(package), "SYSTEMS", {}).items())
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError) and error.name == package:
                continue  # the package itself is not written yet: its rows say "not yet"
            cure = f"pip install 'slowwave[{EXTRAS[form]}]'" if form in EXTRAS else "reinstall slowwave"
            missing[form] = f"{package} does not import here; {cure}"
            continue
        classes.extend(systems.items())
    return classes, missing


def _without_paper(slug: str, cls: type) -> Row:
    """The row of a class that the register does not know: number 0, its docstring's first line as the summary."""
    first_line = (inspect.getdoc(cls) or "").partition("\n")[0]
    return Row(0, slug, slug, paper="", form="text", summary=first_line)


def _merge(row: Row, cls: type, name: str) -> Row:
    """The row as the class has it, under the name by which it is used. A second class adds where it is and what it
    fills, no more."""
    where = f"{cls.__module__}.{cls.__qualname__}"
    operations: tuple[str, ...] = tuple(getattr(cls, "operations", row.operations))
    form: str = getattr(cls, "form", row.form)
    if form not in FORMS or not set(operations) <= set(OPERATIONS):
        raise InputError(
            f"{where} says form {form!r} and operations {operations}; the forms are {', '.join(FORMS)}, "
            f"the operations {', '.join(OPERATIONS)}"
        )
    if row.built:
        return replace(
            row, where=f"{row.where}, {where}", operations=tuple(dict.fromkeys((*row.operations, *operations)))
        )
    proof = getattr(cls, "proof", None)
    return replace(
        row,
        slug=name,
        paper=getattr(cls, "paper", row.paper) or row.paper,
        form=form,
        operations=operations,
        claim=getattr(cls, "claim", row.claim) or row.claim,
        differs=getattr(cls, "differs", "") or "",
        proof_file=None if proof is None else Path(proof).as_posix(),
        parameters=_defaults(cls),
        where=where,
    )


def _defaults(cls: type) -> dict[str, Any]:
    """The constructor's parameters that have a default, and the default."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }


def _measured(row: Row) -> Mapping[str, Any] | None:
    """What the system's proof wrote, under its slug or the slug as a Python file would spell it."""
    for stem in dict.fromkeys((row.slug, row.slug.replace("-", "_"))):
        path = results_directory() / f"{stem}.json"
        if path.is_file():
            return _result(path, row.slug)
    return None


def _further(row: Row) -> dict[str, Mapping[str, Any]]:
    """What proofs wrote whose names go on behind the slug's, and that name the system as theirs."""
    files = sorted(results_directory().glob(f"{row.slug.replace('-', '_')}_*.json"))
    found = {path.stem: _result(path, row.slug) for path in files}
    return {name: result for name, result in found.items() if result.get("system") == row.slug}


def _result(path: Path, slug: str) -> Mapping[str, Any]:
    try:
        result = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise FormatError(f"the result {path} is not JSON ({error}); run: slowwave reproduce {slug}") from error
    if not isinstance(result, dict):
        raise FormatError(f"the result {path} is a {type(result).__name__}, not an object with named measurements")
    return result


def _squeeze(text: str) -> str:
    """The letters and digits alone, so that "Light Mem", "LightMem" and "light-mem" are one."""
    return re.sub(r"[\W_]+", "", text.casefold())


def _jsonable(value: Any) -> Any:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return repr(value)
    return value
