"""A-MEM: do notes, links and evolution bring more of a question's evidence into the same tokens?

Run: python proofs/a_mem.py

LoCoMo, evidence turns within 500 and 1,000 tokens, on the conversations that nothing was chosen on. Rows build up: the
turns alone (content), with notes by rules, with links (as the class follows them, and right behind the turn that leads
to them, as published), with notes that rewrite one another. Controls: as many links led to turns drawn by lot; and
notes whose context is the observation that LoCoMo ships for the turn, an oracle, which shows what good notes are worth.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.baselines import baseline_rows
from slowwave.bench.budgets import PLAIN, by_kind, gain, judged_within, labelled, made_up, signed, told, verdict_of
from slowwave.bench.datasets import CachedEmbedder, data_root, fingerprints, folder_of
from slowwave.bench.locomo import TUNED, read
from slowwave.bench.locomo_oracle import locomo_oracle
from slowwave.bench.metrics import Floats
from slowwave.bench.proving import basic_options, write
from slowwave.bench.retrieval import Conversation
from slowwave.bench.system import Filled
from slowwave.models import LLM, resolve_embedder
from slowwave.models.base import Embedder
from slowwave.ops.unfold import Pointed
from slowwave.store.base import View, Want
from slowwave.text.a_mem import AMem
from slowwave.text.base import Cue

CLAIM = "Links between notes raise the share of multi-hop questions of which all evidence is in the same tokens."
JUDGED = "all@1000t"  # of multi-hop questions; chosen beforehand
CONTENT, NOTES, LINKS, BEHIND = "content only", "+ notes", "+ links", "+ links, right behind"
EVOLVED, LOT, ORACLE = "+ evolution", "+ links by lot", "oracle: notes from shipped observations"
Rows = dict[str, Mapping[str, Floats]]


class ByLot(AMem):
    """As many links as there are, but each leads to a turn drawn by lot: what mere widening does."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self.lot = random.Random(seed)
        self._turns: dict[str, list[int]] = {}

    def _linked(self, view: View, cue: Cue, found: dict[int, Pointed], own: Mapping[int, float]) -> dict[int, Pointed]:
        scope = str(view.scope)
        if scope not in self._turns:
            self._turns[scope] = [n for n, _ in view.after(0, 100_000, Want(kinds=("episode",)))]
        linked = super()._linked(view, cue, found, own)
        out = dict(found)
        for n, pointed in linked.items():
            if found.get(n) == pointed:
                continue
            other = self.lot.choice(self._turns[scope])
            if other not in out or pointed.score > out[other].score:
                out[other] = replace(pointed, n=other)
        return out


def conversations(quick: bool) -> tuple[list[Conversation], list[Path]]:
    """The held-out conversations with their plain questions, and their files; a quick run makes some up."""
    if quick:
        return made_up(3), []
    files = [file for file in sorted(folder_of("locomo").glob("conv-*.json")) if file.stem not in TUNED]
    talks = [read(file, set(), Counter()) for file in files]
    return [replace(t, questions=tuple(q for q in t.questions if q.kind in PLAIN)) for t in talks], files


def measure(
    talks: Sequence[Conversation], files: Sequence[Path], embedder: Embedder, seeds: Sequence[int]
) -> tuple[Rows, dict[str, Any]]:
    """Row -> metric -> one number a question; and what the nights made and cost."""

    def step(done: int, total: int) -> None: ...

    rows: Rows = {
        name: judged_within(talks, rankings) for name, rankings in baseline_rows(talks, embedder, step).items()
    }
    nights: dict[str, Any] = {}

    def night(label: str, asked: Mapping[str, AMem], llm: LLM | None = None, **system: Any) -> None:
        begin = datetime.now(UTC)
        with Filled(talks, embedder, step, system=AMem(**system), llm=llm) as filled:
            if label == NOTES:
                rows[CONTENT] = judged_within(talks, filled.rank(step))
            made = dict(filled.sleep(step))
            nights[label] = {**made, "seconds": round((datetime.now(UTC) - begin).total_seconds(), 1)}
            for name, reader in asked.items():
                filled.memory.system = reader
                rows[name] = judged_within(talks, filled.rank(step))
            if llm is not None:
                nights[label]["calls"] = {name: spent.to_dict() for name, spent in llm.spent.items()}

    readers: dict[str, AMem] = {NOTES: AMem(reach=0), LINKS: AMem(), BEHIND: AMem(reach=1.0)}
    readers |= {f"{LOT} {seed}": ByLot(seed) for seed in seeds}
    night(NOTES, readers, evolving=False)
    rows[LOT] = {metric: np.mean([rows[f"{LOT} {seed}"][metric] for seed in seeds], axis=0) for metric in rows[NOTES]}
    for seed in seeds:
        del rows[f"{LOT} {seed}"]
    night(EVOLVED, {EVOLVED: AMem()})
    if files:
        oracle = LLM(locomo_oracle(files), retries=0)
        night(ORACLE, {ORACLE: AMem(reach=0), f"{ORACLE}, + links": AMem()}, oracle, evolving=False)
    return rows, nights


def judge(rows: Rows, talks: Sequence[Conversation]) -> dict[str, Any]:
    """The verdict on links, and each step's gain over the one before."""
    names, kinds = labelled(talks)
    multi, plain = kinds == "multi-hop", np.isin(kinds, PLAIN)
    steps = [(NOTES, CONTENT), (LINKS, NOTES), (BEHIND, NOTES), (LINKS, LOT), (EVOLVED, LINKS)]
    steps += [(ORACLE, CONTENT)] if ORACLE in rows else []
    gains = {
        f"{row} over {over}": {
            f"{kind}, {metric}": gain(rows, row, over, metric, chosen, names)
            for kind, chosen in (("multi-hop", multi), ("all", plain))
            for metric in (JUDGED, "all@500t", "recall@1000t", "recall@500t")
        }
        for row, over in steps
    }
    table = by_kind(rows, names, kinds)
    judged = gains[f"{LINKS} over {NOTES}"][f"multi-hop, {JUDGED}"]
    parts = [
        "multi-hop, all evidence in 1,000 tokens: "
        + ", ".join(
            f"{row} {told(table[row]['multi-hop'][JUDGED])}" for row in (CONTENT, NOTES, LINKS, BEHIND, EVOLVED)
        ),
        f"links over notes {signed(judged)}, right behind "
        f"{signed(gains[f'{BEHIND} over {NOTES}'][f'multi-hop, {JUDGED}'])}",
        "all questions, recall in 1,000 tokens: "
        + ", ".join(f"{row} {table[row]['all']['recall@1000t']['mean']:.3f}" for row in table),
    ]
    return {"verdict": verdict_of([judged]), "summary": "; ".join(parts), "gains": gains, "rows": table}


def draw(table: Mapping[str, Any], path: Path) -> None:
    """Multi-hop and all questions, by row."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    rows = list(table)
    for axis, (kind, metric) in zip(axes, (("multi-hop", JUDGED), ("all", "recall@1000t")), strict=True):
        for place, row in enumerate(rows):
            found = table[row][kind][metric]
            spread = [[found["mean"] - found["low"]], [found["high"] - found["mean"]]]
            axis.errorbar(found["mean"], place, xerr=spread, fmt="o", markersize=4, color="C1" if "+" in row else "C0")
        axis.set_yticks(range(len(rows)), rows, fontsize=7)
        axis.set_title(f"{kind}: {metric}", fontsize=9)
        axis.tick_params(axis="x", labelsize=8)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5, of="of the links by lot").parse_args()
    seeds = list(range(1 if args.quick else args.seeds))
    talks, files = conversations(args.quick)
    embedder = resolve_embedder("fake") if args.quick else CachedEmbedder(resolve_embedder(None))
    rows, nights = measure(talks, files, embedder, seeds)
    verdict = judge(rows, talks)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "nights": nights, "seeds": seeds,
            "data": fingerprints(files, data_root()),
            "parameters": {"held out from": list(TUNED), "judged": f"multi-hop, {JUDGED}", "reach": AMem().reach},
        }  # fmt: skip
        write(__file__, "a-mem", CLAIM, verdict, whole, lambda path: draw(verdict["rows"], path))


if __name__ == "__main__":
    main()
