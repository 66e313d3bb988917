"""What the function-token instrument's values come to: verdicts, limits, and the tables of its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from slowwave.probes.base import FAILS, HOLDS, OPEN, Verdict, Word, above
from slowwave.probes.feature_layers import KS

Values = Mapping[str, Any]


def verdicts(values: Values) -> list[Verdict]:
    """One a claim. What frequency alone would give is the control of the first three."""
    trained, twin = values["layers"][str(values["middle"])], values["untrained"]
    found = [_breadth(trained, twin), *_coverage(trained), _echo(values["echo"]), _hardest(values["transitions"])]
    if "steering" in values:
        found += _steering(values["steering"])
    if "over_training" in values:
        found.append(_order(values["over_training"]))
    return found


def _breadth(trained: Values, twin: Values) -> Verdict:
    low, high = trained["d50_low"], trained["d50_high"]
    word = above(low, high, twin["d50_low"], twin["d50_high"])
    if word == HOLDS and low is not None and low <= 1:
        word = OPEN
    return Verdict(
        "Function tokens bring back more of what the context holds than content tokens, beyond their frequency",
        word, "D50 function / content", trained["d50_ratio"], low, high, twin["d50_ratio"], twin["d50_low"],
        twin["d50_high"], seeds=len(trained["seeds"]), n=len(trained["d50_content"]),
        note="control: the same network untrained" if low is not None else "too few tokens occur in 50 documents",
    )  # fmt: skip


def _coverage(trained: Values) -> list[Verdict]:
    ten = KS.index(10)
    low, high = trained["coverage_low"][ten], trained["coverage_high"][ten]
    bound = trained["coverage_permuted_low"][ten], trained["coverage_permuted_high"][ten]
    return [
        Verdict(
            "The ten commonest tokens reach more features than their frequency alone allows",
            above(low, high, *bound), "C(10)", trained["coverage"][ten], low, high, trained["coverage_permuted"][ten],
            *bound, seeds=len(trained["seeds"]), note="control: labels permuted over positions, a ceiling",
        )
    ]  # fmt: skip


def _echo(found: Values) -> Verdict:
    """Re-activation at function tokens, against the same features where the word is another one; paired over words."""
    kind = found["function"]
    low, high = _mean_interval(np.subtract(kind["rate"], kind["control"]))
    word: Word = OPEN if low is None else HOLDS if low > 0 else FAILS if high is not None and high < 0 else OPEN
    return Verdict(
        "Function tokens after a content word fire its features again",
        word, "rate above that without the word", float(np.mean(kind["rate"]) - np.mean(kind["control"])), low, high,
        0.0, n=len(kind["rate"]),
        note=f"content tokens after it: {np.mean(found['content']['rate']) - np.mean(found['content']['control']):.3f}",
    )  # fmt: skip


def _hardest(found: Values) -> Verdict:
    groups = found["groups"]
    word = above(*(groups[name][end] for name in ("f>c", "c>c") for end in ("low", "high")))
    signs = {share: one["f>c"] - one["c>c"] for share, one in found["by_share"].items() if None not in one.values()}
    if word == HOLDS and any(gap <= 0 for gap in signs.values()):
        word = OPEN  # it hangs on where the classes are cut
    return Verdict(
        "Content after a function token is the hardest to predict",
        word, "loss f>c", groups["f>c"]["loss"], groups["f>c"]["low"], groups["f>c"]["high"],
        groups["c>c"]["loss"], groups["c>c"]["low"], groups["c>c"]["high"], n=groups["f>c"]["n"],
        note="beside: loss c>c; f>c above it by "
        + ", ".join(f"{gap:+.2f} at {float(share):.0%}" for share, gap in signs.items()),
    )  # fmt: skip


def _steering(found: Values) -> list[Verdict]:
    out = []
    parts = [("A trait's state, added at the last function token, turns the answer", found["raw"])]
    features = [one for one in found["features"] if one.get("k") is not None]
    if found["features"]:
        parts.append(("A few features of that state turn the answer as well", features))
        alone = [one["alone"] for one in features]
        parts.append(("One feature alone turns the answer", alone))
    for claim, rows in parts:
        if not rows:
            out.append(
                Verdict(claim, OPEN, "rate", None, note="no number of features, strongest first, turned answers")
            )
            continue
        gaps = np.array([one["rate"] - one["random"] for one in rows])
        low, high = (float(gaps.min()), float(gaps.max())) if len(gaps) > 1 else (None, None)
        word: Word = OPEN if low is None or high is None else HOLDS if low > 0 else FAILS if high <= 0 else OPEN
        out.append(
            Verdict(
                claim, word, "answers turned", float(np.mean([one["rate"] for one in rows])), None, None,
                float(np.mean([one["random"] for one in rows])), 0.0, max(one["random_most"] for one in rows),
                n=len(rows),
                note=f"over traits; above random vectors of equal length by {gaps.min():.2f} to {gaps.max():.2f}",
            )
        )  # fmt: skip
    return out


def _order(found: list[Values]) -> Verdict:
    """Do function targets settle before content targets: the share of the whole fall that is done half-way."""
    if len(found) < 3:
        return Verdict("Function targets are learnt first", OPEN, "share", None, note="give three checkpoints")
    falls = {name: settled([one["groups"][name]["loss"] for one in found]) for name in ("f>f", "c>f", "f>c", "c>c")}
    function, content = (falls["f>f"] + falls["c>f"]) / 2, (falls["f>c"] + falls["c>c"]) / 2
    return Verdict(
        "Function targets are learnt first", HOLDS if function > content else FAILS,
        "share of the fall done at the second checkpoint", function, None, None, content,
        note="beside: content targets",
    )  # fmt: skip


def settled(losses: list[float], place: int = 1) -> float:
    """The share of a curve's whole fall that is done at a place.

    >>> settled([8.0, 3.0, 2.0])
    0.8333333333333334
    """
    return (losses[0] - losses[place]) / max(losses[0] - losses[-1], 1e-9)


def _mean_interval(values: Any, seed: int = 0) -> tuple[float | None, float | None]:
    x = np.asarray(values, float)
    if len(x) < 3:
        return None, None
    drawn = np.random.default_rng(seed).integers(0, len(x), (2000, len(x)))
    low, high = np.percentile(x[drawn].mean(1), [2.5, 97.5])
    return float(low), float(high)


def limits(values: Values, quick: bool, tokens: int, expansion: int) -> list[str]:
    """What this run cannot tell."""
    out = [
        "The 40 % cut belongs to this corpus: in a small or narrow one it takes in topical words.",
        "Losses of models with different tokenizers cannot be compared.",
        "Raw coverage proves nothing: frequent tokens have more occurrences, hence more edges. D50 is the test.",
    ]
    for layer, found in values["layers"].items():
        if not found["d50_content"] or not found["d50_function"]:
            out.append(f"layer {layer}: too few tokens occur in 50 documents for D50; give more documents")
        if found["explained"] < 0.7:
            out.append(f"layer {layer}: the autoencoder explains {found['explained']:.0%} of the variance alone")
    for one in values.get("steering", {}).get("raw", ()):
        if not one["shows_it_itself"]:
            out.append(f"steering: the model's own answer to the prompt of {one['trait']!r} does not show the trait")
    if quick:
        out.append(
            f"quick: {tokens:,} tokens, one layer, {expansion} times the width, one trait, no features steered: "
            "a first look alone"
        )
    return out


def tables(values: Values) -> dict[str, list[list[str]]]:
    """Tables of the page: title -> rows, the first of them the heads."""
    out: dict[str, list[list[str]]] = {}
    classes = values["classes"]
    out["The commonest tokens"] = [["token", "share", "of documents"]] + [
        [repr(row["piece"]), f"{row['share']:.2%}", f"{row['coverage']:.1%}"] for row in classes["top"][:15]
    ]
    groups, parted = values["transitions"]["groups"], values["transitions"]["parted"]
    out["Loss by transition"] = [["transition", "loss", "95 % interval", "share", "contribution"]] + [
        [name, *_loss_row(row)] for name, row in (*groups.items(), ("c>c, a new word", parted["c>c"]),
                                                  ("c>c, within a word", parted["c>c within a word"]))
    ]  # fmt: skip
    out["Predictions for a fixed sentence"] = [["token", "likeliest", "its probability", "the token's"]] + [
        [repr(row["token"]), repr(row["guess"]), f"{row['share']:.2f}", f"{row['share_of_token']:.2f}"]
        for row in values["transitions"]["sentence"]
    ]
    if "steering" in values:
        out["Steering"] = steering_table(values["steering"])
        out["Steered answers"] = answers_table(values["steering"])
    return out


def _loss_row(row: Values) -> list[str]:
    if row["loss"] is None:
        return ["", "", "0", "0"]
    ends = "" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
    return [f"{row['loss']:.3f}", ends, f"{row['share']:.1%}", f"{row['contribution']:.3f}"]


def steering_table(found: Values) -> list[list[str]]:
    """What was added, where, and how many answers it turned."""
    rows = [["trait", "added", "layer", "answers turned", "random vector", "nothing added"]]
    plain = {one["trait"]: one["plain"] for one in found["raw"]}
    for one in found["raw"]:
        rows.append(
            [one["trait"], f"the {one['way']} x {one['strength']:g}", str(one["layer"]), f"{one['rate']:.0%}",
             f"{one['random']:.0%}", f"{one['plain']:.0%}"]
        )  # fmt: skip
    for one in found["features"]:
        if one.get("k") is None:
            rows.append([one["trait"], "its features: no k turns enough answers", str(one["layer"]), "", "", ""])
            continue
        steady = "" if one["steady"] else ", not steady around k"
        for added, row in (
            (f"{one['k']} features{steady}", one), (f"feature {one['feature']} alone", one["alone"]),
        ):  # fmt: skip
            rows.append(
                [one["trait"], added, str(one["layer"]), f"{row['rate']:.0%}", f"{row['random']:.0%}",
                 f"{plain[one['trait']]:.0%}"]
            )  # fmt: skip
    for pair in found["pairs"]:
        a, b = pair["traits"]
        told = f"{pair['first']:.0%} {a}, {pair['second']:.0%} {b}, {pair['both']:.0%} both"
        rows.append([f"{a} and {b}", "one feature of each", "", told, "", ""])
    return rows


def answers_table(found: Values, many: int = 4) -> list[list[str]]:
    """The first answers of each kind."""
    rows = [["trait", "added", *found["prompts"][:many]]]
    for one in found["raw"]:
        for added, answers in one["answers"].items():
            rows.append([one["trait"], added, *answers[:many]])
    for one in found["features"]:
        if one.get("k") is not None:
            for added, answers in one["answers"].items():
                rows.append([one["trait"], added, *answers[:many]])
            rows.append([one["trait"], f"feature {one['feature']} alone", *one["alone"]["answers"][:many]])
    for pair in found["pairs"]:
        rows.append([" and ".join(pair["traits"]), "one feature of each", *pair["answers"][:many]])
    return rows
