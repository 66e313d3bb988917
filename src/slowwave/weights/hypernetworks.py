"""Hypernetworks: a net gives another net's weights for each task, and holds on to what it gave for old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.vectors import Named


class HyperNetwork(nn.Module):
    """A perceptron whose weights come from another perceptron, asked with the embedding of a task.

    inputs, hidden, classes  of the target network
    width      of an embedding
    layers     hidden widths of the network that gives the weights
    chunk      weights given at once, each chunk with an embedding of its own; 0 gives all at once
    tasks      how many embeddings there are room for
    at         the task that `forward` takes when it is not told
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int] = (64, 32), classes: int = 10, width: int = 8,
        layers: Sequence[int] = (50, 50), chunk: int = 0, tasks: int = 100, seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = [inputs, *hidden, classes]
        self.shapes = [shape for a, b in pairwise(sizes) for shape in ((b, a), (b,))]
        self.many = sum(torch.Size(s).numel() for s in self.shapes)
        self.chunk, self.at = chunk or self.many, 0
        pieces = -(-self.many // self.chunk)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embeddings = nn.ParameterList(nn.Parameter(torch.randn(width)) for _ in range(tasks))
            self.pieces = nn.Parameter(torch.randn(pieces, width) if pieces > 1 else torch.zeros(1, 0))
            widths = [width + self.pieces.shape[1], *layers]
            self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
            self.out = nn.Linear(widths[-1], self.chunk)
            nn.init.normal_(
                self.out.weight, std=0.02 / widths[-1] ** 0.5
            )  # small, so that the target starts as its bias
            nn.init.zeros_(self.out.bias)
            with torch.no_grad():
                start = torch.cat([_drawn(shape) for shape in self.shapes])
                self.out.bias[: min(self.chunk, self.many)] = start[: self.chunk]

    def weights(self, embedding: Tensor) -> Tensor:
        """(width,) -> (weights of the target,) flat."""
        x = torch.cat([embedding.expand(len(self.pieces), -1), self.pieces], dim=1)
        for layer in self.layers:
            x = torch.relu(layer(x))
        given: Tensor = self.out(x).flatten()
        return given[: self.many]

    def target(self, x: Tensor, weights: Tensor) -> Tensor:
        """The target network on inputs."""
        x, start, parts = x.flatten(1), 0, []
        for shape in self.shapes:
            size = torch.Size(shape).numel()
            parts.append(weights[start : start + size].view(shape))
            start += size
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        for weight, bias in pairs[:-1]:
            x = torch.relu(F.linear(x, weight, bias))
        return F.linear(x, *pairs[-1])

    def forward(self, x: Tensor, task: int | None = None) -> Tensor:
        return self.target(x, self.weights(self.embeddings[self.at if task is None else task]))


def _drawn(shape: Sequence[int]) -> Tensor:
    return torch.zeros(shape) if len(shape) == 1 else (torch.randn(*shape) * (2 / shape[1]) ** 0.5).flatten()


class Hypernetworks(Method):
    """Task-conditioned hypernetwork with its output regulariser. Needs a `HyperNetwork` as model, and the task at test.

    strength  beta
    most      at most so many old tasks are held at a step, drawn anew each step; 0 all

    Source: von Oswald et al. 2020, equation 2.
    """

    name = "hypernetworks"
    paper = "Continual learning with hypernetworks"
    operations = ("consolidation", "compression", "updating")
    claim = (
        "The repository's three-polynomial toy ends at errors .00419, .00239, .00607; high retention on 100 "
        "permuted tasks (exact figures unverified)."
    )
    differs = (
        "Without the look-ahead of the optimiser's step, which the paper allows to drop. At most ten old tasks are "
        "held at a step, so that cost does not grow. The output layer starts small, the target network at its own "
        "usual start."
    )
    proof = "proofs/hypernetworks.py"
    keeps: ClassVar[tuple[str, ...]] = ("teacher", "known")
    learns = "labels"

    def __init__(self, strength: float = 0.01, most: int = 10) -> None:
        self.strength, self.most = strength, most
        self.teacher: Named = {}
        self.known: list[int] = []

    def suited(self, inputs: int, classes: int, seed: int = 0) -> nn.Module | None:
        return HyperNetwork(inputs, (24, 24), classes, tasks=20, seed=seed)

    def prepare(self, learner: Learner) -> None:
        if not isinstance(learner.model, HyperNetwork):
            raise InputError(
                f"the model is a {type(learner.model).__name__}; this method trains a "
                "slowwave.weights.hypernetworks.HyperNetwork"
            )
        self._only(learner, 0)

    def _only(self, learner: Learner, task: int) -> None:
        model: HyperNetwork = learner.model  # type: ignore[assignment]
        if task >= len(model.embeddings):
            raise InputError(f"task {task} has no embedding: the network was built for {len(model.embeddings)} tasks")
        for number, embedding in enumerate(model.embeddings):
            embedding.requires_grad_(number == task)
        model.at = task

    def begin(self, learner: Learner) -> None:
        self._only(learner, learner.task)
        model: HyperNetwork = learner.model  # type: ignore[assignment]
        self.teacher = {n: p.detach().clone() for n, p in model.named_parameters() if not n.startswith("embeddings")}

    def forward(self, learner: Learner, batch: Batch, training: bool) -> Tensor | None:
        model: HyperNetwork = learner.model  # type: ignore[assignment]
        tasks = batch.task.clamp_max(len(model.embeddings) - 1)
        out: Tensor | None = None
        for task in sorted(set(tasks.tolist())):
            rows = tasks == task
            said = model(batch.x[rows], task)
            if out is None:
                out = torch.zeros(len(batch), said.shape[1])
            out = out.index_put((torch.nonzero(rows).flatten(),), said)
        return out

    def loss_terms(self, learner: Learner, batch: Batch, logits: Tensor) -> Mapping[str, Tensor]:
        model: HyperNetwork = learner.model  # type: ignore[assignment]
        old = [task for task in self.known if task != model.at]
        if not old or not self.strength:
            return {}
        if self.most and len(old) > self.most:
            old = [int(t) for t in learner.rng.choice(old, self.most, replace=False)]
        drift = torch.zeros(())
        for task in old:
            embedding = model.embeddings[task].detach()
            with torch.no_grad():
                due = functional_call(_Giving(model), {f"net.{n}": p for n, p in self.teacher.items()}, (embedding,))
            drift = drift + (model.weights(embedding) - due).pow(2).sum()
        return {"drift": self.strength * drift / len(old)}

    def sleep(self, learner: Learner, day: Batch) -> Mapping[str, float]:
        model: HyperNetwork = learner.model  # type: ignore[assignment]
        if model.at not in self.known:
            self.known.append(model.at)
        return {}


class _Giving(nn.Module):
    """A network whose forward gives the target's weights, for functional calls."""

    def __init__(self, net: HyperNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, embedding: Tensor) -> Tensor:
        return self.net.weights(embedding)


def likeliest_task(model: HyperNetwork, x: Tensor, tasks: Sequence[int]) -> Tensor:
    """(n,) the task whose network is surest of each input, by the entropy of its output: the task is inferred."""
    with torch.no_grad():
        rows = []
        for task in tasks:
            p = model(x, task).softmax(1)
            rows.append(-(p * p.clamp_min(1e-12).log()).sum(1))
    return torch.tensor(list(tasks))[torch.stack(rows).argmin(0)]
