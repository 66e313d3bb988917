"""MemoryPrompt: the model stays as it is, prompts have the embeddings' scale, and gradients are there before a clip."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")
transformers = pytest.importorskip("transformers", reason="needs transformers")

from slowwave.errors import InputError, ModelMismatchError  # noqa: E402
from slowwave.state.frozen import Frozen, print_of  # noqa: E402
from slowwave.state.memory_prompt import MemoryPrompt  # noqa: E402


@pytest.fixture(scope="module")
def frozen() -> Frozen:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64,
    )  # fmt: skip
    return Frozen(transformers.LlamaForCausalLM(config))


def ids(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(40, shape, generator=torch.Generator().manual_seed(seed))


def test_an_empty_memory_gives_the_models_own_logits(frozen: Frozen) -> None:
    model = MemoryPrompt(16, prompts=2, inner=8, units=6).around(frozen)
    given = ids(2, 7)
    logits, after = model(given)
    assert torch.equal(logits, frozen.logits(given))
    mixed = after.where(torch.tensor([False, True]), model.memory.init_state(2))
    again, _ = model(given, None, mixed)
    assert torch.allclose(again[1], frozen.logits(given)[1], atol=1e-5)
    assert not torch.allclose(again[0], frozen.logits(given)[0], atol=1e-5)


def test_training_moves_the_memory_and_not_a_bit_of_the_model(frozen: Frozen) -> None:
    before = {name: p.clone() for name, p in frozen.model.named_parameters()}
    model = MemoryPrompt(16, prompts=2, inner=8, units=6, scale=frozen.embedding_scale).around(frozen)
    assert {id(p) for p in model.parameters()} == {id(p) for p in model.memory.parameters()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    targets = torch.full((2, 5), -1)
    targets[:, -1] = 3
    losses = []
    for _ in range(8):
        loss = model.loss([ids(2, 5, seed=1), ids(2, 5, seed=2), ids(2, 5)], targets)
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert norm > 0, "gradients are clipped before they exist"
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, before[name]) for name, p in frozen.model.named_parameters())


def test_a_padded_segment_is_as_one_that_is_not(frozen: Frozen) -> None:
    model = MemoryPrompt(16, prompts=2, inner=8, units=6).around(frozen)
    given = ids(1, 6)
    _, whole = model(given[:, :4])
    mask = torch.tensor([[True] * 4 + [False] * 2])
    _, padded = model(given, mask)
    assert torch.allclose(whole.hidden, padded.hidden, atol=1e-6)


def test_prompts_have_the_scale_of_the_embeddings(frozen: Frozen) -> None:
    memory = MemoryPrompt(16, prompts=3, inner=8, units=6, scale=frozen.embedding_scale)
    prompt = memory.prompt(memory.write(torch.randn(2, 4, 16), memory.init_state(2)))
    assert prompt.shape == (2, 3, 16)
    assert float(prompt.detach().abs().max()) < 3 * frozen.embedding_scale
    narrow, wide = MemoryPrompt(64, units=16, inner=8), MemoryPrompt(64, units=0, inner=8)
    assert sum(p.numel() for p in narrow.parameters()) * 10 < sum(p.numel() for p in wide.parameters())


def test_a_state_knows_its_model(frozen: Frozen, tmp_path: Path) -> None:
    other = transformers.LlamaForCausalLM(frozen.model.config)
    assert Frozen(other).fingerprint != frozen.fingerprint
    assert Frozen(frozen.model).fingerprint == frozen.fingerprint
    one, two = (MemoryPrompt(16, prompts=2, inner=8, units=6) for _ in range(2))
    two.load_state_dict(one.state_dict())
    _, state = one.around(frozen)(ids(1, 6))
    one.save(state, tmp_path / "a.state")
    assert torch.equal(one.load(tmp_path / "a.state").hidden, state.hidden)
    two.around(Frozen(other))
    with pytest.raises(ModelMismatchError, match="wrap the same model"):
        two.load(tmp_path / "a.state")
    with pytest.raises(InputError, match="MemoryPrompt\\(16\\)"):
        MemoryPrompt(8).around(frozen)


def test_the_fingerprint_sees_all_of_a_weight() -> None:
    class Numbers(torch.nn.Module):
        def __init__(self, changed: slice) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(8000))
            with torch.no_grad():
                self.weight[changed] = 1.0

    prints = {print_of(Numbers(slice(start, start + 2)), None) for start in range(0, 8000, 500)}
    assert len(prints) == 16
    assert print_of(Numbers(slice(7999, None)), None) != print_of(Numbers(slice(0, 0)), None)
