"""MemoryPrompt: does a frozen model track facts that change over segments, through a few vectors handed on?

Run: python proofs/memory_prompt.py

"X is in P" is told for some of 6 people in each segment of 3 facts, and may change; after the last segment one is asked
for: where is X now? (8 places, chance 0.125.) A three-layer model is first trained to answer from one to three segments
in its context, then frozen. Arms: the last segment alone; all in one context; a static soft prompt; MemoryPrompt. The
last two are trained on 2 to 4 segments, and all asked at 2, 4 and 8.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowwave.bench.concluding import Parts, conclude, options, verdict_of
from slowwave.bench.recall_training import spread
from slowwave.state.frozen import Frozen
from slowwave.state.memory_prompt import MemoryPrompt

PEOPLE, PLACES, FACTS, WIDTH = 6, 8, 3, 48
ASK, END = PEOPLE + PLACES, PEOPLE + PLACES + 1
VOCABULARY = END + 1
ARMS = ("last segment", "full context", "static prompt", "memory prompt")
ASKED = (2, 4, 8)


def drawn(batch: int, segments: int, generator: torch.Generator) -> tuple[list[Tensor], Tensor]:
    """Segments of ids (batch, 2 FACTS + 1), each ended by a mark, the last by a question, "ASK X"; and where X is.
    The asked person has been told of."""
    who = torch.randint(PEOPLE, (batch, segments * FACTS), generator=generator)
    where = torch.randint(PLACES, (batch, segments * FACTS), generator=generator)
    asked = who.gather(1, torch.randint(segments * FACTS, (batch, 1), generator=generator))
    newest = ((who == asked) * torch.arange(1, segments * FACTS + 1)).argmax(1, keepdim=True)
    answer = where.gather(1, newest)[:, 0]
    told = torch.stack([who, where + PEOPLE], 2).view(batch, segments, 2 * FACTS)
    out = [torch.cat([told[:, n], torch.full((batch, 1), END)], 1) for n in range(segments)]
    out[-1] = torch.cat([told[:, -1], torch.full((batch, 1), ASK), asked], 1)
    return out, answer


def base(seed: int, steps: int) -> Frozen:
    """A model that answers from facts of one to three segments in its context, frozen."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=3,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=256,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(50 + seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(steps):
        segments, answer = drawn(64, 1 + step % 3, generator)
        logits = model(torch.cat(segments, 1)).logits[:, -1]
        loss = F.cross_entropy(logits[:, PEOPLE : PEOPLE + PLACES], answer)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Frozen(model)


def logits_of(arm: str, frozen: Frozen, part: Any, segments: list[Tensor]) -> Tensor:
    """What an arm answers, over the places."""
    if arm == "last segment":
        out = frozen.logits(segments[-1])
    elif arm == "full context":
        out = frozen.logits(torch.cat(segments, 1))
    elif arm == "static prompt":
        embeds = torch.cat([part.expand(len(segments[0]), -1, -1), frozen.embed(segments[-1])], 1)
        out = frozen.run(embeds).logits
    else:
        state = None
        for ids in segments:
            out, state = part(ids, None, state)
    return out[:, -1, PEOPLE : PEOPLE + PLACES]


def run(seed: int, base_steps: int, steps: int) -> dict[str, Any]:
    """One frozen model under every arm."""
    frozen = base(seed, base_steps)
    before = {name: p.clone() for name, p in frozen.model.named_parameters()}
    memory = MemoryPrompt(WIDTH, prompts=5, inner=96, units=96, scale=frozen.embedding_scale).around(frozen)
    static = nn.Parameter(torch.randn(1, 5, WIDTH) * frozen.embedding_scale)
    parts = {"static prompt": static, "memory prompt": memory}
    for arm, part in parts.items():
        generator = torch.Generator().manual_seed(100 + seed)
        own = [part] if arm == "static prompt" else list(memory.parameters())
        optimiser = torch.optim.AdamW(own, lr=3e-3, weight_decay=0.01)
        for step in range(steps):
            segments, answer = drawn(64, 2 + step % 3, generator)
            loss = F.cross_entropy(logits_of(arm, frozen, part, segments), answer)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(own, 1.0)
            optimiser.step()
    right: dict[str, dict[str, float]] = {}
    for arm in ARMS:
        right[arm] = {}
        for count in ASKED:
            with torch.no_grad():
                segments, answer = drawn(600, count, torch.Generator().manual_seed(9_000 + seed))
                found = logits_of(arm, frozen, parts.get(arm), segments).argmax(-1)
            right[arm][f"{count} segments"] = float((found == answer).double().mean())
    same = all(torch.equal(p, before[name]) for name, p in frozen.model.named_parameters())
    return {"accuracy": right, "unchanged": same, "parameters": sum(p.numel() for p in memory.parameters())}


def judge(arms: dict[str, Any], unchanged: bool, quick: bool) -> tuple[str, str]:
    """The verdict, chosen beforehand: weights bit-identical; at 4 segments above the last segment and the static prompt
    in each seed; and from 2 to 8 segments it loses less than full context does, or less than 0.1."""
    four = {arm: rows["4 segments"] for arm, rows in arms.items()}
    memory = four["memory prompt"]
    above = memory["low"] > max(four["last segment"]["high"], four["static prompt"]["high"])
    drop = {a: arms[a]["2 segments"]["mean"] - arms[a]["8 segments"]["mean"] for a in ("memory prompt", "full context")}
    flat = drop["memory prompt"] < max(0.1, drop["full context"])
    holds = unchanged and above and flat
    told = "; ".join(
        f"{arm}: " + ", ".join(f"{rows[f'{n} segments']['mean']:.3f}" for n in ASKED) for arm, rows in arms.items()
    )
    unlearned = arms["full context"]["2 segments"]["high"] < 0.5  # then the frozen model itself cannot answer
    verdict = verdict_of(holds, quick or unlearned)
    same = "" if unchanged else "not "
    return verdict, f"at 2, 4 and 8 segments: {told}; the model's weights are {same}bit-identical"


def main() -> None:
    given = options(__doc__, seeds=(3, ""), base_steps=(600, ""), steps=(300, ""))
    seeds, base_steps, steps = (1, 2, 2) if given.quick else (given.seeds, given.base_steps, given.steps)
    torch.set_num_threads(1)
    parts = Parts(__file__, given.quick, base_steps=base_steps, steps=steps)
    runs = [parts.get(f"{seed}", partial(run, seed, base_steps, steps)) for seed in range(seeds)]
    arms = {
        arm: {f"{n} segments": spread([one["accuracy"][arm][f"{n} segments"] for one in runs]) for n in ASKED}
        for arm in ARMS
    }
    verdict, summary = judge(arms, all(one["unchanged"] for one in runs), given.quick)
    conclude(
        parts, MemoryPrompt, verdict, summary, seeds,
        steps={"base": base_steps, "memory": steps},
        chance=1 / PLACES,
        arms=arms,
        **{"parameters of the memory": runs[0]["parameters"]},
    )  # fmt: skip


if __name__ == "__main__":
    main()
