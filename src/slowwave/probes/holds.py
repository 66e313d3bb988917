"""Does the model itself hold this fact now? Cloze, recognition, and margins with calibrated confidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.cloze.grids import recognised, ties_of, value_grids, wordings_of
from slowwave.cloze.scoring import spans
from slowwave.cloze.statements import Statement, furnish, read_statements
from slowwave.errors import InputError
from slowwave.probes.base import FAILS, HOLDS, OPEN, Finding, Probe, Progress, Verdict, Word, Workspace, above
from slowwave.probes.calibration import FEWEST, Calibrator, Floats, folds_of
from slowwave.probes.holds_figures import draw_confidence, draw_list
from slowwave.probes.subjects import Subject
from slowwave.probes.training import greedy

REFERENCE = (
    "Paris is the capital of France", "Tokyo is the capital of Japan", "Rome is the capital of Italy",
    "Madrid is the capital of Spain", "Berlin is the capital of Germany", "Cairo is the capital of Egypt",
    "Athens is the capital of Greece", "Moscow is the capital of Russia", "Lisbon is the capital of Portugal",
    "Vienna is the capital of Austria", "Dublin is the capital of Ireland", "Oslo is the capital of Norway",
    "Warsaw is the capital of Poland", "Budapest is the capital of Hungary", "Havana is the capital of Cuba",
    "Lima is the capital of Peru", "Bako Limir lives in Ghent", "Feno Sotan lives in Riga",
    "Noma Terul lives in Cork", "Dika Pulon lives in Lyon", "Gora Minet lives in Graz", "Luba Sefin lives in Turin",
    "Tamo Rekal lives in Split", "Kilu Badek lives in Bergen",
)  # fmt: skip  # what sets thresholds for a handful of statements: some that models know, some that none can


HALF_A_NAT = 0.5


@dataclass(frozen=True)
class Scores:
    """What a model gave for one statement. A tie is how much more a value hangs on this subject than on other names:
    its log-probability after the statement's words, less the mean of that after the same words with other names.

    tie         of the value, less the mean of the wrong values', over all wordings; nats
    preference  log-probability of the value less the mean of the wrong values', in the sentence as it stands; nats
    logprob     of the value after the statement's words, nats
    place       of the value among value and wrong values by log-probability, 1 the first
    rank        share of values, its own included, that are tied to the subject as much: by lot it is even in (0, 1]
    answer      what the model itself goes on with, as many tokens as the value has
    exact       whether that is the value
    recognised  kind of foil -> share of them with a higher mean token loss than the statement
    lead        how far the value's tie lies above the wrong values', in units of their spread, over all wordings
    twins       the same for each wrong value, among the other wrong ones: what luck gives
    """

    tie: float
    preference: float
    logprob: float
    place: int
    rank: float
    answer: str
    exact: bool
    recognised: dict[str, float]
    lead: float
    twins: list[float]


@dataclass(frozen=True)
class Held:
    """One statement, how sure it is that the model holds it, and why.

    confidence  calibrated: of statements with this number, that share is held
    twin        mean confidence that its foils would have got: the control
    """

    statement: Statement
    word: Word
    confidence: float
    twin: float
    scores: Scores

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        out = asdict(self)
        out["scores"].pop("twins")
        return out


def holds(
    subject: Subject,
    statements: Sequence[str | Statement | Mapping[str, Any]],
    calibration: Sequence[str | Statement | Mapping[str, Any]] | None = None,
    foils: int = 14,
    names: int = 2,
    sure: float = 0.9,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> list[Held]:
    """Whether a model holds each statement, in their order. Call it before and after training, and compare.

    calibration  other statements that set the thresholds and are not scored; None takes the other folds of the
                 statements themselves, or, for fewer than 12, well-known and invented ones
    foils, names wrong values and other subjects a statement
    sure         from this confidence on the word is "holds"; at most one minus it, "does not hold"

    raises  InputError for what is no statement

    Example, around the training of an adapter:

        before = holds(subject, facts)
        after = holds(trained, facts)
        learnt = [a.statement.text for b, a in zip(before, after) if a.confidence > 0.9 > b.confidence]
    """
    return Holds(seed=seed, foils=foils, names=names, sure=sure, statements=tuple(statements)).judge(
        subject, read_statements(statements), None if calibration is None else read_statements(calibration), progress
    )


class Holds(Probe):
    """Does the model itself hold these statements now? Cloze, recognition against foils, and a calibrated confidence.

    statements   a file with a sentence a line, or a JSON object a line with text, subject, value, foils, paraphrases
    calibration  a file of other statements that set the thresholds alone; else the statements set each other's
    foils        wrong values a statement
    names        other subjects a statement
    sure         confidence from which the word is "holds"; one minus it and below, "does not hold"

    Example, on a model's file:

        Holds(statements="facts.txt").run("smollm2-135m.gguf", out="holds")
    """

    name = "holds"
    paper = (
        "Recognition, recall, and retention of few-shot memories in large language models "
        "(Orhan 2023, arXiv 2303.17557)"
    )
    operations = ("retrieval",)
    claim = "Whether a model holds a fact can be told with a confidence that is right as often as it says."
    differs = (
        "A fact counts as held when its value hangs on its subject, over several wordings, more than luck makes one of "
        "several wrong values. Recognition against foils is reported beside it."
    )
    proof = "proofs/holds.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        statements: str | Sequence[Any] = "",
        calibration: str | Sequence[Any] = "",
        foils: int = 14,
        names: int = 2,
        sure: float = 0.9,
    ) -> None:
        super().__init__(quick, seed)
        if not 0.5 < sure < 1:
            raise InputError(f"sure is {sure}; it must lie between 0.5 and 1")
        self.statements = statements
        self.calibration = calibration
        self.foils = min(foils, 8) if quick else foils
        self.names = min(names, 1) if quick else names
        self.sure = sure
        self.most = 24 if quick else None

    def settings(self) -> dict[str, Any]:
        """The options; statements by what is in them, so that a changed file is measured anew."""
        return super().settings() | {n: _print_of(getattr(self, n)) for n in ("statements", "calibration")}

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        if not self.statements:
            raise InputError("holds needs statements; give a file with a sentence a line (--statements FILE)")
        given = read_statements(self.statements)
        chosen = given[: self.most]
        outside = read_statements(self.calibration) if self.calibration else None
        found = self.judge(subject, chosen, outside, progress, work)
        values: dict[str, Any] = {"statements": [one.to_dict() for one in found]}
        finding = Finding(self.name, self._verdicts(found), values)
        finding.figures = {"confidence": lambda: draw_confidence(values), "statements": lambda: draw_list(values)}
        if len(chosen) < len(given):
            finding.limits.append(f"quick: the first {len(chosen)} of {len(given)} statements, fewer foils")
        if outside is None and len(chosen) < FEWEST:
            finding.limits.append(
                f"{len(chosen)} statements are too few to set thresholds by (12): well-known and invented ones set them"
            )
        finding.limits.append("what the words of a subject suggest (an Italian name, Italy) counts as held")
        return finding

    def judge(
        self,
        subject: Subject,
        statements: Sequence[Statement],
        outside: Sequence[Statement] | None = None,
        progress: Progress = lambda stage, done, total: None,
        work: Workspace | None = None,
    ) -> list[Held]:
        """Score the statements, and set the thresholds of each by others."""
        work = Workspace(None, {}) if work is None else work
        scored = self._scored(
            "statement", subject, furnish(statements, self.foils, self.names, self.seed), work, progress
        )
        if outside is None and len(statements) < FEWEST:
            outside = read_statements(REFERENCE)
        if outside is not None:
            ready = furnish(outside, self.foils, self.names, self.seed)
            ruler = calibrator(self._scored("calibration", subject, ready, work, progress))
            rulers = [ruler] * len(scored)
        else:
            fold = folds_of(
                [one.subject or one.text for one in statements], 5 if len(statements) >= 25 else 3, self.seed
            )
            made = {
                f: calibrator([s for s, of in zip(scored, fold, strict=True) if of != f]) for f in set(fold.tolist())
            }
            rulers = [made[int(f)] for f in fold]
        out = []
        for one, scores, ruler in zip(statements, scored, rulers, strict=True):
            sure = float(ruler(np.array([scores.lead]))[0])
            word = HOLDS if sure >= self.sure else FAILS if sure <= 1 - self.sure else OPEN
            out.append(Held(one, word, sure, float(ruler(np.array(scores.twins)).mean()), scores))
        return out

    def _scored(
        self, label: str, subject: Subject, statements: Sequence[Statement], work: Workspace, progress: Progress
    ) -> list[Scores]:
        out: list[Scores] = []
        for begin in range(0, len(statements), 8):
            chunk = statements[begin : begin + 8]
            found = work.part(f"{label}-{begin}", partial(self._chunk, subject, chunk))
            out += [Scores(**one) for one in found]
            progress(f"{label}s", min(begin + 8, len(statements)), len(statements))
        return out

    def _chunk(self, subject: Subject, statements: Sequence[Statement]) -> list[dict[str, Any]]:
        return [asdict(one) for one in score(subject, statements, self.quick)]

    def _verdicts(self, found: Sequence[Held]) -> list[Verdict]:
        sure, twin = np.array([one.confidence for one in found]), np.array([one.twin for one in found])
        low, high = _interval(sure, self.seed)
        least, most = _interval(twin, self.seed)
        word = above(low, high, least, most)
        many = sum(one.word == HOLDS for one in found)
        verdict = Verdict(
            "The model holds more of these statements than of the same with wrong values",
            word, "expected share held", float(sure.mean()), low, high, float(twin.mean()), least, most, n=len(found),
            note=f"{many} surely held, {sum(one.word == FAILS for one in found)} surely not; control: wrong values",
        )  # fmt: skip
        out = [verdict]
        for kind in ("values", "names", "paraphrases"):
            seen = np.array([one.scores.recognised[kind] for one in found if kind in one.scores.recognised])
            if len(seen):
                low, high = _interval(seen, self.seed)
                out.append(
                    Verdict(
                        f"Statements are told from the same with other {kind}" if kind != "paraphrases"
                        else "Statements are told from their own paraphrases: they are known word by word",
                        above(low, high, 0.5, 0.5), "recognition", float(seen.mean()), low, high, 0.5, 0.5, 0.5,
                        n=len(seen), note="control: chance",
                    )
                )  # fmt: skip
        return out


def calibrator(scored: Sequence[Scores]) -> Calibrator:
    """A calibrator set by these statements and their twins."""
    return Calibrator.fit(
        np.array([one.lead for one in scored]), np.array([lead for one in scored for lead in one.twins])
    )


def score(subject: Subject, statements: Sequence[Statement], quick: bool = False) -> list[Scores]:
    """Run furnished statements through the model: every wording, name and value.

    raises  InputError for a statement with fewer than two wrong values
    """
    for one in statements:
        if len(one.foils) < 2:
            raise InputError(f"{one.text!r} has {len(one.foils)} wrong values; give at least two (foils)")
    wordings = [wordings_of(one, quick) for one in statements]
    grids = value_grids(subject, statements, wordings)
    return [_scores(subject, one, grid) for one, grid in zip(statements, grids, strict=True)]


def _scores(subject: Subject, statement: Statement, grid: Floats) -> Scores:
    ties, plain = ties_of(grid), grid[:, 0]
    mean = ties.mean(0)
    wrong = np.arange(1, len(mean))
    head, ends = spans(subject, statement.cut()[0], [statement.value])
    answer = greedy(subject.model, head, len(ends[0]))
    return Scores(
        tie=float(mean[0] - mean[1:].mean()),
        preference=float(plain[0, 0] - plain[0, 1:].mean()),
        logprob=float(plain[0, 0]),
        place=int((plain[0] > plain[0, 0]).sum()) + 1,
        rank=float((mean >= mean[0]).mean()),
        answer=subject.decode(answer).strip(),
        exact=answer == ends[0],
        recognised=recognised(subject, statement),
        lead=lead(mean[0], mean[1:]),
        twins=[lead(mean[n], mean[wrong[wrong != n]]) for n in wrong],
    )


def lead(tie: float, others: Floats) -> float:
    """How far a tie lies above others, in units of their spread; one more of them counts as half a nat off, so that
    differences of nothing are none."""
    wide = float(((others - others.mean()) ** 2).sum()) + HALF_A_NAT**2
    return float((tie - others.mean()) / (wide / len(others)) ** 0.5)


def _interval(values: Floats, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _print_of(given: str | Sequence[Any]) -> str:
    if isinstance(given, str):
        path = Path(given).expanduser()
        return f"{given} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" if path.is_file() else given
    text = json.dumps([asdict(one) if isinstance(one, Statement) else one for one in given], default=str)
    return f"{len(given)} statements {hashlib.sha256(text.encode()).hexdigest()[:12]}"
