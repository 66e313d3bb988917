"""TiM: do buckets find what exact search finds, and are answers from stored thoughts more alike than from raw turns?

Run: python proofs/tim.py

(a) Questions about LoCoMo conversations, nearest ten turns by cosine against what the hash tables give back: agreement
and share of turns compared, as tables and probes grow, and where only those turns are compared that share most buckets
with the question. Settings were chosen on two conversations and are reported on the others.
(b) Generated conversations (FactStream, templates that nothing was tuned on), five phrasings of each question about a
current value, 200 tokens of what is found. A stub reader draws a conclusion each time anew: half the time it takes the
first value it sees, else any of them by lot. A careful one takes the newest.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slowwave import Memory
from slowwave.bench.datasets import CachedEmbedder, folder_of
from slowwave.bench.factstream import FactStream, states_value
from slowwave.bench.factstream_words import ASKED
from slowwave.bench.locomo import TUNED, read
from slowwave.bench.metrics import interval
from slowwave.bench.proving import basic_options, write
from slowwave.bench.retrieval import said
from slowwave.bench.truth import named
from slowwave.bench.truth_pairs import truths
from slowwave.models import LLM, resolve_embedder
from slowwave.models.base import Embedder, Vectors
from slowwave.models.oracle import Oracle
from slowwave.ops.hashing import Buckets, agreement, rotations
from slowwave.ops.packing import estimate_tokens, line
from slowwave.records import Hit
from slowwave.text.tim import ThinkInMemory

CLAIM = "Buckets agree with exact search at a quarter of the comparisons; answers from thoughts agree across phrasings."
NEAREST = 10
BUDGET = 200  # tokens of memory a question gets
NIGHT_EVERY = 4  # sessions
LOT = 0.5  # how often the stub reader draws by lot
USER: Any = {"user_id": "stream"}
SHARES = (0.1, 0.25, 0.5)  # of the turns that are compared where most are left out
# (buckets, tables, probes): the paper's one table, then more tables, then more probes; the last are the class's own
TABLES = ((16, 1, 1), (64, 1, 1), (64, 4, 1), (64, 16, 1), (64, 32, 1), (64, 32, 4), (64, 8, 4))
VOTED = (64, 32, 4)
SIZES = (1_000, 10_000, 50_000)  # made-up vectors, for the time alone
Rows = dict[str, list[float]]


# -- (a) the hash


def hashed(turns: Vectors, questions: Vectors, seeds: int) -> dict[str, tuple[float, float]]:
    """setting -> (agreement with the exact ten, share of the turns compared), mean over questions and tables' seeds."""
    cosines = questions @ turns.T
    exact = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        for setting in TABLES:
            index = Buckets(rotations(turns.shape[1], setting[0], setting[1], seed))
            index.extend(turns)
            limits = {spelled(setting): None}
            if setting == VOTED:
                limits |= {f"{spelled(setting)}, {share:.0%} compared": int(share * len(turns)) for share in SHARES}
            for name, most in limits.items():
                for n, question in enumerate(questions):
                    seen = index.candidates(question, setting[2], most)
                    best = seen[np.argsort(-cosines[n][seen], kind="stable")[:NEAREST]]
                    pair = agreement(exact[n].tolist(), best.tolist()), len(seen) / len(turns)
                    found.setdefault(name, []).append(pair)
    return {
        name: (float(np.mean([a for a, _ in each])), float(np.mean([s for _, s in each])))
        for name, each in found.items()
    }


def spelled(setting: tuple[int, int, int]) -> str:
    """A setting in words."""
    buckets, tables, probes = setting
    return f"{tables} table{'s' * (tables > 1)} of {buckets}, {probes} probe{'s' * (probes > 1)}"


def conversations(quick: bool) -> dict[str, tuple[Vectors, Vectors]]:
    """name -> (vectors of its turns, vectors of its questions); a quick run makes some up."""
    if quick:
        rng = np.random.default_rng(0)
        made = {
            f"made-up {n}": (unit(rng.standard_normal((200, 48))), unit(rng.standard_normal((8, 48)))) for n in range(3)
        }
        return {name: (rows, unit(rows[: len(asked)] + asked / 2)) for name, (rows, asked) in made.items()}
    embedder = CachedEmbedder(resolve_embedder(None))
    out = {}
    for file in sorted(folder_of("locomo").glob("conv-*.json")):
        if file.stem not in TUNED:
            talk = read(file, set(), Counter())
            asked = [q.text for q in talk.questions if q.kind != "adversarial"]
            out[file.stem] = embedder.embed([said(item) for item in talk.items]), embedder.embed(asked)
    return out


def unit(rows: NDArray[Any]) -> Vectors:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def timed(sizes: Sequence[int], queries: int = 50) -> dict[str, dict[str, float]]:
    """vectors -> milliseconds a question, exact and by the buckets with a quarter compared; made-up vectors."""
    out = {}
    for size in sizes:
        rng = np.random.default_rng(size)
        rows = unit(rng.standard_normal((200, 384))[rng.integers(0, 200, size)] + rng.standard_normal((size, 384)))
        asked = unit(rows[:queries] + 0.5 * rng.standard_normal((queries, 384)))
        index = Buckets(rotations(384, VOTED[0], VOTED[1]))
        for start in range(0, size, 2000):
            index.extend(rows[start : start + 2000])

        def exact(question: Vectors, rows: Vectors = rows) -> None:
            np.argpartition(-(rows @ question), NEAREST)

        def by_buckets(question: Vectors, rows: Vectors = rows, index: Buckets = index) -> None:
            seen = index.candidates(question, VOTED[2], len(rows) // 4)
            np.argpartition(-(rows[seen] @ question), NEAREST)

        out[str(size)] = {"exact": spent(exact, asked), "buckets": spent(by_buckets, asked)}
    return out


def spent(look: Callable[[Vectors], None], asked: Vectors) -> float:
    """Milliseconds a question."""
    start = time.perf_counter()
    for question in asked:
        look(question)
    return round((time.perf_counter() - start) / len(asked) * 1000, 3)


# -- (b) the thoughts


def phrasings(person: str, attribute: str) -> list[str]:
    """Five ways to ask for one current value."""
    noun = named(attribute)
    return [
        f"{ASKED[attribute].format(p=person)} now?",
        f"What is {person}'s {noun}?",
        f"Tell me {person}'s {noun}.",
        f"Do you happen to know the current {noun} of {person}?",
        f"{person}, {noun}: which one is it these days?",
    ]


def lived(stream: FactStream, row: str, embedder: Embedder, seed: int) -> dict[str, float]:
    """How alike the five answers are and how often they are right, for a reader by lot and a careful one."""
    true = truths(stream)
    known = {"facts": true["facts"], "pairwise": true["pairwise"]}
    if row == "thoughts, nothing forgotten":
        known["pairwise"] = lambda inputs: dict.fromkeys(inputs["old"], "APPEND")
    llm = None if row in ("turns", "thoughts, no model") else LLM(Oracle(known))
    now = [stream.turns[0].at]
    system = ThinkInMemory(episodes="none")
    kinds = ["episode"] if row == "turns" else ["fact"]
    with Memory(":memory:", embedder=embedder, system=system, llm=llm, clock=lambda: now[0], durable=False) as memory:
        sessions = list(dict.fromkeys(turn.session for turn in stream.turns))
        for number, session in enumerate(sessions, 1):
            items = [item for item in stream.items() if item.session == session]
            now[0] = max(item.at for item in items if item.at is not None) + timedelta(hours=1)
            memory.add(items, **USER)
            if row != "turns" and (number % NIGHT_EVERY == 0 or number == len(sessions)):
                memory.sleep(**USER)
        scores: Rows = {name: [] for name in ("alike", "right", "careful, alike", "careful, right")}
        for person, attribute in dict.fromkeys((t.person, t.attribute) for t in stream.turns if t.label == "states"):
            values = [value for _, value in stream.values(person, attribute)]
            shown = [
                within(
                    list(memory.search(text, top_k=30, threshold=0.0, note_use=False, kinds=kinds, at=now[0], **USER))
                )
                for text in phrasings(person, attribute)
            ]
            chance = random.Random(f"{seed} {person} {attribute}")
            for prefix, answers in (
                ("", [by_lot(hits, values, chance) for hits in shown]),
                ("careful, ", [newest(hits, values) for hits in shown]),
            ):
                scores[f"{prefix}alike"].append(alike(answers))
                scores[f"{prefix}right"].append(sum(one == values[-1] for one in answers) / len(answers))
    return {name: round(float(np.mean(each)), 4) for name, each in scores.items()}


def within(hits: Sequence[Hit]) -> list[Hit]:
    """The best that fit the budget; what is too long is passed over, as in `context`."""
    used, out = 0, []
    for hit in hits:
        cost = estimate_tokens(line(hit.engram)) + 1
        if used + cost <= BUDGET:
            used += cost
            out.append(hit)
    return out


def seen(hits: Sequence[Hit], values: Sequence[str]) -> list[tuple[Hit, str]]:
    """What is shown of a fact's values, in the order in which it is read."""
    return [(hit, value) for hit in hits for value in values if states_value(hit.text, value)]


def by_lot(hits: Sequence[Hit], values: Sequence[str], chance: random.Random) -> str:
    """The stub reader's answer; "" where it sees no value."""
    found = [value for _, value in seen(hits, values)]
    if not found:
        return ""
    return chance.choice(sorted(set(found))) if chance.random() < LOT else found[0]


def newest(hits: Sequence[Hit], values: Sequence[str]) -> str:
    """The careful reader's answer."""
    found = seen(hits, values)
    return max(found, key=lambda pair: pair[0].engram.at)[1] if found else ""


def alike(answers: Sequence[str]) -> float:
    """Share of the pairs of answers that agree."""
    pairs = [(a, b) for n, a in enumerate(answers) for b in answers[n + 1 :]]
    return sum(a == b for a, b in pairs) / len(pairs)


ROWS = ("turns", "thoughts, nothing forgotten", "thoughts, no model", "thoughts")


# -- the verdict


def judge(
    hash_: dict[str, Any], times: dict[str, dict[str, float]], thoughts: dict[str, Any], seeds: Sequence[int]
) -> dict[str, Any]:
    """Both parts: agreement of 90 % at a quarter of the comparisons, and answers more alike than from turns."""
    quarter = hash_[f"{spelled(VOTED)}, 25% compared"]
    paired = interval(np.subtract(thoughts["thoughts"]["alike"], thoughts["turns"]["alike"]), seeds)
    known = quarter["agreement"]["low"] is not None and paired["low"] is not None
    holds = known and quarter["agreement"]["low"] >= 0.9 and quarter["compared"]["mean"] <= 0.25 and paired["low"] > 0
    one, best = hash_[spelled(TABLES[0])], hash_[spelled(TABLES[-1])]

    def told(row: dict[str, Any]) -> str:
        return f"{row['agreement']['mean']:.2f} at {row['compared']['mean']:.0%}"

    def mean(row: str, name: str) -> str:
        return f"{np.mean(thoughts[row][name]):.2f}"

    size, spent_ = list(times.items())[-1]
    look_up = f"a look-up among {int(size):,} takes {spent_['buckets']:.1f} ms, the exact scan {spent_['exact']:.1f}"
    summary = (
        f"agreement with exact search: one table {told(one)} of the comparisons, {spelled(TABLES[-1])} {told(best)}, "
        f"those that share most of {spelled(VOTED)} {told(quarter)}; {look_up}; five phrasings answered alike "
        f"from turns {mean('turns', 'alike')}, from thoughts {mean('thoughts', 'alike')}, without forgetting "
        f"{mean('thoughts, nothing forgotten', 'alike')}, without a model {mean('thoughts, no model', 'alike')}; a "
        f"reader that takes the newest: {mean('turns', 'careful, alike')} and {mean('thoughts', 'careful, alike')}"
    )
    verdict = "cannot be told at this size" if not known else "holds" if holds else "does not hold"
    return {"verdict": verdict, "summary": f"{summary} ({len(seeds)} seeds)", "alike, thoughts over turns": paired}


def draw(hash_: dict[str, Any], thoughts: dict[str, Any], path: Path) -> None:
    """Agreement by share compared, and how alike and how right the answers are."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    for name, row in hash_.items():
        marker = "s" if "compared" in name else "o"
        left.plot(row["compared"]["mean"], row["agreement"]["mean"], marker, markersize=5, label=name)
    left.plot([0, 1], [0, 1], ":", color="grey", linewidth=0.8)
    left.legend(fontsize=5, frameon=False, loc="lower right")
    left.set_xlabel("share of turns compared", fontsize=8)
    left.set_ylabel("agreement with the exact ten", fontsize=8)
    names = ("alike", "right", "careful, alike", "careful, right")
    for n, row in enumerate(ROWS):
        means = [float(np.mean(thoughts[row][name])) for name in names]
        right.bar(np.arange(len(names)) + 0.2 * n, means, 0.2, label=row)
    right.set_xticks(np.arange(len(names)) + 0.3, ["alike", "right", "careful:\nalike", "careful:\nright"], fontsize=8)
    right.set_ylim(0, 1.25)
    right.legend(fontsize=6, frameon=False, ncols=2)
    for axis in (left, right):
        axis.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=10).parse_args()
    seeds = list(range(2 if args.quick else args.seeds))
    talks = conversations(args.quick)
    each = {name: hashed(turns, asked, 1 if args.quick else 3) for name, (turns, asked) in talks.items()}
    hash_ = {
        setting: {
            "agreement": interval([found[setting][0] for found in each.values()], list(each)),
            "compared": interval([found[setting][1] for found in each.values()], list(each)),
        }
        for setting in next(iter(each.values()))
    }
    embedder = resolve_embedder("fake") if args.quick else CachedEmbedder(resolve_embedder(None))
    streams = [FactStream(seed=seed, people=1 if args.quick else 3, half="held-out") for seed in seeds]
    thoughts: dict[str, Rows] = {}
    for row in ROWS:
        found = [lived(stream, row, embedder, seed) for seed, stream in zip(seeds, streams, strict=True)]
        thoughts[row] = {name: [one[name] for one in found] for name in found[0]}
    times = timed(SIZES[:1] if args.quick else SIZES)
    verdict = judge(hash_, times, thoughts, seeds)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": seeds, "conversations": list(talks),
            "buckets": hash_, "milliseconds a question": times, "phrasings": thoughts,
            "parameters": {"nearest": NEAREST, "budget": BUDGET, "drawn by lot": LOT, "half": "held-out"},
        }  # fmt: skip
        write(__file__, "tim", CLAIM, verdict, whole, lambda path: draw(hash_, thoughts, path))


if __name__ == "__main__":
    main()
