"""What every instrument is: options in, a Finding out, with a verdict that names its null control and its interval."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from slowwave.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from slowwave.probes.subjects import Subject

Progress = Callable[[str, int, int], None]
Word = Literal["holds", "does not hold", "cannot be told at this size"]
HOLDS: Word = "holds"
FAILS: Word = "does not hold"
OPEN: Word = "cannot be told at this size"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim, and what was seen of it.

    effect     the number that the claim is about, in words and units in `of`
    low, high  its 95 % interval over items, or over seeds where there are several
    null       the same number under the control that lacks the effect; None where there is no such control
    null_high  the upper end of the control's interval
    """

    claim: str
    word: Word
    of: str
    effect: float | None
    low: float | None = None
    high: float | None = None
    null: float | None = None
    null_low: float | None = None
    null_high: float | None = None
    seeds: int = 1
    n: int = 0
    note: str = ""


def above(low: float | None, high: float | None, null_low: float | None, null_high: float | None) -> Word:
    """The verdict on "the effect is larger than the control": it needs intervals apart, else it cannot be told."""
    if low is None or high is None or null_low is None or null_high is None:
        return OPEN
    if low > null_high:
        return HOLDS
    return FAILS if high < null_low else OPEN


@dataclass
class Finding:
    """What an instrument found.

    verdicts  one a claim
    values    plain JSON values, everything that the figures show
    figures   name -> a function that draws it; drawn when the report is written
    limits    sentences: what this run cannot tell
    tables    title -> rows of words, the first of them the heads; shown on the page
    """

    name: str
    verdicts: list[Verdict]
    values: dict[str, Any]
    figures: dict[str, Callable[[], Figure]] = field(default_factory=dict)
    limits: list[str] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; figures are left out."""
        return {
            "probe": self.name,
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
            "values": self.values,
            "limits": self.limits,
            **self.about,
        }


class Workspace:
    """A folder in which the parts of a long run are kept, so that a run that was killed goes on where it was.

    folder    made if it is not there; None keeps parts in this process alone
    settings  what the parts depend on; parts of other settings lie in another sub-folder
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any]) -> None:
        self.folder: Path | None = None
        self._kept: dict[str, Any] = {}
        if folder is not None:
            key = json.dumps(dict(settings), sort_keys=True, default=str)
            self.folder = folder / "parts" / hashlib.sha256(key.encode()).hexdigest()[:12]
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "settings.json").write_text(key, encoding="utf-8")

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """A part as JSON values: what was kept under this name, or what `make` gives now."""
        if name in self._kept:
            return self._kept[name]
        file = None if self.folder is None else self.folder / f"{name}.json"
        if file is not None and file.is_file():
            value = json.loads(file.read_text(encoding="utf-8"))
        else:
            value = json.loads(json.dumps(make()))
            if file is not None:
                new = file.with_suffix(".new")
                new.write_text(json.dumps(value), encoding="utf-8")
                new.replace(file)
        self._kept[name] = value
        return value

    def file(self, name: str) -> Path | None:
        """Where a part that is no JSON may be kept on the way; None where nothing is kept."""
        return None if self.folder is None else self.folder / name

    def path(self, name: str) -> Path:
        """Where a part that is no JSON (activations, weights) may lie; a temporary place where nothing is kept."""
        if self.folder is None:
            import tempfile

            self.folder = Path(tempfile.mkdtemp(prefix="slowwave-probe-"))
        return self.folder / name


def short_hash(*values: Any) -> str:
    """Eight digits that stand for plain values, for the names of parts."""
    return hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:8]


class Probe(ABC):
    """An instrument on a model's memory: one file, one class. Constructor parameters are its options.

    name, paper, operations, claim, differs, proof  its row in the atlas, as for the text systems

    late   options on which only parts that name them depend: another value of theirs makes no finished part anew

    quick  some two minutes, for a first look: `limits` then says what it cannot tell
    seed   of every random choice
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    form: ClassVar[str] = "probe"
    operations: ClassVar[tuple[str, ...]] = ()
    claim: ClassVar[str] = ""
    differs: ClassVar[str] = ""
    proof: ClassVar[str | None] = None
    needs_model: ClassVar[bool] = True
    late: ClassVar[tuple[str, ...]] = ()

    def __init__(self, quick: bool = False, seed: int = 0) -> None:
        self.quick = quick
        self.seed = seed

    @abstractmethod
    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        """Run on a model and texts; parts of long work go through `work`."""

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        """The options with their defaults, as the constructor states them."""
        return inspect.signature(cls).parameters

    def settings(self) -> dict[str, Any]:
        """The options as they are."""
        return {name: getattr(self, name) for name in self.parameters()}

    def run(
        self,
        model: str | Path | Subject | None = None,
        text: str | Path | Sequence[str] | None = None,
        out: str | Path | None = None,
        progress: Progress = lambda stage, done, total: None,
    ) -> Finding:
        """Measure; with `out`, write one page of figures (HTML, PNG) and the verdict (JSON) into that folder.

        model   a folder, a .gguf file or a name that transformers knows; or a Subject
        text    a file, a folder of .txt files, or texts; None takes the sample that comes along
        raises  InputError, ModelError; whatever was finished is kept in `out` and used by the next run
        """
        from slowwave.probes.report import write_report
        from slowwave.probes.subjects import load
        from slowwave.probes.texts import read_texts

        if model is None and self.needs_model:
            raise InputError(f"{self.name} needs a model; give a folder, a .gguf file or a name")
        folder = None if out is None else _made(Path(out).expanduser())
        texts = read_texts(text)  # before the model: what is missing is told at once
        subject = load(model) if isinstance(model, (str, Path)) else model
        print_of = hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()[:16]
        named = "" if subject is None else subject.name
        early = {name: value for name, value in self.settings().items() if name not in self.late}
        work = Workspace(folder, {"probe": self.name, **early, "model": named, "text": print_of})
        start, spent = datetime.now(UTC), time.process_time()
        finding = self.measure(subject, texts, work, progress)
        finding.about = {
            "model": named,
            "quantisation": "" if subject is None else subject.quantisation,
            "text": {"documents": len(texts), "sha256": print_of},
            "settings": self.settings(),
            "date": start.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - start).total_seconds(), 1),
            "cpu_seconds": round(time.process_time() - spent, 1),
            "peak_mb": peak_mb(),
            "versions": versions(),
            "cores": os.cpu_count(),
        }
        if folder is not None:
            write_report(finding, type(self), folder)
        return finding


def _made(folder: Path) -> Path:
    """The folder, made; InputError where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".tried").touch()
        (folder / ".tried").unlink()
    except OSError as error:
        raise InputError(f"{folder} cannot be written to: {error}; give another folder (out)") from error
    return folder


def peak_mb() -> float | None:
    """The most memory that this process has held, in MB, as the system counts it; None where it does not."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def versions() -> dict[str, str]:
    """What was measured with."""
    out = {}
    for package in ("slowwave", "torch", "transformers", "numpy", "gguf"):
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    return out
