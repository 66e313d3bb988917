"""RMC: do slots that attend to one another compare things better than one slot, and than an LSTM?

Run: python proofs/rmc.py

N-th farthest, reduced: three vectors of two numbers each, labelled in any order; then "which is the n-th farthest from
vector m?" (chance 0.33; labels alone give 0.67). Each step shows a vector, its label, and the question. Arms of nearly
equal parameters.

The rule stood before the runs; after looks at losses that still fell the budget went from 15 to 30 and then to 60 CPU
seconds, the LSTM from 128 to 104 units, which makes parameters equal, and Adam became AdamW with a short warm-up, as in
the other proofs by seconds.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.bench.concluding import race, verdict_of
from slowwave.bench.recall_training import timed
from slowwave.state.baselines import Recurrent
from slowwave.state.rmc import RMC

COUNT, DIMS = 3, 2
INPUT = DIMS + 3 * COUNT  # a vector, its label, n, m
ASKED = "n-th farthest"
ARMS = ("rmc, 4 slots", "rmc, one slot", "lstm")


def drawn(batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """x (batch, COUNT, INPUT) and the label of the answer (batch,)."""
    vectors = torch.rand(batch, COUNT, DIMS, generator=generator) * 2 - 1
    labels = torch.rand(batch, COUNT, generator=generator).argsort(1)
    nth = torch.randint(COUNT, (batch,), generator=generator)
    of = torch.randint(COUNT, (batch,), generator=generator)
    rows = torch.arange(batch)
    place = (labels == of[:, None]).to(torch.uint8).argmax(1)
    far = (vectors - vectors[rows, place][:, None]).norm(dim=-1)
    answer = labels[rows, far.argsort(1, descending=True)[rows, nth]]
    question = torch.cat([F.one_hot(nth, COUNT), F.one_hot(of, COUNT)], 1).float()
    told = torch.cat([vectors, F.one_hot(labels, COUNT).float(), question[:, None].expand(-1, COUNT, -1)], 2)
    return told, answer


class Reader(nn.Module):
    """One memory over the steps, and a read-out of what comes last."""

    def __init__(self, arm: str) -> None:
        super().__init__()
        self.memory: Any
        if arm == "lstm":
            self.memory = Recurrent(INPUT, 104)
            self.memory.out = nn.Identity()
            size = 104
        else:
            slots, dim = (4, 16) if arm == "rmc, 4 slots" else (1, 18)
            self.memory = RMC(INPUT, slots=slots, heads=4, dim=dim, flat=True)
            size = self.memory.out_width
        self.out = nn.Sequential(nn.Linear(size, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, COUNT))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, COUNT) logits."""
        return self.out(self.memory(x).y[:, -1])


def run(seed: int, arm: str, seconds: float, steps: int) -> dict[str, Any]:
    """One model trained for so many CPU seconds, or steps."""
    torch.manual_seed(seed)
    model = Reader(arm)

    def loss_of(generator: torch.Generator) -> Tensor:
        x, wanted = drawn(512, generator)
        return F.cross_entropy(model(x), wanted)

    found = timed(model, loss_of, seed, seconds, steps, lr=1e-3)
    with torch.no_grad():
        x, wanted = drawn(4000, torch.Generator().manual_seed(9_000 + seed))
        right = float((model(x).argmax(-1) == wanted).double().mean())
    return {"accuracy": {ASKED: right}, "parameters": sum(p.numel() for p in model.parameters()), **found}


def judge(arms: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: several slots above one slot above an LSTM, in every seed."""
    many, one, lstm = (arms[name][ASKED] for name in ARMS)
    holds = many["low"] > one["high"] and one["low"] > lstm["high"]
    told = ", ".join(
        f"{name} {row[ASKED]['mean']:.3f} [{row[ASKED]['low']:.3f}, {row[ASKED]['high']:.3f}]"
        for name, row in arms.items()
    )
    stuck = not holds and max(many["high"], lstm["high"]) < 0.7  # two thirds are had from labels alone
    verdict = verdict_of(holds, quick or stuck)
    return verdict, told


def main() -> None:
    race(__file__, __doc__, RMC, ARMS, run, judge, (ASKED,), 1 / COUNT, seconds=60.0)


if __name__ == "__main__":
    main()
