"""The atlas as text: a table and a card for the terminal, and the Markdown page docs/atlas.md."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slowwave.atlas.register import FORMS, NOT_INSTALLED, OPERATIONS, Row

HEADINGS = {
    "text": "Text: records in a store",
    "state": "State: tensors beside a model",
    "weights": "Weights: parameters of a model",
    "probe": "Probes: instruments on a model",
    "bench": "Benchmarks",
    "survey": "Surveys",
    "theory": "Theories",
    "human": "Studies of people",
    "tool": "Training tools",
}
REGENERATE = """python -c "from slowwave import atlas; print(atlas.document(atlas.rows()), end='')" > docs/atlas.md"""


def render_table(rows: Sequence[Row], width: int = 100) -> str:
    """One line a system, none longer than `width` characters (at least 40), and the counts below."""
    width = max(width, 40)
    slug_width = max((len(row.slug) for row in rows), default=6)
    head = f"{'#':>3}  {'system':<{slug_width}}  {'form':<7}  {'here':<13}  {'measured':<12}  paper"
    lines = [head, "-" * len(head)]
    for row in rows:
        lines.append(
            f"{row.number:>3}  {row.slug:<{slug_width}}  {row.form:<7}  {_here(row):<13}  "
            f"{_cut(row.verdict or '-', 12):<12}  {row.paper or row.summary}"
        )
    lines += ["", *textwrap.wrap(_count(rows), width)]
    return "\n".join(_cut(line.rstrip(), width) for line in lines) + "\n"


def render_card(row: Row, width: int = 100) -> str:
    """All that is known of one system, claim above measurement, wrapped to `width` characters (at least 40)."""
    width = max(width, 40)
    lines = textwrap.wrap(f"{row.name} ({row.slug}, number {row.number})", width)
    if row.paper:
        lines += textwrap.wrap(f"{row.paper} ({row.authors_year})", width)
    lines += ["", *textwrap.wrap(row.summary, width), ""]
    for label, value in _facts(row):
        lines += textwrap.wrap(f"{label + ':':<16}{value}", width, subsequent_indent=" " * 16)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def document(rows: Sequence[Row]) -> str:
    """The page docs/atlas.md: the counts, a table by form, then every system with its claim and its measurement."""
    parts = [
        "# Atlas",
        f"<!-- Generated, do not edit: {REGENERATE} -->",
        "Every published memory system in the register: what its paper says, and what is here. `slowwave atlas` prints "
        'the table, `slowwave atlas NAME` one card. Claims are the papers\' own; "(unverified)" marks what was not '
        'seen in a primary source. "To be seen" is what a proof has to show before a system counts as proved.',
        _count(rows),
        _form_table(rows),
    ]
    for form in FORMS:
        members = [row for row in rows if row.form == form]
        if members:
            parts += [f"## {HEADINGS[form]}", _system_table(members), *(_entry(row) for row in members)]
    return "\n\n".join(parts) + "\n"


def _count(rows: Sequence[Row]) -> str:
    """What is built, measured, proved and missing, in a sentence."""
    built = sum(row.built for row in rows)
    measured = sum(row.measured is not None for row in rows)
    proved = sum(row.proved for row in rows)
    unknown = sum(row.where.startswith(NOT_INSTALLED) for row in rows)
    papers = sum(row.number > 0 for row in rows)
    own = len(rows) - papers
    text = f"{papers} published systems"
    text += f" and {own} of slowwave's own" if own else ""
    text += f": {built} built, {measured} measured, {proved} proved, {len(rows) - built - unknown} not yet built"
    return text + (f", {unknown} unknown because their package is not installed." if unknown else ".")


def _form_table(rows: Sequence[Row]) -> str:
    lines = ["| form | systems | built | proved | missing |", "|---|---:|---:|---:|---:|"]
    for form in FORMS:
        members = [row for row in rows if row.form == form]
        built = sum(row.built for row in members)
        proved = sum(row.proved for row in members)
        lines.append(f"| {form} | {len(members)} | {built} | {proved} | {len(members) - built} |")
    return "\n".join(lines)


def _system_table(rows: Sequence[Row]) -> str:
    lines = [
        f"| # | system | {' | '.join(OPERATIONS)} | here | measured |",
        f"|---:|---|{':---:|' * len(OPERATIONS)}---|---|",
    ]
    for row in rows:
        filled = " | ".join("x" if name in row.operations else "" for name in OPERATIONS)
        measured = _escape(row.verdict) or "-"
        lines.append(f"| {row.number} | {_escape(row.name)} | {filled} | {_here(row)} | {measured} |")
    return "\n".join(lines)


def _entry(row: Row) -> str:
    paper = f"*{_escape(row.paper)}* ({row.authors_year}). " if row.paper else ""
    facts = [f"- **{label}**: {_escape(value)}" for label, value in _facts(row)]
    return "\n".join([f"### {row.number}. {_escape(row.name)}", "", paper + _escape(row.summary), "", *facts])


def _facts(row: Row) -> Iterator[tuple[str, str]]:
    """Label and text of each thing to tell, in the order in which a reader asks; what is empty is left out."""
    told = {
        "Form": row.form,
        "Home": "" if set(row.home) <= {row.form} else ", ".join(row.home),
        "Fills": ", ".join(row.operations),
        "Write": row.write,
        "Read": row.read,
        "Sleep": row.sleep,
        "Working memory": row.working_memory,
        "Claim": row.claim,
        "Measured": _measurement(row.measured) if row.measured is not None else "not yet",
        "Measured besides": "; ".join(f"{name}: {_measurement(found)}" for name, found in row.further.items()),
        "To be seen": row.proof,
        "Pitfalls": row.pitfalls,
        "Differs": row.differs,
        "Parameters": ", ".join(f"{key}={value!r}" for key, value in row.parameters.items()),
        "Here": row.where or "not yet",
        "Proof": row.proof_file or "",
        "Repository": row.repository,
        "Licence": row.licence,
        "Slug": row.slug,
    }
    yield from ((label, text) for label, text in told.items() if text)


def _measurement(measured: Mapping[str, Any]) -> str:
    """The verdict first, then the rest as the proof named it; lists and tables stay in the result file."""
    if "summary" in measured:
        return f"{measured.get('verdict', 'no verdict')}: {measured['summary']}, {str(measured.get('date', ''))[:10]}"
    plain = {key: value for key, value in measured.items() if not isinstance(value, (list, dict))}
    first = str(plain.pop("verdict", "no verdict"))
    rest = [f"{key} {value if isinstance(value, str) else json.dumps(value)}" for key, value in plain.items()]
    return "; ".join([first, *rest])


def _here(row: Row) -> str:
    return "built" if row.built else row.where.partition(":")[0]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _escape(text: str) -> str:
    """Text that Markdown shows as written, in a table too."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
