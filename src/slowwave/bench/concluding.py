"""What the proofs of state systems share: their options, and how a verdict is told and written down."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.bench.base import as_json, machine, versions
from slowwave.bench.partial import Partial

if TYPE_CHECKING:
    from slowwave.state.attending import Attending

UNTOLD = "cannot be told at this size"


def options(about: str | None, **numbers: tuple[Any, str]) -> argparse.Namespace:
    """The command line of a proof: `--quick`, and numbers by name, each with its default and what it is.

    about  the proof's own docstring
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small run, for the code paths alone")
    for name, (default, says) in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=says or None)
    return parser.parse_args()


def on_model(about: str | None, seeds: int) -> tuple[argparse.Namespace, Attending, Callable[[str], list[int]]]:
    """The options of a proof around a pretrained model, that model, and how it encodes a text.

    A quick run takes random weights and one seed.
    """
    import torch

    from slowwave.models.causal import fake_causal, load_causal
    from slowwave.state.attending import Attending

    given = options(about, model=("", "a .gguf file, a folder or a name that transformers loads"), seeds=(seeds, ""))
    torch.set_num_threads(1)
    if not given.quick and not given.model:
        raise SystemExit("give --model, for instance smollm2-135m.gguf; or --quick")
    given.seeds = 1 if given.quick else given.seeds
    loaded = fake_causal() if given.quick else load_causal(given.model, purpose="this proof", extra="state")
    return given, Attending(*loaded), lambda words: list(loaded[1].encode(words, add_special_tokens=False))


def verdict_of(holds: bool, untold: bool) -> str:
    """The word for it; `untold` where the run was too short or too small to say."""
    return UNTOLD if untold else "holds" if holds else "does not hold"


class Parts:
    """What a proof has measured, part by part, so that a run that was stopped goes on; a quick run keeps nothing.

    proof     the proof's own __file__; parts are kept beside its result, in results/NAME.json.part
    settings  what the parts depend on
    """

    def __init__(self, proof: str, quick: bool, **settings: Any) -> None:
        file = Path(proof)
        self.quick = quick
        self.result = file.with_name("results") / f"{file.stem}.json"
        self.command = " ".join(["python", f"proofs/{file.name}", *_named(sys.argv[1:])])
        self.cpu_seconds = 0.0
        self._kept = Partial(None if quick else self.result, settings)

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """The part of this name: as it was measured before, or measured now and kept. JSON values only."""

        def timed() -> Any:
            begin = time.process_time()
            found = measure()
            return {"found": found, "cpu_seconds": time.process_time() - begin}

        part = self._kept.get(key, timed)
        self.cpu_seconds += part["cpu_seconds"]
        return part["found"]

    def each(self, arms: Iterable[str], seeds: int, run: Callable[[int, str], Any]) -> dict[str, list[Any]]:
        """What `run(seed, arm)` measured, for every arm its runs in the order of the seeds."""
        return {arm: [self.get(f"{arm} {seed}", partial(run, seed, arm)) for seed in range(seeds)] for arm in arms}

    def finish(self) -> None:
        """The result is written: let go of the parts."""
        self._kept.finish()


def conclude(parts: Parts, system: Any, verdict: str, summary: str, seeds: int, **measured: Any) -> None:
    """Print the verdict and, unless the run was a quick one, write the result.

    seeds  how many, from 0 on
    """
    import torch

    if verdict == UNTOLD:
        summary = f"trained too briefly to tell; {summary}"
    print(f"{verdict}: {summary}")
    if parts.quick:
        return
    result = {
        "system": system.name,
        "claim": system.claim,
        "verdict": verdict,
        "summary": summary,
        "seeds": list(range(seeds)),
        **measured,
        "cpu_seconds": round(parts.cpu_seconds, 1),
        "command": parts.command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {**versions(), "torch": torch.__version__},
        "machine": machine(),
    }
    parts.result.parent.mkdir(exist_ok=True)
    parts.result.write_text(as_json(json.loads(json.dumps(result))), encoding="utf-8")
    parts.finish()


def race(
    proof: str, about: str | None, system: Any, arms: Iterable[str], run: Callable[..., Any],
    judge: Callable[[dict[str, Any], bool], tuple[str, str]], tasks: Sequence[str], chance: float,
    seconds: float = 0.0, steps: int = 0, seeds: int = 3, **measured: Any,
) -> None:  # fmt: skip
    """The main of a proof whose arms are trained alike and asked the same.

    proof, about    its own __file__ and docstring
    run             (seed, arm, steps=) -> accuracy by task and more; with a budget of seconds also (seconds=)
    judge           (arms, quick) -> verdict, summary
    tasks, chance   of the figure; what guessing gives
    seconds, steps  the budget of one training: so many CPU seconds, or else so many steps
    seeds           how many, by default
    measured        more for the result
    """
    import torch

    from slowwave.bench.recall_training import compared

    name, says = ("seconds", "of CPU, for the training of one model") if seconds else ("steps", "")
    given = options(about, seeds=(seeds, ""), **{name: (seconds or steps, says)})
    torch.set_num_threads(1)
    budget = {name: getattr(given, name)}
    limits = {"steps": 10**6, **budget} | ({"steps": 2} if given.quick else {})
    many = 1 if given.quick else given.seeds
    parts = Parts(proof, given.quick, **budget)
    found = compared(parts.each(arms, many, partial(run, **limits)))
    verdict, summary = judge(found, given.quick)
    told = {"cpu seconds a run": given.seconds} if seconds else budget
    conclude(parts, system, verdict, summary, many, **told, chance=round(chance, 4), **measured, arms=found)
    dots(parts, found, tasks, chance)


def dots(parts: Parts, arms: Mapping[str, Any], tasks: Sequence[str], chance: float) -> None:
    """The figure beside a result: the share of right answers of every arm, one panel a task, each seed a dot; nothing
    after a quick run.

    arms    arm -> task -> a spread
    chance  what guessing gives, a dotted line
    """
    if parts.quick:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    height = 0.9 + 0.3 * len(arms)
    drawn, panels = pyplot.subplots(
        1, len(tasks), figsize=(3 + 2.2 * len(tasks), height), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, task in zip(panels[0], tasks, strict=True):
        for place, row in enumerate(reversed(list(arms.values()))):
            axis.barh(place, row[task]["mean"], 0.6, color="#2f6fb0", alpha=0.35)
            axis.plot(row[task]["each"], [place] * len(row[task]["each"]), "o", color="#2f6fb0", markersize=4)
        axis.axvline(chance, color="black", linewidth=0.8, linestyle=":")
        axis.set(xlim=(0, 1.03))
        axis.set_title(task, fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
    panels[0][0].set_yticks(range(len(arms)), list(arms)[::-1])
    drawn.savefig(parts.result.with_suffix(".png"), dpi=80, metadata={"Software": None})
    pyplot.close(drawn)


def _named(words: list[str]) -> list[str]:
    """Words of a command line, files by their names alone, which are no place on this machine."""
    return [Path(word).name if "/" in word and Path(word).exists() else word for word in words]
