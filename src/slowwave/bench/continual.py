"""All methods of the weights form on the same streams with the same budget, and what a task costs after a hundred."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.bench.arms import live, table, torch_version
from slowwave.bench.base import Benchmark, Progress, Result

COLUMNS = ("accuracy", "forgetting", "plasticity", "WC-ACC", "stability gap")
SHARED = "Adam 1e-3, batches of 32, 8 epochs, perceptron 64-128-128-10, memories of 200 examples where there are any"


class Continual(Benchmark):
    """Methods against each other: permuted digits, pairs of digits by class and by task, associations for a language
    model, and the cost of each of a hundred tasks.

    seeds  how many of them; `seed` is the first
    tasks  of the cost curve
    only   these rows alone; empty takes all
    """

    name = "continual"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        seeds: int = 3,
        tasks: int = 100,
        only: tuple[str, ...] = (),
    ) -> None:
        super().__init__(quick, seed, out)
        self.seeds, self.tasks, self.only = seeds, tasks, only

    def measure(self, progress: Progress) -> Result:
        from slowwave.weights.data import digits, glyphs
        from slowwave.weights.stream import permuted, split

        data = glyphs(train=60, test=40) if self.quick else digits(train=600, test=300)
        seeds = 1 if self.quick else self.seeds
        epochs = 1 if self.quick else 8
        found: dict[str, Any] = {}
        streams: dict[str, Callable[[int], Any]] = {
            "permuted, domain-incremental": lambda seed: permuted(data, 2 if self.quick else 5, self.seed + seed),
            "pairs, class-incremental": lambda seed: split(data, 2, "class"),
            "pairs, task-incremental": lambda seed: split(data, 2, "task"),
        }
        total = len(streams) + 2
        for place, (name, stream) in enumerate(streams.items()):
            progress(name, place, total)
            arms = {key: partial(self._learner, make=make, epochs=epochs) for key, make in self._rows(name).items()}
            found[name] = live(arms, stream, seeds)
        progress("associations", total - 2, total)
        found["associations, language model"] = self._language(seeds)
        progress("cost", total - 1, total)
        cost = self._cost()
        progress("cost", total, total)
        return {
            "data": data.name, "settings": SHARED, "seeds": [self.seed + n for n in range(seeds)], "streams": found,
            "cost": cost, "torch": torch_version()["torch"],
        }  # fmt: skip

    def _rows(self, stream: str) -> dict[str, Callable[[], list[Any]]]:
        """Row -> its methods. Settings stand here, once, the same for every stream."""
        from slowwave.weights import METHODS as M

        memory = 20 if self.quick else 200
        each = memory // 5
        rows: dict[str, Callable[[], list[Any]]] = {
            "naive": lambda: [M["naive"]()],
            "replay": lambda: [_made("replay", capacity=memory)],
            "ewc": lambda: [_made("ewc", strength=30.0)],
            "ewc, online": lambda: [_made("ewc", strength=30.0, variant="online")],
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

    def _learner(self, seed: int, make: Callable[[], list[Any]], epochs: int, every: int = 20) -> Any:
        from slowwave.weights import Classifier, Learner
        from slowwave.weights.hypernetworks import HyperNetwork

        methods = make()
        seed += self.seed
        model: Any = Classifier(64, (128, 128), 10, seed=seed)
        if any(method.name == "hypernetworks" for method in methods):
            model = HyperNetwork(64, (64, 32), 10, tasks=max(10, self.tasks), seed=seed)
        return Learner(model, methods, optimiser="adam", lr=1e-3, epochs=epochs, evaluate_every=every, seed=seed)

    def _language(self, seeds: int) -> dict[str, Any]:
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
        epochs = 2 if self.quick else 60

        def learner(seed: int, make: Callable[[], list[Any]]) -> Any:
            model = tiny_language_model(self.seed + seed)
            return Learner(model, make(), optimiser="adam", lr=0.01, batch=6, epochs=epochs, seed=self.seed + seed)

        kept = {name: partial(learner, make=make) for name, make in rows.items() if not self.only or name in self.only}
        return live(kept, lambda seed: facts(2 if self.quick else 5, 12), seeds)

    def _cost(self) -> dict[str, Any]:
        """Seconds and bytes of each of many tasks, evaluation aside."""
        from dataclasses import replace

        from slowwave.weights.data import glyphs
        from slowwave.weights.stream import permuted

        data, tasks = glyphs(train=32 if self.quick else 128, test=20), 3 if self.quick else self.tasks
        stream = permuted(data, tasks, self.seed)
        stream = replace(stream, experiences=tuple(replace(e, test=0) for e in stream), tests=stream.tests[:1])
        out: dict[str, Any] = {}
        ten = max(1, tasks // 10)
        for name, make in self._rows("domain").items():
            if name == "joint":
                continue
            record = self._learner(0, make, 2, every=0).learn(stream)
            first, last = (float(np.median(record.seconds[part])) for part in (slice(1, 1 + ten), slice(-ten, None)))
            parts = np.array_split(record.seconds, min(10, tasks))
            out[name] = {
                "ms a task, early": round(1000 * first, 1), "ms a task, late": round(1000 * last, 1),
                "late / early": round(last / first, 2), "bytes, early": record.bytes[ten - 1],
                "bytes, late": record.bytes[-1],
                "curve, ms": [round(1000 * float(np.median(part)), 1) for part in parts],
            }  # fmt: skip
        return out

    def render(self, result: Result) -> str:
        lines = [f"{result['settings']}; {len(result['seeds'])} seeds; mean [95 % interval]"]
        for name, rows in result["streams"].items():
            lines += ["", name, table(rows, COLUMNS if "language" not in name else COLUMNS[:3])]
        tasks = result["parameters"]["tasks"]
        lines += ["", f"milliseconds a task, early and late of {tasks}; bytes held early and late"]
        width = max(map(len, result["cost"]), default=0)
        for name, row in result["cost"].items():
            lines.append(
                f"{name:<{width}}  {row['ms a task, early']:>8.1f}  {row['ms a task, late']:>8.1f}  "
                f"x{row['late / early']:.2f}  {row['bytes, early']:>12,}  {row['bytes, late']:>12,}"
            )
        return "\n".join(lines)


def _made(name: str, **given: Any) -> Any:
    """A method with these parameters."""
    from slowwave.weights import METHODS

    kind: Any = METHODS[name]
    return kind(**given)
