"""Is a sentence seen once to three times told from a foil, can it be completed from its half, and for how long?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from slowwave.cloze.scoring import logprobs
from slowwave.errors import InputError
from slowwave.probes.acquisition import interval
from slowwave.probes.activations import tokenise
from slowwave.probes.base import Finding, Probe, Progress, Verdict, Workspace, above
from slowwave.probes.fictions import random_words, scrambled, sentences
from slowwave.probes.function_token_figures import CONTENT, FUNCTION, NULL, _axes
from slowwave.probes.steering import continued
from slowwave.probes.subjects import Subject
from slowwave.probes.tuning import Midway, background, encode_text, padded, step, trainable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("other sentence", "paraphrase", "synonym", "random words", "random or natural", "scrambled or natural")
BEFORE = "before"


class Recognition(Probe):
    """Sentences are studied, told from foils and completed; then other text is read, and they are tested again.

    sentences  studied; half as many lines of random words and of scrambled letters beside them
    epochs     how often each is studied
    lr         of AdamW, constant
    batch      sentences an update
    updates    on the texts, after the study; memory is tested on the way, evenly in the logarithm
    rows       of `context` tokens an update then reads
    tests      how often memory is tested on the way
    """

    name = "recognition"
    paper = (
        "Recognition, recall, and retention of few-shot memories in large language models "
        "(Orhan 2023, arXiv 2303.17557)"
    )
    operations = ("consolidation", "retrieval", "forgetting")
    claim = "One exposure gives near-perfect recognition, three near-perfect recall; recall is lost sooner."
    differs = (
        "Recall is scored on the completion alone; the paper's score holds the prompt too. Each number stands beside "
        "the model's own before the study, since foils differ in how likely they are anyway. Sentences are invented."
    )
    proof = "proofs/recognition.py"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        sentences: int = 60,
        epochs: int = 3,
        lr: float = 3e-5,
        batch: int = 4,
        updates: int = 100,
        rows: int = 16,
        context: int = 64,
        tests: int = 5,
    ) -> None:
        super().__init__(quick, seed)
        if epochs < 1:
            raise InputError(f"epochs is {epochs}; study at least once")
        self.sentences = min(sentences, 8) if quick else sentences
        self.epochs = min(epochs, 2) if quick else epochs
        self.lr = lr
        self.batch = batch
        self.updates = min(updates, 4) if quick else updates
        self.rows = min(rows, 2) if quick else rows
        self.context = context
        self.tests = min(tests, 2) if quick else tests

    def measure(self, subject: Subject | None, texts: Sequence[str], work: Workspace, progress: Progress) -> Finding:
        assert subject is not None
        values = work.part("study", partial(self.study, subject, texts, progress, work.file("training.pt")))
        finding = Finding(self.name, self._verdicts(values), values)
        finding.figures = {"exposures": lambda: draw_exposures(values), "retention": lambda: draw_retention(values)}
        finding.limits.append("accuracy before the study is where a foil's own likelihood puts it: read the difference")
        if "scrambled or natural" not in values["tests"][0]["recognition"]:
            finding.limits.append("this tokenizer knows no scrambled words: that test is left out")
        if self.quick:
            finding.limits.append(
                f"quick: {self.sentences} sentences, {self.epochs} epochs, {self.updates} updates afterwards"
            )
        return finding

    def material(self, subject: Subject, texts: Sequence[str]) -> dict[str, list[str]]:
        """What is studied ("natural", "random", "scrambled") and the foils of each kind."""
        some = sentences(2 * self.sentences, self.seed)
        mine, others = some[: self.sentences], some[self.sentences :]
        half = max(2, self.sentences // 2)
        pool = sorted({w for text in texts[:200] for w in text.split() if w.isalpha() and len(w) > 2})
        pool = [w for w in pool if subject.decode(subject.encode(" " + w)).strip() == w]
        if len(pool) < 20:
            raise InputError(f"the texts hold {len(pool)} plain words; give at least 20")
        lines = random_words(2 * half, 8, pool, self.seed)
        origin = [one.text for one in others[:half]]
        out = {
            "natural": [one.text for one in mine], "other sentence": [one.text for one in others],
            "paraphrase": [one.paraphrase for one in mine], "synonym": [one.synonym for one in mine],
            "random": lines[:half], "random words": lines[half:], "random or natural": [o.text for o in others[-half:]],
        }  # fmt: skip
        mixed = [scrambled(text, self.seed) for text in origin]
        if all(_letters(subject.decode(subject.encode(text))) == _letters(text) for text in mixed):
            out |= {"scrambled": mixed, "scrambled or natural": origin}
        return out

    def study(
        self, subject: Subject, texts: Sequence[str], progress: Progress, keep: Path | None = None
    ) -> dict[str, Any]:
        """Test, study, test after each epoch, read on, and test on the way.

        keep  file in which the training is kept on the way; one that was killed goes on from it
        """
        material = self.material(subject, texts)
        copy = trainable(subject)
        studied = [t for kind in ("natural", "random", "scrambled") for t in material.get(kind, [])]
        ids = [encode_text(copy, text) for text in studied]
        optimiser = torch.optim.AdamW(copy.model.parameters(), lr=self.lr, betas=(0.9, 0.95), weight_decay=0.0)
        midway = Midway(keep, copy.model, optimiser)
        begin, found = midway.restore()
        tests: list[dict[str, Any]] = found or [
            {"when": BEFORE, "exposures": 0, "updates": 0, **self.test(copy, material)}
        ]
        per = -(-len(ids) // self.batch)  # updates an epoch
        read = self.epochs * per  # updates until all is studied
        due = {
            n * per: {"when": "studied", "exposures": n, "updates": 0} for n in range(1, self.epochs + 1)
        } | {
            read + n: {"when": "retained", "exposures": self.epochs, "updates": n} for n in self.tested()
        }  # fmt: skip
        rows = tokenise(copy, texts, None, self.context).ids
        feed = background(rows, self.rows, self.seed, skip=max(0, begin - read))
        for update in range(begin, read + self.updates):
            if update < read:
                epoch, place = divmod(update, per)
                order = np.random.default_rng([self.seed, epoch]).permutation(len(ids))
                batch = padded([ids[i] for i in order[place * self.batch : (place + 1) * self.batch]])
            else:
                batch = next(feed)
            step(copy.model, optimiser, batch)
            if (done := update + 1) in due:
                tests.append({**due[done], **self.test(copy, material)})
            midway.keep(done, tests)
            progress("study" if done <= read else "retention", done, read + self.updates)
        midway.finish()
        return {"tests": tests, "sentences": len(material["natural"])}

    def tested(self) -> list[int]:
        """The updates on other text after which memory is tested, evenly in the logarithm."""
        if not self.updates:
            return []
        return [int(n) for n in np.unique(np.geomspace(1, self.updates, self.tests).round().astype(int))]

    def test(self, subject: Subject, material: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Recognition by kind of foil, item by item, and recall of the second half, item by item."""
        pairs = {
            "other sentence": ("natural", "other sentence"), "paraphrase": ("natural", "paraphrase"),
            "synonym": ("natural", "synonym"), "random words": ("random", "random words"),
            "random or natural": ("random", "random or natural"),
            "scrambled or natural": ("scrambled", "scrambled or natural"),
        }  # fmt: skip
        texts = sorted({text for some in material.values() for text in some})
        found = logprobs(subject, [encode_text(subject, text) for text in texts])
        losses = {text: -float(one.mean()) for text, one in zip(texts, found, strict=True)}
        recognition = {
            kind: recognised([losses[t] for t in material[mine]], [losses[t] for t in material[foil]])
            for kind, (mine, foil) in pairs.items()
            if mine in material
        }
        recall = completed(subject, material["natural"])
        return {"recognition": recognition, "recall": recall}

    def _verdicts(self, values: Mapping[str, Any]) -> list[Verdict]:
        tests = values["tests"]
        first, last = tests[0], tests[-1]
        once, studied = tests[1], tests[self.epochs]
        out = []
        for kind in first["recognition"]:
            mine, before = (np.array(t["recognition"][kind]) for t in (once, first))
            (low, high), (least, most) = interval(mine, self.seed), interval(before, self.seed)
            gain = interval(mine - before, self.seed)
            note = f"control: the model before, by item; d' {d_prime(float(mine.mean()), len(mine)):.2f}"
            out.append(
                Verdict(
                    f"After one exposure sentences are told from foils: {kind}", above(*gain, 0.0, 0.0), "accuracy",
                    float(mine.mean()), low, high, float(before.mean()), least, most, n=len(mine), note=note,
                )
            )  # fmt: skip
        mine, before = (np.array(t["recall"]) for t in (studied, first))
        (low, high), (least, most) = interval(mine, self.seed), interval(before, self.seed)
        out.append(
            Verdict(
                f"After {self.epochs} exposures second halves come back", above(low, high, least, most), "ROUGE-L",
                float(mine.mean()), low, high, float(before.mean()), least, most, n=len(mine),
                note="of the completion alone; control: the model before",
            )
        )  # fmt: skip
        if last["when"] == "retained":
            kept = {name: _kept(tests, self.epochs, name) for name in ("recall", "other sentence")}
            if None not in kept.values():
                shares = [_resampled(tests[0], studied, last, n, self.seed) for n in ("other sentence", "recall")]
                out.append(
                    Verdict(
                        "Recognition outlasts recall", above(*shares[0], *shares[1]),
                        f"share of the gain kept after {last['updates']} updates", kept["other sentence"], *shares[0],
                        kept["recall"], *shares[1], n=len(first["recall"]), note="control: recall",
                    )
                )  # fmt: skip
        return out


def recognised(seen: Sequence[float], foils: Sequence[float]) -> list[float]:
    """1 where the mean token loss of what was seen is lower than its foil's, a half for a tie, else 0."""
    return [float(a < b) + 0.5 * float(a == b) for a, b in zip(seen, foils, strict=False)]


def d_prime(accuracy: float, n: int = 0) -> float:
    """sqrt(2) times the normal quantile of two-choice accuracy; with `n`, kept half an item away from 0 and 1.

    >>> round(d_prime(0.976), 2)
    2.8
    """
    edge = 0.5 / n if n else 1e-9
    return float(2**0.5 * NormalDist().inv_cdf(min(max(accuracy, edge), 1 - edge)))


def completed(subject: Subject, texts: Sequence[str]) -> list[float]:
    """ROUGE-L (F) of the greedy completion of each text's first half with its second; the first half does not count."""
    ids = [encode_text(subject, text) for text in texts]
    cuts = [(len(one) + 1) // 2 for one in ids]
    due = [one[cut:] for one, cut in zip(ids, cuts, strict=True)]
    heads = [one[:cut] for one, cut in zip(ids, cuts, strict=True)]
    found = continued(subject, heads, max(map(len, due)))
    return [rouge_l(got[: len(one)], one) for got, one in zip(found, due, strict=True)]


def rouge_l(found: Sequence[int], due: Sequence[int]) -> float:
    """F of the longest common subsequence of two sequences: 1 where they are equal, 0 where they share nothing."""
    if not found or not due:
        return 0.0
    row = [0] * (len(due) + 1)
    for a in found:
        before = row[:]
        for n, b in enumerate(due):
            row[n + 1] = before[n] + 1 if a == b else max(row[n], before[n + 1])
    return 2 * row[-1] / (len(found) + len(due))


def _letters(text: str) -> str:
    return "".join(text.split())


def _items(test: Mapping[str, Any], name: str) -> list[float]:
    found: list[float] = test["recall"] if name == "recall" else test["recognition"][name]
    return found


def _kept(tests: Sequence[Mapping[str, Any]], epochs: int, name: str) -> float | None:
    first, studied, last = (float(np.mean(_items(tests[n], name))) for n in (0, epochs, -1))
    return (last - first) / (studied - first) if studied - first > 0.02 else None


def _resampled(
    before: Mapping[str, Any], studied: Mapping[str, Any], last: Mapping[str, Any], name: str, seed: int
) -> tuple[float, float]:
    """95 % interval over items of the share of a gain that is kept."""
    first, full, end = (np.array(_items(test, name)) for test in (before, studied, last))
    chosen = np.random.default_rng(seed).integers(0, len(first), (2000, len(first)))
    gained = full[chosen].mean(1) - first[chosen].mean(1)
    shares = (end[chosen].mean(1) - first[chosen].mean(1))[gained > 0.02] / gained[gained > 0.02]
    low, high = np.percentile(shares, [2.5, 97.5]) if len(shares) else (0.0, 1.0)
    return float(low), float(high)


def draw_exposures(values: Mapping[str, Any]) -> Figure:
    """Accuracy by foil before and after each exposure, and recall beside it."""
    figure, (left, right) = _axes(2, 5.5)
    tests = [t for t in values["tests"] if t["when"] != "retained"]
    kinds = list(tests[0]["recognition"])
    width = 0.8 / len(tests)
    for n, test in enumerate(tests):
        place = np.arange(len(kinds)) + n * width
        shade = NULL if test["when"] == BEFORE else CONTENT
        many = test["exposures"]
        label = "before" if test["when"] == BEFORE else f"{many} exposure{'s' if many > 1 else ''}"
        means = [np.mean(test["recognition"][k]) for k in kinds]
        left.bar(place, means, width * 0.9, color=shade, alpha=0.4 + 0.6 * n / len(tests), label=label)
    left.axhline(0.5, color="black", linewidth=0.5, linestyle="--", label="by chance")
    left.set_xticks(np.arange(len(kinds)) + 0.3, [k.replace(" ", "\n") for k in kinds], fontsize=7)
    left.set(ylim=(0, 1), ylabel="share recognised", title="recognition by foil")
    left.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    right.set_xticks([t["exposures"] for t in tests])
    right.plot([t["exposures"] for t in tests], [np.mean(t["recall"]) for t in tests], "o-", color=FUNCTION)
    right.set(xlabel="exposures", ylabel="ROUGE-L of the second half", title="recall", ylim=(0, 1))
    return figure


def draw_retention(values: Mapping[str, Any]) -> Figure:
    """Recognition and recall against updates on other text, on a logarithmic axis."""
    figure, (axis,) = _axes(1, 6)
    kept = [t for t in values["tests"] if t["when"] != BEFORE and t["exposures"] == values["tests"][-1]["exposures"]]
    updates = [max(0.5, t["updates"]) for t in kept]
    for kind in values["tests"][0]["recognition"]:
        axis.semilogx(updates, [np.mean(t["recognition"][kind]) for t in kept], "o-", markersize=3, label=kind)
    axis.semilogx(updates, [np.mean(t["recall"]) for t in kept], "s--", color="black", markersize=3, label="recall")
    axis.set_xticks(updates, ["none", *(str(t["updates"]) for t in kept[1:])])
    axis.minorticks_off()
    axis.set(xlabel="updates on other text", ylim=(0, 1.02), ylabel="share recognised; ROUGE-L", title="retention")
    axis.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
