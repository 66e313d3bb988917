"""EM-LLM, one sentence: is its event found at 4 windows, and would the model answer if it were?

Run: python proofs/em_llm_alone.py --model smollm2-135m.gguf

The control of proofs/em_llm.py, where 24 sentences compete that begin alike. Here a passage of a novel holds one, such
as "The secret of the copper lighthouse is honey.", 4 local windows of 512 before the end, and nothing like it. It is
asked for by its first words; the answer is right when its value is the likeliest of 24 (chance 0.042). Arms: EM-LLM;
the same with blocks of 16 tokens, which is the mean length of an event; the same state without events; with events by
lot; with the event of the sentence alone in view, in every layer; and as many tokens of the newest, alone. Beside it:
in which share of the layers the event was in view.
"""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from slowwave.bench.concluding import Parts, conclude, dots, on_model, verdict_of
from slowwave.bench.planted import VALUES, after, found, invented, plain_cache, text_of
from slowwave.bench.recall_training import spread
from slowwave.state.attending import Attending
from slowwave.state.em_llm import EMLLM

SETTINGS: dict[str, Any] = {"local": 512, "sinks": 16, "retrieve": 512, "block": 128, "store": "float16"}
QUICK: dict[str, Any] = {"local": 64, "sinks": 4, "retrieve": 64, "block": 32, "window": 32, "most": 32}
FIXED: dict[str, Any] = {"segment": "fixed", "most": 16}
ARMS = ("em-llm", "fixed blocks", "no events", "events by lot", "its event alone", "newest tokens")
BOOKS = (
    "dickens-a-christmas-carol", "baum-the-wonderful-wizard-of-oz", "bronte-jane-eyre", "conrad-heart-of-darkness",
    "defoe-robinson-crusoe",
)  # fmt: skip


def shown(state: Any, events: list[int]) -> Any:
    """The state with these events in view, in every layer, and no others."""
    chosen = torch.full_like(state.chosen, -1)
    chosen[..., : len(events)] = torch.tensor(events)
    return replace(state, chosen=chosen, near=torch.full_like(state.near, -1))


def by_lot(state: Any, budget: int, rng: random.Random) -> list[int]:
    """Events that nobody chose, while they fit."""
    sizes, picked = state.sizes[0].tolist(), list[int]()
    for event in rng.sample(range(len(sizes)), len(sizes)):
        if sizes[event] <= budget and len(picked) < state.chosen.shape[2]:
            picked.append(event)
            budget -= sizes[event]
    return picked


def of(state: Any, start: int, end: int) -> list[int]:
    """The events that hold tokens start to end of the stream."""
    first = int(state.first[0])
    begins, sizes = (state.starts[0] + first).tolist(), state.sizes[0].tolist()
    return [n for n, (a, size) in enumerate(zip(begins, sizes, strict=True)) if a < end and a + size > start]


def in_view(state: Any, events: list[int]) -> float:
    """The share of the layers in which all these events are in view."""
    layers = zip(state.chosen[0].tolist(), state.near[0].tolist(), strict=True)
    views = [set(chosen) | set(near) for chosen, near in layers]
    return sum(all(event in view for event in events) for view in views) / len(views)


def run(base: Attending, encode: Any, text: str, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """One passage: arm -> whether it was answered; and in which share of the layers the event was in view."""
    rng = random.Random(seed)
    ((first, value),) = invented(rng, 1)
    words, far = text.split(), 4 * settings["local"]
    start = rng.randrange(max(1, len(words) - 2 * far))
    around = encode(" ".join(words[start : start + 2 * far]))[: far + far // 8]
    told, prompt = encode(f"{first}{value}.\n\n"), encode(first)
    place = far // 8
    ids = around[:place] + told + around[place:]
    values = [encode(f" {one}")[0] for one in VALUES]
    right, question, out = encode(value)[0], torch.tensor([prompt]), {}

    def answer(reader: EMLLM, state: Any) -> dict[str, float]:
        return found(reader.logits(question, state)[0, -1], right, values)

    with torch.no_grad():
        view: dict[str, float] = {}
        for arm, form in (("em-llm", {}), ("fixed blocks", FIXED)):
            reader = EMLLM(base, **{**settings, **form})
            state = reader.write(torch.tensor([ids]), reader.init_state(1))
            mine = of(state, place, place + len(told))
            recalled = reader.recall(question, state)
            out[arm], view[arm] = answer(reader, recalled), in_view(recalled, mine)
            if arm == "em-llm":
                out["no events"] = answer(reader, shown(state, []))
                out["events by lot"] = answer(reader, shown(state, by_lot(state, settings["retrieve"], rng)))
                out["its event alone"] = answer(reader, shown(state, mine))
        budget = settings["sinks"] + settings["retrieve"] + settings["local"]
        out["newest tokens"] = found(after(base, plain_cache(base, ids[-budget:]), prompt), right, values)
    return {**out, "in view": view}


def judge(arms: dict[str, Any], view: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: EM-LLM answers more than without events, by lot, and the newest tokens, on
    average."""
    mean = {arm: row["right"]["mean"] for arm, row in arms.items()}
    holds = all(mean["em-llm"] > mean[arm] for arm in ("no events", "events by lot", "newest tokens"))
    seen = {arm: f" (its event in view in {row['mean']:.2f} of the layers)" for arm, row in view.items()}
    told = ", ".join(f"{arm} {mean[arm]:.2f}{seen.get(arm, '')}" for arm in ARMS)
    return verdict_of(holds, quick), f"one sentence, 4 windows back (chance 0.04): {told}"


def main() -> None:
    given, base, encode = on_model(__doc__, seeds=5)
    settings = QUICK if given.quick else SETTINGS
    parts = Parts(__file__, given.quick, **settings, model=base.fingerprint)
    each = []
    for seed in range(given.seeds):
        text = "It rained on the old house. " * 200 if given.quick else text_of(BOOKS[seed % len(BOOKS)])
        each.append(parts.get(f"{seed}", partial(run, base, encode, text, seed, settings)))
        print(f"  passage {seed + 1} of {given.seeds}", file=sys.stderr, flush=True)
    arms = {arm: {key: spread([one[arm][key] for one in each]) for key in ("right", "said")} for arm in ARMS}
    view = {arm: spread([one["in view"][arm] for one in each]) for arm in each[0]["in view"]}
    verdict, summary = judge(arms, view, given.quick)
    conclude(
        parts, EMLLM, verdict, summary, given.seeds,
        model=Path(given.model).name, settings=settings, chance=round(1 / len(VALUES), 4), arms=arms,
        **{"share of layers with the event in view": view},
    )  # fmt: skip
    dots(parts, {arm: {"answered": row["right"]} for arm, row in arms.items()}, ("answered",), 1 / len(VALUES))


if __name__ == "__main__":
    main()
