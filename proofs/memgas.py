"""MemGAS: is a routed mix of granularities better than the best one alone, and a router better than none?

Run: python proofs/memgas.py

LoCoMo by session, on the conversations that nothing was chosen on: recall and nDCG of the sessions that hold evidence,
for each granularity alone, for all of them weighed alike, by lot, by the router as published (raw entropy) and by the
router as meant (entropy over ln n), with and without the walk over the graph. Then by turn, evidence within 500 and
1,000 tokens, for the two ways to go from sessions to turns. Summaries and keywords are extracts; one row has the
summaries that LoCoMo ships instead, an oracle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.baselines import baseline_rows
from slowwave.bench.budgets import PLAIN, by_kind, gain, judged_within, labelled, made_up, signed, verdict_of
from slowwave.bench.datasets import CachedEmbedder, data_root, fingerprints, folder_of
from slowwave.bench.locomo import TUNED, read
from slowwave.bench.locomo_oracle import locomo_oracle
from slowwave.bench.metrics import Floats
from slowwave.bench.proving import basic_options, write
from slowwave.bench.retrieval import Conversation
from slowwave.bench.system import Filled
from slowwave.models import LLM, resolve_embedder
from slowwave.models.base import Embedder
from slowwave.ops.granularity import GRANULARITIES
from slowwave.records import Scope
from slowwave.text.memgas import MemGAS

CLAIM = "A mix of granularities finds the session better than the best of them alone, and a router better than none."
JUDGED = "ndcg@5"  # of sessions; chosen beforehand
UNIFORM, ROUTED, RAW, LOT = "mix, uniform", "mix, routed", "mix, routed as published", "mix, weights by lot"
WALKED, PUBLISHED = "mix, routed, walk", "mix, routed as published, walk"
ORACLE = "oracle: mix, routed, walk, shipped summaries"
Rows = dict[str, dict[str, Floats]]


class ByLot(MemGAS):
    """Weights drawn by lot for each question: what any mixing does."""

    def __init__(self, seed: int) -> None:
        super().__init__(walk=False)
        self.lot = np.random.default_rng(seed)

    def weights(self, similarities: Mapping[str, Sequence[float]]) -> dict[str, float]:
        return dict(zip(similarities, self.lot.dirichlet(np.ones(len(similarities))).tolist(), strict=True))


def readers(seeds: Sequence[int]) -> dict[str, MemGAS]:
    """Row -> the system that ranks its sessions, all over the same nodes."""
    alone = {f"{name} alone": MemGAS(granularities=(name,), walk=False) for name in GRANULARITIES}
    return {
        **alone,
        UNIFORM: MemGAS(router="uniform", walk=False),
        **{f"{LOT} {seed}": ByLot(seed) for seed in seeds},
        ROUTED: MemGAS(walk=False),
        RAW: MemGAS(router="raw", temp=0.1, walk=False),
        "mix, uniform, walk": MemGAS(router="uniform"),
        WALKED: MemGAS(),
        PUBLISHED: MemGAS(router="raw", temp=0.1),
    }


def sessions_judged(filled: Filled, system: MemGAS) -> dict[str, Floats]:
    """Metric of sessions -> one number a question."""
    out: dict[str, list[float]] = {}
    for talk in filled.conversations:
        session = {unit: str(item.session) for unit, item in zip(talk.units, talk.items, strict=True)}
        view = filled.memory.store.view(Scope(user_id=talk.name))
        for question in talk.questions:
            vector = filled.memory.embedder.embed([question.text])[0]
            ranked = [str(node.session) for node, _ in system.sessions(view, vector)]
            for name, value in of_sessions(ranked, {session[unit] for unit in question.evidence}).items():
                out.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in out.items()}


def of_sessions(ranked: Sequence[str], wanted: set[str]) -> dict[str, float]:
    """Recall at 1, 3 and 5 sessions, all of them at 3, and nDCG at 5 with a gain of 1 for each that holds evidence."""
    gains = [1 / np.log2(place + 2) for place in range(5)]
    found = sum(g for g, session in zip(gains, ranked, strict=False) if session in wanted)
    out = {f"recall@{k}": len(wanted & set(ranked[:k])) / len(wanted) for k in (1, 3, 5)}
    return {**out, "all@3": float(wanted <= set(ranked[:3])), "ndcg@5": found / sum(gains[: len(wanted)])}


def conversations(quick: bool) -> tuple[list[Conversation], list[Path]]:
    """The held-out conversations with their plain questions, and their files; a quick run makes some up."""
    if quick:
        return made_up(3), []
    files = [file for file in sorted(folder_of("locomo").glob("conv-*.json")) if file.stem not in TUNED]
    talks = [read(file, set(), Counter()) for file in files]
    return [replace(t, questions=tuple(q for q in t.questions if q.kind in PLAIN)) for t in talks], files


def measure(
    talks: Sequence[Conversation], files: Sequence[Path], embedder: Embedder, seeds: Sequence[int]
) -> tuple[Rows, Rows, dict[str, Any]]:
    """(rows by session, rows by turn, what the night made)."""

    def step(done: int, total: int) -> None: ...

    by_session: Rows = {}
    by_turn: Rows = {
        name: judged_within(talks, rankings) for name, rankings in baseline_rows(talks, embedder, step).items()
    }
    with Filled(talks, embedder, step, system=MemGAS()) as filled:
        begin = datetime.now(UTC)
        night = {**filled.sleep(step), "seconds": round((datetime.now(UTC) - begin).total_seconds(), 1)}
        for name, system in readers(seeds).items():
            by_session[name] = sessions_judged(filled, system)
        for name, system in {
            "the best three sessions first": MemGAS(blend=None),
            "the best three first, as published": MemGAS(blend=None, router="raw", temp=0.1),
            "turns, their sessions blended in": MemGAS(),
            "the same without the walk": MemGAS(walk=False),
        }.items():
            filled.memory.system = system
            by_turn[name] = judged_within(talks, filled.rank(step))
    by_session[LOT] = {
        metric: np.mean([by_session[f"{LOT} {seed}"][metric] for seed in seeds], axis=0)
        for metric in by_session[ROUTED]
    }
    for seed in seeds:
        del by_session[f"{LOT} {seed}"]
    if files:
        with Filled(talks, embedder, step, system=MemGAS(), llm=LLM(locomo_oracle(files), retries=0)) as filled:
            filled.sleep(step)
            by_session[ORACLE] = sessions_judged(filled, MemGAS())
            by_session["oracle: mix, uniform, shipped summaries"] = sessions_judged(
                filled, MemGAS(router="uniform", walk=False)
            )
            by_session["oracle: shipped summaries alone"] = sessions_judged(
                filled, MemGAS(granularities=("summary",), walk=False)
            )
            by_turn["oracle: turns, their sessions blended in"] = judged_within(talks, filled.rank(step))
    return by_session, by_turn, night


def judge(by_session: Rows, by_turn: Rows, talks: Sequence[Conversation]) -> dict[str, Any]:
    """The verdict: the routed walk over the best granularity alone, and the router over none."""
    names, kinds = labelled(talks)
    every = np.isin(kinds, PLAIN)

    def mean(row: str) -> float:
        return float(by_session[row][JUDGED].mean())

    best = max((f"{name} alone" for name in GRANULARITIES), key=mean)
    pairs = [(WALKED, best), (ROUTED, best), (UNIFORM, best), (ROUTED, UNIFORM), (RAW, UNIFORM), (ROUTED, RAW)]
    pairs += [(ROUTED, LOT), (WALKED, ROUTED), (PUBLISHED, best), (PUBLISHED, WALKED)]
    gains = {
        f"{row} over {over}": {m: gain(by_session, row, over, m, every, names) for m in (JUDGED, "recall@3")}
        for row, over in pairs
    }
    judged = [gains[f"{WALKED} over {best}"][JUDGED], gains[f"{ROUTED} over {UNIFORM}"][JUDGED]]
    blended = gain(by_turn, "turns, their sessions blended in", "dense", "recall@1000t", every, names)
    summary = "; ".join(
        [
            f"nDCG of sessions at 5: {', '.join(f'{row} {mean(row):.3f}' for row in by_session)}",
            f"routed walk over the best alone ({best}) {signed(judged[0])}, router over none {signed(judged[1])}, "
            f"as published over as meant {signed(gains[f'{PUBLISHED} over {WALKED}'][JUDGED])}",
            "recall of turns in 1,000 tokens: "
            + ", ".join(f"{row} {values['recall@1000t'].mean():.3f}" for row, values in by_turn.items())
            + f" (blended over dense {signed(blended)})",
        ]
    )
    return {
        "verdict": verdict_of(judged),
        "summary": summary,
        "gains": {**gains, "turns blended over dense, recall@1000t": blended},
        "best alone": best,
        "by session": by_kind(by_session, names, kinds),
        "by turn": by_kind(by_turn, names, kinds),
    }


def draw(table: Mapping[str, Any], path: Path) -> None:
    """nDCG of sessions by row, all questions and multi-hop."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    rows = list(table)
    for axis, kind in zip(axes, ("all", "multi-hop"), strict=True):
        for place, row in enumerate(rows):
            found = table[row][kind][JUDGED]
            spread = [[found["mean"] - found["low"]], [found["high"] - found["mean"]]]
            colour = "C2" if "oracle" in row else "C0" if "alone" in row else "C1"
            axis.errorbar(found["mean"], place, xerr=spread, fmt="o", markersize=4, color=colour)
        axis.set_yticks(range(len(rows)), rows, fontsize=7)
        axis.set_title(f"sessions, {kind}: {JUDGED}", fontsize=9)
        axis.tick_params(axis="x", labelsize=8)
    axes[0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5, of="of the weights by lot").parse_args()
    seeds = list(range(1 if args.quick else args.seeds))
    talks, files = conversations(args.quick)
    embedder = resolve_embedder("fake") if args.quick else CachedEmbedder(resolve_embedder(None))
    by_session, by_turn, night = measure(talks, files, embedder, seeds)
    verdict = judge(by_session, by_turn, talks)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "night": night, "seeds": seeds,
            "data": fingerprints(files, data_root()),
            "parameters": {"held out from": list(TUNED), "judged": JUDGED, "blend": MemGAS().blend},
        }  # fmt: skip
        write(__file__, "memgas", CLAIM, verdict, whole, lambda path: draw(verdict["by session"], path))


if __name__ == "__main__":
    main()
