"""The approximate index in the store's hands: made when asked, used when it fits, gone when anything is erased."""

import importlib.util
import threading

import numpy as np
import pytest

from slowwave import Memory
from slowwave.records import Scope
from slowwave.store import cache as cached
from slowwave.store import sidecars
from slowwave.store.base import Want

ANA = Scope(user_id="ana")
FEW = 300  # `ann_from` of these tests
usearch = pytest.mark.skipif(importlib.util.find_spec("usearch") is None, reason="the extra `ann` is not installed")


def texts(count, start=0):
    rng = np.random.default_rng(start)
    words = [f"w{n}" for n in range(400)]
    return [f"item {start + n} {' '.join(rng.choice(words, 6))}" for n in range(count)]


def opened(path, **options):
    return Memory(path, embedder="fake", durable=False, **{"ann_from": FEW, **options})


@pytest.fixture
def path(tmp_path):
    """A file with 400 records of Ana, 50 of Ben, and an approximate index of Ana's."""
    file = tmp_path / "memory.db"
    with opened(file) as memory:
        memory.add(texts(400), user_id="ana")
        memory.add(texts(50, 9000), user_id="ben")
        assert memory.build_ann(user_id="ana") == "made of 400 vectors"
    return file


def index_files(path):
    return sorted(file for file in path.parent.iterdir() if sidecars.MARK in file.name)


def dense(memory, text="item 7 w1 w2", k=20, scope=ANA, want=None):
    memory.store.set_model(memory.embedder.name, memory.embedder.dim)
    return memory.store.view(scope).dense(memory.embedder.embed([text])[0], k, want or Want())


def serving(memory):
    """The approximate index that Ana's searches use, if one is."""
    held = memory.store.cache._held.get(ANA)
    return None if held is None else held.ann


def alike(found, exact):
    """Equal scores, and hardly a row missed: a graph that several threads make may leave one out of reach."""
    scores = dict(zip(exact.ids.tolist(), exact.scores.tolist(), strict=True))
    shared = [
        (score, scores[n]) for n, score in zip(found.ids.tolist(), found.scores.tolist(), strict=True) if n in scores
    ]
    assert len(shared) >= 0.9 * len(scores)
    assert [one for one, _ in shared] == pytest.approx([other for _, other in shared], abs=1e-5)
    return True


def exactly(path, **options):
    with opened(path, ann_from=None) as memory:
        return dense(memory, **options)


@usearch
def test_finds_and_scores_as_the_scan_does(path):
    with opened(path) as memory:
        found = dense(memory)
        assert serving(memory) is not None
        held = memory.store.cache._held[ANA]
        assert held.index is None, "all vectors were read although the index serves"
        scores = memory.store.view(ANA).cosines(memory.embedder.embed(["item 7 w1 w2"])[0], found.ids.tolist())
    exact = exactly(path)
    assert alike(found, exact)
    assert (found.mean, found.std) == pytest.approx((exact.mean, exact.std), abs=1e-4)
    assert [scores[n] for n in found.ids.tolist()] == pytest.approx(found.scores.tolist(), abs=1e-5)


@usearch
def test_a_filtered_search_scans_exactly(path):
    want = Want(kinds=("episode",))
    with opened(path) as memory:
        found = dense(memory, want=want)
        assert serving(memory) is not None
        assert memory.store.cache._held[ANA].index is not None
    exact = exactly(path, want=want)
    assert found.ids.tolist() == exact.ids.tolist()
    assert found.scores == pytest.approx(exact.scores, abs=1e-5)


@usearch
def test_rows_that_came_since_are_found_and_those_of_others_never(path):
    with opened(path) as memory:
        dense(memory)
        memory.add("a wholly new sentence about giraffes", user_id="ana")
        memory.add("a wholly new sentence about giraffes", user_id="ben")
        found = dense(memory, "a wholly new sentence about giraffes", k=5)
        assert serving(memory) is not None
        best = memory.store.view(ANA).engrams(found.ids.tolist())[int(found.ids[0])]
        assert best.text.endswith("giraffes")
        assert all(memory.store.owner(e.id) == ANA for e in memory.store.view(ANA).engrams(found.ids.tolist()).values())
    with opened(path) as memory:
        assert dense(memory, "a wholly new sentence about giraffes", k=5).ids.tolist() == found.ids.tolist()
        assert serving(memory) is not None
        assert serving(memory).pending == 1


@usearch
def test_a_retired_record_is_not_found(path):
    with opened(path) as memory:
        best = memory.store.view(ANA).engrams(dense(memory).ids.tolist()[:1])
        gone = next(iter(best.values())).id
        memory.forget(gone, user_id="ana")
        assert next(iter(best)) not in dense(memory).ids.tolist()
        assert serving(memory) is not None


@usearch
def test_erasing_deletes_every_index_and_the_receipt_looked_for_it(path):
    with opened(path) as memory:
        dense(memory)
        assert index_files(path)
        receipt = memory.erase(memory.list(limit=1, user_id="ben")[0].id, user_id="ben")
        assert not index_files(path)
        assert not receipt.found
        found = dense(memory)
        assert serving(memory) is None
        assert "no approximate index yet" in found.note
        assert memory.store.ann_scopes() == []


@usearch
def test_another_process_that_holds_the_index_sees_the_erasure(path):
    with opened(path) as other, opened(path) as memory:
        first = dense(other)
        assert serving(other) is not None
        victim = memory.store.view(ANA).engrams(first.ids.tolist()[:1])[int(first.ids[0])]
        memory.erase(victim.id, user_id="ana")
        assert int(first.ids[0]) not in dense(other).ids.tolist()
        assert serving(other) is None


@usearch
def test_an_index_begun_before_an_erasure_is_not_put_in_place(path):
    with opened(path) as memory, opened(path) as other:
        memory.add(texts(300, 20_000), user_id="ana")
        victim = memory.list(limit=1, user_id="ana")[0].id
        told = []

        def progress(stage, done, total):
            if not told:
                told.append(stage)
                other.erase(victim, user_id="ana")

        assert "erased from meanwhile" in memory.build_ann(user_id="ana", progress=progress)
        assert told == ["ann"]
        assert not index_files(path)
        dense(memory)
        assert serving(memory) is None


@usearch
def test_an_erasure_between_the_file_and_its_entry_leaves_no_file(path, monkeypatch):
    with opened(path) as memory:
        memory.add(texts(300, 20_000), user_id="ana")
        monkeypatch.setattr(memory.store, "note_sidecar", lambda *given: False)
        assert "erased from meanwhile" in memory.build_ann(user_id="ana")
        assert not index_files(path)


@usearch
@pytest.mark.parametrize("damage", ["bytes", "short", "gone", "another"])
def test_a_file_that_is_not_as_noted_is_not_used_and_the_trace_says_so(path, damage, tmp_path):
    file = index_files(path)[0]
    content = file.read_bytes()
    if damage == "bytes":
        file.write_bytes(content[:5000] + bytes([content[5000] ^ 255]) + content[5001:])
    elif damage == "short":
        file.write_bytes(content[:-40])
    elif damage == "gone":
        file.unlink()
    else:  # a whole file, of the same model and scope, from another database
        with opened(tmp_path / "other.db") as memory:
            memory.add(texts(400, 500), user_id="ana")
            memory.build_ann(user_id="ana")
        file.write_bytes(index_files(tmp_path / "other.db")[-1].read_bytes())
    with opened(path) as memory:
        assert dense(memory).ids.tolist() == exactly(path).ids.tolist()
        assert serving(memory) is None
        hits = memory.search("item 7 w1 w2", user_id="ana", threshold=0)
        assert any("approximate index" in reason for reason in hits.trace["degraded"])
        assert memory.build_ann(user_id="ana").startswith("made of 400")
        dense(memory)
        assert serving(memory) is not None


@usearch
def test_twice_the_records_need_a_new_index(path):
    with opened(path) as memory:
        dense(memory)
        memory.add(texts(200, 30_000), user_id="ana")  # 600: the centre is that of the first 512
        found = dense(memory)
        assert serving(memory) is None
        assert "less than half" in found.note
        assert memory.build_ann(user_id="ana") == "made of 600 vectors"
        found = dense(memory)
        assert serving(memory) is not None
        assert not found.note
    assert alike(found, exactly(path))


@usearch
def test_a_sleep_makes_the_index_and_folds_in_what_came(tmp_path, monkeypatch):
    monkeypatch.setattr(sidecars, "FOLD", 20)
    path = tmp_path / "memory.db"
    with opened(path) as memory:
        memory.add(texts(350), user_id="ana")
        report = memory.sleep(user_id="ana")
        assert any(note.startswith("approximate index: made of") for note in report.notes)
        memory.add(texts(30, 40_000), user_id="ana")
        report = memory.sleep(user_id="ana")
        assert any("folded in" in note for note in report.notes)
        dense(memory)
        assert serving(memory).pending == 0
        assert memory.build_ann(user_id="ana") == ""


@usearch
def test_closing_writes_what_came_into_the_index(path, monkeypatch):
    monkeypatch.setattr(cached, "FOLD", 20)
    with opened(path) as memory:
        memory.add(texts(30, 40_000), user_id="ana")
        dense(memory)
        assert serving(memory).pending == 30
    with opened(path) as memory:
        dense(memory)
        assert serving(memory).pending == 0
        assert len(serving(memory)) == 430


@usearch
def test_rebuild_makes_the_index_anew(path):
    with opened(path) as memory:
        before = index_files(path)[0].stat().st_mtime_ns, dense(memory)
        memory.rebuild()
        assert alike(dense(memory), before[1])
        assert serving(memory) is not None
        assert len(index_files(path)) == 1
        assert index_files(path)[0].stat().st_mtime_ns > before[0]


@usearch
def test_one_process_makes_it_and_others_scan(path):
    with opened(path) as memory, opened(path) as other:
        memory.add(texts(300, 20_000), user_id="ana")
        states = []

        def progress(stage, done, total):
            states.append(dense(other).note)

        memory.build_ann(user_id="ana", progress=progress)
        assert states
        assert all("vectors are scanned" in note for note in states)
        lock = memory.store.cache.sidecars._building
        with lock:
            assert memory.build_ann(user_id="ana") == "being made by another thread"
    claim = index_files(path)[0]
    claim.with_name(f"{claim.name}.1-abcdef01.tmp").touch()  # process 1 lives
    with opened(path) as memory:
        memory.add(texts(500, 50_000), user_id="ana")
        assert memory.build_ann(user_id="ana") == "being made by another process"


@usearch
def test_searches_while_it_is_made_are_answered(path):
    with opened(path) as memory:
        memory.add(texts(300, 20_000), user_id="ana")
        expected = dense(memory)
        found = []
        thread = threading.Thread(target=lambda: found.extend(dense(memory) for _ in range(30)))
        thread.start()
        memory.build_ann(user_id="ana")
        thread.join()
        assert len(found) == 30
        assert all(alike(one, expected) for one in found)


def test_small_scopes_readonly_stores_and_memory_have_none(tmp_path):
    path = tmp_path / "memory.db"
    with opened(path) as memory:
        memory.add(texts(50), user_id="ana")
        assert memory.build_ann(user_id="ana") == ""
        assert not dense(memory).note
    with opened(path, ann_from=0) as memory:
        memory.add(texts(400, 100), user_id="ana")
        assert memory.build_ann(user_id="ana") == ""
        assert not dense(memory).note
    with opened(path, readonly=True) as memory:
        assert memory.build_ann(user_id="ana") == ""
    with opened(":memory:") as memory:
        memory.add(texts(400, 100), user_id="ana")
        assert memory.build_ann(user_id="ana") == ""
        assert not dense(memory).note
    assert not index_files(path)


def test_without_usearch_nothing_is_made_and_files_are_still_erased(tmp_path, monkeypatch):
    path = tmp_path / "memory.db"
    with opened(path) as memory:
        memory.add(texts(400), user_id="ana")
        monkeypatch.setattr(sidecars, "installed", lambda: False)
        assert memory.build_ann(user_id="ana") == ""
        assert not dense(memory).note
        left = memory.store.cache.sidecars.path(ANA)
        left.write_bytes(b"vectors")
        left.with_name(left.name + ".77-0000.tmp").write_bytes(b"vectors")
        memory.erase(memory.list(limit=1, user_id="ana")[0].id, user_id="ana")
        assert not index_files(path)


def test_a_large_scope_is_held_as_int8_and_finds_the_same(tmp_path, monkeypatch):
    path = tmp_path / "memory.db"
    with opened(path, ann_from=None) as memory:
        memory.add(texts(400), user_id="ana")
        exact = dense(memory)
    monkeypatch.setattr(cached, "INT8_FROM", 100)
    with opened(path, ann_from=None) as memory:
        found = dense(memory)
        assert memory.store.cache._held[ANA].index.dtype == "int8"
    assert found.scores == pytest.approx(exact.scores, abs=0.004)
    assert len(set(found.ids.tolist()) & set(exact.ids.tolist())) >= 18


def test_what_another_writes_is_seen_at_the_next_read(tmp_path):
    path = tmp_path / "memory.db"
    with opened(path) as memory, opened(path) as other:
        id_ = memory.add("Ana likes figs", user_id="ana")[0].id
        for writer in (memory, other):
            view = other.store.view(ANA)
            n = view.numbers([id_])[id_]
            assert view.rows([n], Want())
            writer.forget(id_, user_id="ana")
            assert not view.rows([n], Want()), "a row that was kept from before is still shown"
            writer.undo(user_id="ana")
            assert view.rows([n], Want())
        assert other.store.view(ANA).speakers() == []
        memory.add("Hello", speaker="Ana", user_id="ana")
        assert other.store.view(ANA).speakers() == ["Ana"]
        assert memory.store.view(ANA).speakers() == ["Ana"]


def test_a_snapshot_leaves_nothing_old_behind(tmp_path):
    path = tmp_path / "memory.db"
    with opened(path) as memory, opened(path) as other:
        id_ = memory.add("Ana likes figs", user_id="ana")[0].id
        view = other.store.view(ANA)
        n = view.numbers([id_])[id_]
        with view.snapshot():
            assert view.rows([n], Want())
            memory.forget(id_, user_id="ana")
            assert view.rows([n], Want()), "the snapshot moved"
        assert not view.rows([n], Want())
