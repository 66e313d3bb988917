"""All methods of the weights form on the same streams with the same budget, what a task costs, and Avalanche."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from slowwave.bench.arms import short, told, torch_version
from slowwave.bench.base import Benchmark, Progress, Result
from slowwave.bench.continual_peer import beside, flatness
from slowwave.bench.partial import Partial
from slowwave.errors import InputError

COLUMNS = {  # what is measured -> heading; all of it is shown
    "accuracy": "accuracy", "plasticity": "plasticity", "forgetting": "forgetting", "backward transfer": "backward",
    "forward transfer": "forward", "min-ACC": "min-ACC", "WC-ACC": "WC-ACC", "stability gap": "gap",
    "steps to recover": "recovery", "seconds": "seconds", "bytes": "bytes",
}  # fmt: skip
LANGUAGE = ("sa-proj", "gate-and-up", "sparse-memory-finetuning")  # rows that language models alone have
PARTS = ("methods", "language", "cost")
ASSOCIATIONS = "associations, language model"
LEG = ("command", "date", "seconds", "seeds", "note")  # what a result says of itself once another goes on from it
LR, EPOCHS = 2e-3, 8
SHARED = (
    f"Adam {LR:g}, batches of 32, {EPOCHS} epochs, perceptron 64-128-128-10, memories of 200 examples where there are "
    "any; 1,347 digits, 600 garments"
)


class Continual(Benchmark):
    """All methods of memory in weights on the same streams, what each of many tasks costs, and Avalanche beside them.

    Permuted digits, pairs of digits by class and by task, pairs of garments by domain, associations for a language
    model. A run with `out` that is broken off goes on where it was.

    seeds      how many of them; `seed` is the first
    tasks      of the cost curve
    only       these rows alone; empty takes all
    parts      of "methods", "language" and "cost"
    extend     keep what the result in `out` has and measure what it lacks: more seeds, other parts. Processor times of
               the cost curve are measured in one go, so they are kept if they are whole
    avalanche  a Python that has avalanche-lib 0.6.0: naive, replay, EWC, GEM and LwF run there too, on the same streams
               and from the same weights, in turn with ours
    """

    name = "continual"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        seeds: int = 5,
        tasks: int = 100,
        only: tuple[str, ...] = (),
        parts: tuple[str, ...] = PARTS,
        avalanche: str | Path | None = None,
        extend: bool = False,
    ) -> None:
        super().__init__(quick, seed, out)
        if unknown := set(parts) - set(PARTS):
            raise InputError(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        self.seeds, self.tasks, self.parts = seeds, tasks, tuple(parts)
        self.only: tuple[str, ...] = ()
        known = {*self._rows("domain, task"), *LANGUAGE}
        if lacking := set(only) - known:
            raise InputError(f"no row {', '.join(sorted(lacking))}; there are {', '.join(sorted(known))}")
        self.only = tuple(only)
        self.avalanche = None if avalanche is None else Path(avalanche)
        if extend and self.out is None:
            raise InputError("extend goes on from a result; name it by `out`")
        self.extend = extend

    def command(self) -> str:
        """The command line that makes all of it at once."""
        return super().command().replace(" --extend", "")

    def measure(self, progress: Progress) -> Result:
        from slowwave.weights.data import digits, fashion_mnist, glyphs
        from slowwave.weights.stream import permuted, split

        data = glyphs(train=60, test=40) if self.quick else digits()
        garments = data if self.quick else fashion_mnist().pooled(8)
        seeds = 1 if self.quick else self.seeds
        streams: dict[str, Callable[[int], Any]] = {
            "permuted digits, domain-incremental": lambda seed: permuted(
                data, 2 if self.quick else 3, self.seed + seed
            ),
            "pairs of digits, class-incremental": lambda seed: split(data, 2, "class"),
            "pairs of digits, task-incremental": lambda seed: split(data, 2, "task"),
            "pairs of garments, domain-incremental": lambda seed: split(garments, 2, "domain"),
        }
        settings = {"seed": self.seed, "tasks": self.tasks, "quick": self.quick}
        parts = Partial(None if self.quick else self.out, settings)
        earlier = self._earlier(data.name)
        for key, value in lives(earlier).items():
            parts.know(key, value)
        found: dict[str, Any] = {}
        total = len(streams) + 3
        if "methods" in self.parts:
            for place, (name, stream) in enumerate(streams.items()):
                progress(name, place, total)
                arms = {key: partial(self._learner, make=make) for key, make in self._rows(name).items()}
                found[name] = self._lived(name, arms, stream, seeds, parts)
        if "language" in self.parts:
            progress("associations", total - 3, total)
            found[ASSOCIATIONS] = self._language(seeds, parts)
        out: Result = {"data": data.name, "settings": SHARED, "seeds": [self.seed + n for n in range(seeds)]}
        kept = earlier.get("streams", {})
        streams_ = {name: kept.get(name, {}) | found.get(name, {}) for name in (*kept, *found)}
        out |= {"streams": streams_, "torch": torch_version()["torch"], "cost": earlier.get("cost", {})}
        if "cost" in self.parts and not set(self._rows("domain")) - {"joint"} <= set(out["cost"]):
            progress("cost", total - 2, total)
            out["cost"] = out["cost"] | self._cost(parts)
        if earlier:
            out["legs"] = [*earlier.get("legs", []), {key: earlier[key] for key in LEG if key in earlier}]
        if self.avalanche is None and "avalanche" in earlier:
            out["avalanche"] = earlier["avalanche"]
        if self.avalanche is not None:
            short = {name: streams[name] for name in list(streams)[:2]}
            out["avalanche"] = beside(self.avalanche, short, self._long(), seeds, self.quick, progress, parts.get)
        progress("done", total, total)
        parts.finish()
        return out

    def _earlier(self, data: str) -> Result:
        """The result that is gone on from; {} where there is none.

        raises  InputError where it was measured with other settings
        """
        if not self.extend or self.out is None or not self.out.is_file():
            return {}
        found: Result = json.loads(self.out.read_text(encoding="utf-8"))
        mine: dict[str, Any] = {"settings": SHARED, "data": data, "torch": torch_version()["torch"]}
        mine |= {"seed": self.seed, "tasks": self.tasks, "quick": self.quick}
        theirs = {key: found.get(key) for key in ("settings", "data", "torch")} | found.get("parameters", {})
        for key, value in mine.items():
            if theirs.get(key) != value:
                raise InputError(
                    f"the result in {self.out} has {key} {theirs.get(key)!r} and this run {value!r}; measure it anew, "
                    "without extend, or give another `out`"
                )
        if len(found["seeds"]) > self.seeds:
            raise InputError(f"the result in {self.out} has {len(found['seeds'])} seeds; give as many, or more")
        return found

    def _lived(
        self, stream: str, arms: dict[str, Any], make: Callable[[int], Any], seeds: int, parts: Partial
    ) -> dict[str, Any]:
        """Arm by arm, seed by seed."""
        rows: dict[str, dict[str, list[float]]] = {}
        for seed in range(seeds):
            given = make(seed)
            for name, arm in arms.items():
                summary = parts.get(f"{stream}/{name}/{seed}", partial(summed, arm, seed, given))
                for key, value in summary.items():
                    rows.setdefault(name, {}).setdefault(key, []).append(value)
        return {name: {key: told(values) for key, values in row.items()} for name, row in rows.items()}

    def _rows(self, stream: str) -> dict[str, Callable[[], list[Any]]]:
        """Row -> its methods. Settings stand here, once, the same for every stream."""
        from slowwave.weights import METHODS as M

        memory = 20 if self.quick else 200
        each = memory // 5
        rows: dict[str, Callable[[], list[Any]]] = {
            "naive": lambda: [M["naive"]()],
            "replay": lambda: [_made("replay", capacity=memory)],
            "replay, at night by task": lambda: [
                _made("replay", capacity=memory, policy="by-task", when="sleep")
            ],
            "ewc": lambda: [_made("ewc", strength=30.0)],
            "ewc, online": lambda: [_made("ewc", strength=30.0, variant="online")],
            "lwf": lambda: [M["lwf"]()],
            "replay + ewc": lambda: [_made("replay", capacity=memory), _made("ewc", strength=30.0)],
            "gem": lambda: [_made("gem", memories=each)],
            "a-gem": lambda: [_made("gem", variant="a-gem", memories=each, many=32)],
            "pca-ogd": lambda: [_made("pca-ogd", keep=40, samples=200, capacity=200)],
            "remind": lambda: [_made("remind", books=16, words=64, capacity=memory, many=1)],
            "refresh": lambda: [_made("refresh", capacity=memory)],
            "rer": lambda: [_made("rer", capacity=memory)],
            "replay + view-batch": lambda: [_made("replay", capacity=memory), _made("view-batch", views=4)],
            "elephant": lambda: [M["elephant"]()],
            "factorize-centralize": lambda: [M["factorize-centralize"]()],
            "slm-mitigation": lambda: [_made("slm-mitigation", capacity=memory)],
            "spurious-forgetting": lambda: [_made("spurious-forgetting", layers=1)],
            "joint": lambda: [M["joint"]()],
        }
        if "domain" in stream:
            rows["center-loss"] = lambda: [M["center-loss"]()]
        if "task" in stream or "domain" in stream:
            rows["hypernetworks (task known)"] = lambda: [M["hypernetworks"]()]
        return {name: rows[name] for name in rows if not self.only or name in self.only}

    def _learner(self, seed: int, make: Callable[[], list[Any]], epochs: int = EPOCHS, every: int = 25) -> Any:
        from slowwave.weights import Classifier, Learner
        from slowwave.weights.hypernetworks import HyperNetwork

        methods = make()
        epochs = 1 if self.quick else epochs
        seed += self.seed
        model: Any = Classifier(64, (128, 128), 10, seed=seed)
        if any(method.name == "hypernetworks" for method in methods):
            model = HyperNetwork(64, (64, 32), 10, tasks=max(10, self.tasks), seed=seed)
        return Learner(model, methods, optimiser="adam", lr=LR, epochs=epochs, evaluate_every=every, seed=seed)

    def _language(self, seeds: int, parts: Partial) -> dict[str, Any]:
        """Pairs of tokens, each with a third to be named, a few new ones a day; a block of a language model."""
        from slowwave.checks.methods import facts, tiny_language_model
        from slowwave.weights import METHODS as M
        from slowwave.weights import Learner

        rows: dict[str, Callable[[], list[Any]]] = {
            "naive": lambda: [M["naive"]()],
            "replay": lambda: [_made("replay", capacity=30)],
            "ewc": lambda: [_made("ewc", strength=30.0)],
            "factorize-centralize": lambda: [_made("factorize-centralize", rank=4)],
            "sa-proj": lambda: [M["sa-proj"]()],
            "gate-and-up": lambda: [_made("sa-proj", part="gate-and-up")],
            "spurious-forgetting": lambda: [_made("spurious-forgetting", layers=1)],
            "sparse-memory-finetuning": lambda: [_made("sparse-memory-finetuning", slots=1024, top=8, train=32)],
            "slm-mitigation": lambda: [_made("slm-mitigation", capacity=30)],
            "joint": lambda: [M["joint"]()],
        }
        epochs = 2 if self.quick else 40

        def learner(seed: int, make: Callable[[], list[Any]]) -> Any:
            model = tiny_language_model(self.seed + seed)
            return Learner(model, make(), optimiser="adam", lr=0.01, batch=6, epochs=epochs, seed=self.seed + seed)

        kept = {name: partial(learner, make=make) for name, make in rows.items() if not self.only or name in self.only}
        return self._lived(ASSOCIATIONS, kept, lambda seed: facts(2 if self.quick else 5, 12), seeds, parts)

    def _long(self) -> Any:
        """Many small tasks, with one test set, so that evaluation does not grow."""
        from slowwave.weights.data import glyphs
        from slowwave.weights.stream import permuted

        data = glyphs(train=32 if self.quick else 128, test=20)
        stream = permuted(data, 3 if self.quick else self.tasks, self.seed)
        return replace(stream, experiences=tuple(replace(e, test=0) for e in stream), tests=stream.tests[:1])

    def _cost(self, parts: Partial) -> dict[str, Any]:
        """Milliseconds of processor time and bytes of each of many tasks, evaluation aside."""
        stream = self._long()
        ten = max(1, len(stream) // 10)

        def measured(make: Callable[[], list[Any]]) -> dict[str, Any]:
            record = self._learner(0, make, epochs=2, every=0).learn(stream)
            return flatness(record.cpu_seconds) | {
                "bytes, early": record.bytes[ten - 1],
                "bytes, late": record.bytes[-1],
            }

        rows = {name: make for name, make in self._rows("domain").items() if name != "joint"}
        return {name: parts.get(f"cost/{name}", partial(measured, make)) for name, make in rows.items()}

    def render(self, result: Result) -> str:
        lines = [
            f"{result['settings']}; {len(result['seeds'])} seeds; mean and half of the 95 % interval",
            "backward and forward: transfer; gap: the stability gap, recovery: steps until it has halved; seconds of "
            "processor time of a whole stream's training; bytes held beside the model",
        ]
        for name, rows in result["streams"].items():
            many = len(next(iter(rows.values()))["accuracy"]["each"])
            said = "" if many == len(result["seeds"]) else f", {many} seeds"
            lines += ["", name + said, compact(rows)]
        tasks = result["parameters"]["tasks"]
        lines += ["", f"milliseconds a task, early and late of {tasks}; bytes held early and late"]
        width = max(map(len, result["cost"]), default=0)
        for name, row in result["cost"].items():
            lines.append(
                f"{name:<{width}}  {row['ms a task, early']:>8.1f}  {row['ms a task, late']:>8.1f}  "
                f"x{row['late / early']:.2f}  {row['bytes, early']:>12,}  {row['bytes, late']:>12,}"
            )
        if "avalanche" in result:
            lines += ["", *beside_as_text(result["avalanche"])]
        return "\n".join(lines)


def compact(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """All that was measured of every row, as lines of text.

    >>> print(compact({"naive": {"accuracy": told([0.5, 0.7, 0.6]), "bytes": told([56000.0])}}))
           accuracy   bytes
    naive  .600±.248  56,000
    """
    columns = [column for column in COLUMNS if any(column in row for row in rows.values())]
    cells = [["", *(COLUMNS[column] for column in columns)]]
    cells += [[name, *(cell(column, row.get(column)) for column in columns)] for name, row in rows.items()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def cell(column: str, value: Mapping[str, Any] | None) -> str:
    """A mean with half its interval, without zeros before the point."""
    if value is None:
        return "-"
    if column == "bytes":
        return f"{value['mean']:,.0f}"
    digits = {"steps to recover": 0, "seconds": 2}.get(column, 3)
    half = "" if value["low"] is None else f"±{value['mean'] - value['low']:.{digits}f}"
    return re.sub(r"(?<!\d)0\.", ".", f"{value['mean']:.{digits}f}{half}")


def lives(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The lives that a result tells of, by the keys that they have while a run is under way."""
    return {
        f"{stream}/{name}/{place}": {metric: told["each"][place] for metric, told in row.items()}
        for stream, rows in result.get("streams", {}).items()
        for name, row in rows.items()
        for place in range(min(len(told["each"]) for told in row.values()))
    }


def summed(arm: Callable[[int], Any], seed: int, stream: Any) -> dict[str, float]:
    """One life: all metrics together, and the seconds of training."""
    record = arm(seed).learn(stream)
    found: dict[str, float] = record.summary()
    return found | {"seconds": sum(record.cpu_seconds)}


def beside_as_text(found: Mapping[str, Any]) -> list[str]:
    """Avalanche and this learner, line by line."""
    lines = [
        f"beside Avalanche {found['versions']['avalanche']}, torch {found['versions']['torch']}: {found['settings']}"
    ]
    for name, rows in found["streams"].items():
        lines.append(name)
        for method, row in rows.items():
            ours, theirs, apart, ms, slow, times = (
                short(row[key])
                for key in (
                    "accuracy, slowwave", "accuracy, avalanche", "accuracy, difference", "ms a step, slowwave",
                    "ms a step, avalanche", "times faster",
                )
            )  # fmt: skip
            lines.append(
                f"  {method:<7} accuracy {ours} and {theirs}, {apart} apart; ms a step {ms} and {slow}, {times} times"
            )
    lines.append("milliseconds a task of many, early and late: slowwave; avalanche")
    for method, both in found["cost"].items():
        cells = (
            f"{side['ms a task, early']:>7.1f} {side['ms a task, late']:>7.1f} x{side['late / early']:.2f}"
            for side in (both["slowwave"], both["avalanche"])
        )
        lines.append(f"  {method:<7} " + ";  ".join(cells))
    return lines


def _made(name: str, **given: Any) -> Any:
    """A method with these parameters."""
    from slowwave.weights import METHODS

    kind: Any = METHODS[name]
    return kind(**given)
