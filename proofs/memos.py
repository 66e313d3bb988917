"""MemOS: do three routes find more than each alone, and is what is archived never returned and yet restorable?

Run: python proofs/memos.py

Routes: evidence of LoCoMo questions within 500 and 1,000 tokens, by one system with one route or all three, before a
night; the weights were chosen on two conversations, the verdict is over the other five. Lifecycle: generated
conversations (FactStream, held-out templates), a night after every fourth session, by rules and with an oracle that is
wrong with probability ε; afterwards every archived node is searched for in several ways, then restored and searched for
again. The paper's third figure, the reuse of a prefix state, belongs to promotion (text to state) and is not here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from slowwave import Memory
from slowwave.bench.baselines import baseline_rows
from slowwave.bench.budgets import gain, judged_within, labelled
from slowwave.bench.datasets import CachedEmbedder, data_root
from slowwave.bench.evidence import shortened
from slowwave.bench.facts import NIGHT_EVERY, spread, standing
from slowwave.bench.factstream import FactStream, score
from slowwave.bench.locomo import TUNED, Locomo
from slowwave.bench.metrics import interval
from slowwave.bench.proving import basic_options, write
from slowwave.bench.retrieval import Conversation
from slowwave.bench.system import Filled
from slowwave.bench.truth_pairs import oracle
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.models.llm import LLM
from slowwave.ops.ledger import state_hash, state_of
from slowwave.ops.lifecycle import move, status_of
from slowwave.records import Engram, Scope
from slowwave.store.base import Operation
from slowwave.store.ids import new_id
from slowwave.text.memos import ROUTES, MemOS

CLAIM = "Three routes together find more evidence than each alone; what is archived is never returned, and restorable."
ALL, SLEPT = "three routes", "three routes, after a night"
ERRORS = (None, 0.0, 0.05, 0.2)
USER: Any = {"user_id": "stream"}
RATES = ("stale_rate", "lost_rate", "at_date_right", "history_whole", "duplicate_rate")


def quiet(done: int, total: int) -> None:
    """Nobody looks."""


# -- routes


def routes(quick: bool, embedder: Embedder) -> dict[str, Any] | None:
    """Row -> recall within budgets, on the conversations that nothing was chosen on; None without the data."""
    if not (data_root() / "locomo").is_dir():
        return None
    found, _ = Locomo(quick=quick).read(Counter())
    held = [c for c in found if quick or c.name not in TUNED]
    conversations = [plain(shortened(c, 60, 12) if quick else c) for c in held]
    names, kinds = labelled(conversations)
    rows: dict[str, Any] = {}
    for name, ranking in baseline_rows(conversations, embedder, quiet).items():
        if name in ("recency", "bm25", "dense"):
            rows[name] = judged_within(conversations, ranking)
    for route in ROUTES:
        with Filled(conversations, embedder, quiet, system=MemOS(routes=[route])) as filled:
            rows[f"{route} alone"] = judged_within(conversations, filled.rank(quiet))
    with Filled(conversations, embedder, quiet, system=MemOS()) as filled:
        rows[ALL] = judged_within(conversations, filled.rank(quiet))
        filled.sleep(quiet)
        rows[SLEPT] = judged_within(conversations, filled.rank(quiet))
    everywhere = np.ones(len(kinds), dtype=bool)
    metrics = ("recall@500t", "recall@1000t", "all@1000t")
    table = {row: {metric: interval(values[metric], names) for metric in metrics} for row, values in rows.items()}
    gains = {route: gain(rows, ALL, f"{route} alone", "recall@1000t", everywhere, names) for route in ROUTES}
    gains |= {f"{route}, 500t": gain(rows, ALL, f"{route} alone", "recall@500t", everywhere, names) for route in ROUTES}
    return {"conversations": len(conversations), "questions": len(kinds), "rows": table, "gain over": gains}


def plain(conversation: Conversation) -> Conversation:
    """Without the adversarial questions, which ask about the wrong person."""
    asked = tuple(q for q in conversation.questions if q.kind != "adversarial")
    return Conversation(conversation.name, conversation.items, conversation.units, asked, conversation.asked)


# -- lifecycle


def lived(stream: FactStream, embedder: Embedder, error: float | None, sleeps: bool = True) -> dict[str, float | None]:
    """One conversation with its nights: the rates, and what became of what was archived."""
    now = [stream.turns[0].at]
    llm = None if error is None else LLM(oracle(stream, error), retries=0)
    with Memory(":memory:", embedder=embedder, llm=llm, system="memos", clock=lambda: now[0], durable=False) as memory:
        sessions = list(dict.fromkeys(turn.session for turn in stream.turns))
        for number, session in enumerate(sessions, 1):
            items = [item for item in stream.items() if item.session == session]
            now[0] = max(item.at for item in items if item.at is not None) + timedelta(hours=1)
            memory.add(items, **USER)
            now[0] += timedelta(hours=12)
            if sleeps and (number % NIGHT_EVERY == 0 or number == len(sessions)):
                memory.sleep(**USER)
        answers, found = {}, set[str]()
        for q in stream.questions:
            when: dict[str, Any] = {} if q.as_of is None else {"at": q.as_of, "now": q.as_of}
            hits = memory.search(q.text, top_k=10, threshold=0.0, note_use=False, **USER, **when)
            answers[q.id] = [hit.text for hit in hits]
            found |= {hit.id for hit in hits}
        rates: dict[str, float | None] = dict(
            score(stream, answers, standing(memory.list(limit=None, at=now[0], **USER)))
        )
        archived = [e for e in memory.list(retired=True, limit=None, **USER) if status_of(e) == "archived"]
        for engram in archived:  # asked for by its own words, in every way there is
            for more in ({}, {"at": engram.at}, {"kinds": ["fact"]}, {"filters": {"subject": engram.attrs["subject"]}}):
                hits = memory.search(engram.text, top_k=50, threshold=0.0, note_use=False, **more, **USER)
                found |= {hit.id for hit in hits}
        back = [restored(memory, engram, now[0]) for engram in archived]
    return {
        **{name: rates[name] for name in RATES},
        "archived": float(len(archived)),
        "archived and returned": float(sum(engram.id in found for engram in archived)),
        "restored and found": sum(back) / len(back) if back else None,
        "calls": None if llm is None else float(llm.total().calls),
    }


def restored(memory: Memory, engram: Engram, now: datetime) -> bool:
    """Whether an archived node is found once it is restored, and the state is the earlier one when that is undone."""
    view = memory.store.view(Scope(**USER))
    before = state_hash(state_of(view))
    change = move(engram, "activated", now, "asked for")
    applied = memory.store.apply(Operation(new_id(), "restore", view.scope, now), [change], {})
    hits = memory.search(engram.text, kinds=["fact"], top_k=10, threshold=0.0, note_use=False, **USER)
    memory.undo(applied.op, **USER)
    return any(hit.id == engram.id for hit in hits) and state_hash(state_of(view)) == before


def lifecycle(seeds: Sequence[int], quick: bool, embedder: Embedder) -> dict[str, Any]:
    """Row -> measure -> mean, lowest and highest over the seeds, and the values."""
    streams = [FactStream(seed=seed, sessions=4 if quick else 12, half="held-out") for seed in seeds]
    table: dict[str, Any] = {}
    for error in ["no night", *(ERRORS[:2] if quick else ERRORS)]:
        name = error if isinstance(error, str) else "rules" if error is None else f"ε = {error:g}"
        each = [lived(s, embedder, None if isinstance(error, str) else error, error != "no night") for s in streams]
        table[name] = {
            key: {**spread([one[key] for one in each]), "each": [one[key] for one in each]} for key in each[0]
        }
    return table


def judge(found: dict[str, Any] | None, life: dict[str, Any], seeds: Sequence[int]) -> dict[str, str]:
    """Both parts must hold: every gain's interval above 0; nothing archived returned, all restored, less stale."""
    slept = [name for name in life if name != "no night"]
    hidden = all(life[name]["archived and returned"]["high"] == 0 for name in slept)
    back = all(life[name]["restored and found"]["low"] in (None, 1.0) for name in slept)
    some = all(life[name]["archived"]["mean"] > 0 for name in slept)
    stale = {name: life[name]["stale_rate"]["mean"] for name in life}
    fewer = all(
        a < b for a, b in zip(life["rules"]["stale_rate"]["each"], life["no night"]["stale_rate"]["each"], strict=True)
    )
    lows = [] if found is None else [found["gain over"][route]["low"] for route in found["gain over"]]
    told = found is not None and all(low is not None for low in lows)
    better = told and all(low > 0 for low in lows)
    holds = hidden and back and some and fewer and better
    verdict = "holds" if holds else "does not hold" if told or not (hidden and back) else "cannot be told at this size"
    parts = []
    if found is not None:
        rows = found["rows"]
        each = ", ".join(f"{route} {rows[f'{route} alone']['recall@1000t']['mean']:.3f}" for route in ROUTES)
        parts.append(
            f"evidence recall within 1,000 tokens: three routes {rows[ALL]['recall@1000t']['mean']:.3f}, alone {each}; "
            f"after a night {rows[SLEPT]['recall@1000t']['mean']:.3f}"
        )
    life_told = ", ".join(f"{name} {value:.3f}" for name, value in stale.items())
    total = sum(sum(life[name]["archived"]["each"]) for name in slept)
    back_told = min(life[name]["restored and found"]["mean"] or 1.0 for name in slept)
    returned = sum(sum(life[name]["archived and returned"]["each"]) for name in slept)
    parts.append(
        f"of {total:.0f} archived nodes {returned:.0f} returned, {back_told:.0%} found once restored; "
        f"stale answers: {life_told} ({len(seeds)} seeds)"
    )
    return {"verdict": verdict, "summary": "; ".join(parts)}


def draw(found: dict[str, Any] | None, life: dict[str, Any], path: Path) -> None:
    """Recall by route, and stale and lost answers by who reads."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 2.9))
    if found is not None:
        names = list(found["rows"])
        for place, name in enumerate(names):
            value = found["rows"][name]["recall@1000t"]
            bars = [[value["mean"] - value["low"]], [value["high"] - value["mean"]]]
            axes[0].barh(place, value["mean"], xerr=bars, color="C0" if "three" in name else "C7", height=0.7)
        axes[0].set_yticks(range(len(names)), names, fontsize=7)
        axes[0].invert_yaxis()
        axes[0].set_title("evidence recall within 1,000 tokens", fontsize=9)
    x = np.arange(len(life))
    for shift, rate in enumerate(("stale_rate", "lost_rate")):
        axes[1].bar(x + 0.4 * shift, [life[name][rate]["mean"] for name in life], 0.4, label=rate.replace("_", " "))
    axes[1].set_xticks(x + 0.2, list(life), fontsize=7)
    axes[1].set_title("FactStream, share of answers", fontsize=9)
    axes[1].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5).parse_args()
    seeds = list(range(1 if args.quick else args.seeds))
    embedder = resolve_embedder("fake") if args.quick else CachedEmbedder(resolve_embedder(None))
    found, life = routes(args.quick, embedder), lifecycle(seeds, args.quick, embedder)
    verdict = judge(found, life, seeds)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": seeds, "routes": found, "lifecycle": life,
            "left out": "the prefix-state part of the card's proof belongs to promotion (text to state)",
        }  # fmt: skip
        write(__file__, "memos", CLAIM, verdict, whole, lambda path: draw(found, life, path))


if __name__ == "__main__":
    main()
