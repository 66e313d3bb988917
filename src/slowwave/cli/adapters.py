"""`slowwave adapters`: the snapshots of what nights have trained, and which of them is in use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.cli.arguments import Parser, scope_args
from slowwave.cli.commands import Args, Done, command, opened, takes
from slowwave.cli.page import Page
from slowwave.errors import InputError, NotFoundError
from slowwave.progress import Bars
from slowwave.records import scope_of

if TYPE_CHECKING:
    from slowwave.memory import Memory
    from slowwave.promote.weights.snapshots import Snapshot, Snapshots

ACTIONS = {
    "list": "every snapshot, the first night first",
    "show": "one with all that is known of it",
    "compare": "what tells two apart",
    "activate": "use this one from now on",
    "rollback": "use the parent of the active one again",
    "remove": "delete the files of one",
    "retrain": "train the active one anew without records that were superseded, forgotten or erased",
}
TAKES = {"show": 1, "compare": 2, "activate": 1, "remove": 1}


def fill_adapters(parser: Parser) -> None:
    """What to do, and with which snapshots."""
    says = "; ".join(f"{name}: {text}" for name, text in ACTIONS.items())
    parser.add_argument("action", nargs="?", choices=tuple(ACTIONS), default="list", help=says)
    parser.add_argument("id", nargs="*", default=[], metavar="ID", help="a snapshot, or the beginning of its id")
    parser.add_argument(
        "--folder", metavar="FOLDER", help="where the snapshots are (default: beside the memory's file)"
    )
    parser.add_argument(
        "--force", action="store_true",
        help="with activate: also one that was refused; with rollback: the bare model where the parent was removed",
    )  # fmt: skip
    takes()(parser)


@command("what nights have trained: list, compare, activate, roll back", "slowwave adapters list --user-id ana",
         fill_adapters)  # fmt: skip
def adapters(args: Args) -> Done:
    ids, action = list(args.id), str(args.action)
    if len(ids) != TAKES.get(action, 0):
        many = TAKES.get(action, 0)
        raise InputError(f"adapters {action} takes {many or 'no'} id{'s' * (many != 1)}, and {len(ids)} were given")
    scope = scope_args(args)
    with opened(args) as memory:
        try:
            snapshots, folder = found(memory, args, scope)
        except NotFoundError as nothing:
            if action != "list":
                raise
            said = str(nothing)
            return Done({"active": None, "results": []}, lambda page: page.line(said))
        if action == "retrain":
            return retrained(memory, snapshots, folder, scope)
        if action in ("activate", "rollback", "remove"):
            return changed(memory, snapshots, action, ids, bool(getattr(args, "force", False)), scope)
        from slowwave.verbs.train import mark_changed

        mark_changed(memory.store.view(scope_of(scope)), snapshots)
        if action == "compare":
            values = snapshots.differences(*ids)
            return Done(values, lambda page: page.pairs(values))
        if action == "show":
            one = snapshots.get(ids[0]).to_dict()
            return Done(one, lambda page: page.pairs({name: value for name, value in one.items() if value}))
        return listed(snapshots)


def found(memory: Memory, args: Args, scope: Mapping[str, Any]) -> tuple[Snapshots, Path]:
    """The snapshots of the scope, and their folder: as named, beside the file, or where the journal says."""
    from slowwave.promote.weights.snapshots import Snapshots
    from slowwave.verbs.train import folders

    own = scope_of(scope)
    named = getattr(args, "folder", None)
    places = [Path(named).expanduser()] if named else folders(memory, memory.store.view(own))
    lines = [(Snapshots(place, own), place) for place in places]
    full = [line for line in lines if line[0].list()] or lines
    if len(full) > 1:
        raise InputError(f"there are snapshots in {', '.join(str(place) for _, place in full)}; name one with --folder")
    if not full:
        raise NotFoundError(f"nothing of {own} was trained yet; see: slowwave sleep --help, --into")
    return full[0]


def listed(snapshots: Snapshots) -> Done:
    """All of them, a line each."""
    every, active = snapshots.list(), snapshots.active
    rows = [{**one.to_dict(), "active": active is not None and one.id == active.id} for one in every]

    def show(page: Page) -> None:
        for one, row in zip(every, rows, strict=True):
            page.line(("* " if row["active"] else "  ", "green"), (f"{one.id}  ", "bold"), *line(one))
        if not every:
            page.line(f"no snapshots of {snapshots.scope}")

    return Done({"active": None if active is None else active.id, "results": rows}, show)


def line(one: Snapshot) -> list[Any]:
    """A snapshot in a line: when, how, what it holds and what it cost."""
    figures = [f"{one.metrics['held']:.0%} of {one.metrics['facts']:.0f} facts held"] if "held" in one.metrics else []
    for name in ("perplexity", "known"):
        if f"{name} loss" in one.metrics:
            figures.append(f"{name} {one.metrics[f'{name} loss']:+.1%} lost")
    size = sum(one.files.values()) / 1e6
    return [
        (f"{one.made[:16].replace('T', ' ')}  ", "cyan"), f"{one.method}, {', '.join(figures)}, {size:.1f} MB",
        (f"  {one.note}" if one.note else "", "dim"), (f"  refused: {one.reason}" if not one.accepted else "", "red"),
        (f"  {len(one.marks)} of its records have changed since" if one.marks else "", "yellow"),
    ]  # fmt: skip


def changed(
    memory: Memory, snapshots: Snapshots, action: str, ids: list[str], force: bool, scope: Mapping[str, Any]
) -> Done:
    """Activate, roll back or remove, and note it in the journal."""
    if action == "remove":
        one: Snapshot | None = snapshots.remove(ids[0])
        said = f"removed {ids[0] if one is None else one.id}"
    else:
        one = snapshots.rollback(force) if action == "rollback" else snapshots.activate(ids[0], force)
        said = "the bare model is in use" if one is None else f"{one.id} is in use"
    params = {"action": action, "snapshot": None if one is None else one.id}
    own = scope_of(scope)
    memory.store.apply(memory._operation("adapters", own, memory._now(), params, noted=True), [], {})
    return Done({**params, "active": None if snapshots.active is None else snapshots.active.id},
                lambda page: page.line(said))  # fmt: skip


def retrained(memory: Memory, snapshots: Snapshots, folder: Path, scope: Mapping[str, Any]) -> Done:
    """Train anew without what has changed."""
    from slowwave.verbs.train import anew

    with Bars() as bars:
        done = anew(memory, memory.store.view(scope_of(scope)), snapshots, folder, bars)
    if done is None:
        return Done({"snapshot": None}, lambda page: page.line("nothing that the active snapshot holds has changed"))
    return taught(Done({}, lambda page: None), done.to_dict())


def taught(before: Done, trained: Mapping[str, Any]) -> Done:
    """What a night taught, after what it changed in the text."""
    made = trained["snapshot"]

    def show(page: Page) -> None:
        before.show(page)
        for one in trained["lessons"] if made is None else ():
            page.line(("lesson  ", "cyan"), page.short(one["taught"][0]), (f"  {len(one['taught'])} ways", "dim"))
        for reason, many in trained["left out"].items():
            page.line((f"{many} left out: {reason}", "dim"))
        for note in trained["notes"]:
            page.line((note, "yellow"))
        if made is None:
            many, known = trained["looked at"], len(trained["rehearsed"])
            said = f"would teach {len(trained['lessons'])} records" if trained["lessons"] else "nothing new to teach"
            page.line(f"{said}: looked at {many} record{'s' * (many != 1)}, {known} of them taught before")
            return
        held = made["metrics"].get("held", 0.0)
        page.line((f"{made['id']}: ", "bold"), f"{len(made['data'][-1])} records taught in {made['seconds']:.0f} s, "
                  f"{held:.0%} of {made['metrics'].get('facts', 0):.0f} facts held")  # fmt: skip
        page.pairs({name: round(value, 4) for name, value in made["metrics"].items()})
        if trained["active"]:
            page.line(("it is in use; go back with: slowwave adapters rollback", "green"))
        else:
            page.line((f"kept aside, not in use: {made['reason']}", "red"))

    return Done({**before.payload, "trained": dict(trained)}, show)
