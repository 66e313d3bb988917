"""Memories as keys and values beside the same text as a prompt: time to the first token, bytes, logits, answers.

Each draw is a memory of invented facts, some 1,000 tokens in one selection, and questions on some of them whose
answers stand in one record alone. An answer counts when the model's likeliest tokens are those of the value. All forms
attend to the same records; the sparse ones to 8 or 32 of each 128 tokens, chosen as Memory^3 chooses or by lot.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowwave.bench.base import Benchmark, Progress, Result
from slowwave.bench.metrics import interval
from slowwave.bench.partial import Partial
from slowwave.errors import InputError
from slowwave.records import Engram, Scope
from slowwave.store.ids import new_id

if TYPE_CHECKING:
    from slowwave.promote.block import Block
    from slowwave.promote.kv import Attended, KeyValues

FIRST = "Ana Bo Cora Dan Elif Femi Gita Hugo Ines Jari Kofi Lena Milo Nadia Pia Rosa Sami Tove".split()  # noqa: SIM905
LAST = "Alder Birk Cohen Duarte Ekman Fuchs Grau Holm Ito Jonas Klee Lund Moreau Nagy".split()  # noqa: SIM905
FACTS = (
    ("locker number", "{n}'s locker number is {v}.", tuple(str(n) for n in range(110, 990, 7))),
    ("home town", "{n} grew up in {v}.", ("Lisbon", "Oslo", "Ghent", "Turin", "Riga", "Porto", "Bergen", "Cork")),
    ("instrument", "{n} plays the {v} on Fridays.", ("cello", "flute", "harp", "violin", "trumpet", "piano", "drums")),
    ("pet", "{n} has a {v} at home.", ("cat", "dog", "parrot", "rabbit", "snake", "horse", "turtle", "goat")),
)
NONE, PROMPT, JOINT, BLOCKS = "no memory", "prompt", "one block", "a block a record"
RANDOM = "by lot"


class KeyValueForm(Benchmark):
    """Time to the first token, bytes a token, equality of logits and answers of memories as keys and values.

    model      a .gguf file, a folder or a name that transformers loads; without one --quick takes random weights
    tokens     of the memories in one selection
    draws      selections, each with facts of its own; intervals are over them
    questions  asked of each selection
    keep       tokens kept of each 128 in the sparse rows
    """

    name = "kv"

    def __init__(
        self,
        quick: bool = False,
        seed: int = 0,
        out: str | Path | None = None,
        model: str | Path | None = None,
        tokens: int = 1000,
        draws: int = 5,
        questions: int = 20,
        keep: Sequence[int] = (8, 32),
    ) -> None:
        super().__init__(quick, seed, out)
        self.model = None if model is None else Path(model)
        self.tokens = tokens
        self.draws = draws
        self.questions = questions
        self.keep = tuple(keep)

    def command(self) -> str:
        """With the model's name, which is no place on this machine."""
        return super().command() + (f" --model {self.model.name}" if self.model else "")

    def measure(self, progress: Progress) -> Result:
        """Everything on each draw, then the means."""
        import torch

        from slowwave.models.causal import fake_causal
        from slowwave.promote.kv import KeyValues
        from slowwave.promote.projecting import Projecting

        if self.model is None and not self.quick:
            raise InputError("bench kv needs --model: a .gguf file, a folder or a name that transformers loads")
        tokens, draws, questions = (300, 3, 3) if self.quick else (self.tokens, self.draws, self.questions)
        frozen = Projecting(*fake_causal()) if self.model is None else Projecting.load(self.model)
        exact = KeyValues(frozen, dtype="float32")
        found: dict[str, list[dict[str, float]]] = {}
        lengths = []
        kept = Partial(self.out, {**self.settings(), "model": frozen.fingerprint})
        for draw in range(draws):

            def one(draw: int = draw) -> Any:
                rng = random.Random(self.seed * 1000 + draw)
                engrams, asked = invented(rng, lambda made: len(exact.ids(made)) >= tokens)
                asked = rng.sample(asked, min(questions, len(asked)))
                rows = []
                for row, values in self._draw(exact, engrams, asked, rng):
                    rows.append((row, values))
                    progress(row, draw + 1, draws)
                return len(exact.ids(engrams)), rows

            length, rows = kept.get(f"draw {draw}", one)
            lengths.append(length)
            for row, values in rows:
                found.setdefault(row, []).append(values)
        kept.finish()
        return {
            "model": {
                "name": self.model.name if self.model else "random weights",
                "fingerprint": frozen.fingerprint,
                "layers": frozen.layers,
            },
            "memory_tokens": round(statistics.mean(lengths)),
            "rows": {row: summary(values) for row, values in found.items()},
            "threads": torch.get_num_threads(),
            "torch": version("torch"),
            "transformers": version("transformers"),
        }

    def _draw(
        self, exact: KeyValues, engrams: list[Engram], asked: list[tuple[str, str]], rng: random.Random
    ) -> Iterator[tuple[str, dict[str, float]]]:
        from slowwave.promote.kv import KeyValues

        frozen = exact.frozen
        ids = exact.ids(engrams)
        first = asked[0][0]
        prompt = frozen.encode(first)
        spent, full = timed(lambda: frozen.forward(ids + prompt)[len(ids) :])
        whole = exact.attend(engrams, joint=True)
        yield NONE, {"right": right(exact.attend([]), asked)}
        yield PROMPT, {"right": right(whole, asked), "first_token_ms": spent * 1000}  # the prompt's logits are `full`
        yield "one block, float32", {"logits_off": float((whole.logits(first) - full).abs().max())}
        for many in (None, *self.keep):
            for joint in (True, False):
                with tempfile.TemporaryDirectory() as folder:
                    kv = KeyValues(frozen, folder=folder, keep=many)
                    kv.attend(engrams, joint=joint)
                    spent, logits = timed(partial(_ask, kv, engrams, joint, first))
                    attended = kv.attend(engrams, joint=joint)
                    size = sum(path.stat().st_size for path in Path(folder).iterdir())
                row = (JOINT if joint else BLOCKS) + (f", {many} of 128" if many else "")
                yield row, {
                    "right": right(attended, asked),
                    "first_token_ms": spent * 1000,
                    "bytes_a_token": size / (attended.length - exact.attend([]).length),
                    "logits_off": float((logits - full).abs().max()),
                }
        block = exact.block(engrams)
        for many in self.keep:
            kept = KeyValues(frozen, keep=many).block(engrams).kept
            yield f"{JOINT}, {many} of 128 {RANDOM}", {"right": right(exact.compose([by_lot(block, kept, rng)]), asked)}

    def render(self, result: Result) -> str:
        """A table for the terminal."""
        lines = [
            f"{result['model']['name']}, {result['memory_tokens']} tokens of memories, {result['threads']} threads",
            f"{'':<34}{'answers right':>26}{'first token ms':>16}{'bytes a token':>15}{'logits off':>12}",
        ]
        for row, values in result["rows"].items():
            told = values.get("right")
            share = f"{told['mean']:.3f} [{told['low']:.3f}, {told['high']:.3f}]" if told else ""
            rest = [
                f"{values[key]:>{width}.{digits}f}" if key in values else " " * width
                for key, width, digits in (("first_token_ms", 16, 0), ("bytes_a_token", 15, 0), ("logits_off", 12, 5))
            ]
            lines.append(f"{row:<34}{share:>26}{''.join(rest)}")
        return "\n".join(lines)


def invented(rng: random.Random, enough: Callable[[list[Engram]], bool]) -> tuple[list[Engram], list[tuple[str, str]]]:
    """Records of invented facts, each of another person, and the questions on them, each with its value."""
    people = [f"{first} {last}" for first in FIRST for last in LAST]
    rng.shuffle(people)
    engrams: list[Engram] = []
    asked = []
    at = datetime(2024, 1, 1, tzinfo=UTC)
    for person in people:
        what, told, values = rng.choice(FACTS)
        value = rng.choice(values)
        text = told.format(n=person, v=value)
        engrams.append(Engram(id=new_id(), kind="episode", text=text, scope=Scope(user_id="bench"), at=at, recorded=at))
        asked.append((f"\nQuestion: What is the {what} of {person}?\nAnswer: The {what} of {person} is", f" {value}"))
        if enough(engrams):
            break
    return engrams, asked


def right(attended: Attended, asked: Sequence[tuple[str, str]]) -> float:
    """Share of questions whose value is what the model would say first, token by token."""
    good = 0
    for question, value in asked:
        start, end = attended.frozen.encode(question), attended.frozen.encode(value)
        good += attended.logits(start + end)[len(start) - 1 : -1].argmax(-1).tolist() == end
    return good / len(asked)


def _ask(kv: KeyValues, engrams: Sequence[Engram], joint: bool, question: str) -> Any:
    return kv.attend(engrams, joint=joint).logits(question)


def by_lot(block: Block, kept: int, rng: random.Random) -> Block:
    """As many tokens for each layer and head, drawn at random."""
    import torch

    from slowwave.promote.block import thinned

    layers, heads, time, _ = block.keys.shape
    drawn = [[sorted(rng.sample(range(time), kept)) for _ in range(heads)] for _ in range(layers)]
    return thinned(block, torch.tensor(drawn))


def timed(work: Callable[[], Any], runs: int = 3) -> tuple[float, Any]:
    """The median of some runs, in seconds, and what the last gave."""
    spent, out = [], None
    for _ in range(runs):
        start = time.perf_counter()
        out = work()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent), out


def summary(values: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The mean of the answers with its interval, the median of times, the mean bytes, the worst logits."""
    out: dict[str, Any] = {}
    for key, how in (("first_token_ms", statistics.median), ("bytes_a_token", statistics.mean), ("logits_off", max)):
        if key in values[0]:
            out[key] = round(float(how([value[key] for value in values])), 6)
    if "right" in values[0]:
        out["right"] = interval([value["right"] for value in values], range(len(values)))
    return out
