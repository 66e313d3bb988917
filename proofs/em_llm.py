"""EM-LLM: does a small model answer from a whole novel what it was told far back, seeing no more than a window?

Run: python proofs/em_llm.py --model smollm2-135m.gguf

A novel is read once, in one stream, by a frozen model that sees the 16 first tokens, the newest 512 and 512 of
recalled events. On the way 24 sentences are planted, such as "The secret of the copper lighthouse is honey.": 6 each
at 1, 4 and 16 times the local window of 512 before the end, and 6 over the whole novel, in three sets of two a
distance. At the end each is asked for from the same state, by its first words. An answer is right when the value is
the likeliest of all 24 (chance 0.042); it is also told how often it was the likeliest of all tokens. Beside it: the
same state without events; with events drawn by lot; the model alone with as many of the newest tokens; and with as
many of passages that a sentence encoder finds.

Where events begin is measured by proofs/em_llm_joints.py. Parts are kept as they are done: a run that was stopped goes
on.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from slowwave.bench.concluding import Parts, conclude, verdict_of
from slowwave.bench.planted import after, found, invented, plain_cache, text_of
from slowwave.bench.recall_training import spread
from slowwave.models import resolve_embedder
from slowwave.models.causal import fake_causal, load_causal
from slowwave.state.attending import Attending
from slowwave.state.em_llm import EMLLM

FIGURE = Path(__file__).with_name("results") / "em_llm.png"
BOOKS = ("carroll-alice-s-adventures-in-wonderland", "dickens-a-christmas-carol", "baum-the-wonderful-wizard-of-oz")
LOCAL, SINKS, RETRIEVE, BLOCK = 512, 16, 512, 128
SETTINGS: dict[str, Any] = {"local": LOCAL, "sinks": SINKS, "retrieve": RETRIEVE, "block": BLOCK, "store": "float16"}
DISTANCES = {"1x": 1, "4x": 4, "16x": 16, "whole novel": 0}
SETS = 3
ARMS = ("em-llm", "no events", "events by lot", "newest tokens", "passages found")


def planted(ids: list[int], encode: Any, seed: int) -> tuple[list[int], list[dict[str, Any]]]:
    """The novel with its 24 sentences, and for each: what is asked, its value, its distance."""
    facts: list[dict[str, Any]] = []
    for n, (words, value) in enumerate(invented(random.Random(seed), 24)):
        kind = list(DISTANCES)[n // 6]
        far, share = DISTANCES[kind] * LOCAL, n % 6 / 6  # the six lie within a fifth of the distance
        back = round(far * (1 - 0.2 * share) if far else len(ids) * (0.97 - 0.8 * share))
        facts.append({"asked": words, "value": value, "kind": kind, "set": n % SETS, "back": back})
    out, last = [], 0
    for fact in sorted(facts, key=lambda fact: -int(fact["back"])):
        place = max(last, len(ids) - int(fact["back"]))
        out += ids[last:place] + encode(f"{fact['asked']}{fact['value']}.\n\n")
        last = place
    return out + ids[last:], facts


def read(reader: EMLLM, ids: list[int], keep: Path | None) -> tuple[Any, dict[str, float]]:
    """The state after the novel, and what it took; kept every 8,192 tokens, and taken up again from there."""
    state, at, spent = None, 0, 0.0
    told = None if keep is None else keep.with_suffix(".json")
    if keep is not None and told is not None and keep.is_file() and told.is_file():
        at, spent = json.loads(told.read_text("utf-8"))
        state = reader.load(keep)
    pace = []
    while at < len(ids):
        piece = torch.tensor([ids[at : at + 2048]])
        begin = time.process_time()
        state = reader.write(piece, state if state is not None else reader.init_state(1))
        pace.append(piece.shape[1] / (time.process_time() - begin))
        spent += time.process_time() - begin
        at += piece.shape[1]
        print(f"  read {at:,} of {len(ids):,} tokens, {pace[-1]:.0f} a CPU second", file=sys.stderr, flush=True)
        if keep is not None and told is not None and at % 8_192 == 0:
            reader.save(state, keep)
            told.write_text(json.dumps([at, spent]), encoding="utf-8")
    assert state is not None
    return state, {
        "tokens": len(ids),
        "events": int(state.events[0]),
        "bytes a token": round(state.bytes / len(ids)),
        "attended at most": reader.attended(),
        "tokens a CPU second": round(len(ids) / spent, 1),
        "cpu_seconds, reading": round(spent, 1),  # all of it, also what was read before a run was stopped
        "the last 2,048 beside the first": round(pace[-1] / pace[0], 3),
        "peak RSS, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def by_lot(reader: EMLLM, state: Any, rng: random.Random) -> Any:
    """The state with events in view that nobody chose, as many tokens of them."""
    sizes, many = state.sizes[0].tolist(), state.chosen.shape[2]
    chosen = torch.full_like(state.chosen, -1)
    for layer in range(chosen.shape[1]):
        left, picked = reader.retrieve, list[int]()
        for event in rng.sample(range(len(sizes)), len(sizes)):
            if sizes[event] <= left and len(picked) < many:
                picked.append(event)
                left -= sizes[event]
        chosen[0, layer, : len(picked)] = torch.tensor(picked)
    return replace(state, chosen=chosen, near=torch.full_like(state.near, -1))


def asked(
    reader: EMLLM, state: Any, ids: list[int], facts: list[dict[str, Any]], encode: Any, decode: Any, seed: int
) -> list[dict[str, Any]]:
    """Every question under every arm: its kind, and arm -> what was found."""
    rng = random.Random(seed)
    base = reader.base_model
    values = [encode(str(fact["value"]))[0] for fact in facts]
    none = replace(state, chosen=torch.full_like(state.chosen, -1), near=torch.full_like(state.near, -1))
    budget = SINKS + RETRIEVE + LOCAL
    passages = [ids[n : n + 64] for n in range(0, len(ids), 64)]
    encoder = resolve_embedder("minilm" if len(ids) > 4000 else "fake")
    vectors = torch.from_numpy(encoder.embed([decode(passage) for passage in passages]).copy())
    rows = []
    with torch.no_grad():
        newest = plain_cache(base, ids[-budget:])
        for n, fact in enumerate(facts):
            prompt = encode(str(fact["asked"]))
            question = torch.tensor([prompt])
            row: dict[str, Any] = {"kind": fact["kind"], "set": fact["set"]}
            row["em-llm"] = found(reader.logits(question, reader.recall(question, state))[0, -1], values[n], values)
            row["no events"] = found(reader.logits(question, none)[0, -1], values[n], values)
            row["events by lot"] = found(reader.logits(question, by_lot(reader, state, rng))[0, -1], values[n], values)
            row["newest tokens"] = found(after(base, newest, prompt), values[n], values)
            like = vectors @ torch.from_numpy(encoder.embed([str(fact["asked"])])[0].copy())
            best = sorted(like.topk(min(budget // 64, len(passages))).indices.tolist())
            prompted = [i for place in best for i in passages[place]] + prompt
            row["passages found"] = found(base.logits(torch.tensor([prompted]))[0, -1], values[n], values)
            rows.append(row)
            print(f"  asked {n + 1} of {len(facts)}", file=sys.stderr, flush=True)
    return rows


def judge(kinds: dict[str, Any], quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: at 4 and 16 windows and over the whole novel EM-LLM answers more than the same
    state without events, with events by lot, and the newest tokens; and over all three as many as passages found."""
    far = ("4x", "16x", "whole novel")
    mean = {kind: {arm: kinds[kind][arm]["right"]["mean"] for arm in ARMS} for kind in far}
    holds = all(
        row["em-llm"] > row[arm] for row in mean.values() for arm in ("no events", "events by lot", "newest tokens")
    )
    holds &= sum(row["em-llm"] for row in mean.values()) >= sum(row["passages found"] for row in mean.values())
    told = "; ".join(
        f"{kind}: " + ", ".join(f"{arm} {kinds[kind][arm]['right']['mean']:.2f}" for arm in ARMS) for kind in kinds
    )
    verdict = verdict_of(holds, quick)
    return verdict, f"share of planted sentences answered (chance 0.04): {told}"


def figure(kinds: dict[str, Any]) -> None:
    """Right answers by distance, a line an arm, each novel a dot."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    colours = ("#c8452f", "#8a8f98", "#c9a227", "#2f6fb0", "#3a7d44")
    for arm, colour in zip(ARMS, colours, strict=True):
        rows = [kinds[kind][arm]["right"] for kind in DISTANCES]
        axis.plot(range(len(rows)), [row["mean"] for row in rows], "-", color=colour, label=arm)
        for place, row in enumerate(rows):
            axis.plot([place] * len(row["each"]), row["each"], "o", color=colour, alpha=0.4, markersize=4)
    axis.axhline(1 / 24, color="black", linewidth=0.6, linestyle=":")
    axis.set_xticks(range(len(DISTANCES)), [f"{k} {LOCAL}" if DISTANCES[k] else k for k in DISTANCES])
    axis.set(ylabel="planted sentences answered", xlabel="how far back, in local windows", ylim=(-0.03, 1.03))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    drawn.savefig(FIGURE, dpi=110, metadata={"Software": None})
    pyplot.close(drawn)


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--quick", action="store_true", help="a small run with random weights, for the code paths alone")
    given.add_argument("--model", help="a .gguf file, a folder or a name that transformers loads")
    given.add_argument("--books", type=int, default=1, help="how many novels, at most 3")
    given.add_argument("--scratch", type=Path, help="a folder where states are kept, to go on reading from")
    options = given.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        run_quick()
        return
    if options.model is None:
        given.error("give --model, for instance smollm2-135m.gguf; or --quick")
    model, tokenizer = load_causal(options.model, purpose="this proof", extra="state")
    base = Attending(model, tokenizer)
    reader = EMLLM(base, **SETTINGS)
    scratch: Path | None = options.scratch
    parts = Parts(__file__, False, **SETTINGS, model=base.fingerprint)

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False))

    each, pace = [], []
    for seed, book in enumerate(BOOKS[: options.books]):
        print(book, file=sys.stderr, flush=True)

        def one(seed: int = seed, book: str = book) -> Any:
            ids, facts = planted(encode(text_of(book)), encode, seed)
            state, took = read(reader, ids, None if scratch is None else scratch / f"{book}.state")
            return [asked(reader, state, ids, facts, encode, tokenizer.decode, seed), took]

        rows, took = parts.get(book, one)
        each.append(rows)
        pace.append({"novel": book, **took})
    kinds = summed(each)
    verdict, summary = judge(kinds, False)
    conclude(
        parts, EMLLM, verdict, summary, SETS * len(each),
        model=Path(options.model).name, settings=SETTINGS, novels=pace, answers=kinds,
    )  # fmt: skip
    figure(kinds)


def summed(each: list[Any]) -> dict[str, Any]:
    """kind -> arm -> measure -> its share in each set of each novel."""

    def share(rows: list[Any], kind: str, one: int, arm: str, key: str) -> float:
        mine: list[float] = [row[arm][key] for row in rows if row["kind"] == kind and row["set"] == one]
        return sum(mine) / max(1, len(mine))

    return {
        kind: {
            arm: {
                key: spread([share(rows, kind, one, arm, key) for rows in each for one in range(SETS)])
                for key in ("right", "said")
            }
            for arm in ARMS
        }
        for kind in DISTANCES
    }


def run_quick() -> None:
    """A made-up text of bytes and random weights."""
    model, tokenizer = fake_causal()
    reader = EMLLM((model, tokenizer), **{**SETTINGS, "local": 128, "retrieve": 128, "block": 64})
    encode = tokenizer.encode
    ids, facts = planted(encode("It rained on the roof of the old house by the sea. " * 30), encode, 0)
    facts = facts[::6]
    state, _ = read(reader, ids, None)
    rows = asked(reader, state, ids, facts, encode, tokenizer.decode, 0)
    verdict, summary = judge(summed([rows]), True)
    conclude(Parts(__file__, True), EMLLM, verdict, summary, 1)


if __name__ == "__main__":
    main()
