"""Avalanche beside this learner: the same streams, first weights and order of examples, in turn within one run."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slowwave.bench.arms import paired, told
from slowwave.errors import InputError, SlowwaveError

if TYPE_CHECKING:
    from slowwave.weights.stream import Stream

Orders = list[list[list[int]]]
SCRIPT = Path(__file__).with_name("peers") / "avalanche_peer.py"
WIDTHS = [64, 128, 128, 10]
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
LR, BATCH, EPOCHS = 0.1, 32, 8


class AvalancheError(SlowwaveError):
    """Avalanche did not run."""


class Avalanche:
    """Its process, started once; a run is a line in and a line out.

    python  a Python that has avalanche-lib 0.6.0 and the same torch; see docs/benchmarks.md
    """

    def __init__(self, python: Path) -> None:
        if not python.is_file():
            raise InputError(f"no Python at {python}; give the one of an environment that has avalanche-lib 0.6.0")
        # a file, since a pipe that nobody reads would fill
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(python), str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True
        )
        self.versions: dict[str, str] = self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self.close()
            raise AvalancheError(f"Avalanche stopped: {said[-1] if said else 'it said nothing'}")
        return json.loads(line)

    def run(self, given: Mapping[str, Any]) -> Any:
        """What came of one life: `matrix` and `seconds`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dict(given)) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> list[str]:
        """End it; returns the lines that it said beside its answers, [] if it was ended before."""
        if self._said.closed:
            return []
        self._process.communicate(timeout=60)
        self._said.seek(0)
        said = self._said.read().strip().splitlines()
        self._said.close()
        return said


def rows(memory: int, strength: float) -> dict[str, tuple[Callable[[], Any], dict[str, Any]]]:
    """Method -> (ours, the settings of theirs). Their EWC squares the gradient of a batch and has no half, so that its
    lambda is half a batch times ours where it is as stiff. Their replay fills its memory after a task, gives tasks
    equal shares, and draws a whole batch of it even beside the short last one of new examples; ours does the same here.
    Their GEM lifts all tasks once one is hurt, and so does ours here.
    Our springs pull implicitly: stiffness adds up over tasks, until springs in the loss diverge under SGD.
    """
    from slowwave.weights.baselines import LwF, Naive, Replay
    from slowwave.weights.ewc import EWC
    from slowwave.weights.gem import GEM

    each = memory // 5
    return {
        "naive": (Naive, {}),
        "replay": (lambda: Replay(memory, BATCH, "by-task", "sleep"), {"mem_size": memory}),
        "ewc": (lambda: EWC(strength=strength, implicit=True), {"ewc_lambda": strength * BATCH / 2}),
        "gem": (lambda: GEM(memories=each, lifts="all"), {"patterns_per_exp": each, "memory_strength": 0.5}),
        "lwf": (lambda: LwF(1.0, 2.0), {"alpha": 1.0, "temperature": 2.0}),
    }  # fmt: skip


def ours(stream: Stream, method: Any, seed: int, epochs: int, orders: Orders | None = None) -> dict[str, Any]:
    """One life of this learner.

    orders  task by task and epoch by epoch, in which the examples come; None draws them
    """
    from slowwave.weights import Classifier, Learner

    model = Classifier(WIDTHS[0], WIDTHS[1:-1], WIDTHS[-1], seed=seed)
    methods = [method] if orders is None else [method, _given(orders)]
    record = Learner(model, methods, lr=LR, batch=BATCH, epochs=epochs, seed=seed).learn(stream)
    return {"matrix": record.matrix, "seconds": record.cpu_seconds}


def _given(orders: Orders) -> Any:
    """Does nothing but bring examples in these orders."""
    from slowwave.weights.base import Method

    class Given(Method):
        name = "given"

        def order(self, learner: Any, many: int, epoch: int, rng: np.random.Generator) -> Any:
            order = np.asarray(orders[learner.period][epoch], np.int64)
            return order, np.zeros(many, np.int64)

    return Given()


def theirs(
    peer: Avalanche, stream: Stream, method: str, settings: Mapping[str, Any], seed: int, epochs: int,
    watch: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """One life of Avalanche, on the same examples and from the same weights.

    watch  also note the `orders` in which it took the examples
    """
    import torch

    from slowwave.weights import Classifier

    with tempfile.TemporaryDirectory(prefix="slowwave-continual-") as folder:
        data, start = Path(folder) / "data.npz", Path(folder) / "start.pt"
        arrays: dict[str, Any] = {}
        for number, experience in enumerate(stream):
            train = experience.load()
            arrays |= {f"x_train_{number}": train.x.flatten(1).numpy(), f"y_train_{number}": train.y.numpy()}
        for number, load in enumerate(stream.tests):
            test = load()
            arrays |= {f"x_test_{number}": test.x.flatten(1).numpy(), f"y_test_{number}": test.y.numpy()}
        np.savez(data, allow_pickle=False, **arrays)
        torch.save(dict(Classifier(WIDTHS[0], WIDTHS[1:-1], WIDTHS[-1], seed=seed).state_dict()), start)
        found: dict[str, Any] = peer.run(
            {
                "data": str(data), "start": str(start), "method": method, "settings": dict(settings), "seed": seed,
                "widths": WIDTHS, "lr": LR, "batch": BATCH, "epochs": epochs,
                "watch": watch,
            }
        )  # fmt: skip
    return found


def ended(life: Callable[[], dict[str, Any]]) -> float:
    """Its accuracy over all tests; 0 where a stiffness made it diverge."""
    from slowwave.weights.learner import DivergedError

    try:
        return float(np.nan_to_num(np.mean(life()["matrix"][-1])))
    except DivergedError:
        return 0.0


def steps(stream: Stream, epochs: int) -> int:
    """Of the optimiser, in a life."""
    return sum(-(-len(experience.load()) // BATCH) * epochs for experience in stream)


def beside(
    python: Path,
    streams: Mapping[str, Callable[[int], Stream]],
    long: Stream,
    seeds: int,
    quick: bool,
    progress: Callable[[str, int, int], None],
    get: Callable[[str, Callable[[], Any]], Any],
) -> dict[str, Any]:
    """Accuracy and processor seconds a step of both on every stream, and what a task costs along a long one.

    long  many tasks, with one test set
    get   (name, measure) keeps what is measured, for a run that is broken off
    """
    peer = Avalanche(python)
    memory, epochs = (20, 1) if quick else (200, EPOCHS)
    found: dict[str, Any] = {
        "versions": peer.versions,
        "settings": f"SGD {LR}, batches of {BATCH}, {epochs} epochs, perceptron {'-'.join(map(str, WIDTHS))}, "
        f"memories of {memory} examples; one thread; ours takes the examples in the order that Avalanche drew; EWC of "
        f"each side at the best of {len(STRENGTHS)} strengths on two seeds of their own; processor seconds of whole "
        "periods, in turn",
        "streams": {},
    }
    try:
        total, done = len(streams) + 1, 0
        for name, make in streams.items():
            progress(f"beside Avalanche: {name}", done, total)
            tuning = (1000,) if quick else (1000, 1001)
            found["streams"][name] = _compared(peer, name, make, seeds, memory, epochs, tuning, get)
            done += 1
        progress("beside Avalanche: cost", done, total)
        found["cost"] = {
            method: get(f"long/{method}", lambda m=method, p=pair: _long(peer, long, m, p))  # type: ignore[misc]
            for method, pair in rows(memory, 3.0).items()
        }
    finally:
        peer.close()
    return found


def _compared(
    peer: Avalanche, name: str, make: Callable[[int], Stream], seeds: int, memory: int, epochs: int,
    tuning: tuple[int, ...], get: Callable[[str, Callable[[], Any]], Any],
) -> dict[str, Any]:  # fmt: skip
    def tuned() -> list[float]:
        scores = []
        for strength in STRENGTHS:
            mine, settings = rows(memory, strength)["ewc"]
            scores.append([0.0, 0.0])
            for seed in tuning:
                stream = make(seed)
                scores[-1][0] += ended(lambda: ours(stream, mine(), seed, epochs))  # noqa: B023
                scores[-1][1] += ended(lambda: theirs(peer, stream, "ewc", settings, seed, epochs))  # noqa: B023
        return [STRENGTHS[int(place)] for place in np.argmax(scores, axis=0)]

    mine_best, their_best = get(f"{name}/strengths", tuned)
    out: dict[str, Any] = {}
    for method in rows(memory, mine_best):
        lives = []
        for seed in range(seeds):
            their = partial(theirs, peer, make(seed), method, rows(memory, their_best)[method][1], seed, epochs)
            seen = get(f"{name}/{method}/{seed}/order", partial(their, watch=True))
            orders = seen.get("orders")

            def both(
                method: str = method, seed: int = seed, their: Callable[[], Any] = their, seen: Any = seen,
                orders: Orders | None = orders,
            ) -> dict[str, Any]:  # fmt: skip
                stream = make(seed)
                mine = ours(stream, rows(memory, mine_best)[method][0](), seed, epochs, orders)
                other = their()
                if other["matrix"] != seen["matrix"]:
                    raise AvalancheError(f"two runs of {method} with seed {seed} differ; its order is not to be had")
                return {
                    "accuracy": [float(np.mean(life["matrix"][-1])) for life in (mine, other)],
                    "seconds": [sum(life["seconds"]) for life in (mine, other)], "same order": orders is not None,
                }  # fmt: skip

            lives.append(get(f"{name}/{method}/{seed}", both))
        many = steps(make(0), epochs)
        scores = [told([pair["accuracy"][side] for pair in lives]) for side in (0, 1)]
        slow = [told([1000 * pair["seconds"][side] / many for pair in lives]) for side in (0, 1)]
        out[method] = {
            "accuracy, slowwave": scores[0], "accuracy, avalanche": scores[1],
            "accuracy, difference": paired(scores[0], scores[1]),
            "same order": all(pair["same order"] for pair in lives),
            "ms a step, slowwave": slow[0], "ms a step, avalanche": slow[1],
            "times faster": told([b / a for a, b in zip(slow[0]["each"], slow[1]["each"], strict=True)]),
        }  # fmt: skip
        if method == "ewc":
            out[method] |= {"strength, slowwave": mine_best, "strength, avalanche": their_best}
    return out


def _long(peer: Avalanche, stream: Stream, method: str, pair: tuple[Callable[[], Any], dict[str, Any]]) -> Any:
    both = {
        "slowwave": ours(stream, pair[0](), 0, 2)["seconds"],
        "avalanche": theirs(peer, stream, method, pair[1], 0, 2)["seconds"],
    }
    return {side: flatness(seconds) for side, seconds in both.items()}


def flatness(seconds: list[float]) -> dict[str, Any]:
    """Milliseconds a task: the first tenth (its first task left out) against the last, and a curve of ten points."""
    tenth = max(1, len(seconds) // 10)
    parts = np.array_split(seconds, min(10, len(seconds)))
    first, last = (1000 * float(np.median(seconds[part])) for part in (slice(1, 1 + tenth), slice(-tenth, None)))
    return {
        "ms a task, early": round(first, 2), "ms a task, late": round(last, 2), "late / early": round(last / first, 2),
        "curve, ms": [round(1000 * float(np.median(part)), 2) for part in parts],
    }  # fmt: skip
