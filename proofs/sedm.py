"""SEDM: are useful lessons admitted and harmful ones kept out on 8 paired trials, and is one that turns bad demoted?

Run: python proofs/sedm.py

A stub solver does a task with a chance that the lesson at hand raises (0.4 to 0.8), leaves, or lowers (0.4 to 0.15). A
trial with the lesson and one without share their seed: `sharing` says how much of the luck they share, from 0 (a seed
that means nothing, as with a sampled model) to 1 (the same dice). Then the whole system lives forty days: runs come in,
nights draw, try and weigh lessons, the agent is shown what search finds; half-way one useful lesson turns harmful.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from slowwave import Memory
from slowwave.bench.datasets import CachedEmbedder
from slowwave.bench.proving import basic_options, write
from slowwave.models import Embedder, FakeEmbedder, resolve_embedder
from slowwave.ops.admission import Gate, Ruling, Trial
from slowwave.text.sedm import SEDM

CLAIM = (
    "On 8 paired trials at least 80 % of useful and at most 10 % of harmful lessons are admitted; success is above "
    "admitting all; a lesson that turns bad is demoted."
)
BASE = 0.4
CHANCE = {"useful": 0.8, "idle": 0.4, "harmful": 0.15}
PAIRS = 8
DEFAULT = f"p <= {Gate().level} (default)"
RULES = {"bare S >= eta": 1.0, DEFAULT: Gate().level, "p <= 0.05": 0.05}
SHARINGS = (0.0, 0.5, 1.0)
COST = 40  # tokens that a lesson adds to a prompt
USER = {"user_id": "agent"}
START = datetime(2024, 1, 1, tzinfo=UTC)
TASKS, DAYS, RUNS = 12, 40, 24  # tasks; days; runs a day
WORK = (
    "repair the pump", "bake rye bread", "book a night train", "file the taxes", "prune roses", "tune a violin",
    "translate a letter", "paint the hallway", "find missing parcels", "brew cider", "teach long division",
    "debug a parser",
)  # fmt: skip
ADVICE = ("warm everything up", "call ahead", "read the manual", "lock the door", "count to ten", "clear the table")
METHODS = ("no memory", "admit all", "sedm", "sedm, bare S >= eta", "sedm, unpaired")


def luck(rng: random.Random, sharing: float) -> tuple[float, float]:
    """Two draws of chance in [0, 1] that share as much as is said (a Gaussian copula)."""
    one = rng.gauss(0, 1)
    other = sharing * one + (1 - sharing**2) ** 0.5 * rng.gauss(0, 1)
    normal = NormalDist()
    return normal.cdf(one), normal.cdf(other)


def admitted(level: float, sharing: float, seed: int, many: int) -> dict[str, float]:
    """Share of lessons of each kind that the gate admits."""
    gate, out = Gate(level=level), {}
    for kind, chance in CHANCE.items():
        rng = random.Random(f"{kind}/{seed}")
        rulings: list[Ruling] = []
        for _ in range(many):
            dice = [luck(rng, sharing) for _ in range(PAIRS)]
            with_ = [Trial(float(a < chance), 300 + COST, 0, n) for n, (a, _) in enumerate(dice)]
            without = [Trial(float(b < BASE), 300, 0, n) for n, (_, b) in enumerate(dice)]
            rulings.append(gate.judge(with_, without))
        out[kind] = sum(ruling.admitted for ruling in rulings) / many
    return out


class Life:
    """An agent with tasks to do, day after day, and the lessons that its runs happen to teach.

    Each task has a useful, an idle and a harmful lesson; a run teaches one of them at random. From the middle on the
    useful lesson that has been used most does harm (`turned`).
    """

    def __init__(self, seed: int, method: str, tasks: int, days: int, runs: int, embedder: Embedder) -> None:
        self.rng = random.Random(seed)
        self.seed, self.method, self.days, self.runs, self.embedder = seed, method, days, runs, embedder
        self.tasks = self.rng.sample(WORK, tasks)
        self.lessons = {
            f"{verb} before you {task}.": (task, kind)
            for task in self.tasks
            for kind, verb in zip(CHANCE, self.rng.sample(ADVICE, 3), strict=True)
        }
        self.turned, self.day, self.trials = "", 0, 0

    def chance(self, task: str, lesson: str | None) -> float:
        about, kind = self.lessons.get(lesson or "", ("", ""))
        if about != task:
            return BASE
        return CHANCE["harmful" if lesson == self.turned else kind]

    def replay(self, task: str, lesson: str | None, seed: int) -> Trial:
        """A trial for the gate; half of the luck of a seed is shared between the two sides."""
        dice = luck(random.Random(f"{self.seed}/{task}/{self.day}/{seed}/{self.trials // (2 * PAIRS)}"), 0.5)
        self.trials += 1
        return Trial(float(dice[lesson is None] < self.chance(task, lesson)), 300 + COST * (lesson is not None))

    def system(self) -> SEDM:
        """The system of a method."""
        if self.method == "admit all":
            free = Gate(level=1.0)
            return SEDM(lambda task, lesson, seed: float(bool(lesson)), gate=free, alpha=0, beta=0, demotion=1, floor=0)
        if self.method == "sedm, unpaired":
            return SEDM(None)
        return SEDM(self.replay, gate=Gate(level=1.0) if "bare" in self.method else None)

    def live(self) -> dict[str, Any]:
        """Every run's success by day, tokens, and what became of the lesson that turned."""
        now, wins, tokens = [START], list[float](), 0
        fate: list[dict[str, float]] = []
        uses = [0] * self.days  # of the lesson that turned, since it did
        with Memory(
            ":memory:", embedder=self.embedder, system=self.system(), clock=lambda: now[0], durable=False
        ) as memory:
            for day in range(self.days):
                self.day = day
                for n in range(self.runs):
                    task = self.tasks[(day * self.runs + n) % len(self.tasks)]
                    shown = self.shown(memory, task)
                    uses[day] += bool(shown and shown[1] == self.turned)
                    reward = float(self.rng.random() < self.chance(task, shown[1] if shown else None))
                    wins.append(reward)
                    tokens += 300 + (COST if shown else 0)
                    taught = self.rng.choice([lesson for lesson, (about, _) in self.lessons.items() if about == task])
                    now[0] += timedelta(minutes=1)
                    attrs = {"task": task, "reward": reward, "tokens": 300, "memories": [shown[0]] if shown else []}
                    text = f"Run {n} of day {day}. Lesson: {taught}"
                    memory.add(text, at=now[0], origin=f"{day}/{n}", attrs=attrs, **USER)
                now[0] += timedelta(hours=10)
                if self.method != "no memory":
                    memory.sleep(**USER)
                held = [e for e in memory.list(kinds=["note"], limit=None, **USER) if e.attrs.get("by") == "sedm"]
                fate.append({e.text: float(e.attrs["weight"]) for e in held})
                if day == self.days // 2 - 1:
                    often = {e.text: e.attrs["tally"]["uses"] for e in held if self.lessons[e.text][1] == "useful"}
                    self.turned = max(sorted(often), key=often.__getitem__, default="")
            kinds = [self.lessons[e.text][1] for e in held]
        return {
            "success": float(np.mean(wins)),
            "tokens a run": tokens / (self.days * self.runs),
            "held": {kind: kinds.count(kind) for kind in CHANCE},
            "trials": self.trials,
            "turned": [round(weights.get(self.turned, 0.0), 4) for weights in fate],
            "harmful uses": uses[self.days // 2 :],
        }

    def shown(self, memory: Memory, task: str) -> tuple[str, str] | None:
        """The lesson that the agent is shown for a task: the best that search finds, if it is a measured one."""
        if self.method == "no memory":
            return None
        hits = memory.search(task, top_k=1, kinds=["note"], note_use=False, **USER)
        return (hits[0].id, hits[0].text) if len(hits) else None


def measure(seeds: int, quick: bool) -> dict[str, Any]:
    """The gate alone, and the lives."""
    many = 20 if quick else 400
    gate = {
        rule: {str(sharing): [admitted(level, sharing, seed, many) for seed in range(seeds)] for sharing in SHARINGS}
        for rule, level in RULES.items()
    }
    tasks, days, runs = (3, 4, 6) if quick else (TASKS, DAYS, RUNS)
    embedder = FakeEmbedder() if quick else CachedEmbedder(resolve_embedder("minilm"))
    lives = {m: [Life(seed, m, tasks, days, runs, embedder).live() for seed in range(seeds)] for m in METHODS}
    return {"gate": gate, "lives": lives}


def judge(found: dict[str, Any], seeds: int) -> dict[str, Any]:
    """The verdict on the default gate with half of the luck shared, and on the lives."""
    default = found["gate"][DEFAULT]
    said = []
    for sharing in SHARINGS:
        rows = default[str(sharing)]
        said.append(f"sharing {sharing:g}: " + ", ".join(f"{k} {span([r[k] for r in rows])}" for k in CHANCE))
    useful = [row["useful"] for row in default["0.5"]]
    harmful = [row["harmful"] for row in default["0.5"]]
    lives = found["lives"]
    gains = [a["success"] - b["success"] for a, b in zip(lives["sedm"], lives["admit all"], strict=True)]
    demoted = [nights_until_unused(life["harmful uses"]) for life in lives["sedm"]]
    holds = min(useful) >= 0.8 and max(harmful) <= 0.1 and min(gains) > 0 and all(demoted)
    success = ", ".join(f"{m} {span([life['success'] for life in rows])}" for m, rows in lives.items())
    days = [day for day in demoted if day]
    return {
        "verdict": "holds" if holds else "does not hold",
        "summary": (
            f"admitted of 8 pairs, {'; '.join(said)}; success in {len(lives['sedm'][0]['turned'])} days: {success}; a "
            f"lesson that turned bad is no longer shown in {len(days)} of {seeds} lives, after "
            f"{np.mean(days) if days else float('nan'):.1f} nights ({seeds} seeds)"
        ),
    }


def nights_until_unused(uses: list[int]) -> int:
    """Days with a use after it turned, up to the last; 0 if it is still shown in the last quarter of those days."""
    last = max((day for day, n in enumerate(uses) if n), default=-1)
    return 0 if last >= 0.75 * len(uses) else last + 1


def span(values: list[float]) -> str:
    """Mean, lowest and highest over the seeds."""
    return f"{np.mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def draw(found: dict[str, Any], path: Path) -> None:
    """What the gates admit, success by method, and the weight of the lesson that turned."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 2.8))
    for place, rows in enumerate(found["gate"].values()):
        for n, kind in enumerate(CHANCE):
            values = [row[kind] for row in rows["0.5"]]
            label = kind if place == 0 else None
            left.bar(place + 0.25 * n, np.mean(values), 0.22, color=f"C{n}", label=label)
    left.set_xticks([0.25, 1.25, 2.25], list(found["gate"]), fontsize=7)
    left.set_title("admitted on 8 pairs, half of the luck shared", fontsize=9)
    left.legend(fontsize=7, frameon=False)
    for n, rows in enumerate(found["lives"].values()):
        values = [life["success"] for life in rows]
        error = [[np.mean(values) - min(values)], [max(values) - np.mean(values)]]
        middle.barh(n, np.mean(values), xerr=error, color=f"C{n}")
    middle.set_yticks(range(len(found["lives"])), list(found["lives"]), fontsize=7)
    middle.set_title("success of all runs", fontsize=9)
    for life in found["lives"]["sedm"]:
        right.plot(life["turned"], color="C2", linewidth=1)
    for life in found["lives"]["admit all"]:
        right.plot(life["turned"], color="C1", linewidth=1, linestyle=":")
    right.axvline(len(found["lives"]["sedm"][0]["turned"]) / 2, color="grey", linewidth=0.8)
    right.set_title("weight of what turns bad (dotted: admit all)", fontsize=8)
    right.set_xlabel("night", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5).parse_args()
    seeds = 1 if args.quick else args.seeds
    found = measure(seeds, args.quick)
    verdict = judge(found, seeds)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": list(range(seeds)), **found,
            "parameters": {"chances": {"without": BASE, **CHANCE}, "pairs": PAIRS, "tasks": TASKS, "days": DAYS,
                           "runs a day": RUNS},
        }  # fmt: skip
        write(__file__, "sedm", CLAIM, verdict, whole, lambda path: draw(found, path))


if __name__ == "__main__":
    main()
