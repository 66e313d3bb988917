"""Each kernel's fast form equals its reference, in outputs and in gradients, in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.state.kernels.attention import (  # noqa: E402
    prefix_attention,
    prefix_attention_reference,
    rotate,
    window_attention,
    window_attention_reference,
)
from slowwave.state.kernels.conv import causal_conv, conv_step  # noqa: E402
from slowwave.state.kernels.delta import delta_chunked, delta_recurrent  # noqa: E402
from slowwave.state.kernels.descent import Course, descend, descend_reference  # noqa: E402
from slowwave.state.kernels.growing import appended  # noqa: E402
from slowwave.state.kernels.matrix import (  # noqa: E402
    linear_attention,
    linear_attention_reference,
    matrix_read,
    matrix_write,
)
from slowwave.state.kernels.prototypes import prototypes, prototypes_reference  # noqa: E402
from slowwave.state.kernels.router import route, route_reference  # noqa: E402
from slowwave.state.kernels.scan import scan, scan_reference  # noqa: E402
from slowwave.state.kernels.slots import append_slots, append_slots_reference, empty_slots, row_random  # noqa: E402
from slowwave.state.kernels.sparse import drawn, drawn_reference, strongest  # noqa: E402
from slowwave.state.kernels.surprise import (  # noqa: E402
    boundaries,
    boundaries_reference,
    modularity,
    refined,
    refined_reference,
    surprise,
)
from slowwave.state.kernels.topk import top_k, top_k_reference  # noqa: E402
from slowwave.state.kernels.two_level import two_level, two_level_reference  # noqa: E402
from slowwave.state.packing import Grid, Packing  # noqa: E402
from slowwave.state.window import reference_window  # noqa: E402


def random(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def agree(
    fast: Callable[..., Any], reference: Callable[..., Any], *given: Any, tolerance: float = 1e-10,
    none_is_zero: bool = False,
) -> None:  # fmt: skip
    """Equal outputs, and equal gradients of a weighted sum of them with respect to every tensor that is given."""
    results = []
    for function in (fast, reference):
        inputs = [x.clone().requires_grad_() for x in given]
        out = function(*inputs)
        outs = out if isinstance(out, tuple) else (out,)
        total = sum((y * random(*y.shape, seed=9)).sum() for y in outs)
        results.append((outs, torch.autograd.grad(total, inputs, allow_unused=True)))
    for a, b in zip(results[0][0], results[1][0], strict=True):
        assert torch.allclose(a, b, atol=tolerance, rtol=tolerance)
    for a, b, x in zip(results[0][1], results[1][1], given, strict=True):
        if none_is_zero:
            a, b = (torch.zeros_like(x) if one is None else one for one in (a, b))
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("time", [1, 2, 7, 33])
def test_the_scan_equals_its_loop(time: int) -> None:
    agree(scan, scan_reference, random(time, 3, 1).sigmoid(), random(time, 3, 4, seed=1), random(3, 4, seed=2))


def test_the_scan_takes_gates_of_zero() -> None:
    a, b = torch.tensor([0.5, 0.0, 0.5]), torch.tensor([1.0, 2.0, 4.0])
    assert scan(a, b).tolist() == [1.0, 2.0, 5.0]


@pytest.mark.parametrize(
    ("depth", "clip", "closed"), [(1, 0.5, True), (2, 1e6, True), (2, 2.0, False), (3, 9.0, True)]
)
def test_a_descent_by_hand_equals_autograd(depth: int, clip: float, closed: bool) -> None:
    sizes = [4, *[6] * (depth - 1), 4]
    layers = [random(2, out, size, seed=n) for n, (size, out) in enumerate(itertools.pairwise(sizes))]
    old = [[random(3, *layer.shape, seed=9 * s + n) for n, layer in enumerate(layers)] for s in (1, 2, 3)]
    shapes = [(5, 5), (5, 1), (5, 1), (), (), (), (5,), (5,)]
    course = [random(3, 2, *shape, seed=30 + n).sigmoid() for n, shape in enumerate(shapes)]
    qkv = [random(3, 2, 5, 4, seed=s) for s in range(40, 43)]

    def of(function: Callable[..., Any], part: slice) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            start, change, speed, opened = (given[11 + n * depth : 11 + (n + 1) * depth] for n in range(4))
            y, new, moved = function(*given[:3], Course(*given[3:11]), clip, start, change, speed, opened or change)
            return (y, *new, *moved)[part]

        return run

    given = [*qkv, *course, *layers, *old[0], *old[1], *(() if closed else old[2])]
    for part in (slice(None), slice(1), slice(1 + depth), slice(1, None)):  # some of what comes out is asked for
        agree(of(descend, part), of(descend_reference, part), *given, none_is_zero=True)


@pytest.mark.parametrize(("time", "chunk"), [(1, 4), (5, 4), (16, 4), (13, 8), (9, 32)])
def test_the_chunked_delta_rule_equals_its_loop(time: int, chunk: int) -> None:
    q, k, v = (random(2, 3, time, 6, seed=s) for s in range(3))
    agree(
        lambda *given: delta_chunked(*given, chunk=chunk),
        delta_recurrent,
        q,
        k / k.norm(dim=-1, keepdim=True),
        v[..., :5],
        random(2, 3, time, seed=4).sigmoid(),
        -random(2, 3, time, seed=5).exp(),
        random(2, 3, 6, 5, seed=6),
    )


def test_a_steep_decay_gives_no_nan() -> None:
    q, k, v = (random(1, 200, 4, seed=s) for s in range(3))
    decay = torch.full((1, 200), -50.0, dtype=torch.float64).requires_grad_()
    out, _ = delta_chunked(q, k, v, torch.ones(1, 200), decay, torch.zeros(1, 4, 4, dtype=torch.float64))
    out.sum().backward()
    assert out.isfinite().all()
    assert decay.grad is not None
    assert decay.grad.isfinite().all()


def test_the_delta_rule_stores_orthonormal_keys_exactly() -> None:
    keys, values = torch.eye(4, dtype=torch.float64), random(4, 3)
    ones, zeros = torch.ones(8, dtype=torch.float64), torch.zeros(8, dtype=torch.float64)
    again = torch.cat([values, values + 1])  # every key is written twice; the second value stands
    out, matrix = delta_chunked(
        torch.cat([keys, keys]), torch.cat([keys, keys]), again, ones, zeros, torch.zeros(4, 3, dtype=torch.float64)
    )
    assert torch.allclose(matrix, values + 1)
    assert torch.allclose(out, again)


def test_the_delta_rule_is_that_of_transformers() -> None:
    module = pytest.importorskip("transformers.models.qwen3_next.modeling_qwen3_next", reason="no transformers")
    q, k, v = (random(2, 3, 20, 8, seed=s) for s in range(3))
    k = k / k.norm(dim=-1, keepdim=True)
    beta, decay = random(2, 3, 20, seed=4).sigmoid(), -random(2, 3, 20, seed=5).exp()
    own, _ = delta_chunked(q * 8**-0.5, k, v, beta, decay, torch.zeros(2, 3, 8, 8, dtype=torch.float64), chunk=8)
    swapped = [x.transpose(1, 2).float() for x in (q, k, v)]
    theirs, _ = module.torch_chunk_gated_delta_rule(
        *swapped, g=decay.transpose(1, 2).float(), beta=beta.transpose(1, 2).float(), chunk_size=8
    )
    assert torch.allclose(own.transpose(1, 2).float(), theirs, atol=1e-5)


def test_linear_attention_equals_its_loop() -> None:
    q, k, v = (random(2, 7, 4, seed=s) for s in range(3))
    agree(linear_attention, linear_attention_reference, q, k, v, random(2, 4, 4, seed=3), random(2, 4, seed=4).exp())


def test_a_matrix_memory_reads_nothing_from_nothing_and_leaves_out_what_is_not_there() -> None:
    k, v = random(1, 3, 4), random(1, 3, 2, seed=1)
    empty, norm = torch.zeros(1, 4, 2, dtype=torch.float64), torch.zeros(1, 4, dtype=torch.float64)
    assert not matrix_read(k, empty, norm).any()
    some = matrix_write(k, v, empty, norm, there=torch.tensor([[True, True, False]]))
    assert torch.allclose(some[0], matrix_write(k[:, :2], v[:, :2], empty, norm)[0])
    one = matrix_write(k[:, :1], v[:, :1], empty, norm)
    again = matrix_write(k[:, :1], v[:, :1], *one, delta=True)  # what it says already adds nothing
    assert torch.allclose(again[0], one[0])


def test_the_router_equals_its_loop_and_balances() -> None:
    agree(lambda x: route(x, 2).weights, lambda x: route_reference(x, 2), random(5, 4))
    even = route(torch.eye(4).repeat(3, 1) * 50, 1)
    assert float(even.balance) == pytest.approx(1.0)
    one = route(torch.tensor([[50.0, 0, 0, 0]]).repeat(12, 1), 1)
    assert float(one.balance) == pytest.approx(4.0)


def test_attention_over_a_prefix_equals_its_loop() -> None:
    q, k, v = (random(2, 3, 5, 4, seed=s) for s in range(3))
    agree(
        lambda q, k, v, far_k, far_v: prefix_attention((q, k, v), (q, far_k, far_v))[0], prefix_attention_reference,
        q, k, v, random(2, 3, 6, 4, seed=3), random(2, 3, 6, 4, seed=4),
    )  # fmt: skip


def test_slots_that_hold_nothing_are_as_none() -> None:
    q, k, v = (random(1, 4, 5, 4, seed=s) for s in range(3))
    k, v = k[:, :2], v[:, :2]  # two heads of keys for four of queries
    junk = random(1, 2, 6, 4, seed=5)
    empty, _ = prefix_attention((q, k, v), (q, junk, junk), torch.zeros(1, 6, dtype=torch.bool))
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    assert torch.allclose(empty, plain)


@pytest.mark.parametrize(("time", "window"), [(1, 4), (3, 4), (11, 4), (8, 1), (5, 9)])
def test_window_attention_equals_one_masked_attention(time: int, window: int) -> None:
    q, k, v = (random(2, 3, time, 4, seed=s) for s in range(3))
    past = torch.zeros(2, 3, window, 4, dtype=torch.float64)
    nothing = torch.zeros(2, window, dtype=torch.bool)
    agree(
        lambda *qkv: window_attention(*qkv, past, past, nothing), lambda *qkv: reference_window(*qkv, window), q, k, v
    )


@pytest.mark.parametrize("always", [0, 2])
def test_window_attention_with_a_past_and_what_is_always_seen_equals_its_loop(always: int) -> None:
    q, k, v = (random(2, 3, 7, 4, seed=s) for s in range(3))
    past = random(2, 3, 3, 4, seed=3), random(2, 3, 3, 4, seed=4)
    there = torch.tensor([[False, True, True], [False, False, False]])
    own = (random(2, 3, 7, 4, seed=5), random(3, always, 4, seed=6), random(3, always, 4, seed=7)) if always else ()
    agree(
        lambda *x: window_attention(*x[:5], there, x[5:] or None),
        lambda *x: window_attention_reference(*x[:5], there, x[5:] or None),
        q, k, v, *past, *own, none_is_zero=True,
    )  # fmt: skip


def test_rotary_scores_depend_on_the_distance_alone_at_any_position() -> None:
    q, k = random(1, 1, 1, 8).float(), random(1, 1, 1, 8, seed=1).float()
    score = [(rotate(q, torch.tensor([[at + 3]])) * rotate(k, torch.tensor([[at]]))).sum() for at in (0, 5, 1_000_000)]
    assert torch.allclose(torch.stack(score), score[0].expand(3), atol=1e-5)


def test_a_convolution_in_pieces_is_one_convolution() -> None:
    x, weight, past = random(2, 9, 3), random(3, 4, seed=1), random(2, 3, 3, seed=2)

    def stepped(x: Any, weight: Any, past: Any) -> Any:
        outs = []
        for t in range(x.shape[1]):
            out, past = conv_step(x[:, t], weight, past)
            outs.append(out)
        return torch.stack(outs, 1), past

    full = torch.tensor([9, 9])
    agree(lambda *given: causal_conv(*given, full), stepped, x, weight, past)
    _, kept = causal_conv(x, weight, past, torch.tensor([1, 5]))
    assert torch.equal(kept[0], torch.cat([past[0, 1:], x[0, :1]]))
    assert torch.equal(kept[1], x[1, 2:5])


@pytest.mark.parametrize("block", [3, 100])
def test_the_k_best_equal_a_full_sort_and_ties_go_to_the_earlier(block: int) -> None:
    query, keys = random(2, 4, 5), random(2, 17, 5, seed=1)
    found = top_k(query, keys, 6, block=block)
    wanted = top_k_reference(query, keys, 6)
    assert torch.equal(found[1], wanted[1])
    assert torch.allclose(found[0], wanted[0])
    same = torch.ones(10, 5, dtype=torch.float64)
    assert top_k(query, same, 3, block=block)[1][0, 0].tolist() == [0, 1, 2]
    there = torch.arange(10) > 6
    assert top_k(query, same, 2, there, block=block)[1][0, 0].tolist() == [7, 8]


@pytest.mark.parametrize("block", [3, 100])
def test_gradients_pass_through_the_scores_of_the_best(block: int) -> None:
    agree(
        lambda query, keys: top_k(query, keys, 6, block=block)[0],
        lambda query, keys: top_k_reference(query, keys, 6)[0],
        random(2, 4, 5), random(2, 17, 5, seed=1),
    )  # fmt: skip


def test_attention_in_two_levels_equals_its_loops() -> None:
    visible = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.7
    visible[0, 0] = False
    agree(
        lambda *given: two_level(*given, visible, 2)[0],
        lambda *given: two_level_reference(*given, visible, 2),
        random(2, 4, 6),
        random(2, 4, 2, 3, seed=1),
        random(2, 5, 6, seed=2),
        random(2, 5, 3, 2, 3, seed=3),
        random(2, 5, 3, 2, 3, seed=4),
    )


def test_prototypes_equal_their_loops() -> None:
    keys, values = random(2, 7, 3), random(2, 7, 4, seed=1)
    use, life = random(2, 7, seed=2).exp(), torch.arange(1, 8).expand(2, -1)
    fast, slow = prototypes(keys, values, use, life, 3), prototypes_reference(keys, values, use, life, 3)
    assert torch.equal(fast.places, slow.places)
    agree(
        lambda k, v: prototypes(k, v, use, life, 3)[1], lambda k, v: prototypes_reference(k, v, use, life, 3)[1],
        keys, values, tolerance=1e-8,
    )  # fmt: skip


def test_slots_drop_the_oldest_or_by_chance_and_age() -> None:
    pool = empty_slots(2, 4, 1, generator=torch.Generator().manual_seed(0))
    for n in range(3):
        pool, lost, gone, ages = append_slots(pool, torch.full((2, 2, 1), float(n)), "oldest")
    assert pool.values[0, :, 0].tolist() == [1, 1, 2, 2]
    assert pool.age[0].tolist() == [1, 1, 0, 0]
    assert lost[0, :, 0].tolist() == [0, 0]
    assert gone.all()
    assert ages.tolist() == [[2, 2], [2, 2]]
    coming = torch.tensor([[True, False], [False, False]])
    some, _, gone, _ = append_slots(pool, torch.full((2, 2, 1), 9.0), "random", coming)
    assert gone.sum(1).tolist() == [1, 0]
    assert some.values[1, :, 0].tolist() == [1, 1, 2, 2]
    assert some.values[0, -1, 0] == 9


@pytest.mark.parametrize("drop", ["random", "oldest"])
def test_slots_are_appended_as_slot_by_slot(drop: Any) -> None:
    generator = torch.Generator().manual_seed(4)
    pool = empty_slots(3, 5, 2, dtype=torch.float64, generator=generator)
    for n in range(9):
        new = random(3, 3, 2, seed=n)
        coming = (torch.arange(3) < torch.randint(4, (3, 1), generator=generator)) if n % 2 else None
        after, lost, gone, ages = append_slots(pool, new, drop, coming)
        wanted, wanted_lost, wanted_ages = append_slots_reference(pool, new, drop, coming)
        for name, leaf in after.leaves().items():
            assert torch.equal(leaf, wanted.leaves()[name]), name
        for row in range(3):
            assert torch.equal(lost[row][gone[row]], wanted_lost[row])
            assert ages[row][gone[row]].tolist() == wanted_ages[row]
        pool = after
    agree(
        lambda values, new: append_slots(replace(pool, values=values), new, drop)[0].values,
        lambda values, new: append_slots_reference(replace(pool, values=values), new, drop)[0].values,
        pool.values, random(3, 2, 2, seed=20),
    )  # fmt: skip


def test_slots_survive_by_chance_as_the_formula_says() -> None:
    pool = empty_slots(400, 8, 1, generator=torch.Generator().manual_seed(1))
    pool, *_ = append_slots(pool, torch.full((400, 8, 1), 1.0))
    for _ in range(4):
        pool, *_ = append_slots(pool, torch.zeros(400, 2, 1))
    left = float(pool.values.sum()) / (400 * 8)
    expected = (1 - 2 / 8) ** 4
    assert abs(left - expected) < 4 * (expected * (1 - expected) / 3200) ** 0.5


def test_draws_belong_to_the_row() -> None:
    seed, draws = torch.tensor([3, 4, 5]), torch.tensor([0, 2, 2])
    whole = row_random(seed, draws, 6)
    assert torch.equal(row_random(seed[1:2], draws[1:2], 6), whole[1:2])
    assert not torch.equal(row_random(seed, draws + 1, 6), whole)


def test_events_begin_where_the_reference_says() -> None:
    given = random(300).abs()
    for gamma in (0.0, 1.0, 2.0):
        found = boundaries(given, gamma, window=20, least=3, most=30)
        assert torch.equal(found, boundaries_reference(given, gamma, window=20, least=3, most=30))
    places = found.nonzero()[:, 0]
    assert (places.diff() <= 30).all()
    assert (places.diff() >= 3).all()


def test_surprise_is_minus_the_log_of_what_came() -> None:
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    assert surprise(p.log(), torch.tensor([0, 1, 0])).exp().tolist() == pytest.approx([1.0, 2.0, 1 / 0.9])


def test_refining_raises_the_modularity_to_the_true_cut() -> None:
    keys = torch.cat([torch.eye(2)[[0]].repeat(6, 1), torch.eye(2)[[1]].repeat(5, 1)]) + 0.01 * random(11, 2).float()
    starts = torch.zeros(11, dtype=torch.bool)
    starts[[0, 3]] = True
    better = refined(keys, starts)
    assert better.nonzero()[:, 0].tolist() == [0, 6]
    assert modularity(keys, better) > modularity(keys, starts)


@pytest.mark.parametrize(("least", "most"), [(1, None), (3, 9), (5, 5)])
def test_refining_finds_what_trying_every_place_finds(least: int, most: int | None) -> None:
    for seed in range(3):
        keys = random(26, 3, seed=seed) + 0.3
        starts = torch.zeros(26, dtype=torch.bool)
        starts[[0, 5, 11, 18]] = True
        assert torch.equal(refined(keys, starts, least, most), refined_reference(keys, starts, least, most))


def test_packing_and_blocks_give_back_what_they_took() -> None:
    x = random(2, 7, 3)
    mask = torch.tensor([[True, False, True, True, False, True, True], [False] * 6 + [True]])
    packing = Packing.of(mask)
    assert torch.equal(packing.unpack(packing.pack(x), mask), x * mask[..., None])
    grid = Grid(4, torch.tensor([3, 0]), packing.lengths, 7)
    laid = grid.lay(packing.pack(x))
    assert grid.valid.sum((1, 2)).tolist() == [5, 1]
    assert grid.closed.tolist() == [[True, True], [False, False]]
    assert not laid[~grid.valid].any()
    assert torch.equal(packing.unpack(grid.lift(laid), mask), x * mask[..., None])


def test_a_query_meets_far_and_near_keys_at_different_positions_in_one_softmax() -> None:
    q, far_q = random(2, 4, 5, 6, seed=1), random(2, 4, 5, 6, seed=2)
    k, v, far_k, far_v = (random(2, 2, n, 6, seed=seed) for seed, n in enumerate((9, 9, 3, 3)))  # 4 were there before
    there = torch.tensor([[True, True, False], [True, False, True]])
    found, weights = prefix_attention((q, k, v), (far_q, far_k, far_v), there)
    near = (q @ k.repeat_interleave(2, 1).mT).masked_fill(~torch.ones(5, 9, dtype=torch.bool).tril(4), -torch.inf)
    far = (far_q @ far_k.repeat_interleave(2, 1).mT).masked_fill(~there[:, None, None], -torch.inf)
    wanted = (torch.cat([far, near], -1) * 6**-0.5).softmax(-1)
    assert torch.allclose(weights, wanted, atol=1e-12)
    assert torch.allclose(found, wanted @ torch.cat([far_v, v], 2).repeat_interleave(2, 1), atol=1e-12)


def test_a_growing_record_is_shared_and_no_branch_sees_another() -> None:
    start = torch.zeros(1, 0, 2)
    one = appended(start, torch.ones(1, 3, 2))
    two = appended(one, torch.full((1, 2, 2), 2.0))
    assert two.data_ptr() == one.data_ptr(), "it was copied"
    branch = appended(one, torch.full((1, 1, 2), 9.0))
    assert branch.data_ptr() != one.data_ptr(), "a branch wrote where another has written"
    assert two[0, :, 0].tolist() == [1, 1, 1, 2, 2]
    assert branch[0, :, 0].tolist() == [1, 1, 1, 9]
    tail = appended(two[:, 2:], torch.full((1, 1, 2), 3.0))
    assert tail[0, :, 0].tolist() == [1, 2, 2, 3]
    for n in range(200):
        two = appended(two, torch.full((1, 1, 2), float(n)))
    assert two[0, -200:, 1].tolist() == list(range(200))
    wanted = torch.ones(1, 1, 2, requires_grad=True)
    torch.autograd.backward(appended(one, wanted).sum())
    assert wanted.grad is not None
    assert bool((wanted.grad == 1).all())


def test_what_draws_attention_is_chosen_in_each_part() -> None:
    g = torch.Generator().manual_seed(5)
    q, k = torch.randn(4, 7, 6, generator=g), torch.randn(2, 7, 6, generator=g)
    assert torch.allclose(drawn(q, k).exp(), drawn_reference(q, k), rtol=1e-4)
    places = strongest(q, k, 2, 4)
    first, rest = drawn_reference(q[:, :4], k[:, :4]), drawn_reference(q[:, 4:], k[:, 4:])
    for head in range(2):
        best = sorted(first[head].topk(2).indices.tolist()) + sorted((rest[head].topk(2).indices + 4).tolist())
        assert places[head].tolist() == best


def test_refined_events_keep_to_their_lengths() -> None:
    g = torch.Generator().manual_seed(6)
    starts = torch.zeros(40, dtype=torch.bool)
    starts[::8] = True
    for seed in range(5):
        keys = torch.randn(40, 3, generator=g.manual_seed(seed)) + 0.3
        sizes = torch.diff(refined(keys, starts, 5, 11).nonzero()[:, 0], append=torch.tensor([40]))
        assert sizes.min() >= 5
        assert sizes.max() <= 11
