"""Snapshots hold what was judged, whatever the nights before them were; what is damaged or was taken back is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slowwave.errors import FormatError, InputError, NotFoundError

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from teaching import ANA, fact, filled, snapshots, tiny  # noqa: E402

import slowwave.promote.weights.unlearning as unlearning  # noqa: E402
from slowwave.cli import main  # noqa: E402
from slowwave.models.causal import fake_causal  # noqa: E402
from slowwave.promote import load  # noqa: E402
from slowwave.promote.weights import Adapter  # noqa: E402

ROWS = torch.arange(60, 92)[None]


@pytest.fixture
def memory(tmp_path):
    with filled(tmp_path) as made:
        yield made


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(ROWS).logits


def taught(memory: Any, **given: Any) -> Adapter:
    """A night; the adapter, whose model is as it was judged."""
    adapter = tiny(**{"lr": 1e-2, **given})
    assert memory.sleep(into=adapter, **ANA).trained["active"]
    return adapter


def weights_of(tmp_path: Path) -> Path:
    lines = snapshots(tmp_path)
    return next(lines.path(lines.active.id).glob("*.safetensors"))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"protect": ["sa-proj"]}, {"protect": ["sa-proj"]}),
        ({"method": "full"}, {"method": "full", "modules": ["q_proj"]}),
        ({"method": "full", "protect": ["spurious-forgetting"]},) * 2,
    ],
)
def test_a_second_night_is_loaded_as_it_was_judged(tmp_path, memory, first, second):
    for given, new in ((first, "Noma"), (second, "Luba")):
        adapter = taught(memory, **given)
        model, _ = load(tmp_path / "ana.db", model=fake_causal())
        torch.testing.assert_close(logits(model), logits(adapter.model[0]), atol=1e-4, rtol=1e-4)
        fact(memory, new, "home", "Cork")


def test_a_selection_of_projections_leaves_what_lies_beneath_an_adapter(memory):
    adapter = taught(memory, protect=["sa-proj"])
    bare = dict(fake_causal()[0].named_parameters())
    now = dict(adapter.model[0].named_parameters())
    assert all(torch.equal(p, bare[n.replace(".base_layer", "")]) for n, p in now.items() if ".lora_" not in n)
    fact(memory, "Noma", "home", "Cork")
    for method in ("factorize-centralize", "sparse-memory-finetuning"):
        with pytest.raises(InputError, match="leave sa-proj out"):
            memory.sleep(into=tiny(method=method, protect=["sa-proj"]), **ANA)


def test_another_alpha_would_scale_what_was_learned_and_is_refused(memory):
    taught(memory, alpha=16.0)
    fact(memory, "Noma", "home", "Cork")
    with pytest.raises(InputError, match="alpha 16 and this one 64"):
        memory.sleep(into=tiny(alpha=64.0), **ANA)
    taught(memory, alpha=16.0)


def test_what_protects_may_change_from_night_to_night(memory):
    for place, protect in enumerate((["ewc"], ["spurious-forgetting", "ewc"], ["ewc", "sa-proj"], [], ["ewc"])):
        taught(memory, protect=protect)
        fact(memory, f"Noma{'abcde'[place]}", "home", "Cork")


def test_a_model_in_memory_serves_one_night(memory):
    adapter = taught(memory)
    fact(memory, "Noma", "home", "Cork")
    with pytest.raises(InputError, match="load it anew"):
        memory.sleep(into=adapter, **ANA)


@pytest.mark.parametrize("method", ["lora", "full", "sparse-memory-finetuning"])
def test_weights_that_are_not_those_of_the_hash_are_refused(tmp_path, memory, method):
    taught(memory, method=method, lr=1e-2 if method != "sparse-memory-finetuning" else 1.0)
    file = weights_of(tmp_path)
    words = bytearray(file.read_bytes())
    words[-3] ^= 0x40
    file.write_bytes(bytes(words))
    with pytest.raises(FormatError, match="not those that 0001"):
        load(tmp_path / "ana.db", model=fake_causal())
    fact(memory, "Noma", "home", "Cork")
    with pytest.raises(FormatError, match="roll back"):
        memory.sleep(into=tiny(method=method), **ANA)
    file.write_bytes(bytes(words[:100]))
    with pytest.raises(FormatError, match="roll back"):
        load(tmp_path / "ana.db", model=fake_causal())


def test_guards_whose_file_is_damaged_say_so(tmp_path, memory):
    taught(memory, protect=["ewc"])
    (weights_of(tmp_path).parent / "methods.pt").write_bytes(b"x")
    fact(memory, "Noma", "home", "Cork")
    with pytest.raises(FormatError, match=r"methods\.pt cannot be read"):
        memory.sleep(into=tiny(protect=["ewc"]), **ANA)


def test_a_snapshot_that_cannot_be_read_stops_an_erasure_before_anything_is_gone(tmp_path, memory):
    taught(memory)
    (weights_of(tmp_path).parent / "snapshot.json").write_text("{")
    one = memory.list(**ANA)[0].id
    with pytest.raises(FormatError, match="no description of a snapshot"):
        memory.erase(one, **ANA)
    assert memory.get(one, **ANA).id == one


def test_a_mark_is_taken_back_with_what_it_was_for(tmp_path, memory, capsys):
    taught(memory)
    where = ("--db", str(memory.path), "--user-id", "ana", "--embedder", "fake")
    one = memory.list(**ANA)[0].id
    memory.forget(one, **ANA)
    assert main(["adapters", "list", *where]) == 0
    assert main(["adapters", "show", "0001", *where]) == 0
    assert snapshots(tmp_path).active.marks == {one: "forgotten"}
    memory.undo(**ANA)
    assert main(["adapters", "retrain", *where]) == 0
    assert "nothing that the active snapshot holds has changed" in capsys.readouterr().out
    assert snapshots(tmp_path).active.marks == {}


def test_a_parent_that_was_removed_is_told_and_the_bare_model_can_be_had(tmp_path, memory, capsys):
    taught(memory)
    fact(memory, "Noma", "home", "Cork")
    taught(memory)
    lines = snapshots(tmp_path)
    lines.remove("0001")
    with pytest.raises(NotFoundError, match=r"from which 0002-.* was removed"):
        lines.rollback()
    where = ("--db", str(memory.path), "--user-id", "ana", "--embedder", "fake")
    assert main(["adapters", "rollback", "--force", *where]) == 0
    assert "the bare model is in use" in capsys.readouterr().out
    assert lines.active is None


def test_dampening_goes_on_until_something_was_dampened_and_names_a_parent_that_is_there(tmp_path, memory, monkeypatch):
    monkeypatch.setattr(unlearning, "adapter_of", lambda snapshot, model=None: tiny(lr=1e-2, epochs=3))
    taught(memory, epochs=3)
    fact(memory, "Noma", "home", "Cork")
    taught(memory, epochs=3)
    before = snapshots(tmp_path).active
    assert memory.erase(memory.list(**ANA)[0].id, adapters="dampen", **ANA).adapters == ()
    after = snapshots(tmp_path).active
    assert after.metrics["share dampened"] > 0
    assert after.hash != before.hash
    assert after.metrics["membership after"] < after.metrics["membership before"]
    assert after.parent is None  # the first night held it too, and is gone
    assert snapshots(tmp_path).rollback() is None


def test_dampening_that_can_dampen_nothing_is_refused(tmp_path, memory, monkeypatch):
    monkeypatch.setattr(unlearning, "adapter_of", lambda snapshot, model=None: tiny())
    monkeypatch.setattr(unlearning, "ALPHAS", (1e9,))
    taught(memory)
    receipt = memory.erase(memory.list(**ANA)[0].id, adapters="dampen", **ANA)
    assert "no weight could be dampened" in receipt.unlearned[0]
    assert receipt.adapters


@pytest.mark.parametrize(
    "given",
    [
        {"lr": "fast"}, {"lr": -1}, {"lr": True}, {"rank": 2.5}, {"epochs": 1.5}, {"batch": 2.5}, {"most": 1.5},
        {"known": 1.5}, {"seed": -1}, {"seed": "a"}, {"alpha": -4}, {"alpha": "x"}, {"modules": "q_proj"},
        {"protect": "ewc"}, {"kinds": "fact"}, {"method": ["lora"]}, {"filters": "x"}, {"general": 5}, {"folder": 5},
        {"keep": 5},
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_is_named(given):
    with pytest.raises(InputError, match=next(iter(given))):
        Adapter("model.gguf", **given)


def test_modules_that_the_model_has_not_are_named(memory):
    for method in ("lora", "full"):
        with pytest.raises(InputError, match=r"nope|name modules that the model has"):
            memory.sleep(into=tiny(method=method, modules=["nope"]), **ANA)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_lowest_blocks_stay_from_the_first_night_on(memory, method):
    rates = {"lr": 1e-2, "method": method, "protect": ["spurious-forgetting"]}
    adapter = taught(memory, **rates)
    model, bare = adapter.model[0], fake_causal()[0]
    lowest, upper = model.model.layers[0], model.model.layers[1]
    assert torch.equal(model.model.embed_tokens.weight, bare.model.embed_tokens.weight)
    if method == "full":
        for mine, theirs in zip(lowest.parameters(), bare.model.layers[0].parameters(), strict=True):
            assert torch.equal(mine, theirs)
        assert not torch.equal(upper.mlp.up_proj.weight, bare.model.layers[1].mlp.up_proj.weight)
    else:
        assert not lowest.mlp.up_proj.lora_B["default"].weight.any()
        assert upper.mlp.up_proj.lora_B["default"].weight.any()
