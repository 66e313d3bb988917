"""How dear the taps are, how fast autoencoders train, and how much memory a long run takes.

Run: python bench/probes.py [--model smollm2-135m.gguf] [--nnsight PYTHON] [--saelens PYTHON]

Without a model, one of SmolLM2-135M's shape with random weights takes its place: speed and memory are the same.

Taps: one layer read, and all layers' residuals streamed to disk, beside the bare forward pass, transformers' own
output_hidden_states, and nnsight. All take turns in one process (nnsight's has its own bare pass, from the environment
that --nnsight names), so that a busy machine slows them alike; medians of the ratios to the bare pass of the same turn.
Autoencoders: TopK of equal size and batch on the same activations, ours and SAELens' (--saelens names the Python of an
environment that has it); the dense form that our fast one replaces beside them. Memory: the peak resident size of each
stage in a process of its own, by the number of tokens. Million: `slowwave probe function-tokens` whole, on 1,000,000
tokens of a real model, which says itself what it took (`--only million --model smollm2-135m.gguf`).

Writes bench/results/probes.json; `--only taps,sae,memory` runs some parts and keeps the others as they were.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULT = Path(__file__).parent / "results" / "probes.json"
WIDTH, LATENTS, K, BATCH = 576, 2304, 32, 1024  # of the autoencoders: SmolLM2-135M, four times its width


def turns(ways: dict[str, Callable[[], object]], rounds: int, bare: str) -> dict[str, Any]:
    """Every way once a round, in turn; the median time of each and the median of its ratios to the bare way."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - begin)
    return {
        name: {
            "seconds": round(median(each), 4),
            "ratio": round(median(a / b for a, b in zip(each, times[bare], strict=True)), 3),
            "ratios": [round(a / b, 3) for a, b in zip(each, times[bare], strict=True)],
        }
        for name, each in times.items()
    }


def subject_of(model: str) -> Any:
    """The model, or one of SmolLM2-135M's shape with random weights."""
    from slowwave.probes.subjects import Subject, load

    if model != "random":
        return load(model)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=2048,
    )  # fmt: skip
    return Subject("SmolLM2-135M's shape", LlamaForCausalLM(config).eval().requires_grad_(False), None)


# -- taps


def taps(model: str, rounds: int, batch: int, context: int) -> dict[str, Any]:
    """Bare pass, one tap, all taps to disk, and transformers' own way."""
    import torch

    from slowwave.probes.activations import Tokens, stream
    from slowwave.probes.taps import Taps, anatomy

    torch.set_num_threads(1)
    subject = subject_of(model)
    many = len(anatomy(subject.model).blocks)
    ids = torch.randint(0, 1000, (batch, context), generator=torch.Generator().manual_seed(0))
    tokens = Tokens(ids.numpy().astype(np.int32), np.zeros(batch, np.int32), np.zeros(batch, np.int32))
    places = [(layer, "block") for layer in range(many)]

    def bare() -> None:
        subject.logits(ids)

    def one() -> None:
        with Taps(subject.model) as hooks:
            hooks.read(many // 2)
            subject.logits(ids)

    def theirs() -> None:
        with torch.no_grad():
            subject.model(ids, output_hidden_states=True, use_cache=False)

    def theirs_to_disk() -> None:
        with torch.no_grad():
            out = subject.model(ids, output_hidden_states=True, use_cache=False)
        with tempfile.TemporaryDirectory() as folder:
            for layer, value in enumerate(out.hidden_states):
                np.save(Path(folder) / f"{layer}.npy", value.half().numpy())

    def to_disk(whole: bool) -> Callable[[], None]:
        def way() -> None:
            with tempfile.TemporaryDirectory() as folder:
                if whole:  # the head too, as in the bare pass
                    states, subject_ = subject.logits, subject
                    object.__setattr__(subject_, "states", states)
                try:
                    stream(subject, tokens, places, Path(folder), batch=batch, whole=whole)
                finally:
                    subject.__dict__.pop("states", None)

        return way

    ways = {
        "bare pass": bare,
        "one layer tapped": one,
        "output_hidden_states": theirs,
        "all layers to disk, pass in full": to_disk(True),
        "all layers to disk, as stream does it": to_disk(False),
        "output_hidden_states, saved": theirs_to_disk,
    }
    return {"layers": many, "tokens": batch * context, "ways": turns(ways, rounds, "bare pass")}


NNSIGHT = """
import json, sys, time, torch
sys.path[:0] = [sys.argv[5], sys.argv[6]]
from statistics import median
from probes import subject_of
from nnsight import NNsight
torch.set_num_threads(1)
subject = subject_of(sys.argv[1])
rounds, batch, context = map(int, sys.argv[2:5])
ids = torch.randint(0, 1000, (batch, context), generator=torch.Generator().manual_seed(0))
wrapped = NNsight(subject.model)
many = len(subject.model.model.layers)
def bare():
    subject.logits(ids)
def one():
    with torch.no_grad(), wrapped.trace(ids, use_cache=False):
        kept = wrapped.model.layers[many // 2].output.save()
    return kept
def every():
    with torch.no_grad(), wrapped.trace(ids, use_cache=False):
        kept = list().save()
        for layer in wrapped.model.layers:
            kept.append(layer.output)
    return kept
times = {"bare pass": [], "nnsight, one layer": [], "nnsight, all layers in memory": []}
for number in range(rounds + 1):
    for name, way in zip(times, (bare, one, every)):
        begin = time.perf_counter()
        way()
        if number:
            times[name].append(time.perf_counter() - begin)
base = times["bare pass"]
print(json.dumps({n: {"seconds": round(median(t), 4), "ratio": round(median(a / b for a, b in zip(t, base)), 3),
                      "ratios": [round(a / b, 3) for a, b in zip(t, base)]} for n, t in times.items()}))
"""


# -- autoencoders


def activations(n: int, path: Path) -> None:
    """Activations to train on, as float16: sums of a few of 4,000 directions, off the origin; the same for all."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    with path.open("wb") as file:
        for begin in range(0, n, 4096):
            chosen = rng.integers(0, 4000, (min(4096, n - begin), 12))
            file.write((directions[chosen].sum(1) + 0.5).astype(np.float16).tobytes())


def ours(steps: int, path: Path, n: int, dense: bool = False) -> float:
    """Steps a second of our training, reading from disk."""
    import torch

    from slowwave.probes import sae
    from slowwave.probes.activations import OnDisk

    torch.set_num_threads(1)
    if dense:
        plain = sae._TopK

        class Dense:
            @staticmethod
            def apply(x: Any, w: Any, b: Any, d: Any, c: Any, k: int) -> Any:
                values, places = torch.relu((x - c) @ w + b).topk(k, dim=-1)
                latents = torch.zeros(len(x), len(b)).scatter_(-1, places, values)
                return latents @ d + c, (latents > 0).any(0)

        sae._TopK = Dense  # type: ignore[assignment, misc]
    begin = [0.0]

    def clock(stage: str, done: int, total: int) -> None:
        if done == 3:
            begin[0] = time.perf_counter()

    config = sae.SaeConfig(WIDTH, LATENTS, k=K, batch=BATCH)
    sae.train_sae(OnDisk(path, (n, WIDTH)), config, 1, clock)
    if dense:
        sae._TopK = plain  # type: ignore[misc]
    return (n // BATCH - 3) / (time.perf_counter() - begin[0])


SAELENS = """
import sys, time, numpy as np, torch
torch.set_num_threads(1)
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.saes.sae import TrainStepInput
path, n, width, latents, k, batch = sys.argv[1], *map(int, sys.argv[2:7])
rows = np.memmap(path, np.float16, "r", shape=(n, width))
sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=width, d_sae=latents, k=k, device="cpu", dtype="float32",
                                            normalize_activations="none"))
optimiser = torch.optim.Adam(sae.parameters(), lr=2e-4)
order = np.random.default_rng(0).permutation(n)
begin = 0
for step in range(n // batch):
    if step == 3:
        begin = time.perf_counter()
    x = torch.from_numpy(np.asarray(rows[np.sort(order[step * batch:(step + 1) * batch])], np.float32))
    out = sae.training_forward_pass(TrainStepInput(sae_in=x, coefficients={}, dead_neuron_mask=None,
                                                   n_training_steps=step, is_logging_step=False))
    optimiser.zero_grad()
    out.loss.backward()
    torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
    optimiser.step()
print((n // batch - 3) / (time.perf_counter() - begin))
"""


def autoencoders(saelens: str | None, rounds: int, steps: int) -> dict[str, Any]:
    """Steps a second, turn about."""
    n = (steps + 3) * BATCH
    found: dict[str, list[float]] = {"slowwave": [], "slowwave, dense": []}
    out: dict[str, Any] = {"latents": LATENTS, "width": WIDTH, "k": K, "batch": BATCH, "steps": steps}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.f16"
        activations(n, path)
        for _ in range(rounds):
            found["slowwave"].append(ours(steps, path, n))
            found["slowwave, dense"].append(ours(steps, path, n, dense=True))
            if saelens:
                words = [str(path), *map(str, (n, WIDTH, LATENTS, K, BATCH))]
                done = subprocess.run([saelens, "-c", SAELENS, *words], capture_output=True, text=True, check=False)
                if done.returncode:
                    out["saelens failed"] = done.stderr.strip()[-400:]
                    saelens = None
                else:
                    found.setdefault("sae-lens", []).append(float(done.stdout.split()[-1]))
    mine = found["slowwave"]
    out["steps a second"] = {name: round(median(each), 3) for name, each in found.items() if each}
    out["ratios"] = {
        name: round(median(a / b for a, b in zip(mine, each, strict=True)), 2)
        for name, each in found.items()
        if name != "slowwave" and len(each) == len(mine)
    }
    return out


# -- memory

STAGE = """
import sys
sys.path.insert(0, {here!r})
from probes import stage
stage(*sys.argv[1:])
"""


def stage(what: str, count: str, model: str, folder: str) -> None:
    """One stage of a run on so many tokens; prints the peak resident size in MB."""
    import torch

    torch.set_num_threads(1)
    n, place = int(count), Path(folder)
    if what in ("stream", "losses"):
        from slowwave.probes.activations import Tokens, stream
        from slowwave.probes.transitions import losses_of

        rng = np.random.default_rng(0)
        ids = rng.integers(0, 40_000, (n // 128, 128)).astype(np.int32)
        rows = np.arange(len(ids), dtype=np.int32)
        tokens, subject = Tokens(ids, rows, rows), subject_of(model)
        if what == "stream":
            stream(subject, tokens, [(9, "block"), (18, "block"), (27, "block")], place)
        else:
            losses_of(subject.logits, tokens)
    elif what == "load":
        subject_of(model)
    else:
        from slowwave.probes.activations import Streamed, Tokens
        from slowwave.probes.classes import classify
        from slowwave.probes.feature_layers import LayerRun, autoencoder
        from slowwave.probes.sae import Sae, SaeConfig, save

        rng = np.random.default_rng(0)
        ids = np.minimum(rng.zipf(1.2, (n // 128, 128)), 40_000).astype(np.int32)
        rows = np.arange(len(ids), dtype=np.int32)
        tokens = Tokens(ids, rows, rows)
        activations(tokens.count, place / "18-block.f16")
        (place / "18-block.json").write_text(json.dumps([tokens.count, WIDTH]))
        run = LayerRun(LATENTS // WIDTH, K, 1, 0, place / "sae")
        if what == "graph":  # the training has a stage of its own
            save(Sae(SaeConfig(WIDTH, 2 * WIDTH, k=K)), place / "sae")
        if what == "autoencoder":
            autoencoder(Streamed(place, tokens).of(18), run, lambda *args: None)
        else:
            run.measure(Streamed(place, tokens), 18, classify(tokens), lambda *args: None)
    print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def memory(model: str, counts: dict[str, Sequence[int]]) -> dict[str, Any]:
    """Peak resident size of each stage, MB, by tokens."""
    out: dict[str, Any] = {}
    for what, each in counts.items():
        out[what] = {}
        for count in each:
            with tempfile.TemporaryDirectory() as folder:
                words = [sys.executable, "-c", STAGE.format(here=str(Path(__file__).parent)), what, str(count), model]
                done = subprocess.run([*words, folder], capture_output=True, text=True, check=True)
                out[what][str(count)] = int(done.stdout.split()[-1])
                print(what, count, out[what][str(count)], "MB", flush=True)
    return out


# -- a million tokens

STRETCH = 20_000  # characters of a document
MILLION = {
    "tokens": 1_000_000, "loss-tokens": 2_000, "layers": 1, "expansion": 4, "epochs": 1, "traits": "",
}  # fmt: skip


def million(model: str, folder: Path, autoencoders: int) -> dict[str, Any]:
    """`slowwave probe function-tokens` on a million tokens of old novels, as a user calls it; goes on after a kill.

    One early layer, since what is asked is memory: what it takes, the process itself says at its end. With more
    autoencoders than one a run goes on from the parts of the run before, and its time is that of what was missing.
    """
    import gzip

    from slowwave.bench.datasets import folder_of

    texts, out = folder / "texts", folder / "page"
    texts.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(sorted(folder_of("classic_books").glob("*.txt.gz"))):
        book = gzip.decompress(file.read_bytes()).decode("utf-8", "replace")
        for place in range(5):  # some of each book, so that 50 documents may hold a content token too
            piece = book[STRETCH * (place + 1) : STRETCH * (place + 2)]
            (texts / f"{place}-{number:02}.txt").write_text(piece, encoding="utf-8")
    options = MILLION | {"autoencoders": autoencoders}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    words = ["probe", "function-tokens", "--model", model, "--text", str(texts), "--out", str(out), *words]
    subprocess.run([sys.executable, "-m", "slowwave", *words], check=True, stdout=subprocess.DEVNULL)
    found = json.loads((out / "verdict.json").read_text("utf-8"))
    values, layer = found["values"], found["values"]["layers"][str(MILLION["layers"])]
    more = f" --autoencoders {autoencoders}" if autoencoders > 1 else ""
    return {
        "bench": f"python bench/probes.py --only million --model {Path(model).name}{more}", "date": found["date"],
        "command": "slowwave " + " ".join(words).replace(model, Path(model).name).replace(str(folder), "DIR"),
        "tokens": values["classes"]["tokens"], "documents": values["classes"]["documents"],
        "peak_mb": found["peak_mb"], "cpu_seconds": found["cpu_seconds"],
        "disk_mb": round(sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6),
        "verdicts": found["verdicts"],
        **{name: {key: one[key] for key in ("health", "edges", "ks", "coverage", "coverage_permuted", "d50_ratio",
                                            "d50_low", "d50_high", "seeds")}
           for name, one in (("trained", layer), ("untrained", values["untrained"]))},
    }  # fmt: skip


def main() -> None:
    """Measure what is asked for and write the result."""
    from slowwave.bench.base import as_json, machine
    from slowwave.probes.base import versions

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="random")
    parser.add_argument("--nnsight", help="the Python of an environment with nnsight")
    parser.add_argument("--saelens", help="the Python of an environment with sae-lens")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12, help="of each autoencoder's training")
    parser.add_argument("--only", default="taps,sae,memory")
    parser.add_argument("--stages", help="of memory, such as graph; else all")
    parser.add_argument("--autoencoders", type=int, default=1, help="of the million, trained and untrained")
    parser.add_argument("--work", type=Path, help="where the million's parts are kept; else in the cache")
    args = parser.parse_args()
    only = args.only.split(",")
    result = json.loads(RESULT.read_text("utf-8")) if RESULT.is_file() else {}
    model = args.model if args.model == "random" else str(Path(args.model).expanduser().resolve())
    if "taps" in only:
        result["taps"] = taps(model, args.rounds, 1, 128)
        if args.nnsight:
            places = [str(Path(__file__).resolve().parents[1] / "src"), str(Path(__file__).resolve().parent)]
            words = [args.nnsight, "-c", NNSIGHT, model, str(args.rounds), "1", "128", *places]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            told = done.stdout.strip().splitlines()
            failed = {"failed": done.stderr.strip()[-400:]}
            result["taps"]["nnsight"] = json.loads(told[-1]) if not done.returncode else failed
    if "sae" in only:
        result["autoencoders"] = autoencoders(args.saelens, max(3, args.rounds // 2), args.steps)
    if "million" in only:
        from slowwave.bench.datasets import cache_folder

        many = args.autoencoders
        name = "a million tokens" + (f", {many} autoencoders" if many > 1 else "")
        result[name] = million(model, args.work or cache_folder() / "probes-million", many)
    if "memory" in only:
        counts = {"load": [0], "stream": [1_024, 4_096], "losses": [1_024, 4_096]}
        counts |= {"autoencoder": [20_000, 80_000], "graph": [50_000, 200_000, 1_000_000]}
        counts = {what: each for what, each in counts.items() if not args.stages or what in args.stages.split(",")}
        result.setdefault("memory, MB", {}).update(memory(model, counts))
    result |= {
        "command": f"python bench/probes.py --model {Path(args.model).name} --rounds {args.rounds}", "threads": 1,
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions(), "machine": machine(),
    }  # fmt: skip
    RESULT.write_text(as_json(result), encoding="utf-8")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
