"""The token-feature graph of one layer: its autoencoder, degrees, coverage, and the nulls beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.probes.activations import Chosen, Streamed, Table
from slowwave.probes.base import Progress
from slowwave.probes.classes import Classes
from slowwave.probes.feature_graph import graph_of, permuted, rarefied, rarefied_anywhere, ratio_interval
from slowwave.probes.fired import Fired, encode
from slowwave.probes.sae import Sae, SaeConfig, health, restore, save, train_sae

KS = (1, 3, 10, 30, 100, 300, 1000)
PER_CLASS = 200  # tokens of each class whose D50 is taken
NULLS = 3  # permutations of the labels
BATCH = 2048


@dataclass(frozen=True)
class LayerRun:
    """How the graph of a layer is made: its autoencoder's sizes and seed, and where its parts lie."""

    expansion: int
    k: int
    epochs: int
    seed: int
    folder: Path

    def measure(self, streamed: Streamed, layer: int, classes: Classes, progress: Progress) -> dict[str, Any]:
        """Health, degrees, coverage and D50 of one layer, as plain values.

        The first position of a row carries the massive activations and is left out.
        """
        token, document, _ = streamed.tokens.flat()
        inside = streamed.tokens.inside()
        raw = Chosen(streamed.of(layer), inside)
        sae = autoencoder(raw, self, progress)
        state = health(sae, raw[:: max(1, len(raw) // (1 << 15))])
        fired = encode(sae, raw, self.folder, progress)
        tokens, documents = token[inside], document[inside]
        graph = graph_of(fired, tokens)
        null = []
        for n in range(NULLS):  # one at a time: each is as large as the graph
            found = permuted(fired, tokens, self.seed + n)
            null.append((found.coverage(KS)["of connected"], found.coverage(KS, 0.01)["of connected"]))
        nulls, nulls_at_1 = [one for one, _ in null], [one for _, one in null]
        function, content = by_class(fired, tokens, documents, classes, self.seed)
        ratio, low, high = ratio_interval(list(function.values()), list(content.values()), self.seed)
        whole, at_1 = graph.coverage(KS), graph.coverage(KS, 0.01)
        return {
            "health": state.line(),
            "explained": state.explained,
            "l0": state.l0,
            "dead": state.dead,
            "features": fired.features,
            "connected": graph.connected,
            "edges": int(graph.counts.nnz),
            "ks": list(KS),
            "coverage": whole["of connected"],
            "coverage_of_all": whole["of all"],
            "coverage_at_1_percent": at_1["of connected"],
            "coverage_at_1_percent_of_all": at_1["of all"],
            "coverage_permuted": np.mean(nulls, axis=0).tolist(),
            "coverage_permuted_low": np.min(nulls, axis=0).tolist(),
            "coverage_permuted_high": np.max(nulls, axis=0).tolist(),
            "coverage_at_1_percent_permuted": np.mean(nulls_at_1, axis=0).tolist(),
            "over_permuted": (np.array(whole["of connected"]) / np.mean(nulls, axis=0)).tolist(),
            "degrees": graph.degrees()[:5000].tolist(),
            "degrees_at_1_percent": graph.degrees(0.01)[:5000].tolist(),
            "is_function": classes.is_function(graph.ids)[:5000].tolist(),
            "d50_function": sorted(function.values()),
            "d50_content": sorted(content.values()),
            "d50_anywhere": rarefied_anywhere(fired, 50, self.seed) if len(fired) >= 50 else [],
            "d50_ratio": plain(ratio),
            "d50_low": plain(low),
            "d50_high": plain(high),
        }


def autoencoder(raw: Table, run: LayerRun, progress: Progress) -> Sae:
    """The autoencoder of a run: what its folder holds, or one that is trained now, from where a kill left it."""
    if (run.folder / "cfg.json").is_file():
        return restore(run.folder)
    width = raw.shape[1]
    config = SaeConfig(width, run.expansion * width, k=min(run.k, width), seed=run.seed, batch=BATCH)
    if len(raw) < config.batch:
        raise InputError(f"the texts hold {len(raw)} tokens; give at least {config.batch}")
    run.folder.mkdir(parents=True, exist_ok=True)
    sae = train_sae(raw, config, run.epochs, progress, run.folder / "training.pt")
    save(sae, run.folder)
    return restore(run.folder)  # as a run that goes on from here will see it, to the last bit


def by_class(
    fired: Fired, tokens: NDArray[np.int32], documents: NDArray[np.int32], classes: Classes, seed: int
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """D50 of the function tokens, and of content tokens that occur in enough documents: token -> features."""
    function = classes.ids[: classes.function].tolist()[:PER_CLASS]
    content = classes.ids[classes.function : classes.function + 20 * PER_CLASS].tolist()
    found = rarefied(fired, tokens, documents, content, seed)
    return rarefied(fired, tokens, documents, function, seed), dict(list(found.items())[:PER_CLASS])


def over_seeds(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several autoencoders of one layer as one: the first's values, means where the others differ, intervals that hold
    all of theirs."""
    out = dict(found[0])
    known = [one for one in found if one["d50_ratio"] is not None]
    if known:
        out["d50_ratio"] = float(np.mean([one["d50_ratio"] for one in known]))
        out["d50_low"], out["d50_high"] = (min(one["d50_low"] for one in known), max(one["d50_high"] for one in known))
    for name in ("coverage", "coverage_of_all", "coverage_at_1_percent", "coverage_permuted", "over_permuted"):
        out[name] = np.mean([one[name] for one in found], axis=0).tolist()
    out["coverage_low"] = np.min([one["coverage"] for one in found], axis=0).tolist()
    out["coverage_high"] = np.max([one["coverage"] for one in found], axis=0).tolist()
    for name, end in (("coverage_permuted_low", np.min), ("coverage_permuted_high", np.max)):
        out[name] = end([one[name] for one in found], axis=0).tolist()
    out["seeds"] = [
        {name: one[name] for name in ("health", "explained", "d50_ratio", "d50_low", "d50_high", "connected")}
        for one in found
    ]
    return out


def plain(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else value
