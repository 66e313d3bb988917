"""Acquisition: the saw-tooth, its order by depth, and a straight line in the logarithm of time, on a tiny model.

Run: python proofs/acquisition.py

A decoder reads about invented villages, in passages and in answers to questions of every depth, until it knows what
such texts are like. Then, while it reads on, new villages are told: word by word again, in other words again, once, or
never. Asked at every measured update is the log-probability of their probes. Batches of 4 and of 32 rows; the learning
rate is constant. Seeds change the model, the villages and the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.proving import options, prove, seeds_of
from slowwave.probes.acquisition import Acquisition, draw_saw
from slowwave.probes.base import FAILS, HOLDS, OPEN, above
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.fictions import DEPTHS, fictions
from slowwave.probes.generators import WordTokenizer
from slowwave.probes.subjects import Subject
from slowwave.probes.training import Schedule, rows_sampler, train
from slowwave.probes.tuning import padded

CLAIM = (
    "Each exposure lifts a fact, most word by word; the lift decays straight in log time, and sooner in small batches."
)
BATCHES = (4, 32)
CONTEXT = 56


def taught(seed: int, steps: int, sizes: Mapping[str, int]) -> tuple[Subject, list[str]]:
    """(a decoder that knows such texts, the texts it reads on)."""
    read = fictions(80, seed + 1000)
    texts = [text for one in read for text in one.passages]
    asked = [" ".join(one.answers()[n : n + 4]) for one in read for n in (0, 3, 5)]
    new = [text for one in fictions(200, seed) for text in (*one.passages, *one.answers())]
    tokenizer = WordTokenizer([*texts, *asked, *new])
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), context=64, **sizes), seed)
    rows = padded([tokenizer.encode(text) for text in (*texts, *asked)], CONTEXT).numpy()
    train(model, rows_sampler(rows, 32, seed), Schedule(steps, lr=2e-3, warm_up=50, shape="constant"))
    return Subject("villages", model.eval(), tokenizer), [*texts, *asked]


def measured(seed: int, steps: int, quick: bool) -> dict[str, Any]:
    """What the instrument reads at each batch size, from one model."""
    subject, texts = taught(seed, steps, {"width": 32 if quick else 64, "layers": 2, "heads": 2 if quick else 4})
    out: dict[str, Any] = {}
    for batch in BATCHES[:1] if quick else BATCHES:
        probe = Acquisition(
            seed=seed, facts=6, exposures=2 if quick else 5, gap=6 if quick else 30, after=12 if quick else 300,
            batch=batch, context=CONTEXT, lr=1e-3, every=10,
        )  # fmt: skip
        curves = probe.train(subject, texts, lambda *a: None)
        read = probe.read(curves)
        out[str(batch)] = {
            "effectivity": {name: {"first": float(np.mean(v["first"])), "mean": v["mean"], "each": v["each"]}
                            for name, v in read["effectivity"].items()},
            "forgetting": {name: {k: v for k, v in line.items() if k not in ("t", "kept")}
                           for name, line in read["forgetting"].items()},
            "lines": {name: [line["t"], line["kept"]] for name, line in read["forgetting"].items()},
            "curves": _thin(curves),
        }  # fmt: skip
    return out


def _thin(curves: Mapping[str, Any]) -> dict[str, Any]:
    """Means over the probes of a scenario and depth, for the figure."""
    table, scenario, depth = np.array(curves["curves"]), np.array(curves["scenario"]), np.array(curves["depth"])
    names = sorted({(s, d) for s, d in zip(scenario.tolist(), depth.tolist(), strict=True)})
    return {
        "times": curves["times"], "told": curves["told"], "scenario": [s for s, _ in names],
        "depth": [d for _, d in names],
        "curves": [[round(float(v), 3) for v in table[(scenario == s) & (depth == d)].mean(0)] for s, d in names],
    }  # fmt: skip


def judge(parts: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Which of the paper's findings are seen, each over all seeds."""
    rows = [parts[str(seed)] for seed in seeds]
    large = str(BATCHES[-1]) if str(BATCHES[-1]) in rows[0] else str(BATCHES[0])

    def gains(scenario: str, depth: str, batch: str = large) -> list[float]:
        return [row[batch]["effectivity"][f"{scenario} {depth}"]["mean"] for row in rows]

    def line(scenario: str, depth: str, key: str, batch: str = large) -> list[float]:
        return [v for row in rows if (v := row[batch]["forgetting"][f"{scenario} {depth}"][key]) is not None]

    told = {d: _range(gains("duplicate", d)) for d in DEPTHS}
    never = {d: _range(gains("never", d)) for d in DEPTHS}
    net = {d: told[d]["mean"] - never[d]["mean"] for d in DEPTHS}
    r2 = {d: _range(line("duplicate", d, "r2")) for d in DEPTHS}
    a = {f"{s} {b}": _range(line(s, "memorisation", "a", b)) for s in ("duplicate", "paraphrase") for b in rows[0]}
    tau = {b: _median(line("duplicate", "memorisation", "tau", b)) for b in rows[0]}
    seen = {
        "an exposure lifts a fact above facts never told": told["memorisation"]["low"] > never["memorisation"]["high"],
        "memorisation gains more than semantic, semantic more than composition": net["memorisation"]
        > net["semantic"] > net["composition"],
        "straight in the logarithm of time (R2 above 0.8)": (r2["memorisation"]["low"] or 0) > 0.8,
        "word by word is forgotten faster than in other words": (a[f"duplicate {large}"]["low"] or 0)
        > (a[f"paraphrase {large}"]["high"] or 9),
        "a small batch shortens the longest useful gap": len(tau) > 1 and tau[str(BATCHES[0])] < tau[large],
    }  # fmt: skip
    lifted = {d: _range([_beside_never(row[large]["curves"], d) for row in rows]) for d in DEPTHS}
    first = above(*(row["memorisation"][end] for row in (told, never) for end in ("low", "high")))
    word = HOLDS if all(seen.values()) else FAILS if first == FAILS else OPEN
    summary = (
        f"gain an exposure, nats a token: {_said(told)}, never told {_said(never)}; "
        f"lift after the last exposure less that of facts never told, batch {large}: {_said(lifted)}; "
        f"R2 of the line {_said(r2)}; "
        f"decay a {_said(a)}; longest useful gap {', '.join(f'batch {b}: {v:.3g} updates' for b, v in tau.items())}; "
        f"seen: {'; '.join(k for k, v in seen.items() if v) or 'nothing'}; "
        f"not seen: {'; '.join(k for k, v in seen.items() if not v) or 'nothing'} ({len(seeds)} seeds)"
    )
    return {
        "verdict": word,
        "summary": summary,
        "seen": seen,
        "gain": told,
        "never": never,
        "r2": r2,
        "a": a,
        "tau": tau,
    }


def _beside_never(curves: Mapping[str, Any], depth: str) -> float:
    """The lift within ten updates of the last exposure, word by word, less that of facts never told; nats a token."""
    times, told = np.array(curves["times"]), curves["told"]
    mean = {(s, d): np.array(v) for s, d, v in zip(curves["scenario"], curves["depth"], curves["curves"], strict=True)}
    apart = mean["duplicate", depth] - mean["never", depth]
    near = (times > told[-1]) & (times <= told[-1] + 10)
    return float(apart[near].max() - apart[times == told[0]][0])


def _range(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"mean": float("nan"), "low": None, "high": None}
    return {"mean": float(np.mean(values)), "low": float(min(values)), "high": float(max(values))}


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def _said(table: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{name} {v['mean']:.2f}" + ("" if v["low"] is None else f" [{v['low']:.2f}, {v['high']:.2f}]")
        for name, v in table.items()
    )


def draw(parts: Mapping[str, Any], path: Path) -> None:
    """The saw-tooth of the first seed at the largest batch."""
    draw_saw({"curves": parts["0"][str(BATCHES[-1])]["curves"]}).savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = options(CLAIM, model=False).parse_args()
    steps = 20 if args.quick else 400
    makers = {str(seed): partial(measured, seed, steps, args.quick) for seed in seeds_of(args)}
    settings = {"steps": steps, "batches": BATCHES, "code": 1}
    prove(__file__, "acquisition", CLAIM, args, makers, judge, draw, settings)


if __name__ == "__main__":
    main()
