"""Function tokens: are a few very frequent tokens where a model brings back what its context made relevant?

The card has seven parts: token classes (A), the token-feature graph (B), re-activation strips (C), steering (D),
feature growth (E) and loss by transition over training (F) and size (G). A, B, C and F are here, on one model; the rest
is run on sequences of models by `proofs/function_tokens.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from slowwave.errors import InputError
from slowwave.probes import function_token_figures as draw
from slowwave.probes.activations import Streamed, Tokens, stream, tokenise
from slowwave.probes.base import Finding, Probe, Progress, Verdict, Workspace, above
from slowwave.probes.classes import Classes, classify, spread, starts_word
from slowwave.probes.feature_graph import graph_of, permuted, rarefied, rarefied_anywhere, ratio_interval
from slowwave.probes.sae import Sae, SaeConfig, health, restore, save, train_sae
from slowwave.probes.subjects import Subject, untrained
from slowwave.probes.taps import anatomy
from slowwave.probes.transitions import GROUPS, by_transition, groups_of, losses_of, split_continuations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KS = (1, 3, 10, 30, 100, 300, 1000)
PER_CLASS = 200  # tokens of each class whose D50 is taken
QUICK = {"tokens": 20_000, "loss_tokens": 10_000, "expansion": 2, "epochs": 1}
PROMPTS = (
    "Answer in one word. The capital of Russia is the city of",
    "Answer in one word. The capital of England is the city of",
)


class FunctionTokens(Probe):
    """Token classes, token-feature graph, re-activation strips and loss by transition, each with its control.

    share        of all occurrences that function tokens make up
    tokens       read for the graph; loss_tokens for the losses
    layers       whose residual stream is looked at; () takes an early, a middle and a late one
    k            features active a token; `expansion` times the width is how many there are
    context      tokens that the model sees at once
    epochs       of each autoencoder's training
    prompts      whose features are shown token by token; they should differ in one word

    Example, on a model's file:

        FunctionTokens(quick=True).run("smollm2-135m.gguf", out="function-tokens")
    """

    name = "function-tokens"
    paper = (
        "Memory Retrieval and Consolidation in Large Language Models through Function Tokens "
        "(Zhang, Lin, Li 2025, arXiv 2510.08203)"
    )
    operations = ("retrieval", "consolidation")
    claim = "The ten commonest tokens reach 48 to 76 % of all features; content after function tokens is hardest."
    differs = (
        "Autoencoders are TopK ones trained on the texts at hand, 8 times the width, not Gemma Scope's 2^20. The paper "
        "has no control for frequency; three are added: labels permuted, the same network untrained, and D50, the "
        "features fired within 50 occurrences from 50 documents. The first position of a text is left out."
    )
    proof = "proofs/function_tokens.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        share: float = 0.4,
        tokens: int = 300_000,
        loss_tokens: int = 100_000,
        layers: Sequence[int] = (),
        k: int = 32,
        expansion: int = 8,
        context: int = 256,
        epochs: int = 3,
        prompts: Sequence[str] = PROMPTS,
    ) -> None:
        super().__init__(quick, seed)
        self.share = share
        self.tokens = min(tokens, QUICK["tokens"]) if quick else tokens
        self.loss_tokens = min(loss_tokens, QUICK["loss_tokens"]) if quick else loss_tokens
        self.layers = tuple(layers)
        self.k = k
        self.expansion = min(expansion, QUICK["expansion"]) if quick else expansion
        self.context = context
        self.epochs = min(epochs, QUICK["epochs"]) if quick else epochs
        self.prompts = tuple(prompts)

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        layers = self._layers(subject)
        corpus = tokenise(subject, texts, self.tokens, self.context)
        classes = classify(corpus, self.share)
        values: dict[str, Any] = {"classes": self._about_classes(subject, corpus, classes), "layers": {}}
        streamed = stream(subject, corpus, [(layer, "block") for layer in layers], work.path("trained"), progress)
        for layer in layers:
            make = partial(self._layer, streamed, layer, classes, work, "trained", progress)
            values["layers"][str(layer)] = work.part(f"layer-{layer}", make)
        middle = layers[len(layers) // 2]
        values["untrained"] = work.part(
            "untrained", lambda: self._untrained(subject, corpus, middle, classes, work, progress)
        )
        values["strips"] = work.part("strips", lambda: self._strips(subject, middle, work))
        values["transitions"] = work.part("transitions", lambda: self._transitions(subject, texts, classes, progress))
        finding = Finding(self.name, self._verdicts(values, str(middle)), values, self._figures(values, str(middle)))
        finding.limits = self._limits(values)
        return finding

    def _layers(self, subject: Subject) -> tuple[int, ...]:
        many = len(anatomy(subject.model).blocks)
        if self.layers:
            wrong = [layer for layer in self.layers if not 0 <= layer < many]
            if wrong:
                raise InputError(f"layers are {self.layers}; this model has layers 0 to {many - 1}")
            return self.layers
        if self.quick:
            return (many // 2,)
        return tuple(sorted({round(many * part) for part in (0.3, 0.6)} | {round(many * 0.9)}))

    # -- A: classes

    def _about_classes(self, subject: Subject, corpus: Tokens, classes: Classes) -> dict[str, Any]:
        top = classes.ids[: max(classes.function, 30)]
        example = {
            "function": int(classes.ids[min(1, classes.function - 1)]),
            "content": int(classes.ids[min(len(classes.ids) - 1, classes.function + 100)]),
        }
        return {
            "tokens": corpus.count,
            "documents": len(set(corpus.document.tolist())),
            "distinct": len(classes.ids),
            "function": classes.function,
            "share": self.share,
            "top_15_share": float(classes.cumulative[min(14, len(classes.ids) - 1)]),
            "zipf_alpha": classes.zipf(),
            "count": classes.count.tolist()[:5000],
            "coverage": [round(float(v), 4) for v in classes.coverage[:5000]],
            "top": [
                {"piece": piece, "share": float(count / classes.count.sum()), "coverage": float(cover)}
                for piece, count, cover in zip(
                    subject.pieces(top.tolist()), classes.count, classes.coverage, strict=False
                )
            ],
            "spread": {name: spread(corpus, token).tolist() for name, token in example.items()},
            "spread_pieces": {name: subject.pieces([token])[0] for name, token in example.items()},
        }

    # -- B: graph

    def _layer(
        self, streamed: Streamed, layer: int, classes: Classes, work: Workspace, label: str, progress: Progress
    ) -> dict[str, Any]:
        raw = streamed.of(layer)
        token, document, place = streamed.tokens.flat()
        inside = np.flatnonzero(place > 0)  # the first position carries the massive activations
        sae = self._autoencoder(raw, inside, work.path(f"sae-{label}-{layer}"), progress)
        state = health(sae, raw[inside[: 1 << 15]])
        active = encode(sae, raw, inside)
        tokens, documents = token[inside], document[inside]
        graph = graph_of(active, tokens)
        nulls = [permuted(active, tokens, self.seed + n) for n in range(3)]
        function, content = self._rarefied(active, tokens, documents, classes)
        ratio, low, high = ratio_interval(list(function.values()), list(content.values()), self.seed)
        null_coverage = [null.coverage(KS)["of connected"] for null in nulls]
        is_function = classes.is_function(graph.ids)
        return {
            "health": state.line(),
            "explained": state.explained,
            "l0": state.l0,
            "dead": state.dead,
            "features": active.shape[1],
            "connected": graph.connected,
            "ks": list(KS),
            "coverage": graph.coverage(KS)["of connected"],
            "coverage_of_all": graph.coverage(KS)["of all"],
            "coverage_at_1_percent": graph.coverage(KS, 0.01)["of connected"],
            "coverage_permuted": np.mean(null_coverage, axis=0).tolist(),
            "coverage_permuted_low": np.min(null_coverage, axis=0).tolist(),
            "coverage_permuted_high": np.max(null_coverage, axis=0).tolist(),
            "degrees": graph.degrees()[:5000].tolist(),
            "is_function": is_function[:5000].tolist(),
            "d50_function": sorted(function.values()),
            "d50_content": sorted(content.values()),
            "d50_anywhere": rarefied_anywhere(active, 50, self.seed) if active.shape[0] >= 50 else [],
            "d50_ratio": _plain(ratio),
            "d50_low": _plain(low),
            "d50_high": _plain(high),
        }

    def _autoencoder(
        self, raw: NDArray[np.float16], inside: NDArray[np.int64], folder: Path, progress: Progress
    ) -> Sae:
        if (folder / "cfg.json").is_file():
            return restore(folder)
        width = raw.shape[1]
        config = SaeConfig(width, self.expansion * width, k=min(self.k, width), seed=self.seed, batch=2048)
        if len(inside) < config.batch:
            raise InputError(f"the texts hold {len(inside)} tokens; give at least {config.batch}")
        sae = train_sae(_Rows(raw, inside), config, self.epochs, progress)  # type: ignore[arg-type]
        save(sae, folder)
        return sae

    def _rarefied(
        self, active: sparse.csr_matrix, tokens: NDArray[np.int32], documents: NDArray[np.int32], classes: Classes
    ) -> tuple[Mapping[int, int], Mapping[int, int]]:
        function = classes.ids[: classes.function].tolist()[:PER_CLASS]
        content = classes.ids[classes.function : classes.function + 20 * PER_CLASS].tolist()
        found = rarefied(active, tokens, documents, content, self.seed)
        kept = dict(sorted(found.items())[:PER_CLASS])
        return rarefied(active, tokens, documents, function, self.seed), kept

    def _untrained(
        self, subject: Subject, corpus: Tokens, layer: int, classes: Classes, work: Workspace, progress: Progress
    ) -> dict[str, Any]:
        """The same network before it learnt anything: part B again, at the middle layer."""
        twin = untrained(subject, self.seed)
        streamed = stream(twin, corpus, [(layer, "block")], work.path("untrained"), progress)
        return self._layer(streamed, layer, classes, work, "untrained", progress)

    # -- C: strips

    def _strips(self, subject: Subject, layer: int, work: Workspace) -> dict[str, Any]:
        """The features in which the prompts differ most at the word that differs, token by token."""
        sae = restore(work.path(f"sae-trained-{layer}"))
        from slowwave.probes.taps import Taps

        latents: list[torch.Tensor] = []
        pieces: list[list[str]] = []
        for prompt in self.prompts:
            ids = subject.encode(prompt)
            with Taps(subject.model) as taps:
                taps.read(layer)
                subject.logits(torch.tensor([ids]))
                latents.append(sae.encode(taps.seen[layer, "block"][0]))
            pieces.append(subject.pieces(ids))
        chosen: list[int] = []
        for mine, others in ((0, 1), (1, 0)) if len(latents) > 1 else ((0, 0),):
            peak = latents[mine][1:].amax(0)
            rival = latents[others][1:].amax(0) if mine != others else torch.zeros_like(peak)
            chosen += [int(i) for i in (peak - rival).argsort(descending=True)[:2]]
        chosen += [int(i) for i in torch.minimum(latents[0][1:].amax(0), latents[-1][1:].amax(0)).argsort()[-1:]]
        chosen = list(dict.fromkeys(chosen))
        return {
            "layer": layer,
            "features": chosen,
            "prompts": [
                {"pieces": p, "values": [[round(float(v), 3) for v in one[:, f]] for f in chosen]}
                for p, one in zip(pieces, latents, strict=True)
            ],
        }

    # -- F: losses

    def _transitions(
        self, subject: Subject, texts: Sequence[str], classes: Classes, progress: Progress
    ) -> dict[str, Any]:
        corpus = tokenise(subject, texts, self.loss_tokens, self.context)
        losses = losses_of(subject.logits, corpus, progress)
        groups = groups_of(losses, classes)
        begins = np.ones(int(max(losses.target.max(), losses.current.max())) + 1, dtype=bool)
        seen = np.unique(losses.target)
        begins[seen] = starts_word(subject, seen.tolist())
        return {
            "groups": by_transition(losses, groups, seed=self.seed),
            "parted": by_transition(
                losses, split_continuations(groups, losses, begins), (*GROUPS, "c>c within a word")
            ),
            "mean": float(losses.loss.astype(np.float64).mean()),
        }

    # -- what it comes to

    def _verdicts(self, values: Mapping[str, Any], middle: str) -> list[Verdict]:
        trained, twin = values["layers"][middle], values["untrained"]
        low, high = trained["d50_low"], trained["d50_high"]
        word = above(low, high, twin["d50_low"], twin["d50_high"])
        if word == "holds" and low is not None and low <= 1:
            word = "cannot be told at this size"
        ten = KS.index(10)
        reach = trained["coverage"][ten]
        coverage_word = above(
            reach, reach, trained["coverage_permuted_low"][ten], trained["coverage_permuted_high"][ten]
        )
        groups = values["transitions"]["groups"]
        apart = above(*(groups[name][end] for name in ("f>c", "c>c") for end in ("low", "high")))
        return [
            Verdict(
                "Function tokens bring back more of what the context holds than content tokens, beyond their frequency",
                word, "D50 function / content", trained["d50_ratio"], low, high, twin["d50_ratio"], twin["d50_low"],
                twin["d50_high"], n=len(trained["d50_content"]), note="control: the same network untrained",
            ),
            Verdict(
                "The ten commonest tokens reach more features than their frequency alone allows",
                coverage_word,
                "C(10)", trained["coverage"][ten], None, None, trained["coverage_permuted"][ten],
                trained["coverage_permuted_low"][ten], trained["coverage_permuted_high"][ten], seeds=3,
                note="control: labels permuted over positions, a ceiling",
            ),
            Verdict(
                "Content after a function token is the hardest to predict",
                apart, "loss f>c", groups["f>c"]["loss"], groups["f>c"]["low"], groups["f>c"]["high"],
                groups["c>c"]["loss"], groups["c>c"]["low"], groups["c>c"]["high"], n=groups["f>c"]["n"],
                note="beside: loss c>c",
            ),
        ]  # fmt: skip

    def _figures(self, values: Mapping[str, Any], middle: str) -> dict[str, Any]:
        figures: dict[str, Any] = {
            "token-classes": lambda: draw.classes(values["classes"]),
            "degree-against-rank": lambda: draw.degrees(values["layers"]),
            "coverage": lambda: draw.coverage(values["layers"], values["untrained"], middle),
            "d50": lambda: draw.rarefied(values["layers"][middle], values["untrained"]),
            "strips": lambda: draw.strips(values["strips"]),
            "loss-by-transition": lambda: draw.transitions(values["transitions"]),
        }
        return figures

    def _limits(self, values: Mapping[str, Any]) -> list[str]:
        out = [
            "The 40 % cut belongs to this corpus: in a small or narrow one it takes in topical words.",
            "Losses of models with different tokenizers cannot be compared.",
        ]
        for layer, found in values["layers"].items():
            used = found["connected"] / found["features"]
            if used > 0.8:
                out.append(f"layer {layer}: {used:.0%} of the dictionary is in use, so counts of features saturate")
            if found["explained"] < 0.7:
                out.append(f"layer {layer}: the autoencoder explains {found['explained']:.0%} of the variance alone")
        if self.quick:
            out.append(
                f"quick: {self.tokens:,} tokens, one layer, {self.expansion} times the width: a first look alone"
            )
        return out


class _Rows:
    """Chosen rows of a memory map, read when they are asked for."""

    def __init__(self, raw: NDArray[np.float16], chosen: NDArray[np.int64]) -> None:
        self.raw, self.chosen = raw, chosen
        self.shape = (len(chosen), raw.shape[1])

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, places: Any) -> NDArray[np.float16]:
        found: NDArray[np.float16] = self.raw[self.chosen[places]]
        return found


def encode(sae: Sae, raw: NDArray[np.float16], chosen: NDArray[np.int64], batch: int = 4096) -> sparse.csr_matrix:
    """(positions, features) sparse float32 of the chosen rows."""
    parts = []
    for begin in range(0, len(chosen), batch):
        rows = torch.as_tensor(np.asarray(raw[chosen[begin : begin + batch]], np.float32))
        with torch.no_grad():
            parts.append(sparse.csr_matrix(sae.encode(rows).numpy()))
    return sparse.vstack(parts).tocsr()


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


def draw_all(finding: Finding) -> dict[str, Figure]:
    """Every figure of a finding, drawn."""
    return {name: make() for name, make in finding.figures.items()}
