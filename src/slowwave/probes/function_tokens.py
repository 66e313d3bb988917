"""Function tokens: are a few very frequent tokens where a model brings back what its context made relevant?

The card has seven parts: token classes (A), the token-feature graph (B), re-activation strips (C), steering (D),
feature growth over checkpoints (E) and loss by transition over training (F) and size (G). On one model A, B, C, D and
the loss of F are measured; `checkpoints` adds the growth and the curves, `sizes` the drop from small to large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.errors import InputError
from slowwave.probes import function_token_figures as draw
from slowwave.probes import function_token_verdicts as judge
from slowwave.probes.activations import Tokens, stream, tokenise
from slowwave.probes.base import Finding, Probe, Progress, Workspace, short_hash
from slowwave.probes.classes import Classes, classify, spread
from slowwave.probes.feature_layers import LayerRun, over_seeds
from slowwave.probes.growth import Growth
from slowwave.probes.over_training import SHARES, losses_at
from slowwave.probes.reactivation import PROMPTS, echo, strips
from slowwave.probes.sae import restore
from slowwave.probes.sae_score import cross_entropy_score, some_of
from slowwave.probes.steered import Steering
from slowwave.probes.subjects import Subject, load, untrained
from slowwave.probes.taps import anatomy
from slowwave.probes.traits import trait_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUICK = {"tokens": 8_000, "loss_tokens": 2_000, "expansion": 2, "epochs": 1, "autoencoders": 1}
SCORED = 1024  # tokens for the cross-entropy score


class FunctionTokens(Probe):
    """Token classes, token-feature graph, re-activation, steering and loss by transition, each with its control.

    share         of all occurrences that function tokens make up
    tokens        read for the graph; loss_tokens for the losses
    layers        whose residual stream is looked at; () takes an early, a middle and a late one
    k             features active a token; `expansion` times the width is how many there are
    context       tokens that the model sees at once
    epochs        of each autoencoder's training
    autoencoders  how many, of different seeds, at the middle layer: trained model and untrained twin alike
    prompts       whose features are shown token by token; they should differ in one word
    features      numbers of the features to show; () takes those in which the prompts differ most
    traits        to steer towards: russia, spanish, list, cats, or one of your own as "name | prompt | pattern"; ()
                  steers nothing
    checkpoints   models of one training by folder or name, earliest first: feature growth and loss curves over them
    sizes         models of one tokenizer by folder or name, smallest first: what each group gains from size

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
        "features fired within 50 occurrences from 50 documents. The first position of a text is left out. Steering is "
        "chosen on a third of the prompts and told on the others, beside random vectors of equal length."
    )
    proof = "proofs/function_tokens.py"
    late = ("autoencoders", "loss_tokens", "prompts", "features", "traits", "checkpoints", "sizes")

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
        autoencoders: int = 1,
        prompts: Sequence[str] = PROMPTS,
        features: Sequence[int] = (),
        traits: Sequence[str] = ("list", "russia", "spanish"),
        checkpoints: Sequence[str] = (),
        sizes: Sequence[str] = (),
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
        self.autoencoders = min(autoencoders, QUICK["autoencoders"]) if quick else autoencoders
        self.prompts = tuple(prompts)
        self.features = tuple(features)
        self.traits = tuple(traits[:1] if quick else traits)
        self.checkpoints = tuple(checkpoints)
        self.sizes = tuple(sizes)

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        traits = [trait_of(word) for word in self.traits]  # a word that is none is told before the work begins
        layers = self._layers(subject)
        middle = layers[len(layers) // 2]
        corpus = tokenise(subject, texts, self.tokens, self.context)
        classes = classify(corpus, self.share)
        values: dict[str, Any] = {
            "classes": self._about_classes(subject, corpus, classes), "middle": middle, "layers": {},
        }  # fmt: skip
        streamed = stream(subject, corpus, [(layer, "block") for layer in layers], work.path("trained"), progress)
        for layer in layers:
            many = self.autoencoders if layer == middle else 1
            graph = self._graph(streamed.folder, corpus, layer, classes, work, "trained", many, progress)
            values["layers"][str(layer)] = graph | work.part(
                f"score-{layer}", partial(self._score, subject, layer, corpus, work)
            )
        values["untrained"] = self._untrained(subject, corpus, middle, classes, work, progress)
        sae = restore(work.path(f"sae-trained-{middle}-0"))
        shown = f"strips-{short_hash(self.prompts, self.features)}"
        values["strips"] = work.part(shown, lambda: strips(subject, sae, middle, self.prompts, self.features))
        values["echo"] = work.part("echo", lambda: echo(subject, sae, middle, classes))
        values["transitions"] = work.part(
            f"transitions-{self.loss_tokens}", partial(self._losses, subject, texts, corpus, progress)
        )
        if traits:
            saes = {layer: restore(work.path(f"sae-trained-{layer}-0")) for layer in layers}
            tried = layers if self.quick else sorted({*layers, *self._between(subject)})
            steering = Steering(subject, traits, tried, 8 if self.quick else 16, seed=self.seed, progress=progress)
            values["steering"] = steering.run({} if self.quick else saes, work.part)
        if self.checkpoints:
            values["over_training"] = self._over(self.checkpoints, "step", texts, work, progress)
            values["growth"] = self._growth(texts, middle, work, progress)
        if self.sizes:
            values["over_size"] = self._over(self.sizes, "size", texts, work, progress)
        finding = Finding(self.name, judge.verdicts(values), values, self._figures(values))
        finding.limits = judge.limits(values, self.quick, self.tokens, self.expansion)
        finding.tables = judge.tables(values)
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
        return tuple(sorted({round(many * part) for part in (0.3, 0.6)} | {min(many - 1, round(many * 0.9))}))

    def _between(self, subject: Subject) -> list[int]:
        """Layers that steering tries beside those of the autoencoders: the middle and the last."""
        many = len(anatomy(subject.model).blocks)
        step = max(1, many // 2)
        return list(range(step - 1, many, step))

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

    def _graph(
        self, folder: Path, corpus: Tokens, layer: int, classes: Classes, work: Workspace, label: str, many: int,
        progress: Progress,
    ) -> dict[str, Any]:  # fmt: skip
        """The graph of a layer by one or several autoencoders on the same activations."""
        from slowwave.probes.activations import Streamed

        found = []
        for n in range(many):
            place = work.path(f"sae-{label}-{layer}-{n}")
            run = LayerRun(self.expansion, self.k, self.epochs, self.seed + n, place)
            make = partial(run.measure, Streamed(folder, corpus), layer, classes, progress)
            found.append(work.part(f"{label}-layer-{layer}-{n}", make))
        return over_seeds(found)

    def _untrained(
        self, subject: Subject, corpus: Tokens, layer: int, classes: Classes, work: Workspace, progress: Progress
    ) -> dict[str, Any]:
        """The same network before it learnt anything: part B again, at the middle layer."""
        folder = work.path("untrained")

        def streams() -> bool:
            stream(untrained(subject, self.seed), corpus, [(layer, "block")], folder, progress)
            return True

        work.part("untrained-streamed", streams)
        return self._graph(folder, corpus, layer, classes, work, "untrained", self.autoencoders, progress)

    def _score(self, subject: Subject, layer: int, corpus: Tokens, work: Workspace) -> dict[str, Any]:
        """What the model loses with the autoencoder in the layer's place."""
        sae = restore(work.path(f"sae-trained-{layer}-0"))
        found = cross_entropy_score(subject, sae, layer, some_of(corpus, SCORED))
        return {"cross_entropy_score": found.share, "cross_entropy": [found.whole, found.rebuilt, found.without]}

    # -- E, F, G: losses and features, here and over models

    def _losses(self, subject: Subject, texts: Sequence[str], corpus: Tokens, progress: Progress) -> dict[str, Any]:
        tokens = corpus if self.loss_tokens >= self.tokens else tokenise(subject, texts, self.loss_tokens, self.context)
        others = [classify(corpus, share) for share in SHARES]
        return losses_at(subject, tokens, classify(corpus, self.share), others, seed=self.seed, progress=progress)

    def _over(
        self, models: Sequence[str], label: str, texts: Sequence[str], work: Workspace, progress: Progress
    ) -> list[dict[str, Any]]:
        """Losses by transition for several models, loaded one after another."""
        out = []
        for number, model in enumerate(models):

            def measured(model: str = model) -> dict[str, Any]:
                subject = load(model)
                corpus = tokenise(subject, texts, self.tokens, self.context)
                return self._losses(subject, texts, corpus, progress)

            out.append(
                {
                    "name": Path(model).stem,
                    "at": number,
                    **work.part(f"losses-{short_hash(model, self.loss_tokens)}", measured),
                }
            )
        return out

    def _growth(self, texts: Sequence[str], layer: int, work: Workspace, progress: Progress) -> list[dict[str, Any]]:
        """Features that fire at each checkpoint; autoencoders see three quarters of the tokens."""
        out = []
        for number, model in enumerate(self.checkpoints):
            folder = work.path(f"growth-{short_hash(model)}")

            def counted(model: str = model, folder: Path = folder) -> list[dict[str, Any]]:
                subject = load(model)
                corpus = tokenise(subject, texts, self.tokens, self.context)
                seen, held = parted(corpus)
                latents = self.expansion * anatomy(subject.model).width
                grow = Growth(layer, sorted({self.k // 2, self.k, 2 * self.k}), latents, 8 * latents, self.epochs)
                return grow.at(subject, seen, held, some_of(held, SCORED), folder, work.part, progress)

            out.append({"name": Path(model).stem, "at": number, "counts": work.part(folder.name, counted)})
        return out

    def _figures(self, values: Mapping[str, Any]) -> dict[str, Any]:
        middle = str(values["middle"])
        figures: dict[str, Any] = {
            "token-classes": lambda: draw.classes(values["classes"]),
            "degree-against-rank": lambda: draw.degrees(values["layers"]),
            "coverage": lambda: draw.coverage(values["layers"], values["untrained"], middle),
            "d50": lambda: draw.rarefied(values["layers"][middle], values["untrained"]),
            "strips": lambda: draw.strips(values["strips"]),
            "echo": lambda: draw.echo(values["echo"]),
            "loss-by-transition": lambda: draw.transitions(values["transitions"]),
        }
        if "steering" in values:
            figures["steering"] = lambda: draw.steering(values["steering"])
        if "over_training" in values:
            figures["loss-over-training"] = lambda: draw.over_training([values["over_training"]])
            figures["growth"] = lambda: draw.growth([values["growth"]])
        if "over_size" in values:
            figures["loss-over-size"] = lambda: draw.over_size([values["over_size"]])
        return figures


def parted(tokens: Tokens) -> tuple[Tokens, Tokens]:
    """(three rows of four, every fourth row)."""
    import numpy as np

    held = np.arange(len(tokens.ids)) % 4 == 3
    return tokens.take(~held), tokens.take(held)


def draw_all(finding: Finding) -> dict[str, Figure]:
    """Every figure of a finding, drawn."""
    return {name: make() for name, make in finding.figures.items()}
