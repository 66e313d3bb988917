"""What a night that trains is told: which model, by which method, what is worth it, and what it must not cost."""

from __future__ import annotations

import difflib
import inspect
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slowwave.errors import FormatError, InputError, NotFoundError
from slowwave.records import KINDS

RECIPES: dict[str, str] = {  # method -> the kind of thing that it leaves behind
    "lora": "lora",
    "full": "full",
    "factorize-centralize": "stacked",
    "sparse-memory-finetuning": "memory",
}
# slots are moved by plain gradient descent, whose gradients are small: hence so large a rate
RATES = {"lora": 1.5e-3, "full": 3e-5, "factorize-centralize": 8e-4, "sparse-memory-finetuning": 3e3}
WHOLE = {"known", "least_support", "most", "epochs", "batch", "rank", "save_every", "slots", "train", "seed"}


class Adapter:
    """What to train, how, and within which bounds: `memory.sleep(into=Adapter(model="model.gguf"))`.

    model          a folder, a .gguf file or an OWNER/NAME; or (model, tokenizer) of transformers
    method         "lora" (a low-rank adapter), "full" (every parameter), "factorize-centralize" (an adapter a night,
                   all added up), "sparse-memory-finetuning" (few slots of a memory layer)
    folder         where the snapshots are kept; None takes the folder beside the memory's file
    replay         sequences replayed beside each new one, half of them lessons of earlier nights, half general text
    strength       weight of keeping to what the model expected of general text before it was trained; 0 leaves it out
    protect        further methods of `slowwave.weights`, such as "ewc" or "spurious-forgetting"
    general        a text file of ordinary language to replay; None takes what the model itself says
    guard          a text file on which perplexity is watched; None takes general text that is not trained on
    known          at most so many facts of general knowledge that the model holds are watched; 0 watches none
    keep           statements of your own that must stay held: a file with a sentence a line, or a list of them
    budget         what a protected set may lose, as a share of what it was before the first night
    held           share of the facts of all nights that must be held for the night to count
    kinds          of records that may go into weights
    filters        only records that pass, see `slowwave.store.filters`
    least_support  a record counts as recurring from so many sources, repeats and uses on
    least_days     it counts as stable when it has stood for so many days
    most           at most so many new records a night, the worthiest first
    lr             learning rate; None takes what suits the method
    epochs         passes over the lessons of a night
    batch          lessons a step
    rank, alpha    of a low-rank adapter
    modules        layers that carry it, or that "full" trains, by the last part of their name; () all of them
    slots, train   of a memory layer: how many there are, and how many are written at a step
    save_every     steps between saves of a night under way, from which a killed one goes on; 0 begins it anew
    seed           of every random choice

    raises  InputError for a value that cannot be meant

    >>> Adapter("smollm2-135m.gguf", rank=16).method
    'lora'
    """

    beside: Path | None = None  # the folder of the file that it was read from

    def __init__(
        self,
        model: Any,
        method: str = "lora",
        folder: str | Path | None = None,
        replay: float = 1.0,
        strength: float = 10.0,
        protect: Sequence[str] = (),
        general: str | Path | None = None,
        guard: str | Path | None = None,
        known: int = 100,
        keep: str | Path | Sequence[Any] | None = None,
        budget: float = 0.05,
        held: float = 0.8,
        kinds: Sequence[str] = ("fact",),
        filters: Mapping[str, Any] | None = None,
        least_support: int = 1,
        least_days: float = 0.0,
        most: int = 64,
        lr: float | None = None,
        epochs: int = 5,
        batch: int = 8,
        rank: int = 8,
        alpha: float = 16.0,
        modules: Sequence[str] = (),
        slots: int = 4096,
        train: int = 256,
        save_every: int = 50,
        seed: int = 0,
    ) -> None:
        if not isinstance(method, str) or method not in RECIPES:
            raise InputError(f"no method {method!r:.60} to train with; there are {', '.join(RECIPES)}")
        for name, value, low, high in (
            ("replay", replay, 0, 16), ("strength", strength, 0, 1000), ("held", held, 0, 1),
            ("budget", budget, 0, 1e9),
            ("known", known, 0, 10_000), ("least_support", least_support, 0, 10_000), ("most", most, 1, 100_000),
            ("least_days", least_days, 0, 1e6), ("epochs", epochs, 1, 10_000), ("batch", batch, 1, 4096),
            ("rank", rank, 1, 4096), ("save_every", save_every, 0, 10**9), ("slots", slots, 16, 10**8),
            ("train", train, 1, 10**8), ("alpha", alpha, 1e-6, 1e6), ("seed", seed, 0, 10**18),
            ("lr", RATES[method] if lr is None else lr, 1e-12, 1e9),
        ):  # fmt: skip
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise InputError(f"{name} is {value!r:.60}; it must be a number between {low:g} and {high:g}")
            if name in WHOLE and not isinstance(value, int):
                raise InputError(f"{name} is {value!r:.60}; it must be a whole number")
        lists: dict[str, Any] = {"protect": protect, "kinds": kinds, "modules": modules}
        for name, given in lists.items():
            if isinstance(given, str) or not isinstance(given, Sequence):
                raise InputError(f"{name} is {given!r:.60}; it must be a list, such as [{str(given)!r:.60}]")
        paths: dict[str, Any] = {"folder": folder, "general": general, "guard": guard}
        for name, given in paths.items():
            if given is not None and not isinstance(given, (str, Path)):
                raise InputError(f"{name} is {given!r:.60}; it must be a path")
        if keep is not None and not isinstance(keep, (str, Path, Sequence)):
            raise InputError(f"keep is {keep!r:.60}; it must be the path of a file, or a list of sentences")
        if filters is not None and not isinstance(filters, Mapping):
            raise InputError(f'filters is {filters!r:.60}; it must be a table, such as {{"source": "diary"}}')
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise InputError(f"kinds names {unknown[0]!r}; there are {', '.join(KINDS)}")
        self.model, self.method, self.folder = model, method, None if folder is None else Path(folder).expanduser()
        self.replay, self.strength, self.protect = replay, strength, tuple(protect)
        self.general, self.guard, self.known = general, guard, known
        self.keep, self.budget, self.held = keep, budget, held
        self.kinds, self.filters = tuple(kinds), None if filters is None else dict(filters)
        self.least_support, self.least_days, self.most = least_support, least_days, most
        self.lr, self.epochs, self.batch = lr, epochs, batch
        self.rank, self.alpha, self.modules = rank, alpha, tuple(modules)
        self.slots, self.train, self.save_every, self.seed = slots, train, save_every, seed

    @property
    def kind(self) -> str:
        """What kind of thing a snapshot of it is; the next night goes on from one of the same kind alone."""
        return RECIPES[self.method]

    @property
    def rate(self) -> float:
        """The learning rate."""
        return RATES[self.method] if self.lr is None else self.lr

    def parameters(self) -> dict[str, Any]:
        """The constructor's parameters as plain values, for a snapshot and the journal."""
        found = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        found["model"] = str(self.model) if isinstance(self.model, (str, Path)) else None  # an object cannot be told
        if self.keep is not None and not isinstance(self.keep, (str, Path)):
            found["keep"] = [getattr(one, "text", None) or str(one) for one in self.keep]
        return {
            name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
        }

    @classmethod
    def read(cls, path: str | Path) -> Adapter:
        """From a TOML file whose keys are the parameters; paths in it are read from where the file lies.

        raises  NotFoundError, FormatError, and InputError for a key that there is not
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise NotFoundError(f'no file {file}; write one with a line such as model = "smollm2-135m.gguf"')
        try:
            words = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"{file} is no TOML: {error}") from error
        known = list(inspect.signature(cls).parameters)
        for name in words:
            if name not in known:
                close = difflib.get_close_matches(name, known)
                near = sorted(close, key=lambda one: sorted(one) != sorted(name))  # swapped letters before others
                hint = f"did you mean {near[0]}? " if near else ""
                raise InputError(f"{file} sets {name!r}, which is no parameter; {hint}there are {', '.join(known)}")
        if not isinstance(words.get("model"), str):
            raise InputError(f'{file} names no model; add a line such as model = "smollm2-135m.gguf"')
        for name in ("model", "folder", "general", "guard", "keep"):
            if isinstance(words.get(name), str):
                beside = file.parent / Path(words[name]).expanduser()
                words[name] = str(beside) if beside.exists() or name == "folder" else words[name]
        try:
            made = cls(**words)
        except TypeError as error:
            raise InputError(f"{file}: {error}") from error
        made.beside = file.parent
        return made


def resolve_adapter(into: Adapter | str | Path) -> Adapter:
    """An Adapter as it is given, or from the TOML file of that name."""
    if isinstance(into, Adapter):
        return into
    if isinstance(into, (str, Path)):
        return Adapter.read(into)
    raise InputError(f"into is a {type(into).__name__}; give an Adapter or the path of a TOML file")
