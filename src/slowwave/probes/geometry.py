"""Representation geometry: effective rank and spectral decay of last-token states, over layers and over checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from slowwave.errors import InputError
from slowwave.probes.activations import tokenise
from slowwave.probes.base import HOLDS, OPEN, Finding, Probe, Progress, Verdict, Workspace, above
from slowwave.probes.infinity_gram import InfinityGram
from slowwave.probes.spectra import alpha_req, eigenvalues, rankme, resampled
from slowwave.probes.subjects import Subject, load, untrained
from slowwave.probes.taps import Taps, anatomy


class Geometry(Probe):
    """RankMe and alpha-ReQ of the residual stream at the last token of many sequences, layer by layer.

    sequences    how many; the estimate grows with it, so compare runs of equal number alone
    context      tokens of each
    batch        sequences a forward pass
    checkpoints  earlier states of the model, in their order: folders, .gguf files or names; the model is last
    corpus       a file or a folder of texts that the model has read: beside the geometry, how closely its chances for
                 the last `span` tokens of each sequence follow what the corpus says after the same words. The sequences
                 should not be of it
    """

    name = "geometry"
    paper = (
        "Tracing the Representation Geometry of Language Models from Pretraining to Post-training "
        "(Li, Agrawal, Ghosh et al. 2025, arXiv 2509.23024)"
    )
    operations = ("compression", "consolidation")
    claim = "Over training, states first collapse, then expand two- to threefold, then compress along few directions."
    differs = (
        "The range of ranks for alpha is 11 to 100, since the paper gives none. Layers are shown beside each other and "
        "never mixed. The untrained network is the control. Sequences are fewer, and their number is printed."
    )
    proof = "proofs/geometry.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        sequences: int = 4000,
        context: int = 64,
        batch: int = 16,
        checkpoints: Sequence[str] = (),
        corpus: str = "",
        span: int = 3,
    ) -> None:
        super().__init__(quick, seed)
        self.sequences = min(sequences, 128) if quick else sequences
        self.context = min(context, 32) if quick else context
        self.batch = batch
        self.checkpoints = tuple(checkpoints)
        if not 1 <= span < self.context:
            raise InputError(f"span is {span}; it must lie between 1 and context less one, {self.context - 1}")
        self.corpus: str | Sequence[str] = corpus
        self.span = span
        self._gram: tuple[Any, InfinityGram] | None = None

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        values: dict[str, Any] = {
            "trained": work.part("trained", partial(self.layers, subject, texts, progress)),
            "untrained": work.part("untrained", partial(self.layers, untrained(subject, self.seed), texts, progress)),
        }
        mine, twin = values["trained"]["layers"][-1], values["untrained"]["layers"][-1]
        ends = (mine["rankme_low"], mine["rankme_high"], twin["rankme_low"], twin["rankme_high"])
        apart = HOLDS in (above(*ends), above(*ends[2:], *ends[:2]))
        verdicts = [
            Verdict(
                "Training changes the effective rank of the last layer's states", HOLDS if apart else OPEN,
                "RankMe", mine["rankme"], *ends[:2], twin["rankme"], *ends[2:], n=values["trained"]["sequences"],
                note=f"it is {'larger' if mine['rankme'] > twin['rankme'] else 'smaller'}; control: the same untrained",
            )
        ]  # fmt: skip
        if self.corpus:
            verdicts.append(_follows(values["trained"]["corpus"], values["untrained"]["corpus"]))
        width = values["trained"]["width"]
        finding = Finding(self.name, verdicts, values, {"layers": lambda: draw_layers(values)})
        if self.checkpoints:
            values["path"] = self.path(subject, texts, values["trained"], work, progress)
            verdicts.append(self._path_verdict(values["path"]))
            finding.figures["path"] = lambda: draw_path(values["path"])
        finding.limits = ["RankMe grows with the number of sequences: compare runs of equal number alone"]
        if values["trained"]["sequences"] < 20 * width:
            finding.limits.append(
                f"{values['trained']['sequences']:,} sequences are fewer than 20 times the width {width}"
            )
        return finding

    def path(
        self, subject: Subject, texts: Sequence[str], trained: Mapping[str, Any], work: Workspace, progress: Progress
    ) -> list[dict[str, Any]]:
        """The last layer's numbers and the loss at each checkpoint, the model itself last."""
        out = []
        for number, place in enumerate(self.checkpoints):
            found = work.part(f"checkpoint-{number}", partial(self._last, place, texts, progress))
            if found["width"] != trained["width"]:
                raise InputError(f"{place} has width {found['width']} and {subject.name} {trained['width']}")
            out.append({"name": place, **_row(found)})
        return [*out, {"name": subject.name, **_row(trained)}]

    def _last(self, place: str, texts: Sequence[str], progress: Progress) -> dict[str, Any]:
        return self.layers(load(place), texts, progress, last_alone=True)

    def _path_verdict(self, path: Sequence[Mapping[str, Any]]) -> Verdict:
        lowest = min(range(len(path)), key=lambda n: path[n]["rankme"])
        highest = max(range(lowest, len(path)), key=lambda n: path[n]["rankme"])
        down, up = path[lowest], path[highest]
        found = phases([row["rankme"] for row in path])
        said = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        word = above(up["rankme_low"], up["rankme_high"], down["rankme_low"], down["rankme_high"])
        return Verdict(
            "The effective rank expands from its lowest over the checkpoints", word, "RankMe", up["rankme"],
            up["rankme_low"], up["rankme_high"], down["rankme"], down["rankme_low"], down["rankme_high"],
            note=f"{up['name']} over {down['name']}; shares of the value before: {said}",
        )  # fmt: skip

    def layers(
        self, subject: Subject, texts: Sequence[str], progress: Progress, last_alone: bool = False
    ) -> dict[str, Any]:
        """RankMe and alpha of every layer, with intervals from halves of the sequences; the loss on them beside."""
        states, loss, chances = self.states(subject, texts, progress)
        out = []
        for layer, found in list(enumerate(states))[-1:] if last_alone else enumerate(states):
            spectrum = eigenvalues(found)
            (low, high), (least, most) = resampled(found, 20, self.seed)
            out.append(
                {
                    "layer": layer, "rankme": rankme(spectrum), "rankme_low": low, "rankme_high": high,
                    "alpha": _plain(alpha_req(spectrum)), "alpha_low": _plain(least), "alpha_high": _plain(most),
                    "spectrum": [float(v) for v in spectrum[:256]],
                }
            )  # fmt: skip
        found_ = {"layers": out, "loss": loss, "sequences": len(states[0]), "width": states[0].shape[1]}
        return found_ | ({"corpus": self.likeness(subject, texts, chances, progress)} if self.corpus else {})

    def likeness(
        self, subject: Subject, texts: Sequence[str], chances: NDArray[np.float64], progress: Progress
    ) -> dict[str, Any]:
        """Rank correlation, over sequences, of the model's chances for their last tokens and the corpus' own.

        Source: Wang et al. 2025, distributional memorisation: Spearman's rho with an infinity-gram.
        """
        from slowwave.probes.texts import read_texts

        chosen = self._chosen(subject, texts)
        if self._gram is None or self._gram[0] is not subject.tokenizer:
            read = [subject.encode(text) for text in read_texts(self.corpus)]
            self._gram = (subject.tokenizer, InfinityGram(read))
        due = []
        for n, row in enumerate(chosen.tolist()):
            due.append(self._gram[1].span(row[: -self.span], row[-self.span :]))
            if n % 64 == 63:
                progress("corpus", n + 1, len(chosen))
        return {"n": len(due), "seen": float(np.mean(np.array(due) > 0)), **rank_correlation(chances, due, self.seed)}

    def _chosen(self, subject: Subject, texts: Sequence[str]) -> NDArray[np.int64]:
        """The sequences that are looked at, (n, context) ids."""
        tokens = tokenise(subject, texts, None, self.context)
        whole = tokens.ids[(tokens.ids >= 0).all(1)]
        if len(whole) < 16:
            raise InputError(
                f"the texts hold {len(whole)} sequences of {self.context} tokens and 16 are needed; give more text"
            )
        chosen = np.random.default_rng(self.seed).permutation(len(whole))[: self.sequences]
        return whole[np.sort(chosen)].astype(np.int64)

    def states(
        self, subject: Subject, texts: Sequence[str], progress: Progress
    ) -> tuple[list[NDArray[np.float32]], float, NDArray[np.float64]]:
        """(block outputs at the last token of each sequence, over layers (sequences, width); the mean loss; each
        sequence's log-probability of its last `span` tokens, nats)."""
        chosen = self._chosen(subject, texts)
        many = len(anatomy(subject.model).blocks)
        kept: list[list[NDArray[np.float32]]] = [[] for _ in range(many)]
        losses: list[float] = []
        chances: list[NDArray[np.float64]] = []
        with Taps(subject.model) as taps:
            for layer in range(many):
                taps.read(layer)
            for begin in range(0, len(chosen), self.batch):
                ids = torch.from_numpy(chosen[begin : begin + self.batch])
                logits = subject.logits(ids)[:, :-1]
                found = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
                losses += found.mean(1).tolist()
                chances.append(-found[:, -self.span :].sum(1).double().numpy())
                for layer in range(many):
                    kept[layer].append(taps.seen[layer, "block"][:, -1].numpy().copy())
                progress("states", min(begin + self.batch, len(chosen)), len(chosen))
        return [np.concatenate(parts) for parts in kept], float(np.mean(losses)), np.concatenate(chances)


def rank_correlation(a: Sequence[float] | NDArray[np.float64], b: Sequence[float], seed: int) -> dict[str, Any]:
    """Spearman's rho of two lists with its 95 % interval over items; None where one of them is all alike."""
    first, second = np.asarray(a, float), np.asarray(b, float)
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return {"rho": None, "rho_low": None, "rho_high": None}
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(200):
        some = rng.integers(0, len(first), len(first))
        if np.ptp(first[some]) and np.ptp(second[some]):
            found.append(float(stats.spearmanr(first[some], second[some]).statistic))
    low, high = np.percentile(found, [2.5, 97.5])
    return {"rho": float(stats.spearmanr(first, second).statistic), "rho_low": float(low), "rho_high": float(high)}


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    rho = found["corpus"]["rho"] if "corpus" in found else None
    return {"loss": found["loss"], "rho": rho, **found["layers"][-1]}


def _follows(mine: Mapping[str, Any], twin: Mapping[str, Any]) -> Verdict:
    return Verdict(
        "The model's chances follow what the corpus says after the same words",
        above(mine["rho_low"], mine["rho_high"], twin["rho_low"], twin["rho_high"]), "Spearman's rho", mine["rho"],
        mine["rho_low"], mine["rho_high"], twin["rho"], twin["rho_low"], twin["rho_high"], n=mine["n"],
        note=f"infinity-gram; {mine['seen']:.0%} of the spans are in the corpus; control: the same untrained",
    )  # fmt: skip


def phases(ranks: Sequence[float]) -> dict[str, float]:
    """Collapse (lowest over first), expansion (highest after it over lowest), compression (last over that highest)."""
    lowest = int(np.argmin(ranks))
    highest = lowest + int(np.argmax(ranks[lowest:]))
    return {
        "collapse": ranks[lowest] / ranks[0],
        "expansion": ranks[highest] / ranks[lowest],
        "compression": ranks[-1] / ranks[highest],
    }


def draw_path(path: Sequence[Mapping[str, Any]]) -> Any:
    """RankMe, alpha and loss over the checkpoints, phases shaded."""
    from slowwave.probes.function_token_figures import CONTENT, FUNCTION, NULL, _axes

    figure, (axis,) = _axes(1, 7)
    place, ranks = np.arange(len(path)), [row["rankme"] for row in path]
    lowest = int(np.argmin(ranks))
    highest = lowest + int(np.argmax(ranks[lowest:]))
    for begin, end, colour in ((0, lowest, NULL), (lowest, highest, CONTENT), (highest, len(path) - 1, FUNCTION)):
        axis.axvspan(begin, end, color=colour, alpha=0.12, linewidth=0)
    axis.semilogy(place, ranks, "o-", color=CONTENT, label="RankMe")
    axis.fill_between(
        place, [r["rankme_low"] for r in path], [r["rankme_high"] for r in path], color=CONTENT, alpha=0.2
    )
    axis.semilogy(
        place,
        [np.nan if r["alpha"] is None else max(r["alpha"], 1e-3) for r in path],
        "s--",
        color=FUNCTION,
        label="alpha",
    )
    axis.semilogy(place, [row["loss"] for row in path], ":", color="black", label="loss, nats")
    if any(row.get("rho") is not None for row in path):
        right = axis.twinx()
        right.plot(place, [np.nan if row["rho"] is None else row["rho"] for row in path], "^-", color=NULL)
        right.set_ylabel("Spearman's rho with the corpus (triangles)")
    axis.set_xticks(place, [str(row["name"])[-24:] for row in path], rotation=20, fontsize=7)
    axis.set(title="collapse, expansion, compression (shaded)")
    axis.legend(frameon=False)
    return figure


def draw_layers(values: Mapping[str, Any]) -> Any:
    """RankMe and alpha against depth, trained and untrained, and the last layer's spectrum."""
    from slowwave.probes.function_token_figures import CONTENT, NULL, _axes

    figure, (rank, alpha, spectrum) = _axes(3, 4.6)
    for name, colour in (("untrained", NULL), ("trained", CONTENT)):
        layers = values[name]["layers"]
        depth = [row["layer"] for row in layers]
        rank.plot(depth, [row["rankme"] for row in layers], "o-", color=colour, label=name, markersize=3)
        rank.fill_between(
            depth, [r["rankme_low"] for r in layers], [r["rankme_high"] for r in layers], color=colour, alpha=0.2
        )
        alpha.plot(
            depth, [np.nan if r["alpha"] is None else r["alpha"] for r in layers], "o-", color=colour, markersize=3
        )
        last = np.array(layers[-1]["spectrum"])
        last = last[last > 1e-9 * last[0]] / last.sum()  # what is centred has one direction fewer than states
        spectrum.loglog(np.arange(1, len(last) + 1), last, color=colour, label=name)
    rank.set(xlabel="layer", ylabel="RankMe", title="effective rank")
    alpha.set(xlabel="layer", ylabel="alpha-ReQ", title="spectral decay")
    spectrum.set(xlabel="rank", ylabel="share of variance", title="last layer's spectrum")
    for axis in (rank, spectrum):
        axis.legend(frameon=False)
    return figure


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
