"""Two models side by side: which losses, features, heads, geometry and facts changed between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from slowwave.errors import InputError
from slowwave.probes import compare_figures as draw
from slowwave.probes.activations import Chosen, Tokens, batches_of, stream, tokenise
from slowwave.probes.base import FAILS, HOLDS, OPEN, Finding, Probe, Progress, Verdict, Word, Workspace, short_hash
from slowwave.probes.classes import classify
from slowwave.probes.compare_parts import (
    Pair,
    changed_features,
    changed_heads,
    changed_losses,
    mean_interval,
    similarity,
)
from slowwave.probes.geometry import Geometry
from slowwave.probes.subjects import Subject, load
from slowwave.probes.taps import Taps, anatomy

Values = dict[str, Any]


class Compare(Probe):
    """Two models or checkpoints side by side: losses, features, heads, geometry, and facts where statements are given.

    other       the second model: a folder, a .gguf file or a name; what is told is how it differs from the first
    statements  a file of facts, as for the instrument holds: which were learnt and which lost
    layer       whose features are compared; -1 takes the middle one
    tokens      read for losses and features
    k           features active a token; `expansion` times the width is how many there are
    context     tokens that the models see at once
    epochs      of the autoencoder's training, on both models' activations at once
    sequences   for geometry

    Example, before and after a fine-tune:

        Compare(other="after/").run("before/", out="compared")
    """

    name = "compare"
    paper = "None: what the other instruments measure, on two models and the same tokens"
    operations = ("updating", "forgetting")
    claim = "What a training changed can be told apart from what merely varies from text to text."
    differs = (
        "One autoencoder is trained on both models, so that a feature means the same in both; the control for rates of "
        "firing is the first model on other documents."
    )
    proof = "proofs/compare.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        other: str = "",
        statements: str | Sequence[Any] = "",
        layer: int = -1,
        tokens: int = 60_000,
        k: int = 32,
        expansion: int = 4,
        context: int = 128,
        epochs: int = 3,
        sequences: int = 1000,
    ) -> None:
        super().__init__(quick, seed)
        self.other: str | Subject = other
        self.statements = statements
        self.layer = layer
        self.tokens = min(tokens, 2_500) if quick else tokens
        self.k = k
        self.expansion = min(expansion, 2) if quick else expansion
        self.context = context
        self.epochs = min(epochs, 2) if quick else epochs
        self.sequences = min(sequences, 48) if quick else sequences

    def settings(self) -> dict[str, Any]:
        """The options; a second model that is already loaded by its name."""
        other = self.other.name if isinstance(self.other, Subject) else str(self.other)
        return super().settings() | {"other": other, "statements": short_hash(self.statements)}

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        if not self.other:
            raise InputError("compare needs two models; give the second one too (slowwave probe compare A B)")
        other = self.other if isinstance(self.other, Subject) else load(self.other)
        pair = Pair(subject, other)
        corpus = tokenise(subject, texts, self.tokens, self.context)
        values: Values = {"models": [subject.name, other.name], "same_tokens": pair.same_tokens(texts[:20])}
        limits = []
        if values["same_tokens"]:
            values["losses"] = work.part("losses", partial(self._losses, pair, corpus, progress))
            limits += self._inside(pair, texts, corpus, values, work, progress)
        else:
            limits.append("the tokenizers differ: losses, features, heads and states cannot be laid beside each other")
        geometry = Geometry(self.quick, self.seed, self.sequences, min(self.context, 64))
        for label, one in (("first", subject), ("second", other)):
            values[f"geometry_{label}"] = work.part(f"geometry-{label}", partial(geometry.layers, one, texts, progress))
        if self.statements:
            values["facts"] = work.part("facts", partial(self._facts, pair, progress))
        else:
            limits.append("no statements were given, so no fact is compared (--statements FILE)")
        finding = Finding(self.name, self._verdicts(values), values, draw.figures(values), limits)
        finding.tables = tables(values)
        if self.quick:
            finding.limits.append(f"quick: {self.tokens:,} tokens and {self.sequences} sequences: a first look alone")
        return finding

    def _inside(
        self, pair: Pair, texts: Sequence[str], corpus: Tokens, values: Values, work: Workspace, progress: Progress
    ) -> list[str]:
        """Heads, states and features, where the two are built alike; else why not."""
        shapes = [anatomy(one.model) for one in (pair.first, pair.second)]
        a, b = ((len(one.blocks), one.heads, one.width) for one in shapes)
        if a != b:
            return [
                f"layers, heads and width are {a} and {b}: features, heads and states cannot be compared one by one"
            ]
        layer = self.layer if self.layer >= 0 else len(shapes[0].blocks) // 2
        if layer >= len(shapes[0].blocks):
            raise InputError(f"layer is {layer}; these models have layers 0 to {len(shapes[0].blocks) - 1}")
        rows = 8 if self.quick else 64
        some = corpus.take(slice(None, None, max(1, len(corpus.ids) // rows)))
        values["states"] = work.part("states", partial(self._states, pair, some, progress))
        values["heads"] = work.part("heads", partial(changed_heads, pair, some, progress))
        if fitted := self._fits(pair, texts, work, progress):
            values["recall_heads"] = fitted
        values["layer"] = layer
        values["features"] = work.part("features", partial(self._features, pair, corpus, layer, work, progress))
        return []

    def _fits(self, pair: Pair, texts: Sequence[str], work: Workspace, progress: Progress) -> list[Values]:
        """Each head's distance from the recall model, in both; nothing where that instrument is not there."""
        from slowwave.probes import PLACES, SYSTEMS

        if "cmr-heads" not in PLACES:
            return []
        longest = int(getattr(pair.first.model.config, "context", 0) or 256)
        kind: Any = SYSTEMS["cmr-heads"]
        probe = kind(quick=self.quick, seed=self.seed, items=min(50, longest // 2 - 1))
        if probe.items < 3 * probe.lags:  # a context too short for a list said twice
            return []
        lists = probe.lists(pair.first, texts)
        found = [
            work.part(f"recall-heads-{label}", partial(probe.heads, one, lists, progress))
            for label, one in (("first", pair.first), ("second", pair.second))
        ]
        return [
            {
                "layer": a["layer"], "head": a["head"], "distance": [a["distance"], b["distance"]],
                "matching": [a["matching"], b["matching"]],
            }
            for a, b in zip(found[0]["heads"], found[1]["heads"], strict=True)
        ]  # fmt: skip

    def _losses(self, pair: Pair, corpus: Tokens, progress: Progress) -> Values:
        return changed_losses(pair, corpus, classify(corpus), self.seed, progress)

    def _states(self, pair: Pair, some: Tokens, progress: Progress) -> list[float]:
        """How alike the layers' outputs are on the same tokens: linear CKA, 1 for the same up to a rotation."""
        many = len(anatomy(pair.first.model).blocks)
        kept: list[list[list[torch.Tensor]]] = [[[] for _ in range(many)] for _ in range(2)]
        for side, one in enumerate((pair.first, pair.second)):
            with Taps(one.model) as taps:
                for layer in range(many):
                    taps.read(layer)
                for _, ids, real in batches_of(some, 8):
                    taps.run(one.states, ids)
                    chosen = torch.from_numpy(real)
                    chosen[:, : max(1, some.marks)] = False
                    for layer in range(many):
                        kept[side][layer].append(taps.seen[layer, "block"][chosen].half())
            progress("states", side + 1, 2)
        return [similarity(torch.cat(kept[0][n]).float(), torch.cat(kept[1][n]).float()) for n in range(many)]

    def _features(self, pair: Pair, corpus: Tokens, layer: int, work: Workspace, progress: Progress) -> Values:
        tables_ = []
        for label, one in (("first", pair.first), ("second", pair.second)):
            streamed = stream(one, corpus, [(layer, "block")], work.path(f"states-{label}"), progress)
            inside = corpus.inside()
            tables_.append(Chosen(streamed.of(layer), inside))
        return changed_features(
            pair, corpus, (tables_[0], tables_[1]), self.expansion, self.k, self.epochs, self.seed,
            work.path("compare-sae"), progress,
        )  # fmt: skip

    def _facts(self, pair: Pair, progress: Progress) -> list[Values]:
        """Each statement's confidence in both."""
        from slowwave.cloze.statements import read_statements
        from slowwave.probes.holds import Holds

        statements = read_statements(self.statements)[: 16 if self.quick else None]
        probe = Holds(self.quick, self.seed, statements)
        before, after = (probe.judge(one, statements, progress=progress) for one in (pair.first, pair.second))
        return [
            {
                "text": a.statement.text, "confidence": [a.confidence, b.confidence], "word": [a.word, b.word],
                "answer": [a.scores.answer, b.scores.answer], "twin": [a.twin, b.twin],
            }
            for a, b in zip(before, after, strict=True)
        ]  # fmt: skip

    def _verdicts(self, values: Values) -> list[Verdict]:
        out = []
        if "losses" in values:
            found = values["losses"]["all"]
            word: Word = (
                OPEN if found["low"] is None else HOLDS if found["high"] < 0 else FAILS if found["low"] > 0 else OPEN
            )
            out.append(
                Verdict(
                    "The second model predicts the text better",
                    word,
                    "loss, second less first",
                    found["mean"],
                    found["low"],
                    found["high"],
                    n=found["n"],
                    note="interval over documents, paired",
                )
            )
        if "features" in values:
            found = values["features"]
            noise = found["noise"]
            more = found["changed"] > 2 * noise and found["changed"] > 0
            out.append(
                Verdict(
                    "Features fire at other rates in the second model",
                    HOLDS if more else FAILS,
                    "share of features whose rate changed tenfold",
                    found["changed"],
                    None,
                    None,
                    noise,
                    note="control: the first model on other documents; twice that counts",
                    n=found["features"],
                )
            )
        a, b = values["geometry_first"]["layers"], values["geometry_second"]["layers"]
        if len(a) == len(b):
            apart = [
                x["rankme_low"] > y["rankme_high"] or y["rankme_low"] > x["rankme_high"]
                for x, y in zip(a, b, strict=True)
            ]
            ratio = b[-1]["rankme"] / a[-1]["rankme"]
            out.append(
                Verdict(
                    "The effective rank of the states changed",
                    HOLDS if any(apart) else OPEN,
                    "RankMe of the last layer, second / first",
                    ratio,
                    n=len(apart),
                    note=f"intervals apart in {sum(apart)} of {len(apart)} layers",
                )
            )
        if "facts" in values:
            out += self._fact_verdicts(values["facts"])
        return out

    def _fact_verdicts(self, facts: Sequence[Mapping[str, Any]]) -> list[Verdict]:
        change = np.array([one["confidence"][1] - one["confidence"][0] for one in facts])
        twins = np.array([one["twin"][1] - one["twin"][0] for one in facts])
        low, high = mean_interval(change - twins, self.seed)
        word: Word = OPEN if low is None or high is None else HOLDS if low > 0 else FAILS if high < 0 else OPEN
        learnt = sum(one["word"][1] == HOLDS != one["word"][0] for one in facts)
        lost = sum(one["word"][0] == HOLDS != one["word"][1] for one in facts)
        return [
            Verdict(
                "The second model holds more of the statements", word, "change of confidence", float(change.mean()),
                low, high, float(twins.mean()), n=len(facts),
                note=f"{learnt} learnt, {lost} lost; control: the same with wrong values, taken off in the interval",
            )
        ]  # fmt: skip


def tables(values: Values) -> dict[str, list[list[str]]]:
    """What changed most, item by item."""
    out: dict[str, list[list[str]]] = {}
    if "losses" in values:
        out["Loss by transition"] = [["transition", "first", "second", "second less first", "95 % interval"]] + [
            [name, *(f"{found[side]:.3f}" for side in ("first", "second")), f"{found['mean']:+.3f}", ends(found)]
            for name, found in values["losses"].items()
            if name != "tokens" and found["mean"] is not None
        ]
        out["Tokens that changed most"] = [["token", "times", "first", "second"]] + [
            [repr(one["piece"]), str(one["n"]), f"{one['first']:.2f}", f"{one['second']:.2f}"]
            for one in values["losses"]["tokens"]
        ]
    if "features" in values:
        out["Features that changed most"] = [["feature", "rate, first", "rate, second", "fires at"]] + [
            [str(one["feature"]), f"{one['first']:.4f}", f"{one['second']:.4f}", " ".join(map(repr, one["pieces"]))]
            for one in values["features"]["most"]
        ]
    if "heads" in values:
        order = sorted(values["heads"], key=lambda one: -one["change"])[:12]
        out["Heads that changed most"] = [["layer", "head", "change of its output"]] + [
            [str(one["layer"]), str(one["head"]), f"{one['change']:.0%}"] for one in order
        ]
    if "recall_heads" in values:
        known = [one for one in values["recall_heads"] if None not in one["distance"]]
        order = sorted(known, key=lambda one: -abs(one["matching"][1] - one["matching"][0]))[:12]
        out["Heads that attend to what followed last time"] = [
            ["layer", "head", "attention to it, first", "second", "distance from the recall model, first", "second"]
        ] + [
            [str(one["layer"]), str(one["head"]), *(f"{v:.3f}" for v in (*one["matching"], *one["distance"]))]
            for one in order
        ]
    if "facts" in values:
        order = sorted(values["facts"], key=lambda one: -abs(one["confidence"][1] - one["confidence"][0]))
        out["Facts"] = [["statement", "first", "second", "first goes on with", "second"]] + [
            [one["text"], *(f"{c:.2f}" for c in one["confidence"]), *one["answer"]] for one in order[:40]
        ]
    return out


def ends(found: Mapping[str, Any]) -> str:
    """An interval in words."""
    return "" if found["low"] is None else f"{found['low']:+.3f} to {found['high']:+.3f}"
