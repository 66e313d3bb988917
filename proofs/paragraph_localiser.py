"""Paragraph localiser: do few weights and few prefix tokens carry a paragraph, and does a gradient map show where?

Run: python proofs/paragraph_localiser.py --model smollm2-135m.gguf

A decoder of three layers learns a generated language in which some paragraphs come again and again. What it recites
is looked into: one prefix token replaced, 0.1 % of the weights unlearned by gradient, as many by lot, and all. Beside
it, a known place of storage: paragraphs are taught to the finished model by one matrix alone. Set back, it must take
them away; where does the map of gradients rank it? With --model the instrument runs on a pretrained model too, of which
a small one recites nothing of a novel, so that its paragraphs are planted; that part is told beside the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slowwave.bench.proving import opened, options, prove, real_seeds_of, seeds_of
from slowwave.probes.base import Workspace
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import WordTokenizer, ZipfGrammar
from slowwave.probes.localiser_figures import draw_unlearning
from slowwave.probes.paragraph_localiser import (
    ParagraphLocaliser,
    accuracy,
    lower_half,
    matrices,
    parts_of,
    recited,
    resets,
    scores,
)
from slowwave.probes.subjects import Subject
from slowwave.probes.texts import read_texts
from slowwave.probes.training import Schedule, rows_sampler, train
from slowwave.probes.tuning import step

CLAIM = "Few prefix tokens carry a recitation, and 0.1 % of the weights unlearn it; gradients do not say where it lies."
GRAMMAR = ZipfGrammar(function=12, content=180, topics=6)
LENGTH = 40  # tokens of a paragraph, half of them given
PLANTED = "blocks.1.mlp.down_proj.weight"


def measured(seed: int, steps: int, many: int) -> dict[str, Any]:
    """One trained decoder, looked into, and then planted."""
    rng = np.random.default_rng(seed)
    background = GRAMMAR.documents(1500, LENGTH, seed)
    repeated = rng.integers(0, GRAMMAR.vocabulary, (many, LENGTH)).astype(np.int32)
    rows = np.concatenate([background, *[repeated] * 20])
    config = DecoderConfig(vocabulary=GRAMMAR.vocabulary, width=64, layers=3, heads=4, context=64)
    model = Decoder(config, seed)
    train(model, rows_sampler(rows, 32, seed), Schedule(steps, lr=3e-3, warm_up=min(50, steps)))
    subject = Subject("repeated", model.eval(), WordTokenizer([f"w{n}" for n in range(GRAMMAR.vocabulary - 1)]))
    tail = LENGTH // 2
    known = repeated.astype(np.int64)
    found = recited(subject, known, tail)
    others = GRAMMAR.documents(many, LENGTH, seed + 999).astype(np.int64)
    out: dict[str, Any] = {"recited": int((found == tail).sum()), "of": many}
    known = known[found == tail][:16] if (found == tail).sum() >= 2 else known[:16]
    probe = ParagraphLocaliser(seed=seed, prefix=tail, tail=tail, lr=2e-3, steps=10)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    values = probe.look(subject, known, others[: len(known)], None, Workspace(None, {}), lambda *a: None)
    drops = np.array(values["prefix"]["known"]) / tail
    worst = sorted(values["attention"], key=lambda row: row["correlation"])[0]
    return out | {
        "worst_token": float(drops.max(1).mean()), "median_token": float(np.median(drops, 1).mean()),
        "broken_by_one": float((drops.max(1) > 0.5).mean()),
        "unlearning": {k: {n: float(np.mean(v)) for n, v in row.items()} for k, row in values["unlearning"].items()},
        "lower_half": [float(lower_half(values["parts"], values["gradient"][k]).mean()) for k in ("known", "others")],
        "rare_head": worst, "planted": planted(subject, seed, many // 2),
    }  # fmt: skip


def planted(subject: Subject, seed: int, many: int) -> dict[str, Any]:
    """Paragraphs taught by one matrix: accuracy before, after and with each matrix set back; its rank by gradient."""
    model, tail = subject.model, LENGTH // 2
    rows = np.random.default_rng(seed + 5).integers(0, GRAMMAR.vocabulary, (many, LENGTH)).astype(np.int64)
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    was = accuracy(subject, rows, tail)
    weight = dict(model.named_parameters())[PLANTED]
    optimiser = torch.optim.Adam([weight], 1e-2)
    for _ in range(80):
        step(model, optimiser, torch.from_numpy(rows), clip=100.0)
    taught = accuracy(subject, rows, tail)
    back = {row["weight"]: row["accuracy"] for row in resets(subject, before, rows, tail)}
    parts = parts_of(model)
    by_matrix = dict.fromkeys(matrices(model), 0.0)
    for part, value in zip(parts, np.array(scores(model, parts, rows, tail)).mean(0), strict=True):
        by_matrix[part.weight] = max(by_matrix[part.weight], float(value))
    ranked = sorted(by_matrix, key=lambda name: -by_matrix[name])
    return {
        "before": was, "taught": taught, "set_back": back[PLANTED],
        "others_set_back": float(np.min([value for name, value in back.items() if name != PLANTED])),
        "rank_by_gradient": ranked.index(PLANTED) + 1, "matrices": len(ranked),
    }  # fmt: skip


def pretrained(model: str, seed: int) -> dict[str, Any]:
    """The instrument on a real model: few short paragraphs."""
    texts = read_texts(None)
    shuffled = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]
    probe = ParagraphLocaliser(seed=seed, prefix=24, tail=16, search=16, items=4, plant=4, steps=3, resets=16)
    finding = probe.measure(opened(model), shuffled, Workspace(None, {}), lambda *a: None)
    values = finding.values
    back = sorted(values["reset"], key=lambda row: row["recited"])
    return {
        "planted": values["planted"], "recited": values["recited"], "tried": values["tried"], "items": values["items"],
        "verdicts": [
            {"claim": v.claim, "word": v.word, "effect": v.effect, "low": v.low, "high": v.high, "null": v.null}
            for v in finding.verdicts
        ],
        "unlearning": {k: {n: float(np.mean(v)) for n, v in row.items()} for k, row in values["unlearning"].items()},
        "set back": [back[0], back[len(back) // 2], back[-1]],
        "rare head": sorted(values["attention"], key=lambda row: row["correlation"])[0],
        "limits": finding.limits,
    }  # fmt: skip


def told(parts: Mapping[str, Any]) -> str:
    """What the real model showed, in words."""
    rows = [part for name, part in parts.items() if name.startswith("real")]
    if not rows:
        return ""
    left = {name: _range([row["unlearning"][name]["known"] for row in rows]) for name in ("sparse", "random", "all")}
    worst = _range([row["verdicts"][0]["effect"] for row in rows])
    usual = _range([row["verdicts"][0]["null"] for row in rows])
    least = _range([row["set back"][0]["recited"] for row in rows])
    known, tried = (sum(row[name] for row in rows) for name in ("recited", "tried"))
    return (
        f"; a real model recites {known} of {tried} paragraphs; of those planted in it the worst prefix token takes "
        f"{worst} of the tail, the median one {usual}; recited after unlearning 0.1 % by gradient {left['sparse']}, by "
        f"lot {left['random']}, all weights {left['all']}; with one matrix set back {least} at the least "
        f"({len(rows)} seeds)"
    )


def judge(parts: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Each finding over all seeds."""
    rows = [parts[str(seed)] for seed in seeds]
    left = {name: [row["unlearning"][name]["known"] for row in rows] for name in rows[0]["unlearning"]}
    loss = {name: [row["unlearning"][name]["loss"] for row in rows] for name in rows[0]["unlearning"]}
    plant = [row["planted"] for row in rows]
    seen = {
        "paragraphs repeated are recited": min(row["recited"] for row in rows) >= 2,
        "one prefix token breaks most recitations": min(row["broken_by_one"] for row in rows) > 0.5,
        "sparse unlearning beats as many weights by lot": max(left["sparse"]) < min(left["random"]),
        "the planted matrix, set back, takes all of it away": all(
            abs(p["set_back"] - p["before"]) < 1e-9 for p in plant
        ),
        "gradients are larger in low layers for what is recited": all(
            r["lower_half"][0] > r["lower_half"][1] for r in rows
        ),
        "gradients rank the planted matrix first": all(p["rank_by_gradient"] == 1 for p in plant),
    }  # fmt: skip
    core = list(seen.values())[:4]
    word = "holds" if all(core) else "does not hold" if not any(core) else "cannot be told at this size"
    low, high = ([row["lower_half"][n] for row in rows] for n in (0, 1))
    summary = (
        f"recited {_range([row['recited'] / row['of'] for row in rows])}; the worst prefix token takes "
        f"{_range([row['worst_token'] for row in rows])} of the tail, the median one "
        f"{_range([row['median_token'] for row in rows])}; still recited after unlearning 0.1 % by gradient "
        f"{_range(left['sparse'])}, by lot {_range(left['random'])}, all weights {_range(left['all'])}; others' loss "
        f"{_range(loss['before'])} before, {_range(loss['sparse'])} sparse, {_range(loss['all'])} all; share of "
        f"gradient in the lower half {_range(low)} recited, {_range(high)} not; planted by one matrix: accuracy "
        f"{_range([p['before'] for p in plant])}, "
        f"{_range([p['taught'] for p in plant])} taught, {_range([p['set_back'] for p in plant])} set back, its rank "
        f"by gradient {', '.join(str(p['rank_by_gradient']) for p in plant)} of {plant[0]['matrices']}; "
        f"not seen: {'; '.join(k for k, v in seen.items() if not v) or 'nothing'} ({len(seeds)} seeds)" + told(parts)
    )
    return {"verdict": word, "summary": summary, "seen": seen}


def _range(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def draw(parts: Mapping[str, Any], path: Path) -> None:
    """Unlearning in the first seed's decoder."""
    draw_unlearning({"unlearning": parts["0"]["unlearning"]}).savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = options(CLAIM).parse_args()
    steps, many = (15, 8) if args.quick else (500, 32)
    makers: dict[str, Any] = {str(seed): partial(measured, seed, steps, many) for seed in seeds_of(args)}
    makers |= {f"real {seed}": partial(pretrained, args.model, seed) for seed in real_seeds_of(args)}
    settings = {"steps": steps, "repeated": many, "times": 20, "length": LENGTH, "code": 1}
    prove(__file__, "paragraph-localiser", CLAIM, args, makers, judge, draw, settings)


if __name__ == "__main__":
    main()
