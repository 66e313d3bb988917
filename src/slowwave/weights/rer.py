"""RER: a small network learns how much each pair of a new and a replayed example should count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from slowwave.weights.base import size
from slowwave.weights.baselines import Replay
from slowwave.weights.batch import Batch
from slowwave.weights.learner import Learner
from slowwave.weights.objective import Classification, plain
from slowwave.weights.vectors import trainable


class PairWeights(nn.Module):
    """Losses and logit lengths of a pair, (n, 2) each -> (n, 2) weights in (0, 1), a half at first."""

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.losses, self.lengths = nn.Linear(2, hidden), nn.Linear(2, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, losses: Tensor, lengths: Tensor) -> Tensor:
        return torch.sigmoid(self.out(torch.relu(self.losses(losses)) + torch.relu(self.lengths(lengths))))


class RER(Replay):
    """Relational experience replay: the pair weights are learned by looking a step ahead.

    capacity  examples kept
    rate      learning rate of the weighting network (Adam, weight decay 1e-4)
    every     steps between its updates
    hidden    its width
    warm_up   share of a period's epochs in which all pairs still count the same; none where it is passed once
    seed      of what is kept, and of the network's start

    Source: Wang et al. 2024, equations 5 to 9.
    """

    name = "rer"
    paper = "Relational Experience Replay: Continual Learning by Adaptively Tuning Task-wise Relationship"
    operations = ("consolidation", "updating")
    claim = "Consistent gains over ER, ER-ACE and DER++ on CIFAR-10/100 and Tiny-ImageNet (numbers unverified)."
    differs = (
        "The network is updated every few steps (the authors' code every n_epochs / 10 steps, which divides by zero"
        " under ten epochs). It is judged on a fresh draw from the buffer, as in the code. The look-ahead is a "
        "plain gradient step, whatever the optimiser."
    )
    proof = "proofs/rer.py"
    learns = "labels"

    def __init__(
        self, capacity: int = 200, rate: float = 1e-3, every: int = 5, hidden: int = 16, warm_up: float = 0.5,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(capacity, seed=seed)
        self.rate, self.every, self.hidden, self.warm_up = rate, every, hidden, warm_up
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = PairWeights(hidden)
        self._optim = torch.optim.Adam(self.net.parameters(), lr=rate, weight_decay=1e-4)

    def sample_weights(self, learner: Learner, batch: Batch, losses: Tensor, logits: Tensor) -> Tensor | None:
        new, old = torch.nonzero(~batch.old).flatten(), torch.nonzero(batch.old).flatten()
        many = min(len(new), len(old))
        if not many or not learner.period or not isinstance(learner.aim(), Classification):
            return None
        if learner.passes > 1 and learner.epoch < self.warm_up * learner.passes:
            return None
        new, old = new[:many], old[:many]
        if learner.step % self.every == 0:
            self._look_ahead(learner, batch.take(torch.cat([new, old])))
        with torch.no_grad():
            pairs = self._weigh(losses, logits, new, old)
        weights = torch.ones(len(batch))
        weights[new], weights[old] = (
            2 * pairs[:, 0],
            2 * pairs[:, 1],
        )  # a mean over both halves: as in plain replay at 1/2
        return weights

    def _weigh(self, losses: Tensor, logits: Tensor, new: Tensor, old: Tensor) -> Tensor:
        norms = logits.detach().norm(dim=1)
        given = losses.detach()
        pairs: Tensor = self.net(torch.stack([given[new], given[old]], 1), torch.stack([norms[new], norms[old]], 1))
        return pairs

    def _look_ahead(self, learner: Learner, batch: Batch) -> None:
        """One step of the weighting network: less loss on fresh examples of the buffer after a virtual step."""
        many = len(batch) // 2
        new, old = torch.arange(many), torch.arange(many, 2 * many)
        named = {n: p.detach().requires_grad_() for n, p in trainable(learner.model).items()}
        aim = learner.aim()
        assert isinstance(aim, Classification)

        def loss_of(parameters: Mapping[str, Tensor], part: Batch) -> tuple[Tensor, Tensor]:
            logits = functional_call(learner.model, dict(parameters), (part.x,))
            logits = aim.masked(plain(logits), part.task)
            return F.cross_entropy(logits, part.y, reduction="none"), logits

        losses, logits = loss_of(named, batch)
        pairs = self._weigh(losses, logits, new, old)
        inner = (pairs[:, 0] * losses[new] + pairs[:, 1] * losses[old]).mean()
        slopes = torch.autograd.grad(inner, list(named.values()), create_graph=True)
        ahead = {n: p - learner.lr * g for (n, p), g in zip(named.items(), slopes, strict=True)}
        fresh = self.buffer.sample(2 * many, learner.rng)
        outer = loss_of(ahead, fresh)[0].mean()
        grads = torch.autograd.grad(outer, list(self.net.parameters()))
        for parameter, grad in zip(self.net.parameters(), grads, strict=True):
            parameter.grad = grad
        self._optim.step()

    @property
    def bytes(self) -> int:
        return super().bytes + size(dict(self.net.state_dict()))

    def state(self) -> dict[str, Any]:
        return {**super().state(), "net": self.net.state_dict(), "optimiser": self._optim.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.buffer.load(state["buffer"])
        self.net.load_state_dict(state["net"])
        self._optim.load_state_dict(state["optimiser"])
