"""Steering turns what it should: a planted feature, a cached answer equal to a plain one; rules see their traits."""

from __future__ import annotations

import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.steered import WAYS, Steering
from slowwave.probes.steering import generate, generate_many, random_like, smallest_k
from slowwave.probes.subjects import Subject
from slowwave.probes.traits import NEUTRAL, TRAITS, Trait, trait_of


class Letters:
    """Ids are letters."""

    eos_token_id = None

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        return [ord(c) % 64 for c in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(64 + i) for i in ids)


@pytest.fixture(scope="module")
def theirs() -> Subject:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    return Subject("llama", LlamaForCausalLM(config).eval().requires_grad_(False), Letters())


def test_the_thirteenth_feature_flips_a_linear_read_out() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.linalg.qr(torch.randn(64, 64, generator=generator))[0]  # 64 orthonormal directions
    read_out = rows[12]  # what the answer is read off: the direction that is ranked thirteenth
    state = torch.randn(64, generator=generator)
    state -= (state @ read_out) * read_out + 0.5 * read_out  # the answer is no
    found = smallest_k(lambda k: float((state + rows[:k].sum(0)) @ read_out) > 0, most=64)
    assert found.k == 13
    assert found.tried[:8] == (1, 2, 4, 8, 16, 12, 14, 13)
    assert found.steady


def test_answers_in_a_batch_are_those_of_each_prompt_alone(theirs: Subject) -> None:
    prompts = [theirs.encode(text) for text in ("one", "a longer one", "two words", "x y")]
    vector = 5 * torch.randn(32, generator=torch.Generator().manual_seed(1))
    for layer, added in ((None, None), (1, vector)):
        batch = generate_many(theirs, prompts, 8, layer, added)
        assert batch == [generate(theirs, ids, 8, layer, added) for ids in prompts]
        plain = []
        for ids in prompts:  # without a cache, the vector added anew in every pass at the same place
            from slowwave.probes.steering import _step_by_step

            plain += map(theirs.decode, _step_by_step(theirs, [ids], 8, layer, added, len(ids) - 1))
        assert batch == plain
    assert generate_many(theirs, prompts, 8, 1, vector) != generate_many(theirs, prompts, 8)


def test_a_random_vector_is_as_long_and_points_elsewhere() -> None:
    vector = torch.ones(500)
    other = random_like(vector, 3)
    assert float(other.norm()) == pytest.approx(float(vector.norm()), rel=1e-5)
    assert abs(float(torch.cosine_similarity(vector, other, dim=0))) < 0.2
    assert torch.equal(other, random_like(vector, 3))


def test_rules_see_their_trait_and_nothing_else() -> None:
    assert TRAITS["russia"].seen("The Kremlin stands there.")
    assert TRAITS["spanish"].seen("Hola, me gusta la casa de Ana")
    assert TRAITS["list"].seen("Sure:\n1. apples\n2. pears")
    english = "I had a walk in the park and saw 3 birds. It was nice - really."
    assert not any(trait.seen(english) for trait in TRAITS.values())
    assert not any(trait.seen(prompt) for trait in TRAITS.values() for prompt in NEUTRAL)
    assert trait_of("sea | Tell me of the sea. | sea|ocean") == Trait("sea", "Tell me of the sea.", "sea|ocean")
    with pytest.raises(InputError, match="give one of russia"):
        trait_of("joy")
    with pytest.raises(InputError, match="does not parse"):
        trait_of("x | y | (")


def test_what_is_chosen_is_told_on_other_prompts() -> None:
    model = Decoder(DecoderConfig(vocabulary=64, width=32, layers=3, heads=4, context=128), seed=0)
    subject = Subject("tiny", model.eval().requires_grad_(False), Letters())
    trait = Trait("letters", "ABC", r"[A-Z]")
    steering = Steering(subject, [trait], [0, 2], many=2, neutral=("aa", "bb", "cc"))
    found = steering.raw(trait)
    assert steering._choose == [subject.ask("aa")]
    assert found["n"] == 2
    assert set(found["tried"]) == {f"{layer}: {way} x {s:g}" for layer in (0, 2) for way, s in WAYS}
    assert 0 <= found["random"] <= found["random_most"] <= 1
    assert len(found["answers"]["raw vector"]) == 2
