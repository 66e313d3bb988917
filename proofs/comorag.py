"""ComoRAG: does probing again find all evidence of multi-hop questions that one search, of as many tokens, misses?

Run: python proofs/comorag.py

Stories are generated: people, firms, towns and things tied by relations told in a sentence each, among chatter, each
relation told of many others as well. A question needs one to four of these sentences, and names only the first of
their people. Beside them LoCoMo's multi-hop and single-hop questions (the conversations that nothing was tuned on).
Coverage is the share of questions of which all evidence is within the token budget, by cycles of probing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.baselines import bm25, dense
from slowwave.bench.datasets import CachedEmbedder, folder_of
from slowwave.bench.locomo import TUNED as TUNED_ON
from slowwave.bench.locomo import read
from slowwave.bench.metrics import Found, interval
from slowwave.bench.proving import basic_options, write
from slowwave.bench.retrieval import Conversation, Question, Ranking
from slowwave.bench.system import Filled
from slowwave.errors import NotFoundError
from slowwave.models import Embedder, FakeEmbedder, resolve_embedder
from slowwave.records import Item
from slowwave.text.comorag import LAYERS, ComoRAG

CLAIM = (
    "On generated stories, probing again finds all evidence of more multi-hop questions than one search of as many "
    "tokens, and of single-hop questions no less; LoCoMo is measured beside them."
)
CYCLES = (0, 1, 2, 3, 5)
SYSTEMS: dict[str, tuple[str, ...]] = {"three layers": LAYERS, "records alone": ("veridical",)}
DEFAULT = 3  # cycles, chosen on other stories, told in other words, and on LoCoMo's conv-26 and conv-30
BUDGETS = {"stories": (300, 500), "locomo": (500, 1000)}

PEOPLE = """Abel Ada Agnes Alma Amos Anton Astrid Basil Bela Bruno Carla Cedric Cleo Conrad Dagmar Della Edgar Elsa
    Emil Enid Esther Fabian Felix Flora Freya Gerda Gideon Greta Gustav Hanna Hector Hilda Hugo Ida Igor Ines Iris Ivan
    Jasper Joan Jonas Judith Karl Kira Klaus Lena Leo Linus Lotte Ludo Magda Marek Mara Milo Minna Nadia Nils Nora Olga
    Oskar Otto Paula Petra Quentin Rahel Ralf Rosa Ruben Sally Selma Silas Simon Tamar Theo Tilda Ulrich Uma Vera Viktor
    Wanda Wilma Xaver Yara Yvonne Zelda Zora"""
FIRMS = """Altona Baltic Corvus Delphin Ember Falken Granit Helios Indigo Juno Kestrel Lumen Merkur Nordlys Onyx
    Polaris Quarz Rubin Saturn Tundra Umbra Vektor Wotan Zenit"""
TOWNS = """Aalen Bergen Cadiz Dover Erfurt Faro Genoa Hobart Ipswich Jena Kassel Leiden Mons Nantes Oulu Parma Quimper
    Riga Seville Tartu Utrecht Varna Worms Ystad"""
THINGS = """lighthouse windmill barge orchard vineyard chapel ferry bakery brewery observatory greenhouse printshop"""
TUNED, HELD_OUT = (0, 1), (2, 3)  # tellings of each relation: what was chosen was chosen on the first two

# relation -> (kind of what it leads from, kind of what it leads to, ways to tell it, noun phrase, question)
RELATIONS: dict[str, tuple[str, str, tuple[str, ...], str, str]] = {
    "brother": ("person", "person", (
        "{a} grew up in the same house as a brother, {b}.", "{b}, the brother of {a}, sent a card.",
        "My mother always mixed up {a} and the brother, {b}.", "{a} takes after the brother, {b}, in everything.",
    ), "the brother of {a}", "Who is the brother of {a}?"),
    "teacher": ("person", "person", (
        "{a} learned the violin from {b}.", "It was {b} who taught {a} to play the violin.",
        "Every Thursday {a} had a violin lesson with {b}.", "{b} gave {a} violin lessons for years.",
    ), "the person who taught {a} the violin", "Who taught {a} the violin?"),
    "employer": ("person", "firm", (
        "{a} has been working at {b} since spring.", "At {b}, {a} keeps the books.",
        "{a} found a job at {b} after long months.", "These days {a} earns a living at {b}.",
    ), "the firm where {a} works", "At which firm does {a} work?"),
    "founder": ("firm", "person", (
        "{a} was founded by {b} in a garage.", "{b} started {a} with borrowed money.",
        "Nobody forgets that {b} set up {a}.", "The founder of {a} is {b}, as the brass plate says.",
    ), "the founder of {a}", "Who founded {a}?"),
    "seat": ("firm", "town", (
        "{a} has its head office in {b}.", "The main building of {a} stands in {b}.",
        "{a} is run from {b}.", "Letters to {a} go to its headquarters in {b}.",
    ), "the town where {a} has its head office", "In which town does {a} have its head office?"),
    "home": ("person", "town", (
        "{a} lives in {b}, near the station.", "{a} settled down in {b} last year.",
        "You will find {a} at home in {b}.", "{a} moved into a flat in {b}.",
    ), "the town where {a} lives", "In which town does {a} live?"),
    "mayor": ("town", "person", (
        "{b} was elected mayor of {a}.", "The mayor of {a} is called {b}.",
        "In {a}, {b} runs the town hall.", "{b} has been in charge of the town hall of {a} since May.",
    ), "the mayor of {a}", "Who is the mayor of {a}?"),
    "owns": ("person", "thing", (
        "{a} owns an old {b}.", "The {b} belongs to {a}.",
        "{a} bought the {b} at an auction.", "{a} inherited a {b} from an aunt.",
    ), "what {a} owns", "What does {a} own?"),
}  # fmt: skip
CHATTER = (
    "It rained the whole afternoon and nobody minded.", "The soup was too salty again.", "We talked about the weather.",
    "A dog barked somewhere behind the hedge.", "The clock in the hall had stopped at noon.", "Somebody hummed a tune.",
    "The train was late, as it always is.", "There was a smell of fresh paint.", "The children built a tower of books.",
    "Nobody had thought of bringing an umbrella.", "The lamp flickered.", "We played cards until midnight.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its hops: `evidence` are places of the sentences that answer it, first hop first."""

    text: str
    evidence: tuple[int, ...]


def story(seed: int, ways: Sequence[int], questions: int = 12) -> tuple[list[str], dict[int, list[Asked]]]:
    """(passages of two or three sentences, hops -> questions). `ways` are the tellings that may be used."""
    rng = random.Random(f"story {seed}")
    kinds = {"person": rng.sample(PEOPLE.split(), 40), "thing": THINGS.split()}
    kinds |= {"firm": rng.sample(FIRMS.split(), 16), "town": rng.sample(TOWNS.split(), 16)}
    facts: dict[tuple[str, str], str] = {}
    for relation, (source, target, *_) in RELATIONS.items():
        targets = rng.sample(kinds[target], len(kinds[target]))
        for place, a in enumerate(kinds[source] if source != "person" else rng.sample(kinds[source], 22)):
            b = targets[place % len(targets)]
            if a != b:
                facts[relation, a] = b
    told: list[tuple[tuple[str, str] | None, str]] = [
        (fact, RELATIONS[fact[0]][2][rng.choice(list(ways))].format(a=fact[1], b=b)) for fact, b in facts.items()
    ]
    rng.shuffle(told)
    passages, where = list[str](), dict[tuple[str, str], int]()
    for fact, sentence in told:
        said = [sentence, rng.choice(CHATTER)]
        rng.shuffle(said)
        if fact is not None:
            where[fact] = len(passages)
        passages.append(" ".join(said))
    return passages, {hops: _asked(rng, facts, where, hops, questions) for hops in (1, 2, 3, 4)}


def _asked(
    rng: random.Random, facts: dict[tuple[str, str], str], where: dict[tuple[str, str], int], hops: int, many: int
) -> list[Asked]:
    """Distinct chains of so many relations in which nothing comes twice, as questions."""
    out: dict[str, Asked] = {}
    for _ in range(4000):
        if len(out) == many:
            break
        relation, start = rng.choice(sorted(facts))
        chain, at, seen = [(relation, start)], facts[relation, start], {start, facts[relation, start]}
        while len(chain) < hops:
            onward = [
                (r, a) for r, a in facts if a == at and facts[r, a] not in seen and r not in [c[0] for c in chain]
            ]
            if not onward:
                break
            step = rng.choice(sorted(onward))
            chain.append(step)
            at = facts[step]
            seen.add(at)
        if len(chain) < hops:
            continue
        phrase = chain[0][1]
        for relation, _ in chain[:-1]:
            phrase = RELATIONS[relation][3].format(a=phrase)
        text = RELATIONS[chain[-1][0]][4].format(a=phrase)
        out.setdefault(text, Asked(text, tuple(where[fact] for fact in chain)))
    return list(out.values())


def as_conversation(seed: int, ways: Sequence[int], questions: int = 12) -> Conversation:
    """A story as records of one scope, ten passages a chapter, and its questions by hops."""
    passages, asked = story(seed, ways, questions)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    items = tuple(
        Item(text, at=start + timedelta(hours=n), session=f"chapter {n // 10}", origin=str(n))
        for n, text in enumerate(passages)
    )
    found = tuple(
        Question(one.text, tuple(map(str, one.evidence)), f"{hops} hops")
        for hops, each in asked.items()
        for one in each
    )
    return Conversation(f"story-{seed}", items, tuple(map(str, range(len(items)))), found, start + timedelta(days=30))


Scores = dict[
    str, dict[str, list[float]]
]  # kind of question -> "all@300t", "recall@300t", ... -> one number a question


def scored(conversations: Sequence[Conversation], rankings: Sequence[Ranking], budgets: Sequence[int]) -> Scores:
    """Whether all evidence, and how much of it, is in the best results that fit each budget."""
    out: Scores = {}
    for place, (conversation, ranking) in enumerate(zip(conversations, rankings, strict=True)):
        for question, found in zip(conversation.questions, ranking, strict=True):
            rows = out.setdefault(question.kind, {})
            for budget in budgets:
                share = covered(found, question.evidence, budget)
                rows.setdefault(f"recall@{budget}t", []).append(share)
                rows.setdefault(f"all@{budget}t", []).append(float(share == 1.0))
            rows.setdefault("of", []).append(float(place))
    return out


def covered(found: Sequence[Found], evidence: Sequence[str], budget: int) -> float:
    """Share of the evidence in the best results that fit the budget; what is too long is passed over."""
    used, shown = 0, set[str]()
    for result in found:
        if used + result.tokens <= budget:
            used += result.tokens
            shown.update(result.units)
    return len(shown & set(evidence)) / len(set(evidence))


def rows_of(conversations: Sequence[Conversation], embedder: Embedder, budgets: Sequence[int]) -> dict[str, Scores]:
    """The plain baselines, then ComoRAG after one night by layers and cycles."""
    out = {}
    for name, places in {"dense": lambda c: dense(c, embedder), "bm25": bm25}.items():
        rankings = [[[c.found(p) for p in one] for one in places(c)] for c in conversations]
        out[name] = scored(conversations, rankings, budgets)
    system = ComoRAG()
    with Filled(conversations, embedder, lambda done, total: None, system=system) as filled:
        filled.sleep(lambda done, total: None)
        for name, layers in SYSTEMS.items():
            for cycles in CYCLES:
                system.layers, system.cycles_by_rule = layers, cycles
                rankings = filled.rank(lambda done, total: None)
                out[f"{name}, {cycles} cycles"] = scored(conversations, rankings, budgets)
    return out


def stories(seeds: Sequence[int], questions: int, embedder: Embedder) -> dict[str, Scores]:
    """Generated stories, told in words that nothing was chosen on."""
    return rows_of([as_conversation(seed, HELD_OUT, questions) for seed in seeds], embedder, BUDGETS["stories"])


def locomo(embedder: Embedder) -> tuple[dict[str, Scores], int]:
    """The conversations that nothing was chosen on; multi-hop and single-hop questions alone."""
    files = [file for file in sorted(folder_of("locomo").glob("conv-*.json")) if file.stem not in TUNED_ON]
    told = [read(file, set(), Counter()) for file in files]
    kept = [
        Conversation(c.name, c.items, c.units, tuple(q for q in c.questions if q.kind in KINDS), c.asked) for c in told
    ]
    return rows_of(kept, embedder, BUDGETS["locomo"]), len(kept)


KINDS = ("multi-hop", "single-hop")


def by_seed(scores: Mapping[str, list[float]], metric: str) -> list[float]:
    """The mean of each story or conversation."""
    values, of = np.array(scores[metric]), np.array(scores["of"])
    return [round(float(values[of == n].mean()), 4) for n in sorted(set(of.tolist()))]


def table(rows: Mapping[str, Scores]) -> dict[str, Any]:
    """row -> kind -> metric -> mean with its interval over stories or conversations."""
    return {
        row: {
            kind: {m: interval(values, scores["of"]) for m, values in scores.items() if m != "of"}
            for kind, scores in kinds.items()
        }
        for row, kinds in rows.items()
    }


def judge(told: Mapping[str, Scores], talks: Mapping[str, Scores] | None) -> dict[str, Any]:
    """The verdict: more coverage of 2- to 4-hop stories than one search, in every story; single-hop not less."""
    once, loop = told["three layers, 0 cycles"], told[f"three layers, {DEFAULT} cycles"]
    gains = {h: np.subtract(by_seed(loop[h], "all@500t"), by_seed(once[h], "all@500t")) for h in loop if h != "1 hops"}
    rises = all(float(np.mean(gain)) > 0 for gain in gains.values()) and min(sum(gains.values())) > 0
    kept = np.mean(loop["1 hops"]["all@500t"]) >= np.mean(once["1 hops"]["all@500t"]) - 0.02
    parts = []
    for hops in ("1 hops", "2 hops", "3 hops", "4 hops"):
        path = " > ".join(f"{np.mean(told[f'three layers, {c} cycles'][hops]['all@500t']):.2f}" for c in CYCLES)
        parts.append(f"{hops.replace(' hops', ' hop')} {path} (dense {np.mean(told['dense'][hops]['all@500t']):.2f})")
    summary = f"all evidence within 500 tokens after {'/'.join(map(str, CYCLES))} cycles: {'; '.join(parts)}"
    alone = ", ".join(f"{np.mean(told[f'records alone, {DEFAULT} cycles'][h]['all@500t']):.2f}" for h in loop)
    summary += f"; without the summaries {alone}"
    if talks is not None:
        for kind in KINDS:
            shown = {row: np.mean(talks[row][kind]["recall@1000t"]) for row in (
                "dense", "bm25", "three layers, 0 cycles", f"three layers, {DEFAULT} cycles", "records alone, 0 cycles",
                f"records alone, {DEFAULT} cycles")}  # fmt: skip
            summary += f"; LoCoMo {kind}, recall within 1,000 tokens: " + ", ".join(
                f"{k} {v:.3f}" for k, v in shown.items()
            )
    return {"verdict": "holds" if rises and kept else "does not hold", "summary": summary}


def draw(told: Mapping[str, Any], talks: Mapping[str, Any] | None, path: Path) -> None:
    """Coverage by cycles: stories by hops, and LoCoMo."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    for n, hops in enumerate(("1 hops", "2 hops", "3 hops", "4 hops")):
        for name, style in zip(SYSTEMS, ("-", ":"), strict=True):
            cells = [told[f"{name}, {c} cycles"][hops]["all@500t"] for c in CYCLES]
            label = hops.replace(" hops", " hop") if style == "-" else None
            left.plot(CYCLES, [c["mean"] for c in cells], style, color=f"C{n}", marker="o", markersize=3, label=label)
        left.axhline(told["dense"][hops]["all@500t"]["mean"], color=f"C{n}", linewidth=0.6, linestyle="--")
    left.set_title("stories: all evidence within 500 tokens", fontsize=9)
    left.legend(fontsize=7, frameon=False)
    for n, kind in enumerate(KINDS if talks else ()):
        for name, style in zip(SYSTEMS, ("-", ":"), strict=True):
            cells = [talks[f"{name}, {c} cycles"][kind]["recall@1000t"] for c in CYCLES]
            label = f"{kind}, {name}"
            right.plot(CYCLES, [c["mean"] for c in cells], style, color=f"C{n}", marker="o", markersize=3, label=label)
        right.axhline(talks["dense"][kind]["recall@1000t"]["mean"], color=f"C{n}", linewidth=0.6, linestyle="--")
    right.set_title("LoCoMo: evidence within 1,000 tokens", fontsize=9)
    right.legend(fontsize=7, frameon=False)
    for axis in (left, right):
        axis.set_xlabel("cycles (dashed: plain dense search; dotted: records alone)", fontsize=8)
        axis.set_ylim(0, 1.02)
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=8).parse_args()
    seeds = list(range(1 if args.quick else args.seeds))
    embedder = FakeEmbedder() if args.quick else CachedEmbedder(resolve_embedder("minilm"))
    told = stories(seeds, 2 if args.quick else 15, embedder)
    talks, many = None, 0
    if not args.quick:
        try:
            talks, many = locomo(embedder)
        except NotFoundError as error:
            print(f"LoCoMo is left out: {error}")
    verdict = judge(told, talks)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        found = {"stories": table(told), "locomo": table(talks) if talks else None}
        per_story = {
            row: {hops: by_seed(scores, "all@500t") for hops, scores in kinds.items()} for row, kinds in told.items()
        }
        whole: dict[str, Any] = {
            "seeds": seeds, "conversations": many, **found,
            "per story, all@500t": per_story, "parameters": {"cycles_by_rule": DEFAULT, "probes": 3, "per_probe": 5},
        }  # fmt: skip
        write(__file__, "comorag", CLAIM, verdict, whole, lambda path: draw(found["stories"], found["locomo"], path))


if __name__ == "__main__":
    main()
