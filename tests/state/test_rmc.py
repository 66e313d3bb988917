"""RMC: against the cell written out, and slots that are free in number."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.errors import InputError  # noqa: E402
from slowwave.state.rmc import RMC  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_step_is_the_cell_of_the_paper() -> None:
    cell = RMC(5, slots=3, heads=2, dim=4, flat=True).double()
    x, m = drawn(1, 1, 5), drawn(1, 3, 8, seed=1)
    state = type(cell.init_state(1))(m)
    both = torch.cat([m, cell.input(x)], 1)
    q, k, v = cell.norm_qkv(cell.qkv(both)).chunk(3, -1)
    heads = []
    for h in range(2):
        part = slice(4 * h, 4 * h + 4)
        weights = (q[0, :, part] @ k[0, :, part].t() / 2).softmax(-1)
        heads.append(weights @ v[0, :, part])
    z = cell.norms[0](both + torch.cat(heads, -1))
    z = cell.norms[1](z + cell.network(z))[:, :3]
    enter, keep = (cell.gate_input(cell.input(x)) + cell.gate_memory(m.tanh())).chunk(2, -1)
    wanted = enter.sigmoid() * z.tanh() + (keep + 1).sigmoid() * m
    y, after, _ = cell(x, state)
    assert torch.allclose(after.slots, wanted, atol=1e-12)
    assert torch.allclose(y[0, 0], wanted.flatten(), atol=1e-12)


def test_weights_are_shared_over_slots_so_their_number_is_free() -> None:
    few, many = RMC(5, slots=2, heads=2, dim=4, flat=True), RMC(5, slots=9, heads=2, dim=4, flat=True)
    assert {n: p.shape for n, p in few.named_parameters()} == {n: p.shape for n, p in many.named_parameters()}
    many.load_state_dict(few.state_dict())
    assert many(drawn(1, 4, 5).float()).y.shape == (1, 4, 72)


def test_it_starts_from_the_identity_and_differs_by_slot() -> None:
    start = RMC(5, slots=3, heads=1, dim=4).init_state(2).slots
    assert torch.equal(start[0], torch.eye(3, 4))


def test_gradients_reach_the_first_of_many_inputs() -> None:
    cell = RMC(5, slots=3, heads=2, dim=4)
    x = drawn(1, 60, 5).float().requires_grad_()
    cell(x).y[:, -1].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad[0, 0].abs().max() > 0


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(InputError, match="'unit'"):
        RMC(5, gate="memory")
