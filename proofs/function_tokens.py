"""Function tokens: is retrieval at frequent tokens more than frequency, and does content drive learning after them?

Run: python proofs/function_tokens.py [--model smollm2-135m.gguf]

a. Small trainings on plain English (a BPE of 4,096 tokens, 1.2 million tokens a training, three seeds, two sizes):
   loss by transition at eight checkpoints, single targets, a fixed sentence (F); features that fire at an equal
   cross-entropy score (E); what each group gains from a model five times the size (G); and D50 against the same
   network before it learnt anything. The cut between function and content is tried at 30, 40, 50 and 60 %.
b. With --model, a pretrained model such as SmolLM2-135M-Instruct: classes, graph, re-activation, steering and loss (A
   to D, F) with labels permuted, the network untrained, and D50; three autoencoders at the middle layer of both. More
   models with --others: the loss by transition and the raw vector of D, each in its own tokenizer.

Parts that are finished are kept in --work and used again; a run that is killed goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slowwave.bench.base import as_json, machine
from slowwave.bench.datasets import cache_folder, folder_of
from slowwave.bench.metrics import interval
from slowwave.data import dracula
from slowwave.probes import function_token_figures as draw
from slowwave.probes.activations import Tokens, stream, tokenise
from slowwave.probes.base import FAILS, HOLDS, OPEN, Workspace, versions
from slowwave.probes.classes import classify
from slowwave.probes.feature_layers import LayerRun
from slowwave.probes.function_token_verdicts import settled, steering_table
from slowwave.probes.function_tokens import FunctionTokens
from slowwave.probes.growth import Growth, matched
from slowwave.probes.over_training import SHARES, losses_at
from slowwave.probes.small_english import English, SmallTraining, english
from slowwave.probes.steered import Steering
from slowwave.probes.subjects import Subject, load
from slowwave.probes.taps import anatomy
from slowwave.probes.texts import documents
from slowwave.probes.traits import TRAITS
from slowwave.progress import Bars

CLAIM = (
    "Function tokens bring back more features than frequency explains; function targets are learnt first, content "
    "targets drive what is learnt after."
)
RESULT = Path(__file__).parent / "results" / "function_tokens.json"
BOOKS = (
    "austen-pride-and-prejudice", "bronte-jane-eyre", "dickens-great-expectations", "melville-moby-dick",
    "stoker-dracula", "twain-adventures-of-huckleberry-finn",
)  # fmt: skip
GROUPS = ("f>f", "f>c", "c>f", "c>c")
EARLY = 100  # the step at which function targets should have settled
MIDDLE = 1  # the block that features are counted at
LAYERS, TURNED = (9, 18, 27), ("russia", "list")  # of SmolLM2-135M: the layer looked at; what answers are turned to
PICTURES = ("coverage", "d50", "echo", "steering", "strips", "token-classes", "loss-by-transition")
LONG = ("degrees", "degrees_at_1_percent", "is_function")  # a number a token: on the page, not in the result
Rows = dict[str, Any]


class Sizes:
    """How much of everything; a quick run takes the code paths alone."""

    def __init__(self, quick: bool) -> None:
        self.steps = 24 if quick else 1200
        self.keep = (0, 4, 12, 24) if quick else (0, 25, 50, 100, 200, 400, 800, 1200)
        self.early = 4 if quick else EARLY
        self.grow_at = (0, 12, 24) if quick else (0, 50, 200, 1200)
        self.null_at = (0, 24) if quick else (0, 50, 1200)
        self.vocabulary = 512 if quick else 4096
        self.losses, self.seen, self.held = (1500, 2500, 2100) if quick else (30_000, 40_000, 20_000)
        self.scored, self.graph = (500, 4000) if quick else (6_000, 80_000)
        self.ks = (4, 8) if quick else (4, 12)
        self.epochs = 1 if quick else 2
        self.latents, self.most = (128, 128) if quick else (768, 1536)
        self.pretrained = 4000 if quick else 24_000


# -- texts


def books(names: Sequence[str] | None = None) -> dict[str, str]:
    """Old novels by name; NotFoundError with the next step where they are not at hand."""
    folder = folder_of("classic_books")
    files = sorted(folder.glob("*.txt.gz")) if names is None else [folder / f"{name}.txt.gz" for name in names]
    return {file.name: gzip.decompress(file.read_bytes()).decode("utf-8", "replace") for file in files}


def texts_of(quick: bool) -> tuple[list[str], list[str]]:
    """(documents for the small trainings, documents for the pretrained model: stretches of 58 books in turn)."""
    if quick:
        found = documents(dracula.text()[:90_000], 600)
        return found, found
    small = [text for book in books(BOOKS).values() for text in documents(book, 2000)]
    large = [text for book in books().values() for text in documents(book, 400)[5:55]]
    random.Random(0).shuffle(large)
    return small, large[: Sizes(quick).pretrained // 90]


# -- a: small trainings


def watched(text: English, sizes: Sizes, seeds: Sequence[int], folder: Path, work: Workspace, bars: Bars) -> Rows:
    """Everything that the small trainings show, by seed."""
    out: Rows = {"curves": [], "sizes": [], "growth": [], "d50": []}
    for seed in seeds:
        runs = {
            size: SmallTraining(size, seed, folder / f"{size}-{seed}", sizes.steps, keep=sizes.keep)
            for size in ("small", "base")
        }
        for run in runs.values():
            run.run(text, bars)
        base = runs["base"]
        measure = partial(_losses, text, sizes)
        curve = [
            {"at": step, **work.part(f"losses-base-{seed}-{step}", partial(measure, base, step))} for step in sizes.keep
        ]
        out["curves"].append(curve)
        last = sizes.steps
        small = work.part(f"losses-small-{seed}-{last}", partial(measure, runs["small"], last))
        out["sizes"].append([{"name": "small", **small}, {"name": "base", **curve[-1]}])
        out["growth"].append(_growth(text, sizes, base, work, bars))
        out["d50"].append(
            [
                {"at": step, **work.part(f"d50-{seed}-{step}", partial(_d50, text, sizes, base, step, work, bars))}
                for step in sizes.null_at
            ]
        )
    return out


def _losses(text: English, sizes: Sizes, training: SmallTraining, step: int) -> Rows:
    subject = training.at(text, step)
    corpus = tokenise(subject, text.held_out, sizes.losses, text.rows.shape[1])
    seen = _rows(text, 200_000)  # the cut is the training text's
    return losses_at(subject, corpus, classify(seen, 0.4), [classify(seen, share) for share in SHARES])


def _rows(text: English, most: int) -> Tokens:
    rows = text.rows[: max(1, most // text.rows.shape[1])]
    return Tokens(rows, np.arange(len(rows), dtype=np.int32) // 8, np.zeros(len(rows), np.int32))


def _growth(text: English, sizes: Sizes, training: SmallTraining, work: Workspace, bars: Bars) -> list[Rows]:
    out = []
    for step in sizes.grow_at:
        name = f"growth-{training.seed}-{step}"

        def counted(step: int = step, name: str = name) -> list[Rows]:
            subject = training.at(text, step)
            held = tokenise(subject, text.held_out, sizes.held + sizes.scored, text.rows.shape[1])
            cut = len(held.ids) * sizes.scored // (sizes.held + sizes.scored)
            scored, held = _cut(held, slice(cut)), _cut(held, slice(cut, None))
            grow = Growth(MIDDLE, sizes.ks, sizes.latents, sizes.most, sizes.epochs, seed=training.seed)
            return grow.at(subject, _rows(text, sizes.seen), held, scored, work.path(name), work.part, bars)

        out.append({"at": step, "counts": work.part(f"{name}-counts", counted)})
    return out


def _cut(tokens: Tokens, rows: slice) -> Tokens:
    return Tokens(tokens.ids[rows], tokens.document[rows], tokens.start[rows])


def _d50(text: English, sizes: Sizes, training: SmallTraining, step: int, work: Workspace, bars: Bars) -> Rows:
    """D50 by class and the coverage of the ten commonest tokens, beside labels permuted."""
    subject = training.at(text, step)
    pieces = [piece for one in text.held_out for piece in documents(one, 600)]
    pieces += documents(subject.decode(text.rows[: len(text.rows) // 4].flatten().tolist()), 600)
    corpus = tokenise(subject, pieces, sizes.graph, text.rows.shape[1])
    folder = work.path(f"graph-{training.seed}-{step}")
    streamed = stream(subject, corpus, [(MIDDLE, "block")], folder, bars, batch=32)
    run = LayerRun(8, 12, sizes.epochs, training.seed, folder / "sae")
    found = run.measure(streamed, MIDDLE, classify(corpus, 0.4), bars)
    kept = ("health", "explained", "coverage", "coverage_permuted", "over_permuted", "ks", "d50_ratio", "d50_low")
    told = {name: found[name] for name in (*kept, "d50_high", "d50_function", "d50_content", "d50_anywhere")}
    return told | {f"d50_{kind}_mean": _mean(found[f"d50_{kind}"]) for kind in ("function", "content", "anywhere")}


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


# -- what the small trainings come to


def equal_score(growth: list[list[Rows]], first: int) -> float | None:
    """The score at which all checkpoints from `first` on, of all seeds, can be read off; the untrained one is apart."""
    spans = [sorted(count["score"] for count in one["counts"]) for run in growth for one in run if one["at"] >= first]
    low, high = max(span[0] for span in spans), min(span[-1] for span in spans)
    return (low + high) / 2 if low <= high else None


def small_verdicts(found: Rows, sizes: Sizes, seeds: Sequence[int]) -> dict[str, Rows]:
    """Claim -> what was seen, with an interval over seeds, and the word on it."""
    place = sizes.keep.index(sizes.early)
    out: dict[str, Rows] = {}

    def tell(name: str, values: Sequence[float], told: str) -> None:
        over = interval(values, list(seeds))
        low, high = over["low"], over["high"]
        word = OPEN if low is None or high is None else HOLDS if low > 0 else FAILS if high < 0 else OPEN
        out[name] = {"verdict": word, "of": told, **over}

    curves = {group: [[one["groups"][group]["loss"] for one in run] for run in found["curves"]] for group in GROUPS}

    def both(a: str, b: str, of: Callable[[list[float]], float]) -> np.ndarray[Any, Any]:
        return np.mean([[of(curve) for curve in curves[group]] for group in (a, b)], axis=0)

    early = partial(settled, place=place)
    tell(
        "function targets settle first", both("f>f", "c>f", early) - both("f>c", "c>c", early),
        f"share of the whole fall done at step {sizes.early}, function targets less content targets",
    )  # fmt: skip
    tell(
        "content targets fall more afterwards",
        both("f>c", "c>c", lambda c: c[place] - c[-1]) - both("f>f", "c>f", lambda c: c[place] - c[-1]),
        f"nats from step {sizes.early} to the end, content targets less function targets",
    )
    last = [run[-1]["groups"] for run in found["curves"]]
    parts = [{name: group["contribution"] for name, group in groups.items()} for groups in last]
    content = np.array([(part["f>c"] + part["c>c"]) / sum(part.values()) for part in parts])
    tell("content targets make up most of the loss", content - 0.5, "their part of the loss at the end, less 0.5")
    cuts = [run[-1]["by_share"] for run in found["curves"]]
    gaps = {share: [cut[str(share)]["f>c"] - cut[str(share)]["c>c"] for cut in cuts] for share in SHARES}
    tell("f>c is harder than c>c", gaps[0.4], "nats at the 40 % cut")
    out["f>c is harder than c>c"]["by cut"] = {str(share): interval(gap, list(seeds)) for share, gap in gaps.items()}
    if len({np.sign(np.mean(gap)) for gap in gaps.values()}) > 1:
        out["f>c is harder than c>c"]["verdict"] = OPEN
    gains = {g: np.array([a["groups"][g]["loss"] - b["groups"][g]["loss"] for a, b in found["sizes"]]) for g in GROUPS}
    tell(
        "content targets gain more from size",
        (gains["f>c"] + gains["c>c"]) / 2 - (gains["f>f"] + gains["c>f"]) / 2,
        "nats from small to base, content targets less function targets",
    )
    out["content targets gain more from size"]["by group"] = {g: interval(v, list(seeds)) for g, v in gains.items()}
    _growth_verdict(found, sizes, tell, out)
    ratios = [[one["d50_ratio"] for one in run] for run in found["d50"]]
    if all(ratio is not None for run in ratios for ratio in run):
        rise = [run[-1] - run[0] for run in ratios]
        tell("D50 ratio above the untrained one", rise, "ratio at the end less that at step 0")
        out["D50 ratio above the untrained one"] |= {
            str(one["at"]): interval([run[n] for run in ratios], list(seeds)) for n, one in enumerate(found["d50"][0])
        }
        above_one = interval([run[-1] for run in ratios], list(seeds))
        if out["D50 ratio above the untrained one"]["verdict"] == HOLDS and (above_one["low"] or 0) <= 1:
            out["D50 ratio above the untrained one"]["verdict"] = OPEN
    return out


def _growth_verdict(found: Rows, sizes: Sizes, tell: Callable[..., None], out: dict[str, Rows]) -> None:
    """Growth at the smallest k, whose counts fill no dictionary; and at an equal score, where there is one."""
    first = sizes.grow_at[1]
    score = equal_score(found["growth"], first)
    for run in found["growth"]:
        for one in run:
            one["matched"] = None if score is None else matched(one["counts"], score)
    runs = [[one for one in run if one["at"] >= first] for run in found["growth"]]
    counts = [[one["counts"][0] for one in run] for run in runs]
    name = f"features grow from step {first}"
    doublings = [np.log2(run[-1]["once"] / run[0]["once"]) for run in counts]
    tell(name, doublings, f"doublings of the count, k = {sizes.ks[0]}")
    used = max(count["used"] for run in counts for count in run)
    latents = {count["latents"] for run in counts for count in run}
    scores = [count["score"] for run in counts for count in run]
    out[name] |= {
        "most of a dictionary used": used, "latents": sorted(latents), "scores": [min(scores), max(scores)],
        "equal score": score,
    }  # fmt: skip
    if score is not None:
        ends = [np.log2(run[-1]["matched"] / run[0]["matched"]) for run in runs]
        out[name]["doublings at an equal score"] = interval(ends, range(len(ends)))
    if used >= 0.8:
        out[name]["verdict"] = OPEN  # the count fills its dictionary


# -- b: the pretrained model


def pretrained(model: Path | Subject, texts: Sequence[str], sizes: Sizes, out: Path, bars: Bars) -> Rows:
    """Parts A to D and F with the nulls; the page with all figures lies in `out`."""
    quick = isinstance(model, Subject)
    probe = FunctionTokens(
        tokens=sizes.pretrained, loss_tokens=sizes.pretrained // 4, expansion=2, context=64 if quick else 128,
        k=8 if quick else 32, epochs=1 if quick else 4, autoencoders=1 if quick else 3,
        layers=(1,) if quick else LAYERS, traits=() if quick else TURNED,
    )  # fmt: skip
    finding = probe.run(model, list(texts), out, bars)
    values = finding.values
    layers = {
        layer: {name: found[name] for name in found if name not in LONG} for layer, found in values["layers"].items()
    }
    top = {name: values["classes"][name] for name in ("tokens", "documents", "function", "top_15_share", "zipf_alpha")}
    return {
        **finding.about,
        "verdicts": finding.to_dict()["verdicts"],
        "classes": top | {"top": values["classes"]["top"][:15]},
        "middle": values["middle"],
        "layers": layers,
        "untrained": {name: found for name, found in values["untrained"].items() if name not in LONG},
        "echo": values["echo"],
        "strips": values["strips"],
        "transitions": values["transitions"],
        "steering": values.get("steering"),
        "limits": finding.limits,
    }  # fmt: skip


def other(model: Path, texts: Sequence[str], work: Workspace, bars: Bars) -> Rows:
    """Loss by transition in the model's own tokenizer, and the raw vector of D."""

    def measured() -> Rows:
        subject = load(model)
        corpus = tokenise(subject, texts, 10_000, 128)
        many = len(anatomy(subject.model).blocks)
        steering = Steering(subject, [TRAITS[name] for name in TURNED], range(many // 3, many, many // 3), 12)
        lost = losses_at(subject, corpus, classify(corpus, 0.4), [classify(corpus, share) for share in SHARES])
        return {"losses": lost, "steering": steering.run({}), "quantisation": subject.quantisation}

    return dict(work.part(f"other-{model.stem}", measured))


# -- the whole


def summed_up(small: Mapping[str, Rows], large: Rows | None, seeds: Sequence[int]) -> tuple[str, str]:
    """The word on the paper's two claims, and one line of numbers."""
    seen = large["verdicts"] if large else []
    words = [row["verdict"] for name, row in small.items() if not name.startswith("f>c")]
    words += [verdict["word"] for verdict in seen if verdict["of"].startswith("D50")]
    word = HOLDS if all(one == HOLDS for one in words) else FAILS if FAILS in words else OPEN
    parts = [
        f"{name}: {row['mean']:+.2f} [{row['low']:.2f}, {row['high']:.2f}] ({row['verdict']})"
        for name, row in small.items()
        if row["mean"] is not None and row["low"] is not None
    ]
    parts += [f"{name}: {row['verdict']}" for name, row in small.items() if row["mean"] is None or row["low"] is None]
    for verdict in seen:
        effect, null = verdict["effect"], verdict["null"]
        shown = "" if effect is None else f" {effect:.2f}" + ("" if null is None else f" (control {null:.2f})")
        parts.append(f"pretrained, {verdict['of']}{shown}: {verdict['word']}")
    return word, f"{'; '.join(parts)} ({len(seeds)} seeds)"


def draw_small(found: Rows, path: Path) -> None:
    """Curves, growth and size as one picture each, stacked; D50 beside them is told in numbers."""
    from matplotlib import pyplot

    figures = [draw.over_training(found["curves"]), draw.growth(found["growth"]), draw.over_size(found["sizes"])]
    for figure, name in zip(figures, ("", "_growth", "_size"), strict=True):
        figure.savefig(path.with_name(f"{path.stem}{name}.png"), dpi=72)
        pyplot.close(figure)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    parser = argparse.ArgumentParser(description=CLAIM)
    parser.add_argument("--quick", action="store_true", help="the code paths alone; nothing is written")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--model", type=Path, help="a .gguf file or a folder, such as smollm2-135m.gguf")
    parser.add_argument("--others", type=Path, nargs="*", default=[], help="more models, for losses and raw vectors")
    parser.add_argument("--work", type=Path, help="where finished parts are kept; else in the cache")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes, seeds = Sizes(args.quick), list(range(2 if args.quick else args.seeds))
    small_texts, large_texts = texts_of(args.quick)
    with _folder(args.quick, args.work) as folder, Bars() as bars:
        text = english(small_texts, sizes.vocabulary)
        early = {name: value for name, value in vars(sizes).items() if name != "pretrained"}
        kept = Workspace(folder, {"proof": "function-tokens", **early})
        found = watched(text, sizes, seeds, folder / "trainings", kept, bars)
        verdicts = small_verdicts(found, sizes, seeds)
        model: Path | Subject | None = args.model
        if args.quick:
            model = SmallTraining("base", 0, folder / "trainings" / "base-0", sizes.steps).at(text, sizes.steps)
        large = None if model is None else pretrained(model, large_texts, sizes, folder / "page", bars)
        others = {path.stem: other(path, large_texts, kept, bars) for path in args.others}
    word, summary = summed_up(verdicts, large, seeds)
    print(f"{word}: {summary}")
    if args.quick:
        return
    result = {
        "name": "function_tokens", "claim": CLAIM, "verdict": word, "summary": summary, "seeds": seeds,
        "small": {"verdicts": verdicts, **_slim(found)}, "pretrained": large, "others": others,
        "parameters": {**vars(sizes), "books": BOOKS},
        "steering": steering_table(large["steering"]) if large else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "versions": versions(), "machine": machine(),
        "command": "python proofs/function_tokens.py"
        + (f" --model {args.model.name}" if args.model else "")
        + (f" --others {' '.join(path.name for path in args.others)}" if args.others else ""),
    }  # fmt: skip
    RESULT.write_text(as_json(result), encoding="utf-8")
    draw_small(found, RESULT.with_suffix(".png"))
    for name in PICTURES if large else ():
        source = folder / "page" / f"{name}.png"
        (RESULT.parent / f"function_tokens_{name.replace('-', '_')}.png").write_bytes(source.read_bytes())


def _slim(found: Rows) -> Rows:
    """What the figures show, without the items."""
    slim = json.loads(json.dumps(found))
    for run in slim["d50"]:
        for one in run:
            for kind in ("function", "content", "anywhere"):
                one[f"d50_{kind}"] = len(one[f"d50_{kind}"])
    for run in slim["curves"]:
        for one in run[:-1]:
            one["sentence"] = [word["guess"] for word in one["sentence"]]
    for pair in slim["sizes"]:
        for one in pair:
            one.pop("sentence")
            one.pop("targets")
    return dict(slim)


@contextmanager
def _folder(quick: bool, given: Path | None) -> Iterator[Path]:
    """Where finished parts are kept; a quick run leaves nothing behind."""
    if given is not None or not quick:
        yield given or cache_folder() / "function-tokens"
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
