"""Part D: a trait's state added at the last function token of neutral prompts, whole, as few features, and as one.

Every choice (layer, strength, k, coefficient) is made on a third of the neutral prompts and told on the others.
A random vector of equal length is the control throughout, three draws of it. Beside the state itself, as in the paper,
its difference from the mean state of that third is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from slowwave.probes.base import Progress, short_hash
from slowwave.probes.sae import Sae
from slowwave.probes.steering import generate_many, random_like, smallest_k, state_at
from slowwave.probes.subjects import Subject
from slowwave.probes.traits import NEUTRAL, Trait

WAYS = (("state", 1.0), ("state", 4.0), ("difference", 2.0), ("difference", 4.0), ("difference", 8.0))  # and strengths
COEFFICIENTS = (0.25, 1.0)  # of a direction, times the length of the trait's state
DRAWS = 3  # random vectors


@dataclass
class Steering:
    """The experiment on one model.

    many     tokens of an answer
    layers   that are tried for the raw vector
    neutral  prompts; the first third is for choosing, the rest for what is told
    most     features that are tried
    """

    subject: Subject
    traits: Sequence[Trait]
    layers: Sequence[int]
    many: int = 16
    neutral: Sequence[str] = NEUTRAL
    most: int = 256
    seed: int = 0
    progress: Progress = field(default=lambda stage, done, total: None)

    def __post_init__(self) -> None:
        self._asked = [self.subject.ask(prompt) for prompt in self.neutral]
        cut = len(self._asked) // 3
        self._choose, self._tell = self._asked[:cut], self._asked[cut:]
        self._told = self.neutral[cut:]

    def answers(self, prompts: Sequence[Sequence[int]], layer: int | None, vector: Tensor | None) -> list[str]:
        """What the model says to prompts with a vector added at their last token."""
        return generate_many(self.subject, prompts, self.many, layer, vector)

    def raw(self, trait: Trait) -> dict[str, Any]:
        """Steps 1 and 2: the state itself, at the layer and strength that do best, beside random vectors."""
        ids = self.subject.ask(trait.prompt)
        tried: dict[str, float] = {}
        best, best_rate = (self.layers[0], *WAYS[0]), -1.0
        for number, layer in enumerate(self.layers):
            for way, strength in WAYS:
                rate = _rate(trait, self.answers(self._choose, layer, strength * self._vector(ids, layer, way)))
                tried[f"{layer}: {way} x {strength:g}"] = rate
                if rate > best_rate:  # the first and gentlest of the best
                    best, best_rate = (layer, way, strength), rate
            self.progress(f"steering {trait.name}", number + 1, len(self.layers))
        layer, way, strength = best
        vector = strength * self._vector(ids, layer, way)
        plain = self.answers(self._tell, None, None)
        steered = self.answers(self._tell, layer, vector)
        return {
            "trait": trait.name,
            "prompt": trait.prompt,
            "shows_it_itself": trait.seen(self.answers([ids], None, None)[0]),
            "tried": tried,
            "layer": layer,
            "way": way,
            "strength": strength,
            "norm": float(vector.norm()),
            "chosen_on": best_rate,
            "rate": _rate(trait, steered),
            "plain": _rate(trait, plain),
            **self._control(trait, layer, vector),
            "n": len(self._tell),
            "answers": {"plain": plain, "raw vector": steered},
        }

    def _vector(self, ids: Sequence[int], layer: int, way: str) -> Tensor:
        state = state_at(self.subject, ids, layer)
        if way == "state":
            return state
        return state - torch.stack([state_at(self.subject, one, layer) for one in self._choose]).mean(0)

    def few(self, trait: Trait, layer: int, sae: Sae) -> dict[str, Any]:
        """Steps 3 and 4: the fewest features of the state that still turn half as many answers as it does; then the
        last of them alone."""
        ids = self.subject.ask(trait.prompt)
        state = state_at(self.subject, ids, layer)
        plain = _rate(trait, self.answers(self._choose, None, None))
        whole = max(
            _rate(trait, self.answers(self._choose, layer, strength * self._vector(ids, layer, way)))
            for way, strength in WAYS
        )
        latents = sae.encode(state[None])[0]
        order = latents.argsort(descending=True)
        order = order[latents[order] > 0][: self.most]
        rows = torch.nn.functional.normalize(sae.W_dec, dim=1) * state.norm()
        bar = max(plain + 0.2, (plain + whole) / 2)
        out: dict[str, Any] = {"trait": trait.name, "layer": layer, "fires": len(order), "whole": whole, "bar": bar}
        for coefficient in COEFFICIENTS:

            def succeeds(k: int, coefficient: float = coefficient) -> bool:
                vector = coefficient * rows[order[:k]].sum(0)
                return _rate(trait, self.answers(self._choose, layer, vector)) >= bar

            found = smallest_k(succeeds, len(order))
            self.progress(f"features for {trait.name}", COEFFICIENTS.index(coefficient) + 1, len(COEFFICIENTS))
            if found.k is not None:
                break
        else:
            return out | {"k": None}
        feature = int(order[found.k - 1])
        vector = coefficient * rows[order[: found.k]].sum(0)
        answers = self.answers(self._tell, layer, vector)
        out |= {
            "k": found.k, "steady": found.steady, "tried": list(found.tried), "coefficient": coefficient,
            "feature": feature, "rate": _rate(trait, answers), "answers": {f"{found.k} features": answers},
            **self._control(trait, layer, vector),
        }  # fmt: skip
        return out | {"alone": self._alone(trait, layer, rows[feature])}

    def _alone(self, trait: Trait, layer: int, row: Tensor) -> dict[str, Any]:
        """One feature by itself, at the coefficient that does best; a row has the length of the trait's state."""
        rates = {c: _rate(trait, self.answers(self._choose, layer, c * row)) for c in (0.5, 1.0, 2.0)}
        coefficient = max(rates, key=lambda c: (rates[c], -c))
        answers = self.answers(self._tell, layer, coefficient * row)
        return {
            "coefficient": coefficient,
            "chosen_on": rates[coefficient],
            "rate": _rate(trait, answers),
            **self._control(trait, layer, coefficient * row),
            "answers": answers,
        }

    def pairs(self, found: Sequence[Mapping[str, Any]], sae: Sae, norms: Mapping[str, float]) -> list[dict[str, Any]]:
        """Two traits' features at once: how many answers show the one, the other, both."""
        by_name = {trait.name: trait for trait in self.traits}
        out = []
        able = [one for one in found if one.get("k") is not None]
        for a, b in combinations(able, 2):
            vector = sum(
                one["alone"]["coefficient"]
                * norms[one["trait"]]
                * torch.nn.functional.normalize(sae.W_dec[one["feature"]], dim=0)
                for one in (a, b)
            )
            assert isinstance(vector, Tensor)
            answers = self.answers(self._tell, a["layer"], vector)
            first, second = (list(map(by_name[one["trait"]].seen, answers)) for one in (a, b))
            both = sum(x and y for x, y in zip(first, second, strict=True)) / len(answers)
            out.append(
                {
                    "traits": [a["trait"], b["trait"]], "first": sum(first) / len(first),
                    "second": sum(second) / len(second), "both": both, "answers": answers,
                }
            )  # fmt: skip
        return out

    def _control(self, trait: Trait, layer: int, vector: Tensor) -> dict[str, Any]:
        rates = [
            _rate(trait, self.answers(self._tell, layer, random_like(vector, self.seed + n))) for n in range(DRAWS)
        ]
        return {"random": sum(rates) / DRAWS, "random_most": max(rates)}

    def _key(self, trait: Trait) -> str:
        """Names the parts that hang on a trait and on how it is measured."""
        return f"{trait.name}-{short_hash(trait, self.layers, self.many, self.neutral, self.most)}"

    def run(
        self,
        saes: Mapping[int, Sae],
        part: Callable[[str, Callable[[], Any]], Any] = lambda name, make: make(),
    ) -> dict[str, Any]:
        """Everything, trait by trait.

        saes  by layer; () leaves steps 3 and 4 out. They are taken at the layer at which the raw vectors do best
        """
        raw = [part(f"steer-{self._key(trait)}", partial(self.raw, trait)) for trait in self.traits]
        out: dict[str, Any] = {"prompts": list(self._told), "raw": raw, "features": [], "pairs": []}
        if not saes:
            return out

        def reach(layer: int) -> float:
            mine = [[rate for at, rate in one["tried"].items() if at.startswith(f"{layer}: ")] for one in raw]
            return sum(max(rates, default=0.0) for rates in mine)

        layer = max(saes, key=reach)
        few = [
            part(f"features-{self._key(trait)}", partial(self.few, trait, layer, saes[layer])) for trait in self.traits
        ]
        norms = {
            trait.name: float(state_at(self.subject, self.subject.ask(trait.prompt), layer).norm())
            for trait in self.traits
        }
        out["features"] = few
        out["pairs"] = part(
            f"pairs-{short_hash(list(map(self._key, self.traits)))}", lambda: self.pairs(few, saes[layer], norms)
        )
        return out


def _rate(trait: Trait, answers: Sequence[str]) -> float:
    return sum(map(trait.seen, answers)) / max(1, len(answers))
