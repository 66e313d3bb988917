"""MEMORYLLM and M+: slots that text overwrites by chance, and a store of what was overwritten."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")
pytest.importorskip("transformers", reason="needs transformers")

from slowwave.errors import InputError  # noqa: E402
from slowwave.models.causal import fake_causal  # noqa: E402
from slowwave.state.attending import Attending  # noqa: E402
from slowwave.state.m_plus import MPlus  # noqa: E402
from slowwave.state.memory_llm import MemoryLLM  # noqa: E402

MODEL = fake_causal()


def ids(count: int, seed: int = 0, rows: int = 1) -> torch.Tensor:
    return torch.randint(256, (rows, count), generator=torch.Generator().manual_seed(seed))


def test_slots_of_what_went_in_are_the_keys_and_values_of_the_text() -> None:
    reader = MemoryLLM(MODEL, slots=20, update=8, block=8, keeps="in")
    text = ids(15)
    state = reader(text[:, :8]).state
    assert (int(state.filled), int(state.held), int(state.updates)) == (8, 0, 1)
    plain = reader.base_model.logits(text)[:, 8:]
    assert torch.allclose(reader.logits(text[:, 8:], state), plain, atol=1e-3)


def test_the_first_text_is_not_tiled_and_a_short_one_is_written_as_it_is() -> None:
    reader = MemoryLLM(MODEL, slots=20, update=8, block=8)
    state = reader(ids(3)).state
    assert int(state.updates) == 0
    written = reader.sleep(state)
    assert (int(written.filled), int(written.begun), int(written.updates)) == (3, 0, 1)
    assert not written.pools[0].values[:, 3:].any()
    assert reader.sleep(written) is written


def test_the_newest_slots_are_at_the_end_and_as_many_old_ones_go() -> None:
    reader = MemoryLLM(MODEL, slots=10, update=4, block=6)
    state = reader(ids(30)).state
    before = [pool.values.clone() for pool in state.pools]
    after = reader(ids(6, seed=1), state).state
    for old, pool in zip(before, after.pools, strict=True):
        stayed = [any(torch.equal(new, one) for one in old[0]) for new in pool.values[0]]
        assert stayed == [True] * 6 + [False] * 4
        assert pool.age[0].tolist()[-4:] == [0] * 4


def test_the_oldest_go_at_a_cliff() -> None:
    reader = MemoryLLM(MODEL, slots=8, update=4, block=4, drop="oldest")
    one = reader(ids(4)).state.pools[0].values[0, :4]
    two = reader(ids(8)).state.pools[0].values[0]
    assert torch.allclose(two[:4], one, atol=1e-5)
    three = reader(ids(12)).state.pools[0].values[0]
    assert not any(torch.allclose(slot, one[0], atol=1e-5) for slot in three)


def test_drops_differ_by_layer_and_repeat_after_loading(tmp_path: Any) -> None:
    reader = MemoryLLM(MODEL, slots=12, update=3, block=5)
    state = reader(ids(40, rows=2), reader.init_state(2, torch.Generator().manual_seed(1))).state
    ages = [pool.age[0].tolist() for pool in state.pools]
    assert ages[0] != ages[1]
    reader.save(state, tmp_path / "a.state")
    again = reader(ids(25, rows=2), reader.load(tmp_path / "a.state")).state
    assert torch.equal(again.pools[1].values, reader(ids(25, rows=2), state).state.pools[1].values)


def test_gradients_pass_through_a_write() -> None:
    model, tokenizer = fake_causal(seed=3)
    reader = MemoryLLM(Attending(model, tokenizer, frozen=False), slots=6, update=3, block=4)
    state = reader(ids(4, rows=2)).state
    written = model.model.layers[0].mlp.down_proj.weight
    y = reader(ids(3, seed=2, rows=2), state.detach()).y
    without = torch.autograd.grad(y.sum(), written)[0]
    y = reader(ids(3, seed=2, rows=2), state).y
    through = torch.autograd.grad(y.sum(), written)[0]
    assert (through - without).abs().max() > 1e-4


def plus(**settings: Any) -> MPlus:
    torch.manual_seed(0)
    return MPlus(MODEL, **{"slots": 8, "update": 4, "block": 4, "fetch": 3, "capacity": 50, **settings})


def test_what_the_pool_drops_is_stored_with_its_age() -> None:
    reader = plus()
    state = reader(ids(8)).state
    assert int(state.stored) == 0
    after = reader(ids(4, seed=1), state).state
    assert int(after.stored) == 4
    for layer, pool in enumerate(state.pools):
        for slot, born in zip(after.long[0, :, layer], after.born[0, :, layer].tolist(), strict=True):
            place = [n for n, old in enumerate(pool.values[0]) if torch.equal(old, slot)]
            assert len(place) == 1, "what is stored was not in the pool"
            assert born == 2 - int(pool.age[0, place[0]]) - 1
        assert torch.allclose(after.long_keys[0], reader.finder(after.long[0]), atol=1e-6)


def test_a_store_forgets_its_first_and_a_short_one_is_not_tiled() -> None:
    reader = plus(capacity=6)
    state = reader(ids(12)).state
    assert (int(state.stored), int(state.fetched)) == (4, 3)
    held = state.long.clone()
    after = reader(ids(4, seed=1), state).state
    assert int(after.stored) == 6
    assert torch.equal(after.long[:, :2], held[:, 2:])
    short = plus(fetch=10)(ids(12)).state
    assert int(short.fetched) == 4
    assert short.chosen[0, 0].tolist()[4:] == [-1] * 6


def test_the_slots_that_fit_are_fetched_by_age() -> None:
    reader = plus()
    state = reader(ids(60)).state
    wanted = [1, 5, 9]
    keys = torch.full_like(state.long_keys, -10.0)
    keys[:, wanted] = 10.0
    born = torch.arange(int(state.stored)).flip(0)[None, :, None].expand_as(state.born)  # the last stored is the oldest
    found = reader._choose(replace(state, long_keys=keys, born=born, asked=torch.ones(1, 2, *keys.shape[2:])))
    assert found.chosen[0].tolist() == [[9, 5, 1]] * 2
    question = ids(5, seed=3)
    asked = reader.recall(question, state)
    other = reader.logits(question, replace(asked, fetched=torch.zeros_like(asked.fetched)))
    assert not torch.allclose(reader.logits(question, asked), other, atol=1e-4)


def test_the_retriever_learns_to_tell_slots_apart() -> None:
    reader = plus()
    g = torch.Generator().manual_seed(4)
    hidden, right, wrong = (torch.randn(4, 6, 2, 32, generator=g) for _ in range(3))
    hidden = hidden + 2 * right
    optimiser = torch.optim.Adam([*reader.asker.parameters(), *reader.finder.parameters()], lr=1e-2)
    losses = []
    for _ in range(30):
        loss = reader.retriever_loss(hidden, right, wrong)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_retriever_taught_by_questions_finds_what_was_dropped_before_it_had_learned() -> None:
    reader = plus(slots=8, update=4, block=4, fetch=4, capacity=99, keeps="in")
    texts = torch.arange(64).view(16, 4)  # a question is the first word of its text
    optimiser = torch.optim.Adam([*reader.asker.parameters(), *reader.finder.parameters()], lr=1e-2)
    state = reader.write(texts.flatten()[None], reader.init_state(1, torch.Generator().manual_seed(0)))
    gone = int(state.stored)

    def found() -> float:
        """The share of the asked words' own slots, in the first layer, that are fetched first."""
        now = reader.indexed(state)
        hits = [bool((now.long[0, best, 0] == reader.base_model.embed(texts[n, :1])).all(-1).any())
                for n in range(4) for best in [reader.recall(texts[n : n + 1, :1], now).chosen[0, 0]]]  # fmt: skip
        return sum(hits) / len(hits)

    before = found()
    for _ in range(60):
        loss = reader.retriever_loss(*reader.examples(texts[:, :1], texts))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert gone == 56  # all but the pool
    assert found() > before
    with pytest.raises(InputError, match="1 questions and 2 texts"):
        reader.examples(texts[:1], texts[:2])


def test_a_model_that_is_trained_gets_gradients_through_what_it_writes() -> None:
    base = Attending(*fake_causal(), frozen=False)
    reader = MemoryLLM(base, slots=12, update=4, block=4)
    state = reader.write(ids(8, rows=2), reader.init_state(2))
    grads = []
    for pool in (state, reader.detach(state)):
        reader.zero_grad()
        torch.autograd.backward(reader.logits(ids(2, seed=1, rows=2), pool).sum())
        grads.append(base.blocks[0].mlp.down_proj.weight.grad.clone())
    assert not torch.equal(*grads), "nothing came through the slots"
    assert base.train().model.training
    assert not MemoryLLM(MODEL).base_model.train().model.training


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (MemoryLLM, {"slots": 2, "update": 3}, "an update of 3 of 2 slots"),
        (MemoryLLM, {"drop": "newest"}, "'random' or 'oldest'"),
        (MemoryLLM, {"block": 0}, "at least 1 token"),
        (MPlus, {"fetch": 9, "capacity": 8}, "9 slots cannot be fetched from 8"),
    ],
)
def test_bad_settings_are_told(kind: Any, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        kind(MODEL, **settings)
