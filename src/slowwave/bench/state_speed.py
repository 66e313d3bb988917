"""How fast the sequence memories are: chunked beside step by step, beside other people's code, and along a long stream.

With one thread what is told is CPU time, which other work on the machine disturbs little; with more it is the wall's.
Of several runs, taken in turn, the fastest counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from slowwave.bench.base import Benchmark, Progress, Result
from slowwave.bench.partial import Partial

PEER = "titans-pytorch==0.5.5"
README = {"width": 384, "chunk": 64, "batch": 2, "time": 1024}  # the size in the peer's README


class StateSpeed(Benchmark):
    """Tokens a second: kernels and layers in both forms, beside transformers and titans-pytorch, and to 1M tokens.

    threads      each measured in turn
    runs         of which the fastest counts
    tokens       of the long stream; systems that go token by token get a twentieth
    peer         also run titans-pytorch at its README's size, in an environment of its own
    peer_python  a Python that has it; None makes one under ~/.slowwave/bench-titans
    """

    name = "state-speed"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        threads: Sequence[int] = (1, 2),
        runs: int = 3,
        tokens: int = 1_000_000,
        peer: bool = True,
        peer_python: str | Path | None = None,
    ) -> None:
        super().__init__(quick, seed, out)
        self.threads = tuple(threads)
        self.runs = runs
        self.tokens = tokens
        self.peer = peer
        self.peer_python = None if peer_python is None else Path(peer_python)

    def measure(self, progress: Progress) -> Result:
        import torch

        out: Result = {"torch": torch.__version__, "kernel": {}, "layers": {}, "titans at README size": {}}
        threads = (1,) if self.quick else self.threads
        kept = Partial(self.out, self.settings())
        for place, count in enumerate(threads):
            torch.set_num_threads(count)
            key = f"{count} thread" + ("s" if count > 1 else "")
            for part, measure in (
                ("kernel", self._kernels), ("layers", self._layers), ("titans at README size", self._readme),
            ):  # fmt: skip
                progress(part, place, len(threads))
                out[part][key] = kept.get(f"{part} {key}", partial(measure, count))
        torch.set_num_threads(1)
        made = self._streams()
        out["stream"] = {}
        for done, (name, (make, slower)) in enumerate(made.items()):
            progress("stream", done, len(made))
            out["stream"][name] = kept.get(f"stream {name}", partial(self._stream, make, slower))
        progress("stream", len(made), len(made))
        kept.finish()
        return out

    def _kernels(self, threads: int) -> dict[str, Any]:
        """The gated delta rule, batch 2, 4 heads of 64, 1,024 tokens."""
        import torch

        from slowwave.state.kernels.delta import delta_chunked, delta_recurrent

        time_ = 64 if self.quick else 1024
        q, k, v = (torch.randn(2, 4, time_, 64) for _ in range(3))
        k = k / k.norm(dim=-1, keepdim=True)
        beta, decay = torch.rand(2, 4, time_), -0.1 * torch.rand(2, 4, time_)
        start = torch.zeros(2, 4, 64, 64)
        calls: dict[str, Callable[..., Any]] = {
            "chunked": lambda q, k, v, beta, decay: delta_chunked(q, k, v, beta, decay, start)[0],
            "token by token": lambda q, k, v, beta, decay: delta_recurrent(q, k, v, beta, decay, start)[0],
        }
        try:
            from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule
        except ImportError:
            pass
        else:

            def theirs(q: Any, k: Any, v: Any, beta: Any, decay: Any) -> Any:
                swapped = [x.transpose(1, 2) for x in (q, k, v, decay, beta)]
                return torch_chunk_gated_delta_rule(*swapped[:3], g=swapped[3], beta=swapped[4])[0]

            calls["transformers, chunked"] = theirs
        return self._rates(calls, [q, k, v, beta, decay], 2 * time_, threads)

    def _layers(self, threads: int) -> dict[str, Any]:
        """Whole layers of width 128, batch 2, 512 tokens, both forms."""
        import torch

        from slowwave.state.mom import MoM
        from slowwave.state.titans import Titans

        time_, width = (32, 16) if self.quick else (512, 128)
        x = torch.randn(2, time_, width)
        out = {}
        for name, layer in {
            "titans, memory alone": Titans(width, "lmm", heads=4, chunk=64),
            "titans, MAC": Titans(width, "mac", heads=4, chunk=64),
            "titans, MAG": Titans(width, "mag", heads=4, chunk=64),
            "mom": MoM(width, heads=4),
        }.items():
            calls = {
                "chunked": lambda x, layer=layer: layer(x).y,
                "token by token": lambda x, layer=layer: layer(x, mode="step").y,
            }
            out[name] = self._rates(calls, [x], 2 * time_, threads)
        return out

    def _readme(self, threads: int) -> dict[str, Any]:
        """The neural memory at the size of the peer's README, beside the peer."""
        import torch

        from slowwave.state.titans import NeuralMemory

        size = {**README, "width": 32, "time": 128} if self.quick else README
        layer = NeuralMemory(size["width"], chunk=size["chunk"])
        x = torch.randn(size["batch"], size["time"], size["width"])
        tokens = size["batch"] * size["time"]
        out = {"slowwave": self._rates({"chunked": lambda x: layer(x).y}, [x], tokens, threads)["chunked"]}
        out["slowwave"]["parameters"] = sum(p.numel() for p in layer.parameters())
        if self.peer and not self.quick:
            python = self.peer_python or _peer_environment()
            script = Path(__file__).with_name("peers") / "titans_peer.py"
            command = [str(python), str(script), json.dumps({**size, "threads": threads, "runs": self.runs})]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found = json.loads(done.stdout.splitlines()[-1])
            out["titans-pytorch"] = {
                "forward": round(tokens / found["forward"]),
                "forward and backward": round(tokens / found["both"]),
                "parameters": found["parameters"],
                "version": PEER.partition("==")[2],
            }
            out["times faster"] = {
                way: round(out["slowwave"][way] / out["titans-pytorch"][way], 2)
                for way in ("forward", "forward and backward")
            }
        return out

    def _rates(
        self, calls: dict[str, Callable[..., Any]], inputs: list[Any], tokens: int, threads: int
    ) -> dict[str, dict[str, Any]]:
        """Tokens a second, forward alone and with backward, of each call in turn."""
        import torch

        clock = time.process_time if threads == 1 else time.perf_counter
        best: dict[str, dict[str, float]] = {name: {} for name in calls}
        for _ in range(1 if self.quick else self.runs):
            for name, call in calls.items():
                begin = clock()
                with torch.no_grad():
                    call(*inputs)
                middle = clock()
                given = [x.clone().requires_grad_() for x in inputs]
                torch.autograd.backward(call(*given).sum())
                end = clock()
                for way, seconds in (("forward", middle - begin), ("forward and backward", end - middle)):
                    best[name][way] = min(best[name].get(way, float("inf")), max(seconds, 1e-9))
        return {name: {way: round(tokens / s) for way, s in ways.items()} for name, ways in best.items()}

    def _streams(self) -> dict[str, tuple[Callable[[], Any], int]]:
        """Bounded systems, and by how much their stream is shorter."""
        from slowwave.models.causal import fake_causal
        from slowwave.state import SYSTEMS

        made: dict[str, tuple[Callable[[], Any], int]] = {
            "titans": (lambda: SYSTEMS["titans"](16, layout="lmm", chunk=64), 1),
            "titans, MAC": (lambda: SYSTEMS["titans"](16, layout="mac", chunk=64), 1),
            "titans, MAG": (lambda: SYSTEMS["titans"](16, layout="mag", chunk=64), 1),
            "titans, MAL": (lambda: SYSTEMS["titans"](16, layout="mal", chunk=64), 1),
            "mom": (lambda: SYSTEMS["mom"](16, heads=2), 1),
            "hcam": (lambda: SYSTEMS["hcam"](16, chunk=64, heads=2, capacity=8), 1),
            "rmc": (lambda: SYSTEMS["rmc"](16, slots=4, heads=2, dim=8), 20),
            "memo": (lambda: SYSTEMS["memo"](8, common=16, heads=2, dim=8, capacity=64), 20),
            "memory-prompt": (lambda: SYSTEMS["memory-prompt"](16, prompts=2, inner=32, units=16), 20),
        }
        if find_spec("transformers") is not None:
            small: dict[str, Any] = {"local": 128, "sinks": 4, "retrieve": 128, "block": 64, "most": 32}
            made["memory-llm"] = lambda: SYSTEMS["memory-llm"](fake_causal(), slots=128, update=32, block=64), 20
            made["em-llm, 8,192 kept"] = lambda: SYSTEMS["em-llm"](fake_causal(), capacity=8192, **small), 20
        return made

    def _stream(self, make: Callable[[], Any], slower: int) -> dict[str, Any]:
        """Microseconds of CPU a token along one stream: in its first and its last tenth, and bytes at both ends."""
        import torch

        torch.manual_seed(self.seed)
        system, piece = make(), 64 if self.quick else 2000
        tokens = 640 if self.quick else self.tokens // slower
        state, times = system.init_state(1), []
        start = state.bytes
        x = system.example(1, piece, torch.Generator().manual_seed(self.seed))
        for _ in range(max(10, tokens // piece)):
            begin = time.process_time()
            with torch.no_grad():
                state = system(x, state).state
            times.append((time.process_time() - begin) / piece * 1e6)
        tenth = max(1, len(times) // 10)
        first, last = sorted(times[1 : tenth + 1]), sorted(times[-tenth:])
        return {
            "tokens": piece * len(times),
            "microseconds a token, first tenth": round(first[len(first) // 2], 2),
            "microseconds a token, last tenth": round(last[len(last) // 2], 2),
            "state bytes, first and last": [start, state.bytes],
            "finite": bool(all(leaf.isfinite().all() for leaf in state.leaves().values())),
        }

    def render(self, result: Result) -> str:
        lines = ["tokens a second, forward / forward and backward"]
        for threads, calls in result["kernel"].items():
            lines += [f"gated delta rule, {threads}", *_told(calls)]
        for threads, layers in result["layers"].items():
            for name, calls in layers.items():
                lines += [f"{name}, {threads}", *_told(calls)]
        for threads, found in result["titans at README size"].items():
            faster = found.get("times faster")
            ratio = "" if faster is None else f" ({faster['forward']} and {faster['forward and backward']} times)"
            rows = {name: row for name, row in found.items() if name != "times faster"}
            lines += [f"titans at the peer's README size, {threads}{ratio}", *_told(rows)]
        lines.append("microseconds a token along a stream, first and last tenth; bytes of state")
        for name, row in result["stream"].items():
            lines.append(
                f"  {name:24} {row['tokens']:>9,} tokens  {row['microseconds a token, first tenth']:>8} "
                f"{row['microseconds a token, last tenth']:>8}  {row['state bytes, first and last'][1]:,}"
            )
        return "\n".join(lines)


def _told(calls: dict[str, Any]) -> list[str]:
    return [f"  {name:24} {row['forward']:>10,} {row['forward and backward']:>10,}" for name, row in calls.items()]


def _peer_environment() -> Path:
    """The Python of an environment with the peer, made if it is not there."""
    from slowwave.bench.peers.environment import CPU_TORCH, pip

    home = Path(os.environ.get("SLOWWAVE_HOME") or Path.home() / ".slowwave")
    folder = home / "bench-titans"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (folder / "ready").is_file():
        print(f"making an environment for {PEER} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        pip(python, ["install", "--extra-index-url", CPU_TORCH, "torch", PEER])
        (folder / "ready").write_text(PEER, encoding="utf-8")
    return python
