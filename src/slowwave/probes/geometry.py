"""Representation geometry: effective rank and spectral decay of last-token states, over layers and over checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.probes.activations import tokenise
from slowwave.probes.base import Finding, Probe, Progress, Verdict, Workspace, above
from slowwave.probes.spectra import alpha_req, eigenvalues, rankme, resampled
from slowwave.probes.subjects import Subject, untrained
from slowwave.probes.taps import Taps, anatomy


class Geometry(Probe):
    """RankMe and alpha-ReQ of the residual stream at the last token of many sequences, layer by layer.

    sequences  how many; the estimate grows with it, so compare runs of equal number alone
    context    tokens of each
    batch      sequences a forward pass
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
        self, quick: bool = False, seed: int = 0, sequences: int = 4000, context: int = 64, batch: int = 16
    ) -> None:
        super().__init__(quick, seed)
        self.sequences = min(sequences, 256) if quick else sequences
        self.context = min(context, 32) if quick else context
        self.batch = batch

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        values: dict[str, Any] = {
            "trained": work.part("trained", partial(self.layers, subject, texts, progress)),
            "untrained": work.part("untrained", partial(self.layers, untrained(subject, self.seed), texts, progress)),
        }
        mine, twin = values["trained"]["layers"][-1], values["untrained"]["layers"][-1]
        verdict = Verdict(
            "Training changes the effective rank of the last layer's states",
            above(mine["rankme_low"], mine["rankme_high"], twin["rankme_low"], twin["rankme_high"]),
            "RankMe",
            mine["rankme"],
            mine["rankme_low"],
            mine["rankme_high"],
            twin["rankme"],
            twin["rankme_low"],
            twin["rankme_high"],
            n=values["trained"]["sequences"],
            note="control: the same network untrained; 'holds' says that it is larger",
        )
        width = values["trained"]["width"]
        finding = Finding(self.name, [verdict], values, {"layers": lambda: draw_layers(values)})
        finding.limits = ["RankMe grows with the number of sequences: compare runs of equal number alone"]
        if values["trained"]["sequences"] < 20 * width:
            finding.limits.append(
                f"{values['trained']['sequences']:,} sequences are fewer than 20 times the width {width}"
            )
        return finding

    def layers(self, subject: Subject, texts: Sequence[str], progress: Progress) -> dict[str, Any]:
        """RankMe and alpha of every layer, with intervals over halves of the sequences."""
        states = self.states(subject, texts, progress)
        out = []
        for layer, found in enumerate(states):
            spectrum = eigenvalues(found)
            (low, high), (least, most) = resampled(found, 20, self.seed)
            out.append(
                {
                    "layer": layer, "rankme": rankme(spectrum), "rankme_low": low, "rankme_high": high,
                    "alpha": _plain(alpha_req(spectrum)), "alpha_low": _plain(least), "alpha_high": _plain(most),
                    "spectrum": [float(v) for v in spectrum[:256]],
                }
            )  # fmt: skip
        return {"layers": out, "sequences": len(states[0]), "width": states[0].shape[1]}

    def states(self, subject: Subject, texts: Sequence[str], progress: Progress) -> list[NDArray[np.float32]]:
        """The block outputs at the last token of each sequence: a list over layers of (sequences, width)."""
        tokens = tokenise(subject, texts, None, self.context)
        whole = tokens.ids[(tokens.ids >= 0).all(1)]
        if len(whole) < 16:
            raise InputError(f"the texts hold {len(whole)} sequences of {self.context} tokens; give more text")
        chosen = np.random.default_rng(self.seed).permutation(len(whole))[: self.sequences]
        many = len(anatomy(subject.model).blocks)
        kept: list[list[NDArray[np.float32]]] = [[] for _ in range(many)]
        with Taps(subject.model) as taps:
            for layer in range(many):
                taps.read(layer)
            for begin in range(0, len(chosen), self.batch):
                ids = torch.from_numpy(whole[np.sort(chosen)[begin : begin + self.batch]].astype(np.int64))
                subject.logits(ids)
                for layer in range(many):
                    kept[layer].append(taps.seen[layer, "block"][:, -1].numpy().copy())
                progress("states", min(begin + self.batch, len(chosen)), len(chosen))
        return [np.concatenate(parts) for parts in kept]


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
        spectrum.loglog(np.arange(1, len(last) + 1), last / last.sum(), color=colour)
    rank.set(xlabel="layer", ylabel="RankMe", title="effective rank")
    alpha.set(xlabel="layer", ylabel="alpha-ReQ", title="spectral decay")
    spectrum.set(xlabel="rank", ylabel="share of variance", title="last layer")
    rank.legend(frameon=False)
    return figure


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
