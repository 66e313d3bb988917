"""Avalanche on streams that are handed in, in an environment of its own; run by `bench continual`.

Each line of standard input is one run: JSON with `data` (an .npz of tasks), `start` (the model's first weights),
`method` and its settings. Each line of output is what came of it. Nothing of its trainer is changed; its evaluator and
loggers are off, and accuracies are taken here, outside the seconds told. With `watch`, a plugin notes which examples
each step was given, and the orders come with the answer; such a run is not for its seconds.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any


def operators_of_torchvision() -> None:
    """Declare the operators that a torchvision built for CUDA brings in a library which does not load beside a torch
    without: its import names them, and nothing here calls them.
    """
    from torch import library

    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        return
    text = (Path(spec.submodule_search_locations[0]) / "_meta_registrations.py").read_text(encoding="utf-8")
    declared: Any = library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in sorted(set(re.findall(r'register_(?:fake|meta)\("(?:torchvision::)?(\w+)"', text))):
        with contextlib.suppress(RuntimeError):  # the library did load, and has it
            declared.define(f"{name}(Tensor x) -> Tensor")
    globals()["_declared"] = declared  # what is declared goes when this does


def network(widths: list[int], start: dict[str, Any]) -> Any:
    """The perceptron, with the weights that both sides start from."""
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for here, there in pairwise(widths):
        layers += [nn.Linear(here, there), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), start.values(), strict=True):
            parameter.copy_(value)
    return model


def strategy(given: dict[str, Any], model: Any) -> Any:
    """One of Avalanche's methods, as it comes."""
    import torch
    from avalanche.training import supervised  # type: ignore[import-not-found, unused-ignore]
    from avalanche.training.plugins import EvaluationPlugin  # type: ignore[import-not-found, unused-ignore]

    kinds = {"naive": "Naive", "replay": "Replay", "ewc": "EWC", "gem": "GEM", "lwf": "LwF"}
    optimiser = torch.optim.SGD(model.parameters(), lr=given["lr"])
    return getattr(supervised, kinds[given["method"]])(
        model=model, optimizer=optimiser, criterion=torch.nn.CrossEntropyLoss(), train_mb_size=given["batch"],
        train_epochs=given["epochs"], evaluator=EvaluationPlugin(), **given["settings"],
    )  # fmt: skip


def watcher() -> Any:
    """A plugin that keeps what each step was given."""
    from avalanche.training.plugins import SupervisedPlugin  # type: ignore[import-not-found, unused-ignore]

    class Watcher(SupervisedPlugin):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.batches: list[tuple[Any, Any]] = []

        def after_training_iteration(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
            self.batches.append((strategy.mb_x.clone(), strategy.mb_y.clone()))

    return Watcher()


def orders(batches: list[tuple[Any, Any]], x: Any, y: Any) -> list[list[int]] | None:
    """For each epoch, in which order the examples of a task came; what is of no example of its own (replayed) is passed
    over. None where an epoch was something else than all of them once.
    """
    places: dict[bytes, list[int]] = {}
    for place, (row, label) in enumerate(zip(x.numpy(), y.tolist(), strict=True)):
        places.setdefault(row.tobytes() + bytes([label]), []).append(place)
    came: list[int] = []
    turn: dict[bytes, int] = {}  # equal examples take turns
    for xs, ys in batches:
        for row, label in zip(xs.numpy(), ys.tolist(), strict=True):
            key = row.tobytes() + bytes([label])
            if key in places:
                came.append(places[key][turn.get(key, 0) % len(places[key])])
                turn[key] = turn.get(key, 0) + 1
    epochs = [came[start : start + len(x)] for start in range(0, len(came), len(x))]
    return epochs if all(sorted(epoch) == list(range(len(x))) for epoch in epochs) else None


def run(given: dict[str, Any]) -> dict[str, Any]:
    """Live through the tasks; accuracies on all tests so far after each, processor seconds of each."""
    import numpy as np
    import torch
    from avalanche.benchmarks import benchmark_from_datasets  # type: ignore[import-not-found, unused-ignore]
    from avalanche.benchmarks.utils import (  # type: ignore[import-not-found, unused-ignore]
        _make_taskaware_tensor_classification_dataset as dataset,
    )

    torch.manual_seed(given["seed"])
    with np.load(given["data"]) as held:
        data = {key: torch.from_numpy(value) for key, value in held.items()}
    tasks = sum(key.startswith("x_train_") for key in data)
    train = [dataset(data[f"x_train_{n}"], data[f"y_train_{n}"], task_labels=0, targets=1) for n in range(tasks)]
    tests = [n for n in range(tasks) if f"x_test_{n}" in data]
    model = network(given["widths"], torch.load(given["start"], weights_only=True))
    learner = strategy(given, model)
    watching = watcher() if given.get("watch") else None
    if watching is not None:
        learner.plugins.append(watching)
    matrix, seconds, came = [], [], []
    for number, experience in enumerate(benchmark_from_datasets(train=train).train_stream):
        begun = time.process_time()
        learner.train(experience, num_workers=0)
        seconds.append(time.process_time() - begun)
        if watching is not None:
            came.append(orders(watching.batches, data[f"x_train_{number}"], data[f"y_train_{number}"]))
            watching.batches.clear()
        model.eval()
        with torch.no_grad():
            matrix.append(
                [float((model(data[f"x_test_{n}"]).argmax(1) == data[f"y_test_{n}"]).float().mean()) for n in tests]
            )
        model.train()
    return {"matrix": matrix, "seconds": seconds, "orders": came if watching is not None and all(came) else None}


def main() -> None:
    """Answer line by line; the first line says that it is ready, and what it is."""
    operators_of_torchvision()
    import avalanche  # type: ignore[import-not-found, unused-ignore]
    import torch

    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # what the library prints is no answer
    print(json.dumps({"avalanche": avalanche.__version__, "torch": torch.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
