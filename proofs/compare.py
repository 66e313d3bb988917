"""compare: is what a short training changed told from what it left, on two checkpoints and on a real model?

Run: python proofs/compare.py --model smollm2-135m.gguf

Tiny: a decoder reads about some people; a checkpoint later it has read about others too, and of a third group it
never reads. The instrument lays the two checkpoints side by side on the texts of the second reading, with statements
about the second and the third group: those it read in between should be learnt, the others not, its loss should fall,
and between the first checkpoint and itself nothing may change. Real: a pretrained model before and after it was trained
for a few updates on facts about invented people, with facts about others that it never read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from slowwave.bench.proving import options, prove, seeds_of
from slowwave.cloze.statements import Statement
from slowwave.probes.base import Finding
from slowwave.probes.compare import Compare
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import Person, WordTokenizer, people, statement
from slowwave.probes.subjects import Subject, load
from slowwave.probes.texts import read_texts
from slowwave.probes.training import Schedule, rows_sampler, train
from slowwave.probes.tuning import encode_text, padded, step, trainable

CLAIM = "Two models side by side show what a training taught and nothing where nothing was taught."
SETTINGS = {"tokens": 4000, "expansion": 2, "k": 8, "context": 16, "epochs": 2, "sequences": 100}
ATTRIBUTE_COUNT = 2  # asked of each person
RATE, UPDATES = 1e-4, 24  # of the real model's training


def told(person: Person) -> list[str]:
    """Every sentence about a person that ends in its value."""
    texts = [statement(person, attribute, n) for attribute in sorted(person.values) for n in range(4)]
    return [text for text in texts if text.rstrip(" .").endswith(tuple(person.values.values()))]


def asked(some: Sequence[Person]) -> list[Statement]:
    """Statements about some people."""
    out = []
    for person in some:
        for attribute in sorted(person.values)[:ATTRIBUTE_COUNT]:
            texts = [statement(person, attribute, n) for n in range(4)]
            texts = [text for text in texts if text.rstrip(" .").endswith(person.values[attribute])]
            out.append(Statement(texts[0], person.name, person.values[attribute], (), (), tuple(texts[1:]), attribute))
    return out


def tiny(seed: int, many: int, steps: int) -> dict[str, Any]:
    """Two checkpoints side by side, and the first beside itself."""
    everyone = people(3 * many, seed)
    first, second, never = (everyone[n * many : (n + 1) * many] for n in range(3))
    texts = [[text for person in some for text in told(person)] for some in (first, second)]
    names = [f"{person.name} is here ." for person in everyone]
    statements = asked([*second, *never])
    tokenizer = WordTokenizer([*texts[0], *texts[1], *names, *(one.text for one in statements)])
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=48, layers=2, heads=4, context=64), seed)
    states = []
    for some in (texts[0] + names, texts[0] + texts[1] + names):
        rows = padded([tokenizer.encode(text) for text in some], 14).numpy()
        train(model, rows_sampler(rows, 32, seed), Schedule(steps, lr=4e-3, warm_up=min(20, steps), shape="constant"))
        states.append(Subject(f"checkpoint {len(states) + 1}", copy.deepcopy(model).eval(), tokenizer))
    again = Subject("the first again", copy.deepcopy(states[0].model), tokenizer)
    read = [" ".join(texts[1][n : n + 6]) for n in range(0, len(texts[1]), 6)]
    learnt, same = (compared(states[0], other, read, statements, seed) for other in (states[1], again))
    return {"between": seen(learnt, len(second) * ATTRIBUTE_COUNT), "itself": seen(same, 0)}


def compared(
    before: Subject, after: Subject, texts: Sequence[str], statements: Sequence[Statement], seed: int
) -> Finding:
    """The instrument on two models in this process."""
    probe = Compare(seed=seed, statements=tuple(statements), **SETTINGS)
    probe.other = after
    return probe.run(before, list(texts))


def seen(finding: Finding, taught: int) -> dict[str, Any]:
    """What the verdicts rest on; the first `taught` facts are those that the second model read."""
    facts = finding.values["facts"]
    change = np.array([one["confidence"][1] - one["confidence"][0] for one in facts])
    return {
        "verdicts": {v.of: v.word for v in finding.verdicts},
        "loss": finding.values["losses"]["all"]["mean"],
        "features": finding.values["features"]["changed"], "noise": finding.values["features"]["noise"],
        "states": finding.values["states"], "heads": max(one["change"] for one in finding.values["heads"]),
        "taught": float(change[:taught].mean()) if taught else None, "others": float(change[taught:].mean()),
        "surely": [sum(one["word"][1] == "holds" for one in facts[:taught]),
                   sum(one["word"][1] == "holds" for one in facts[taught:])],
        "n": [taught, len(facts) - taught],
    }  # fmt: skip


def real(model: str, seed: int, out: Path | None) -> dict[str, Any]:
    """A pretrained model before and after it read about four invented people, and never about four others."""
    before = load(model)
    everyone = people(8, seed)
    read, never = everyone[:4], everyone[4:]
    texts = [sentence(text) for person in read for text in told(person)]
    after = trainable(before)
    rows = [encode_text(after, text) for text in texts]
    optimiser = torch.optim.AdamW(after.model.parameters(), lr=RATE, weight_decay=0.0)
    rng = np.random.default_rng(seed)
    for _ in range(UPDATES):
        step(after.model, optimiser, padded([rows[i] for i in rng.choice(len(rows), 8, replace=False)]))
    after.model.requires_grad_(False)
    named = Subject(f"{before.name}, {UPDATES} updates later", after.model, before.tokenizer, before.quantisation)
    statements = [spoken(one) for one in asked([*read, *never])]
    novel = read_texts(None)
    shuffled = [novel[i] for i in np.random.default_rng(seed).permutation(len(novel))]
    probe = Compare(quick=True, seed=seed, statements=tuple(statements), tokens=2600, sequences=48, expansion=1)
    probe.other = named
    return seen(probe.run(before, shuffled, out), len(read) * ATTRIBUTE_COUNT)


def sentence(text: str) -> str:
    """As it would be written: a capital, and the full stop where it belongs."""
    return text[0].upper() + text[1:].removesuffix(" .") + "."


def spoken(one: Statement) -> Statement:
    """A statement in such sentences."""
    return Statement(
        sentence(one.text), one.subject, one.value, paraphrases=tuple(map(sentence, one.paraphrases[:1])),
        relation=one.relation,
    )  # fmt: skip


def judge(parts: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """Each finding over all seeds."""
    rows = [parts[f"tiny {seed}"] for seed in seeds]
    between, same = [row["between"] for row in rows], [row["itself"] for row in rows]
    checks = {
        "what was taught in between is learnt, by half or more": all(row["taught"] >= 0.5 for row in between),
        "what was never taught is not, within 0.1": all(abs(row["others"]) <= 0.1 for row in between),
        "the taught text is predicted better": all(row["loss"] < 0 for row in between),
        "features change more than from text to text": all(row["features"] > 2 * row["noise"] for row in between),
        "nothing changes between a model and itself": all(
            row["loss"] == 0 and row["features"] == 0 and row["heads"] == 0 and row["others"] == 0 for row in same
        ),
    }
    word = "holds" if all(checks.values()) else "does not hold" if not any(checks.values()) else OPEN
    gained, other, loss, changed, noise = (
        _range([row[name] for row in between]) for name in ("taught", "others", "loss", "features", "noise")
    )
    said = (
        f"confidence rises by {gained} for facts read in between, by {other} for others; loss {loss} nats; features "
        f"whose rate changed tenfold {changed}, from text to text {noise}; "
        f"not seen: {'; '.join(k for k, v in checks.items() if not v) or 'nothing'}"
    )
    if "real 0" in parts:
        row = parts["real 0"]
        said += (
            f"; a real model, {UPDATES} updates later: confidence {row['taught']:+.2f} for {row['n'][0]} facts read, "
            f"{row['others']:+.2f} for {row['n'][1]} others; loss of a novel {row['loss']:+.3f} nats; features "
            f"{row['features']:.3f}, from text to text {row['noise']:.3f}; least likeness of a layer "
            f"{min(row['states']):.3f}"
        )
    return {"verdict": word, "summary": f"{said} ({len(seeds)} seeds)", "seen": checks}


OPEN = "cannot be told at this size"


def _range(values: Sequence[float]) -> str:
    return f"{np.mean(values):+.2f} [{min(values):+.2f}, {max(values):+.2f}]"


def draw(parts: Mapping[str, Any], path: Path) -> None:
    """Change of confidence, taught and not; loss and features."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [(name, part.get("between", part)) for name, part in parts.items()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    place = np.arange(len(rows))
    left.bar(place - 0.2, [row["taught"] for _, row in rows], 0.4, color="#2f6fb0", label="read in between")
    left.bar(place + 0.2, [row["others"] for _, row in rows], 0.4, color="#8a8f98", label="never read")
    left.set(ylabel="change of confidence", title="facts")
    right.bar(place - 0.2, [row["features"] for _, row in rows], 0.4, color="#c8452f", label="second model")
    right.bar(place + 0.2, [row["noise"] for _, row in rows], 0.4, color="#8a8f98", label="other documents")
    right.set(ylabel="share of features changed tenfold", title="features")
    for axis in (left, right):
        axis.set_xticks(place, [name for name, _ in rows])
        axis.set_ylim(0, 1.25 * axis.get_ylim()[1])
        axis.legend(frameon=False, fontsize=8, ncol=2, loc="upper center")
    figure.savefig(path, dpi=72)


def main() -> None:
    """Measure, print the summary, and write the result unless it is a quick run."""
    parser = options(CLAIM)
    parser.add_argument("--out", type=Path, help="where the real model's page goes, and a killed run goes on from")
    args = parser.parse_args()
    many, steps = (5, 20) if args.quick else (12, 260)
    makers: dict[str, Any] = {f"tiny {seed}": partial(tiny, seed, many, steps) for seed in seeds_of(args)}
    if args.model:
        makers["real 0"] = partial(real, args.model, 0, args.out)
    settings = {"people": many, "steps": steps, **SETTINGS, "updates": UPDATES, "code": 1}
    prove(__file__, "compare", CLAIM, args, makers, judge, draw, settings)


if __name__ == "__main__":
    main()
