"""`make demo`: Bram Stoker's Dracula (1897) as a memory. Take it in, sleep on it, ask it ten questions."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from slowwave import Memory
from slowwave.data import dracula
from slowwave.ops.excerpt import excerpt
from slowwave.progress import Bars
from slowwave.records import Change, Hit, ScopeArgs

READER: ScopeArgs = {"user_id": "reader"}
SHOWN = {"supersede": 3, "merge": 3, "contradict": 2, "add": 3, "note": 2, "summarise": 2, "link": 1}  # in this order


def main() -> int:
    """Run the demo; the memory is kept in demo.db (SLOWWAVE_DB names another file), so a second run is quick."""
    from rich.console import Console

    out = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    start = time.perf_counter()
    path = Path(os.environ.get("SLOWWAVE_DB") or "demo.db")
    out.print("[bold]slowwave[/]: Bram Stoker's [italic]Dracula[/] as a memory, no key, no server, no language model\n")
    with Memory(path) as memory:
        _take_in(memory, out)
        _sleep(memory, out)
        right = _ask(memory, out)
        size = memory.stats(**READER)["bytes_on_disk"] / 1e6
    asked = sum(1 + ("then" in question) for question in dracula.questions())
    out.print(
        f"[bold]{right} of {asked}[/] answered by a passage that bears them out (✓), or rightly by nothing, in "
        f"{time.perf_counter() - start:.0f} s. Everything is in {path} ({size:.1f} MB)."
    )
    out.print(f'Go on yourself: [cyan]slowwave --db {path} search "Who is Renfield?" --user-id reader[/]')
    return 0 if right >= asked - 2 else 1


def _take_in(memory: Memory, out: Any) -> None:
    episodes = dracula.episodes()
    with Bars() as progress:
        report = memory.add(episodes, progress=progress, **READER)
    voices = len({item.speaker for item in episodes})
    what = f"{len(episodes)} dated passages by {voices} hands: journals, letters, telegrams, a ship's log"
    if report.counts.get("ADD"):
        out.print(f"[green]taken in[/]  {what} ({report.seconds:.1f} s)")
    else:
        out.print(f"[green]known[/]     {what}: adding them again is a no-op ({report.seconds:.1f} s)")


def _sleep(memory: Memory, out: Any) -> None:
    with Bars() as progress:
        night = memory.sleep(progress=progress, **READER)
    if night.op is not None:
        out.print(
            f"[green]slept[/]     {_counts(night.counts)} ({night.seconds:.1f} s), undone whole by `slowwave undo`"
        )
        for verb, most in SHOWN.items():
            for change in [change for change in night if change.verb == verb][:most]:
                _print_change(memory, change, out)
        if not {"supersede", "merge"} & set(night.counts):
            out.print(
                "  [dim]nothing was folded or superseded: the book tells its changes in prose[/]"
            )
    else:
        last = memory.log(verb="sleep", limit=1, **READER)
        when = last[0]["recorded"][:16].replace("T", " at ") if last else "never"
        out.print(f"[green]slept[/]     nothing is new since the last night ({when} UTC), so there was nothing to do")
    out.print()


def _print_change(memory: Memory, change: Change, out: Any) -> None:
    text = change.engram.text if change.engram else memory.get(change.id, **READER).text
    flat = " ".join(text.split())
    out.print(f"  [magenta]{change.verb:<10}[/] {_cut(flat, 150)}", markup=True)
    out.print(f"             [dim]why: {_cut(change.reason, 90)}; from {len(change.sources)} source(s)[/]")


def _ask(memory: Memory, out: Any) -> int:
    right = 0
    for number, question in enumerate(dracula.questions(), start=1):
        asked = [(question["kwargs"], question["gold"])]
        if "then" in question:
            asked.append((question["then"]["kwargs"], question["then"]["gold"]))
        for kwargs, gold in asked:
            moment = f" [yellow](at {kwargs['at']})[/]" if "at" in kwargs else ""
            out.print(f"[bold]{number}. {question['question']}[/]{moment}")
            hits = memory.search(question["question"], top_k=3, explain=True, note_use=False, **kwargs, **READER)
            found = any(piece in hit.text for hit in hits for piece in gold) or (not gold and not len(hits))
            right += found
            for hit in hits:
                _print_hit(hit, question["question"], gold, out)
            if not len(hits):
                out.print("   [italic]Nothing on that.[/]")
                for almost in hits.trace["almost"][:1]:
                    line = _cut(" ".join(almost["memory"].split()), 80)
                    out.print(
                        f"   [dim]nearest, left out at {almost['score']:.2f} < {hits.trace['threshold']}: {line}[/]"
                    )
            out.print()
    return right


def _print_hit(hit: Hit, question: str, gold: list[str], out: Any) -> None:
    from rich.markup import escape

    engram = hit.engram
    mark = "[green]✓[/]" if any(piece in engram.text for piece in gold) else " "
    where = engram.attrs.get("session") or engram.kind
    said = escape(excerpt(engram.text, question, 200))
    out.print(f" {mark} {engram.at:%d %b %Y}, [cyan]{escape(engram.speaker or engram.kind)}[/]: {said}")
    source = engram.origin if engram.kind == "episode" else f"{engram.kind} made from {len(engram.sources)} records"
    out.print(f"   [dim]{escape(str(where))}; {escape(str(source))}; score {hit.score:.2f}: {escape(hit.why)}[/]")


def _counts(counts: Any) -> str:
    return ", ".join(f"{count} {verb}" for verb, count in counts.items())


def _cut(text: str, length: int) -> str:
    from rich.markup import escape

    return escape(text if len(text) <= length else text[: length - 3] + "...")


if __name__ == "__main__":
    raise SystemExit(main())
