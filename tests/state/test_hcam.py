"""HCAM: against the two-level reference, in what it sees, what it forgets and where gradients go."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.state.hcam import HCAM  # noqa: E402
from slowwave.state.kernels.two_level import two_level_reference  # noqa: E402
from slowwave.state.parts import split  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_query_reads_the_best_chunks_as_the_reference_does() -> None:
    memory = HCAM(8, chunk=4, k=2, heads=2, capacity=6, unfinished=False).double()
    x, query = drawn(2, 20, 8), drawn(2, 3, 8, seed=1)
    state = memory.write(x, memory.init_state(2))
    contents = x.view(2, 5, 4, 8)
    k, v = (split(part, 2) for part in memory.kv(contents + memory.places).chunk(2, -1))
    wanted = two_level_reference(
        memory.summary_q(query), split(memory.q(query), 2), memory.summary_k(contents.mean(2)), k, v,
        torch.ones(2, 3, 5, dtype=torch.bool), 2,
    )  # fmt: skip
    assert torch.allclose(memory.read(query, state), memory.out(wanted.flatten(2)), atol=1e-12)


def test_a_chunk_is_seen_only_when_it_is_full_unless_it_may_be_read_before() -> None:
    x = drawn(1, 3, 8)
    for unfinished in (False, True):
        memory = HCAM(8, chunk=4, heads=2, capacity=3, unfinished=unfinished).double()
        nothing = memory.read(x[:, :1], memory.init_state(1))
        some = memory.read(x[:, :1], memory.write(x, memory.init_state(1)))
        assert torch.equal(nothing, some) is not unfinished


def test_the_chunk_that_is_being_filled_is_one_more_to_choose_from() -> None:
    memory = HCAM(8, chunk=4, k=2, heads=2, capacity=2).double()
    x = drawn(1, 15, 8)
    y = memory(x).y[0]
    for t in range(15):
        now, full = x[0, t], t // 4
        parts = [x[0, 4 * c : 4 * c + 4] for c in range(max(0, full - 2), full)]
        parts += [x[0, 4 * full : t]] if t % 4 else []
        wanted = torch.zeros(2, 4, dtype=torch.float64)
        if parts:
            scores = torch.stack([memory.summary_q(now) @ memory.summary_k(part.mean(0)) for part in parts]) * 8**-0.5
            best, chosen = scores.topk(min(2, len(parts)))
            for weight, place in zip(best.softmax(0), chosen.tolist(), strict=True):
                steps = parts[place] + memory.places[: len(parts[place])]
                k, v = (split(part, 2) for part in memory.kv(steps).chunk(2, -1))
                inside = torch.einsum("hd,shd->hs", split(memory.q(now), 2), k) * 4**-0.5
                wanted = wanted + weight * torch.einsum("hs,shd->hd", inside.softmax(-1), v)
        assert torch.allclose(y[t], memory.out(wanted.flatten()), atol=1e-12), t


def test_the_oldest_chunk_leaves() -> None:
    memory = HCAM(8, chunk=2, k=3, heads=2, capacity=3).double()
    x = drawn(1, 8, 8)
    other = torch.cat([drawn(1, 2, 8, seed=4), x[:, 2:]], 1)
    a, b = (memory.write(stream, memory.init_state(1)) for stream in (x, other))
    assert torch.equal(memory.read(x[:, :1], a), memory.read(x[:, :1], b))


def test_what_is_kept_takes_no_gradient_unless_asked() -> None:
    for store in ("stop", "through"):
        memory = HCAM(8, chunk=2, heads=2, capacity=3, store=store).double()
        x = drawn(1, 5, 8).requires_grad_()
        memory(x).y[:, -1].sum().backward()
        assert x.grad is not None
        assert bool(x.grad[0, 0].any()) is (store == "through")


def test_sleep_lets_go_of_all_but_the_newest_chunks() -> None:
    memory = HCAM(8, chunk=2, k=1, heads=2, capacity=4).double()
    state = memory.write(drawn(1, 8, 8), memory.init_state(1))
    slept = memory.sleep(state, budget=1)
    assert int((slept.chunks != 0).any(-1).any(-1).sum()) == 1
    assert torch.equal(slept.chunks[0, 3], state.chunks[0, 3])
    again = memory.write(drawn(1, 2, 8, seed=2), slept)
    assert int((again.chunks != 0).any(-1).any(-1).sum()) == 2
