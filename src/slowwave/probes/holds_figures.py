"""The figures of `holds`: how sure it is of each statement, beside the same with wrong values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slowwave.probes.base import OPEN
from slowwave.probes.function_token_figures import CONTENT, FUNCTION, NULL, _axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40  # statements named in a figure


def draw_confidence(values: Mapping[str, Any]) -> Figure:
    """Confidence of statements and of their twins, tie against preference, and recognition by kind of foil."""
    figure, (spread, cloud, foils) = _axes(3, 4.6)
    rows = values["statements"]
    sure, twin = [row["confidence"] for row in rows], [row["twin"] for row in rows]
    bins = np.linspace(0, 1, 21)
    spread.hist(twin, bins, color=NULL, label="with wrong values (mean of foils)")
    spread.hist(sure, bins, color=CONTENT, alpha=0.7, label="as given")
    spread.set(xlabel="confidence", ylabel="statements", title="is it held?")
    spread.legend(frameon=False)
    points = cloud.scatter(
        [row["scores"]["preference"] for row in rows], [row["scores"]["tie"] for row in rows], c=sure, vmin=0, vmax=1,
        s=14, cmap="viridis",
    )  # fmt: skip
    figure.colorbar(points, ax=cloud, label="confidence")
    cloud.set(xlabel="preference over foils, nats", ylabel="tie to the subject, nats", title="what confidence goes by")
    kinds = [k for k in ("values", "names", "paraphrases") if any(k in row["scores"]["recognised"] for row in rows)]
    means = [np.mean([r["scores"]["recognised"][k] for r in rows if k in r["scores"]["recognised"]]) for k in kinds]
    foils.bar(kinds, means, color=CONTENT)
    foils.axhline(0.5, color=NULL, linestyle="--", label="by chance")
    foils.legend(frameon=False)
    foils.set(ylim=(0, 1), ylabel="share recognised", title="told from foils with other")
    return figure


def draw_list(values: Mapping[str, Any]) -> Figure:
    """Each statement with its confidence, surest first; the middle ones are left out of a long list."""
    rows = sorted(values["statements"], key=lambda row: -row["confidence"])
    if len(rows) > MOST:
        rows = [*rows[: MOST // 2], *rows[-MOST // 2 :]]
    figure, (axis,) = _axes(1, 8, 0.9 + 0.24 * len(rows))
    for word, colour in (("holds", CONTENT), ("does not hold", FUNCTION), ("not sure", NULL)):
        mine = [n for n, row in enumerate(rows) if row["word"] == word or (colour == NULL and row["word"] == OPEN)]
        if mine:
            axis.barh(mine, [rows[n]["confidence"] for n in mine], color=colour, label=word)
    axis.plot([row["twin"] for row in rows], range(len(rows)), "|", color="black", label="with wrong values")
    axis.set_yticks(range(len(rows)), [row["statement"]["text"][:70].replace("$", r"\$") for row in rows], fontsize=7)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="confidence that the model holds it")
    axis.legend(frameon=False, fontsize=7)
    return figure
