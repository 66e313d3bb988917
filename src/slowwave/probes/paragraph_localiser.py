"""Which layers, heads and prefix tokens carry the verbatim memory of a paragraph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from slowwave.cloze.scoring import opening
from slowwave.errors import InputError
from slowwave.probes.acquisition import interval
from slowwave.probes.base import Finding, Probe, Progress, Verdict, Workspace, above
from slowwave.probes.localiser_figures import draw_map, draw_prefix, draw_unlearning
from slowwave.probes.subjects import Subject, attending
from slowwave.probes.taps import Taps, anatomy
from slowwave.probes.training import token_losses
from slowwave.probes.tuning import Midway, put_back, step, trainable

Ids = NDArray[np.int64]
FEWEST = 4  # memorised paragraphs without which some are planted


@dataclass(frozen=True)
class Part:
    """A piece of a weight matrix: a head's share, or all of it.

    weight  its name in the model
    rows    whether the piece is rows (else columns) `begin` to `end` of it
    """

    layer: int
    name: str
    weight: str
    rows: bool
    begin: int
    end: int

    def of(self, value: Tensor) -> Tensor:
        """The piece of this matrix, or of one of its shape."""
        return value[self.begin : self.end] if self.rows else value[:, self.begin : self.end]


class ParagraphLocaliser(Probe):
    """Finds paragraphs that the model recites, and where: gradients, prefix tokens, unlearning, resets.

    prefix   tokens that are given, `tail` that are to follow
    search   paragraphs of the texts that are tried
    items    of each kind, recited and not, that are looked into
    plant    paragraphs taught to a copy where fewer than four are recited; 0 takes what there is
    share    of the weights that unlearning may change
    steps    of unlearning, lr its rate
    earlier  the model before it read the paragraphs: matrix by matrix is set back to it
    resets   matrices that are set back, at most: half of them those with the largest gradients, half drawn by lot
    """

    name = "paragraph-localiser"
    paper = "Localizing Paragraph Memorization in Language Models (Stoehr et al. 2024, arXiv 2403.19851)"
    operations = ("retrieval", "forgetting")
    claim = "Verbatim memory lies in low layers, hangs on few prefix tokens, and unlearns in 0.1 % of weights."
    differs = (
        "Where a model recites too little, paragraphs are planted in a copy. Beside the gradient map, which is no map "
        "of storage, each matrix is set back to an earlier state where there is one. Shares of gradients are compared."
    )
    proof = "proofs/paragraph_localiser.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        prefix: int = 50,
        tail: int = 50,
        search: int = 400,
        items: int = 8,
        plant: int = 8,
        share: float = 0.001,
        steps: int = 10,
        lr: float = 1e-4,
        earlier: str = "",
        resets: int = 64,
    ) -> None:
        super().__init__(quick, seed)
        if not 0 < share < 1:
            raise InputError(f"share is {share}; it must lie between 0 and 1")
        self.prefix = min(prefix, 12) if quick else prefix
        self.tail = min(tail, 12) if quick else tail
        self.search = min(search, 32) if quick else search
        self.items = min(items, 4) if quick else items
        self.plant = min(plant, 4) if quick else plant
        self.share = share
        self.steps = min(steps, 3) if quick else steps
        self.lr = lr
        self.earlier = earlier
        self.resets = min(resets, 8) if quick else resets

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        rows = self.rows(subject, texts)
        found = np.array(work.part("recited", lambda: recited(subject, rows, self.tail).tolist()))
        values = work.part("whole", partial(self._whole, subject, rows, found, work, progress))
        finding = Finding(self.name, self._verdicts(values), values)
        finding.figures = {"map": lambda: draw_map(values), "prefix": lambda: draw_prefix(values),
                           "unlearning": lambda: draw_unlearning(values)}  # fmt: skip
        if values["planted"]:
            finding.limits.append(
                f"the model recites {values['recited']} of {len(rows)} paragraphs: {values['items']} were planted in a "
                "copy, and what is said holds for those"
            )
        if len(values.get("reset", ())) < values.get("matrices", 0):
            finding.limits.append(
                f"{len(values['reset'])} of {values['matrices']} matrices were set back (resets): half of them those "
                "with the largest gradients, half drawn by lot"
            )
        finding.limits.append("a map of gradients is no map of storage: trained weights sit near a minimum")
        if self.quick:
            finding.limits.append(
                f"quick: {values['items']} paragraphs of {self.prefix}+{self.tail} tokens, {self.steps} steps"
            )
        return finding

    def _whole(
        self, subject: Subject, rows: Ids, found: NDArray[np.int64], work: Workspace, progress: Progress
    ) -> dict[str, Any]:
        """Choose what is looked into, plant where too little is recited, and look."""
        known, others = rows[found == self.tail][: self.items], rows[found <= self.tail // 5][: self.items]
        if len(others) < 2:
            raise InputError(f"only {len(others)} paragraphs of the texts are not recited; give other texts too")
        file = work.file("planting.pt")
        copy, before, planted = trainable(subject), self._before(), len(known) < FEWEST and self.plant > 0
        if planted:
            before = {name: value.detach().clone() for name, value in copy.model.state_dict().items()}
            fresh = rows[found <= self.tail // 5]
            known, others = fresh[: self.plant], fresh[self.plant : self.plant + self.items]
            if len(others) < 2:
                raise InputError(f"the texts hold {len(fresh)} paragraphs to plant and compare; give more text")
            planting(copy, known, self.tail, self.lr, progress, keep=file)
            known = known[recited(copy, known, self.tail) == self.tail]
        if len(known) < 2:
            raise InputError(
                f"{len(known)} paragraphs are recited; give texts that the model knows, or let plant be above 0"
            )
        values = self.look(copy, known, others, before, work, progress)
        if file is not None:
            file.unlink(missing_ok=True)
        values |= {"planted": planted, "recited": int((found == self.tail).sum())}
        return values | {"tried": len(rows), "items": len(known)}

    def rows(self, subject: Subject, texts: Sequence[str]) -> Ids:
        """(paragraphs, opening + prefix + tail) ids, each from the beginning of a text or of a stretch of one."""
        first, length = opening(subject), self.prefix + self.tail
        out: list[list[int]] = []
        for text in texts:
            ids = subject.encode(text)
            out += [first + ids[n : n + length] for n in range(0, len(ids) - length + 1, length)]
            if len(out) >= self.search:
                break
        if len(out) < 4:
            raise InputError(
                f"the texts hold {len(out)} paragraphs of {length} tokens; give more, or a shorter prefix and tail"
            )
        return np.array(out[: self.search], np.int64)

    def look(
        self,
        subject: Subject,
        known: Ids,
        others: Ids,
        before: Mapping[str, Tensor] | None,
        work: Workspace,
        progress: Progress,
    ) -> dict[str, Any]:
        """Everything that is measured on a model that recites `known` and not `others`."""
        parts = parts_of(subject.model)
        values: dict[str, Any] = {
            "prefix": work.part("prefix", lambda: {
                "known": [prefix_drops(subject, row, self.prefix, self.tail, self.seed) for row in known],
                "pieces": [subject.pieces(row.tolist()) for row in known[:, -self.tail - self.prefix : -self.tail]],
            }),
            "parts": [{"layer": p.layer, "name": p.name} for p in parts],
            "gradient": work.part("gradient", lambda: {
                "known": scores(subject.model, parts, known, self.tail),
                "others": scores(subject.model, parts, others, self.tail),
            }),
        }  # fmt: skip
        progress("localiser", 1, 4)
        values["unlearning"] = work.part("unlearning", partial(self.unlearn, subject, known, others))
        progress("localiser", 2, 4)
        values["attention"] = work.part("attention", partial(rare_attention, subject, np.concatenate([known, others])))
        progress("localiser", 3, 4)
        if before is not None:
            chosen = self._set_back(subject.model, parts, values["gradient"]["known"])
            values["reset"] = work.part("reset", partial(resets, subject, before, known, self.tail, chosen))
            values["matrices"] = sum(1 for _ in matrices(subject.model))
        progress("localiser", 4, 4)
        return values

    def _set_back(self, model: nn.Module, parts: Sequence[Part], gradient: Sequence[Sequence[float]]) -> list[str]:
        """The names of the matrices to set back, all of them where they are few."""
        best = dict.fromkeys(matrices(model), 0.0)
        for part, value in zip(parts, np.mean(gradient, axis=0), strict=True):
            best[part.weight] = max(best[part.weight], float(value))
        ranked = sorted(best, key=lambda name: -best[name])
        if len(ranked) <= self.resets:
            return ranked
        half = self.resets // 2
        lot = np.random.default_rng(self.seed).permutation(np.arange(half, len(ranked)))[: self.resets - half]
        return [*ranked[:half], *(ranked[n] for n in sorted(lot))]

    def unlearn(self, subject: Subject, known: Ids, others: Ids) -> dict[str, Any]:
        """Share of the tail still recited, item by item, before and after unlearning three ways."""
        model = subject.model
        names = list(matrices(model))
        with torch.no_grad():
            goal = _log_probs(model, others, self.tail)
        model.zero_grad(set_to_none=True)
        contrast(model, known, others, goal, self.tail).backward()  # type: ignore[no-untyped-call]
        held = dict(model.named_parameters())
        grads = {name: held[name].grad.detach().clone() for name in names if held[name].grad is not None}
        masks = {
            "sparse": top_mask(grads, self.share),
            "random": random_mask(grads, self.share, self.seed),
            "all": {name: torch.ones_like(value, dtype=torch.bool) for name, value in grads.items()},
        }
        out: dict[str, Any] = {"before": self._state(subject, known, others)}
        for name, mask in masks.items():
            with put_back(model):
                optimiser = torch.optim.Adam([held[n] for n in mask], lr=self.lr)
                for _ in range(self.steps):
                    optimiser.zero_grad(set_to_none=True)
                    contrast(model, known, others, goal, self.tail).backward()  # type: ignore[no-untyped-call]
                    for n, keep in mask.items():
                        held[n].grad.mul_(keep)
                    optimiser.step()
                out[name] = self._state(subject, known, others)
        model.zero_grad(set_to_none=True)
        return out

    def _state(self, subject: Subject, known: Ids, others: Ids) -> dict[str, list[float]]:
        with torch.no_grad():
            loss = token_losses(subject.model, torch.from_numpy(others))[0][:, -self.tail :].mean(1)
        return {
            "known": (recited(subject, known, self.tail) / self.tail).tolist(),
            "others": (recited(subject, others, self.tail) / self.tail).tolist(),
            "loss": loss.tolist(),
        }

    def _before(self) -> dict[str, Tensor] | None:
        if not self.earlier:
            return None
        from slowwave.probes.subjects import load

        return dict(load(self.earlier).model.state_dict())

    def _verdicts(self, values: Mapping[str, Any]) -> list[Verdict]:
        drops = np.array(values["prefix"]["known"]) / self.tail
        worst, usual = drops.max(1), np.median(drops, 1)
        (low, high), (least, most) = interval(worst, self.seed), interval(usual, self.seed)
        out = [
            Verdict(
                "One prefix token carries much of a recitation", above(low, high, least, most),
                "share of the tail lost", float(worst.mean()), low, high, float(usual.mean()), least, most,
                n=len(worst), note=f"{(worst > 0.5).mean():.0%} lose over half; control: the median token",
            )
        ]  # fmt: skip
        done = values["unlearning"]
        sparse, lot = np.array(done["sparse"]["known"]), np.array(done["random"]["known"])
        (low, high), (least, most) = interval(1 - sparse, self.seed), interval(1 - lot, self.seed)
        harm = np.mean(done["sparse"]["loss"]) - np.mean(done["before"]["loss"])
        out.append(
            Verdict(
                f"The {self.share:.1%} of weights with the largest gradients unlearn more than as many by lot",
                above(*interval(lot - sparse, self.seed), 0.0, 0.0), "share of the tail no longer recited",
                float(1 - sparse.mean()), low, high, float(1 - lot.mean()), least, most, n=len(sparse),
                note=f"paired; all weights {1 - np.mean(done['all']['known']):.2f}; others' loss {harm:+.3f} nats",
            )
        )  # fmt: skip
        mine, theirs = (lower_half(values["parts"], values["gradient"][kind]) for kind in ("known", "others"))
        (low, high), (least, most) = interval(mine, self.seed), interval(theirs, self.seed)
        out.append(
            Verdict(
                "Recited paragraphs have more of their gradient in the lower half of the layers",
                above(low, high, least, most), "share of the gradient there", float(mine.mean()), low, high,
                float(theirs.mean()), least, most, n=len(mine), note="control: paragraphs that are not recited",
            )
        )  # fmt: skip
        return out


# -- recitation


def recited(subject: Subject, rows: Ids, tail: int, batch: int = 8) -> NDArray[np.int64]:
    """How many of the last `tail` tokens greedy decoding gives up to its first miss, for each row; one forward pass.

    As long as every token so far was right, the next is decoded after the true text, so nothing has to be decoded.
    """
    out = []
    for begin in range(0, len(rows), batch):
        ids = torch.from_numpy(rows[begin : begin + batch])
        hits = (subject.logits(ids)[:, :-1].argmax(-1) == ids[:, 1:])[:, -tail:].long()
        out.append(hits.cumprod(1).sum(1).numpy())
    return np.concatenate(out)


def accuracy(subject: Subject, rows: Ids, tail: int) -> float:
    """Share of the last `tail` tokens that are the likeliest after the true ones before them."""
    said = [subject.logits(torch.from_numpy(row[None]))[0, -tail - 1 : -1].argmax(-1).numpy() for row in rows]
    hits = np.stack(said) == rows[:, -tail:]
    return float(np.mean(hits))


def prefix_drops(subject: Subject, row: NDArray[np.int64], prefix: int, tail: int, seed: int) -> list[int]:
    """Recited tokens lost when one token of the prefix is another, drawn from the row itself; one number a place."""
    rng = np.random.default_rng(seed)
    whole = int(recited(subject, row[None], tail)[0])
    changed = np.tile(row, (prefix, 1))
    for n in range(prefix):
        place = len(row) - tail - prefix + n
        options = np.unique(row[row != row[place]])
        changed[n, place] = rng.choice(options)
    return [int(v) for v in whole - recited(subject, changed, tail)]


def planting(
    subject: Subject, rows: Ids, tail: int, lr: float, progress: Progress, most: int = 120, keep: Path | None = None
) -> None:
    """Train on the rows until all tails are recited, or `most` updates are done.

    keep  file in which the model is kept, on the way and at the end; a run that was killed goes on from it
    """
    optimiser = torch.optim.Adam(subject.model.parameters(), lr=lr)
    midway = Midway(keep, subject.model, optimiser)
    begin, _ = midway.restore()
    for update in range(begin, most):
        if update % 5 == 0 and (recited(subject, rows, tail) == tail).all():
            midway.keep(update, None, now=update > begin)
            break
        step(subject.model, optimiser, torch.from_numpy(rows))
        midway.keep(update + 1, None)
        progress("planting", update + 1, most)


# -- where


def matrices(model: nn.Module) -> Iterator[str]:
    """Names of the weight matrices inside the blocks: embeddings, norms and biases are left out."""
    inside = {id(p) for block in anatomy(model).blocks for p in block.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and id(parameter) in inside:
            yield name


def parts_of(model: nn.Module) -> list[Part]:
    """The pieces of a model: heads apart where projections are their own matrices, else whole matrices."""
    body = anatomy(model)
    layer_of = {id(p): n for n, block in enumerate(body.blocks) for p in block.parameters()}
    held = dict(model.named_parameters())
    out = []
    for name in matrices(model):
        value = held[name]
        leaf = name.split(".")[-2]
        layer = layer_of[id(value)]
        attention = any(value is p for p in body.attention[layer].parameters())
        heads_first = attention and leaf in ("q_proj", "k_proj", "v_proj")
        if heads_first or value is body.out[layer].weight:
            size = value.shape[0] if heads_first else value.shape[1]
            for head in range(size // body.head_dim):
                place = (head * body.head_dim, (head + 1) * body.head_dim)
                out.append(Part(layer, f"{leaf[0]} {head}", name, heads_first, *place))
        else:
            out.append(Part(layer, leaf.removesuffix("_proj"), name, True, 0, value.shape[0]))
    return out


def scores(model: nn.Module, parts: Sequence[Part], rows: Ids, tail: int) -> list[list[float]]:
    """(rows, parts): the largest |gradient| of the tail's mean loss over the weights of each part, row by row."""
    held = dict(model.named_parameters())
    out = []
    for row in rows:
        model.zero_grad(set_to_none=True)
        tail_loss(model, row[None], tail).backward()  # type: ignore[no-untyped-call]
        out.append([float(part.of(held[part.weight].grad).abs().max()) for part in parts])  # type: ignore[arg-type]
    model.zero_grad(set_to_none=True)
    return out


def tail_loss(model: nn.Module, rows: Ids, tail: int) -> Tensor:
    """Mean loss of the last `tail` tokens, nats."""
    return token_losses(model, torch.from_numpy(rows))[0][:, -tail:].mean()


def lower_half(parts: Sequence[Mapping[str, Any]], gradient: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """(rows,): the share of the summed scores that lies in the lower half of the layers."""
    table = np.array(gradient)
    layer = np.array([part["layer"] for part in parts])
    low = layer < (layer.max() + 1) / 2
    return np.asarray(table[:, low].sum(1) / table.sum(1))


def resets(
    subject: Subject, before: Mapping[str, Tensor], rows: Ids, tail: int, names: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Each matrix alone set back to an earlier state: the share of the tails then recited, and of tokens right.

    names  of the matrices; () takes all
    """
    held = dict(subject.model.named_parameters())
    out = []
    for name in names or matrices(subject.model):
        kept = held[name].detach().clone()
        with torch.no_grad():
            held[name].copy_(before[name])
            share = float(recited(subject, rows, tail).mean() / tail)
            out.append({"weight": name, "recited": share, "accuracy": accuracy(subject, rows, tail)})
            held[name].copy_(kept)
    return out


# -- unlearning


def contrast(model: nn.Module, known: Ids, others: Ids, goal: Tensor, tail: int) -> Tensor:
    """Minus the loss of what is to be unlearned, plus the divergence on the others from the model as it was."""
    now = _log_probs(model, others, tail)
    divergence = F.kl_div(now, goal, log_target=True, reduction="sum") / now[..., 0].numel()
    return divergence - tail_loss(model, known, tail)


def _log_probs(model: nn.Module, rows: Ids, tail: int) -> Tensor:
    out = model(torch.from_numpy(rows))
    logits: Tensor = out.logits if hasattr(out, "logits") else out
    return logits[:, -tail - 1 : -1].float().log_softmax(-1)


def top_mask(grads: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """The share of all weights with the largest |gradient|, at least one; exactly so many, ties in order of place."""
    flat = torch.cat([value.abs().flatten() for value in grads.values()])
    many = max(1, round(share * flat.numel()))
    chosen = torch.zeros(flat.numel(), dtype=torch.bool)
    chosen[flat.topk(many).indices] = True
    return _shaped(chosen, grads)


def random_mask(grads: Mapping[str, Tensor], share: float, seed: int) -> dict[str, Tensor]:
    """As many weights drawn by lot."""
    total = sum(value.numel() for value in grads.values())
    many = max(1, round(share * total))
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[torch.from_numpy(np.random.default_rng(seed).choice(total, many, replace=False))] = True
    return _shaped(chosen, grads)


def _shaped(chosen: Tensor, grads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    pieces = torch.split(chosen, [value.numel() for value in grads.values()])
    return {name: piece.view_as(value) for (name, value), piece in zip(grads.items(), pieces, strict=True)}


# -- attention to rare tokens


def rare_attention(subject: Subject, rows: Ids) -> list[dict[str, Any]]:
    """Each head's rank correlation of its attention, from the prefix's last token, with how common tokens are.

    How common is counted in the rows; a row's first token is left out. A head that looks for rare tokens is near -1.
    """
    found, count = np.unique(rows, return_counts=True)
    common = dict(zip(found.tolist(), count.tolist(), strict=True))
    middle = rows.shape[1] // 2
    body = anatomy(subject.model)
    values = np.zeros((len(body.blocks), body.heads, len(rows)))
    with attending(subject), Taps(subject.model) as taps:
        for layer in range(len(body.blocks)):
            taps.read(layer, "attention")
        for n, row in enumerate(rows):
            subject.logits(torch.from_numpy(row[None, : middle + 1]))
            often = [common[int(i)] for i in row[1 : middle + 1]]
            for layer in range(len(body.blocks)):
                for head, weights in enumerate(taps.seen[layer, "attention"][0, :, -1, 1:].numpy()):
                    flat = len(set(often)) < 2 or float(np.ptp(weights)) == 0
                    values[layer, head, n] = 0.0 if flat else float(stats.spearmanr(weights, often).statistic)
    mean = values.mean(2)
    return [{"layer": layer, "head": head, "correlation": float(mean[layer, head])}
            for layer in range(mean.shape[0]) for head in range(mean.shape[1])]  # fmt: skip
