"""Writes what in the docs is made from the code and from measurements: `python docs/make.py`.

    docs/commands.md                  every command and option, off the command line's own parsers
    docs/atlas.md                     the register of systems
    <!-- made: NAME --> ... <!-- end -->   in README.md and docs/*.md: tables of bench/results/NAME.json

A table whose result is not there stays as it is. `--results FOLDER` reads the results from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
PART = re.compile(r"(<!-- made: (\S+) -->\n)(.*?)(<!-- end -->)", re.S)
ROWS = {
    "recency": "the latest first",
    "bm25": "BM25 (SQLite FTS5)",
    "dense": "dense vectors (MiniLM)",
    "dense, dated": "dense, with the date in the text",
    "rrf": "rank fusion of the two",
    "slowwave": "**slowwave**",
    "slowwave, default threshold": "slowwave, default threshold",
    "slowwave, after sleep": "slowwave, after a night",
}
POSITIONAL = {  # what argparse's own help leaves empty
    "QUERY": "the question, in words",
    "OP": "an operation's id, from `slowwave log`",
    "ID": "a record's id, from `slowwave search` or `list`",
    "TEXT": "the new text",
}
SHORT = ("bm25", "dense", "rrf", "slowwave")


def retrieval(result: Any, rows: tuple[str, ...] = tuple(ROWS), part: str = "all") -> str:
    """A table of evidence recall; intervals of 95 % where there are enough conversations to resample."""
    found = result["parts"][part]
    columns = [name for name in ("recall@5", "recall@10", "recall@20", "recall@1000t") if name in found["dense"]]
    words = [name.replace("@1000t", " in 1,000 tokens") for name in columns]
    lines = ["| | " + " | ".join(words) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in rows:
        if name in found:
            lines.append(f"| {ROWS[name]} | " + " | ".join(cell(found[name][column]) for column in columns) + " |")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """0.801 [0.762, 0.840]"""
    bounds = "" if value["low"] is None else f" [{value['low']:.3f}, {value['high']:.3f}]"
    return f"{value['mean']:.3f}{bounds}"


def short(result: Any) -> str:
    """The README's table, and where it comes from."""
    found = result["parts"]["all"]
    lines = ["| | recall@10 | within 1,000 tokens |", "|---|---|---|"]
    for name in SHORT:
        lines.append(f"| {ROWS[name]} | {cell(found[name]['recall@10'])} | {cell(found[name]['recall@1000t'])} |")
    return "\n".join([*lines, "", made_by(result)])


def made_by(result: Any) -> str:
    """The command, the seed, the machine and the date of a result."""
    machine, seed = result["machine"], result["parameters"]["seed"]
    note = result.get("note", "")
    return (
        f"`{result['command']}`: {result['seconds']:.0f} s on {machine['cores']} cores, seed {seed}, "
        f"{result['date'][:10]}, slowwave {result['versions']['slowwave']}." + (f" Note: {note}." if note else "")
    )


def page(name: str, result: Any) -> str:
    """The part of docs/benchmarks.md for one result."""
    if name == "locomo_others":
        return f"On the five conversations that nothing was chosen on:\n\n{retrieval(result, part='the others')}"
    if name in ("systems", "systems_otherwise"):
        return systems(result)
    if name == "halumem":
        return halumem(result)
    if "parts" in result:
        counts = ", ".join(f"{value:,} {what}" for what, value in result["counts"].items())
        nothing = [f"{what}, at the default threshold: {cell(v)}. " for what, v in result.items() if "nothing" in what]
        told = "".join(part[0].upper() + part[1:] for part in nothing)
        return f"{retrieval(result)}\n\n{told}{counts}. {made_by(result)}"
    from slowwave.bench import BENCHMARKS

    rendered = BENCHMARKS[result["benchmark"]]().render(result)
    return f"```text\n{rendered.strip()}\n```\n\n{made_by(result)}"


def systems(result: Any) -> str:
    """The table of all text systems: recall, rates by rules and with an oracle, and what a night costs."""
    rows = result["rows"]
    modes = list(dict.fromkeys(mode for row in rows.values() for mode in row["facts"]))
    lines = [
        "| | recall in 1,000 tokens | "
        + " | ".join(f"stale, {mode}" for mode in modes)
        + " | lost, "
        + " / ".join(modes)
        + " | calls | records |",
        "|---" * (len(modes) + 5) + "|",
    ]
    for name, row in rows.items():
        recall = row["locomo"] or {}
        first = f"1.000 in {recall['tokens']:,} tokens" if "recall" in recall else ""
        first = cell(recall["recall@1000t"]) if "recall@1000t" in recall else first
        rates = {mode: row["facts"].get(mode) for mode in modes}
        stale = [_rate(found, "stale_rate") for found in rates.values()]
        lost = " / ".join(_rate(found, "lost_rate") for found in rates.values())
        perfect = rates.get("ε = 0") or {}
        calls, kept = (_rate(perfect, key, 0) for key in ("calls", "kept"))
        shown = f"**{name}**" if name == "default" else name
        lines.append(f"| {shown} | {first} | {' | '.join(stale)} | {lost} | {calls} | {kept} |")
    return "\n".join([*lines, "", made_by(result)])


def halumem(result: Any) -> str:
    """The table of the HaluMem-style scores: the rules and the oracle that errs in 5 %; the rest is in the result."""
    modes = ("rules", "ε = 0.05")
    columns = (
        ("extraction", "recall"), ("extraction", "precision"), ("extraction", "resistance"), ("updating", "correct"),
        ("updating", "hallucinated"), ("answering", "correct"), ("answering", "hallucinated"), ("answering", "omitted"),
    )  # fmt: skip
    lines = [f"| rules / {modes[1]} | " + " | ".join(f"{part}: {what}" for part, what in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for name, row in result["rows"].items():
        cells = []
        for part, what in columns:
            found = [row[mode][part][what]["mean"] for mode in ("", *modes) if part in row.get(mode, {})]
            cells.append(" / ".join("-" if share is None else f"{share:.2f}" for share in found))
        lines.append(f"| {f'**{name}**' if name == 'default' else name} | {' | '.join(cells)} |")
    told = {what: sum(n.values()) if isinstance(n, dict) else n for what, n in result["counts"].items()}
    counts = ", ".join(f"{n:,} {what}" for what, n in told.items())
    return "\n".join([*lines, "", f"{counts}. {made_by(result)}"])


def _rate(found: Any, key: str, digits: int = 3) -> str:
    value = (found or {}).get(key)
    return "" if value is None or value["mean"] is None else f"{value['mean']:.{digits}f}"


def plot_systems(results: Path = RESULTS) -> None:
    """docs/figures/systems.png: evidence recall against stale answers, by rules and with an oracle that errs in 5 %."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = json.loads((results / "systems.json").read_text("utf-8"))["rows"]
    figure, axis = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    for name, row in rows.items():
        recall = row["locomo"]["recall@1000t"]["mean"] if "recall@1000t" in row["locomo"] else None
        if recall is None:
            continue
        ends = [
            row["facts"][mode]["stale_rate"]["mean"] for mode in ("rules", "ε = 0.05") if mode in row["facts"]
        ]
        plain = len(ends) == 1
        colour = "#8a8f98" if plain else "#c8452f" if name == "default" else "#2f6fb0"
        axis.plot(ends, [recall] * len(ends), "-", color=colour, alpha=0.5)
        axis.plot(ends[0], recall, "o", color=colour, markerfacecolor="none")
        if not plain:
            axis.plot(ends[1], recall, "o", color=colour)
        axis.annotate(name, (ends[-1], recall), xytext=(5, 4), textcoords="offset points", fontsize=8, color=colour)
    axis.set(
        xlabel="stale answers on FactStream (open: by rules; filled: with an oracle that errs in 5 %)",
        ylabel="evidence recall on LoCoMo within 1,000 tokens",
    )
    axis.spines[["top", "right"]].set_visible(False)
    folder = ROOT / "docs" / "figures"
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "systems.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def plot_continual(results: Path = RESULTS) -> None:
    """docs/figures/continual.png: what a task costs along many, beside Avalanche."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    file = results / "continual.json"
    cost = json.loads(file.read_text("utf-8")).get("avalanche", {}).get("cost", {}) if file.is_file() else {}
    if not cost:
        return
    tasks = json.loads(file.read_text("utf-8"))["parameters"]["tasks"]
    figure, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for number, (method, both) in enumerate(cost.items()):
        for side, line in (("slowwave", "-"), ("avalanche", "--")):
            curve = both[side]["curve, ms"]
            at = [(place + 0.5) * tasks / len(curve) for place in range(len(curve))]
            axis.plot(at, curve, line, color=f"C{number}", label=f"{method}, {side}")
    axis.set(xlabel="task", ylabel="milliseconds a task", yscale="log")
    axis.legend(fontsize=7, frameon=False, ncols=2)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs" / "figures" / "continual.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def plot_continual_methods(results: Path = RESULTS) -> None:
    """docs/figures/continual_methods.png: accuracy of every method at the end of each stream, best first."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    file = results / "continual.json"
    streams = json.loads(file.read_text("utf-8")).get("streams", {}) if file.is_file() else {}
    if not streams:
        return
    wide = 2 if len(streams) > 1 else 1
    tall = -(-len(streams) // wide)
    figure, axes = pyplot.subplots(tall, wide, figsize=(5 * wide, 3.6 * tall), layout="constrained", squeeze=False)
    for axis in axes.flat[len(streams) :]:
        axis.set_visible(False)
    for axis, (name, rows) in zip(axes.flat, streams.items(), strict=False):
        order = sorted(rows, key=lambda row: rows[row]["accuracy"]["mean"])
        means = [rows[row]["accuracy"]["mean"] for row in order]
        lows = [rows[row]["accuracy"]["low"] for row in order]
        errors = [0.0 if low is None else mean - low for mean, low in zip(means, lows, strict=True)]
        colours = ["C7" if row in ("naive", "joint") else "C0" for row in order]
        axis.barh(order, means, xerr=errors, color=colours, error_kw={"elinewidth": 0.7})
        axis.set_title(name, fontsize=8)
        axis.set_xlim(0, 1)
        axis.tick_params(labelsize=6)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(ROOT / "docs" / "figures" / "continual_methods.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def plot_state(results: Path = RESULTS) -> None:
    """docs/figures/state.png: what each sequence memory recalls, task by task, beside the bytes of its state."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    file = results / "state.json"
    rows = json.loads(file.read_text("utf-8")).get("rows", {}) if file.is_file() else {}
    if not rows:
        return
    tasks = list(next(iter(rows.values()))["accuracy"])
    order = sorted(rows, key=lambda row: -sum(rows[row]["accuracy"][task]["mean"] for task in tasks))
    means = [[rows[row]["accuracy"][task]["mean"] for task in tasks] for row in order]
    figure, axis = pyplot.subplots(figsize=(8, 0.38 * len(order) + 1.6), layout="constrained")
    axis.imshow(means, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for y, row in enumerate(means):
        for x, mean in enumerate(row):
            axis.text(x, y, f"{mean:.2f}", ha="center", va="center", fontsize=7, color="w" if mean > 0.6 else "k")
    axis.set_xticks(range(len(tasks)), tasks, rotation=25, ha="right", fontsize=7)
    axis.set_yticks(range(len(order)), [f"{row}, {rows[row]['state bytes']:,} B" for row in order], fontsize=7)
    axis.set_title("share of right answers", fontsize=8)
    axis.tick_params(length=0)
    figure.savefig(ROOT / "docs" / "figures" / "state.png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def filled(text: str, make: Callable[[str, Any], str], results: Path = RESULTS) -> str:
    """The text with every table made anew whose result is there."""

    def one(match: re.Match[str]) -> str:
        file = results / f"{match[2].removesuffix('_others')}.json"
        if not file.is_file():
            return match[0]
        return f"{match[1]}{make(match[2], json.loads(file.read_text('utf-8')))}\n{match[4]}"

    return PART.sub(one, text)


def commands() -> str:
    """docs/commands.md."""
    from slowwave.bench import BENCHMARKS
    from slowwave.cli.commands import COMMANDS

    shared = options_of("stats")
    out = [
        "# Every command",
        "",
        "Made by `python docs/make.py` from the command line itself. `slowwave COMMAND --help` says the same.",
        "",
        "A scope is needed nearly everywhere: `--user-id`, `--agent-id`, `--run-id`, `--app-id`, or",
        "`SLOWWAVE_USER_ID`, `SLOWWAVE_AGENT_ID`, `SLOWWAVE_RUN_ID`, `SLOWWAVE_APP_ID` in the environment. Exit codes:",
        "0 fine, 1 an error or a check that found something, 2 a command line that cannot be read, 130 interrupted.",
        "",
        "## Options of every command that opens a memory",
        "",
        *table(shared),
    ]
    for command in COMMANDS.values():
        own = {name: says for name, says in options_of(command.name).items() if name not in shared}
        out += ["", f"## {command.name}", "", f"{command.says[0].upper()}{command.says[1:]}.", ""]
        out += ["```sh", command.example, "```", *(["", *table(own)] if own else [])]
    out += ["", "## The benchmarks", ""]
    common = options_of("bench", "memorybank")
    out += ["What they measure is told in [benchmarks](benchmarks.md). All of them take:", "", *table(common), ""]
    for name in BENCHMARKS:
        own = {option: says for option, says in options_of("bench", name).items() if option not in common}
        out += [f"`slowwave bench {name}`" + (", also:" if own else ""), "", *([*table(own), ""] if own else [])]
    return "\n".join(out).rstrip() + "\n"


def table(options: dict[str, str]) -> list[str]:
    """Options as a Markdown table."""
    rows = [f"| `{name}` | {says} |" for name, says in options.items()]
    return ["| option | |", "|---|---|", *(row.replace("<", "&lt;") for row in rows)]


def options_of(*words: str) -> dict[str, str]:
    """The arguments of a command -> what its help says of each."""
    parser = filled_parser(*words)
    out = {}
    for action in parser._actions:
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):
            continue
        chosen = "/".join(map(str, action.choices)) if action.choices else action.metavar or action.dest.upper()
        name = ", ".join(action.option_strings) or str(action.metavar or chosen)
        if action.option_strings and action.nargs != 0:
            name += f" {chosen}"
        says = (action.help or POSITIONAL.get(name, "")).replace("%%", "%").replace("|", "\\|")
        out[name] = says
    return out


def filled_parser(*words: str) -> argparse.ArgumentParser:
    """The parser of a command, with its options, which it reads only when it is used."""
    from slowwave.cli import parser

    found: Any = parser()
    for word in words:
        fill(found)
        chosen = next(action for action in found._actions if isinstance(action, argparse._SubParsersAction))
        found = chosen.choices[word]
    fill(found)
    return found  # type: ignore[no-any-return]


def fill(parser: Any) -> None:
    """What a parser does itself before it parses."""
    do, parser._fill = parser._fill, None
    if do is not None:
        do(parser)


def made(results: Path = RESULTS) -> Iterator[tuple[Path, str]]:
    """Each page that is made, wholly or in part, and what it should say."""
    from slowwave import atlas

    readme = ROOT / "README.md"
    yield readme, filled(readme.read_text("utf-8"), lambda name, result: short(result), results)
    for path in sorted((ROOT / "docs").glob("*.md")):
        if PART.search(text := path.read_text("utf-8")):
            yield path, filled(text, page, results)
    yield ROOT / "docs" / "commands.md", commands()
    yield ROOT / "docs" / "atlas.md", atlas.document(atlas.rows())


def main() -> int:
    """Write the pages; returns the exit code."""
    asked = argparse.ArgumentParser(description="Write what in the docs is made from code and measurements.")
    asked.add_argument("--results", type=Path, default=RESULTS, help="folder of the benchmarks' results")
    asked.add_argument("--figures", action="store_true", help="draw the figures as well")
    given = asked.parse_args()
    if given.figures:
        plot_systems(given.results)
        plot_continual(given.results)
        plot_continual_methods(given.results)
        plot_state(given.results)
    for path, text in made(given.results):
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
