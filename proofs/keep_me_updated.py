"""Keep Me Updated: does labelling each new sentence against the remembered ones keep a memory current and small?

Run: python proofs/keep_me_updated.py            (add --llm MODEL.gguf for a row with a real model)

Generated conversations of five sessions (FactStream, templates that nothing was tuned on), a night after each. After
every session the current value of every fact so far is asked for, with 200 tokens of what is found. Rows: plain search
over turns; an accumulating memory, which appends whatever is new; the same read newest first; the operator by rules;
and the operator of an oracle whose labels are wrong with probability ε, with and without the guard that turns down a
label which the words speak against. Sentences are drawn by the same oracle, without error; "no model" has neither.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from slowwave import Memory
from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.factstream import FactStream, Turn, states_value
from slowwave.bench.factstream_words import ASKED
from slowwave.bench.metrics import interval
from slowwave.bench.proving import basic_options, write
from slowwave.bench.truth import named
from slowwave.bench.truth_pairs import Pairs, flips, truths
from slowwave.models import LLM, resolve_embedder, resolve_llm
from slowwave.models.base import Embedder
from slowwave.models.oracle import Oracle
from slowwave.ops.made import Made
from slowwave.ops.packing import estimate_tokens, line
from slowwave.ops.pairwise import LABELS, label
from slowwave.ops.standing import slot_of
from slowwave.records import Engram, Hit, Scope
from slowwave.text.keep_me_updated import KeepMeUpdated

CLAIM = "The stale-answer rate parts from an accumulating memory's session by session, and the memory stays small."
RESULT = Path(__file__).parent / "results" / "keep_me_updated.json"
SESSIONS = 5
BUDGET = 200  # tokens of memory a question gets
USER: Any = {"user_id": "stream"}
PAIRS = 60  # that a real model labels
ERRORS = (0.0, 0.05, 0.1, 0.2)
RAW, ACCUMULATE, NEWEST = "turns, plain search", "accumulate", "accumulate, newest first"
RULES, ALONE = "operator, rules", "no model"


@dataclass(frozen=True)
class Row:
    """How one memory is kept: its system, whose labels, and the order in which what is found is read."""

    name: str
    error: float | None = None  # of the oracle's labels; None: no oracle labels
    append: bool = False  # every pair is APPEND
    guard: bool = True
    newest: bool = False
    turns: bool = False
    model: bool = True


def rows(quick: bool) -> list[Row]:
    """All rows; a quick run has four."""
    plain = [
        Row(RAW, turns=True),
        Row(ACCUMULATE, 0.0, append=True),
        Row(NEWEST, 0.0, append=True, newest=True),
        Row(RULES),
        Row(ALONE, model=False),
    ]
    if quick:
        return [*plain[1:], Row(operator(0.0), 0.0)]
    guarded = [Row(operator(error), error) for error in ERRORS]
    return [*plain, *guarded, *(Row(operator(error, False), error, guard=False) for error in ERRORS[1:])]


def operator(error: float, guard: bool = True) -> str:
    """The name of an oracle's row."""
    return f"operator, ε = {error:.0%}{'' if guard else ', unguarded'}"


def lived(stream: FactStream, row: Row, embedder: Embedder, seed: int) -> dict[str, list[float]]:
    """Metric -> one number a session."""
    true = truths(stream)
    known = {"facts": true["facts"]}
    if row.append:
        known["pairwise"] = lambda inputs: dict.fromkeys(inputs["old"], "APPEND")
    elif row.error is not None:
        known["pairwise"] = true["pairwise"]
    model = Erring(known, flips(stream)["pairwise"], row.error or 0.0, seed)
    now = [stream.turns[0].at]
    out: dict[str, list[float]] = {name: [] for name in ("stale", "lost", "gone", "kept", "tokens", "calls")}
    system = KeepMeUpdated(guard=row.guard, episodes="none", past=False)
    llm = LLM(model) if row.model else None
    with Memory(":memory:", embedder=embedder, system=system, llm=llm, clock=lambda: now[0], durable=False) as memory:
        for number in range(SESSIONS):
            items = [i for i in stream.items() if i.session == f"s{number}"]
            now[0] = max(i.at for i in items if i.at is not None) + timedelta(hours=1)
            memory.add(items, **USER)
            now[0] += timedelta(hours=12)
            before = llm.total().calls if llm else 0
            if not row.turns:
                memory.sleep(**USER)
            facts = standing(stream, number)
            kinds = ["episode"] if row.turns else ["fact"]
            held = memory.list(kinds=kinds, at=now[0], limit=None, **USER)
            asked = [answer(memory, person, attribute, row) for person, attribute in facts]
            first = [
                next((v for text in texts for v in values if states_value(text, v)), None)
                for texts, values in zip(asked, facts.values(), strict=True)
            ]
            out["stale"].append(share(f is not None and f != v[-1] for f, v in zip(first, facts.values(), strict=True)))
            out["lost"].append(
                share(not any(states_value(t, v[-1]) for t in a) for a, v in zip(asked, facts.values(), strict=True))
            )
            out["gone"].append(share(not any(states_value(e.text, v[-1]) for e in held) for v in facts.values()))
            out["kept"].append(float(len(held)))
            out["tokens"].append(float(sum(estimate_tokens(line(e)) for e in held)))
            out["calls"].append(float(llm.total().calls - before) if llm else 0.0)
    return out


class Erring(Oracle):
    """An oracle whose labels alone are wrong with the probability `error`; what it does not know the rules decide."""

    def __init__(self, known: Mapping[str, Any], flip: Any, error: float, seed: int) -> None:
        super().__init__(known, error, {name: flip if name == "pairwise" else same for name in known}, seed)


def same(inputs: Any, value: Any, chance: Any) -> Any:
    """The truth as it is."""
    return value


def standing(stream: FactStream, number: int) -> dict[tuple[str, str], list[str]]:
    """(person, attribute) -> its values up to a session, the current one last."""
    out: dict[tuple[str, str], list[str]] = {}
    for turn in stream.turns:
        if turn.label in ("states", "changes") and int(turn.session[1:]) <= number:
            out.setdefault((turn.person, turn.attribute), []).append(turn.value)
    return out


def answer(memory: Memory, person: str, attribute: str, row: Row) -> list[str]:
    """What is found within the budget, in the order in which it is read."""
    asked = f"{ASKED[attribute].format(p=person)} now?"
    kinds = ["episode"] if row.turns else ["fact"]
    hits = within(
        list(memory.search(asked, top_k=30, threshold=0.0, note_use=False, kinds=kinds, at=memory.clock(), **USER))
    )
    if row.newest:
        hits = sorted(hits, key=lambda hit: hit.engram.at, reverse=True)
    return [hit.text for hit in hits]


def within(hits: Sequence[Hit]) -> list[Hit]:
    """The best that fit the budget; what is too long is passed over, as in `context`."""
    used, out = 0, []
    for hit in hits:
        cost = estimate_tokens(line(hit.engram)) + 1
        if used + cost <= BUDGET:
            used += cost
            out.append(hit)
    return out


def share(values: Any) -> float:
    found = list(values)
    return sum(found) / max(1, len(found))


def measure(seeds: Sequence[int], quick: bool) -> dict[str, Any]:
    """row -> metric -> a list a seed of a number a session."""
    embedder = resolve_embedder("fake") if quick else CachedEmbedder(resolve_embedder(None))
    table: dict[str, Any] = {}
    for row in rows(quick):
        each = [lived(stream_of(seed, quick), row, embedder, seed) for seed in seeds]
        table[row.name] = {name: [[round(v, 4) for v in one[name]] for one in each] for name in each[0]}
    return table


def stream_of(seed: int, quick: bool = False) -> FactStream:
    return FactStream(seed=seed, people=2 if quick else 6, sessions=SESSIONS, half="held-out")


def judge(table: dict[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """The verdict: the gap in stale answers grows, the memory grows less, and no more facts are lost."""
    best = operator(0.0)
    gap = np.array(table[ACCUMULATE]["stale"]) - np.array(table[best]["stale"])  # (seeds, sessions)
    diverges = interval(gap[:, -1] - gap[:, 1], seeds)
    size = {name: np.array(table[name]["kept"]) for name in (ACCUMULATE, best)}
    growth = {name: (kept[:, -1] - kept[:, -2]).mean() for name, kept in size.items()}
    lost = interval(np.array(table[best]["gone"])[:, -1] - np.array(table[ACCUMULATE]["gone"])[:, -1], seeds)
    low = diverges["low"]
    holds = low is not None and low > 0 and growth[best] <= growth[ACCUMULATE] / 2 and lost["mean"] == 0
    verdict = "cannot be told at this size" if low is None else "holds" if holds else "does not hold"

    def end(name: str, metric: str) -> str:
        values = [one[-1] for one in table[name][metric]]
        return f"{np.mean(values):.3f}" if metric != "kept" else f"{np.mean(values):.0f}"

    told = [
        f"stale answers after session 2 and 5: accumulating {at(table, ACCUMULATE, 'stale')}, operator "
        f"{at(table, best, 'stale')}, by rules {at(table, RULES, 'stale')}, "
        f"without any model {at(table, ALONE, 'stale')}"
    ]
    if NEWEST in table:
        told.append(f"an accumulating memory whose reader takes the newest of what is found: {end(NEWEST, 'stale')}")
    told.append(f"sentences held at the end {end(ACCUMULATE, 'kept')} against {end(best, 'kept')}")
    if operator(0.2) in table:
        errors = ", ".join(
            f"{end(operator(e), 'gone')} ({end(operator(e, False), 'gone')} unguarded) at {e:.0%}" for e in ERRORS[1:]
        )
        told.append(f"current values gone from the memory: {end(best, 'gone')} without error, {errors}")
    return {
        "verdict": verdict,
        "summary": f"{'; '.join(told)} ({len(seeds)} seeds)",
        "gap grows from session 2 to 5 by": diverges,
        "sentences that the last session adds": {name: round(float(value), 1) for name, value in growth.items()},
        "gone, operator over accumulating": lost,
    }


def at(table: dict[str, Any], name: str, metric: str) -> str:
    values = np.array(table[name][metric]).mean(axis=0)
    return f"{values[1]:.3f} and {values[-1]:.3f}"


def real(spec: str, seed: int, most: int) -> dict[str, Any]:
    """How often a real model's labels are the true ones, on pairs of true sentences, as said and behind the guard."""
    llm = resolve_llm(spec)
    assert llm is not None
    stream = stream_of(seed)
    known = Pairs(stream)
    said = [turn for turn in stream.turns if turn.attribute and turn.label != "trap"]
    pairs = by_label(known, said, most)
    found: dict[str, dict[str, dict[str, int]]] = {}
    for old, new, true in pairs:
        for name, guard in (("as said", False), ("behind the guard", True)):  # the second is the first, from the cache
            verdict = label(sentence(new), [(sentence(old), 1.0)], llm, Made(), guard)[0].label
            counts = found.setdefault(name, {}).setdefault(true, dict.fromkeys(LABELS, 0))
            counts[verdict] += 1
    right = {name: sum(counts[true] for true, counts in each.items()) for name, each in found.items()}
    return {
        "model": llm.name,
        "pairs": len(pairs),
        "right": {name: round(n / len(pairs), 4) for name, n in right.items()},
        "true label -> label": found,
        "seconds a pair": round(llm.total().seconds / len(pairs), 2),
        "command": "python proofs/keep_me_updated.py --llm MODEL.gguf",
    }


def by_label(known: Pairs, said: Sequence[Turn], most: int) -> list[tuple[Turn, Turn, str]]:
    """As many pairs of each label as there are of the rarest, in the order of the stream."""
    found: dict[str, list[tuple[Turn, Turn, str]]] = {}
    for place, new in enumerate(said):
        for old in said[:place]:
            if old.person == new.person or old.attribute == new.attribute:
                true = known.label(known.said(old.text), known.said(new.text))
                found.setdefault(true, []).append((old, new, true))
    rng = np.random.default_rng(0)
    few = min(most // len(found), *(len(each) for each in found.values()))
    return [each[n] for each in found.values() for n in sorted(rng.permutation(len(each))[:few].tolist())]


def sentence(turn: Turn) -> Engram:
    attribute = named(turn.attribute)
    text = f"{turn.person}'s {attribute} is {turn.value}."
    attrs = {"subject": turn.person, "attribute": attribute, "value": turn.value}
    origin = slot_of(turn.person, attribute)
    return Engram(turn.origin, "fact", text, Scope(user_id="stream"), turn.at, turn.at, attrs=attrs, origin=origin)


def draw(table: dict[str, Any], path: Path) -> None:
    """Stale answers and size by session, and values gone by the operator's error."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(10, 2.9))
    x = range(1, SESSIONS + 1)
    for name in (RAW, ACCUMULATE, NEWEST, ALONE, RULES, operator(0.0)):
        for axis, metric in zip(axes, ("stale", "kept"), strict=False):
            values = np.array(table[name][metric])
            axis.plot(x, values.mean(axis=0), marker="o", markersize=3, label=name)
            axis.fill_between(x, values.min(axis=0), values.max(axis=0), alpha=0.12)
    for guard in (True, False):
        values = [[one[-1] for one in table[operator(e, guard or e == 0)]["gone"]] for e in ERRORS]
        axes[2].plot(
            [100 * e for e in ERRORS],
            np.mean(values, axis=1),
            marker="o",
            markersize=3,
            label="guarded" if guard else "unguarded",
        )
    for axis, title, unit in zip(
        axes,
        ("stale answers", "sentences held", "current values gone"),
        ("session", "session", "wrong labels, %"),
        strict=True,
    ):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(unit, fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0].legend(fontsize=6, frameon=False)
    axes[2].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    parser = basic_options(CLAIM, seeds=10)
    parser.add_argument("--llm", help="a real model, see slowwave.models.LLM_HELP; 60 labels are asked of it")
    args = parser.parse_args()
    seeds = list(range(1 if args.quick else args.seeds))
    table = measure(seeds, args.quick)
    verdict = judge(table, seeds)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    labelled = real(args.llm, 0, PAIRS) if args.llm else kept("a real model's labels")
    if args.llm:
        print(json.dumps(labelled))
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": seeds, "rows": table,
            "a real model's labels": labelled,
            "parameters": {"budget": BUDGET, "sessions": SESSIONS, "half": "held-out"},
        }  # fmt: skip
        write(__file__, "keep-me-updated", CLAIM, verdict, whole, lambda path: draw(table, path))


def kept(name: str) -> Any:
    """What an earlier run measured with a real model, so that a run without one does not lose it."""
    return json.loads(RESULT.read_text(encoding="utf-8")).get(name) if RESULT.is_file() else None


if __name__ == "__main__":
    main()
