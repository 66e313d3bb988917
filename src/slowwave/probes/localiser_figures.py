"""The figures of the paragraph localiser, each from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slowwave.probes.function_token_figures import CONTENT, FUNCTION, NULL, _axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_map(values: Mapping[str, Any]) -> Figure:
    """Gradient by layer and part, of recited paragraphs and of others, each as shares, and their ratio."""
    figure, axes = _axes(3, 5.2, 4.6)
    parts = values["parts"]
    names = list(dict.fromkeys(part["name"] for part in parts))
    layers = max(part["layer"] for part in parts) + 1
    tables = []
    for kind in ("known", "others"):
        mean = np.array(values["gradient"][kind]).mean(0)
        table = np.full((layers, len(names)), np.nan)
        for part, value in zip(parts, mean / mean.sum(), strict=True):
            table[part["layer"], names.index(part["name"])] = value
        tables.append(table)
    titles = ("gradient, recited", "gradient, not recited", "recited over not recited, log2")
    shown = (*tables, np.log2(tables[0] / tables[1]))
    for axis, table, title in zip(axes, shown, titles, strict=True):
        image = axis.imshow(table, aspect="auto", origin="lower", cmap="coolwarm" if "log2" in title else "viridis")
        figure.colorbar(image, ax=axis, label="" if "log2" in title else "share of all")
        axis.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
        axis.set(ylabel="layer", title=title)
    return figure


def draw_prefix(values: Mapping[str, Any]) -> Figure:
    """Tokens of the recitation lost when one prefix token is another, place by place; the first paragraph's words."""
    figure, (strip, curve) = _axes(2, 6.5, 3.4)
    drops = np.array(values["prefix"]["known"])
    image = strip.imshow(drops, aspect="auto", cmap="magma")
    figure.colorbar(image, ax=strip, label="tokens lost")
    pieces = [piece.strip().replace("$", r"\$") or "." for piece in values["prefix"]["pieces"][0]]
    strip.set_xticks(range(len(pieces)), pieces, rotation=90, fontsize=7)
    strip.set_yticks(range(len(drops)), [str(n + 1) for n in range(len(drops))])
    strip.set(ylabel="paragraph", title="one prefix token replaced (words of paragraph 1)")
    curve.plot(np.sort(drops, 1)[:, ::-1].T, color=CONTENT, alpha=0.5)
    curve.set(xlabel="prefix tokens, worst first", ylabel="tokens lost", title="how few tokens carry it")
    return figure


def draw_unlearning(values: Mapping[str, Any]) -> Figure:
    """What is still recited after unlearning three ways, the others' loss, and what a reset matrix takes away."""
    figure, axes = _axes(3 if "reset" in values else 2, 4.6)
    done = values["unlearning"]
    names = list(done)
    told = [{"sparse": "0.1 % by\ngradient", "random": "0.1 %\nby lot", "all": "all\nweights"}.get(n, n) for n in names]
    axes[0].bar(
        told, [np.mean(done[name]["known"]) for name in names], color=[NULL, FUNCTION, NULL, CONTENT][: len(names)]
    )
    axes[0].set(ylabel="share of the tail recited", ylim=(0, 1), title="recited after unlearning")
    axes[1].bar(told, [np.mean(done[name]["loss"]) for name in names], color=NULL)
    axes[1].set(ylabel="loss, nats", title="loss of other paragraphs")
    if "reset" in values:
        rows = sorted(values["reset"], key=lambda row: row["recited"])[:12]
        axes[2].barh([_short(row["weight"]) for row in rows], [row["recited"] for row in rows], color=CONTENT)
        axes[2].tick_params(axis="y", labelsize=7)
        axes[2].set(xlabel="share of the tail recited", xlim=(0, 1), title="one matrix set back")
    return figure


def _short(weight: str) -> str:
    """The layer and the matrix: "model.layers.6.self_attn.o_proj.weight" -> "6 o_proj"."""
    words = weight.removesuffix(".weight").split(".")
    return " ".join([*(word for word in words if word.isdigit()), words[-1]])
