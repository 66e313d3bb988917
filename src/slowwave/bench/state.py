"""What small models remember by which memory: one table of recall, bytes of state, and tokens a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.bench import recall_tasks
from slowwave.bench.base import Benchmark, Progress, Result
from slowwave.bench.partial import Partial
from slowwave.bench.recall_training import answered, spread, trained

if TYPE_CHECKING:
    from slowwave.state.decoder import Decoder

TRAINED = {
    "recall of 4": partial(recall_tasks.mqar, pairs=4, distance=8),
    "recall of 8": partial(recall_tasks.mqar, pairs=8),
    "passkey": partial(recall_tasks.passkey, distance=32),
    "copy": partial(recall_tasks.copy, length=6),
    "updates": partial(recall_tasks.mqar, pairs=4, again=3),
    "inference": partial(recall_tasks.inference, triplets=2),
}
ASKED: dict[str, Any] = {
    "4 pairs": partial(recall_tasks.mqar, pairs=4),
    "8 pairs": partial(recall_tasks.mqar, pairs=8),
    "16 pairs": partial(recall_tasks.mqar, pairs=16),
    "4 pairs, 64 between": partial(recall_tasks.mqar, pairs=4, distance=64),
    "passkey, 32 between": TRAINED["passkey"],
    "passkey, 256 between": partial(recall_tasks.passkey, distance=256),
    "copy of 6": TRAINED["copy"],
    "updates": TRAINED["updates"],
    "inference": TRAINED["inference"],
}
CHANCE = 1 / recall_tasks.KEYS
WIDEST = 16  # inner width of a network, in widths, that equal parameters may take


class StateRecall(Benchmark):
    """Recall on made-up streams beside state bytes and speed, for the sequence memories and plain baselines.

    seeds    models a row
    steps    of training each, the tasks in turn
    width    of a token; every row has two blocks, and its network is widened until parameters are nearly equal
    systems  rows to run; empty for all
    """

    name = "state"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        seeds: int = 3,
        steps: int = 1000,
        width: int = 32,
        systems: Sequence[str] = (),
    ) -> None:
        super().__init__(quick, seed, out)
        self.seeds = seeds
        self.steps = steps
        self.width = width
        self.systems = tuple(systems)

    def measure(self, progress: Progress) -> Result:
        import torch

        torch.set_num_threads(1)
        steps, seeds = (2, 1) if self.quick else (self.steps, self.seeds)
        makers = self.makers()
        names = self.systems or tuple(makers)
        target = max(_decoder(self.width, makers[name], 1).trained for name in makers)
        kept = Partial(self.out, self.settings())
        rows: dict[str, Any] = {}
        for done, name in enumerate(names):
            found = []
            for n in range(seeds):
                progress("train", done * seeds + n, len(names) * seeds)
                one = partial(self._one, makers[name], target, self.seed + n, steps)
                found.append(kept.get(f"{name} {self.seed + n}", one))
            rows[name] = {
                "accuracy": {task: spread([one["accuracy"][task] for one in found]) for task in ASKED},
                **{key: found[0][key] for key in ("parameters", "state bytes", "state floats")},
                "loss at the end": spread([one["loss"][-1] for one in found]),
                "cpu seconds a run": round(sum(one["cpu_seconds"] for one in found) / seeds, 1),
                **kept.get(f"{name} speed", partial(self._speed, makers[name], target)),
            }
        kept.finish()
        progress("train", len(names) * seeds, len(names) * seeds)
        return {"rows": rows, "chance": round(CHANCE, 4), "torch": torch.__version__, "threads": 1}

    def makers(self) -> Mapping[str, Callable[[], Any]]:
        """A memory a row. Recurrent ones hold about as many numbers; windows and attention hold what they must."""
        from slowwave.state.baselines import DeltaRule, LinearAttention, Recurrent
        from slowwave.state.hcam import HCAM
        from slowwave.state.mom import MoM
        from slowwave.state.rmc import RMC
        from slowwave.state.titans import Titans
        from slowwave.state.window import WindowAttention

        w = self.width
        return {
            "titans (memory alone)": lambda: Titans(w, "lmm", heads=2, depth=1, chunk=16),
            "titans (MAG)": lambda: Titans(w, "mag", heads=2, depth=1, chunk=16, window=16),
            "titans (MAC)": lambda: Titans(w, "mac", heads=2, depth=1, chunk=16),
            "mom": lambda: MoM(w, heads=2, dim=w // 4, gated=False),
            "rmc": lambda: RMC(w, slots=8, heads=2, dim=12),
            "hcam": lambda: HCAM(w, chunk=8, heads=2, capacity=8, store="through"),
            "delta rule": lambda: DeltaRule(w, heads=2, dim=18),
            "linear attention": lambda: LinearAttention(w, heads=2, dim=18),
            "lstm": lambda: Recurrent(w, 64),
            "window of 16": lambda: WindowAttention(w, 2, 16),
            "attention": lambda: WindowAttention(w, 2, 512),
        }

    def _one(self, make: Callable[[], Any], target: int, seed: int, steps: int) -> dict[str, Any]:
        """One model, trained and asked."""
        import torch

        torch.manual_seed(seed)
        model = _equal(self.width, make, target)
        found = trained(model, list(TRAINED.values()), steps, seed, batch=32, lr=5e-3)
        asked = {name: ASKED[name] for name in list(ASKED)[:2]} if self.quick else ASKED
        right = {**dict.fromkeys(ASKED, 0.0), **answered(model, asked, seed, 16 if self.quick else 256)}
        size = sum(mixer.spec().bytes for mixer in model.mixers)  # type: ignore[operator]
        return {
            "accuracy": right, "parameters": model.trained, "state bytes": size, "state floats": model.state_floats,
            **found,
        }  # fmt: skip

    def _speed(self, make: Callable[[], Any], target: int) -> dict[str, float]:
        """Tokens a second of the whole model, batch 8 x 256, forward and with backward: the best of three."""
        import torch

        model = _equal(self.width, make, target)
        ids = torch.randint(recall_tasks.VOCABULARY, (2, 32) if self.quick else (8, 256))
        best = {"forward": 0.0, "forward and backward": 0.0}
        for _ in range(1 if self.quick else 3):
            begin = time.perf_counter()
            with torch.no_grad():
                model(ids)
            middle = time.perf_counter()
            torch.autograd.backward(model(ids)[0].sum())
            end = time.perf_counter()
            best["forward"] = max(best["forward"], ids.numel() / (middle - begin))
            best["forward and backward"] = max(best["forward and backward"], ids.numel() / (end - middle))
        return {f"tokens a second, {name}": round(value) for name, value in best.items()}

    def render(self, result: Result) -> str:
        names = list(next(iter(result["rows"].values()))["accuracy"])
        head = ["", *names, "params", "state B", "fwd tok/s", "fwd+bwd"]
        table = [head]
        for name, row in result["rows"].items():
            cells = [f"{row['accuracy'][task]['mean']:.2f}" for task in names]
            speeds = [f"{row[f'tokens a second, {way}']:,}" for way in ("forward", "forward and backward")]
            table.append([name, *cells, f"{row['parameters']:,}", f"{row['state bytes']:,}", *speeds])
        heads = [f"  {chr(97 + n)}  {name}" for n, name in enumerate(names)]
        short = [["", *(chr(97 + n) for n in range(len(names))), *head[len(names) + 1 :]], *table[1:]]
        widths = [max(len(row[n]) for row in short) for n in range(len(head))]
        lines = []
        for row in short:
            first, *others = (cell.rjust(size) for cell, size in zip(row, widths, strict=True))
            lines.append("  ".join([first.strip().ljust(widths[0]), *others]))
        return "\n".join([*lines, "", f"share of right answers, mean over seeds (chance {result['chance']}):", *heads])


def _decoder(width: int, make: Callable[[], Any], expansion: int) -> Decoder:
    from slowwave.state.decoder import Decoder

    return Decoder(recall_tasks.VOCABULARY, width, [make] * 2, expansion)


def _equal(width: int, make: Callable[[], Any], target: int) -> Decoder:
    """A model whose network is as wide as brings it nearest to so many parameters."""
    sizes = {n: abs(_decoder(width, make, n).trained - target) for n in range(1, WIDEST + 1)}
    return _decoder(width, make, min(sizes, key=lambda n: sizes[n]))
