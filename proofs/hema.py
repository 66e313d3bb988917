"""HEMA: does a running sentence help beside chunks, what does pruning cost, and do two levels of summary last longer?

Run: python proofs/hema.py

a. Recall: generated dialogues of about 1,000 turns (FactStream, held-out templates); the current value of every fact
   is asked for at the end. Share of answers whose value is in the context, at equal tokens: the summary alone, chunks
   alone, both with the last two turns; beside BM25, the newest turns, and all that fits. The sentence is taken from
   what was said; or a stand-in model quotes the newest facts, as many as 60 tokens hold.
b. Pruning: 10,000 generated chunks, of which some have been retrieved lately. A share leaves by salience (with the sign
   that the text means and the one that is printed), by age alone, or by chance; recall@5 and the time of an exact
   search over what is left. Asked in two ways: as people come back to things (what was retrieved lately, or is recent,
   four times of five), and evenly.
c. Survival: a model that keeps each fact with probability p whenever it rewrites; the share of facts left in the
   summaries at the end, with one running sentence and with a summary of summaries, beside the closed form.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from slowwave import Memory
from slowwave.bench.baselines import bm25
from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.factstream import FactStream, states_value
from slowwave.bench.proving import basic_options, write
from slowwave.bench.retrieval import Conversation, Question
from slowwave.bench.truth import SAID, Known
from slowwave.models import LLM, resolve_embedder
from slowwave.models.base import Embedder
from slowwave.models.oracle import Oracle
from slowwave.ops.packing import OPENING, estimate_tokens, line
from slowwave.ops.salience import lowest, salience
from slowwave.records import Engram
from slowwave.store.vectors import ExactIndex
from slowwave.text.hema import RUNNING, WHOLE, Hema

CLAIM = (
    "Summary and chunks together recall no less than either alone; pruning costs at most two points; two levels of "
    "summary keep facts longer than one."
)
BUDGETS = (200, 500, 1000, 3500)  # tokens; the last is the paper's prompt
JUDGED = 1000  # the budget on which the verdict rests
SHARES = (0.0, 0.05, 0.1, 0.2, 0.34, 0.5, 0.7)  # of the chunks pruned
PUBLISHED, THIRD = "0.05", "0.34"  # what 0.5 % every 100 turns takes of 1,000; what makes a scan a third shorter
PROBABILITIES = (0.9, 0.97, 0.99)
USER: Any = {"user_id": "hema"}
START = datetime(2024, 1, 1, tzinfo=UTC)
Measured = dict[str, Any]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, lowest and highest over the seeds, and each."""
    each = [round(float(value), 4) for value in values]
    return {"mean": round(float(np.mean(each)), 4), "low": min(each), "high": max(each), "each": each}


# -- a. recall


def quoting(stream: FactStream, max_tokens: int) -> LLM:
    """A stand-in for a good summariser: it quotes the newest facts word for word, as many as fit."""
    known = Known(stream)

    def summary(inputs: dict[str, Any]) -> dict[str, str]:
        parts = [part for part in inputs["so_far"].split(" | ") if part]
        for turn in inputs["new"]:
            for said in turn["said"].split(" | "):
                found = known.turn(turn["who"], said)
                if found is not None and found.label in SAID:
                    parts = [part for part in parts if part != said] + [said]
        while estimate_tokens(" | ".join(parts)) > max_tokens:
            parts.pop(0)
        return {"summary": " | ".join(parts) or "Nothing yet."}

    return LLM(Oracle({"summary": summary}))


def recall(stream: FactStream, embedder: Embedder, budgets: Sequence[int], quoted: bool) -> Measured:
    """Row -> budget -> share of current values that the context holds."""
    items = stream.items()
    now = stream.turns[-1].at + timedelta(hours=1)
    llm = quoting(stream, 60) if quoted else None
    asked = [q for q in stream.questions if q.kind == "current"]
    rows: dict[str, dict[int, list[bool]]] = {}
    lexical = bm25(
        Conversation("", tuple(items), tuple("" for _ in items), tuple(Question(q.text, ()) for q in asked), now)
    )
    with Memory(":memory:", embedder=embedder, system=Hema(prune_every=0), llm=llm, clock=lambda: now) as memory:
        memory.add(items, **USER)
        memory.sleep(**USER)
        said = {str(e.origin): e for e in memory.list(kinds=["episode"], limit=None, **USER)}
        sums = [e for e in memory.list(kinds=["summary"], limit=None, **USER) if e.origin in (WHOLE, RUNNING)]
        newest = sorted(said.values(), key=lambda e: (e.at, e.id), reverse=True)
        for place, q in enumerate(asked):
            chunks = [hit.engram for hit in memory.search(q.text, top_k=300, kinds=["episode"], threshold=0, **USER)]
            words = [said[str(items[p].origin)] for p in lexical[place]]
            plain = {"summary": sums, "chunks": chunks, "bm25": words, "newest turns": newest}
            for budget in budgets:
                shown = {name: fitting(found, budget) for name, found in plain.items()}
                shown["both"] = memory.context(q.text, max_tokens=budget, top_k=300, threshold=0, **USER).text
                for name, told in shown.items():
                    hit = states_value(told, q.gold[0])
                    rows.setdefault(name, {}).setdefault(budget, []).append(hit)
        whole = estimate_tokens("\n".join(line(e) for e in said.values()))
        tokens = [estimate_tokens(e.text) for e in sums]
    return {
        "recall": {name: {b: float(np.mean(hits)) for b, hits in found.items()} for name, found in rows.items()},
        "turns": len(items),
        "questions": len(asked),
        "tokens of all turns": whole,
        "tokens of the sentences": tokens,
    }


def fitting(engrams: Sequence[Engram], budget: int) -> str:
    """The first that fit the budget, printed as `context` prints them."""
    used, out = estimate_tokens(OPENING), []
    for engram in engrams:
        cost = estimate_tokens(line(engram)) + 1
        if used + cost <= budget:
            used += cost
            out.append(line(engram))
    return "\n".join(out)


def recalls(embedder: Embedder, seeds: int, quick: bool) -> Measured:
    """Both kinds of summariser, over the seeds."""
    budgets = BUDGETS[:1] if quick else BUDGETS
    out: Measured = {}
    for kind, quoted in (("by extraction", False), ("by a quoting model", True)):
        each = []
        for seed in range(seeds):
            stream = FactStream(
                seed=seed, people=2 if quick else 6, sessions=4 if quick else 22, noise=2, half="held-out"
            )
            each.append(recall(stream, embedder, budgets, quoted))
        rows = each[0]["recall"]
        out[kind] = {name: {str(b): spread([one["recall"][name][b] for one in each]) for b in budgets} for name in rows}
        out[kind]["sizes"] = {
            key: [one[key] for one in each]
            for key in ("turns", "questions", "tokens of all turns", "tokens of the sentences")
        }
    return out


# -- b. pruning


def listed(text: str) -> tuple[str, ...]:
    """The words of a text, in order."""
    return tuple(text.split())


PLACES = listed("attic cellar hallway kitchen garage shed office studio pantry porch library workshop")
COLOURS = listed("red blue green yellow white black grey brown silver golden copper violet")
THINGS = listed(
    "lamp ladder kettle drill blanket violin camera atlas teapot hammock compass typewriter globe mirror anvil basket "
    "candle drum easel flute grater helmet iron jug kite lantern mask net oar pump quilt rope saw tent umbrella vase"
)
OWNERS = listed(
    "Abel Berit Cyrus Dagny Emil Freya Gideon Hanna Ivar Jonas Karin Lars Mira Nils Odile Piet Runa Sven Thora Ulf "
    "Vera Wim Yrsa Zeno"
)


def chunks(count: int, rng: random.Random) -> tuple[list[str], list[str]]:
    """So many statements, all different, and a question for each in other words."""
    pool = [(o, t, f"{c} {t}") for o in OWNERS for t in THINGS for c in COLOURS]
    rng.shuffle(pool)
    said, asked = [], []
    for owner, _, thing in pool[:count]:
        said.append(f"{owner} keeps the {thing} in the {rng.choice(PLACES)}.")
        asked.append(f"Where does {owner} have the {thing}?")
    return said, asked


def returning(count: int, often: Sequence[int], rng: random.Random) -> int:
    """The chunk that is asked for: one retrieved lately or a recent one, each two times of five; else any."""
    p = rng.random()
    if p < 0.4:
        return rng.choice(often)
    if p < 0.8:
        return count - 1 - int(rng.expovariate(10 / count)) % count
    return rng.randrange(count)


def pruning(embedder: Embedder, seeds: int, count: int, questions: int) -> Measured:
    """Way of asking -> way of pruning -> share pruned -> recall@5; and milliseconds a search by share."""
    recalled: dict[str, dict[str, dict[float, list[float]]]] = {}
    spent: dict[float, list[float]] = {share: [] for share in SHARES}
    for seed in range(seeds):
        rng = random.Random(seed)
        said, asked = chunks(count, rng)
        rows = embedder.embed(said)
        ages = np.arange(count)[::-1]
        often = [n for n in range(count) if rng.random() < 0.02]  # things that people come back to, whatever their age
        used = np.zeros(count, dtype=bool)
        used[often] = True
        drawn = {
            "as people come back": [returning(count, often, rng) for _ in range(questions)],
            "evenly": [rng.randrange(count) for _ in range(questions)],
        }
        decay = 0.002 * 1000 / count  # the paper's curve over its thousand turns, stretched over all chunks
        scores = {
            "salience": salience(ages, used, decay),
            "salience as printed": salience(ages, used, decay, bonus="unused"),
            "oldest first": salience(ages, np.zeros(count, dtype=bool), decay),
            "chance": np.random.default_rng(seed).random(count),
        }
        queries = {way: embedder.embed([asked[n] for n in gold]) for way, gold in drawn.items()}
        for name, score in scores.items():
            for share in SHARES:
                keep = np.setdiff1d(np.arange(count), lowest(score, round(share * count)))
                index = ExactIndex(rows.shape[1])
                index.extend(keep, rows[keep])
                for way, gold in drawn.items():
                    hits, begin = [], time.perf_counter()
                    for query, n in zip(queries[way], gold, strict=True):
                        hits.append(n in index.search(query, 5).ids)
                    spent[share].append(1000 * (time.perf_counter() - begin) / len(gold))
                    found = recalled.setdefault(way, {}).setdefault(name, {})
                    found.setdefault(share, []).append(float(np.mean(hits)))
    return {
        "recall@5": {
            way: {name: {str(share): spread(v) for share, v in by.items()} for name, by in table.items()}
            for way, table in recalled.items()
        },
        "milliseconds a search, median": {str(share): round(float(np.median(v)), 3) for share, v in spent.items()},
        "chunks": count,
        "retrieved lately": 0.02,
    }


# -- c. survival


def forgetful(p: float, seed: int) -> LLM:
    """A model whose summary names the facts it was shown, each kept with probability p; others are gone for good."""

    def summary(inputs: dict[str, Any]) -> dict[str, str]:
        chance = random.Random(f"{seed} {json.dumps(inputs)}")
        facts = " ".join([inputs["so_far"], *(turn["said"] for turn in inputs["new"])]).split()
        return {"summary": " ".join(f for f in dict.fromkeys(facts) if chance.random() < p) or "nothing"}

    return LLM(Oracle({"summary": summary}), cache=None)


def survival(p: float, turns: int, block: int, seed: int) -> float:
    """The share of facts, one a turn, that the summaries name at the end."""
    system = Hema(summary_tokens=10**6, stride=1, block=block, prune_every=0)
    now = START + timedelta(days=1)
    with Memory(":memory:", embedder="fake", system=system, llm=forgetful(p, seed), clock=lambda: now) as memory:
        said = [f"alpha{n}" for n in range(turns)]
        memory.add([{"role": "user", "content": word, "id": word, "at": START.isoformat()} for word in said], **USER)
        memory.sleep(**USER)
        told = " ".join(e.text for e in memory.list(kinds=["summary"], **USER) if e.origin in (WHOLE, RUNNING)).split()
    return len(set(told) & set(said)) / turns


def closed_form(p: float, turns: int, block: int) -> float:
    """Each fact is rewritten in every step of its block, then once with every block that ends from its own on."""
    left = []
    for n in range(turns):
        if not block:
            left.append(p ** (turns - n))
            continue
        ends = (n // block + 1) * block
        steps = min(ends, turns) - n
        left.append(p ** (steps + (turns // block - n // block if ends <= turns else 0)))
    return float(np.mean(left))


def survivals(seeds: int, turns: int, block: int, quick: bool) -> Measured:
    """p -> one level and two, measured and by the closed form."""
    out: Measured = {"turns": turns, "block": block}
    for p in PROBABILITIES[:1] if quick else PROBABILITIES:
        out[f"p = {p}"] = {
            name: {
                **spread([survival(p, turns, size, seed) for seed in range(seeds)]),
                "closed form": round(closed_form(p, turns, size), 4),
            }
            for name, size in (("one level", 0), ("two levels", block))
        }
    out["closed form at 1,000 turns, block 100"] = {
        f"p = {p}": {"one level": round(closed_form(p, 1000, 0), 4), "two levels": round(closed_form(p, 1000, 100), 4)}
        for p in PROBABILITIES
    }
    return out


# -- together


def judge(found: Measured, seeds: int, quick: bool) -> dict[str, Any]:
    """The verdict on each part, chosen beforehand, and in words."""
    parts: dict[str, bool] = {}
    budget = str(BUDGETS[0] if quick else JUDGED)
    for kind in ("by extraction", "by a quoting model"):
        rows = found["recall"][kind]
        both = rows["both"][budget]["mean"]
        parts[f"both, {kind}"] = all(both >= rows[one][budget]["mean"] - 0.01 for one in ("summary", "chunks"))
    table = found["pruning"]["recall@5"]["as people come back"]
    share = THIRD
    whole, pruned = table["salience"]["0.0"]["mean"], table["salience"][share]["mean"]
    parts["pruning"] = whole - pruned <= 0.02
    parts["salience over chance and age"] = all(pruned > table[o][share]["mean"] for o in ("chance", "oldest first"))
    parts["the text's sign over the printed one"] = pruned > table["salience as printed"][share]["mean"]
    lasting = {name: row for name, row in found["survival"].items() if name.startswith("p = ")}
    parts["two levels"] = all(row["two levels"]["low"] > row["one level"]["high"] for row in lasting.values())
    verdict = "cannot be told at this size" if seeds < 5 else "holds" if all(parts.values()) else "does not hold"
    quoted, taken = (found["recall"][kind] for kind in ("by a quoting model", "by extraction"))
    last = list(lasting)[-1]
    even = found["pruning"]["recall@5"]["evenly"]["salience"]
    speed = found["pruning"]["milliseconds a search, median"]

    def at(rows: Measured, key: str) -> str:
        return f"{rows[key]['mean']:.3f}"

    said = [
        f"recall at {budget} tokens: chunks {at(taken['chunks'], budget)}, both {at(taken['both'], budget)}, summary "
        f"{at(taken['summary'], budget)} by extraction; with a quoting model both {at(quoted['both'], budget)}, "
        f"summary {at(quoted['summary'], budget)}; at 200 tokens chunks {at(taken['chunks'], '200')}, both "
        f"{at(taken['both'], '200')}",
        f"5 % pruned, as published over 1,000 turns: recall@5 {at(table['salience'], '0.0')} to "
        f"{at(table['salience'], PUBLISHED)}; a third pruned: {at(table['salience'], share)} (chance "
        f"{at(table['chance'], share)}, oldest first {at(table['oldest first'], share)}, sign as printed "
        f"{at(table['salience as printed'], share)}), asked evenly {at(even, '0.0')} to {at(even, share)}; a search "
        f"{speed['0.0']:.2f} to {speed[share]:.2f} ms",
        f"facts left at {last}: {at(lasting[last], 'one level')} with one level, {at(lasting[last], 'two levels')} "
        "with two",
        ", ".join(f"{part}: {'yes' if held else 'no'}" for part, held in parts.items()),
    ]
    return {"verdict": verdict, "summary": "; ".join(said), "parts": parts}


def draw(found: Measured, path: Path) -> None:
    """Recall by budget, recall by share pruned, survival by p."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3))
    for kind, style in (("by extraction", "-"), ("by a quoting model", ":")):
        for name, colour in (("summary", "tab:orange"), ("chunks", "tab:blue"), ("both", "tab:green")):
            values = [found["recall"][kind][name][str(b)]["mean"] for b in BUDGETS]
            left.plot(BUDGETS, values, style, color=colour, marker="o", markersize=3, label=f"{name}, {kind}")
    left.set_xscale("log")
    left.set_xticks(BUDGETS, [str(budget) for budget in BUDGETS])
    left.minorticks_off()
    left.set_title("current facts in the context, by tokens", fontsize=9)
    for name, by in found["pruning"]["recall@5"]["as people come back"].items():
        middle.plot(
            [100 * s for s in SHARES], [by[str(s)]["mean"] for s in SHARES], marker="o", markersize=3, label=name
        )
    even = found["pruning"]["recall@5"]["evenly"]["salience"]
    middle.plot(
        [100 * s for s in SHARES],
        [even[str(s)]["mean"] for s in SHARES],
        ":",
        color="grey",
        label="salience, asked evenly",
    )
    middle.set_title("recall@5 by % of chunks pruned", fontsize=9)
    for name in ("one level", "two levels"):
        rows = [found["survival"][f"p = {p}"][name] for p in PROBABILITIES]
        right.plot(PROBABILITIES, [row["mean"] for row in rows], "o", label=name)
        right.plot(PROBABILITIES, [row["closed form"] for row in rows], "-", color="grey", lw=0.8)
    right.set_title("facts left, by chance p to survive a rewriting", fontsize=9)
    for axis in (left, middle, right):
        axis.tick_params(labelsize=7)
        axis.legend(fontsize=6, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5).parse_args()
    seeds = 1 if args.quick else args.seeds
    embedder = CachedEmbedder(resolve_embedder("fake" if args.quick else None))
    found: Measured = {
        "recall": recalls(embedder, seeds, args.quick),
        "pruning": pruning(embedder, seeds, *((300, 50) if args.quick else (10_000, 1000))),
        "survival": survivals(seeds, *((40, 10) if args.quick else (300, 30)), args.quick),
    }
    verdict = judge(found, seeds, args.quick)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": list(range(seeds)), **found, "encoder": embedder.name,
        }  # fmt: skip
        write(__file__, "hema", CLAIM, verdict, whole, lambda path: draw(found, path))
    embedder.close()


if __name__ == "__main__":
    main()
