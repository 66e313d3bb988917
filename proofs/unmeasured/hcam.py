"""HCAM: is what happened, and when, found among many events by looking at summaries first?

Run: python proofs/hcam.py

What-where-when: 8 events, each of 8 moves after its colour, with 8 steps of noise between them; at the end a colour
and a number are named: which move was it? (8 moves, chance 0.125.) Models of nearly equal size read the same stream by
one memory; the memory asks once, at the last step. Asked with 8 events, and with 16, which were never trained.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.bench.concluding import Parts, conclude, options, verdict_of
from slowwave.bench.recall_training import spread
from slowwave.state.baselines import Recurrent
from slowwave.state.hcam import HCAM
from slowwave.state.window import WindowAttention

MOVES, COLOURS, STEPS, NOISE = 8, 16, 8, 8
VOCABULARY = MOVES + COLOURS + STEPS + 4  # moves, colours, numbers, kinds of noise
WIDTH = 48
ARMS = ("hcam", "flat attention", "lstm")


def drawn(batch: int, events: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """ids (batch, time, 2): what is seen, and where in the event; and the move that is asked for, (batch,).

    An event is a chunk of 16 steps: 8 moves, each shown with the event's colour, then 8 steps of noise. The last step
    shows the asked colour and number.
    """
    moves = torch.randint(MOVES, (batch, events, STEPS), generator=generator)
    colours = torch.rand(batch, COLOURS, generator=generator).argsort(1)[:, :events] + MOVES
    noise = torch.randint(4, (batch, events, NOISE), generator=generator) + MOVES + COLOURS + STEPS
    seen = torch.cat([moves, noise], 2).flatten(1)
    beside = torch.cat([colours[..., None].expand(-1, -1, STEPS), noise], 2).flatten(1)
    which = torch.randint(events, (batch,), generator=generator)
    when = torch.randint(STEPS, (batch,), generator=generator)
    rows = torch.arange(batch)
    asked = torch.stack([when + MOVES + COLOURS, colours[rows, which]], 1)
    ids = torch.cat([torch.stack([seen, beside], 2), asked[:, None]], 1)
    return ids, moves[rows, which, when]


class Reader(nn.Module):
    """Embeds what is seen, lets one memory read the stream, and answers at the last step."""

    def __init__(self, arm: str) -> None:
        super().__init__()
        self.seen, self.beside = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(VOCABULARY, WIDTH)
        self.arm = arm
        self.memory: Any
        if arm == "lstm":
            self.memory = Recurrent(WIDTH, 48)
        elif arm == "flat attention":
            self.memory = WindowAttention(WIDTH, 4, 512)
        else:
            self.memory = HCAM(WIDTH, chunk=STEPS + NOISE, k=2, heads=4, capacity=16, store="through", unfinished=False)
        self.out = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 128), nn.ReLU(), nn.Linear(128, MOVES))

    def forward(self, ids: Tensor) -> Tensor:
        """(batch, moves)."""
        x = self.seen(ids[..., 0]) + self.beside(ids[..., 1])
        if self.arm.startswith("hcam"):  # only the last step asks, so the others need only be written
            state = self.memory.init_state(len(x))
            chunks = x[:, :-1].unflatten(1, (-1, STEPS + NOISE))
            ring = F.pad(chunks, (0, 0, 0, 0, 0, self.memory.capacity - chunks.shape[1]))
            position = torch.full((len(x),), x.shape[1] - 1)
            return self.out(x[:, -1] + self.memory.read(x[:, -1:], type(state)(ring, state.open, position))[:, 0])
        return self.out(x[:, -1] + self.memory(x).y[:, -1])


def run(seed: int, arm: str, seconds: float, steps: int) -> dict[str, Any]:
    """One model trained for so many CPU seconds (or steps) on 8 events, asked with 8 and 16."""
    torch.manual_seed(seed)
    model, generator = Reader(arm), torch.Generator().manual_seed(100 + seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    begin, done = time.process_time(), 0
    while done < steps and time.process_time() - begin < seconds:
        ids, wanted = drawn(64, 8, generator)
        loss = F.cross_entropy(model(ids), wanted)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        done += 1
    right = {}
    for events in (8, 16):
        with torch.no_grad():
            ids, wanted = drawn(1000, events, torch.Generator().manual_seed(9_000 + seed))
            right[f"{events} events"] = float((model(ids).argmax(-1) == wanted).double().mean())
    return {"accuracy": right, "steps": done, "parameters": sum(p.numel() for p in model.parameters())}


def judge(arms: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: at 8 and 16 events HCAM is 0.2 above flat attention and LSTM in each seed."""
    holds, told = True, []
    for asked in ("8 events", "16 events"):
        hcam, flat, lstm = (arms[name][asked] for name in ("hcam", "flat attention", "lstm"))
        holds &= hcam["low"] > max(flat["high"], lstm["high"]) + 0.2
        told.append(
            f"{asked}: {hcam['mean']:.3f} [{hcam['low']:.3f}, {hcam['high']:.3f}], flat "
            f"attention {flat['mean']:.3f}, lstm {lstm['mean']:.3f}"
        )
    unlearned = max(row["8 events"]["high"] for row in arms.values()) < 0.3  # then training was too short to tell
    verdict = verdict_of(holds, quick or unlearned)
    return verdict, "; ".join(told)


def main() -> None:
    given = options(__doc__, seeds=(3, ""), seconds=(20.0, "of CPU, for the training of one model"))
    seeds, steps = (1, 2) if given.quick else (given.seeds, 10**6)
    torch.set_num_threads(1)
    parts = Parts(__file__, given.quick, seconds=given.seconds)
    each = {
        name: [parts.get(f"{name} {seed}", partial(run, seed, name, given.seconds, steps)) for seed in range(seeds)]
        for name in ARMS
    }
    arms = {
        name: {
            **{task: spread([one["accuracy"][task] for one in runs]) for task in runs[0]["accuracy"]},
            "parameters": runs[0]["parameters"],
            "steps": [one["steps"] for one in runs],
        }
        for name, runs in each.items()
    }
    verdict, summary = judge(arms, given.quick)
    conclude(
        parts, HCAM, verdict, summary, seeds,
        **{"cpu seconds a run": given.seconds},
        chance=1 / MOVES,
        arms=arms,
    )  # fmt: skip


if __name__ == "__main__":
    main()
