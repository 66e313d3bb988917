"""SA-Proj and Gate&Up: learn new skills in the attention projections, or in the gates alone, and leave the rest."""

from __future__ import annotations

from typing import Literal

from slowwave.errors import InputError
from slowwave.weights.base import Method
from slowwave.weights.learner import Learner
from slowwave.weights.model import ATTENTION, DOWN, GATE_AND_UP, named, train_only

PARTS = {"attention": ATTENTION, "gate-and-up": GATE_AND_UP, "down": DOWN, "mlp": GATE_AND_UP | DOWN}


class SAProj(Method):
    """Only some parameters are trained: those of modules by these names.

    part     "attention" (q, k, v, o), "gate-and-up", "down" (to compare), or "mlp"
    modules  other names of modules in place of a part

    Source: Zhu et al. 2025, section 4.
    """

    name = "sa-proj"
    paper = "How to Teach Large Multimodal Models New Skills"
    operations = ("updating", "forgetting")
    claim = (
        "Target gain and held-out change: attention projections +24.9 and -0.6, gate and up +30.5 and -2.1, the "
        "full model +31.8 and -23.3."
    )
    differs = (
        "Modules are named in full, so that q_proj takes its bias along where there is one; the authors' match by "
        "part of a name. Learning rates are the learner's."
    )
    proof = "proofs/sa_proj.py"
    learns = "language"

    def __init__(
        self, part: Literal["attention", "gate-and-up", "down", "mlp"] = "attention", modules: tuple[str, ...] = ()
    ) -> None:
        if part not in PARTS:
            raise InputError(f"no part {part!r}; there are {', '.join(PARTS)}, or name `modules`")
        self.part, self.modules = part, modules

    def prepare(self, learner: Learner) -> None:
        wanted = self.modules or sorted(PARTS[self.part])
        chosen = named(learner.model, wanted)
        if any(".lora_" in name for name, _ in learner.model.named_parameters()):
            chosen = [name for name in chosen if ".lora_" in name]  # what lies beneath an adapter stays as it is
        if not chosen:
            raise InputError(
                f"a {type(learner.model).__name__} has no module called {' or '.join(wanted)}, or no adapter on one; "
                "give `modules`"
            )
        train_only(learner.model, chosen)
