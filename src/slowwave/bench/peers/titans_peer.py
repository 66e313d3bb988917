"""Times titans-pytorch's NeuralMemory, as its README builds it; run by `bench state-speed` in its environment."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    """One argument, JSON: width, chunk, batch, time, threads, runs. Prints the fastest seconds as JSON."""
    import torch
    from titans_pytorch import NeuralMemory  # type: ignore[import-not-found, unused-ignore]

    given: dict[str, Any] = json.loads(sys.argv[1])
    torch.set_num_threads(given["threads"])
    clock = time.process_time if given["threads"] == 1 else time.perf_counter
    memory = NeuralMemory(dim=given["width"], chunk_size=given["chunk"])
    x = torch.randn(given["batch"], given["time"], given["width"])
    forward, both = [], []
    for _ in range(given["runs"]):
        begin = clock()
        with torch.no_grad():
            memory(x)
        middle = clock()
        found, _ = memory(x)
        torch.autograd.backward(found.sum())
        forward.append(middle - begin)
        both.append(clock() - middle)
    parameters = sum(p.numel() for p in memory.parameters())
    print(json.dumps({"forward": min(forward), "both": min(both), "parameters": parameters}))


if __name__ == "__main__":
    main()
