"""CMR heads: do heads come to follow human recall as a model learns to use what it has just read, and carry that?

Run: python proofs/cmr_heads.py --model smollm2-135m.gguf

Tiny: a decoder of two layers learns lists of random tokens that are said twice, at a random length. Along its
checkpoints: the loss on the second saying, and the least distance of a head from the recall model. At the end each head
is taken away alone, and the three closest to the model together, beside every three of the others. The untrained
network and a Gaussian bump are the controls.

Pretrained: the instrument on a real model, over three draws of lists and texts: share of CMR-like heads, their depth,
and what in-context learning loses without the best tenth and without as many drawn at random.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slowwave.bench.proving import opened, options, prove, real_seeds_of, seeds_of
from slowwave.probes.base import Workspace
from slowwave.probes.cmr_heads import CmrHeads, ablated, chosen_heads, near
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import WordTokenizer
from slowwave.probes.subjects import Subject
from slowwave.probes.texts import read_texts
from slowwave.probes.training import Batch, Schedule, Trail, token_losses, train

CLAIM = "Heads come to follow human recall as in-context learning grows, which loses more without them than others."
WORDS = [f"w{n:02}" for n in range(64)]
ITEMS, CONTEXT = 20, 41
CHECKPOINTS = (0, 100, 300, 500, 700, 900)


def batches(seed: int) -> Any:
    """Lists of 8 to 20 random different tokens, said twice and once more as far as there is room."""

    def at(step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        rows = np.empty((32, CONTEXT), np.int64)
        for row in rows:
            drawn = rng.permutation(np.arange(1, 65))[: int(rng.integers(8, ITEMS + 1))]
            row[0] = rng.integers(1, 65)
            row[1:] = np.resize(drawn, CONTEXT - 1)
        return torch.from_numpy(rows), []

    return at


def gain(subject: Subject, lists: np.ndarray) -> float:
    """Mean loss on the second saying of the lists, less that on the first: in-context learning, in nats."""
    with torch.no_grad():
        losses = token_losses(subject.model, torch.from_numpy(lists))[0].numpy()
    return float(losses[:, -ITEMS + 1 :].mean() - losses[:, -2 * ITEMS + 1 : -ITEMS].mean())


def tiny(seed: int, steps: int) -> dict[str, Any]:
    """Distance and in-context learning over a training, and every head taken away alone at its end."""
    texts = [" ".join(WORDS)] * 8
    tokenizer = WordTokenizer(texts)
    config = DecoderConfig(vocabulary=len(tokenizer), width=64, layers=2, heads=4, context=64)
    model = Decoder(config, seed)
    subject = Subject("lists", model, tokenizer)
    probe = CmrHeads(seed=seed, prompts=16, items=ITEMS, lags=5)
    lists = probe.lists(subject, texts)
    keep = [step for step in CHECKPOINTS if step <= steps]
    path: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        trail = Trail(Path(folder))
        train(model, batches(seed), Schedule(steps, lr=2e-3, warm_up=50, shape="constant"), trail, keep)
        for step in trail.steps():
            trail.load(step, model)
            heads = probe.heads(subject, lists, lambda *a: None)
            least = min((h["distance"] for h in heads["heads"] if near(h)), default=1.0)
            bump = min((h["bump"] for h in heads["heads"] if h["bump"] is not None), default=1.0)
            likes = float(np.mean([near(h) for h in heads["heads"]]))
            path.append({"step": step, "gain": gain(subject, lists), "least": least, "bump": bump, "like": likes})
    whole = gain(subject, lists)
    lost = {}
    for head in heads["heads"]:
        with ablated(subject, [(head["layer"], head["head"])]):
            lost[head["layer"], head["head"]] = gain(subject, lists) - whole
    best = chosen_heads(heads, 0.375)  # three of eight, together, since heads of one kind stand in for each other
    rest = [place for place in lost if place not in best]
    together = {}
    for some in [tuple(best), *combinations(rest, len(best))]:
        with ablated(subject, some):
            together[some] = gain(subject, lists) - whole
    others = [value for some, value in together.items() if some != tuple(best)]
    return {
        "path": path,
        "heads": [h | {"lost": lost[h["layer"], h["head"]]} for h in heads["heads"]],
        "best": [list(place) for place in best],
        "best_lost": together[tuple(best)],
        "others_lost": float(np.mean(others)),
        "hurts_most": list(max(lost, key=lambda place: lost[place])),
        "worst_is_among_best": max(lost, key=lambda place: lost[place]) in best,
    }


def pretrained(model: str, seed: int, text: str | None) -> dict[str, Any]:
    """The instrument's verdicts on a real model, from its own draw of lists and texts."""
    subject, texts = opened(model), read_texts(text)
    shuffled = [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]
    probe = CmrHeads(seed=seed, prompts=4, texts=8, context=128, draws=2, steps=(8, 8, 6))
    finding = probe.measure(subject, shuffled, Workspace(None, {}), lambda *a: None)
    heads = finding.values["heads"]["heads"]
    like = [h for h in heads if near(h)]
    return {
        "verdicts": [
            {"claim": v.claim, "word": v.word, "effect": v.effect, "low": v.low, "high": v.high, "null": v.null,
             "null_low": v.null_low, "null_high": v.null_high} for v in finding.verdicts
        ],
        "like": len(like), "strict": sum(h["distance"] < 0.1 for h in like), "heads": len(heads),
        "beats_the_bump": sum(h["distance"] < h["bump"] for h in like),
        "layers": np.bincount([h["layer"] for h in like], minlength=finding.values["heads"]["layers"]).tolist(),
        "best": finding.values["best"],
    }  # fmt: skip


def judge(parts: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Tiny and pretrained each: seen in every seed, or in none, or undecided."""
    rows = [parts[f"tiny {seed}"] for seed in seeds]
    first, last = [row["path"][0] for row in rows], [row["path"][-1] for row in rows]
    fell = [b["least"] < a["least"] and b["gain"] < a["gain"] - 0.5 for a, b in zip(first, last, strict=True)]
    hurts = [row["best_lost"] > row["others_lost"] for row in rows]
    worst = [row["worst_is_among_best"] for row in rows]
    said = (
        f"tiny: least distance {np.mean([a['least'] for a in first]):.2f} -> {np.mean([b['least'] for b in last]):.2f} "
        f"as a list said twice gains {-np.mean([a['gain'] for a in first]):.2f} -> "
        f"{-np.mean([b['gain'] for b in last]):.2f} nats; without the three closest "
        f"{_mean(rows, 'best_lost'):.2f} nats are lost, without three others {_mean(rows, 'others_lost'):.2f}; the one "
        f"head that alone hurts most is among the closest in {sum(worst)} of {len(worst)}"
    )
    tests = [all(fell), all(hurts)]
    real = [parts[f"real {seed}"] for seed in seeds if f"real {seed}" in parts]
    words: list[str] = []
    if real:
        for place, short in ((0, "in-context learning lost"), (1, "gain on a repeated list lost")):
            got = [row["verdicts"][place] for row in real]
            words.append("/".join(v["word"] for v in got))
            said += (
                f"; real model, {short}: {np.mean([v['effect'] for v in got]):.3f} "
                f"[{min(v['low'] for v in got):.3f}, {max(v['high'] for v in got):.3f}], by lot "
                f"{np.mean([v['null'] for v in got]):.3f}"
            )
            tests.append(all(v["word"] == "holds" for v in got))
        share = [row["like"] / row["heads"] for row in real]
        depth = [
            np.average(np.arange(len(row["layers"])), weights=row["layers"]) / (len(row["layers"]) - 1) for row in real
        ]
        said += f"; {np.mean(share):.0%} of its heads are CMR-like, mean depth {np.mean(depth):.2f} of 1"
    word = "holds" if all(tests) and real else "does not hold" if not any(tests) else "cannot be told at this size"
    return {"verdict": word, "summary": f"{said} ({len(seeds)} seeds)", "words": words}


def _mean(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(np.mean([row[key] for row in rows if row[key] is not None]))


def draw(parts: Mapping[str, Any], path: Path) -> None:
    """Distance and gain over training; loss without each head against its distance; a real model's heads by layer."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    real = [part for name, part in parts.items() if name.startswith("real")]
    columns = 3 if real else 2
    figure, axes = plt.subplots(1, columns, figsize=(4.5 * columns, 3.4), layout="constrained")
    left, right = axes[:2]
    twin = left.twinx()
    for n, row in enumerate(part for name, part in parts.items() if name.startswith("tiny")):
        steps = [max(1, point["step"]) for point in row["path"]]
        left.plot(steps, [point["least"] for point in row["path"]], "o-", color=f"C{n}", markersize=3)
        twin.plot(steps, [-point["gain"] for point in row["path"]], "--", color=f"C{n}", linewidth=1)
        distance = [1.0 if head["distance"] is None else head["distance"] for head in row["heads"]]
        right.plot(distance, [head["lost"] for head in row["heads"]], "o", color=f"C{n}", markersize=4)
    left.set(xscale="log", xlabel="step", ylabel="least distance (line)", title="heads come to follow recall")
    twin.set_ylabel("gain on a repeated list, nats (dashed)")
    right.set(
        xlabel="distance from the recall model", ylabel="nats lost without it", title="each head taken away alone"
    )
    if real:
        layers = np.array([row["layers"] for row in real], float)
        heads = real[0]["heads"] / layers.shape[1]
        axes[2].bar(np.arange(layers.shape[1]), layers.mean(0) / heads, color="#2f6fb0")
        axes[2].set(xlabel="layer of the real model", ylabel="share of its heads", title="heads near the recall model")
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    parser = options(CLAIM)
    parser.add_argument("--text", default=None, help="what the real model reads; else the novel that comes along")
    args = parser.parse_args()
    steps = 30 if args.quick else CHECKPOINTS[-1]
    makers: dict[str, Any] = {f"tiny {seed}": partial(tiny, seed, steps) for seed in seeds_of(args)}
    makers |= {f"real {seed}": partial(pretrained, args.model, seed, args.text) for seed in real_seeds_of(args)}
    settings = {"steps": steps, "code": 1}
    prove(__file__, "cmr-heads", CLAIM, args, makers, judge, draw, settings, items=ITEMS)


if __name__ == "__main__":
    main()
