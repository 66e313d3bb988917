"""Titans: the exact case, the pitfalls of its ports shown absent, and what each switch does."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.errors import InputError  # noqa: E402
from slowwave.state.kernels.delta import delta_recurrent  # noqa: E402
from slowwave.state.titans import Gates, NeuralMemory, Titans  # noqa: E402


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_matrix_without_momentum_and_forgetting_is_the_delta_rule() -> None:
    memory = NeuralMemory(6, depth=1, chunk=1, taps=0, momentum=False, decay=False, clip=torch.inf).double()
    with torch.no_grad():
        memory.start[0].zero_()
    x = torch.randn(2, 9, 6, generator=generator(), dtype=torch.float64)
    q, k, v = (part.transpose(1, 2) for part in memory._heads(memory.qkv(x)))
    gates = Gates(*(gate.transpose(1, 2) for gate in memory.gates_of(x)))
    state = memory.init_state(2)
    ys = []
    for t in range(9):
        y, state = memory.learn(
            q[:, :, t], k[:, :, t], v[:, :, t], Gates(*(gate[:, :, t] for gate in gates)), state
        )
        ys.append(y)
    zero = torch.zeros(2, 1, 9, dtype=torch.float64)
    wanted, matrix = delta_recurrent(q, k, v, 2 * gates.rate, zero, torch.zeros(2, 1, 6, 6, dtype=torch.float64))
    assert torch.allclose(torch.stack(ys, 2), wanted, atol=1e-12)
    assert torch.allclose(state.delta[0].transpose(-1, -2), matrix, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_a_long_stream_stays_finite_at_any_depth(depth: int) -> None:
    memory = NeuralMemory(16, depth=depth, expansion=2, chunk=64)
    with torch.no_grad():
        memory.gates.bias.copy_(torch.tensor([4.0, 3.0, -9.0]))  # large steps, much momentum, next to no forgetting
        x = torch.randn(1, 4096, 16, generator=generator(depth))
        y, state, _ = memory(x)
    assert y.isfinite().all()
    assert all(leaf.isfinite().all() for leaf in state.leaves().values())


def test_no_clip_is_a_clip_that_never_binds() -> None:
    slopes = []
    for clip in (torch.inf, 1e9):
        torch.manual_seed(0)
        memory = NeuralMemory(8, expansion=2, chunk=4, clip=clip)
        x = torch.randn(1, 10, 8, generator=generator()).requires_grad_()
        memory(x).y.sum().backward()
        slopes.append(x.grad)
    assert torch.allclose(slopes[0], slopes[1])
    assert slopes[0].isfinite().all()


def test_gradients_stay_finite_at_depth_four() -> None:
    memory = NeuralMemory(16, depth=4, expansion=2, chunk=16)
    x = torch.randn(1, 512, 16, generator=generator()).requires_grad_()
    memory(x).y.pow(2).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in memory.parameters())


def test_a_token_is_read_as_soon_as_it_is_written() -> None:
    """Ports read the weights from before the chunk, so that nothing of an input shorter than one is ever learned."""
    memory = NeuralMemory(16, depth=1, chunk=64, clip=torch.inf).double()
    with torch.no_grad():
        memory.start[0].zero_()
    k = torch.eye(16, dtype=torch.float64)[None, None, :5]
    v = torch.randn(1, 1, 5, 16, generator=generator(), dtype=torch.float64)
    ones = torch.ones(1, 1, 5, dtype=torch.float64)
    start = memory.init_state(1)
    overwrite = Gates(0.5 * ones, 0 * ones, ones)
    y, state = memory.block(k, k, v, overwrite, start, ones[0].bool(), torch.tensor([False]))
    assert torch.allclose(y, v)
    assert torch.allclose(memory.apply_memory(k, state.delta), v)


def test_no_step_means_no_memory() -> None:
    memory = NeuralMemory(8, chunk=4, rate=0.0)
    _, state, _ = memory(torch.randn(2, 9, 8, generator=generator()))
    assert not any(layer.any() for layer in state.delta)


def test_forgetting_goes_back_to_the_start() -> None:
    memory = NeuralMemory(8, chunk=4, taps=0)
    _, state, _ = memory(torch.randn(1, 12, 8, generator=generator()))
    with torch.no_grad():
        memory.gates.bias.copy_(torch.tensor([-60.0, -60.0, 3.0]))
        memory.gates.weight.zero_()
        _, later, _ = memory(torch.randn(1, 100, 8, generator=generator(1)), state)
    assert state.delta[0].abs().max() > 1e-2
    assert later.delta[0].abs().max() < 1e-6


def test_layers_with_and_without_memory_go_on_together_after_a_pause() -> None:
    """A port's cache loses count when only some layers have memory."""
    x = torch.randn(2, 23, 8, generator=generator(), dtype=torch.float64)
    first, second = (Titans(**{**Titans.SMALL, "layout": layout}).double() for layout in ("mac", "mag"))
    a, s1, _ = first(x)
    whole, _, _ = second(a)
    parts, s1, s2 = [], None, None
    for piece in (x[:, :6], x[:, 6:7], x[:, 7:]):
        a, s1, _ = first(piece, s1)
        b, s2, _ = second(a, s2)
        parts.append(b)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-9)


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(InputError, match="'mac', 'mag'"):
        Titans(8, layout="mix")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="divide by heads"):
        NeuralMemory(10, heads=4)
