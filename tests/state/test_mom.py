"""MoM: the folded form equals one run a memory, and the leaks of the public versions are absent."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.errors import InputError  # noqa: E402
from slowwave.state.kernels.delta import delta_recurrent  # noqa: E402
from slowwave.state.kernels.router import route  # noqa: E402
from slowwave.state.mom import MoM  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_folded_form_equals_each_memory_run_on_its_own_tokens() -> None:
    mom = MoM(8, memories=3, k=1, heads=2, dim=4, taps=0).double()
    x = drawn(1, 13, 8)
    state = mom(x).state
    routed = route(mom.router(x), 1)
    q, k, v = mom._heads(mom.qkv(x))
    beta, log_decay, _ = mom._gates(x, routed)
    for m in range(3):
        own = routed.chosen[0, :, m]
        parts = [p[0, own].transpose(0, 1) for p in (q, k[:, :, m], v[:, :, m])]
        gates = [p[0, own, m].transpose(0, 1) for p in (beta, log_decay)]
        start = torch.zeros(2, 4, 4, dtype=torch.float64)
        _, alone = delta_recurrent(*parts, *gates, start) if own.any() else (None, start)
        assert torch.allclose(state.matrices[0, m], alone, atol=1e-12)


def test_a_memory_that_no_token_is_routed_to_stays_bit_for_bit() -> None:
    mom = MoM(8, memories=3, k=1, heads=2, dim=4, shared=False).double()
    with torch.no_grad():
        mom.router.weight.zero_()
        mom.router.weight[0] = 50.0
    before = mom.init_state(2)
    before = type(before)(drawn(*before.matrices.shape), before.past, before.position)
    after = mom(drawn(2, 9, 8, seed=1).abs(), before).state
    assert torch.equal(after.matrices[:, 1:], before.matrices[:, 1:])
    assert not torch.equal(after.matrices[:, 0], before.matrices[:, 0])


def test_the_first_tokens_of_a_memory_see_no_other_row() -> None:
    """Public versions convolve the stream sorted by memory, so that a bucket's first tokens see the bucket before."""
    mom = MoM(8, memories=3, k=1, heads=2, dim=4).double()
    x, other = drawn(2, 9, 8), drawn(1, 9, 8, seed=5)
    beside = torch.cat([x[:1], other])
    assert torch.allclose(mom(x).y[0], mom(beside).y[0], atol=1e-12)


@pytest.mark.parametrize("time", [1, 3, 64, 65])
def test_any_length_is_trained_on(time: int) -> None:
    """A public version asserts more than 64 tokens while it trains."""
    mom = MoM(**MoM.SMALL).double().train()
    y, _, aux = mom(drawn(1, time, 8))
    (y.sum() + aux["loss"]).backward()
    assert mom.qkv.weight.grad is not None
    assert mom.router.weight.grad is not None


def test_a_frozen_router_does_not_learn_and_the_balance_counts_only_what_is_there() -> None:
    mom = MoM(**{**MoM.SMALL, "learned": False}).double()
    assert not mom.router.weight.requires_grad
    x = drawn(2, 6, 8)
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3])
    changed = x.clone()
    changed[1, 3:] = 99.0
    assert torch.equal(mom(x, mask=mask).aux["loss"], mom(changed, mask=mask).aux["loss"])


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(InputError, match="between 1 and all"):
        MoM(8, memories=2, k=3)
