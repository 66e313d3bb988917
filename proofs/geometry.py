"""Geometry: collapse, expansion and compression of last-token states over a training, and what makes them in a toy.

Run: python proofs/geometry.py

Tiny: a decoder of three layers on nine tenths of a public-domain novel. RankMe and alpha-ReQ of the last layer's
last-token states at log-spaced steps, on the tenth that it has not read, beside the loss, and how closely its chances
follow what the text it has read says after the same words (an infinity-gram); step 0 is the untrained control.

Toy: linear features and a linear read-out under cross-entropy. With few dimensions and skewed classes the effective
rank should rise and then fall; with even classes, or with room for every class, it should not fall.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slowwave.bench.proving import options, prove, seeds_of
from slowwave.probes.bpe import Bpe
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.geometry import Geometry, phases
from slowwave.probes.spectra import eigenvalues, rankme
from slowwave.probes.subjects import Subject
from slowwave.probes.texts import read_texts
from slowwave.probes.training import Schedule, Trail, log_spaced, rows_sampler, train, windows

CLAIM = "Over a training, states first collapse, expand two- to threefold, then compress: by skew and bottleneck."
CONTEXT = 32


def tiny(seed: int, steps: int, width: int, sequences: int, texts: Sequence[str]) -> list[dict[str, Any]]:
    """RankMe, alpha, loss and likeness to what was read, at each checkpoint of one training."""
    tokenizer = Bpe(texts[:400], 1024)
    read = [text for n, text in enumerate(texts) if n % 10]
    rows = windows([i for text in read for i in tokenizer.encode(text)], CONTEXT)
    rng = np.random.default_rng(seed)
    rows = rows[rng.permutation(len(rows))]
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=width, layers=3, heads=4, context=64), seed)
    subject = Subject("tiny", model, tokenizer)
    probe = Geometry(seed=seed, sequences=sequences, context=CONTEXT, batch=64)
    probe.corpus = read
    out = []
    with tempfile.TemporaryDirectory() as folder:
        trail = Trail(Path(folder))
        keep = log_spaced(steps, 8, min(30, steps // 2))
        losses = train(model, rows_sampler(rows, 24, seed), Schedule(steps, lr=2e-3, warm_up=30), trail, keep)
        for step in trail.steps():
            trail.load(step, model)
            found = probe.layers(subject, texts[::10], lambda *a: None, last_alone=True)
            last = found["layers"][-1] | found["corpus"] | {"sequences": found["sequences"]}
            near = losses[max(0, step - 10) : step + 10]
            out.append(
                {"step": step, "loss": float(np.mean(near))} | {k: v for k, v in last.items() if k != "spectrum"}
            )
    return out


def toy(seed: int, skewed: bool, width: int, steps: int, classes: int = 24) -> list[float]:
    """RankMe of linear features while they and their read-out learn to tell classes apart; full-batch descent."""
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, classes + 1) if skewed else np.ones(classes)
    label = rng.choice(classes, 2000, p=share / share.sum())
    centres = rng.normal(size=(classes, 48))
    x = torch.from_numpy(centres[label] + 0.3 * rng.normal(size=(2000, 48))).float()
    y = torch.from_numpy(label)
    generator = torch.Generator().manual_seed(seed)
    theta = (0.02 * torch.randn(48, width, generator=generator)).requires_grad_(True)
    weight = (0.02 * torch.randn(width, classes, generator=generator)).requires_grad_(True)
    optimiser = torch.optim.SGD([theta, weight], lr=0.5, weight_decay=1e-4)
    at = set(np.unique(np.geomspace(1, steps, 25).round().astype(int)).tolist())
    out = []
    for step in range(1, steps + 1):
        loss = torch.nn.functional.cross_entropy(x @ theta @ weight, y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step in at:
            out.append(rankme(eigenvalues((x @ theta).detach().numpy())))
    return out


def toys(seed: int, steps: int) -> dict[str, list[float]]:
    """The toy with skew and bottleneck, and without either."""
    return {
        "skewed, narrow": toy(seed, True, 8, steps),
        "even, narrow": toy(seed, False, 8, steps),
        "skewed, wide": toy(seed, True, 40, steps),
    }


def judge(parts: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Each phase of the tiny model, and the toy's two conditions, over all seeds."""
    runs = [parts[f"tiny {seed}"] for seed in seeds]
    found = [phases([row["rankme"] for row in run]) for run in runs]
    curves = {name: [parts[f"toy {seed}"][name] for seed in seeds] for name in parts[f"toy {seeds[0]}"]}
    fall = {name: [1 - path[-1] / max(path) for path in paths] for name, paths in curves.items()}
    rise = {
        name: [max(path) / min(path[: path.index(max(path)) + 1]) for path in paths] for name, paths in curves.items()
    }
    ranks = [[row["rankme"] for row in run] for run in runs]
    lowest = [int(np.argmin(one)) for one in ranks]
    highest = [low + int(np.argmax(one[low:])) for one, low in zip(ranks, lowest, strict=True)]
    rho = [[row["rho"] or 0.0 for row in run] for run in runs]
    likeness = " -> ".join(f"{np.mean([one[n] for one in rho]):.2f}" for n in range(len(rho[0])))
    skew, even, wide = (fall[name] for name in ("skewed, narrow", "even, narrow", "skewed, wide"))
    seen = {
        "collapse": all(f["collapse"] < 0.8 for f in found),
        "expansion, twofold or more": all(f["expansion"] >= 2 for f in found),
        "compression": all(f["compression"] < 0.9 for f in found),
        "chances follow the text read more where the rank is highest than where it is lowest": all(
            one[top] > one[low] for one, low, top in zip(rho, lowest, highest, strict=True)
        ),
        "they follow it most where the expansion ends": all(
            int(np.argmax(one)) == top for one, top in zip(rho, highest, strict=True)
        ),
        "the toy compresses more with skew than without": min(skew) > max(even),
        "the toy compresses more with a bottleneck than without": min(skew) > max(wide),
    }
    word = (
        "holds" if all(seen.values()) else "does not hold" if not any(seen.values()) else "cannot be told at this size"
    )
    path = " -> ".join(f"{np.mean([run[n]['rankme'] for run in runs]):.1f}" for n in range(len(runs[0])))
    summary = (
        f"RankMe at steps {', '.join(str(row['step']) for row in runs[0])}: {path}; from the start to the lowest "
        f"{_range([f['collapse'] for f in found])}, then to the highest {_range([f['expansion'] for f in found])}, "
        f"then to the end {_range([f['compression'] for f in found])}; Spearman's rho with an infinity-gram of "
        f"what was read {likeness}; toy, share of rank lost after its peak: "
        f"skewed and narrow {_range(skew)}, even {_range(even)}, wide {_range(wide)}; "
        f"seen: {'; '.join(k for k, v in seen.items() if v) or 'nothing'}; "
        f"not seen: {'; '.join(k for k, v in seen.items() if not v) or 'nothing'} ({len(seeds)} seeds)"
    )
    return {"verdict": word, "summary": summary, "seen": seen, "phases": found, "toy fall": fall, "toy rise": rise}


def _range(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def draw(parts: Mapping[str, Any], path: Path) -> None:
    """RankMe and loss over the tiny trainings; RankMe over the toys."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.4), layout="constrained")
    twin = left.twinx()
    for n, run in enumerate(part for name, part in parts.items() if name.startswith("tiny")):
        steps = [max(1, row["step"]) for row in run]
        left.plot(steps, [row["rankme"] for row in run], "o-", color=f"C{n}", markersize=3)
        twin.plot(steps, [row["loss"] for row in run], ":", color=f"C{n}")
        middle.plot(steps, [row["rho"] or 0 for row in run], "^-", color=f"C{n}", markersize=3)
    left.set(xscale="log", xlabel="step", ylabel="RankMe (line)", title="last layer, last token")
    twin.set_ylabel("loss, nats (dotted)")
    middle.set(xscale="log", xlabel="step", ylabel="Spearman's rho", title="its chances and those of what it read")
    for n, name in enumerate(parts["toy 0"]):
        for key, part in parts.items():
            if key.startswith("toy"):
                right.plot(part[name], color=f"C{n}", linewidth=0.9, label=name if key == "toy 0" else None)
    right.set(xlabel="measurement, evenly in the logarithm of steps", ylabel="RankMe", title="linear toy")
    right.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = options(CLAIM, model=False).parse_args()
    steps, width, sequences, long = (20, 16, 100, 60) if args.quick else (500, 48, 960, 2000)
    texts = read_texts(None)[: 40 if args.quick else 100_000]
    makers: dict[str, Any] = {f"tiny {n}": partial(tiny, n, steps, width, sequences, texts) for n in seeds_of(args)}
    makers |= {f"toy {seed}": partial(toys, seed, long) for seed in seeds_of(args)}
    settings = {"steps": steps, "width": width, "sequences": sequences, "toy steps": long, "code": 2}
    prove(__file__, "geometry", CLAIM, args, makers, judge, draw, settings)


if __name__ == "__main__":
    main()
