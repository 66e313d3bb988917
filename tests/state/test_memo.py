"""MEMO: items stay apart, order says nothing, hops and halting add up."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.checks.states import check_state_system  # noqa: E402
from slowwave.errors import InputError  # noqa: E402
from slowwave.state.memo import MEMO  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def memo(**more: object) -> MEMO:
    return MEMO(**{"item": 4, "items": 2, "common": 6, "heads": 2, "dim": 5, "capacity": 8, **more}).double()  # type: ignore[arg-type]


def test_the_order_of_facts_says_nothing() -> None:
    memory, facts, query = memo(), drawn(1, 6, 8), drawn(1, 2, 8, seed=1)
    there, back = (memory.write(f, memory.init_state(1)) for f in (facts, facts.flip(1)))
    assert torch.allclose(memory.read(query, there), memory.read(query, back), atol=1e-12)


def test_items_are_kept_apart() -> None:
    """A summed fact could not tell A-B from B-A."""
    memory, facts, query = memo(), drawn(1, 3, 8), drawn(1, 1, 8, seed=1)
    swapped = torch.cat([facts[..., 4:], facts[..., :4]], -1)
    there, turned = (memory.write(f, memory.init_state(1)) for f in (facts, swapped))
    assert not torch.allclose(memory.read(query, there), memory.read(query, turned), atol=1e-6)


def test_the_oldest_fact_leaves_and_an_empty_memory_answers_finitely() -> None:
    memory, facts, query = memo(), drawn(1, 9, 8), drawn(1, 1, 8, seed=1)
    all_, last = (memory.write(f, memory.init_state(1)) for f in (facts, facts[:, 1:]))
    assert torch.allclose(memory.read(query, all_), memory.read(query, last), atol=1e-12)
    assert memory.read(query, memory.init_state(1)).isfinite().all()
    assert not memory.hop(query, memory.init_state(1)).weights.any()


def test_the_chances_to_stop_add_up_and_without_halting_all_hops_are_made() -> None:
    facts, query = drawn(1, 5, 8), drawn(1, 3, 8, seed=1)
    for halting in (False, True):
        memory = memo(halting=halting, hops=3)
        state = memory.write(facts, memory.init_state(1))
        stop = memory.hop(query, state).stop()
        assert torch.allclose(stop.sum(-1), torch.ones(1, 3, dtype=torch.float64))
        assert bool((stop[..., -1] == 1).all()) is not halting
        assert torch.allclose(memory.hop(query, state).weights.sum(-1), torch.ones(1, 3, 3, 2, dtype=torch.float64))


def test_what_halting_sees_takes_no_gradient_into_the_main_net() -> None:
    memory = memo(halting=True)
    found = memory.hop(drawn(1, 2, 8, seed=1), memory.write(drawn(1, 5, 8), memory.init_state(1)))
    found.halt[..., 0].sum().backward()
    assert memory.kv.weight.grad is None or not memory.kv.weight.grad.any()
    assert memory.stop is not None
    assert memory.stop.weight.grad is not None


def test_halting_and_a_small_capacity_hold_the_contract_too() -> None:
    check_state_system(lambda: MEMO(**{**MEMO.SMALL, "halting": True, "capacity": 3}), show=lambda line: None)


def test_halting_learns_to_stop_where_the_answer_is_right() -> None:
    torch.manual_seed(0)
    memory = memo(halting=True, hops=3)
    state, query = memory.write(drawn(4, 5, 8), memory.init_state(4)), drawn(4, 3, 8, seed=1)
    losses = torch.tensor([2.0, 0.0, 2.0], dtype=torch.float64).expand(4, 3, 3)
    optimiser = torch.optim.Adam([p for m in (memory.watch, memory.stop) if m for p in m.parameters()], lr=0.1)
    for _ in range(60):
        optimiser.zero_grad()
        memory.hop(query, state).loss(losses).backward()
        optimiser.step()
    found = memory.hop(query, state)
    assert float(found.stop()[..., 1].detach().min()) > 0.8
    stop = found.stop()
    likely = torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64) / 7
    wanted = (stop * losses).sum(-1).mean() + 0.3 * (stop * (stop / likely).log()).sum(-1).mean()
    assert torch.allclose(found.loss(losses, weight=0.3), wanted)


def test_no_hop_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one"):
        memo(hops=0)
