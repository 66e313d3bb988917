"""HiAgent: does a planner that reads nothing but its window do as well on fewer tokens, and better in a small window?

Run: python proofs/hiagent.py

Two worlds told in words, Gripper (balls to be carried between rooms) and Blocksworld, and for each a fixed rule that
chooses the next action from the text of its prompt alone: what is not in the window it does not know, and has to find
out again at the price of steps. A task must be done within 1.25 times the steps that the full history takes. Rows: the
full history (a prompt that outgrows the window ends the run), the newest steps that fit, and HiAgent with and without
its reopening. In "gripper, locked" a code that is read once and then gone opens a door much later.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from slowwave import Memory
from slowwave.bench.proving import basic_options, write
from slowwave.ops.folding import told
from slowwave.ops.packing import estimate_tokens
from slowwave.text.hiagent import HiAgent, step_of

CLAIM = "Folding finished subgoals keeps success on fewer tokens, raises it in a small window, and loses no detail."
TASKS = 10  # of each world, a seed
METHODS = ("full history", "newest steps", "hiagent", "hiagent, no reopening")
SHARES = (0.2, 0.3, 0.4, 0.5, 0.75)  # windows, as shares of the longest prompt of the full history
FREE = 10**6  # tokens: no window at all
SLACK = 1.25  # a task must be done in so many times the steps that it takes with the full history
MOST = 200  # steps with the full history
USER = {"user_id": "robot"}
START = datetime(2024, 1, 1, tzinfo=UTC)


Planner = Callable[[str, str], tuple[str, str]]  # (text of the window, goal) -> (subgoal, action)


class World(Protocol):
    """A task: its goal in words (always in the prompt), what an action brings, and whether it is done."""

    goal: str

    def first(self) -> str: ...

    def act(self, action: str) -> str: ...

    @property
    def solved(self) -> bool: ...


@dataclass
class Gripper:
    """Balls in a row of rooms; only what is in the room is seen. With `locked`, the last room opens to a code.

    The code is on a note by the door of a dark room; once read it crumbles. An observation tells all that an action
    changed, as worlds in PDDL are put into words.
    """

    rng: random.Random
    size: int
    locked: bool = False
    here: str = "a"
    held: str = ""

    def __post_init__(self) -> None:
        self.rooms = list("abcdefgh"[: self.size])
        free = self.rooms[:-1] if self.locked else self.rooms
        self.at = {f"ball{n}": self.rng.choice(free) for n in range(1, self.size + 1)}
        self.target = {b: self.rng.choice([r for r in free if r != at]) for b, at in self.at.items()}
        self.code, self.note, self.dark, self.shut = str(self.rng.randrange(1000, 10000)), "", "", ""
        if self.locked:
            self.shut = self.target[f"ball{self.size}"] = self.rooms[-1]
            self.note = self.dark = self.rng.choice(free[1:])
        wanted = ", ".join(f"{b} to room {r}" for b, r in self.target.items())
        shut = f" Room {self.shut} is locked; a code opens it." if self.locked else ""
        self.goal = f"Goal: {wanted}. Rooms in a row: {', '.join(self.rooms)}.{shut}"

    def first(self) -> str:
        return self.seen()

    def seen(self) -> str:
        own = f" You hold {self.held}." if self.held else ""
        if self.here == self.dark:
            return f"You are in room {self.here}.{own} It is dark." + (" By the door is a note." if self.note else "")
        things = [b for b, room in self.at.items() if room == self.here]
        return f"You are in room {self.here}.{own} You see: {', '.join(things) or 'nothing'}."

    def act(self, action: str) -> str:
        verb, _, rest = action.partition(" ")
        if verb == "move" and abs(ord(rest[-1]) - ord(self.here)) == 1:
            if rest[-1] == self.shut:
                return f"Room {self.shut} is locked. You are still in room {self.here}."
            left, self.here = self.here, rest[-1]
            return f"You are not in room {left} any more. {self.seen()}"
        if verb == "unlock" and rest.split()[-1] == self.code:
            room, self.shut = self.shut, ""
            return f"Room {room} is open. Room {room} is not locked any more."
        if action == "read note" and self.note == self.here:
            self.note = ""
            return f"The note says that the code of room {self.shut} is {self.code}. The note crumbles to dust."
        if action == "turn on the light" and self.dark == self.here:
            self.dark = ""
            return f"The light is on. It is not dark any more. {self.seen()}"
        if verb == "look":
            return self.seen()
        if verb == "pick" and self.at[rest] == self.here and not self.held:
            self.at[rest], self.held = "", rest
            return f"You hold {rest}. {rest} is not in room {self.here} any more. Your gripper is not free."
        if verb == "drop" and rest == self.held:
            self.at[rest], self.held = self.here, ""
            return f"{rest} lies in room {self.here} now. You do not hold {rest} any more. Your gripper is free."
        return f"That does not work: {action}."

    @property
    def solved(self) -> bool:
        return self.at == self.target


def plan_gripper(text: str, goal: str) -> tuple[str, str]:
    """(subgoal, action) from the text of the prompt alone; "reopen N" where it needs what a line does not tell."""
    target = dict(re.findall(r"(ball\d) to room (\w)", goal))
    rooms = re.findall(r"\w", goal.split("in a row: ")[1].split(".")[0])
    here, dark, at, seen, code, note, opened = "", "", dict[str, str](), dict[str, int](), "", False, False
    for turn, line in enumerate(text.splitlines()):
        for found in re.finditer(
            r"You are (?:still )?in room (\w)\.|(It is dark\.)|You see: ([^.]*)\.|You hold (ball\d)"
            r"|(ball\d) lies in room (\w) now|code of room \w is (\d+)|(is open\.)|(By the door is a note)",
            line,
        ):
            room, shade, things, held, ball, where, number, door, paper = found.groups()
            if room:
                here, dark = room, ""
            elif shade:
                dark = here
            elif things:
                seen[here] = turn
                at = {b: r for b, r in at.items() if r != here} | dict.fromkeys(re.findall(r"ball\d", things), here)
            elif held:
                at[held] = "hand"
            elif ball:
                at[ball] = here = where
            elif number:
                code, note = number, False
            elif door:
                opened = True
            elif paper:
                note = True
    shut = re.search(r"Room (\w) is locked", goal)
    locked = shut[1] if shut and not opened else ""

    def to(room: str, subgoal: str) -> tuple[str, str]:
        step = chr(ord(here) + (1 if room > here else -1)) if here else "b"
        return subgoal, f"move to room {step}"

    if dark:
        return f"look in room {here}", "read note" if note else "turn on the light"
    for ball in (b for b, room in at.items() if room == "hand"):
        room, subgoal = target[ball], f"bring {ball} to room {target[ball]}"
        if not here:
            return subgoal, "look around"
        if here == room:
            return subgoal, f"drop {ball}"
        if room == locked and here == rooms[-2]:
            opened_up = [0, *map(int, re.findall(r"\[(\d+)\] [^\n]*\(reopened\)", text))]
            lines = [n for n in map(int, re.findall(r"\[(\d+)\] look in room \w:", text)) if n > opened_up[-1]]
            ask = f"reopen {lines[0]}" if lines else "give up"
            return subgoal, f"unlock room {room} with {code}" if code else ask
        return to(room, subgoal)
    lost = [ball for ball in target if ball not in at]
    if lost or not here:
        room = min((r for r in rooms if r != locked), key=lambda r: (seen.get(r, -1), r))
        return (f"look in room {room}", "look around") if room == here or not here else to(room, f"look in room {room}")
    ball = min((b for b in target if at[b] != target[b]), key=lambda b: (target[b] == locked, b))
    subgoal = f"bring {ball} to room {target[ball]}"
    return (subgoal, f"pick {ball}") if at[ball] == here else to(at[ball], subgoal)


@dataclass
class Blocks:
    """Towers to be rebuilt. The start is told once; later a block must be looked at to know where it is."""

    rng: random.Random
    size: int
    held: str = ""

    def __post_init__(self) -> None:
        self.blocks = list("klmnpqrstuvwx"[: self.size])
        self.on, self.wanted = self.towers(), self.towers()
        while self.on == self.wanted:
            self.wanted = self.towers()
        named = ", ".join(f"{x} on {'the table' if y == 'table' else y}" for x, y in self.wanted.items())
        self.goal = f"Goal: {named}."

    def towers(self) -> dict[str, str]:
        order, on = self.rng.sample(self.blocks, len(self.blocks)), {}
        for place, block in enumerate(order):
            on[block] = order[place - 1] if place and self.rng.random() < 0.6 else "table"
        return dict(sorted(on.items()))

    def where(self, block: str) -> str:
        under = self.on[block]
        return f"{block} is on {'the table' if under == 'table' else under}."

    def first(self) -> str:
        return " ".join(self.where(block) for block in self.blocks)

    def act(self, action: str) -> str:
        words = action.split()
        block = words[1] if words[0] != "look" else words[2]
        above = [x for x, y in self.on.items() if y == block]
        if words[0] == "look":
            where = f"You hold {block}." if self.held == block else self.where(block)
            return f"{where} {above[0]} is on {block}." if above else f"{where} Nothing is on {block}."
        if words[0] == "take" and not self.held and not above:
            under, self.on[block], self.held = self.on[block], "", block
            freed = "" if under == "table" else f" Nothing is on {under}."
            what = "the table" if under == "table" else under
            return f"You hold {block}. {block} is not on {what} any more.{freed} Your arm is full."
        if words[0] == "put" and self.held == block:
            under = words[-1]
            if under == "table" or (self.on[under] and under not in self.on.values()):
                self.on[block], self.held = under, ""
                return (
                    f"{self.where(block)} Nothing is on {block}. You do not hold {block} any more. Your arm is empty."
                )
        return f"You cannot {action}."

    @property
    def solved(self) -> bool:
        return self.on == self.wanted


def plan_blocks(text: str, goal: str, coarse: bool = False) -> tuple[str, str]:
    """(subgoal, action) from the text of the prompt alone; a block of which nothing is known is looked at.

    coarse  a subgoal is to settle a block, with all that is cleared away for it; else it is the move of one block
    """
    wanted = {x: y.removeprefix("the ") for x, y in re.findall(r"(\w) on (the table|\w)", goal)}
    on, doubt = dict[str, str](), list[str]()  # a block that is not in `on` has not been heard of
    for line in text.splitlines():
        for found in re.finditer(
            r"\b(\w) is on (the table|\w)\.|You hold (\w)\.|You cannot \w+ (\w)(?: on (\w))?|Nothing is on (\w)\.", line
        ):
            block, under, held, failed, target, bare = found.groups()
            if block:
                to = under.removeprefix("the ")
                on = {x: y for x, y in on.items() if to == "table" or y != to} | {block: to}
                doubt = [x for x in doubt if x != block]
            elif held:
                on[held] = "hand"
            elif failed:
                doubt += [x for x in (failed, target) if x in wanted]
            elif bare:
                on = {x: y for x, y in on.items() if y != bare}
                doubt = [x for x in doubt if x != bare]
    if doubt:
        return f"look at {doubt[0]}", f"look at {doubt[0]}"

    def placed(block: str) -> bool:
        return on.get(block) == wanted[block] and (wanted[block] == "table" or placed(wanted[block]))

    def top(block: str) -> str:
        above = next((x for x, y in on.items() if y == block), "")
        return top(above) if above else block

    held = next((x for x, y in on.items() if y == "hand"), "")
    # The next block is one whose place is ready; its place is freed, then the block, then it is settled: one subgoal.
    block = next((x for x in on if not placed(x) and (wanted[x] == "table" or placed(wanted[x]))), "")
    if not block:
        block = next((x for x in wanted if x not in on), min(wanted))
        return f"look at {block}", f"look at {block}"
    to = wanted[block]
    if held == block:
        moved, onto = block, to if to == "table" or top(to) == to else "table"
    elif held:
        moved, onto = held, "table"
    else:
        moved = top(to) if to != "table" and top(to) not in (to, block) else top(block)
        onto = to if moved == block else "table"
    subgoal = f"settle {block} on {to}" if coarse else f"put {moved} on {onto}"
    return subgoal, f"put {moved} on {onto}" if held else f"take {moved}"


# name -> (how a task is made, its planner)
WORLDS: dict[str, tuple[Callable[[random.Random], World], Planner]] = {
    "gripper": (lambda rng: Gripper(rng, 4), plan_gripper),
    "blocksworld": (lambda rng: Blocks(rng, 6), plan_blocks),
    "gripper, long": (lambda rng: Gripper(rng, 6), plan_gripper),
    "blocksworld, long": (lambda rng: Blocks(rng, 10), plan_blocks),
    "blocksworld, coarse": (lambda rng: Blocks(rng, 10), partial(plan_blocks, coarse=True)),
    "gripper, locked": (lambda rng: Gripper(rng, 5, locked=True), plan_gripper),
}


@dataclass(frozen=True)
class Run:
    """How one task went: tokens are those of each step's prompt, goal included."""

    solved: bool
    steps: int
    tokens: float
    longest: int
    subgoals: int


def play(world: World, plan: Planner, limit: int, method: str, window: int, task: str) -> Run:
    """One task, its steps kept in a real memory; the planner gets the prompt's text and nothing else."""
    now = [START]
    with Memory(":memory:", embedder="fake", system=HiAgent(), clock=lambda: now[0], durable=False) as memory:

        def keep(subgoal: str, action: str, seen: str) -> None:
            now[0] += timedelta(seconds=1)
            memory.add(seen, at=now[0], session=task, attrs={"subgoal": subgoal, "action": action}, **USER)

        keep("begin", "look around", world.first())
        asked, named = "", [""]
        spent: list[int] = []
        while len(spent) < limit and not world.solved:
            text = prompt(memory, world.goal, method, window, asked)
            spent.append(estimate_tokens(text))
            subgoal, action = plan(text.split("\n", 1)[1], world.goal)
            asked = action if action.startswith("reopen ") else ""
            if action == "give up" or (asked and method != "hiagent"):
                break  # it needs what it has seen, and nothing that it can read says so
            if not asked:  # to reopen is a step as well
                keep(subgoal, action, world.act(action))
                named += [subgoal] if subgoal != named[-1] else []
    return Run(world.solved, len(spent), float(np.mean(spent)), max(spent), len(named) - 1)


def prompt(memory: Memory, goal: str, method: str, window: int, asked: str) -> str:
    """The goal, then what the method shows of the past within the window; the full history heeds no window."""
    room = window - estimate_tokens(goal) - 1
    if method.startswith("hiagent"):
        shown = memory.context(asked or "What is next?", max_tokens=max(1, room), note_use=False, **USER)
        return f"{goal}\n{shown.text}"
    kept = [step for e in memory.list(limit=None, **USER) if (step := step_of(e)) is not None]
    lines = [told(step) for step in kept]
    costs = [estimate_tokens(line) + 1 for line in lines]
    while method != "full history" and lines and sum(costs) > room:
        lines, costs = lines[1:], costs[1:]
    return "\n".join([goal, *lines])


def tasks(world: str, seed: int, many: int) -> Iterator[tuple[str, World]]:
    """The same tasks for every method and window."""
    for n in range(many):
        yield f"{world} {n}", WORLDS[world][0](random.Random(f"{world}/{seed}/{n}"))


def measure(seeds: int, many: int) -> dict[str, Any]:
    """world -> window -> method -> one number a seed of success, steps, tokens a prompt."""
    table: dict[str, Any] = {}
    for world, (_, plan) in WORLDS.items():
        full = [[play(w, plan, MOST, "full history", FREE, t) for t, w in tasks(world, s, many)] for s in range(seeds)]
        longest = max(run.longest for each in full for run in each)
        many_steps, subgoals = (sum(getattr(run, of) for one in full for run in one) for of in ("steps", "subgoals"))
        per = round(many_steps / subgoals, 2)
        table[world] = {"longest full history": longest, "steps a subgoal": per, "windows": {}}
        for name, window in {"unlimited": FREE, **{str(share): int(share * longest) for share in SHARES}}.items():
            fits = [[replace(run, solved=run.solved and run.longest <= window) for run in one] for one in full]
            rows = {"full history": by_seed(fits)}
            for method in METHODS[1:] if "locked" in world else METHODS[1:3]:
                rows[method] = by_seed(
                    [
                        [
                            play(w, plan, int(SLACK * run.steps), method, window, t)
                            for run, (t, w) in zip(one, tasks(world, s, many), strict=True)
                        ]
                        for s, one in enumerate(full)
                    ]
                )
            table[world]["windows"][name] = {"tokens": window, "rows": rows}
    return table


def by_seed(each: list[list[Run]]) -> dict[str, list[float]]:
    """One number a seed. Steps and tokens of the full history are those of a run that nothing ends."""
    return {
        "success": [round(float(np.mean([run.solved for run in one])), 4) for one in each],
        "steps": [round(float(np.mean([run.steps for run in one])), 2) for one in each],
        "tokens": [round(float(np.mean([run.tokens for run in one])), 1) for one in each],
    }


def judge(table: dict[str, Any], seeds: int) -> dict[str, Any]:
    """The verdict: fewer tokens at equal success, more success over the windows, and no detail lost."""
    said, holds = [], True
    for world in ("gripper", "blocksworld", "gripper, long", "blocksworld, long"):
        free = table[world]["windows"]["unlimited"]["rows"]
        full, folded = free["full history"], free["hiagent"]
        saved = float(1 - np.mean(folded["tokens"]) / np.mean(full["tokens"]))
        gains = gains_of(table[world]["windows"])
        per, success = table[world]["steps a subgoal"], np.mean(folded["success"])
        said.append(
            f"{world}, {per:.1f} steps a subgoal: {saved:.0%} fewer tokens a prompt at success {success:.2f} against "
            f"{np.mean(full['success']):.2f}, in small windows {span(gains, '+')} over the better baseline"
        )
        holds &= bool(saved >= 0.3 and min(np.subtract(folded["success"], full["success"])) >= 0 and min(gains) > 0)
    coarse = table["blocksworld, coarse"]["windows"]["unlimited"]["rows"]["hiagent"]["success"]
    said.append(f"subgoals that change more than their last observation tells: success {span(coarse)}")
    free = table["gripper, locked"]["windows"]["unlimited"]["rows"]
    with_, without = free["hiagent"]["success"], free["hiagent, no reopening"]["success"]
    said.append(f"an old detail: {span(with_)} with reopening, {span(without)} without")
    holds &= bool(np.mean(with_) >= 0.9 and np.mean(without) <= 0.1)
    return {"verdict": "holds" if holds else "does not hold", "summary": "; ".join(said) + f" ({seeds} seeds)"}


def gains_of(windows: dict[str, Any]) -> list[float]:
    """A seed's success with HiAgent less that of the better baseline of each window, averaged over the windows."""
    rows = [window["rows"] for name, window in windows.items() if name != "unlimited"]
    best = [max((row[m]["success"] for m in METHODS[:2]), key=np.mean) for row in rows]
    gains = [np.subtract(row["hiagent"]["success"], other) for row, other in zip(rows, best, strict=True)]
    return [round(float(value), 4) for value in np.mean(gains, axis=0)]


def span(values: list[float], sign: str = "") -> str:
    """Mean, lowest and highest over the seeds."""
    return f"{np.mean(values):{sign}.2f} [{min(values):{sign}.2f}, {max(values):{sign}.2f}]"


def draw(table: dict[str, Any], path: Path) -> None:
    """Success by window, one panel a world."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(table), figsize=(13, 2.8), sharey=True)
    for axis, (world, found) in zip(axes, table.items(), strict=True):
        windows = [w for name, w in found["windows"].items() if name != "unlimited"]
        for method in METHODS:
            rows = [w["rows"][method]["success"] for w in windows if method in w["rows"]]
            if not rows:
                continue
            x = [w["tokens"] for w in windows]
            axis.plot(x, [np.mean(r) for r in rows], marker="o", markersize=3, label=method)
            axis.fill_between(x, [min(r) for r in rows], [max(r) for r in rows], alpha=0.15)
        axis.set_title(world, fontsize=9)
        axis.set_xlabel("window, tokens", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0].set_ylabel("solved in time", fontsize=8)
    axes[-1].legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=68)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    args = basic_options(CLAIM, seeds=5).parse_args()
    seeds, many = (1, 2) if args.quick else (args.seeds, TASKS)
    table = measure(seeds, many)
    verdict = judge(table, seeds)
    print(f"{verdict['verdict']}: {verdict['summary']}")
    if not args.quick:
        whole: dict[str, Any] = {
            "seeds": list(range(seeds)), "tasks": many,
            "worlds": table, "parameters": {"memory": 100, "summariser": "last observation"},
        }  # fmt: skip
        write(__file__, "hiagent", CLAIM, verdict, whole, lambda path: draw(table, path))


if __name__ == "__main__":
    main()
