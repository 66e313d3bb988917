"""The documentation is true: examples run and print what is shown, commands parse, links resolve, nothing is missing.

Blocks marked ```python run in order within a page, in a passing folder; a ```text block right after one is what it
prints. In ```console blocks, lines after "$ " run, and what follows is their output. "..." stands for anything.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import io
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import slowwave
from slowwave import Memory, errors
from slowwave.cli import main, parser
from slowwave.cli.commands import COMMANDS
from slowwave.models import resolve_embedder
from slowwave.records import SCOPE_FIELDS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))
import make  # noqa: E402  docs/make.py

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
WRITTEN = [page for page in PAGES if page.name not in ("commands.md", "atlas.md")]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
VARIABLE = re.compile(r"SLOWWAVE_[A-Z_]*[A-Z]")
names = [page.name for page in PAGES]


class Block(NamedTuple):
    """A fenced block: its language, what is in it, and what the page says it prints (None if nothing is said)."""

    language: str
    text: str
    shown: str | None
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    out = []
    found = list(FENCE.finditer(text))
    for match, after in zip(found, [*found[1:], None], strict=False):
        follows = after is not None and after[1] == "text" and not text[match.end() : after.start()].strip()
        shown = after[2] if after is not None and follows else None
        out.append(Block(match[1], match[2], shown, text.count("\n", 0, match.start()) + 1))
    return out


def agree(shown: str, printed: str) -> bool:
    """Whether they are equal but for white space at the ends of lines and what "..." stands for."""
    plain = ["\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n" for text in (shown, printed)]
    return doctest.OutputChecker().check_output(plain[0], plain[1], doctest.ELLIPSIS)


@cache
def encoder() -> Any:
    """The encoder that comes with the install, loaded once."""
    return resolve_embedder("minilm")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A passing folder to be in, a home of its own, and no SLOWWAVE_... in the environment."""
    for name in list(os.environ):
        if name.startswith("SLOWWAVE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(
        "slowwave.memory.resolve_embedder", lambda spec=None: encoder() if spec is None else resolve_embedder(spec)
    )
    return tmp_path


def session(text: str) -> Iterator[tuple[str, str]]:
    """A ```console block -> commands, each with the output that is shown."""
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        line, _, shown = part.partition("\n")
        yield line, shown


def typed(line: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a command of a ```console block prints, errors included."""
    words = shlex.split(line)
    if words[0] == "export":
        for word in words[1:]:
            monkeypatch.setenv(*word.split("=", 1))
        return ""
    assert words[0] == "slowwave", line
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    with redirect_stdout(out), redirect_stderr(out):
        main(words[1:])
        out.flush()
    return out.buffer.getvalue().decode("utf-8")  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_examples_run_and_print_what_is_shown(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {"__name__": "example"}
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        if block.language == "python":
            out = io.StringIO()
            with redirect_stdout(out):
                exec(compile(block.text, where, "exec"), space)
            printed = out.getvalue()
            assert agree(block.shown or "", printed), f"{where} shows\n{block.shown}\nand prints\n{printed}"
        elif block.language == "console":
            for line, shown in session(block.text):
                printed = typed(line, monkeypatch)
                assert agree(shown, printed), f"{where}: {line}\nshows\n{shown}\nand prints\n{printed}"
    for value in space.values():
        if isinstance(value, Memory):
            value.close()


def command_lines(page: Path) -> Iterator[str]:
    """Each line for a shell that calls slowwave, without what stands before it."""
    for block in blocks(page):
        for line in block.text.splitlines() if block.language in ("sh", "console") else ():
            found = re.match(r"(?:\$ )?(?:\w+=\S* )*(?:\.venv/bin/)?slowwave (.*)", line)
            if found:
                yield found[1]


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_each_command_line_parses(page: Path) -> None:
    for line in command_lines(page):
        words = shlex.split(re.split(r" [|>&]", line)[0], comments=True)
        if "--help" not in words and "--version" not in words:
            parser().parse_args(words)  # raises UsageError


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", FENCE.sub("", file.read_text("utf-8")), re.M)
            assert anchor in map(slug, headings), f"{page.name} links to {target}, not to a heading"


def in_code(pages: list[Path]) -> set[str]:
    """Every word that stands in code somewhere in these pages."""
    found: set[str] = set()
    for page in pages:
        text = page.read_text("utf-8")
        code = [block.text for block in blocks(page)] + re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        found.update(word for part in code for word in re.findall(r"\w+", part))
    return found


def test_every_verb_of_memory_and_every_parameter_is_told() -> None:
    told = in_code(WRITTEN)
    verbs = {name for name in dir(Memory) if not name.startswith("_") and callable(getattr(Memory, name))}
    missing = {name for name in (*verbs, *SCOPE_FIELDS) if name not in told}
    for function in (Memory.__init__, *(getattr(Memory, verb) for verb in verbs)):
        given = set(inspect.signature(function).parameters) - {"self", "scope"}
        missing |= {f"{function.__name__}({name})" for name in given if name not in told}
    assert not missing


def test_every_error_and_every_variable_of_the_environment_is_told() -> None:
    text = "\n".join(page.read_text("utf-8") for page in WRITTEN)
    source = "\n".join(file.read_text("utf-8") for file in Path(slowwave.__file__).parent.rglob("*.py"))
    used = {name for name in VARIABLE.findall(source) if name.count("_") > 1 or name in ("SLOWWAVE_DB",)}
    used |= {f"SLOWWAVE_{name.upper()}" for name in SCOPE_FIELDS}
    assert not {name for name in used if name not in text and name not in (DOCS / "commands.md").read_text("utf-8")}
    assert errors.SlowwaveError.__name__ in text


def test_every_command_and_every_option_is_told() -> None:
    text = (DOCS / "commands.md").read_text("utf-8")
    for command in COMMANDS:
        assert f"\n## {command}\n" in text, f"docs/commands.md lacks {command}; run: python docs/make.py"
        for option in make.options_of(command):
            assert f"`{option}`" in text, f"docs/commands.md lacks {command} {option}; run: python docs/make.py"


def test_what_is_made_from_code_and_measurements_is_as_they_are_now() -> None:
    stale = [path.name for path, text in make.made() if path.name != "atlas.md" and path.read_text("utf-8") != text]
    assert not stale, f"{stale} are not as code and results say; run: python docs/make.py"


def test_the_compose_file_is_the_one_that_the_page_shows() -> None:
    shown = re.search(r"```yaml\n(services:.*?)```", (ROOT / "docs" / "postgres.md").read_text("utf-8"), re.S)
    assert shown is not None
    assert (ROOT / "compose.yaml").read_text("utf-8").split("\n", 1)[1] == shown[1]


def test_the_readme_has_no_number_without_the_command_that_measured_it() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for match in make.PART.finditer(text):
        assert "`slowwave bench" in match[3], "a table does not say what made it; run: python docs/make.py"
    prose = FENCE.sub("", make.PART.sub("", text))
    assert not re.findall(r"\b\d+\.\d+\b(?<!3\.11)(?<!2\.0)|\b\d+ ?(?:ms|%)(?! intervals)", prose)


def modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(slowwave.__path__, "slowwave."):
        if not found.name.endswith("__main__") and ".bench.peers." not in found.name:
            yield found.name


def test_the_examples_in_docstrings_run(place: Path) -> None:
    tried = 0
    for name in ("slowwave", *modules()):
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
        assert not result.failed, f"an example in {name} is wrong"
        tried += result.attempted
    assert tried > 5


@pytest.mark.slow
def test_the_tour_tells_the_whole_story(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLOWWAVE_")}
    environment |= {"SLOWWAVE": f"{sys.executable} -m slowwave", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", str(ROOT / "runs" / "tour.sh")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for command in ("import", "add", "search", "sleep", "log", "undo", "history", "forget", "export", "erase", "atlas"):
        assert re.search(rf"\$ slowwave {command}\b", done.stdout), command
    assert "nothing of them is left in the files" in done.stdout
    assert not list(tmp_path.iterdir()), "the tour leaves something behind"
