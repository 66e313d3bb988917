"""`Memory.context(form="kv")`: the same memories as keys and values; erased with the records, never read by others."""

from __future__ import annotations

import pytest

from slowwave import Memory
from slowwave.errors import InputError
from slowwave.promote import files

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


from slowwave.models.causal import fake_causal  # noqa: E402
from slowwave.promote.kv import KeyValues  # noqa: E402

ANA = {"user_id": "ana"}
ASK = {"threshold": 0, **ANA}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ana.db"


@pytest.fixture
def memory(path):
    with Memory(path, embedder="fake") as made:
        for n, text in enumerate(("I live in Porto.", "Clara plays the cello.", "Our dog is called Bica.")):
            made.add(text, speaker="Ana", at=f"2024-01-0{n + 1}", **ANA)
        yield made


def test_it_holds_the_memories_of_the_text_and_keeps_their_blocks_beside_the_file(memory, path):
    model = fake_causal()
    made = memory.context("Where does Ana live?", form="kv", model=model, **ASK)
    assert made.attended is not None
    assert set(made.attended.engrams) == {hit.id for hit in made.hits} == {e.id for e in memory.list(**ANA)}
    assert "Porto" in made.text
    assert len(list(files.blocks(files.folder_of(str(path))))) == 3
    again = memory.context("Where does Ana live?", form="kv", model=model, **ASK)
    assert again.attended is not None
    assert again.attended.frozen is made.attended.frozen
    assert torch.equal(again.attended.logits("?"), made.attended.logits("?"))


def test_one_block_of_the_whole_context_is_what_a_prompt_would_be(memory, path):
    kv = KeyValues(*fake_causal(), dtype="float32", folder=files.folder_of(str(path)))
    made = memory.context("Where does Ana live?", form="kv", model=kv, joint=True, **ASK)
    told = kv.ids(memory.list(**ANA))
    prompt = kv.frozen.forward(told + kv.frozen.encode("Where?"))[len(told) :]
    assert made.attended is not None
    assert torch.allclose(made.attended.logits("Where?"), prompt, atol=1e-3)
    (block,) = files.blocks(files.folder_of(str(path)))
    assert set(files.sources(block)) == {engram.id for engram in memory.list(**ANA)}
    apart = memory.context("Where does Ana live?", form="kv", model=kv, **ASK)
    assert apart.attended is not None
    assert not torch.allclose(apart.attended.logits("Where?"), prompt, atol=1e-3)
    with pytest.raises(InputError, match="joint is for form='kv'"):
        memory.context("Where does Ana live?", joint=True, **ASK)


def test_the_budget_is_in_the_model_s_tokens(memory):
    kv = KeyValues(*fake_causal())
    made = memory.context("Where does Ana live?", form="kv", model=kv, max_tokens=200, **ASK)
    assert made.attended is not None
    assert len(made.hits) < 3
    assert made.attended.length <= 200


def test_what_is_superseded_is_not_attended_to(memory):
    old = memory.list(**ANA)[0]
    memory.update(old.id, "I live in Lisbon.", **ANA)
    made = memory.context("Where does Ana live?", form="kv", model=fake_causal(), **ASK)
    assert made.attended is not None
    assert old.id not in made.attended.engrams
    assert len(made.attended.engrams) == 3


def test_an_erasure_takes_the_blocks_and_what_an_erasure_that_was_killed_left(memory, path):
    kv = KeyValues(*fake_causal())
    memory.context("Where does Ana live?", form="kv", model=kv, **ASK)
    memory.context("Where does Ana live?", form="kv", model=fake_causal(), **ASK)
    folder = files.folder_of(str(path))
    doomed, other = (engram.id for engram in memory.list(**ANA)[:2])
    memory.store.erase(memory.store.owner(other), [other])  # as if killed before the blocks went
    assert any(other in files.sources(block) for block in files.blocks(folder))
    assert memory.erase(doomed, **ANA).clean
    assert {id for block in files.blocks(folder) for id in files.sources(block)} == {memory.list(**ANA)[0].id}
    assert kv.drop([doomed]) == 0


def test_what_is_erased_while_it_is_encoded_leaves_no_block(memory, path, monkeypatch):
    attend = KeyValues.attend
    doomed = memory.list(**ANA)[0].id

    def slow(self, engrams, **given):
        memory.store.erase(memory.store.owner(doomed), [doomed])
        return attend(self, engrams, **given)

    monkeypatch.setattr(KeyValues, "attend", slow)
    memory.context("Where does Ana live?", form="kv", model=fake_causal(), **ASK)
    found = [id for block in files.blocks(files.folder_of(str(path))) for id in files.sources(block)]
    assert doomed not in found
    assert len(found) == 2


def test_a_model_that_was_trained_since_reads_no_block_of_what_it_was(memory):
    model = fake_causal()
    before = memory.context("Where does Ana live?", form="kv", model=model, **ASK).attended
    with torch.no_grad():
        for parameter in model[0].parameters():
            parameter.mul_(1.3)
    after = memory.context("Where does Ana live?", form="kv", model=model, **ASK).attended
    fresh = KeyValues(*model).attend(memory.list(**ANA))
    assert before is not None
    assert after is not None
    assert not torch.equal(after.values[0], before.values[0])
    assert all(torch.equal(a, b) for a, b in zip(after.values, fresh.values, strict=True))


def test_bad_input_is_told(memory):
    with pytest.raises(InputError, match="'text', or 'kv'"):
        memory.context("x", form="tensor", **ASK)
    with pytest.raises(InputError, match="needs model="):
        memory.context("x", form="kv", **ASK)
    with pytest.raises(InputError, match=r"a LlamaForCausalLM; give a KeyValues, \(model, tokenizer\)"):
        memory.context("x", form="kv", model=fake_causal()[0], **ASK)
    made = memory.context("x", form="kv", model=fake_causal(), **ASK)
    assert made.attended is not None
    with pytest.raises(InputError, match="max_new_tokens is -2"):
        made.attended.generate("x", max_new_tokens=-2)
    with pytest.raises(InputError, match="is for form='kv'"):
        memory.context("x", model="a.gguf", **ASK)
