"""A night of slowwave's own memory: fewer stale answers than before it, fewer still with a model, and none lost.

Run: python proofs/default.py

Generated conversations (FactStream: values that change, repeats in other words, chatter, traps of the same wording)
with the templates that nothing was tuned on. Each is asked before any night, after nights by rules, and after nights
with an oracle: a stand-in for a language model that knows the truth, all of whose reply is wrong in a share of replies.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.facts import NIGHT_EVERY, TOP_K, USER, standing
from slowwave.bench.factstream import FactStream, score
from slowwave.bench.proving import basic_options, write
from slowwave.bench.truth import oracle
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.models.llm import LLM

CLAIM = (
    "After a night without a language model fewer answers are stale and no more facts are lost; "
    "with one, even one that errs in a fifth of its replies, fewer still."
)
RATES = (
    "stale_rate", "lost_rate", "at_date_right", "history_whole", "invented_rate", "duplicate_rate",
)  # fmt: skip
ERRORS = (0.0, 0.05, 0.2)


def lived(stream: FactStream, embedder: Embedder, sleeps: bool, llm: LLM | None) -> dict[str, float]:
    """A stream taken in session by session, with its nights, then asked; `invented_rate` at the default threshold."""
    now = [stream.turns[0].at]
    items = stream.items()
    sessions = list(dict.fromkeys(turn.session for turn in stream.turns))
    with Memory(":memory:", embedder=embedder, llm=llm, clock=lambda: now[0]) as memory:
        for number, session in enumerate(sessions, 1):
            said = [item for item in items if item.session == session]
            now[0] = max(item.at for item in said if item.at is not None) + timedelta(hours=1)
            memory.add(said, user_id=USER)
            if sleeps and (number % NIGHT_EVERY == 0 or number == len(sessions)):
                now[0] += timedelta(hours=12)
                memory.sleep(user_id=USER)
        answers: dict[str, list[str]] = {}
        for question in stream.questions:
            when = {} if question.as_of is None else {"at": question.as_of, "now": question.as_of}
            least = None if question.kind == "never_said" else 0.0
            hits = memory.search(question.text, user_id=USER, top_k=TOP_K, threshold=least, note_use=False, **when)
            answers[question.id] = [hit.text for hit in hits]
        return score(stream, answers, standing(memory.list(at=now[0], limit=None, user_id=USER)))


def measure(seeds: int, sessions: int, errors: tuple[float, ...], embedder: Embedder) -> dict[str, Any]:
    """Row -> rate -> its values, seed by seed; and the calls of the model."""
    rows: dict[str, list[dict[str, float]]] = {}
    calls: list[int] = []
    for seed in range(seeds):
        stream = FactStream(seed=seed, sessions=sessions, half="held-out")
        rows.setdefault("before", []).append(lived(stream, embedder, False, None))
        rows.setdefault("rules", []).append(lived(stream, embedder, True, None))
        for error in errors:
            llm = LLM(oracle(stream, error, seed), wait=lambda seconds: None)
            rows.setdefault(f"model, {error:.0%} wrong", []).append(lived(stream, embedder, True, llm))
            calls.append(llm.total().calls)
    return {
        "rates": {name: {rate: [round(row[rate], 4) for row in many] for rate in RATES} for name, many in rows.items()},
        "calls of the model": calls,
    }


def judge(rates: dict[str, dict[str, list[float]]]) -> dict[str, str]:
    """Whether each step leaves fewer stale answers, and loses no more."""
    mean = {name: {rate: float(np.mean(values)) for rate, values in row.items()} for name, row in rates.items()}
    models = [name for name in rates if name.startswith("model")]
    fewer = mean["rules"]["stale_rate"] < mean["before"]["stale_rate"] and all(
        mean[name]["stale_rate"] < mean["rules"]["stale_rate"] for name in models
    )
    kept = mean["rules"]["lost_rate"] <= mean["before"]["lost_rate"] and all(
        mean[name]["lost_rate"] <= mean["rules"]["lost_rate"] for name in models
    )
    told = [f"{name} {_span(row['stale_rate'])} / {_span(row['lost_rate'])}" for name, row in rates.items()]
    return {"verdict": "holds" if fewer and kept else "does not hold", "summary": f"stale / lost: {'; '.join(told)}"}


def _span(values: list[float]) -> str:
    return f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def draw(rates: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Each rate by row, seed by seed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    shown = ("stale_rate", "lost_rate", "at_date_right", "history_whole")
    figure, axes = plt.subplots(1, len(shown), figsize=(11, 2.6))
    for axis, rate in zip(axes, shown, strict=True):
        for place, row in enumerate(rates.values()):
            axis.plot([place] * len(row[rate]), row[rate], "o", markersize=3, alpha=0.5, color="tab:blue")
            axis.plot([place - 0.25, place + 0.25], [np.mean(row[rate])] * 2, color="black")
        axis.set_xticks(range(len(rates)), rates, rotation=35, fontsize=6, ha="right")
        axis.set_title(rate.replace("_", " "), fontsize=9)
        axis.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5).parse_args()
    embedder = CachedEmbedder(resolve_embedder("fake" if args.quick else None))
    seeds, sessions, errors = (1, 4, (0.0,)) if args.quick else (args.seeds, 12, ERRORS)
    found = measure(seeds, sessions, errors, embedder)
    embedder.close()
    verdict = judge(found["rates"])
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": list(range(seeds)), **found,
        }  # fmt: skip
        write(__file__, "default", CLAIM, verdict, whole, lambda path: draw(found["rates"], path))


if __name__ == "__main__":
    main()
