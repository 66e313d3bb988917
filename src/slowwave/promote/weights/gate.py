"""Whether a night counts: are its facts held, however they are asked, and is what must not get lost still there?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slowwave.cloze.grids import recognised, ties_of, value_grids
from slowwave.cloze.scoring import spans
from slowwave.cloze.statements import Statement, furnish, read_statements
from slowwave.cloze.subject import Subject
from slowwave.promote.weights.adapter import Adapter
from slowwave.promote.weights.general import General, general_of
from slowwave.promote.weights.lessons import Lesson
from slowwave.weights.metrics import Perplexity

Progress = Callable[[str, int, int], None]
FOILS, NAMES = 7, 2  # of a fact that was taught
WRONG = 4  # wrong values of a statement that is watched


@dataclass(frozen=True)
class Asked:
    """How one fact was answered, in wordings that were never taught.

    cloze       of value and wrong values the value is the likeliest, over all wordings
    tied        it is also the one most tied to the subject: more than after the same words with other names
    recognised  share of the sentences with a wrong value that the model finds less likely, as wholes
    exact       what the model itself goes on with is the value, word for word, in some wording
    """

    cloze: bool
    tied: bool
    recognised: float
    exact: bool

    @property
    def held(self) -> bool:
        """Whether the model holds the fact."""
        return self.cloze and self.tied and self.recognised > 0.5


def asked(
    subject: Subject, lessons: Sequence[Lesson], seed: int = 0, progress: Progress = lambda stage, done, total: None
) -> dict[str, Asked]:
    """Record -> how it was answered. Wrong values and names are those that the lessons carry, else drawn from all."""
    ready = furnish([one.statement for one in lessons], FOILS, NAMES, seed)
    out: dict[str, Asked] = {}
    for start in range(0, len(lessons), 8):
        some = lessons[start : start + 8]
        stated = ready[start : start + 8]
        wordings = [_usable(one) for one in some]
        grids = value_grids(subject, stated, wordings)
        for one, statement, texts, grid in zip(some, stated, wordings, grids, strict=True):
            plain, ties = grid[:, 0].mean(0), ties_of(grid).mean(0)
            told = recognised(subject, replace(statement, text=texts[-1], names=(), paraphrases=()))
            out[one.id] = Asked(
                bool(plain.argmax() == 0), bool(ties.argmax() == 0),
                told.get("values", 0.0),
                any(_exact(subject, statement, text) for text in texts),
            )  # fmt: skip
        progress("ask", min(start + 8, len(lessons)), len(lessons))
    return out


def _usable(one: Lesson) -> list[str]:
    return [*one.asked[:3]] or [one.statement.text]


@torch.no_grad()
def _exact(subject: Subject, statement: Statement, text: str) -> bool:
    head, (end,) = spans(subject, statement.cut(text)[0], [statement.value])
    logits = subject.logits(torch.tensor([head + end]))[0, len(head) - 1 : -1]
    return bool((logits.argmax(-1) == torch.tensor(end)).all())


# -- what must not get lost


def common() -> list[Statement]:
    """General knowledge, several hundred statements: each with its relation, whose other values are its foils."""
    out = []
    for line in (files("slowwave.promote.weights") / "common.txt").read_text("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        form, _, pairs = line.partition(" | ")
        for pair in pairs.split("; "):
            subject, _, value = pair.partition("=")
            out.append(Statement(form.format(s=subject.strip(), v=value.strip()), subject.strip(), value.strip(),
                                 relation=form))  # fmt: skip
    return out


@dataclass(frozen=True)
class Protected:
    """What is watched, and how it was before the first night.

    general     whose guard text gives a perplexity
    known       statements that the bare model holds: of general knowledge, and of one's own
    perplexity  of the bare model
    """

    general: General
    known: tuple[Statement, ...]
    perplexity: float

    def measure(self, subject: Subject) -> dict[str, float]:
        """The sets as they are now, and what each has lost since, as a share of what it was."""
        now = Perplexity(self.general.guard)(subject.model)
        out = {"perplexity": now, "perplexity before": self.perplexity, "perplexity loss": now / self.perplexity - 1}
        if self.known:
            held = float(np.mean(answered(subject, self.known)))
            out |= {"known": held * len(self.known), "known before": float(len(self.known)), "known loss": 1 - held}
        return out


def parted(known: int, seed: int) -> tuple[list[Statement], list[Statement]]:
    """General knowledge in two parts: what may be watched, no more than is needed, and what may be rehearsed."""
    if not known:
        return [], []
    every = furnish(common(), WRONG, 0, seed)
    order = np.random.default_rng(seed).permutation(len(every)).tolist()
    cut = min(2 * known, 2 * len(every) // 3)
    return [every[place] for place in sorted(order[:cut])], [every[place] for place in order[cut:]]


def watched(subject: Subject, adapter: Adapter, folder: Path, name: str) -> tuple[General, Protected]:
    """What a night rehearses beside its lessons, and what it must not harm; of the bare model.

    name  of the model: its fingerprint
    """
    spare = [one.text for one in parted(adapter.known, adapter.seed)[1]]
    general = general_of(subject, folder, adapter.general, adapter.guard, name, adapter.seed, spare)
    subject.model.eval()
    return general, protected_of(subject, general, adapter.known, adapter.keep, folder, name, adapter.seed)


@torch.no_grad()
def answered(subject: Subject, statements: Sequence[Statement]) -> list[bool]:
    """Whether after the statement's words the value begins more likely than any wrong value: by its first token, so
    that each statement is run once. Wrong values that begin alike do not count.
    """
    heads, firsts = [], []
    for one in statements:
        head, ends = spans(subject, one.cut()[0], [one.value, *one.foils])
        heads.append(head)
        firsts.append([ends[0][0], *(end[0] for end in ends[1:] if end[0] != ends[0][0])])
    out = [False] * len(heads)
    order = sorted(range(len(heads)), key=lambda place: len(heads[place]))
    for start in range(0, len(order), 32):
        some = order[start : start + 32]
        ids = torch.zeros((len(some), len(heads[some[-1]])), dtype=torch.int64)
        for row, place in enumerate(some):
            ids[row, : len(heads[place])] = torch.tensor(heads[place])
        logits = subject.logits(ids)
        for row, place in enumerate(some):
            out[place] = bool(logits[row, len(heads[place]) - 1, firsts[place]].argmax() == 0)
    return out


def protected_of(
    subject: Subject, general: General, known: int, keep: Any, folder: Path, name: str, seed: int
) -> Protected:
    """Measured once on the bare model, and kept in a folder.

    known  at most so many statements of general knowledge
    keep   further statements, as `read_statements` takes them; None for none
    name   of the model: its fingerprint
    """
    every = parted(known, seed)[0]
    own = [] if keep is None else furnish(read_statements(keep), WRONG, 0, seed)
    guard = hashlib.sha256(
        general.guard.numpy().tobytes() + repr([(one.text, one.foils) for one in (*every, *own)]).encode()
    ).hexdigest()
    file = folder / f"before-{hashlib.sha256(f'{name} {guard} {known} {seed}'.encode()).hexdigest()[:16]}.json"
    if file.is_file():
        kept = json.loads(file.read_text("utf-8"))
        texts = {one.text: one for one in (*every, *own)}
        return Protected(general, tuple(texts[text] for text in kept["known"]), kept["perplexity"])
    held = [one for one, right in zip(every, answered(subject, every), strict=True) if right] if every else []
    order = np.random.default_rng(seed).permutation(len(held))[:known]
    mine = [one for one, right in zip(own, answered(subject, own), strict=True) if right] if own else []
    chosen = (*(held[place] for place in sorted(order.tolist())), *mine)
    found = Protected(general, chosen, Perplexity(general.guard)(subject.model))
    folder.mkdir(parents=True, exist_ok=True)
    words = json.dumps({"known": [one.text for one in chosen], "perplexity": found.perplexity}, indent=1)
    file.with_suffix(".new").write_text(words + "\n", encoding="utf-8")
    file.with_suffix(".new").replace(file)
    return found


@dataclass(frozen=True)
class Verdict:
    """Whether a night is accepted, why not, and what was measured."""

    accepted: bool
    reason: str
    metrics: Mapping[str, float]
    facts: Mapping[str, bool]


def judged(
    facts: Mapping[str, Asked], new: Sequence[str], lost: Mapping[str, float], held: float, budget: float
) -> Verdict:
    """The rule: enough facts of all nights are held, and no protected set lost more than the budget.

    facts  record -> how it was answered, of this night and those before
    new    records of this night
    lost   what `Protected.measure` gave
    """
    mine = set(new)
    parts = {"": list(facts), "new ": [i for i in facts if i in mine], "old ": [i for i in facts if i not in mine]}
    metrics = {}
    for label, ids in parts.items():
        if ids:
            metrics[f"{label}held"] = float(np.mean([facts[i].held for i in ids]))
            metrics[f"{label}exact"] = float(np.mean([facts[i].exact for i in ids]))
    metrics |= {"facts": float(len(facts)), **lost}
    reasons = []
    if metrics.get("held", 0.0) < held:
        reasons.append(f"{metrics.get('held', 0.0):.0%} of {len(facts)} facts are held, {held:.0%} are asked for")
    for name in ("perplexity", "known"):
        if lost.get(f"{name} loss", 0.0) > budget + 1e-9:  # a twentieth of 200 is 0.05 and a rounding
            what = "perplexity on guarded text rose by" if name == "perplexity" else "facts known before fell by"
            reasons.append(f"{what} {lost[f'{name} loss']:.1%}, the budget is {budget:.1%}")
    return Verdict(not reasons, "; ".join(reasons), metrics, {id_: one.held for id_, one in facts.items()})
