"""A small language model that is trained together with its memory, and the facts that it is told and asked: for proofs.

A fact is two tokens, a key and a value; a question is the key, and the value follows once it was guessed. The model is
a Llama. So that it can look up after some hundred steps, its attention begins as a likeness of contents: queries are
made as keys are, and what is read goes where it was taken from (after Trockman and Kolter 2023, mimetic
initialisation); one head of the first layer begins by looking one token back. All of it is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from slowwave.state.memory_llm import MemoryLLM

MARKS, FILLERS, KEYS, VALUES = 4, 32, 128, 32  # in this order
FIRST_KEY = MARKS + FILLERS
FIRST_VALUE = FIRST_KEY + KEYS
VOCABULARY = FIRST_VALUE + VALUES
CHANCE = 1 / VALUES
BACK = 6.0  # size of the biases by which a head looks back; 95 % of its attention is then one token back
RATE = 3e-3


def toy(seed: int, layers: int, width: int = 64, heads: int = 4) -> Any:
    """A fresh Llama of transformers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=4096, eos_token_id=None,
        tie_word_embeddings=True, initializer_range=0.1, attention_bias=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        for layer in model.model.layers:
            part = layer.self_attn
            part.k_proj.weight.copy_(part.q_proj.weight)
            part.o_proj.weight.copy_(part.v_proj.weight.t())
        first, dim = model.model.layers[0].self_attn, width // heads
        turn = model.model.rotary_emb.inv_freq  # of one token
        first.k_proj.bias[:dim] = BACK * torch.cat([torch.ones(dim // 2), torch.zeros(dim // 2)])
        first.q_proj.bias[:dim] = BACK * torch.cat([turn.cos(), -turn.sin()])
        first.q_proj.weight[:dim] *= 0.1
        first.k_proj.weight[:dim] *= 0.1
    return model


def facts(batch: int, count: int, generator: torch.Generator) -> Tensor:
    """(batch, count, 2) ids: keys, each once in a row, and values."""
    import torch

    keys = torch.rand(batch, KEYS, generator=generator).argsort(1)[:, :count] + FIRST_KEY
    values = torch.randint(VALUES, (batch, count), generator=generator) + FIRST_VALUE
    return torch.stack([keys, values], 2)


def among(told: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Facts (batch, count, 2) at random places of a text of fillers: (batch, length)."""
    import torch

    batch, count, _ = told.shape
    places = torch.rand(batch, length - count, generator=generator).argsort(1)[:, :count].sort(1).values
    places = places + torch.arange(count)
    text = torch.randint(MARKS, FIRST_KEY, (batch, length), generator=generator)
    return text.scatter(1, places, told[..., 0]).scatter(1, places + 1, told[..., 1])


def drawn(told: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """So many of the facts in each row, in any order."""
    import torch

    order = torch.rand(told.shape[:2], generator=generator).argsort(1)[:, :count]
    return told.gather(1, order[..., None].expand(-1, -1, 2))


def asked(about: Tensor) -> tuple[Tensor, Tensor]:
    """Questions after facts (batch, count, 2), one after the other: ids (batch, 2 count), and the values where they
    are to be guessed, else negative."""
    import torch

    ids = about.flatten(1)
    targets = torch.full_like(ids, -1)
    targets[:, ::2] = about[..., 1]
    return ids, targets


def loss_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of the values."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits[targets >= 0], targets[targets >= 0])


def right(logits: Tensor, targets: Tensor) -> float:
    """The share of values that are the likeliest of all tokens."""
    wanted = targets >= 0
    return float((logits.argmax(-1)[wanted] == targets[wanted]).double().mean())


def in_context(model: Any, told: Tensor, about: Tensor) -> tuple[Tensor, Tensor]:
    """What the model expects of questions after a text (batch, time) in its context: logits, and targets."""
    import torch

    ids, targets = asked(about)
    logits = model(input_ids=torch.cat([told, ids], 1), use_cache=False).logits
    return logits[:, told.shape[1] :], targets


class Lessons:
    """Texts that grow longer as the model learns to look up in them, so that it does so within some hundred steps.

    model    a toy
    most     facts of the longest text, from 4 on
    length   tokens of a text with fillers between the facts; 0 has none

    Called with a generator it gives the loss of a fresh draw, as `timed` takes it.
    """

    def __init__(self, model: Any, most: int = 32, length: int = 0) -> None:
        self.model, self.most, self.length = model, most, length
        self.count, self.filled, self.lately = 4, 0, 0.0

    def __call__(self, generator: torch.Generator) -> Tensor:
        batch = max(8, 32 * 8 // max(8, self.count))
        told = facts(batch, self.count, generator)
        text = told.flatten(1) if not self.filled else among(told, self.filled, generator)
        logits, targets = in_context(self.model, text, drawn(told, min(8, self.count), generator))
        self.lately = 0.9 * self.lately + 0.1 * right(logits.detach(), targets)
        if self.lately > 0.95:
            self._longer()
        return loss_of(logits, targets)

    def _longer(self) -> None:
        if self.count < self.most:
            self.count = min(self.most, 2 * self.count)
        elif self.filled < self.length:
            self.filled = min(self.length, 2 * max(self.filled, 2 * self.count))
        else:
            return
        self.lately = 0.0

    @property
    def done(self) -> bool:
        """Whether the longest text was reached."""
        return self.count == self.most and self.filled == self.length


class Blocks:
    """Streams of blocks, each a few facts, by which a model learns to write into its pool and to read from it.

    reader  around a toy that is not frozen; its block holds `each` facts
    blocks  of a stream, after which another begins
    lately  questions are after the newest block, and as many after any of so many newest ones
    beside  a loss that is added every fourth step, so that what was learned before stays
    rows    streams side by side

    Called with a generator it gives the loss of a step, as `timed` takes it: one block is written, then asked. Every
    other step passes gradients through the write, the others ask of a pool that is cut off; the pool goes from step to
    step, and gradients never further back than one.
    """

    def __init__(
        self, reader: MemoryLLM, each: int, blocks: int, lately: int, beside: Callable[[torch.Generator], Tensor],
        rows: int = 24,
    ) -> None:  # fmt: skip
        self.reader, self.each, self.blocks, self.lately, self.beside, self.rows = (
            reader, each, blocks, lately, beside, rows
        )  # fmt: skip
        self.at = blocks
        self.told: Any = None
        self.state: Any = None

    def __call__(self, generator: torch.Generator) -> Tensor:
        import torch

        each = self.each
        if self.at == self.blocks:
            self.at, self.told = 0, facts(self.rows, self.blocks * each, generator)
            self.state = self.reader.init_state(self.rows, generator)
        end = (self.at + 1) * each
        new, old = self.told[:, end - each : end], self.told[:, max(0, end - self.lately * each) : end]
        with torch.set_grad_enabled(self.at % 2 == 0):
            state = self.reader.write(new.flatten(1), self.reader.detach(self.state))
        ids, targets = asked(torch.cat([drawn(new, each, generator), drawn(old, each, generator)], 1))
        found = loss_of(self.reader.logits(ids, state), targets)
        self.at, self.state = self.at + 1, state
        return found + self.beside(generator) if self.at % 4 == 0 else found


def remembering(
    seed: int, layers: int, each: int, slots: int, blocks: int, steps: tuple[int, int], scratch: Path | None = None,
    **form: Any,
) -> tuple[MemoryLLM, dict[str, Any]]:  # fmt: skip
    """A toy that has learned to look up in its context, and then to remember blocks of facts: the memory around it, and
    how its training went.

    each     facts of a block, which writes as many slots as it has tokens
    blocks   of the longest stream
    steps    of the first training, and of the second
    scratch  a folder where the trained toy is kept, and taken up again
    form     more settings of the memory
    """
    import hashlib
    import json

    import torch

    from slowwave.bench.recall_training import timed
    from slowwave.state.attending import Attending
    from slowwave.state.memory_llm import MemoryLLM

    settings: dict[str, Any] = {"seed": seed, "layers": layers, "each": each, "slots": slots, "blocks": blocks}

    def place(**more: Any) -> Path | None:
        text = json.dumps({**settings, "steps": steps, **more}, sort_keys=True)
        return None if scratch is None else scratch / f"toy-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pt"

    model = toy(seed, layers)
    reader = MemoryLLM(Attending(model, frozen=False), slots, 2 * each, 2 * each, **form)
    first, kept = place(lessons=True), place(**form)
    for file in (kept, first):
        if file is not None and file.is_file():
            found = torch.load(file, weights_only=True)
            model.load_state_dict(found["weights"])
            training = found["training"]
            break
    else:
        training = {"in context": schooled(model, Lessons(model), seed, steps[0])}
        _keep(first, model, training)
    if "with the pool" not in training:
        long = Lessons(model, blocks * each)
        long.count = long.most
        losses = Blocks(reader, each, blocks, slots // (4 * each), long)
        training = {**training, "with the pool": timed(reader, losses, seed, 1e9, steps[1], RATE / 2)["loss"]}
        _keep(kept, model, training)
    return reader, training


def schooled(model: Any, lessons: Lessons, seed: int, steps: int) -> list[float]:
    """Give lessons, so many steps, and as many again, at most ten times, while the last tenth has a loss above 0.5:
    the loss in tenths, of all rounds."""
    from slowwave.bench.recall_training import timed

    losses: list[float] = []
    for again in range(10 if steps > 2 else 1):
        losses += timed(model, lessons, seed + 10_000 * again, 1e9, steps, RATE)["loss"]
        if losses[-1] < 0.5:
            break
    return losses


def _keep(file: Path | None, model: Any, training: dict[str, Any]) -> None:
    import torch

    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"weights": model.state_dict(), "training": training}, file)
