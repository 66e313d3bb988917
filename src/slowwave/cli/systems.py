"""What the commands on systems and proofs tell: what a system fills and asks, and what a proof measured."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowwave.cli.page import Page


def system_rows() -> list[dict[str, Any]]:
    """What there is to say of each text system."""
    from slowwave.text import SYSTEMS

    return [
        {
            "name": name,
            "says": (inspect.getdoc(system) or "").partition("\n")[0],
            "paper": system.paper,
            "operations": list(system.operations),
            "claim": system.claim,
            "model": list(system.asks),
            "proof": system.proof,
        }
        for name, system in SYSTEMS.items()
    ]


@dataclass
class Proof:
    """One proof of a checkout: run it, and hold what it measured beside what is committed.

    model  handed to the proof, a file by its whole path, since it runs elsewhere
    """

    folder: Path
    name: str
    quick: bool = False
    model: str | None = None
    committed: dict[str, Any] | None = field(default=None, init=False)
    measured: dict[str, Any] | None = field(default=None, init=False)
    said: str = field(default="", init=False)
    seconds: float = field(default=0.0, init=False)
    code: int = field(default=0, init=False)

    def run(self) -> None:
        """Run it in a process of its own; its progress goes to standard error."""
        self.committed = self._committed() or self._result()
        command = [sys.executable, str(self.folder / f"{self.name}.py"), *(["--quick"] if self.quick else [])]
        if self.model is not None:
            file = Path(self.model).expanduser()
            command += ["--model", str(file.resolve()) if file.exists() else self.model]
        print(f"slowwave: running proofs/{self.name}.py, which may take minutes", file=sys.stderr, flush=True)
        start = time.monotonic()
        done = subprocess.run(command, cwd=self.folder.parent, stdout=subprocess.PIPE, text=True, check=False)
        self.seconds, self.code, self.said = time.monotonic() - start, done.returncode, done.stdout.strip()
        if not self.quick and not self.code:
            self.measured = self._result()

    @property
    def reproduced(self) -> bool:
        """Whether it ran, and came to the verdict that is committed."""
        if self.code or self.quick or not self.committed or not self.measured:
            return not self.code
        return self.committed.get("verdict") == self.measured.get("verdict")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name, "quick": self.quick, "code": self.code, "seconds": round(self.seconds, 1),
            "reproduced": self.reproduced, "said": self.said, "measured": self.measured, "committed": self.committed,
        }  # fmt: skip

    def show(self, page: Page) -> None:
        """The two results, one below the other."""
        if self.code:
            page.lines(self.said)
            page.line((f"the proof ended with exit code {self.code} after {self.seconds:.0f} s", "red"))
            return
        if self.quick:
            page.line(("quick      ", "dim"), self.said or "it said nothing")
        else:
            page.line(("now        ", "dim"), _told(self.measured))
        page.line(("committed  ", "dim"), _told(self.committed))
        if not self.reproduced:
            page.line(("the verdict is another one than that which is committed", "red"))
        page.line((f"{self.seconds:.0f} s", "dim"))

    def _files(self) -> list[str]:
        return [f"results/{stem}.json" for stem in dict.fromkeys((self.name, self.name.replace("_", "-")))]

    def _result(self) -> dict[str, Any] | None:
        for file in self._files():
            if (self.folder / file).is_file():
                return _object((self.folder / file).read_text("utf-8"))
        return None

    def _committed(self) -> dict[str, Any] | None:
        """What git holds; None where there is no git, no repository or no such file in it."""
        for file in self._files():
            show = ["git", "show", f"HEAD:./{file}"]
            try:
                done = subprocess.run(show, cwd=self.folder, capture_output=True, text=True, check=False)
            except OSError:
                return None
            if not done.returncode:
                return _object(done.stdout)
        return None


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _told(result: dict[str, Any] | None) -> str:
    if result is None:
        return "nothing"
    date = str(result.get("date", ""))[:10]
    return f"{result.get('verdict', 'no verdict')}: {result.get('summary', '')}{f', {date}' if date else ''}"
