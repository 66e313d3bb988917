"""EM-LLM: does an event begin where one text ends and another begins?

Run: python proofs/em_llm_joints.py --model smollm2-135m.gguf

Twelve passages of 60 to 180 tokens, each of another novel than the one before, are joined and read as one text. A cut
is right when it lies at most 4 tokens from a joint, and told is F1: of the cuts how many are right, of the joints how
many are met. Arms, with as many cuts each: surprise above mean + gamma x deviation of the 128 tokens before; the same
moved to where keys cluster best, as EM-LLM does it; equal steps; and by lot, the mean of 50 lots. With gamma 1, as in
the paper and the system, there are ten times as many cuts as joints, so that F1 can be no more than 0.19; therefore
also with gamma 2 and 3.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from slowwave.bench.concluding import Parts, conclude, dots, on_model, verdict_of
from slowwave.bench.planted import text_of
from slowwave.bench.recall_training import spread
from slowwave.state.attending import Attending
from slowwave.state.em_llm import EMLLM
from slowwave.state.kernels.surprise import boundaries, refined, surprise
from slowwave.state.reader import View

BOOKS = (
    "austen-emma", "darwin-on-the-origin-of-species", "doyle-the-sign-of-the-four", "bronte-jane-eyre",
    "conrad-heart-of-darkness", "defoe-robinson-crusoe", "dickens-oliver-twist", "eliot-silas-marner",
)  # fmt: skip
PASSAGES, SHORT, LONG, CLOSE, LEAST, MOST = 12, 60, 180, 4, 8, 128
GAMMAS = (1.0, 2.0, 3.0)
ARMS = ("surprise", "surprise, refined", "equal steps", "by lot")


def f1(cuts: list[int], joints: list[int]) -> float:
    """2 x joints met / (cuts + joints); cuts and joints each lie further apart than twice what counts as met."""
    met = sum(any(abs(cut - joint) <= CLOSE for cut in cuts) for joint in joints)
    return 2 * met / max(1, len(cuts) + len(joints))


def run(base: Attending, encode: Any, texts: list[str], seed: int) -> dict[str, Any]:
    """One text of passages: gamma -> arm -> F1, and how many cuts there are for a joint."""
    rng = random.Random(seed)
    ids: list[int] = []
    joints, last = [], -1
    for _ in range(PASSAGES):
        last = rng.choice([book for book in range(len(texts)) if book != last])
        length, words = rng.randint(SHORT, LONG), texts[last].split()
        start = rng.randrange(len(words) - 2 * length)
        ids += encode(" ".join(words[start : start + 2 * length]))[:length]
        joints.append(len(ids))
    joints.pop()
    given = torch.tensor([ids])
    view = View(base, torch.zeros(1, 0, base.layers, 2, base.kv_heads, base.dim))
    with torch.no_grad():
        unexpected = surprise(base.through(given, view)[0], given[0])
    keys = view.record()[0, :, :, 0].flatten(1)
    out = {}
    for gamma in GAMMAS:
        plain = boundaries(unexpected, gamma, window=128, least=LEAST, most=MOST)
        cuts = {"surprise": plain, "surprise, refined": refined(keys, plain, LEAST, MOST)}
        found = {arm: f1(starts.nonzero()[1:, 0].tolist(), joints) for arm, starts in cuts.items()}
        many = max(1, int(plain.sum()) - 1)
        found["equal steps"] = f1([round(n * len(ids) / (many + 1)) for n in range(1, many + 1)], joints)
        found["by lot"] = sum(f1(rng.sample(range(1, len(ids)), many), joints) for _ in range(50)) / 50
        out[f"gamma {gamma:g}"] = {**found, "cuts a joint": many / len(joints)}
    return out


def judge(found: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: at every gamma surprise is above equal steps and lots, by more than two standard
    errors of the differences; what refining changes is told beside it."""
    gains, told = [], []
    for gamma, arms in found.items():
        for other in ("equal steps", "by lot"):
            over = [a - b for a, b in zip(arms["surprise"]["each"], arms[other]["each"], strict=True)]
            mean = sum(over) / len(over)
            error = (sum((x - mean) ** 2 for x in over) / max(1, len(over) - 1) / len(over)) ** 0.5
            gains.append(mean > 2 * error)
        cuts = arms["cuts a joint"]["mean"]
        row = ", ".join(f"{arm} {arms[arm]['mean']:.2f}" for arm in ARMS)
        told.append(f"{gamma} ({cuts:.1f} cuts a joint): {row}")
    return verdict_of(all(gains), quick), f"F1 of cuts at joints of passages, {'; '.join(told)}"


def main() -> None:
    given, base, encode = on_model(__doc__, seeds=20)
    parts = Parts(__file__, given.quick, model=base.fingerprint)
    texts = ["It rained on the old house. " * 200] * 2 if given.quick else [text_of(book) for book in BOOKS]
    each = []
    for seed in range(given.seeds):
        each.append(parts.get(f"{seed}", partial(run, base, encode, texts, seed)))
        print(f"  text {seed + 1} of {given.seeds}", file=sys.stderr, flush=True)
    found = {gamma: {arm: spread([one[gamma][arm] for one in each]) for arm in each[0][gamma]} for gamma in each[0]}
    verdict, summary = judge(found, given.quick)
    conclude(parts, EMLLM, verdict, summary, given.seeds, model=Path(given.model).name, passages=PASSAGES, f1=found)
    arms = {arm: {gamma: found[gamma][arm] for gamma in found} for arm in ARMS}
    dots(parts, arms, tuple(found), 0.0)


if __name__ == "__main__":
    main()
