"""How closely each attention head follows the CMR model of human recall, and what is lost without the heads that do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from slowwave.cloze.scoring import opening
from slowwave.errors import InputError
from slowwave.probes.activations import tokenise
from slowwave.probes.base import Finding, Probe, Progress, Verdict, Workspace, above
from slowwave.probes.cmr import Floats, bumps, distances, grid
from slowwave.probes.function_token_figures import CONTENT, FUNCTION, NULL, _axes
from slowwave.probes.subjects import Subject, attending, untrained
from slowwave.probes.taps import Taps, anatomy
from slowwave.probes.training import token_losses

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIKE, STRICT = 0.5, 0.1  # distances below which a head counts as CMR-like
Head = tuple[int, int]  # (layer, head)


class CmrHeads(Probe):
    """Attention over a list said twice, head by head, fitted by the recall model; then the best heads are ablated.

    prompts  lists of random tokens, each said twice
    items    tokens of a list
    lags     on each side of the first copy of the current token
    texts    on which in-context learning is measured
    context  tokens of each: the loss around the last tenth less that around the first
    share    of all heads that are ablated, and as many drawn at random, `draws` times
    steps    values on each axis of the grid of recall curves
    """

    name = "cmr-heads"
    paper = (
        "Linking In-context Learning in Transformers to Human Episodic Memory "
        "(Ji-An, Zhou, Benna, Mattar 2024, NeurIPS)"
    )
    operations = ("retrieval", "indexing")
    claim = "Heads that follow human recall lie mid to late, sharpen with training, and carry in-context learning."
    differs = (
        "Curves are those after one recall from the middle of a list. In-context learning is the mean loss of the last "
        "tenth of positions less that of the tenth after the first, and beside it what a list said twice gains. The "
        "copying score leaves norms out. Random heads are drawn several times, and the untrained network is a control."
    )
    proof = "proofs/cmr_heads.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        prompts: int = 16,
        items: int = 50,
        lags: int = 5,
        texts: int = 48,
        context: int = 512,
        share: float = 0.1,
        draws: int = 3,
        steps: Sequence[int] = (10, 11, 6),
    ) -> None:
        super().__init__(quick, seed)
        if not 0 < share <= 0.5:
            raise InputError(f"share is {share}; it must lie above 0 and at most at 0.5")
        self.prompts = min(prompts, 4) if quick else prompts
        self.items = items
        self.lags = lags
        self.texts = min(texts, 8) if quick else texts
        self.context = min(context, 128) if quick else context
        self.share = share
        self.draws = min(draws, 2) if quick else draws
        self.steps = (6, 6, 4) if quick else tuple(steps)

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        lists = self.lists(subject, texts)
        heads = work.part("heads", partial(self.heads, subject, lists, progress))
        twin = untrained(subject, self.seed)
        values: dict[str, Any] = {"heads": heads}
        values["untrained"] = work.part("untrained", partial(self.heads, twin, lists, progress))
        best = chosen_heads(heads, self.share)
        values["best"] = [list(head) for head in best]
        values["ablation"] = self.ablate(subject, best, texts, lists, work, progress)
        finding = Finding(self.name, self._verdicts(values), values)
        finding.figures = {
            "heads": lambda: draw_map(values),
            "curves": lambda: draw_curves(values),
            "ablation": lambda: draw_bars(values),
        }
        if self.quick:
            finding.limits.append(
                f"quick: {self.prompts} lists, {self.texts} texts of {self.context} tokens: more are needed"
            )
        if not best:
            finding.limits.append("no head's attention varies over the lags: there is nothing to ablate")
        if getattr(getattr(subject.model, "config", None), "sliding_window", None):
            finding.limits.append("some layers see a window alone: lists longer than it would be cut off")
        return finding

    def lists(self, subject: Subject, texts: Sequence[str]) -> NDArray[np.int64]:
        """(prompts, opening + 2 items) ids: random different tokens of the texts, said twice, after one more token."""
        tokens = tokenise(subject, texts, 50_000)
        known = np.unique(tokens.ids[:, tokens.marks :])
        known = known[known >= 0]
        items = min(self.items, (len(known) - 1) // 2)
        if self.items < 3 * self.lags:
            raise InputError(f"items is {self.items}; a list for lags of {self.lags} needs at least {3 * self.lags}")
        if items < 3 * self.lags:
            raise InputError(f"the texts hold {len(known)} different tokens; a list needs at least {6 * self.lags + 1}")
        rng = np.random.default_rng(self.seed)
        first = opening(subject)
        rows = []
        for _ in range(self.prompts):
            drawn = rng.choice(known, items + 1, replace=False)
            rows.append([*(first or drawn[:1].tolist()), *drawn[1:].tolist() * 2])
        return np.array(rows, np.int64)

    def heads(self, subject: Subject, lists: NDArray[np.int64], progress: Progress) -> dict[str, Any]:
        """Attention by lag of every head, its distance from the recall model and from a bump, and its scores.

        A lag counts from the first copy of the token that attends; 1 is the token after it.
        """
        curves = attention_by_lag(subject, lists, self.lags, progress)
        layers, many, width = curves.shape
        axes = (np.linspace(1 / self.steps[0], 1, self.steps[0]), np.linspace(0.1, 1, self.steps[1]))
        points, recall = grid(*axes, np.linspace(0, 1, self.steps[2]), self.lags)
        flat = curves.reshape(-1, width)
        found = distances(recall, flat)  # (heads, points)
        best = found.argmin(1)
        copying = copying_scores(subject)
        rival = bumps(flat)
        out = []
        for n in range(len(flat)):
            least = float(found[n, best[n]])
            out.append(
                {
                    "layer": n // many, "head": n % many, "attention": [float(v) for v in flat[n]],
                    "distance": least if np.isfinite(least) else None,
                    "bump": float(rival[n]) if np.isfinite(rival[n]) else None,
                    "fit": [float(v) for v in recall[best[n]]], "parameters": [float(v) for v in points[best[n]]],
                    "matching": float(flat[n, self.lags + 1]),
                    "copying": None if copying is None else float(copying[n // many, n % many]),
                }
            )  # fmt: skip
        return {"heads": out, "layers": layers, "lags": self.lags}

    def ablate(
        self,
        subject: Subject,
        best: Sequence[Head],
        texts: Sequence[str],
        lists: NDArray[np.int64],
        work: Workspace,
        progress: Progress,
    ) -> dict[str, Any]:
        """In-context learning and the gain on the second saying of a list, whole and without some heads."""
        rows = self._rows(subject, texts)
        parts = anatomy(subject.model)
        everyone = [(layer, head) for layer in range(len(parts.blocks)) for head in range(parts.heads)]
        rng = np.random.default_rng(self.seed + 1)
        others = [head for head in everyone if head not in set(best)]
        sets: dict[str, list[Head]] = {"whole": [], "best": list(best)}
        for draw in range(self.draws):
            sets[f"random {draw}"] = [others[i] for i in rng.permutation(len(others))[: len(best)]]
        out = {}
        for number, (name, heads) in enumerate(sets.items()):
            out[name] = work.part(
                f"without-{name.replace(' ', '-')}", partial(self._without, subject, heads, rows, lists)
            )
            progress("ablation", number + 1, len(sets))
        return out

    def _rows(self, subject: Subject, texts: Sequence[str]) -> NDArray[np.int64]:
        most = getattr(getattr(subject.model, "config", None), "context", self.context)
        context = min(self.context, int(most))
        joined = subject.encode("\n\n".join(texts)[: self.texts * context * 12])
        many = min(self.texts, len(joined) // context)
        if many < 2:
            raise InputError(f"the texts hold {len(joined)} tokens; give at least {2 * context}")
        return np.array(joined[: many * context], np.int64).reshape(many, context)

    def _without(
        self, subject: Subject, heads: Sequence[Head], rows: NDArray[np.int64], lists: NDArray[np.int64]
    ) -> dict[str, list[float]]:
        """One number a text, and one a list: losses late less early, and second saying less first; nats a token."""
        found, twice = [], []
        tenth = max(2, rows.shape[1] // 10)
        half = (lists.shape[1] - 1) // 2
        with ablated(subject, heads), torch.no_grad():
            for begin in range(0, len(rows), 4):
                losses = token_losses(subject.model, torch.from_numpy(rows[begin : begin + 4]))[0].numpy()
                found += (losses[:, -tenth:].mean(1) - losses[:, tenth : 2 * tenth].mean(1)).tolist()
            for begin in range(0, len(lists), 4):
                losses = token_losses(subject.model, torch.from_numpy(lists[begin : begin + 4]))[0].numpy()
                twice += (losses[:, -half + 1 :].mean(1) - losses[:, -2 * half + 1 : -half].mean(1)).tolist()
        return {"icl": found, "twice": twice}

    def _verdicts(self, values: Mapping[str, Any]) -> list[Verdict]:
        whole, best = values["ablation"]["whole"], values["ablation"]["best"]
        draws = [found for name, found in values["ablation"].items() if name.startswith("random")]
        out = []
        for key, claim in (
            ("icl", "Without the heads that follow recall, in-context learning suffers more than without others"),
            ("twice", "Without the heads that follow recall, a list said twice gains less than without others"),
        ):
            lost = np.array(best[key]) - np.array(whole[key])
            control = np.mean([found[key] for found in draws], axis=0) - np.array(whole[key])
            (low, high), (least, most) = _interval(lost, self.seed), _interval(control, self.seed)
            apart = _interval(lost - control, self.seed)
            word = above(apart[0], apart[1], 0.0, 0.0)  # paired: the same texts in both
            out.append(
                Verdict(
                    claim, word, "nats lost", float(lost.mean()), low, high, float(control.mean()), least, most,
                    n=len(lost), note=f"{len(values['best'])} heads; control: as many by lot, {len(draws)} times",
                )
            )  # fmt: skip
        mine, twin = (np.array([near(h) for h in values[k]["heads"]], float) for k in ("heads", "untrained"))
        (low, high), (least, most) = _interval(mine, self.seed), _interval(twin, self.seed)
        out.append(
            Verdict(
                "Training makes heads that follow the recall model", above(low, high, least, most),
                f"share of heads at a distance below {LIKE}", float(mine.mean()), low, high,
                float(twin.mean()), least, most, n=len(mine), note="control: the same network untrained",
            )
        )  # fmt: skip
        deep = np.array(
            [h["layer"] / max(1, values["heads"]["layers"] - 1) for h in values["heads"]["heads"] if near(h)]
        )
        if len(deep) >= 3:
            low, high = _interval(deep, self.seed)
            out.append(
                Verdict(
                    "Heads that follow the recall model lie in the later half", above(low, high, 0.5, 0.5),
                    "mean depth, 0 the first layer, 1 the last", float(deep.mean()), low, high, 0.5, 0.5, 0.5,
                    n=len(deep), note="control: heads spread evenly",
                )
            )  # fmt: skip
        return out


def near(head: Mapping[str, Any]) -> bool:
    """Whether a head is CMR-like: close to a recall curve, and looking more at what came next than the mean lag."""
    attention = head["attention"]
    return head["distance"] is not None and head["distance"] < LIKE and head["matching"] > np.mean(attention)


def chosen_heads(heads: Mapping[str, Any], share: float) -> list[Head]:
    """The share of heads with the smallest distance, among those that look most after the current token's copy."""
    ranked = sorted((h for h in heads["heads"] if h["distance"] is not None), key=lambda h: h["distance"])
    forward = [h for h in ranked if h["matching"] > np.mean(h["attention"])]
    many = max(1, round(share * len(heads["heads"])))
    return [(h["layer"], h["head"]) for h in forward[:many]]


def attention_by_lag(
    subject: Subject, lists: NDArray[np.int64], lags: int, progress: Progress = lambda stage, done, total: None
) -> Floats:
    """(layers, heads, 2 lags + 1): mean attention from a token's second saying to the places about its first.

    lists  (n, before + 2 items) ids; what stands before the list is left out, and so are places beyond its ends
    """
    parts = anatomy(subject.model)
    items = (lists.shape[1] - 1) // 2
    first = lists.shape[1] - 2 * items
    rows = np.arange(lags, items - lags)
    total = np.zeros((len(parts.blocks), parts.heads, 2 * lags + 1))
    with attending(subject), Taps(subject.model) as taps:
        for layer in range(len(parts.blocks)):
            taps.read(layer, "attention")
        for begin in range(0, len(lists), 2):
            some = torch.from_numpy(lists[begin : begin + 2])
            subject.logits(some)
            for layer in range(len(parts.blocks)):
                weights = taps.seen[layer, "attention"]
                for lag in range(-lags, lags + 1):
                    taken = weights[:, :, first + items + rows, first + rows + lag]
                    total[layer, :, lag + lags] += taken.double().mean(-1).sum(0).numpy()
            progress("attention", min(begin + 2, len(lists)), len(lists))
    return total / len(lists)


@torch.no_grad()
def copying_scores(subject: Subject) -> Floats | None:
    """(layers, heads) in [-1, 1]: sum of the eigenvalues of what a head writes into the logits of what it reads, over
    the sum of their sizes; 1 copies. None where values are not a projection of their own.

    Source: Elhage et al. 2021. The non-zero eigenvalues are those of a head_dim by head_dim matrix.
    """
    parts = anatomy(subject.model)
    model = subject.model
    embed = model.get_input_embeddings().weight if hasattr(model, "get_input_embeddings") else model.embedding.weight
    head = model.get_output_embeddings().weight if hasattr(model, "get_output_embeddings") else model.head.weight
    if not all(hasattr(part, "v_proj") for part in parts.attention):
        return None
    middle = embed.T.double() @ head.double()  # (width, width): read from the stream, written to it
    out = np.zeros((len(parts.blocks), parts.heads))
    for layer, (attention, project) in enumerate(zip(parts.attention, parts.out, strict=True)):
        value, weight = _matrix(attention, "v_proj"), project.get_parameter("weight").double()
        groups = parts.heads // (value.shape[0] // parts.head_dim)
        for n in range(parts.heads):
            own = value[(n // groups) * parts.head_dim :][: parts.head_dim]
            small = own @ middle @ weight[:, n * parts.head_dim : (n + 1) * parts.head_dim]
            found = torch.linalg.eigvals(small)
            out[layer, n] = float(found.real.sum() / found.abs().sum().clamp_min(1e-12))
    return out


def _matrix(module: nn.Module, name: str) -> torch.Tensor:
    return module.get_submodule(name).get_parameter("weight").double()


@contextmanager
def ablated(subject: Subject, heads: Sequence[Head]) -> Iterator[None]:
    """The model without what some heads give to the output projection, so that grouped heads can be parted too."""
    parts = anatomy(subject.model)
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        by_layer.setdefault(layer, []).append(head)
    with Taps(subject.model) as taps:
        for layer, some in by_layer.items():
            columns = [n * parts.head_dim + i for n in some for i in range(parts.head_dim)]
            taps.edit(layer, "heads", partial(_zeroed, columns))
        yield


def _zeroed(columns: Sequence[int], value: torch.Tensor) -> torch.Tensor:
    new = value.clone()
    new[..., list(columns)] = 0
    return new


def _interval(values: NDArray[np.floating[Any]], seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


# -- figures


def draw_map(values: Mapping[str, Any]) -> Figure:
    """Distance, matching and copying of every head, layer by head; those that were ablated are marked."""
    figure, axes = _axes(3, 4.4, 4.6)
    heads = values["heads"]["heads"]
    shape = (values["heads"]["layers"], len(heads) // values["heads"]["layers"])
    kinds = (
        ("distance", "from the recall model (1: or more)", "viridis_r", 0, 1),
        ("matching", "attention to what came next", "viridis", 0, None),
        ("copying", "writes what it reads: 1", "coolwarm", -1, 1),
    )
    for axis, (kind, told, colours, low, high) in zip(axes, kinds, strict=True):
        table = np.array([np.nan if h[kind] is None else h[kind] for h in heads]).reshape(shape)
        shown = axis.imshow(table, aspect="auto", cmap=colours, vmin=low, vmax=high, origin="lower")
        figure.colorbar(shown, ax=axis, label=told)
        axis.set(xlabel="head", ylabel="layer", title=kind)
    for layer, head in values["best"]:
        axes[0].plot(head, layer, "s", mfc="none", mec=FUNCTION, markersize=7)
    axes[0].set_title("distance (squares: taken away below)")
    return figure


def draw_curves(values: Mapping[str, Any]) -> Figure:
    """Attention by lag of the four heads closest to the recall model, with the curve that fits."""
    figure, axes = _axes(4, 3.3, 3)
    heads = {(h["layer"], h["head"]): h for h in values["heads"]["heads"]}
    lags = np.arange(-values["heads"]["lags"], values["heads"]["lags"] + 1)
    for axis, place in zip(axes, values["best"], strict=False):
        head = heads[tuple(place)]
        attention, fit = np.array(head["attention"]), np.array(head["fit"])
        scale = max(0.0, float(np.polyfit(fit - fit.mean(), attention, 1)[0]))
        axis.plot(lags, attention, "o-", color=CONTENT, markersize=3, label="attention")
        axis.plot(lags, attention.mean() + scale * (fit - fit.mean()), "--", color=FUNCTION, label="recall model")
        axis.set(xlabel="lag", title=f"layer {place[0]}, head {place[1]}: distance {head['distance']:.2g}")
        axis.title.set_fontsize(9)
        axis.ticklabel_format(axis="y", scilimits=(-2, 3))
    axes[0].set_ylabel("attention")
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def draw_bars(values: Mapping[str, Any]) -> Figure:
    """What is lost without the heads, beside as many others."""
    figure, axes = _axes(2, 4.4)
    for axis, (key, title) in zip(
        axes, (("icl", "in-context learning lost"), ("twice", "gain on a repeated list lost")), strict=True
    ):
        whole = np.array(values["ablation"]["whole"][key])
        names = [name for name in values["ablation"] if name != "whole"]
        lost = [np.array(values["ablation"][name][key]) - whole for name in names]
        spread = [1.96 * one.std() / max(1, len(one)) ** 0.5 for one in lost]
        colours = [FUNCTION if name == "best" else NULL for name in names]
        told = [f"the {len(values['best'])} closest" if n == "best" else n.replace("random", "by lot") for n in names]
        axis.bar(told, [one.mean() for one in lost], yerr=spread, color=colours)
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set(ylabel="nats a token", title=title)
    return figure
