"""The figures of the function-token instrument, each from plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FUNCTION, CONTENT, NULL = "#c8452f", "#2f6fb0", "#8a8f98"
GROUP_COLOURS = {"f>f": "#e9a23b", "f>c": "#c8452f", "c>f": "#7fb685", "c>c": "#2f6fb0"}


STRIP = 26  # tokens a line


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
        axis.set(xlabel="frequency rank", ylabel="features", title=f"features a token fires, layer {layer}")
    axes[0].legend(frameon=False, markerscale=3)
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
            axis.legend(frameon=False, loc="lower right")
        axis.set(xlabel="k commonest tokens", ylabel="share of features", ylim=(0, 1.03))
        axis.set_title(f"coverage, layer {layer}")
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
        else:
            told = "no token in\n50 documents"
            axis.text(place + place // 3, 0.5, told, ha="center", transform=axis.get_xaxis_transform(), fontsize=7)
    axis.set_xlim(-0.7, 6.7)
    axis.set_xticks([0, 1, 2, 4, 5, 6], ["function", "content", "anywhere"] * 2)
    axis.set(ylabel="features in 50 occurrences", title="trained (left), untrained (right)")
    return figure


def strips(values: Mapping[str, Any]) -> Figure:
    """Chosen features, token by token, for each prompt, in lines of a width that can be read."""
    prompts, features = values["prompts"], values["features"]
    lines = [(n, begin) for n, prompt in enumerate(prompts) for begin in range(0, len(prompt["pieces"]), STRIP)]
    figure, _ = _axes(1, 11, len(lines) * (0.8 + 0.17 * len(features)))
    figure.clear()
    most = max(float(np.max(prompt["values"], initial=0)) for prompt in prompts) or 1.0
    for axis, (n, begin) in zip(figure.subplots(len(lines), 1, squeeze=False)[:, 0], lines, strict=True):
        table = np.full((len(features), STRIP), np.nan)
        part = np.array(prompts[n]["values"])[:, begin : begin + STRIP]
        table[:, : part.shape[1]] = part
        axis.imshow(table, aspect="auto", cmap="Reds", vmin=0, vmax=most)
        pieces = [repr(piece)[1:-1] for piece in prompts[n]["pieces"][begin : begin + STRIP]]
        axis.set_xticks(range(len(pieces)), pieces, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
        axis.set_yticks(range(len(features)), [f"#{feature}" for feature in features], fontsize=8)
        axis.spines[["top", "right", "left", "bottom"]].set_visible(False)
        if begin == 0:
            axis.set_title(f"prompt {n + 1}", fontsize=9, loc="left")
    return figure


def transitions(values: Mapping[str, Any]) -> Figure:
    """Mean loss of the groups with intervals, content after content parted, and what each adds to the whole."""
    figure, (loss, part) = _axes(2)
    groups = dict(values["groups"])
    parted = values["parted"]
    shown = {**{name: groups[name] for name in ("f>f", "f>c", "c>f", "c>c")}, "new word": parted["c>c"],
             "within": parted["c>c within a word"]}  # fmt: skip
    for place, (name, found) in enumerate(shown.items()):
        if found["loss"] is None:
            continue
        low, high = found["low"] or found["loss"], found["high"] or found["loss"]
        error = [[found["loss"] - low], [high - found["loss"]]]
        colour = GROUP_COLOURS.get(name, GROUP_COLOURS["c>c"])
        loss.bar(place, found["loss"], color=colour, yerr=error, alpha=1 if name in GROUP_COLOURS else 0.5)
        part.bar(place, found["contribution"], color=colour, alpha=1 if name in GROUP_COLOURS else 0.5)
    for axis in (loss, part):
        axis.set_xticks(range(len(shown)), list(shown), fontsize=8)
    loss.set(ylabel="nats", title="loss by transition; c>c also parted")
    part.set(ylabel="nats", title=f"share x loss (sum of the four: {values['mean']:.2f})")
    return figure


def echo(values: Mapping[str, Any]) -> Figure:
    """How often the features of a word fire again after it, by kind of token, with and without the word."""
    figure, (axis,) = _axes(1)
    ways = (("rate", FUNCTION, "with the word"), ("control", NULL, "with another word"))
    for place, kind in enumerate(("function", "content", "template")):
        for shift, (name, colour, label) in enumerate(ways):
            each = np.array(values[kind][name])
            told = "_" if place else label
            axis.bar(place + 0.4 * shift, each.mean(), 0.38, color=colour, alpha=0.7, label=told)
            axis.plot(np.full(len(each), place + 0.4 * shift), each, ".", color="black", markersize=3)
    axis.set_xticks(
        [0.2, 1.2, 2.2], [f"{kind} ({values[kind]['places']})" for kind in ("function", "content", "template")]
    )
    axis.set(ylabel="rate of firing again", title="a word's features at later tokens (dots: words)")
    axis.legend(frameon=False, loc="upper left")
    return figure


def steering(values: Mapping[str, Any]) -> Figure:
    """Answers turned by the whole state, by few features, by one; a random vector of equal length beside each."""
    figure, (axis,) = _axes(1, 7)
    names, place = [], 0
    features = {one["trait"]: one for one in values["features"] if one.get("k") is not None}
    for one in values["raw"]:
        rows = [("state", one)]
        if found := features.get(one["trait"]):
            rows += [(f"{found['k']} features", found), ("one feature", found["alone"])]
        for name, row in rows:
            axis.bar(place, row["rate"], 0.4, color=FUNCTION)
            axis.bar(place + 0.4, row["random"], 0.4, color=NULL)
            names.append(f"{one['trait']}\n{name}")
            place += 1
    axis.set_xticks(np.arange(len(names)) + 0.2, names, fontsize=8)
    axis.set(ylabel="answers turned", ylim=(0, 1.02), title="steering (grey: random vectors of equal length)")
    return figure


def over_training(runs: Sequence[Sequence[Mapping[str, Any]]]) -> Figure:
    """The four losses over checkpoints, their contributions stacked, and single targets; a line a seed."""
    figure, (loss, stack, single) = _axes(3, 5)
    steps = [one["at"] for one in runs[0]]
    place = np.arange(len(steps))
    for name, colour in GROUP_COLOURS.items():
        for number, run in enumerate(runs):
            curve = [one["groups"][name]["loss"] for one in run]
            loss.plot(place, curve, "o-", color=colour, markersize=3, label=None if number else name)
    parts = [
        [np.mean([run[n]["groups"][name]["contribution"] for run in runs]) for n in range(len(steps))]
        for name in GROUP_COLOURS
    ]
    stack.stackplot(place, parts, colors=list(GROUP_COLOURS.values()), labels=list(GROUP_COLOURS))
    for number, word in enumerate(runs[0][0]["targets"]):
        curves = [[run[n]["targets"][word]["loss"] for run in runs] for n in range(len(steps))]
        if all(value is not None for each in curves for value in each):
            single.plot(place, np.mean(curves, axis=1), "o-", markersize=3, label=repr(word), color=f"C{number}")
    single.plot(
        place, [np.mean([run[n]["mean"] for run in runs]) for n in range(len(steps))], "--", color=NULL, label="all"
    )
    for axis in (loss, stack, single):
        axis.set_xticks(place, [str(step) for step in steps])
        axis.set(xlabel="step", ylabel="nats")
        axis.legend(frameon=False, fontsize=8)
    loss.set_title("loss by transition")
    stack.set_title("share x loss")
    single.set_title("single targets")
    return figure


def growth(runs: Sequence[Sequence[Mapping[str, Any]]]) -> Figure:
    """Features that fire, by checkpoint and k, and the cross-entropy score that each count was taken at."""
    figure, (count, score) = _axes(2)
    names = [str(one["at"]) for one in runs[0]]
    place = np.arange(len(names))
    for number in range(len(runs[0][0]["counts"])):
        k = runs[0][0]["counts"][number]["k"]
        for axis, of in ((count, "once"), (score, "score")):
            each = np.array([[one["counts"][number][of] for one in run] for run in runs], float)
            axis.plot(place, each.mean(0), "o-", color=f"C{number}", label=f"k = {k}")
            axis.fill_between(place, each.min(0), each.max(0), color=f"C{number}", alpha=0.2)
    if all("matched" in one for run in runs for one in run):
        each = np.array([[one["matched"] or np.nan for one in run] for run in runs], float)
        count.plot(place, each.mean(0), "s-", color="black", label="at an equal score")
    for axis in (count, score):
        axis.set_xticks(place, names)
        axis.set_xlabel("step")
        axis.legend(frameon=False, fontsize=8)
    count.set(ylabel="features", title="features that fire on held-out text")
    score.set(ylabel="score", title="cross-entropy score")
    return figure


def over_size(runs: Sequence[Sequence[Mapping[str, Any]]]) -> Figure:
    """Final loss of each group by size, and what each group gains from the smallest to the largest."""
    figure, (loss, gain) = _axes(2)
    names = [one["name"] for one in runs[0]]
    for number, (group, colour) in enumerate(GROUP_COLOURS.items()):
        each = np.array([[one["groups"][group]["loss"] for one in run] for run in runs], float)
        loss.plot(names, each.mean(0), "o-", color=colour, label=group)
        drop = each[:, 0] - each[:, -1]
        gain.bar(number, drop.mean(), color=colour, yerr=[[drop.mean() - drop.min()], [drop.max() - drop.mean()]])
    gain.set_xticks(range(len(GROUP_COLOURS)), list(GROUP_COLOURS))
    loss.set(ylabel="nats", title="loss by transition and size")
    gain.set(ylabel="nats", title=f"gained from {names[0]} to {names[-1]}")
    loss.legend(frameon=False)
    return figure
