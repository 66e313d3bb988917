"""What proofs share: their options, parts that are kept on the way, and how a result is written."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.bench.base import as_json, machine, versions
from slowwave.bench.partial import Partial

if TYPE_CHECKING:
    from slowwave.probes.subjects import Subject

Makers = Mapping[str, Callable[[], Any]]


def basic_options(claim: str, seeds: int = 3, of: str | None = None) -> argparse.ArgumentParser:
    """The command line of every proof: --quick and --seeds.

    seeds  how many, unless it is told
    of     what is drawn anew with each
    """
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument("--quick", action="store_true", help="the code paths alone; nothing is written")
    parser.add_argument("--seeds", type=int, default=seeds, help=of)
    return parser


def options(claim: str, model: bool = True) -> argparse.ArgumentParser:
    """The command line of an instrument's proof: also --only, and --model where it has a part on a real model."""
    parser = basic_options(claim)
    parser.add_argument("--only", default="", help="measure this part, such as 'tiny 0', keep it for later, and stop")
    if model:
        parser.add_argument("--model", default="", help="a real model's file; without one that part is left out")
        parser.add_argument("--real", type=int, help="seeds of that part, where it is slow; else as many as --seeds")
    return parser


def seeds_of(args: argparse.Namespace) -> list[int]:
    """The seeds of a run; one alone where it is quick."""
    return list(range(1 if args.quick else args.seeds))


def real_seeds_of(args: argparse.Namespace) -> list[int]:
    """The seeds of the part on a real model; none without one."""
    return seeds_of(args)[: args.real] if args.model else []


@cache
def opened(model: str) -> Subject:
    """A real model, loaded once a process."""
    from slowwave.probes.subjects import load

    return load(model)


def prove(
    proof: str,
    name: str,
    claim: str,
    args: argparse.Namespace,
    makers: Makers,
    judge: Callable[[Mapping[str, Any], Sequence[int]], dict[str, Any]],
    draw: Callable[[Mapping[str, Any], Path], None],
    settings: Mapping[str, Any],
    **beside: Any,
) -> None:
    """Measure each part on one thread, print the verdict and, unless the run is quick, write the result and its figure.

    proof     the proof's own __file__; the result is results/NAME.json beside it
    judge     (parts, seeds) -> verdict, summary, and what else there is to tell
    settings  what the parts depend on; a run that was killed, or `--only` parts, are gone on from where they are equal
    beside    more for the result
    """
    import torch

    torch.set_num_threads(1)
    file = Path(proof)
    result = file.with_name("results") / f"{file.stem}.json"
    kept = Partial(None if args.quick else result, settings)
    parts = {part: kept.get(part, make) for part, make in makers.items() if args.only in ("", part)}
    if args.only:
        return
    seeds, model = seeds_of(args), Path(getattr(args, "model", "")).name
    fewer = f" --real {args.real}" if model and args.real is not None else ""
    verdict = judge(parts, seeds)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if args.quick:
        return
    told = {"parts": parts, "seeds": seeds, "parameters": {**settings, "model": model}, **beside}
    command = f"python proofs/{file.name}" + (f" --model {model}" if model else "") + fewer
    write(proof, name, claim, verdict, told, lambda path: draw(parts, path), command)
    kept.finish()


def write(
    proof: str, name: str, claim: str, verdict: Mapping[str, Any], told: Mapping[str, Any],
    draw: Callable[[Path], None], command: str = "",
) -> None:  # fmt: skip
    """Write results/NAME.json beside a proof, with when, with what and where it was measured, and its figure.

    proof    its own __file__
    verdict  verdict, summary, and what else was judged
    told     what was measured
    command  that makes it; left out, the proof without options
    """
    file = Path(proof)
    result = file.with_name("results") / f"{file.stem}.json"
    whole = {
        "name": name, "claim": claim, **verdict, **told,
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions(), "machine": machine(),
        "command": command or f"python proofs/{file.name}",
    }  # fmt: skip
    result.write_text(as_json(whole), encoding="utf-8")
    draw(result.with_suffix(".png"))
