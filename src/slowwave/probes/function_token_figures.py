"""The figures of the function-token instrument, each from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FUNCTION, CONTENT, NULL = "#c8452f", "#2f6fb0", "#8a8f98"
GROUP_COLOURS = {"f>f": "#e9a23b", "f>c": "#c8452f", "c>f": "#7fb685", "c>c": "#2f6fb0"}


def _axes(columns: int = 1, width: float = 5.5, height: float = 3.6) -> tuple[Figure, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(width * columns, height), squeeze=False, layout="constrained")
    for axis in axes[0]:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes[0]


def classes(values: Mapping[str, Any]) -> Figure:
    """The Zipf line, document coverage against rank, and how evenly a function and a content token are spread."""
    figure, (zipf, cover, even) = _axes(3)
    count = np.array(values["count"])
    rank, cut = np.arange(1, len(count) + 1), values["function"]
    zipf.loglog(rank[:cut], count[:cut], ".", color=FUNCTION, label=f"{cut} function tokens ({values['share']:.0%})")
    zipf.loglog(rank[cut:], count[cut:], ".", color=CONTENT, label="content tokens", markersize=3)
    zipf.set(xlabel="rank", ylabel="occurrences", title=f"Zipf exponent {values['zipf_alpha']:.2f}")
    zipf.legend(frameon=False)
    cover.semilogx(rank[:cut], values["coverage"][:cut], ".", color=FUNCTION)
    cover.semilogx(rank[cut:], values["coverage"][cut:], ".", color=CONTENT, markersize=3)
    cover.set(xlabel="rank", ylabel="share of documents", title="document coverage")
    for name, colour in (("function", FUNCTION), ("content", CONTENT)):
        piece = values["spread_pieces"][name]
        spread = np.array(values["spread"][name], float)
        even.plot(spread / max(1.0, spread.mean()), color=colour, label=repr(piece))
    even.set(xlabel="bin of documents", ylabel="occurrences / mean", title="spread over the corpus")
    even.legend(frameon=False)
    return figure


def degrees(layers: Mapping[str, Any]) -> Figure:
    """Features of each token against its frequency rank, layer by layer."""
    figure, axes = _axes(len(layers), 4.5)
    for axis, (layer, found) in zip(axes, layers.items(), strict=True):
        degree, function = np.array(found["degrees"]), np.array(found["is_function"])
        rank = np.arange(1, len(degree) + 1)
        axis.loglog(rank[~function], degree[~function], ".", color=CONTENT, markersize=2, label="content")
        axis.loglog(rank[function], degree[function], ".", color=FUNCTION, label="function")
        axis.set(xlabel="frequency rank", ylabel="features", title=f"layer {layer}")
    axes[0].legend(frameon=False)
    return figure


def coverage(layers: Mapping[str, Any], untrained: Mapping[str, Any], middle: str) -> Figure:
    """C(k) of each layer with the band that frequency alone allows; the untrained network beside the middle layer."""
    figure, axes = _axes(len(layers), 4.5)
    for axis, (layer, found) in zip(axes, layers.items(), strict=True):
        ks = found["ks"]
        axis.fill_between(
            ks, found["coverage_permuted_low"], found["coverage_permuted_high"], color=NULL, alpha=0.5,
            label="labels permuted",
        )  # fmt: skip
        axis.semilogx(ks, found["coverage"], "o-", color=FUNCTION, label="C(k)")
        axis.semilogx(ks, found["coverage_at_1_percent"], "o--", color=CONTENT, label="C(k), edges at 1 %")
        if layer == middle:
            axis.semilogx(ks, untrained["coverage"], "x:", color=NULL, label="untrained")
        axis.set(xlabel="k commonest tokens", ylabel="share of features", ylim=(0, 1.03), title=f"layer {layer}")
    axes[0].legend(frameon=False)
    return figure


def rarefied(trained: Mapping[str, Any], untrained: Mapping[str, Any]) -> Figure:
    """D50 by class, trained and untrained."""
    figure, (axis,) = _axes(1, 6)
    groups = [
        (trained["d50_function"], FUNCTION), (trained["d50_content"], CONTENT), (trained["d50_anywhere"], NULL),
        (untrained["d50_function"], FUNCTION), (untrained["d50_content"], CONTENT), (untrained["d50_anywhere"], NULL),
    ]  # fmt: skip
    for place, (values, colour) in enumerate(groups):
        if values:
            axis.boxplot([values], positions=[place + place // 3], widths=0.6, showfliers=False, patch_artist=True,
                         boxprops={"facecolor": colour, "alpha": 0.6}, medianprops={"color": "black"})  # fmt: skip
    axis.set_xticks([0, 1, 2, 4, 5, 6], ["function", "content", "anywhere"] * 2)
    axis.set(ylabel="features in 50 occurrences", title="trained (left), untrained (right)")
    return figure


def strips(values: Mapping[str, Any]) -> Figure:
    """Chosen features, token by token, for each prompt."""
    prompts = values["prompts"]
    longest = max(len(prompt["pieces"]) for prompt in prompts)
    figure, _ = _axes(1, max(6.0, 0.55 * longest), 1.2 + 0.9 * len(prompts) * max(1, len(values["features"])) / 3)
    figure.clear()
    parts = figure.subplots(len(prompts), 1, squeeze=False)[:, 0]
    for axis, prompt in zip(parts, prompts, strict=True):
        axis.imshow(np.array(prompt["values"]), aspect="auto", cmap="Reds")
        pieces = [repr(piece)[1:-1] for piece in prompt["pieces"]]
        axis.set_xticks(range(len(pieces)), pieces, rotation=60, fontsize=7)
        axis.set_yticks(range(len(values["features"])), [f"#{feature}" for feature in values["features"]], fontsize=7)
    return figure


def transitions(values: Mapping[str, Any]) -> Figure:
    """Mean loss of the four groups with intervals, and what each contributes to the whole."""
    figure, (loss, part) = _axes(2)
    groups = values["groups"]
    for place, (name, found) in enumerate(groups.items()):
        if found["loss"] is None:
            continue
        low, high = found["low"] or found["loss"], found["high"] or found["loss"]
        error = [[found["loss"] - low], [high - found["loss"]]]
        loss.bar(place, found["loss"], color=GROUP_COLOURS[name], yerr=error)
        part.bar(place, found["contribution"], color=GROUP_COLOURS[name])
    for axis in (loss, part):
        axis.set_xticks(range(len(groups)), list(groups))
    loss.set(ylabel="nats", title="loss by transition")
    part.set(ylabel="nats", title=f"share x loss (sum {values['mean']:.2f})")
    return figure
