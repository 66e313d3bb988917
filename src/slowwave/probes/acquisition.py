"""How far one exposure lifts the log-probability of a fact, and how fast the lift is lost while training goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from slowwave.errors import InputError
from slowwave.probes.activations import tokenise
from slowwave.probes.base import Finding, Probe, Progress, Verdict, Workspace, above
from slowwave.probes.fictions import DEPTHS, Fiction, fictions
from slowwave.probes.function_token_figures import CONTENT, FUNCTION, NULL, _axes
from slowwave.probes.subjects import Subject
from slowwave.probes.training import span_logprob
from slowwave.probes.tuning import Midway, background, encode_pair, encode_text, padded, step, trainable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
SCENARIOS = ("duplicate", "paraphrase", "once", "never")
COLOURS = {"duplicate": FUNCTION, "paraphrase": CONTENT, "once": "#e9a23b", "never": NULL}


class Acquisition(Probe):
    """Invented facts told while a model trains on, and the log-probability of their probes at every step.

    facts      a scenario: told again word by word, told again in other words, told once, or never
    exposures  how often, `gap` updates apart
    after      updates after the last exposure
    batch      rows of background text an update, of `context` tokens each
    lr         of AdamW, constant
    every      updates between measurements; the first ten after an exposure are all measured
    """

    name = "acquisition"
    paper = "How Do Large Language Models Acquire Factual Knowledge During Pretraining? (Chang et al. 2024, NeurIPS)"
    operations = ("consolidation", "forgetting")
    claim = "Each exposure lifts a fact, the lift decays straight in the logarithm of time, duplicates' faster."
    differs = (
        "Logarithms are natural. Facts that are never told are the control. The optimiser starts afresh, since a "
        "model's file does not hold its state. Passages have five sentences and nine probes, three a depth."
    )
    proof = "proofs/acquisition.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        facts: int = 8,
        exposures: int = 6,
        gap: int = 50,
        after: int = 500,
        batch: int = 8,
        context: int = 64,
        lr: float = 1e-4,
        every: int = 5,
    ) -> None:
        super().__init__(quick, seed)
        self.facts = min(facts, 1) if quick else facts
        self.exposures = min(exposures, 2) if quick else exposures
        self.gap = min(gap, 6) if quick else gap
        self.after = min(after, 10) if quick else after
        self.batch = min(batch, 2) if quick else batch
        self.context = min(context, 48) if quick else context
        self.lr = lr
        self.every = every

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        curves = work.part("curves", partial(self.train, subject, texts, progress, work.file("training.pt")))
        values = {"curves": curves, **self.read(curves)}
        finding = Finding(self.name, self._verdicts(values), values)
        finding.figures = {"saw-tooth": lambda: draw_saw(values), "forgetting": lambda: draw_decay(values)}
        finding.limits.append(
            "the optimiser starts afresh: its first updates are not those of the model's own training"
        )
        if self.quick:
            finding.limits.append(f"quick: {self.facts} facts, {self.exposures} exposures, {self.after} updates after")
        if self.after < 100:
            finding.limits.append(f"{self.after} updates are too few for a slope of forgetting")
        return finding

    def told(self) -> dict[str, list[Fiction]]:
        """The facts of each scenario."""
        found = fictions(self.facts * len(SCENARIOS), self.seed)
        return {name: found[n * self.facts : (n + 1) * self.facts] for n, name in enumerate(SCENARIOS)}

    def times(self) -> tuple[list[int], list[int]]:
        """(updates before which facts are told, updates at which probes are measured)."""
        told = [self.gap // 2 + n * self.gap for n in range(self.exposures)]
        end = told[-1] + self.gap // 2 + self.after
        close = {t + d for t in told for d in range(4 if self.quick else 11)}
        return told, sorted(t for t in {*close, *range(0, end + 1, self.every), end} if t <= end)

    def train(
        self, subject: Subject, texts: Sequence[str], progress: Progress, keep: Path | None = None
    ) -> dict[str, Any]:
        """Log-probability of each probe's target, a token on average, at each measured update.

        A measurement at update t is before the update; what is told at t shows from t + 1 on.

        keep  file in which the training is kept on the way; one that was killed goes on from it
        """
        rows = tokenise(subject, texts, None, self.context).ids
        if len(rows) < self.batch:
            raise InputError(f"the texts hold {len(rows)} rows of {self.context} tokens; give at least {self.batch}")
        copy, facts = trainable(subject), self.told()
        told, measured = self.times()
        pairs = {name: [encode_pair(copy, p.prompt, p.target) for one in some for p in one.probes]
                 for name, some in facts.items()}  # fmt: skip
        every = [pair for some in pairs.values() for pair in some]
        lengths = np.array([len(target) for _, target in every])
        optimiser = torch.optim.AdamW(copy.model.parameters(), lr=self.lr, betas=(0.9, 0.95), weight_decay=0.0)
        midway = Midway(keep, copy.model, optimiser)
        begin, found_before = midway.restore()
        curves: list[list[float]] = found_before or []
        feed = background(rows, self.batch, self.seed, skip=begin)
        for t in range(begin, measured[-1] + 1):
            if t in set(measured):
                found = span_logprob(copy.model, [p for p, _ in every], [q for _, q in every]).numpy() / lengths
                curves.append([round(float(v), 5) for v in found])
            ids = next(feed)
            if t in told:
                ids = torch.cat([_wide(ids, self.context), self._passages(copy, facts, told.index(t))])
            step(copy.model, optimiser, ids)
            midway.keep(t + 1, curves)
            progress("training", t + 1, measured[-1] + 1)
        midway.finish()
        return {
            "times": measured, "told": told, "curves": np.array(curves).T.tolist(),
            "scenario": [name for name, some in pairs.items() for _ in some],
            "depth": [p.depth for some in facts.values() for one in some for p in one.probes],
            "fact": [one.name for some in facts.values() for one in some for _ in one.probes],
        }  # fmt: skip

    def _passages(self, subject: Subject, facts: Mapping[str, Sequence[Fiction]], number: int) -> torch.Tensor:
        rows = [encode_text(subject, one.passages[0]) for one in facts["duplicate"]]
        rows += [encode_text(subject, one.passages[number % len(one.passages)]) for one in facts["paraphrase"]]
        rows += [encode_text(subject, one.passages[0]) for one in facts["once"]] if number == 0 else []
        chunks = [row[i : i + self.context] for row in rows for i in range(0, len(row), self.context)]
        return _wide(padded([c for c in chunks if len(c) > 1], self.context), self.context)

    def read(self, curves: Mapping[str, Any]) -> dict[str, Any]:
        """Effectivity of each exposure and the forgetting line, by scenario and depth."""
        times, told = np.array(curves["times"]), curves["told"]
        table = np.array(curves["curves"])
        scenario, depth = np.array(curves["scenario"]), np.array(curves["depth"])
        out: dict[str, Any] = {"effectivity": {}, "forgetting": {}}
        for name in SCENARIOS:
            for level in DEPTHS:
                some = table[(scenario == name) & (depth == level)]
                gains = np.array([[effectivity(times, one, t, self.gap) for t in told] for one in some])
                out["effectivity"][f"{name} {level}"] = {
                    "each": gains.mean(0).tolist(), "first": gains[:, 0].tolist(), "mean": float(gains.mean())
                }  # fmt: skip
                last = told[0] if name == "once" else told[-1]
                kept = [retainability(times, one, told[0], last, self.gap) for one in some]
                out["forgetting"][f"{name} {level}"] = forgetting([k for k in kept if k is not None], self.seed)
        return out

    def _verdicts(self, values: Mapping[str, Any]) -> list[Verdict]:
        gain, lost = values["effectivity"], values["forgetting"]
        out = []
        mine, never = (np.array(gain[f"{name} memorisation"]["first"]) for name in ("duplicate", "never"))
        (low, high), (least, most) = interval(mine, self.seed), interval(never, self.seed)
        out.append(
            Verdict(
                "One exposure lifts the log-probability of a fact", above(low, high, least, most), "nats a token",
                float(mine.mean()), low, high, float(never.mean()), least, most, n=len(mine),
                note="control: facts that were not told, over the same updates",
            )
        )  # fmt: skip
        order = [np.concatenate([gain[f"{s} {d}"]["first"] for s in ("duplicate", "paraphrase")]) for d in DEPTHS]
        gaps = [interval(order[0], self.seed), interval(order[1], self.seed), interval(order[2], self.seed)]
        word = above(*gaps[0], *gaps[2])
        out.append(
            Verdict(
                "What was read word by word gains more than what has to be put together", word, "nats a token",
                float(order[0].mean()), *gaps[0], float(order[2].mean()), *gaps[2], n=len(order[0]),
                note=f"control: composition; in other words {order[1].mean():.3g}",
            )
        )  # fmt: skip
        line, never_line = lost["duplicate memorisation"], lost["paraphrase memorisation"]
        if line["a"] is not None and never_line["a"] is not None:
            out.append(
                Verdict(
                    "What was told word by word is forgotten faster than what was told in other words",
                    above(line["a_low"], line["a_high"], never_line["a_low"], never_line["a_high"]),
                    "decay constant a", line["a"], line["a_low"], line["a_high"], never_line["a"], never_line["a_low"],
                    never_line["a_high"], n=line["n"], note="control: paraphrases; a natural logarithm",
                )
            )  # fmt: skip
            out.append(
                Verdict(
                    "The lift decays as a straight line in the logarithm of time",
                    above(line["r2"], line["r2"], 0.8, 0.8), "R2", line["r2"], null=0.8, n=line["n"],
                    note=f"0.8 is what the paper saw; useful gap between exposures {_steps(line['tau'])} updates",
                )
            )  # fmt: skip
        return out


def effectivity(times: NDArray[np.integer[Any]], curve: Floats, told: int, window: int) -> float:
    """E: the highest log-probability within `window` updates after an exposure, less that before it."""
    inside = (times > told) & (times <= told + window)
    return float(curve[inside].max() - curve[times == told][0])


def retainability(
    times: NDArray[np.integer[Any]], curve: Floats, first: int, last: int, window: int
) -> tuple[Floats, Floats] | None:
    """(updates since the maximum after the last exposure, R there): the share of the whole lift that is still there.

    None where there was no lift to lose.
    """
    before = float(curve[times == first][0])
    inside = np.flatnonzero((times > last) & (times <= last + window))
    top = inside[int(curve[inside].argmax())]
    lift = float(curve[top]) - before
    if lift <= 1e-6:
        return None
    later = np.arange(len(times)) > top
    return (times[later] - times[top]).astype(float), (curve[later] - before) / lift


def log_line(t: Floats, kept: Floats) -> dict[str, float]:
    """R = b - a ln t by least squares: a, b, R2 and tau = exp(b / a), the gap after which all is lost."""
    slope, b = np.polyfit(np.log(t), kept, 1)
    a = float(-slope)
    left = float(((kept - (b - a * np.log(t))) ** 2).sum())
    whole = float(((kept - kept.mean()) ** 2).sum())
    tau = float(np.exp(min(b / a, 700.0))) if a > 0 else float("inf")
    return {"a": a, "b": float(b), "r2": 1 - left / whole if whole > 0 else 1.0, "tau": tau}


def within_fences(values: Floats, factor: float = 1.5) -> NDArray[np.bool_]:
    """Which values lie within `factor` interquartile ranges of the quartiles."""
    low, high = np.percentile(values, [25, 75])
    return np.asarray((values >= low - factor * (high - low)) & (values <= high + factor * (high - low)))


def forgetting(kept: Sequence[tuple[Floats, Floats]], seed: int) -> dict[str, Any]:
    """The line through the mean of R over probes, outliers at each time left out; its interval over probes.

    A probe's times are put on a common grid, since each has its maximum at its own update.
    """
    blank: dict[str, Any] = {
        "a": None,
        "a_low": None,
        "a_high": None,
        "b": None,
        "r2": None,
        "tau": None,
        "n": len(kept),
    }
    longest = min((t[-1] for t, _ in kept if len(t)), default=0)
    if len(kept) < 2 or longest < 10:
        return blank | {"t": [], "kept": []}
    grid = np.unique(np.geomspace(1, longest, 24).round())
    table = np.array([np.interp(grid, t, r) for t, r in kept])
    rng = np.random.default_rng(seed)
    mean = _fenced(table)
    lines = [log_line(grid, _fenced(table[rng.integers(0, len(table), len(table))]))["a"] for _ in range(200)]
    low, high = np.percentile(lines, [2.5, 97.5])
    found = log_line(grid, mean)
    found["tau"] = found["tau"] if np.isfinite(found["tau"]) else 1e300
    return {
        **found,
        "a_low": float(low),
        "a_high": float(high),
        "n": len(kept),
        "t": grid.tolist(),
        "kept": mean.tolist(),
    }


def _fenced(table: Floats) -> Floats:
    return np.array([column[within_fences(column)].mean() for column in table.T])


def interval(values: Floats, seed: int) -> tuple[float, float]:
    """95 % interval of the mean over items, by resampling."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _wide(ids: torch.Tensor, context: int) -> torch.Tensor:
    return torch.nn.functional.pad(ids, (0, context - ids.shape[1]), value=-1)


def _steps(value: float) -> str:
    return f"{value:.3g}" if value < 1e12 else "over 1e12"


def draw_saw(values: Mapping[str, Any]) -> Figure:
    """Log-probability over updates, by scenario, one panel a depth; exposures are marked."""
    figure, axes = _axes(3, 4.4)
    curves = values["curves"]
    table, scenario, depth = np.array(curves["curves"]), np.array(curves["scenario"]), np.array(curves["depth"])
    for axis, level in zip(axes, DEPTHS, strict=True):
        for n, t in enumerate(curves["told"]):
            axis.axvline(t, color=NULL, linewidth=0.5, label="_" if n else "exposure")
        for name in SCENARIOS:
            some = table[(scenario == name) & (depth == level)]
            axis.plot(curves["times"], some.mean(0), color=COLOURS[name], label=name, linewidth=1)
        axis.set(xlabel="update", ylabel="log-probability, nats a token", title=level)
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def draw_decay(values: Mapping[str, Any]) -> Figure:
    """Share of the lift that is left, against the logarithm of time, with its line."""
    figure, axes = _axes(3, 4.4)
    for axis, level in zip(axes, DEPTHS, strict=True):
        for name in ("duplicate", "paraphrase", "once"):
            line = values["forgetting"][f"{name} {level}"]
            if line["a"] is None:
                continue
            t = np.array(line["t"])
            lost = f"a {line['a']:.3f}, tau {_steps(line['tau'])}"
            label = f"{name}: {lost if line['a'] > 0 else 'nothing lost yet'}"
            axis.semilogx(t, line["kept"], ".", color=COLOURS[name], label=label)
            axis.semilogx(t, line["b"] - line["a"] * np.log(t), color=COLOURS[name], linewidth=1)
        axis.set(xlabel="updates since the last exposure's peak", ylabel="share of the lift kept", title=level)
        if axis.lines:
            axis.legend(frameon=False, fontsize=7)
    return figure
