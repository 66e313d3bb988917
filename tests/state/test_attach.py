"""A model with a memory beside it: it reads, is asked, is saved and goes on; what cannot be opened is refused."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")
transformers = pytest.importorskip("transformers", reason="needs transformers")

from slowwave.errors import FormatError, InputError, ModelError, ModelMismatchError, ModelMissingError  # noqa: E402
from slowwave.models.causal import FakeByteTokenizer, fake_causal  # noqa: E402
from slowwave.state import attach  # noqa: E402
from slowwave.state.attending import Look  # noqa: E402
from slowwave.state.files import source_of  # noqa: E402

SMALL: dict[str, dict[str, Any]] = {
    "em-llm": {"local": 24, "sinks": 2, "retrieve": 16, "block": 8, "window": 16, "least": 2, "most": 8},
    "memory-3": {"reference": 8, "keep": 2, "block": 8, "local": 16},
    "memory-llm": {"slots": 12, "update": 4, "block": 8},
    "m-plus": {"slots": 8, "update": 4, "block": 8, "fetch": 3, "capacity": 40},
}
TEXT = "The lamp stood on the third shelf, and nobody had lit it since the winter of the great flood. " * 2


@pytest.mark.parametrize("system", sorted(SMALL))
def test_it_reads_is_asked_and_goes_on_after_loading(system: str, tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = attach(fake_causal(), system, **SMALL[system])
    told = []
    assert model.write(TEXT, progress=lambda done, of: told.append((done, of))) == len(TEXT.encode())
    assert told[-1] == (model.tokens, model.tokens)
    before = model.state
    said = model.generate("Where?", max_new_tokens=6, stop="")
    assert model.state is before
    assert model.generate("Where?", max_new_tokens=6, stop="") == said
    model.save(tmp_path / "a.state")
    torch.manual_seed(0)
    again = attach(fake_causal(), system, **SMALL[system])
    again.load(tmp_path / "a.state")
    assert again.generate("Where?", max_new_tokens=6, stop="") == said
    model.write(" And then?")
    again.write(" And then?")
    for name, leaf in model.state.leaves().items():
        assert torch.equal(leaf, again.state.leaves()[name]), name
    kept = again.tokens
    again.generate("Where?", max_new_tokens=3, stop="", keep=True)
    assert again.tokens == kept + 6 + 3
    again.sleep()
    again.reset()
    assert again.tokens == 0


def test_a_short_text_is_answered_as_transformers_answers() -> None:
    model, tokenizer = fake_causal()
    prompt = torch.tensor([tokenizer.encode("A short prompt.")])
    wanted = model.generate(prompt, max_new_tokens=7, do_sample=False, pad_token_id=0)[0, prompt.shape[1] :]
    attached = attach(model, "em-llm", tokenizer, **SMALL["em-llm"])
    said, _ = attached.reader.generate(prompt, max_new_tokens=7)
    assert said[0].tolist() == wanted.tolist()
    assert torch.allclose(attached.logits(prompt[0].tolist()), model(prompt).logits[0], atol=1e-3)
    assert model.config._attn_implementation == "sdpa", "the model was left changed"


def test_what_was_read_is_kept_beside_the_state_where_it_is_asked_for(tmp_path: Any) -> None:
    path = tmp_path / "a.state"
    model = attach(fake_causal()[0], "em-llm", Marking(), keep_source=True, **SMALL["em-llm"])
    model.write("The lamp ")
    model.write("stood.")
    said = model.generate("Where?", max_new_tokens=2, stop="", keep=True)
    model.save(path)
    assert source_of(path) == model.source()
    assert str(source_of(path)).startswith("The lamp stood.Where?")
    again = attach(fake_causal()[0], "em-llm", Marking(), keep_source=True, **SMALL["em-llm"])
    again.load(path)
    assert again.source() == model.source()
    other = attach(fake_causal(seed=5)[0], "em-llm", Marking(), **SMALL["em-llm"])
    with pytest.raises(ModelMismatchError, match=r"made of 'The lamp stood\.Where\?.*source_of"):
        other.load(path)
    other.write(str(source_of(path)))
    assert other.source() is None
    assert other.tokens >= model.tokens - 2
    model.reset()
    assert model.source() == ""
    assert said is not None


def test_a_state_is_saved_with_the_ids_that_it_was_made_of(tmp_path: Any) -> None:
    model = attach(fake_causal()[0], "em-llm", **SMALL["em-llm"])
    model.write([3, 4])
    model.save(tmp_path / "a.state", source=["e1", "e2"])
    assert source_of(tmp_path / "a.state") == ["e1", "e2"]
    model.save(tmp_path / "b.state")
    assert source_of(tmp_path / "b.state") is None
    with pytest.raises(InputError, match="ids of records"):
        model.save(tmp_path / "c.state", source=[1.5])
    bare = attach(fake_causal()[0], "em-llm", keep_source=True, **SMALL["em-llm"])
    bare.write([3, 4])
    bare.save(tmp_path / "d.state")
    assert source_of(tmp_path / "d.state") == [3, 4]


class Marking(FakeByteTokenizer):
    """Puts token 1 before every text, as Llama's does."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [1] * add_special_tokens + super().encode(text)


def test_what_the_tokenizer_puts_before_a_text_stands_once_before_a_stream() -> None:
    attached = attach(fake_causal()[0], "em-llm", Marking(), **SMALL["em-llm"])
    assert attached.encode("ab").tolist() == [[1, 97, 98]]
    assert attached.encode([97, 98]).tolist() == [[97, 98]], "ids are taken as they are"
    assert attached.logits("ab").shape == (3, 256)
    assert attached.write("ab") == 3
    assert attached.write("cd") == 2
    assert attached.logits("ab").shape == (2, 256)
    attached.reset()
    assert attached.write("ab") == 3
    assert attached.encode("").shape == (1, 0)


@pytest.mark.parametrize("system", sorted(SMALL))
def test_a_long_prompt_is_read_in_blocks_and_expects_what_is_then_said(system: str) -> None:
    model = attach(fake_causal(), system, **SMALL[system])
    model.write(TEXT)
    base, before = model.reader.base_model, model.state
    longest, through = [], base.through
    base.through = lambda ids, look: longest.append(ids.shape[1]) or through(ids, look)  # type: ignore[func-returns-value]
    for length in (3, 8, 61):
        prompt = (list(range(40, 90)) * 2)[:length]
        logits = model.logits(prompt)
        assert logits.shape == (length, 256)
        said, _ = model.reader.generate(torch.tensor([prompt]), model.state, 1)
        assert int(logits[-1].argmax()) == int(said[0, 0])
    assert max(longest) <= SMALL[system]["block"]
    assert model.state is before


def test_a_prompt_that_is_all_in_context_is_answered_as_in_one_view() -> None:
    model, tokenizer = fake_causal()
    attached = attach((model, tokenizer), "em-llm", **{**SMALL["em-llm"], "local": 90})
    prompt = torch.arange(80)
    assert torch.allclose(attached.logits(prompt), model(prompt[None]).logits[0], atol=1e-3)


def test_what_was_attached_to_stays_as_it_was() -> None:
    model, tokenizer = fake_causal()
    model.train()
    attached = attach((model, tokenizer), "memory-llm", **SMALL["memory-llm"])
    attached.write(TEXT)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert not attached.reader.base_model.model.training
    assert not any(p.requires_grad for p in attached.reader.parameters())
    assert next(model.parameters()).data_ptr() == next(attached.reader.parameters()).data_ptr(), "weights were copied"
    before = attached.reader.base_model.fingerprint
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(2)
    assert attached.reader.base_model.fingerprint != before, "a model that was trained further is another one"


@pytest.mark.parametrize("other", ["plain", "read", "asked"])
def test_one_thread_reads_while_another_calls_the_same_model(other: str) -> None:
    model, tokenizer = fake_causal()
    attached = attach((model, tokenizer), "memory-llm", **SMALL["memory-llm"])
    base, ids = attached.reader.base_model, torch.arange(9)[None]
    calls = {"plain": lambda: model(ids).logits, "read": lambda: base.through(ids, Look(base)),
             "asked": lambda: attached.reader(ids).y}  # fmt: skip
    wanted, found = calls[other](), []
    alone = attached.reader(torch.arange(30)[None]).y

    class Meanwhile(Look):
        def enter(self, layer: int, hidden: Any) -> Any:
            thread = Thread(target=lambda: found.append(calls[other]()))
            thread.start()
            thread.join()
            return hidden

    base.through(torch.arange(5)[None], Meanwhile(base))
    assert len(found) == 2
    assert all(torch.equal(one, wanted) for one in found)
    assert torch.equal(attached.reader(torch.arange(30)[None]).y, alone)


def test_a_state_belongs_to_one_model_system_and_settings(tmp_path: Any) -> None:
    model = attach(fake_causal(), "em-llm", **SMALL["em-llm"])
    model.write(TEXT)
    path = tmp_path / "a.state"
    model.save(path)
    with pytest.raises(ModelMismatchError, match="wrap the same model"):
        attach(fake_causal(seed=5), "em-llm", **SMALL["em-llm"]).load(path)
    with pytest.raises(ModelMismatchError, match="retrieve"):
        attach(fake_causal(), "em-llm", **{**SMALL["em-llm"], "retrieve": 8}).load(path)
    with pytest.raises(ModelMismatchError, match="em-llm"):
        attach(fake_causal(), "memory-3", **SMALL["memory-3"]).load(path)
    with torch.no_grad():
        model.reader.base_model.model.model.layers[0].mlp.up_proj.weight.mul_(2)
    with pytest.raises(ModelMismatchError, match="wrap the same model"):
        model.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(FormatError, match="not a state"):
        model.load(path)


def test_models_that_cannot_be_opened_are_refused() -> None:
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    gpt = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2))
    with pytest.raises(ModelError, match="rotary"):
        attach(gpt)
    slides = transformers.MistralForCausalLM(
        transformers.MistralConfig(**sizes, num_key_value_heads=1, intermediate_size=16, sliding_window=8)
    )
    with pytest.raises(ModelError, match="whole memory"):
        attach(slides)
    with pytest.raises(InputError, match="get_input_embeddings"):
        attach(torch.nn.Linear(2, 2))
    with pytest.raises(ModelMissingError, match="no file"):
        attach("nowhere.gguf")


@pytest.mark.parametrize("kind", ["Qwen2", "Qwen3"])
def test_other_rotary_models_are_opened(kind: str) -> None:
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=50, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=4,
    )  # fmt: skip
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    ids = torch.randint(50, (40,)).tolist()
    for system, settings in SMALL.items():
        attached = attach(model, system, **settings)
        assert attached.write(ids) == 40
        assert attached.logits(ids[:5]).shape == (5, 50)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("system", sorted(SMALL))
def test_a_model_in_half_precision_is_opened_and_its_state_goes_on(system: str, dtype: str, tmp_path: Any) -> None:
    model, tokenizer = fake_causal()
    torch.manual_seed(0)
    attached = attach((model.to(getattr(torch, dtype)), tokenizer), system, **SMALL[system])
    assert model.config._attn_implementation == "sdpa"
    attached.write(TEXT)
    assert attached.logits("Where?").isfinite().all()
    attached.save(tmp_path / "a.state")
    said = attached.generate("Where?", max_new_tokens=4, stop="")
    attached.load(tmp_path / "a.state")
    assert attached.generate("Where?", max_new_tokens=4, stop="") == said


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_rotation_that_is_not_known_is_refused(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = fake_causal()
    monkeypatch.setattr("slowwave.state.attending.Attending.rotate", lambda self, x, positions: x)
    with pytest.raises(ModelError, match="not known here"):
        attach((model.to(getattr(torch, dtype)), tokenizer), "em-llm")


@pytest.mark.parametrize("system", sorted(SMALL))
def test_no_stream_passes_the_reach_and_one_beyond_the_model_is_refused(system: str) -> None:
    model = attach(fake_causal(), system, **SMALL[system])
    seen = []
    rotary = model.reader.base_model.angles

    def noted(places: Any) -> Any:
        seen.append(int(places.max()))
        return rotary(places)

    model.reader.base_model.angles = noted
    model.write(list(range(250)) * 2)
    assert model.reader.reach() // 2 < max(seen) + 1 <= model.reader.reach()
    short, tokenizer = fake_causal()
    short.config.max_position_embeddings = model.reader.reach() - 1
    with pytest.raises(InputError, match=f"takes {model.reader.reach()} positions in these sizes"):
        attach((short, tokenizer), system, **SMALL[system])


def test_bad_input_is_told() -> None:
    with pytest.raises(InputError, match="em-llm, memory-llm, m-plus, memory-3"):
        attach(fake_causal(), "titans")
    with pytest.raises(InputError, match="it has local"):
        attach(fake_causal(), "em-llm", looks=3)
    model = attach(fake_causal()[0], "em-llm", **SMALL["em-llm"])
    with pytest.raises(InputError, match="tokenizer"):
        model.write("words")
    with pytest.raises(InputError, match="each below 256"):
        model.write([3, 256])
    with pytest.raises(InputError, match="ask something"):
        model.generate([], stop="")
    with pytest.raises(InputError, match="this is None"):
        model.write(None)
    with pytest.raises(InputError, match="max_new_tokens is -1"):
        model.generate([3], max_new_tokens=-1, stop="")
    assert model.write([]) == 0
