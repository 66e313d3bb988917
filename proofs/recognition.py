"""Recognition, recall, retention: what one to three readings leave, and what is lost first, on a tiny and a real model.

Run: python proofs/recognition.py --model smollm2-135m.gguf

Tiny: a decoder learns sentences of the kind until it knows what they are like; then new ones are studied, told from
foils, completed, and other sentences of the kind are read. Real: the same with a pretrained model, its own tokenizer
and a novel to read on. Each number stands beside the same model's before the study.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.proving import opened, options, prove, real_seeds_of, seeds_of
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.fictions import sentences
from slowwave.probes.generators import WordTokenizer
from slowwave.probes.recognition import Recognition, d_prime, draw_retention
from slowwave.probes.subjects import Subject
from slowwave.probes.texts import read_texts
from slowwave.probes.training import Schedule, rows_sampler, train
from slowwave.probes.tuning import padded

CLAIM = "One exposure gives recognition, three give recall; reading on takes recall first."
REAL = (8, 8)  # sentences of the real model, and updates on other text
KINDS = ("other sentence", "paraphrase", "synonym", "random words", "random or natural", "scrambled or natural")


def tiny(seed: int, steps: int, many: int, updates: int) -> dict[str, Any]:
    """Tests before, in and after a study, of a decoder that knows such sentences."""
    some = sentences(2 * many, seed)
    read = sentences(300, seed + 50)
    texts = [text for one in read for text in (one.text, one.paraphrase)]
    own = [text for one in some for text in (one.text, one.paraphrase, one.synonym)]
    tokenizer = WordTokenizer([*texts, *own, *(one.synonym for one in read)])
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=64, layers=2, heads=4, context=32), seed)
    rows = padded([tokenizer.encode(text) for text in texts], 18).numpy()
    train(model, rows_sampler(rows, 32, seed), Schedule(steps, lr=3e-3, warm_up=min(30, steps), shape="constant"))
    probe = Recognition(
        seed=seed, sentences=many, epochs=3, lr=2e-3, batch=4, updates=updates, rows=16, context=18, tests=5
    )
    return told(probe.study(Subject("tiny", model.eval(), tokenizer), texts, lambda *a: None))


def real(model: str, seed: int, many: int, updates: int) -> dict[str, Any]:
    """The same on a real model, which reads a novel afterwards."""
    probe = Recognition(seed=seed, sentences=many, epochs=3, lr=3e-5, batch=4, updates=updates, rows=4, tests=2)
    return told(probe.study(opened(model), read_texts(None), lambda *a: None))


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Means by test."""
    return {
        "sentences": values["sentences"],
        "tests": [
            {"when": t["when"], "exposures": t["exposures"], "updates": t["updates"],
             "recall": float(np.mean(t["recall"])),
             "recognition": {kind: float(np.mean(found)) for kind, found in t["recognition"].items()}}
            for t in values["tests"]
        ],
    }  # fmt: skip


def judge(parts: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Each finding over all seeds, on each model."""
    seen: dict[str, bool] = {}
    said = []
    table: dict[str, Any] = {}
    for name in ("tiny", "real"):
        rows = [parts[f"{name} {seed}"]["tests"] for seed in seeds if f"{name} {seed}" in parts]
        if not rows:
            continue
        before, once, thrice, end = ([row[n] for row in rows] for n in (0, 1, 3, -1))
        table[name] = {
            kind: {when: _range([t["recognition"][kind] for t in tests])
                   for when, tests in (("before", before), ("once", once), ("thrice", thrice), ("end", end))}
            for kind in before[0]["recognition"]
        }  # fmt: skip
        recall = [_range([t["recall"] for t in tests]) for tests in (before, once, thrice, end)]
        table[name]["recall"] = dict(zip(("before", "once", "thrice", "end"), recall, strict=True))
        other = table[name]["other sentence"]
        n = parts[f"{name} {seeds[0]}"]["sentences"]
        seen[f"{name}: one exposure tells a sentence from another, 0.9 or better"] = other["once"]["low"] >= 0.9
        seen[f"{name}: three bring back second halves, 0.9 or better"] = recall[2]["low"] >= 0.9
        seen[f"{name}: more is recalled after three than before"] = recall[2]["low"] > recall[0]["high"]
        kept = {
            "recognition": _kept(rows, lambda t: t["recognition"]["other sentence"]),
            "recall": _kept(rows, lambda t: t["recall"]),
        }
        if all(kept.values()):
            seen[f"{name}: recognition outlasts recall"] = min(kept["recognition"]) > max(kept["recall"])
            table[name]["kept"] = {key: _range(value) for key, value in kept.items()}
        said.append(
            f"{name} ({len(rows)} seeds): told from another sentence {_said(other['before'])} before, "
            f"{_said(other['once'])} after one exposure (d' {d_prime(other['once']['mean'], n):.2f}), "
            f"synonym {_said(table[name]['synonym']['once'])}, "
            f"recall {_said(recall[0])}, {_said(recall[1])}, {_said(recall[2])} after none, one and three, "
            f"{_said(recall[3])} after {rows[0][-1]['updates']} updates on other text, recognition then "
            f"{_said(other['end'])}"
        )
    core = [value for name, value in seen.items() if "0.9" in name or "outlasts" in name]
    word = (
        "holds"
        if all(core) and "real" in table
        else "does not hold"
        if not any(seen.values())
        else "cannot be told at this size"
    )
    missed = "; ".join(name for name, value in seen.items() if not value)
    summary = f"{'; '.join(said)}; not seen: {missed or 'nothing'}"
    return {"verdict": word, "summary": summary, "seen": seen, "table": table}


def _kept(rows: Sequence[Any], of: Any) -> list[float]:
    """The share of three exposures' gain that is left at the end, a seed each; nothing where one gained nothing."""
    gained = [of(row[3]) - of(row[0]) for row in rows]
    return [(of(row[-1]) - of(row[0])) / g for row, g in zip(rows, gained, strict=True)] if min(gained) > 0.02 else []


def _range(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "low": float(min(values)), "high": float(max(values))}


def _said(row: Mapping[str, float]) -> str:
    return f"{row['mean']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def draw(parts: Mapping[str, Any], path: Path) -> None:
    """Retention in the first seed's decoder."""
    draw_retention(parts["tiny 0"]).savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = options(CLAIM).parse_args()
    steps, many, updates = (10, 6, 2) if args.quick else (300, 24, 40)
    makers: dict[str, Any] = {f"tiny {seed}": partial(tiny, seed, steps, many, updates) for seed in seeds_of(args)}
    makers |= {f"real {seed}": partial(real, args.model, seed, *REAL) for seed in real_seeds_of(args)}
    settings = {"steps": steps, "sentences": many, "updates": updates, "real": list(REAL), "code": 1}
    prove(__file__, "recognition", CLAIM, args, makers, judge, draw, settings)


if __name__ == "__main__":
    main()
