"""Memory^3: sparse keys and values of references, in parallel at the same places, in the first layers alone."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")
pytest.importorskip("transformers", reason="needs transformers")

from slowwave.errors import InputError  # noqa: E402
from slowwave.models.causal import FakeByteTokenizer, fake_causal  # noqa: E402
from slowwave.state.attending import Attending  # noqa: E402
from slowwave.state.kernels.sparse import drawn_reference  # noqa: E402
from slowwave.state.memory_3 import Memory3  # noqa: E402
from slowwave.state.reader import View  # noqa: E402

MODEL = fake_causal()


def reader(**settings: Any) -> Memory3:
    return Memory3(MODEL, **{"reference": 12, "keep": 3, "retrieve": 2, "block": 6, "local": 12, **settings})


def ids(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (1, count), generator=torch.Generator().manual_seed(seed))


def test_a_whole_reference_in_every_layer_is_the_text_itself() -> None:
    whole = reader(keep=12, memory_layers=1.0, opening=(7, 8))
    told, question = ids(12), ids(5, seed=1)
    state = whole.chosen(whole.learn(told, whole.init_state(1)), torch.tensor([[0]]))
    # the opening's second token is not kept, so the exact case has an opening of one
    one = reader(keep=12, memory_layers=1.0, opening=(7,))
    state = one.chosen(one.learn(told, one.init_state(1)), torch.tensor([[0]]))
    prompt = torch.cat([torch.tensor([[7]]), told, question], 1)
    assert torch.allclose(one.logits(question, state), one.base_model.logits(prompt)[:, 13:], atol=1e-3)
    assert whole.kept == one.kept == 13


def test_those_are_kept_that_draw_most_and_the_opening_in_each_head() -> None:
    found = reader(opening=(7, 8))
    bank, places, _ = found.encode(ids(12)[0])
    view = View(found.base_model, torch.zeros(1, 0, 2, 2, 2, 8))
    found.base_model.through(torch.cat([torch.tensor([[7, 8]]), ids(12)], 1), view)
    record = view.record()[0]
    assert bank.shape == (1, 2, 2, 4, 8)
    for head in range(2):
        weights = drawn_reference(view.queries[0][0, :, 2:], record[2:, 0, 0].transpose(0, 1))[head]
        best = sorted(weights.topk(3).indices.tolist())
        assert places[0, head].tolist() == [0, *(place + 2 for place in best)]
        assert torch.equal(bank[0, 0, head], record[places[0, head], 0, 0, head])


def test_references_stand_side_by_side_so_their_order_is_nothing() -> None:
    found = reader()
    state = found.learn(ids(36), found.init_state(1))
    assert int(state.stored) == 3
    question = ids(5, seed=1)
    one = found.logits(question, found.chosen(state, torch.tensor([[0, 2]])))
    other = found.logits(question, found.chosen(state, torch.tensor([[2, 0]])))
    assert torch.allclose(one, other, atol=1e-4)
    assert not torch.allclose(one, found.logits(question, found.chosen(state, torch.tensor([[0, 1]]))), atol=1e-4)


def test_a_question_finds_the_reference_with_its_words() -> None:
    found = reader(retrieve=1)
    texts = torch.cat([torch.arange(n * 40, n * 40 + 12) for n in range(6)])[None]
    state = found.learn(texts, found.init_state(1))
    for n in range(6):
        asked = found.recall(torch.arange(n * 40 + 2, n * 40 + 8)[None], state)
        assert asked.chosen.tolist() == [[n]]
    assert int(state.fetched) == 0, "recall changed the state that it was given"


def test_a_stream_becomes_references_when_it_leaves_the_context() -> None:
    found = reader()
    text = ids(60)
    state = found(text).state
    assert int(state.stored) * 12 + int(state.held) == 60
    assert 12 <= int(state.held) < 12 + 12 + 6
    own = found.learn(text[:, :12], found.init_state(1))
    assert torch.allclose(state.bank[:, :1], own.bank, atol=1e-5)
    assert int(state.fetched) == 2


def test_kept_by_lot_is_for_comparison_and_repeats_under_a_seed() -> None:
    found = reader(choice_of="random")
    one, two = (found.encode(ids(12)[0], torch.Generator().manual_seed(3))[1] for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, reader().encode(ids(12)[0])[1])
    whole, parts = found(ids(60)).state, None  # what a stream draws belongs to its state
    for start in (0, 25, 26):
        parts = found(ids(60)[:, start : {0: 25, 25: 26, 26: 60}[start]], parts).state
    assert torch.equal(whole.places, parts.places)


def test_bad_input_is_told() -> None:
    found = reader()
    with pytest.raises(InputError, match="3 to 12 tokens, this has 2"):
        found.encode(ids(2)[0])
    with pytest.raises(InputError, match="at most 2 of the 0 stored"):
        found.chosen(found.init_state(1), torch.tensor([[0]]))
    with pytest.raises(InputError, match="13 tokens of a reference of 12"):
        reader(keep=13)
    with pytest.raises(InputError, match="'attention' or 'random'"):
        reader(choice_of="best")


def test_rows_are_learned_together_as_they_are_alone() -> None:
    found = reader(opening=(7,))
    texts, question = torch.cat([ids(24), ids(24, seed=1)]), torch.cat([ids(5, seed=2), ids(5, seed=3)])
    both = found.chosen(found.learn(texts, found.init_state(2)), torch.tensor([[0, 1], [1, 0]]))
    for row in range(2):
        own = found.learn(texts[row : row + 1], found.init_state(1))
        own = found.chosen(own, both.chosen[row : row + 1])
        assert torch.allclose(both.bank[row], own.bank[0], atol=1e-5)
        alone = found.logits(question[row : row + 1], own)
        assert torch.allclose(found.logits(question, both)[row], alone[0], atol=1e-4)


def test_a_model_that_is_trained_gets_gradients_through_its_references() -> None:
    base = Attending(*fake_causal(), frozen=False)
    found = Memory3(base, reference=12, keep=3, retrieve=2, block=6, local=12)
    before = base.fingerprint
    state = found.chosen(found.learn(ids(12), found.init_state(1)), torch.tensor([[0]]))
    torch.autograd.backward(found.logits(ids(2, seed=1), state).sum())
    first = base.blocks[0].self_attn.v_proj.weight.grad
    found.zero_grad()
    torch.autograd.backward(found.logits(ids(2, seed=1), state.detach()).sum())
    assert not torch.equal(first, base.blocks[0].self_attn.v_proj.weight.grad), "nothing came through the reference"
    with torch.no_grad():
        next(base.parameters()).add_(1.0)
    assert base.fingerprint != before, "a model that has learned has another fingerprint"
    assert not reader().logits(ids(2), reader().init_state(1)).requires_grad, "a frozen one was to be trained"


def test_a_reference_begins_as_the_tokenizer_begins_a_text() -> None:
    class Marking(FakeByteTokenizer):
        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            return [1] * add_special_tokens + super().encode(text)

    marked = (fake_causal()[0], Marking())
    found = Memory3(marked, reference=12, keep=3, block=6, local=12)
    assert (found.opening, found.kept) == ((1,), 4)
    bank, places, _ = found.encode(ids(12)[0])
    assert bank.shape[3] == 4
    assert bool((places[..., 0] == 0).all())
    assert Memory3(marked, opening="ab").opening == (1, 97, 98)
    assert Memory3(marked, opening=()).kept == Memory3(fake_causal()).kept == 8
    with pytest.raises(InputError, match="words need the model's tokenizer"):
        Memory3(fake_causal()[0], opening="Reference:")
