"""A night that trains: taught, judged, kept whole or not at all; gone on with after a kill; rolled back; taken out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slowwave import Memory
from slowwave.errors import ConflictError, FormatError, InputError, ModelMissingError, NotFoundError

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from teaching import ANA, fact, filled, snapshots, tiny  # noqa: E402

from slowwave.cli import main  # noqa: E402
from slowwave.models.causal import fake_causal  # noqa: E402
from slowwave.promote import load  # noqa: E402
from slowwave.promote.weights import gate  # noqa: E402
from slowwave.promote.weights.general import General  # noqa: E402
from slowwave.promote.weights.lessons import lesson  # noqa: E402
from slowwave.promote.weights.student import Student  # noqa: E402
from slowwave.promote.weights.training import batch_of  # noqa: E402
from slowwave.weights.objective import NextToken  # noqa: E402

METHODS = ("lora", "full", "factorize-centralize", "sparse-memory-finetuning")
ROWS = torch.arange(60, 92)[None].repeat(2, 1)


@pytest.fixture
def memory(tmp_path):
    with filled(tmp_path) as made:
        yield made


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(ROWS).logits


@pytest.mark.parametrize("method", METHODS)
def test_two_nights_are_loaded_as_they_were_trained(tmp_path, memory, method):
    fast = {"method": method, "lr": 1.0 if "sparse" in method else 1e-2}
    first = memory.sleep(into=tiny(**fast), **ANA).trained
    assert first["active"]
    assert len(first["lessons"]) == 3
    new = fact(memory, "Noma", "home", "Cork")
    adapter = tiny(**fast)
    second = memory.sleep(into=adapter, **ANA).trained
    made = snapshots(tmp_path).active
    assert (made.parent, made.records[-1]) == (first["snapshot"]["id"], new)
    assert second["rehearsed"] == list(made.records[:3])
    model, _ = load(tmp_path / "ana.db", model=fake_causal())
    torch.testing.assert_close(logits(model), logits(adapter.model[0]), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(logits(model), logits(fake_causal()[0]), atol=1e-4)
    whole = sum(p.numel() for p in fake_causal()[0].parameters()) * 4
    light = sum(made.files[name] for name in made.files if name.endswith(".safetensors"))
    assert method == "full" or light < whole


def test_training_lowers_the_loss_of_what_is_taught(memory):
    adapter = tiny(epochs=8, lr=2e-2)
    taught = [lesson(one) for one in memory.list(**ANA)]
    aim, before = NextToken(), Student(tiny())
    batch = batch_of(taught, before)

    def loss(model: Any) -> float:
        with torch.no_grad():
            return float(aim.losses(aim.logits(model, batch), batch).mean())

    start = loss(before.model)
    memory.sleep(into=adapter, **ANA)
    assert loss(adapter.model[0]) < 0.8 * start


def test_a_night_repeats_to_the_bit(tmp_path):
    hashes = set()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        with Memory(tmp_path / place / "x.db", embedder="fake") as memory:
            fact(memory, "Bako", "home", "Ghent")
            hashes.add(memory.sleep(into=tiny(), **ANA).trained["snapshot"]["hash"])
    assert len(hashes) == 1


def test_the_gate_refuses_and_the_next_night_goes_on_from_what_was_good(tmp_path, memory):
    good = memory.sleep(into=tiny(), **ANA).trained["snapshot"]
    fact(memory, "Noma", "home", "Cork")
    bad = memory.sleep(into=tiny(held=1.0), **ANA).trained
    assert not bad["active"]
    assert "facts are held, 100% are asked for" in bad["snapshot"]["reason"]
    lines = snapshots(tmp_path)
    assert lines.active.id == good["id"]
    with pytest.raises(ConflictError, match="was refused"):
        lines.activate(bad["snapshot"]["id"])
    assert len(memory.sleep(into=tiny(), **ANA).trained["lessons"]) == 1  # what was refused is new again
    ops = memory.log(verb="train", **ANA)
    assert [row["params"]["accepted"] for row in ops] == [True, False, True]


def test_a_loss_above_the_budget_is_refused(memory):
    harm = memory.sleep(into=tiny(budget=0.0, lr=0.2, replay=0.0, epochs=2), **ANA).trained
    assert not harm["active"]
    assert "perplexity on guarded text rose by" in harm["snapshot"]["reason"]


def test_facts_count_as_held_only_for_their_own_name():
    words = {"held": gate.Asked(True, True, 0.9, False), "for all": gate.Asked(True, False, 0.9, True),
             "by lot": gate.Asked(True, True, 0.5, False)}  # fmt: skip
    assert [name for name, one in words.items() if one.held] == ["held"]
    verdict = gate.judged(words, ["held"], {"perplexity loss": 0.04, "known loss": 0.06}, 0.3, 0.05)
    assert (verdict.accepted, verdict.metrics["new held"], verdict.metrics["old held"]) == (False, 1.0, 0.0)
    assert verdict.reason == "facts known before fell by 6.0%, the budget is 5.0%"
    assert gate.judged(words, ["held"], {"perplexity loss": 0.04}, 0.3, 0.05).accepted
    assert gate.judged(words, ["held"], {"known loss": 1 - 190 / 200}, 0.3, 0.05).accepted  # 0.05 and a rounding


def test_the_divergence_is_zero_where_nothing_moved_and_grows_with_what_did():
    logits_ = torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(0))
    likely = torch.log_softmax(logits_, -1).topk(8, -1)
    general = General(torch.zeros(2, 5, dtype=torch.int64), likely.indices, likely.values, torch.zeros(0, 5))
    places = torch.tensor([0, 1])
    assert general.loss(logits_, places).abs() < 1e-6
    full = torch.log_softmax(logits_, -1)
    moved = torch.log_softmax(logits_ + torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(1)), -1)
    exact = (full.exp() * (full - moved)).sum(-1).mean()
    assert 0 < general.loss(moved, places) <= exact + 1e-6  # words taken together hide some of it


def test_half_of_what_is_rehearsed_of_ordinary_language_are_sentences():
    rows = torch.zeros(12, 5, dtype=torch.int64)
    empty = torch.zeros(0)
    some = General(rows, empty, empty, empty, texts=9).draw(np.random.default_rng(0), 6)
    assert sorted(some.tolist())[-3:] == [9, 10, 11]
    assert len(set(some.tolist())) == 6
    assert len(General(rows, empty, empty, empty).draw(np.random.default_rng(0), 6)) == 6
    assert len(General(rows, empty, empty, empty, texts=11).draw(np.random.default_rng(0), 6)) == 6


def test_general_knowledge_is_well_formed():
    found = gate.common()
    assert len(found) > 350
    assert len({one.text for one in found}) == len(found)
    assert all(one.cut()[0].strip() for one in found)


KILLED = """
import os, signal, sys
sys.path.insert(0, {here!r})
from teaching import ANA, tiny
from slowwave import Memory
def progress(stage, done, total):
    if stage == {stage!r} and done >= {done}:
        os.kill(os.getpid(), signal.SIGKILL)
with Memory({path!r}, embedder="fake") as memory:
    memory.sleep(into=tiny(epochs=3, save_every=2), progress=progress, **ANA)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_a_killed_night_leaves_nothing_active_and_goes_on_to_the_same_weights(tmp_path, memory):
    alone = tmp_path / "alone"
    alone.mkdir()
    memory.backup(alone / "ana.db")
    with Memory(alone / "ana.db", embedder="fake") as other:
        straight = other.sleep(into=tiny(epochs=3, save_every=2), **ANA).trained["snapshot"]
    script = KILLED.format(here=str(Path(__file__).parent), path=memory.path, stage="train", done=5)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    lines = snapshots(tmp_path)
    assert (lines.active, lines.list()) == (None, [])
    assert (lines.night / "state.pt").is_file()
    went_on = memory.sleep(into=tiny(epochs=3, save_every=2), **ANA).trained
    assert went_on["notes"] == ["a night that was killed went on from step 4 of 6"]
    assert went_on["snapshot"]["hash"] == straight["hash"]
    assert not lines.night.exists()


def test_a_night_of_another_plan_begins_anew(tmp_path, memory):
    lines = snapshots(tmp_path)
    lines.night.mkdir(parents=True)
    torch.save({"step": 1, "plan": "other", "learner": {}}, lines.night / "state.pt")
    assert memory.sleep(into=tiny(), **ANA).trained["notes"] == []


def test_rolling_back_comparing_and_removing(tmp_path, memory):
    first = memory.sleep(into=tiny(), **ANA).trained["snapshot"]
    fact(memory, "Noma", "home", "Cork")
    second = memory.sleep(into=tiny(), **ANA).trained["snapshot"]
    lines = snapshots(tmp_path)
    apart = lines.differences(first["id"], "0002")
    assert apart["records of the second alone"] == second["data"][1]
    assert not apart["same weights"]
    with pytest.raises(ConflictError, match="is active"):
        lines.remove(second["id"])
    assert lines.rollback().id == first["id"]
    assert lines.rollback() is None
    with pytest.raises(NotFoundError, match="nothing to go back from"):
        lines.rollback()
    lines.remove(second["id"])
    assert [one.id for one in lines.list()] == [first["id"]]
    with pytest.raises(NotFoundError, match="0 snapshots"):
        lines.get("0009")


def test_another_model_or_kind_cannot_go_on(memory):
    memory.sleep(into=tiny(), **ANA)
    fact(memory, "Noma", "home", "Cork")
    with pytest.raises(InputError, match="this is another model"):
        memory.sleep(into=tiny(model=fake_causal(seed=1)), **ANA)
    with pytest.raises(InputError, match="holds 'lora'"):
        memory.sleep(into=tiny(method="full"), **ANA)


def test_scopes_do_not_share_snapshots(tmp_path, memory):
    fact(memory, "Noma", "home", "Cork", user_id="ben")
    memory.sleep(into=tiny(), **ANA)
    assert snapshots(tmp_path, "ben").list() == []
    assert memory.sleep(into=tiny(), user_id="ben").trained["snapshot"]["parent"] is None
    with pytest.raises(NotFoundError, match="2 scopes"):
        load(tmp_path / "ana.db", model=fake_causal())


def test_nothing_worth_keeping_makes_no_snapshot_and_loads_no_model(tmp_path):
    with Memory(tmp_path / "ana.db", embedder="fake") as memory:
        done = memory.sleep(into=tiny(model="nowhere/at-all"), **ANA).trained
    assert (done["lessons"], done["snapshot"], done["active"]) == ([], None, False)


def test_a_dry_run_shows_the_lessons_and_writes_nothing(tmp_path, memory):
    plan = memory.sleep(into=tiny(model="nowhere/at-all"), dry_run=True, **ANA).trained
    assert [one["taught"][0] for one in plan["lessons"]] == [
        "Bako's home is Ghent", "Bako's job is baker", "Feno's home is Riga",
    ]  # fmt: skip
    assert not (tmp_path / "ana.db.adapters").exists()


def test_what_is_missing_is_said_before_anything_is_done(tmp_path, memory):
    with pytest.raises(ModelMissingError, match=r"no file .*none\.gguf"):
        memory.sleep(into=tiny(model=str(tmp_path / "none.gguf")), **ANA)
    with pytest.raises(NotFoundError, match="no text file"):
        memory.sleep(into=tiny(general=tmp_path / "none.txt"), **ANA)
    with pytest.raises(InputError, match="protect names 'gem'"):
        memory.sleep(into=tiny(protect=["gem"]), **ANA)
    with Memory(":memory:", embedder="fake") as passing, pytest.raises(InputError, match="give Adapter"):
        passing.sleep(into=tiny(), **ANA)
    assert snapshots(tmp_path).list() == []


def test_guards_keep_what_they_hold_from_night_to_night(tmp_path, memory):
    memory.sleep(into=tiny(protect=["ewc"]), **ANA)
    lines = snapshots(tmp_path)
    springs = torch.load(lines.path(lines.active.id) / "methods.pt", weights_only=True)
    assert len(springs) == 1
    fact(memory, "Noma", "home", "Cork")
    assert memory.sleep(into=tiny(protect=["ewc"]), **ANA).trained["active"]


# -- what becomes of a record


def test_a_superseded_record_marks_the_snapshots_that_hold_it(tmp_path, memory):
    old = memory.list(**ANA)[0]
    memory.sleep(into=tiny(), **ANA)
    memory.update(old.id, until="2026-02-01", **ANA)
    fact(memory, "Bako", "home", "Graz")
    memory.sleep(into=tiny(), **ANA)
    lines = snapshots(tmp_path)
    assert [one.marks for one in lines.list()] == [{old.id: "superseded"}] * 2
    assert old.id not in lines.active.facts  # it is neither rehearsed nor asked for


def test_an_erasure_marks_what_holds_it_and_drops_nights_under_way(tmp_path, memory):
    memory.sleep(into=tiny(), **ANA)
    lines = snapshots(tmp_path)
    lines.night.mkdir()
    (lines.night / "state.pt").write_bytes(b"lessons")
    gone = memory.list(**ANA)[0].id
    receipt = memory.erase(gone, **ANA)
    assert receipt.adapters == (f"{lines.active.id} of user_id=ana",)
    assert lines.active.marks == {gone: "erased"}
    assert not lines.night.exists()
    assert all(gone not in str(row["params"]) for row in memory.log(verb="train", **ANA))


@pytest.mark.parametrize("how", ["retrain", "dampen"])
def test_an_erasure_takes_a_record_out_of_the_weights(tmp_path, memory, how, monkeypatch):
    import slowwave.promote.weights.unlearning as module

    monkeypatch.setattr(module, "adapter_of", lambda snapshot, model=None: tiny())
    first = memory.sleep(into=tiny(), **ANA).trained["snapshot"]
    new = fact(memory, "Noma", "home", "Cork")
    memory.sleep(into=tiny(), **ANA)
    kept = fact(memory, "Luba", "home", "Bath")
    memory.sleep(into=tiny(), **ANA)
    receipt = memory.erase(new, adapters=how, **ANA)
    assert receipt.adapters == ()
    assert len(receipt.unlearned) == 1
    lines = snapshots(tmp_path)
    assert all(new not in one.records for one in lines.list())
    assert kept in lines.active.records
    if how == "retrain":
        assert lines.active.parent == first["id"]  # the nearest that never held it
        assert lines.active.data[-1] == (kept,)
    else:
        assert {"membership before", "membership after", "share dampened"} <= set(lines.active.metrics)


def test_a_model_that_cannot_be_had_again_stops_dampening_before_and_is_told_after_an_erasure(tmp_path, memory):
    memory.sleep(into=tiny(), **ANA)
    gone = memory.list(**ANA)[0].id
    with pytest.raises(InputError, match="given as an object"):
        memory.erase(gone, adapters="dampen", **ANA)
    assert memory.get(gone, **ANA).id == gone
    receipt = memory.erase(gone, adapters="retrain", **ANA)
    assert "given as an object" in receipt.unlearned[0]
    assert receipt.adapters
    with pytest.raises(InputError, match="must be one of"):
        memory.erase(memory.list(**ANA)[0].id, adapters="burn", **ANA)


def test_dampening_that_breaks_the_bounds_leaves_all_as_it_was(tmp_path, memory, monkeypatch):
    import slowwave.promote.weights.unlearning as module

    memory.sleep(into=tiny(), **ANA)
    before = snapshots(tmp_path).active.id
    monkeypatch.setattr(module, "adapter_of", lambda snapshot, model=None: tiny(held=1.0))
    gone = memory.list(**ANA)[0].id
    receipt = memory.erase(gone, adapters="dampen", **ANA)
    assert "refused" in receipt.unlearned[0]
    assert receipt.adapters
    assert snapshots(tmp_path).active.id == before
    assert snapshots(tmp_path).active.marks == {gone: "erased"}


def test_a_snapshot_whose_file_is_damaged_says_so(tmp_path, memory):
    memory.sleep(into=tiny(method="full"), **ANA)
    lines = snapshots(tmp_path)
    (lines.path(lines.active.id) / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(FormatError, match="roll back to another"):
        load(tmp_path / "ana.db", model=fake_causal())


# -- the command line


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_line_lists_shows_rolls_back_and_activates(tmp_path, memory, capsys):
    made = memory.sleep(into=tiny(), **ANA).trained["snapshot"]
    where = ("--db", str(memory.path), "--user-id", "ana", "--embedder", "fake")
    code, found = shown(capsys, "adapters", "list", *where)
    assert (code, found["active"], found["results"][0]["active"]) == (0, made["id"], True)
    assert shown(capsys, "adapters", "show", "0001", *where)[1]["hash"] == made["hash"]
    assert shown(capsys, "adapters", "rollback", *where)[1]["active"] is None
    assert shown(capsys, "adapters", "activate", made["id"], *where)[1]["active"] == made["id"]
    assert shown(capsys, "adapters", "retrain", *where)[1] == {"snapshot": None}
    assert shown(capsys, "adapters", "show", *where)[1]["error"]["type"] == "InputError"
    assert main(["adapters", *where]) == 0
    assert "of 3 facts held" in capsys.readouterr().out
    assert [row["params"]["action"] for row in memory.log(verb="adapters", **ANA)] == ["activate", "rollback"]


def test_the_command_line_tells_what_a_night_would_teach(tmp_path, memory, capsys):
    file = tmp_path / "adapter.toml"
    file.write_text('model = "none.gguf"\n')
    where = ("--db", str(memory.path), "--user-id", "ana", "--embedder", "fake")
    assert main(["sleep", "--into", str(file), "--dry-run", *where]) == 0
    assert "would teach 3 records" in capsys.readouterr().out
    code, found = shown(capsys, "sleep", "--into", str(file), *where)
    assert (code, found["error"]["type"]) == (1, "ModelMissingError")
