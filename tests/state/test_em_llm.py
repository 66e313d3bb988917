"""EM-LLM: whole events of the stream, found by likeness and neighbourhood, in a view that does not grow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")
pytest.importorskip("transformers", reason="needs transformers")

from slowwave.errors import InputError  # noqa: E402
from slowwave.models.causal import fake_causal  # noqa: E402
from slowwave.state.em_llm import EMLLM, _places  # noqa: E402

MODEL = fake_causal()
SIZES: dict[str, Any] = {
    "local": 32, "sinks": 3, "retrieve": 40, "block": 16, "window": 24, "least": 4, "most": 12, "representative": 2,
}  # fmt: skip


def reader(**settings: Any) -> EMLLM:
    return EMLLM(MODEL, **{**SIZES, **settings})


def ids(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (1, count), generator=torch.Generator().manual_seed(seed))


def test_while_nothing_has_left_the_context_it_is_the_model_itself() -> None:
    found = reader()
    text = ids(32)
    out = found(text)
    assert int(out.state.stored) == 0
    plain = found.base_model.logits(text)
    assert torch.allclose(out.y, plain, atol=1e-3)
    wanted = -plain[0, :-1].log_softmax(-1).gather(-1, text[0, 1:, None])[:, 0]
    assert torch.allclose(out.state.surprises[0, 1:], wanted, atol=1e-3), "each token of a prompt has its surprise"
    assert out.state.surprises[0, 0] == 0


def test_every_token_is_first_in_an_event_or_in_context_and_in_order() -> None:
    found = reader(retrieve=0)
    state = found(ids(200)).state
    assert int(state.first) == 3
    assert int(state.first + state.stored + state.held) == 200
    assert int(state.sizes.sum()) == int(state.stored)
    assert state.starts[0].tolist() == [int(state.sizes[0, :n].sum()) for n in range(int(state.events))]
    assert 4 <= int(state.sizes.min()) <= int(state.sizes.max()) <= 12
    whole = reader(local=400, retrieve=0)(ids(48)).state  # the same tokens while all are in context
    kept = torch.cat([state.initial, state.store], 1)[:, :36]
    assert torch.allclose(kept, whole.local[:, :36], atol=1e-4)


def test_events_begin_where_it_surprises_or_at_even_steps() -> None:
    found = reader(refine=False, least=1)
    state = found(ids(300)).state
    assert len(set(state.sizes[0].tolist())) > 2
    fixed = reader(segment="fixed")(ids(300)).state
    assert set(fixed.sizes[0].tolist()) == {12}


def test_refinement_is_on_and_moves_boundaries() -> None:
    assert reader().refine
    assert EMLLM(MODEL, window=8, local=8).near == 0.3
    moved, plain = (reader(refine=on)(ids(300)).state for on in (True, False))
    assert moved.starts.tolist() != plain.starts.tolist()
    assert int(moved.stored) == int(plain.stored)


def test_the_event_that_is_asked_for_is_found_first_with_its_neighbours() -> None:
    found = reader(near=0.5)
    state = found(ids(300)).state
    target = int(state.events) // 2
    asked = state.keys[:, target] * 100
    chosen = found._choose(replace(state, asked=asked[:, None], near=torch.full_like(state.near, -1)))
    for layer in range(2):
        best = chosen.chosen[0, layer].tolist()
        scores = state.keys[0, :, layer] @ asked[0, layer]
        assert best[0] == int(scores.argmax())
        near = {e for e in chosen.near[0, layer].tolist() if e >= 0}
        assert near
        assert near <= {e + step for e in best if e >= 0 for step in (-1, 1)}
        assert not near & set(best)
    assert (chosen.hits - state.hits).sum() == sum((part >= 0).sum() for part in (chosen.chosen, chosen.near))


def test_what_a_token_sees_does_not_grow_with_the_stream() -> None:
    found = reader()
    state, sizes = None, []
    for n in range(6):
        state = found(ids(80, seed=n), state).state
        sizes.append(max(len(places) for places in _places(state)))
        assert int(state.held) <= found.local + found.block + found.most
    assert 0 < max(sizes) <= found.retrieve
    assert all(len(places) <= found.retrieve for places in _places(state))


def test_recall_sees_the_question_and_writes_nothing() -> None:
    found = reader(near=0.0)
    state = found(ids(300)).state
    question = ids(9, seed=7)
    asked = found.recall(question, state)
    assert torch.equal(asked.local, state.local)
    assert torch.equal(asked.store, state.store)
    assert int(asked.seen) == int(state.seen)
    assert not torch.equal(asked.chosen, state.chosen)
    assert torch.equal(found.recall(question, state).chosen, asked.chosen)
    changed = found.logits(question, asked) - found.logits(question, state)
    assert changed.abs().max() > 1e-3, "what was recalled changes nothing"


@pytest.mark.parametrize("begun", [0, 9, 13])
def test_what_a_question_calls_for_stays_in_view_until_its_answer_ends(begun: int) -> None:
    found = reader(near=0.0)
    state = found(ids(288 + begun)).state
    question = ids(9, seed=7)
    said, after = found.generate(question, state, max_new_tokens=6)
    wanted = found.recall(question, state)
    if begun:  # a block ends on the way, within the question or the answer
        read = found(torch.cat([question, said], 1)[:, : found.block - begun], wanted).state
        wanted = found.recall(question, read)
        assert not torch.equal(read.chosen, wanted.chosen), "the block asks for the same, which shows nothing"
    assert torch.equal(after.chosen, wanted.chosen)
    assert int(after.seen) == 288 + begun + 15
    assert int(found.generate(ids(40, seed=8), state, max_new_tokens=2)[1].seen) == 288 + begun + 42


def test_forgetting_takes_the_least_recalled_whole_events() -> None:
    found = reader(sinks=0)
    state = found(ids(400)).state
    hits = torch.arange(int(state.events)).flip(0)[None]  # the newest were never recalled
    kept = found.sleep(replace(state, hits=hits), budget=60)
    many = int(kept.events)
    assert int(kept.stored) <= 60
    assert kept.sizes[0].tolist() == state.sizes[0, :many].tolist()
    assert torch.equal(kept.store, state.store[:, : int(kept.stored)])
    assert int(kept.chosen.max()) < many
    found(ids(40, seed=3), kept)
    bounded = reader(capacity=80)
    state = bounded(ids(600)).state
    assert int(state.stored) <= 80 + bounded.block + bounded.most
    assert found.sleep(state) is state, "without a budget or a capacity nothing is forgotten"


def test_what_stands_beside_an_event_only_since_others_were_forgotten_is_no_neighbour() -> None:
    found = reader(near=0.5)
    state = found(ids(300)).state
    ends = (state.begins + state.sizes)[0]
    assert torch.equal(ends[:-1], state.begins[0, 1:]), "nothing is forgotten yet"
    assert int(ends[-1]) == int(state.seen - state.held)
    target = int(state.events) // 2
    hits = torch.ones_like(state.hits)
    hits[0, [target - 1, target + 1]] = 0
    kept = found.sleep(replace(state, hits=hits), int(state.stored - state.sizes[0, [target - 1, target + 1]].sum()))
    assert int(kept.events) == int(state.events) - 2
    assert kept.begins[0, target - 1] == state.begins[0, target]
    asked = kept.keys[:, target - 1] * 100
    fresh = replace(kept, asked=asked[:, None], near=torch.full_like(kept.near, -1))
    chosen = EMLLM(MODEL, **{**found.settings(), "retrieve": 2 * int(state.sizes[0, target])})._choose(fresh)
    for layer in range(2):
        best = [e for e in chosen.chosen[0, layer].tolist() if e >= 0]
        near = {e for e in chosen.near[0, layer].tolist() if e >= 0}
        if target - 1 in best:
            assert not near & ({target - 2, target} - {e + step for e in best if e != target - 1 for step in (-1, 1)})
    assert any(target - 1 in chosen.chosen[0, layer].tolist() for layer in range(2))


def test_events_at_rest_may_be_half_as_long() -> None:
    found = reader(store="float16")
    state = found(ids(300)).state
    assert state.store.dtype == torch.float16
    exact = reader()(ids(300))
    assert torch.allclose(found(ids(300)).y, exact.y, atol=0.5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"segment": "often"}, "'surprise' or 'fixed'"),
        ({"window": 64, "local": 32}, "window is 64 and local 32"),
        ({"least": 9, "most": 8}, "9 to 8 tokens"),
        ({"store": "int8"}, "float16"),
        ({"near": 1.5}, "near is a share"),
    ],
)
def test_bad_settings_are_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        reader(**settings)
