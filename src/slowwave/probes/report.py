"""One page a run: figures as PNG, everything in one self-contained HTML file, and the verdict as JSON."""

from __future__ import annotations

import base64
import html
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.probes.base import Finding, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from slowwave.probes.base import Probe

STYLE = """
:root { color-scheme: light dark; --ink: #1a1d21; --paper: #fff; --soft: #667; --line: #ccd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaee; --paper: #15181c; --soft: #9aa; --line: #345; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
       margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid var(--line); padding: .3rem .7rem;
       text-align: left; vertical-align: top; } img { max-width: 100%; background: #fff; }
.wide { overflow-x: auto; }
figure { margin: 2rem 0; } figcaption, .soft { color: var(--soft); } .word { font-weight: 600; white-space: nowrap; }
@media (max-width: 40rem) { .word { white-space: normal; } td, th { padding: .3rem; } }
"""


def write_report(finding: Finding, probe: type[Probe], folder: Path) -> Path:
    """Write `verdict.json`, a PNG a figure and `report.html` into the folder; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, bytes] = {}
    for name, draw in finding.figures.items():
        figure = draw()
        pictures[name] = _png(figure)
        (folder / f"{name}.png").write_bytes(pictures[name])
    (folder / "verdict.json").write_text(json.dumps(finding.to_dict(), indent=1) + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_page(finding, probe, pictures), encoding="utf-8")
    return page


def as_text(finding: Finding) -> str:
    """The verdicts for a terminal."""
    lines = []
    for verdict in finding.verdicts:
        lines.append(f"{verdict.word}: {verdict.claim}")
        lines.append(f"    {numbers(verdict)}")
    lines += [f"limit: {limit}" for limit in finding.limits]
    return "\n".join(lines)


def numbers(verdict: Verdict) -> str:
    """ "D50 ratio 1.33 [1.21, 1.46]; control 1.25 [1.2, 1.3]; 3 seeds, n=120" """
    if verdict.effect is None:
        return verdict.note or "nothing could be measured"
    parts = [f"{verdict.of} {_interval(verdict.effect, verdict.low, verdict.high)}"]
    if verdict.null is not None:
        parts.append(f"control {_interval(verdict.null, verdict.null_low, verdict.null_high)}")
    parts.append(f"{verdict.seeds} seed{'s' if verdict.seeds != 1 else ''}" + (f", n={verdict.n}" if verdict.n else ""))
    return "; ".join(parts) + (f" ({verdict.note})" if verdict.note else "")


def _interval(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.4g}" + ("" if low is None or high is None else f" [{low:.4g}, {high:.4g}]")


def _png(figure: Figure) -> bytes:
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    pyplot.close(figure)
    return buffer.getvalue()


def _cost(about: dict[str, Any]) -> str:
    """ "81.3 s, 79.9 s of processor time, at most 1,240 MB of memory" """
    peak = about.get("peak_mb")
    told = f"{about.get('seconds', '')} s, {about.get('cpu_seconds', '')} s of processor time"
    return told if peak is None else f"{told}, at most {peak:,.0f} MB of memory"


def _rows(rows: list[list[str]]) -> str:
    head, *body = rows
    heads = "".join(f"<th>{html.escape(word)}" for word in head)
    return f"<tr>{heads}" + "".join("<tr>" + "".join(f"<td>{html.escape(word)}" for word in row) for row in body)


def _page(finding: Finding, probe: type[Probe], pictures: dict[str, bytes]) -> str:
    about: dict[str, Any] = finding.about
    rows = "".join(
        f"<tr><td class=word>{html.escape(v.word)}</td><td>{html.escape(v.claim)}<br>"
        f"<span class=soft>{html.escape(numbers(v))}</span></td></tr>"
        for v in finding.verdicts
    )
    figures = "".join(
        f'<figure><img alt="{html.escape(name)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{html.escape(name.replace('-', ' '))}</figcaption></figure>"
        for name, png in pictures.items()
    )
    tables = "".join(
        f"<h2>{html.escape(title)}</h2><div class=wide><table>{_rows(rows)}</table></div>"
        for title, rows in finding.tables.items()
    )
    limits = "".join(f"<li>{html.escape(limit)}</li>" for limit in finding.limits)
    settings = html.escape(json.dumps(about.get("settings", {})))
    versions = html.escape(json.dumps(about.get("versions", {})))
    model = html.escape(str(about.get("model", "")))
    if about.get("quantisation"):
        model += f" (weights of {html.escape(about['quantisation'])}: every number is the quantised model's)"
    if len(both := finding.values.get("models", [])) == 2:
        model += f" and {html.escape(str(both[1]))}"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(finding.name)}</title><style>{STYLE}</style><h1>{html.escape(finding.name)}</h1>"
        f"<p class=soft>{html.escape(probe.paper)}</p><p>Model: {model}. {about.get('date', '')}, "
        f"{_cost(about)}.</p><table>{rows}</table>"
        + (f"<h2>Limits</h2><ul>{limits}</ul>" if limits else "")
        + f"{figures}{tables}<p class=soft>Differs from the paper: {html.escape(probe.differs)}</p>"
        f"<p class=soft>Settings: {settings}. Versions: {versions}</p></html>\n"
    )
