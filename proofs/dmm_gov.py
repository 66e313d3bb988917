"""DMM Gov: does governing halve outdated answers when a tenth of the updates are bad, and can all be replayed?

Run: python proofs/dmm_gov.py                    (then --llm MODEL.gguf for the three settings with a real model)

Poison: generated conversations (FactStream, held-out templates) in which two of the batches that arrive are bad, so
that a tenth of all updates is: half of those put an earlier value back, half one that was never true, told by the
person or another, in the words of any update. A night follows each batch. The regression set is a user's: the true
values of a third of the facts, with the dates between which they hold. Asked, after every night from the first bad
batch on, are the other two thirds. Rows: no bad batches; ungoverned; governed; governed without a user's checks, which
then come from facts that the memory itself holds to be well supported.

Ledger: after every night the state's hash is noted; later the journal is replayed to each of those dates. A night is
taken back, and the hash must be the earlier one. Settings: 200 LoCoMo questions put to the model alone, to a store
frozen half way, and to the live store: how much of the evidence is there, and, with a model, F1 and how often it
abstains.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slowwave import Memory
from slowwave.bench.answers import ABSTAINS, INSTRUCTIONS, f1
from slowwave.bench.base import as_json
from slowwave.bench.budgets import within
from slowwave.bench.datasets import CachedEmbedder, data_root, folder_of
from slowwave.bench.evidence import shortened
from slowwave.bench.factstream import FactStream, render, states_value
from slowwave.bench.factstream_words import ASKED, CHANGES, POOLS, STATES
from slowwave.bench.locomo import KINDS, read
from slowwave.bench.metrics import Found, interval
from slowwave.bench.partial import Partial
from slowwave.bench.proving import basic_options, write
from slowwave.bench.retrieval import Conversation, cost, printed
from slowwave.bench.truth import named
from slowwave.models import LLM, resolve_embedder, resolve_llm
from slowwave.models.base import Embedder
from slowwave.models.llm import Prompt
from slowwave.ops.governance import audit
from slowwave.ops.ledger import Ledger, state_hash, state_of
from slowwave.ops.regression import Check, holm, sign_flip
from slowwave.records import Item, Scope
from slowwave.text.dmm_gov import DmmGov

CLAIM = "With a tenth of the updates bad, governing at least halves outdated answers; rollback and replay are exact."
RESULT = Path(__file__).parent / "results" / "dmm_gov.json"
USER: Any = {"user_id": "stream"}
BAD_SHARE, BAD_BATCHES = 0.1, 2
CHECKED = 1 / 3  # of the facts, whose truth the user knows
CLEAN, LOOSE, GOVERNED, DRAWN = "no bad batches", "ungoverned", "governed", "governed, checks drawn from the store"
QUESTIONS, BUDGET = 200, 200  # LoCoMo questions, and tokens of memory that each gets
MODEL = "three settings with a model"
SETTINGS = ("model alone", "frozen store", "live store")


@dataclass(frozen=True)
class Arrival:
    """One batch: what came, when, and for a bad one what it wrongly says as (person, attribute, value)."""

    name: str
    at: datetime
    items: tuple[Item, ...]
    wrong: tuple[tuple[str, str, str], ...] = ()


# -- poison


def arrivals(stream: FactStream, bad: bool) -> list[Arrival]:
    """The sessions of a stream in their order, with the bad batches between them, or, for the same nights, without."""
    groups: dict[str, list[Item]] = {}
    for item in stream.items():
        groups.setdefault(str(item.session), []).append(item)
    good = [Arrival(name, max(i.at for i in items if i.at), tuple(items)) for name, items in groups.items()]
    rng = random.Random(f"poison {stream.seed}")
    updates = sum(turn.label in ("states", "changes", "repeats") for turn in stream.turns)
    total = round(BAD_SHARE * updates / (1 - BAD_SHARE))
    places = sorted(rng.sample(range(len(good) // 3, len(good) - 1), BAD_BATCHES))
    made = [
        poisoned(
            stream, f"bad{n}", good[place].at + timedelta(days=3), total // BAD_BATCHES + (n < total % BAD_BATCHES), rng
        )
        for n, place in enumerate(places)
    ]
    return sorted([*good, *(made if bad else [Arrival(one.name, one.at, ()) for one in made])], key=lambda one: one.at)


def poisoned(stream: FactStream, name: str, at: datetime, size: int, rng: random.Random) -> Arrival:
    """A batch of wrong updates: half earlier values as if they held, half values that were never true."""
    known: dict[tuple[str, str], list[str]] = {}
    for turn in stream.turns:
        if turn.label in ("states", "changes") and turn.at <= at:
            known.setdefault((turn.person, turn.attribute), []).append(turn.value)
    people = sorted({turn.person for turn in stream.turns if turn.person})
    used = {turn.value for turn in stream.turns}
    slots = sorted(known)
    rng.shuffle(slots)
    items, wrong = [], []
    for n, (person, attribute) in enumerate(slots[:size]):
        said = known[person, attribute]
        stale = len(said) > 1 and rng.random() < 0.5
        value = rng.choice(said[:-1]) if stale else unused(attribute, used, rng)
        used.add(value)
        forms = (STATES if stale else CHANGES)[attribute]
        form = rng.choice(forms[len(forms) // 2 :])  # the held-out half
        teller = rng.choice([p for p in people if p != person]) if rng.random() < 0.5 and len(people) > 1 else person
        text = render(form, "I" if teller == person else person, value)
        items.append(Item(text, speaker=teller, at=at + timedelta(minutes=n), session=name, origin=f"{name}t{n}"))
        wrong.append((person, attribute, value))
    return Arrival(name, at + timedelta(minutes=size), tuple(items), tuple(wrong))


def unused(attribute: str, used: set[str], rng: random.Random) -> str:
    """A value of the attribute's kind that the stream does not hold."""
    pools = {
        "phone": [f"555-{n:04d}" for n in range(7000, 7100)], "office": [str(n) for n in range(1000, 1100)],
        "rent": [f"£{n}" for n in range(2001, 2100)],
        "meeting": [f"{day} at {hour}:20" for day in ("Monday", "Tuesday", "Friday") for hour in range(8, 17)],
    }  # fmt: skip
    pool = pools.get(attribute) or POOLS[attribute].split()
    return rng.choice([value for value in pool if value not in used])


def regression_set(stream: FactStream) -> tuple[list[Check], set[tuple[str, str]]]:
    """A user's checks: values of a third of the facts, while they hold and as of dates in between; and their slots."""
    rng = random.Random(f"checks {stream.seed}")
    slots = sorted({(t.person, t.attribute) for t in stream.turns if t.label in ("states", "changes")})
    rng.shuffle(slots)
    mine = slots[: round(CHECKED * len(slots))]
    checks = []
    for person, attribute in mine:
        line = stream.values(person, attribute)
        asked = ASKED[attribute].format(p=person)
        for n, (since, value) in enumerate(line):
            until = line[n + 1][0] if n + 1 < len(line) else None
            wrong = tuple(other for _, other in line if other != value)
            slot = {"subject": person, "attribute": named(attribute)}
            checks.append(Check(f"{asked} now?", (value,), wrong, since=since, until=until, **slot))
            if until is not None:
                middle = since + (until - since) / 2
                checks.append(Check(f"{asked} on {middle:%-d %B %Y}?", (value,), wrong, at=middle, since=until, **slot))
    return checks, set(mine)


def lived(stream: FactStream, row: str, inner: str, embedder: Embedder) -> dict[str, Any]:
    """One memory through all batches: outdated and lost answers, what was caught and where, and the ledger's checks."""
    checks, mine = regression_set(stream)
    system = {GOVERNED: lambda: DmmGov(inner, checks=checks), DRAWN: lambda: DmmGov(inner)}.get(row)
    now = [stream.turns[0].at]
    slots = sorted({(t.person, t.attribute) for t in stream.turns if t.label in ("states", "changes")} - mine)
    came = arrivals(stream, row != CLEAN)
    wrong = [one for arrival in arrivals(stream, True) for one in arrival.wrong]
    tally: Counter[str] = Counter()
    hashes: list[tuple[datetime, str]] = []
    undone = []
    with Memory(
        ":memory:", embedder=embedder, system=system() if system else inner, clock=lambda: now[0], durable=False
    ) as memory:
        view = memory.store.view(Scope(**USER))
        for place, arrival in enumerate(came):
            now[0] = arrival.at + timedelta(hours=1)
            if arrival.items:
                memory.add(list(arrival.items), **USER)
            before = state_hash(state_of(view))
            now[0] += timedelta(hours=11)
            report = memory.sleep(**USER)
            if place % 4 == 3 and report.op is not None:  # take a night back, look, and have it again
                after = state_hash(state_of(view))
                memory.undo(report.op, **USER)
                undone.append(state_hash(state_of(view)) == before)
                memory.undo(memory.log(**USER)[0]["op"], **USER)
                undone.append(state_hash(state_of(view)) == after)
            hashes.append((now[0], state_hash(state_of(view))))
            if any(one.name.startswith("bad") for one in came[: place + 1]):
                tally.update(asked(memory, stream, slots, arrival.at, wrong))
        ledger = Ledger.read(view)
        told = audit(view, "dmm-gov")
    decisions = [(one["batch"], one["verdict"], one["stage"]) for one in told["decisions"]]
    down = {batch: stage for batch, verdict, stage in decisions if verdict == "turned down"}
    return {
        "outdated": tally["outdated"] / tally["asked"],
        "lost": tally["lost"] / tally["asked"],
        "bad batches": BAD_BATCHES if row != CLEAN else 0,
        "turned down": sum(name.startswith("bad") for name in down),
        "on the canary slice": sum(name.startswith("bad") and stage < 1 for name, stage in down.items()),
        "good ones turned down": sum(not name.startswith("bad") for name in down),
        "rolled back": sum(verdict == "rolled back" for _, verdict, _ in decisions),
        "hash after undo and redo": all(undone),
        "replayed dates": sum(state_hash(ledger.at(moment)) == then for moment, then in hashes),
        "dates": len(hashes),
        "faults": len(told["faults"]),
    }


def asked(
    memory: Memory,
    stream: FactStream,
    slots: Sequence[tuple[str, str]],
    at: datetime,
    wrong: Sequence[tuple[str, str, str]],
) -> Counter[str]:
    """How many current values were asked, how many first answers were not current, and how many values not found."""
    out: Counter[str] = Counter()
    for person, attribute in slots:
        line = [value for since, value in stream.values(person, attribute) if since <= at]
        if not line:
            continue
        others = {value for _, value in stream.values(person, attribute)}
        others |= {value for p, a, value in wrong if (p, a) == (person, attribute)}
        question = f"{ASKED[attribute].format(p=person)} now?"
        texts = [hit.text for hit in memory.search(question, top_k=10, threshold=0.0, note_use=False, **USER)]
        values = (line[-1], *sorted(others - {line[-1]}))
        first = next((value for text in texts for value in values if states_value(text, value)), None)
        out["asked"] += 1
        out["outdated"] += first is not None and first != line[-1]
        out["lost"] += not any(states_value(text, line[-1]) for text in texts)
    return out


def poison(seeds: Sequence[int], inner: str, quick: bool, embedder: Embedder) -> dict[str, list[dict[str, Any]]]:
    """Row -> a measurement a seed, over one inner system."""
    streams = [
        FactStream(seed=s, people=2 if quick else 3, sessions=6 if quick else 12, half="held-out") for s in seeds
    ]
    rows = (LOOSE, GOVERNED) if quick else (CLEAN, LOOSE, GOVERNED, DRAWN)
    return {row: [lived(s, row, inner, embedder) for s in streams] for row in rows}


# -- three settings


def settings(quick: bool, embedder: Embedder, llm: LLM | None, kept: Partial) -> dict[str, Any] | None:
    """Setting -> evidence there, and a model's F1 and abstentions, on the same questions; None without the data."""
    if not (data_root() / "locomo").is_dir():
        return None
    files = sorted(folder_of("locomo").glob("conv-*.json"))[: 1 if quick else None]
    each = QUESTIONS // len(files) + 1
    conversations = [drawn(read(file, set(), Counter()), 4 if quick else each, file) for file in files]
    if quick:
        conversations = [(shortened(c, 60, 4), gold) for c, gold in conversations]
    found: dict[str, dict[str, list[float]]] = {setting: {} for setting in SETTINGS}
    names: list[str] = []
    left = QUESTIONS
    for conversation, golds in conversations:
        asked_ = conversation.questions[:left]
        left -= len(asked_)
        names += [conversation.name] * len(asked_)
        for setting in SETTINGS:
            rows = kept.get(
                f"{setting} {conversation.name}", partial(put, setting, conversation, golds, len(asked_), embedder, llm)
            )
            for name, values in rows.items():
                found[setting].setdefault(name, []).extend(values)
    table = {s: {name: interval(values, names) for name, values in found[s].items()} for s in SETTINGS}
    measure = "f1" if llm else "evidence"
    pairs = {"live over frozen": (2, 1), "frozen over alone": (1, 0)}
    tests = {}
    for name, (a, b) in pairs.items():
        first, second = (np.array(found[SETTINGS[n]][measure]) for n in (a, b))
        tests[name] = {**interval(first - second, names), "p": sign_flip(first - second)}
    corrected = holm({name: test["p"] for name, test in tests.items()})
    tests = {name: {**test, "p": round(corrected[name], 5)} for name, test in tests.items()}
    return {
        "questions": len(names),
        "measure of the tests": measure,
        "settings": table,
        "paired, Holm-corrected": tests,
    }


def drawn(conversation: Conversation, most: int, file: Path) -> tuple[Conversation, dict[str, tuple[str, str]]]:
    """So many answerable questions of a conversation, with question -> (gold answer, kind)."""
    entries = json.loads(file.read_text(encoding="utf-8"))["qa"]
    golds = {e["question"]: (str(e["answer"]), KINDS[e["category"]]) for e in entries if e["category"] != 5}
    plain = [q for q in conversation.questions if q.text in golds]
    random.Random(f"settings {conversation.name}").shuffle(plain)
    c = conversation
    return Conversation(c.name, c.items, c.units, tuple(plain[:most]), c.asked), golds


def put(
    setting: str,
    conversation: Conversation,
    golds: Mapping[str, tuple[str, str]],
    most: int,
    embedder: Embedder,
    llm: LLM | None,
) -> dict[str, list[float]]:
    """One conversation's questions in one setting: evidence within the budget, and a model's marks."""
    count = {"model alone": 0, "frozen store": len(conversation.items) // 2}.get(setting, len(conversation.items))
    out: dict[str, list[float]] = {"evidence": []} | ({"f1": [], "abstains": []} if llm else {})
    now = [conversation.asked if conversation.asked.tzinfo else conversation.asked.replace(tzinfo=UTC)]
    with Memory(":memory:", embedder=embedder, system=DmmGov("default"), clock=lambda: now[0], durable=False) as memory:
        units: dict[str, str] = {}
        if count:
            report = memory.add(list(conversation.items[:count]), **USER)
            units = dict(zip(report.ids, conversation.units, strict=False))
            memory.sleep(**USER)
        for question in conversation.questions[:most]:
            hits = memory.search(question.text, top_k=50, threshold=0.0, note_use=False, **USER) if count else []
            shown = [
                Found(tuple(units[id_] for id_ in (hit.id, *hit.engram.sources) if id_ in units), tokens(hit))
                for hit in hits
            ]
            wanted = set(question.evidence)
            out["evidence"].append(len(wanted & within(shown, BUDGET)) / len(wanted))
            if llm is not None:
                made = memory.context(question.text, max_tokens=BUDGET, threshold=0.0, note_use=False, **USER)
                inputs = {"notes": made.text if count else "", "question": question.text}
                gold, kind = golds[question.text]
                reply = str(llm.ask(Prompt("answer", INSTRUCTIONS, inputs, None, (), 32)).value or "")
                out["f1"].append(f1(reply, gold, kind))
                out["abstains"].append(float(bool(ABSTAINS.search(reply)) or not reply))
    return out


def tokens(hit: Any) -> int:
    """What a hit costs in a prompt."""
    return cost(Item(printed(hit.text, hit.engram.speaker, None), at=hit.engram.at))


# -- verdict


def judge(found: dict[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Holds where under each inner system outdated answers at least halve and no more are lost, most bad batches are
    turned down, some on the canary slice, and every hash and replay is exact."""
    told, holds, sure = [], True, len(seeds) >= 3
    tests = {}
    for inner, rows in found.items():
        mean = {
            row: {name: float(np.mean([one[name] for one in each])) for name in each[0]} for row, each in rows.items()
        }
        fall = [a["outdated"] - b["outdated"] for a, b in zip(rows[LOOSE], rows[GOVERNED], strict=True)]
        tests[inner] = {**interval(fall, list(seeds)), "p": sign_flip(fall)}
        governed = rows[GOVERNED]
        exact = all(
            one["hash after undo and redo"] and one["replayed dates"] == one["dates"] and not one["faults"]
            for each in rows.values()
            for one in each
        )
        caught, bad = sum(one["turned down"] for one in governed), sum(one["bad batches"] for one in governed)
        canary = sum(one["on the canary slice"] for one in governed)
        good = sum(one["good ones turned down"] for one in governed)
        halved = mean[GOVERNED]["outdated"] <= mean[LOOSE]["outdated"] / 2
        holds = (
            holds
            and halved
            and exact
            and 2 * caught > bad
            and canary > 0
            and mean[GOVERNED]["lost"] <= mean[LOOSE]["lost"]
        )
        clean = f", {mean[CLEAN]['outdated']:.3f} without bad batches" if CLEAN in mean else ""
        weak = f", {mean[DRAWN]['outdated']:.3f} with checks drawn from the store" if DRAWN in mean else ""
        loose, kept = mean[LOOSE], mean[GOVERNED]
        told.append(
            f"over {inner}: outdated answers {loose['outdated']:.3f} ungoverned, {kept['outdated']:.3f} governed{weak}"
            f"{clean}; lost {loose['lost']:.3f} and {kept['lost']:.3f}; {caught} of {bad} bad batches turned down, "
            f"{canary} on the canary slice, and {good} good ones; hashes and replays {'' if exact else 'not '}all exact"
        )
    corrected = holm({inner: test["p"] for inner, test in tests.items()})
    tests = {inner: {**test, "p": round(corrected[inner], 5)} for inner, test in tests.items()}
    verdict = "cannot be told at this size" if not sure else "holds" if holds else "does not hold"
    return {
        "verdict": verdict,
        "summary": f"{'; '.join(told)} ({len(seeds)} seeds)",
        "outdated, ungoverned minus governed, Holm-corrected": tests,
    }


def draw(found: dict[str, Any], path: Path) -> None:
    """Outdated and lost answers by row and inner system, a point a seed."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True)
    for axis, measure in zip(axes, ("outdated", "lost"), strict=True):
        for shift, (inner, rows) in enumerate(found.items()):
            for place, each in enumerate(rows.values()):
                values = [one[measure] for one in each]
                y = place + 0.3 * shift
                axis.barh(y, np.mean(values), 0.28, color=f"C{shift}", alpha=0.6, label=inner if place == 0 else None)
                axis.plot(values, [y] * len(values), "k.", markersize=3)
            axis.set_yticks(range(len(rows)), list(rows), fontsize=7)
        axis.set_title(f"{measure}, share of answers", fontsize=9)
        axis.tick_params(labelsize=7)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=7, frameon=False, title="governed system", title_fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    parser = basic_options(CLAIM, seeds=10)
    parser.add_argument("--llm", help="a real model, see slowwave.models.LLM_HELP: the three settings with it alone")
    args = parser.parse_args()
    seeds = list(range(1 if args.quick else args.seeds))
    embedder = resolve_embedder("fake") if args.quick else CachedEmbedder(resolve_embedder(None))
    llm = resolve_llm(args.llm) if args.llm else None
    kept = Partial(None if args.quick else RESULT, {"llm": llm.name if llm else "", "seeds": seeds})
    earlier = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
    three = settings(args.quick, embedder, llm, kept)
    if llm is not None:
        print(json.dumps(three))
        result = {**earlier, MODEL: {"model": llm.name, **(three or {}), "seconds": round(llm.total().seconds)}}
        RESULT.write_text(as_json(result), encoding="utf-8")
        kept.finish()
        return
    inners = ["default"] if args.quick else ["default", "memos"]
    found = {inner: kept.get(inner, partial(poison, seeds, inner, args.quick, embedder)) for inner in inners}
    verdict = judge(found, seeds)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": seeds, "poison": found, "three settings": three,
            MODEL: earlier.get(MODEL),
            "parameters": {
                "bad share": BAD_SHARE, "bad batches": BAD_BATCHES, "checked share": round(CHECKED, 4),
                "budget": BUDGET,
            },
        }  # fmt: skip
        write(__file__, "dmm-gov", CLAIM, verdict, whole, lambda path: draw(found, path))
        kept.finish()


if __name__ == "__main__":
    main()
