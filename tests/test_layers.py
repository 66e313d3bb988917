"""Imports run one way, and importing slowwave or a Memory brings nothing heavy and starts nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import slowwave

PACKAGE = Path(slowwave.__file__).parent

# From the ground up: a part may import what stands below its line, and itself. Parts of one line stand side by side.
LINES: list[set[str]] = [
    {"errors", "signatures"},
    {"records"},
    {"store", "models", "progress"},
    {"ops"},
    {"text", "formats", "state", "weights", "watch", "cloze"},
    {"promote"},
    {"verbs"},
    {"memory", "data"},
    {"asynchronous", "checks", "client", "compat", "atlas"},
    {"probes"},
    {"bench"},
    {"serve"},
    {"cli", "demo"},
    {"__main__"},
]
ALONE = {  # what stands on less than its line would allow
    "state": {"errors", "models"},  # models: only to load one that is named
    "weights": {"errors"},
    "formats": {"errors", "records", "store", "ops"},
    "atlas": {"errors", "records", "text", "state", "weights"},
    "cloze": {"errors", "models"},
    "probes": {"errors", "progress", "data", "models", "cloze"},
    "checks": {"errors", "records", "store", "models", "ops", "text", "memory", "state", "weights"},
}
BESIDE = {
    ("data", "formats"),  # the sample is a parsed text
    ("memory", "client"),  # the address of a server in the place of a path
    ("asynchronous", "client"),
    ("client", "asynchronous"),
}
HEAVY = ["torch", "onnxruntime", "tokenizers", "dateparser", "rich", "transformers", "openai", "usearch", "pandas"]


def parts() -> set[str]:
    names = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    return {name for name in names if name != "__init__" and not name.startswith(("__pycache__", "py."))}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The parts of slowwave that a file imports, at its top or anywhere else, types aside."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where things come from"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "slowwave" else []
            names = names or [node.module or ""]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("slowwave.")}
    return found & parts()


def height(part: str) -> int:
    return next(place for place, line in enumerate(LINES) if part in line)


def test_every_part_has_its_line() -> None:
    known = set().union(*LINES)
    assert parts() - known == set(), "say in LINES where it stands"


@pytest.mark.parametrize("part", sorted(parts() & set().union(*LINES)))
def test_imports_run_downwards(part: str) -> None:
    folder = PACKAGE / part
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]
    wrong = []
    for path in files:
        for other in imports(path) - {part}:
            below = height(other) < height(part) or (part, other) in BESIDE
            if not below or other not in ALONE.get(part, {other}):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_the_check_sees_a_wrong_import(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "def f():\n    from slowwave.memory import Memory\nimport slowwave.store.base\nfrom slowwave import records"
    )
    assert imports(file) == {"memory", "store", "records"}
    assert height("memory") > height("store")


def test_no_sql_outside_the_store() -> None:
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        if part_of(path) not in ("store", "bench"):  # the benchmarks run other people's stores
            nodes = ast.walk(ast.parse(path.read_text("utf-8")))
            if any(isinstance(node, ast.Import) and "sqlite3" in {a.name for a in node.names} for node in nodes):
                wrong.append(str(path.relative_to(PACKAGE)))
    assert not wrong


def run(script: str) -> str:
    """What a fresh interpreter prints; any warning or error in it fails."""
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


GUARD = """
import socket, sys, threading, logging
def refuse(*args, **kwargs): raise AssertionError("it asks the network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
handlers = list(logging.getLogger().handlers)
"""


def test_importing_slowwave_brings_nothing_heavy() -> None:
    script = f"import sys, slowwave; print([m for m in {[*HEAVY, 'numpy', 'sqlite3']!r} if m in sys.modules])"
    assert run(script) == "[]"


def test_a_memory_of_the_fake_embedder_brings_nothing_heavy() -> None:
    script = "import sys; from slowwave import Memory; m = Memory(':memory:', embedder='fake');"
    script += f"m.close(); print([m for m in {HEAVY!r} if m in sys.modules])"
    assert run(script) == "[]"


def test_a_day_starts_no_thread_sets_up_no_logging_and_asks_no_network(tmp_path: Path) -> None:
    script = (
        GUARD
        + f"""
from slowwave import Memory
m = Memory({str(tmp_path / "a.db")!r}, embedder="fake")
m.add(["I live in Porto", "I moved to Lisbon yesterday"], user_id="u", speaker="Ana")
m.search("Where does Ana live?", user_id="u")
m.sleep(user_id="u")
m.erase(all=True, user_id="u")
m.close()
print(threading.active_count(), logging.getLogger().handlers == handlers, logging.getLogger("slowwave").handlers)
"""
    )
    assert run(script) == "1 True []"


def test_the_encoder_that_comes_along_asks_no_network() -> None:
    script = (
        GUARD
        + """
from slowwave.models import resolve_embedder
print(resolve_embedder("minilm", threads=1).embed(["a"]).shape)
"""
    )
    assert run(script) == "(1, 384)"


def test_every_module_opens_with_what_it_is_for_and_stays_small() -> None:
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text("utf-8")
        if not source.strip():
            continue
        assert ast.get_docstring(ast.parse(source)), f"{path.relative_to(PACKAGE)} does not say what it is for"
