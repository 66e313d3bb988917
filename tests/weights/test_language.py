"""Language models, ours and those of transformers, learn facts day by day, with adapters that peft reads."""

from __future__ import annotations

import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.weights import Learner, adapters
from slowwave.weights.factorize_centralize import FactorizeCentralize
from slowwave.weights.lessons import TOLD, Words, answers, days, invented, statements
from slowwave.weights.metrics import Perplexity
from slowwave.weights.sa_proj import SAProj
from slowwave.weights.sparse_memory_finetuning import SparseMemoryFinetuning, memory_of
from slowwave.weights.spurious_forgetting import Freeze
from slowwave.weights.vectors import trainable

FACTS = invented(6, seed=1, attributes=("city", "pet"))
WORDS = Words(" ".join(f.told(w)) for f in FACTS for w in range(4))


def decoder(seed: int = 0) -> Decoder:
    return Decoder(DecoderConfig(len(WORDS), width=32, layers=2, heads=4, context=16, tied=False), seed)


def llama() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False,
        )  # fmt: skip
        return LlamaForCausalLM(config)


def test_answers_are_scored_alone_and_statements_whole() -> None:
    batch = answers([("a b", "c"), ("a", "b c")], Words(["a b c"]).encode)
    assert batch.x.tolist() == [[2, 3, 4], [2, 3, 4]]
    assert batch.y.tolist() == [[-100, -100, 4], [-100, 3, 4]]
    batch = statements(["a b", "a"], Words(["a b c"]).encode, end=1)
    assert batch.x.tolist() == [[2, 3, 1], [2, 1, -1]]
    assert batch.y.tolist() == [[2, 3, 1], [2, 1, -100]]
    with pytest.raises(InputError, match="at least two tokens"):
        statements(["a"], Words(["a"]).encode)


def test_people_are_invented_once_and_held_out_wordings_are_never_taught() -> None:
    assert len({fact.person for fact in invented(50)}) == 50
    assert invented(5, seed=3) == invented(5, seed=3)
    assert all(wordings[-1].endswith("{v}") for wordings in TOLD.values())
    stream = days(FACTS, 3, WORDS.encode, WORDS.end)
    taught = {tuple(row[row >= 0].tolist()[:-1]) for e in stream for row in e.load().x}
    asked = {tuple(row[row >= 0].tolist()) for test in stream.tests for row in test().x}
    assert not taught & asked
    assert stream.experiences[0].ids[0] == FACTS[0].id
    with pytest.raises(InputError, match="do not make 99 days"):
        days(FACTS, 99, WORDS.encode)


def test_a_decoder_learns_facts_day_by_day_and_replay_keeps_them() -> None:
    stream, ends = days(FACTS, 2, WORDS.encode, WORDS.end), {}
    for name in ("naive", "replay"):
        learner = Learner(decoder(), [name], optimiser="adamw", lr=3e-3, batch=12, epochs=20, clip=1.0)
        record = learner.learn(stream)
        trained = learner.score(stream.experiences[0].load())
        ends[name] = (trained, record)
    assert ends["replay"][0] >= ends["naive"][0]
    assert ends["replay"][1].matrix[-1][1] >= 0.3  # in a wording never seen
    assert ends["replay"][1].before[1] < 0.3


def test_a_model_of_transformers_learns_and_perplexity_falls() -> None:
    stream = days(FACTS, 1, WORDS.encode, WORDS.end)
    rows = stream.experiences[0].load().x
    learner = Learner(
        llama(), ["replay"], optimiser="adamw", lr=3e-3, batch=12, guards={"perplexity": Perplexity(rows)}
    )
    before = Perplexity(rows)(learner.model)
    learner.epochs = 10
    record = learner.learn(stream)
    assert record.guards[0]["perplexity"] < 0.5 * before
    assert learner.data == [tuple(fact.id for fact in FACTS)]


def test_methods_on_blocks_find_them_in_a_model_of_transformers() -> None:
    frozen = Freeze(layers=1).frozen(Learner(llama()))
    assert {name.split(".")[1] for name in frozen} == {"embed_tokens", "layers"}
    assert all(".0." in name for name in frozen if "layers" in name)
    chosen = set(trainable(Learner(llama(), [SAProj()]).model))
    assert {name.split(".")[-2] for name in chosen} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    learner = Learner(llama(), [SparseMemoryFinetuning(slots=64, top=4, train=8)], optimiser="adam", lr=0.05, batch=6)
    learner.learn(days(FACTS, 1, WORDS.encode))
    memory = memory_of(learner.model)
    assert memory is not None
    assert 0 < int((memory.values != 0).any(1).sum()) < 64


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")  # peft calls what transformers will rename
def test_adapters_of_a_model_of_transformers_go_to_peft_and_a_night_folds_them(tmp_path) -> None:
    from peft import PeftModel

    stream = days(FACTS, 2, WORDS.encode, WORDS.end)
    model = llama()
    layers = adapters.attach(model, rank=4, modules=("q_proj", "v_proj"))
    assert len(layers) == 6
    learner = Learner(model, optimiser="adamw", lr=1e-2, batch=12, epochs=3)
    learner.learn(stream.first(1))
    ids = stream.tests[0]().x.clamp_min(0)
    said = model(ids).logits.detach()
    adapters.write_peft(model, tmp_path)
    assert torch.allclose(PeftModel.from_pretrained(llama(), str(tmp_path))(ids).logits, said, atol=1e-5)
    nights = Learner(llama(), [FactorizeCentralize(rank=4)], optimiser="adamw", lr=1e-2, batch=12, epochs=3)
    nights.learn(stream)
    assert [set(report) for report in nights.reports] == [{"factorize-centralize"}] * 2
    assert nights.reports[0]["factorize-centralize"]["length"] > 0
