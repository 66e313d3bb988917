"""The figures of a comparison, each from plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slowwave.probes.function_token_figures import CONTENT, FUNCTION, _axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (CONTENT, FUNCTION)


def figures(values: Mapping[str, Any]) -> dict[str, Callable[[], Figure]]:
    """What can be drawn of these values."""
    out: dict[str, Callable[[], Figure]] = {}
    for name, draw in (("losses", losses), ("features", features), ("heads", heads), ("facts", facts)):
        if name in values:
            out[name] = lambda draw=draw: draw(values)  # type: ignore[misc]
    out["geometry"] = lambda: geometry(values)
    return out


def losses(values: Mapping[str, Any]) -> Figure:
    """Loss by transition in both, and the paired difference."""
    figure, (level, change) = _axes(2)
    groups = {name: found for name, found in values["losses"].items() if name != "tokens" and found["n"]}
    for place, found in enumerate(groups.values()):
        for side, name in enumerate(("first", "second")):
            told = values["models"][side] if not place else None
            level.bar(place + 0.4 * side, found[name], 0.38, color=COLOURS[side], label=told)
        low, high = (found["mean"] if found[end] is None else found[end] for end in ("low", "high"))
        change.errorbar(place, found["mean"], [[found["mean"] - low], [high - found["mean"]]], fmt="o", color=FUNCTION)
    change.axhline(0, color="grey", linewidth=0.8)
    for axis in (level, change):
        axis.set_xticks(range(len(groups)), list(groups))
    level.set(ylabel="nats", title="loss by transition")
    level.legend(frameon=False, fontsize=8)
    change.set(ylabel="nats", title="second less first, paired over documents")
    return figure


def features(values: Mapping[str, Any]) -> Figure:
    """Rates of firing in the one against the other."""
    figure, (axis,) = _axes(1, 4.8, 4.4)
    rates = [np.array(one) for one in values["features"]["rates"]]
    least = min((one[one > 0].min() for one in rates if one.any()), default=1e-5) / 2  # stands for never
    first, second = (np.maximum(one, least) for one in rates)
    axis.loglog(first, second, ".", markersize=2, color=CONTENT)
    ends = np.array([least, 1])
    axis.plot(ends, ends, color="grey", linewidth=0.8)
    for tenfold in (10 * ends, ends / 10):
        axis.plot(ends, tenfold, color="grey", linewidth=0.5, linestyle=":")
    axis.set(xlim=(least, 1), ylim=(least, 1))
    axis.set(xlabel=f"rate in {values['models'][0]}", ylabel=f"rate in {values['models'][1]}")
    axis.set_title(f"features of layer {values['layer']} (dotted: tenfold)")
    return figure


def heads(values: Mapping[str, Any]) -> Figure:
    """How much each head's output changed, layer by layer."""
    layers = 1 + max(one["layer"] for one in values["heads"])
    change = np.array([one["change"] for one in values["heads"]]).reshape(layers, -1)
    figure, (axis,) = _axes(1, 5, 1.5 + 0.14 * layers)
    image = axis.imshow(change, aspect="auto", cmap="Reds", vmin=0)
    figure.colorbar(image, label="length of the change / length of the output")
    axis.set(xlabel="head", ylabel="layer", title="what each head gives")
    return figure


def geometry(values: Mapping[str, Any]) -> Figure:
    """Effective rank, spectral decay and likeness of the states over layers."""
    figure, (rank, alpha, alike) = _axes(3, 4.6)
    for side, label in enumerate(("first", "second")):
        rows = values[f"geometry_{label}"]["layers"]
        depth = [row["layer"] for row in rows]
        rank.plot(
            depth,
            [row["rankme"] for row in rows],
            "o-",
            color=COLOURS[side],
            markersize=3,
            label=values["models"][side],
        )
        low, high = ([row[f"rankme_{end}"] for row in rows] for end in ("low", "high"))
        rank.fill_between(depth, low, high, color=COLOURS[side], alpha=0.2)
        decay = [np.nan if row["alpha"] is None else row["alpha"] for row in rows]
        alpha.plot(depth, decay, "o-", color=COLOURS[side], markersize=3)
    if "states" in values:
        alike.plot(range(len(values["states"])), values["states"], "o-", color="black", markersize=3)
        alike.set_ylim(0, 1.03)
    rank.set(xlabel="layer", ylabel="RankMe", title="effective rank")
    alpha.set(xlabel="layer", ylabel="alpha-ReQ", title="spectral decay")
    alike.set(xlabel="layer", ylabel="linear CKA", title="states of the same tokens")
    rank.legend(frameon=False, fontsize=8)
    return figure


def facts(values: Mapping[str, Any]) -> Figure:
    """Confidence in each statement, in the one against the other."""
    figure, (axis,) = _axes(1, 4.8, 4.4)
    pairs = np.array([one["confidence"] for one in values["facts"]])
    axis.plot(pairs[:, 0], pairs[:, 1], "o", color=CONTENT, alpha=0.6)
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.set(xlabel=f"confidence in {values['models'][0]}", ylabel=f"confidence in {values['models'][1]}")
    changed = sorted(values["facts"], key=lambda one: -abs(one["confidence"][1] - one["confidence"][0]))[:5]
    for one in changed:
        x, y = one["confidence"]
        if abs(y - x) > 0.3:
            side = "left" if x < 0.5 else "right"
            text = one["text"][:40].replace("$", r"\$")
            axis.annotate(text, (x, y), (0, 5), textcoords="offset points", fontsize=6, ha=side)
    axis.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.1), title="facts (above the line: held better by the second)")
    axis.title.set_fontsize(9)
    return figure
