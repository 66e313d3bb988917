"""A model that lies makes a memory poorer in insight, never in facts: garbage, refusals, silence, inventions, slander.

Run: python proofs/lying_model.py

Generated conversations (FactStream, templates that no rule was written with), slept on without a model and with models
that make trouble; then what rules found, what was said, and what is answered are held against the night without one.
"garbage", "refuses", "times out" and "invents" are the fakes that come with slowwave. "slander" is harder than a fake:
an oracle whose every answer is wrong, made of the conversation's own names, numbers and values, on turns that exist.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.facts import NIGHT_EVERY, TOP_K, USER, standing
from slowwave.bench.factstream import FactStream, score
from slowwave.bench.proving import basic_options, write
from slowwave.bench.truth import SAID, named, oracle
from slowwave.memory import Memory
from slowwave.models import resolve_embedder
from slowwave.models.base import Embedder
from slowwave.models.fakes import NAMES, TROUBLEMAKERS
from slowwave.models.llm import LLM
from slowwave.records import Engram
from slowwave.store.base import Want

CLAIM = (
    "After nights with a model that lies, no fact of the rules is gone, nothing invented is found, no rate is worse."
)
LIARS: dict[str, Callable[[FactStream], Any]] = {
    "garbage": lambda stream: TROUBLEMAKERS["garbage"](),
    "refuses": lambda stream: TROUBLEMAKERS["refuses"](),
    "times out": lambda stream: TROUBLEMAKERS["times-out"](),
    "invents": lambda stream: TROUBLEMAKERS["invents"](),
    "slander": lambda stream: oracle(stream, 1.0, stream.seed),
}
FAKES = tuple(LIARS)[:4]
STRICT = ("turns changed", "rules' facts changed")  # by a fake: not one
RATES = ("stale_rate", "lost_rate", "at_date_right", "history_whole", "duplicate_rate")


def night(stream: FactStream, embedder: Embedder, llm: LLM | None) -> dict[str, Any]:
    """A stream lived through with its nights: rates, records, what searches showed, how much was turned down."""
    now = [stream.turns[0].at]
    items = stream.items()
    sessions = list(dict.fromkeys(turn.session for turn in stream.turns))
    with Memory(":memory:", embedder=embedder, llm=llm, clock=lambda: now[0]) as memory:
        for number, session in enumerate(sessions, 1):
            said = [item for item in items if item.session == session]
            now[0] = max(item.at for item in said if item.at is not None) + timedelta(hours=1)
            memory.add(said, user_id=USER)
            if number % NIGHT_EVERY == 0 or number == len(sessions):
                now[0] += timedelta(hours=12)
                memory.sleep(user_id=USER)
        shown: dict[str, list[str]] = {}
        for question in stream.questions:
            when = {} if question.as_of is None else {"at": question.as_of, "now": question.as_of}
            hits = memory.search(question.text, user_id=USER, top_k=TOP_K, threshold=0.0, note_use=False, **when)
            shown[question.id] = [hit.text for hit in hits]
        records = memory.store.view(memory.scopes()[0][0]).select(Want(retired=True))
        rejected = memory.log(rejected=True, limit=100_000, user_id=USER)
        kept = standing(memory.list(at=now[0], limit=None, user_id=USER))
        return {
            "rates": score(stream, shown, kept),
            "records": records,
            "shown": {text for texts in shown.values() for text in texts},
            "turned down": len(rejected),
            "calls": llm.total().calls if llm else 0,
        }


def against(plain: dict[str, Any], lied: dict[str, Any], stream: FactStream) -> dict[str, Any]:
    """What a lying model changed: the rules' facts, what was said, and what of its lies is there."""
    true = {(t.person, named(t.attribute), t.value) for t in stream.turns if t.label in SAID}
    by_model = [engram for engram in lied["records"] if engram.attrs.get("from") == "model"]
    facts = [engram for engram in by_model if engram.kind == "fact"]
    slots = [tuple(engram.attrs.get(name) for name in ("subject", "attribute", "value")) for engram in facts]
    return {
        "rules' facts gone": len(_known(plain, False) - _known(lied, True)),
        "rules' facts changed": len(_facts(plain).items() ^ _facts(lied).items()),
        "turns changed": len(_turns(plain) ^ _turns(lied)),
        "false facts kept": sum(slot not in true for slot in slots),
        "model's facts kept": len(facts),
        "invented texts shown": sum(any(name in text for name in NAMES) for text in lied["shown"]),
        "turned down": lied["turned down"],
        "calls": lied["calls"],
    }


def _facts(night: dict[str, Any]) -> dict[tuple[Any, ...], Any]:
    """The rules' facts, and until when they hold."""
    rows: list[Engram] = [e for e in night["records"] if e.kind == "fact" and e.attrs.get("from") != "model"]
    return {(e.attrs["subject"], e.attrs["attribute"], e.attrs["value"], e.at): e.until for e in rows}


def _known(night: dict[str, Any], by_model: bool) -> set[tuple[Any, ...]]:
    """What is held to be so, whoever read it first: a rule that finds a fact there supports it and adds none."""
    facts = [e for e in night["records"] if e.kind == "fact" and (by_model or e.attrs.get("from") != "model")]
    return {tuple(e.attrs.get(name) for name in ("subject", "attribute", "value")) for e in facts}


def _turns(night: dict[str, Any]) -> set[tuple[Any, ...]]:
    return {(e.origin, e.text, e.until, e.retired_why) for e in night["records"] if e.kind == "episode"}


def measure(seeds: int, sessions: int, liars: tuple[str, ...], embedder: Embedder) -> dict[str, Any]:
    """Rates without a model and with each liar, seed by seed, and what each changed."""
    rates: dict[str, list[dict[str, float]]] = {"no model": []}
    changed: dict[str, list[dict[str, Any]]] = {}
    for seed in range(seeds):
        stream = FactStream(seed=seed, sessions=sessions, half="held-out")
        plain = night(stream, embedder, None)
        rates["no model"].append(plain["rates"])
        for name in liars:
            lied = night(stream, embedder, LLM(LIARS[name](stream), wait=lambda seconds: None))
            rates.setdefault(name, []).append(lied["rates"])
            changed.setdefault(name, []).append(against(plain, lied, stream))
    return {
        "rates": {
            name: {rate: [round(row[rate], 4) for row in rows] for rate in RATES} for name, rows in rates.items()
        },
        "changed": {name: {key: [row[key] for row in rows] for key in rows[0]} for name, rows in changed.items()},
    }


def judge(found: dict[str, Any], liars: tuple[str, ...]) -> dict[str, str]:
    """Whether nothing is gone or worse; the four fakes must change nothing at all."""
    rates, changed = found["rates"], found["changed"]
    mean = {name: {rate: float(np.mean(values)) for rate, values in row.items()} for name, row in rates.items()}
    worse = [
        f"{name}: {rate} {mean[name][rate]:.3f} against {mean['no model'][rate]:.3f}"
        for name in liars
        for rate in ("stale_rate", "lost_rate")
        if mean[name][rate] > mean["no model"][rate] + 1e-9
    ]
    broken = [
        f"{name}: {sum(changed[name][what])} {what}"
        for name in liars
        for what in ("rules' facts gone", "invented texts shown", *(STRICT if name in FAKES else []))
        if sum(changed[name][what])
    ]
    kept = {name: sum(changed[name]["model's facts kept"]) for name in liars}
    false = {name: sum(changed[name]["false facts kept"]) for name in liars}
    told = ", ".join(
        f"{name} {mean[name]['stale_rate']:.3f} / {mean[name]['lost_rate']:.3f} "
        f"({false[name]} of {kept[name]} facts kept are false)"
        for name in liars
    )
    plain = mean["no model"]
    text = f"stale / lost {plain['stale_rate']:.3f} / {plain['lost_rate']:.3f} without a model; {told}"
    wrong = "; ".join([*worse, *broken])
    return {"verdict": "does not hold" if wrong else "holds", "summary": f"{text}{'; ' if wrong else ''}{wrong}"}


def draw(found: dict[str, Any], path: Path) -> None:
    """Stale and lost answers with each model, seed by seed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 2.6), sharey=True)
    names = list(found["rates"])
    for axis, rate in zip(axes, ("stale_rate", "lost_rate"), strict=True):
        for place, name in enumerate(names):
            values = found["rates"][name][rate]
            axis.plot([place] * len(values), values, "o", markersize=3, alpha=0.5, color="tab:blue")
            axis.plot([place - 0.25, place + 0.25], [np.mean(values)] * 2, color="black")
        axis.set_xticks(range(len(names)), names, rotation=25, fontsize=7)
        axis.set_title(rate.replace("_", " "), fontsize=9)
        axis.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5).parse_args()
    liars = ("invents", "slander") if args.quick else tuple(LIARS)
    embedder = CachedEmbedder(resolve_embedder("fake" if args.quick else None))
    found = measure(1 if args.quick else args.seeds, 4 if args.quick else 12, liars, embedder)
    embedder.close()
    verdict = judge(found, liars)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": list(range(args.seeds)), **found,
        }  # fmt: skip
        write(__file__, "lying_model", CLAIM, verdict, whole, lambda path: draw(found, path))


if __name__ == "__main__":
    main()
