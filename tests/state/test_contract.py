"""Every registered state system holds the contract; so do the layers that they and the benchmarks are made of."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.checks.states import STATE_CHECKS, check_state_system  # noqa: E402
from slowwave.models.causal import fake_causal  # noqa: E402
from slowwave.state import SYSTEMS  # noqa: E402
from slowwave.state.baselines import DeltaRule, LinearAttention, Recurrent  # noqa: E402
from slowwave.state.reader import Reader  # noqa: E402
from slowwave.state.titans import NeuralMemory, Titans  # noqa: E402
from slowwave.state.window import WindowAttention  # noqa: E402

NO_PAPER = {
    "it_says_what_it_is": "a layer that systems are made of has no paper of its own",
    "an_empty_memory_leaves_the_base_model_as_it_is": "it wraps no model",
}
NO_GRADIENT = {"gradients_by_hand_are_right": "it derives no gradient by hand"}


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_registered_system_holds_the_contract(name: str) -> None:
    shown: list[str] = []
    skipped = check_state_system(SYSTEMS[name].small, show=shown.append)
    assert SYSTEMS[name].name == name
    assert len([line for line in shown if line.startswith("passed")]) == len(STATE_CHECKS) - len(skipped)
    assert len(skipped) <= 3, skipped


@pytest.mark.parametrize("layout", ["mag", "mal", "lmm"])
@pytest.mark.parametrize("heads", [1, 2])
def test_each_layout_of_titans_holds_it(layout: str, heads: int) -> None:
    check_state_system(lambda: Titans(**{**Titans.SMALL, "layout": layout, "heads": heads, "depth": 1 + heads}))


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("mom", {"gated": False, "shared": False}), ("memo", {"halting": True}),
        ("hcam", {"store": "stop", "unfinished": False}),
        ("rmc", {"gate": "slot", "flat": True}), ("memory-llm", {"keeps": "in", "drop": "oldest"}),
        ("em-llm", {"segment": "fixed", "capacity": 6}),
        ("memory-3", {"choice_of": "random", "opening": ()}),
    ],
)  # fmt: skip
def test_it_holds_in_other_modes_too(name: str, mode: dict[str, Any]) -> None:
    kind: Any = SYSTEMS[name]
    assert any(kind.small().settings()[key] != value for key, value in mode.items()), "this is how it is tested anyway"
    around = (fake_causal(),) if issubclass(kind, Reader) else ()
    check_state_system(lambda: kind(*around, **{**kind.SMALL, **mode}), show=lambda line: None)


def test_layers_hold_it() -> None:
    check_state_system(NeuralMemory.small, skip=NO_PAPER)
    check_state_system(WindowAttention.small, skip={**NO_PAPER, **NO_GRADIENT})
    check_state_system(DeltaRule.small, skip=NO_PAPER)
    check_state_system(LinearAttention.small, skip={**NO_PAPER, **NO_GRADIENT})
    check_state_system(Recurrent.small, skip={**NO_PAPER, **NO_GRADIENT})
    check_state_system(lambda: Recurrent(8, 6, "gru"), skip={**NO_PAPER, **NO_GRADIENT})
