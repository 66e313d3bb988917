"""Text as keys and values: exact where it can be, at the right positions, kept whole or not at all, and let go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slowwave import Memory
from slowwave.errors import FormatError, InputError, ModelError, ModelMissingError
from slowwave.promote import files

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


from slowwave.models.causal import FakeByteTokenizer, fake_causal  # noqa: E402
from slowwave.promote.block import CHUNK, Block, read, write  # noqa: E402
from slowwave.promote.kv import KeyValues, told  # noqa: E402
from slowwave.state.kernels.sparse import strongest  # noqa: E402

ANA = {"user_id": "ana"}
QUESTION = "\nWhere does Ana live?"


@pytest.fixture
def memory(tmp_path):
    with Memory(tmp_path / "ana.db", embedder="fake") as made:
        for n, text in enumerate(("I live in Porto.", "Clara plays the cello.", "Our dog is called Bica.")):
            made.add(text, speaker="Ana", at=f"2024-01-0{n + 1}", **ANA)
        yield made


@pytest.fixture
def engrams(memory):
    return list(memory.list(**ANA))


def plain(kv: KeyValues, engrams: list[Any], question: str = QUESTION) -> Any:
    """The logits of the same tokens in one prompt, of the question's part."""
    ids, asked = kv.ids(engrams), kv.frozen.encode(question)
    return kv.frozen.forward(ids + asked)[len(ids) :]


def test_a_joint_block_gives_the_logits_of_the_same_prompt(engrams):
    kv = KeyValues(*fake_causal(), dtype="float32")
    attended = kv.attend(engrams, joint=True)
    assert attended.length == attended.kept == len(kv.ids(engrams))
    torch.testing.assert_close(attended.logits(QUESTION), plain(kv, engrams), atol=1e-4, rtol=1e-4)


def test_with_one_layer_blocks_that_never_met_are_exact_too_in_any_order(engrams):
    kv = KeyValues(*fake_causal(layers=1), dtype="float32")
    for order in (engrams, engrams[::-1], [engrams[2]]):
        torch.testing.assert_close(kv.attend(order).logits(QUESTION), plain(kv, order), atol=1e-4, rtol=1e-4)


def test_with_two_layers_they_differ_from_a_prompt_but_one_record_does_not(engrams):
    kv = KeyValues(*fake_causal(), dtype="float32")
    one = [engrams[0]]
    torch.testing.assert_close(kv.attend(one).logits(QUESTION), plain(kv, one), atol=1e-4, rtol=1e-4)
    assert (kv.attend(engrams).logits(QUESTION) - plain(kv, engrams)).abs().max() > 1e-3


def test_no_memory_is_the_opening_alone():
    kv = KeyValues(*fake_causal())
    torch.testing.assert_close(kv.attend([]).logits(QUESTION), plain(kv, []), atol=1e-4, rtol=1e-4)


def test_asking_changes_nothing_and_generation_follows_the_logits(engrams):
    kv = KeyValues(*fake_causal())
    attended = kv.attend(engrams)
    before = attended.logits(QUESTION)
    said = attended.generate(QUESTION, max_new_tokens=5, stop="")
    assert torch.equal(before, attended.logits(QUESTION))
    assert said.startswith(kv.frozen.tokenizer.decode([int(before[-1].argmax())]))


def test_memory3_keeps_what_draws_most_attention_spread_over_chunks():
    torch.manual_seed(1)
    q, k = torch.randn(4, 300, 8), torch.randn(2, 300, 8)
    q[:, :, 0] += 3  # what all queries look for
    k[0, [3, 150], 0] = k[1, [7, 299], 0] = 9
    places = strongest(q, k, 8, CHUNK)
    assert places.shape == (2, 8 + 8 + 3)  # 128, 128, and 44 of 300: 8 of each 128, rounded up
    assert (places.diff(dim=-1) > 0).all()
    assert {3, 150} <= set(places[0].tolist())
    assert {7, 299} <= set(places[1].tolist())


def test_chosen_follows_the_printed_sum():
    torch.manual_seed(2)
    q, k = torch.randn(2, 20, 4), torch.randn(1, 20, 4)
    sums = torch.exp(torch.einsum("gid,jd->gij", q, k[0]) / 2).sum((0, 1))
    expected = sums.topk(2).indices.sort().values
    assert torch.equal(strongest(q, k, 8, CHUNK)[0], expected)


def test_a_sparse_block_attends_to_fewer_tokens_and_goes_on_at_the_same_position(engrams):
    kv = KeyValues(*fake_causal(), keep=32)
    attended = kv.attend(engrams)
    assert attended.length == len(kv.ids(engrams))
    opening = len(kv.frozen.encode(kv.opening))
    assert attended.kept == opening + sum(-(-len(kv.frozen.encode(told(e))) // 4) for e in engrams)
    assert KeyValues(*fake_causal(), keep=128).attend(engrams).kept == attended.length


def test_blocks_are_kept_and_read_again_bit_for_bit(tmp_path, engrams):
    folder = tmp_path / "blocks"
    first = KeyValues(*fake_causal(), folder=folder)
    before = first.attend(engrams).logits(QUESTION)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 3
    assert all(name.endswith(".kv") for name in names)
    again = KeyValues(*fake_causal(), folder=folder)
    again.frozen.project = None  # whoever encodes now fails
    assert torch.equal(again.attend(engrams).logits(QUESTION), before)


def test_another_model_or_setting_never_reads_them(tmp_path, engrams):
    folder = tmp_path / "blocks"
    KeyValues(*fake_causal(), folder=folder).attend(engrams)
    other, _ = fake_causal()
    with torch.no_grad():
        other.model.layers[0].mlp.up_proj.weight[0, 0] += 1
    for kv in (
        KeyValues(other, FakeByteTokenizer(), folder=folder),
        KeyValues(*fake_causal(), folder=folder, keep=8),
        KeyValues(*fake_causal(), folder=folder, opening="Notes:\n"),
    ):
        many = len(list(folder.iterdir()))
        kv.attend(engrams)
        assert len(list(folder.iterdir())) == many + 3


def test_a_damaged_block_is_made_again(tmp_path, engrams):
    folder = tmp_path / "blocks"
    kv = KeyValues(*fake_causal(), folder=folder)
    before = kv.attend(engrams).logits(QUESTION)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(kv.attend(engrams).logits(QUESTION), before)
    path = next(folder.iterdir())
    path.write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="delete it"):
        read(path, {})


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    block = Block(torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, dtype=torch.int32), 2, ("a",))

    def full(*_: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr("slowwave.promote.block.os.replace", full)
    with pytest.raises(OSError, match="no room"):
        write(block, tmp_path / "a.kv", {})
    assert list(tmp_path.iterdir()) == []


def test_dropping_a_record_takes_its_own_blocks_and_those_it_shares(tmp_path, engrams):
    folder = tmp_path / "blocks"
    kv = KeyValues(*fake_causal(), folder=folder)
    kv.attend(engrams)
    kv.attend(engrams[:2], joint=True)
    kv.attend(engrams[1:], joint=True)
    assert kv.drop([engrams[0].id]) == 2
    left = [set(files.sources(path)) for path in files.blocks(folder)]
    assert len(left) == 3
    assert not any(engrams[0].id in found for found in left)
    assert files.drop(folder, []) == files.drop(tmp_path / "nowhere", ["x"]) == 0


def test_a_joint_block_that_nobody_can_read_goes_with_any_erasure(tmp_path):
    (tmp_path / "joint-abc.kv").write_bytes(b"\xff" * 40)
    assert files.drop(tmp_path, ["anything"]) == 1


def test_bad_input_is_told(tmp_path, engrams):
    model, _ = fake_causal()
    with pytest.raises(InputError, match="tokenizer"):
        KeyValues(model)
    with pytest.raises(InputError, match="keep is 0"):
        KeyValues(model, FakeByteTokenizer(), keep=0)
    with pytest.raises(InputError, match="float64"):
        KeyValues(model, FakeByteTokenizer(), dtype="float64")
    with pytest.raises(InputError, match="opening"):
        KeyValues(model, FakeByteTokenizer(), opening="")
    with pytest.raises(InputError, match="prompt"):
        KeyValues(model, FakeByteTokenizer()).attend(engrams).logits("")
    with pytest.raises(ModelMissingError, match="no file"):
        KeyValues.load(tmp_path / "none.gguf")
    with pytest.raises(ModelError, match="the model reads 1024"):
        KeyValues(model, FakeByteTokenizer()).attend(engrams * 20)


def test_what_the_tokenizer_puts_before_a_text_stands_first(engrams):
    class Marking(FakeByteTokenizer):
        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            return [1] * add_special_tokens + super().encode(text)

    kv = KeyValues(fake_causal()[0], Marking(), dtype="float32")
    assert kv.ids(engrams)[0] == 1
    assert kv.ids(engrams).count(1) == 1
    made = kv.attend(engrams, joint=True)
    assert made.length == len(kv.ids(engrams))
    assert torch.allclose(made.logits(QUESTION), plain(kv, engrams), atol=1e-3)


def test_a_prompt_beyond_the_model_s_window_is_refused(engrams):
    attended = KeyValues(*fake_causal()).attend(engrams)
    room = 1024 - attended.length
    assert attended.logits([5] * room).shape[0] == room
    with pytest.raises(ModelError, match=f"a prompt of {room + 1} are more than the 1024"):
        attended.logits([5] * (room + 1))
    with pytest.raises(ModelError, match="an answer of up to 12"):
        attended.generate([5] * (room - 10), max_new_tokens=12)
    assert attended.generate([5] * (room - 10), max_new_tokens=11, stop="") is not None


@pytest.mark.parametrize("keep", [0, 2.5, 129, 500])
def test_tokens_that_cannot_be_kept_of_128_are_told(keep):
    with pytest.raises(InputError, match=f"keep is {keep}"):
        KeyValues(*fake_causal(), keep=keep)


def test_a_model_whose_layers_slide_is_refused():
    config = transformers.MistralConfig(
        vocab_size=256, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=16,
    )  # fmt: skip
    with pytest.raises(ModelError, match="do not see a whole memory"):
        KeyValues(transformers.MistralForCausalLM(config), FakeByteTokenizer())


def test_a_rotation_that_is_not_known_is_refused(monkeypatch):
    model, _ = fake_causal()
    monkeypatch.setattr("slowwave.promote.projecting.Projecting.rotate", lambda self, keys, positions: keys)
    with pytest.raises(ModelError, match="rotates its keys"):
        KeyValues(model, FakeByteTokenizer())


def test_a_header_names_the_records_but_not_their_words(tmp_path, engrams):
    folder = tmp_path / "blocks"
    KeyValues(*fake_causal(), folder=folder).attend(engrams, joint=True)
    path = next(files.blocks(folder))
    assert files.header(path)["engrams"] == [engram.id for engram in engrams]
    assert "Porto" not in json.dumps(files.header(path))
    assert b"Porto" not in path.read_bytes()


@pytest.mark.parametrize("path", [":memory:", "postgresql://host/db"])
def test_what_has_no_file_has_no_folder(path):
    assert files.folder_of(path) is None
    assert files.folder_of("ana.db") == Path("ana.db.kv")
