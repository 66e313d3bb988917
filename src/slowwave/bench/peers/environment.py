"""The peers' own environment: made once from requirements.txt, and never with CUDA in it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from slowwave.errors import SlowwaveError

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
GPU_PREFIXES = ("nvidia-", "cuda-", "triton", "pytorch-triton")
READY = "slowwave-peers.json"


class PeersError(SlowwaveError):
    """The peers' environment could not be made, or a peer did not run."""


def default_folder() -> Path:
    """`~/.slowwave/bench-peers`, or the same under SLOWWAVE_HOME."""
    return Path(os.environ.get("SLOWWAVE_HOME") or Path.home() / ".slowwave") / "bench-peers"


def make(folder: Path | None = None) -> Path:
    """The Python of an environment that holds the peers; made if it is not there, or if its requirements changed.

    raises  PeersError if pip fails, or if only a torch with CUDA is to be had
    """
    folder = folder or default_folder()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    ready = folder / READY
    if ready.is_file() and json.loads(ready.read_text(encoding="utf-8"))["requirements"] == wanted:
        return python
    if not python.is_file():
        venv.create(folder, with_pip=True)
    requirements = ["-r", str(REQUIREMENTS)]
    if unwanted(plan(python, requirements)):  # the open index; the other one has torch without CUDA
        requirements += ["--extra-index-url", CPU_TORCH]
        if found := unwanted(plan(python, requirements)):
            raise PeersError(
                f"installing the peers would bring {len(found)} CUDA packages ({', '.join(found[:3])}, ...); "
                f"see that pip can reach {CPU_TORCH}, or put a CPU build of torch into {folder} and try again"
            )
    pip(python, ["install", *requirements])
    pip(python, ["install", "--no-deps", *_slowwave()])
    ready.write_text(json.dumps({"requirements": wanted}), encoding="utf-8")
    return python


def plan(python: Path, requirements: list[str]) -> list[str]:
    """The names of what pip would install, asked of pip itself, with nothing installed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        pip(python, ["install", "--dry-run", "--report", str(report), *requirements])
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return [item["metadata"]["name"] for item in found]


def unwanted(names: list[str]) -> list[str]:
    """Those that are there for a GPU."""
    return [name for name in names if name.lower().replace("_", "-").startswith(GPU_PREFIXES)]


def pip(python: Path, arguments: list[str]) -> None:
    """Run pip in the environment; PeersError with its last lines if it fails."""
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise PeersError(f"{' '.join(command)} failed: {done.stderr.strip()[-800:]}")


def _slowwave() -> list[str]:
    """What pip is to install for slowwave itself: the checkout where there is one, else this version."""
    root = Path(__file__).resolve().parents[4]
    if (root / "pyproject.toml").is_file():
        return ["-e", str(root)]
    from importlib.metadata import version

    return [f"slowwave=={version('slowwave')}"]


if __name__ == "__main__":
    print(make(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
