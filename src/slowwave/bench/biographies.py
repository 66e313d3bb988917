"""A small decoder, from scratch, that knows some invented people: where proofs for language models stand."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slowwave.weights.lessons import STARTS, TOLD, VALUES, Fact, Words, answers, statements

if TYPE_CHECKING:
    from slowwave.weights.batch import Batch
    from slowwave.weights.learner import Learner

ASKED = "question : what {a} of {n} ? answer :"
EXTRA = "question : what of ? answer : count tag end and so copy one two three four five six seven eight"


@dataclass(frozen=True)
class World:
    """Invented people, `known` ones and `new` ones, and the words to tell of them.

    words  a tokenizer of one id a word, for all of them
    """

    known: tuple[Fact, ...]
    new: tuple[Fact, ...]
    never: tuple[Fact, ...]
    words: Words

    def told(self, facts: Sequence[Fact], wordings: Sequence[int] = (0, 1, 2, 3)) -> Batch:
        """The facts as statements, each in so many wordings; every word is learned."""
        pairs = [fact.told(w) for fact in facts for w in wordings]
        return statements([f"{a} {b}" for a, b in pairs], self.words.encode, Words.end)

    def asked(self, facts: Sequence[Fact], wording: int | None = None) -> Batch:
        """The facts as questions, or as statements to be ended; the answers alone are learned, or scored."""
        pairs = [
            (ASKED.format(a=f.attribute, n=f.person), f.value) if wording is None else f.told(wording) for f in facts
        ]
        return answers(pairs, self.words.encode)


def world(
    seed: int, known: int, new: int, never: int = 0, attributes: Sequence[str] = ("city", "work", "pet")
) -> World:
    """So many people of each kind, with one fact for each attribute. First and last names recur, pairs do not."""
    rng = random.Random(seed)
    names = rng.sample([f"{a}an {b}eth" for a in STARTS for b in STARTS], known + new + never)
    facts = [
        Fact(f"{name}/{a}".replace(" ", "-").lower(), name, a, rng.choice(VALUES[a]))
        for name in names
        for a in attributes
    ]
    each = len(attributes)
    every = (
        [f"{a}an {a}eth" for a in STARTS] + [" ".join(values) for values in VALUES.values()] + [" ".join(VALUES), EXTRA]
    )
    every += [wording.format(n="", v="") for told in TOLD.values() for wording in told]
    cut = known * each, (known + new) * each
    return World(tuple(facts[: cut[0]]), tuple(facts[cut[0] : cut[1]]), tuple(facts[cut[1] :]), Words(every))


def taught(
    words: int, lessons: Batch, seed: int, steps: int, layers: int = 3, width: int = 64, batch: int = 48,
    lr: float = 3e-3, change: Callable[[Any], object] = lambda model: None,
) -> Any:  # fmt: skip
    """A decoder trained on lessons from nothing, so many steps of AdamW, the rate going down to 0.

    change  what to do to the model before: add a memory layer, say
    """
    from slowwave.probes.decoder import Decoder, DecoderConfig
    from slowwave.weights.base import Method
    from slowwave.weights.learner import Learner

    class Falling(Method):
        """The learning rate rises for fifty steps, then falls to 0."""

        name = "falling"

        def schedule(self, learner: Learner) -> float:
            return min(1.0, (learner.step + 1) / 50) * max(0.02, 1 - learner.step / steps)

    import torch

    model = Decoder(DecoderConfig(words, width=width, layers=layers, heads=4, context=24, tied=False), seed)
    change(model)
    learner = Learner(model, [Falling()], optimiser="adamw", lr=lr, batch=batch, clip=1.0, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        learner.learn_batch(lessons.take(torch.randint(len(lessons), (batch,), generator=generator)))
    return model


def again(model: Any) -> Any:
    """A copy, for one arm."""
    return copy.deepcopy(model)


def lived(
    model: Any, methods: Sequence[Any], lessons: Sequence[tuple[str, Batch, Batch]], seed: int, epochs: int,
    lr: float = 1e-3, batch: int = 12, every: int = 0, optimiser: str = "adamw", momentum: float = 0.0,
    shown: Callable[[], object] = lambda: None,
) -> Learner:  # fmt: skip
    """A learner that was shown the first lesson once, known to it already, and then the others.

    lessons  (name, what is taught, what is asked)
    every    steps between evaluations of all lessons so far; 0 at their ends alone
    shown    called between the first lesson and the others
    """
    from slowwave.weights.learner import Learner
    from slowwave.weights.stream import of_lessons

    stream = of_lessons([(name, train, test, ()) for name, train, test in lessons])
    learner = Learner(
        model, methods, optimiser=optimiser, lr=lr, batch=batch, evaluate_every=every, momentum=momentum, clip=1.0,
        seed=seed,
    )  # fmt: skip
    learner.learn(stream.first(1))
    shown()
    learner.epochs = epochs
    learner.learn(stream)
    return learner
