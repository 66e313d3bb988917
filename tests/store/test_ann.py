"""The approximate index against the exact one, and its file against kills, damage and other processes."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from slowwave.errors import ConflictError, ExtraMissingError, InputError, StoreError
from slowwave.store import ann_file
from slowwave.store.ann import AnnSidecar, delete_sidecar
from slowwave.store.vectors import ExactIndex, quantise, rescore

if importlib.util.find_spec("usearch") is None:
    pytest.skip("the extra `ann` is not installed", allow_module_level=True)
DIM = 32
COUNT = 3000


def unit_rows(count, seed=0, dim=DIM):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


ROWS = unit_rows(COUNT)
IDS = np.arange(COUNT) * 2 + 1
QUERY = unit_rows(1, seed=9)[0]


def sidecar(path, **options):
    return AnnSidecar(path, DIM, "fake-32", threads=1, **options)


@pytest.fixture
def saved(tmp_path):
    """A file of 3,000 rows, and nothing else in its folder."""
    path = tmp_path / "memory.ann"
    index = sidecar(path)
    index.build(IDS, ROWS)
    index.save()
    return path


def opened(path, count=COUNT, highest=int(IDS[-1])):
    index = sidecar(path)
    assert index.load(count, highest).state == "current"
    return index


def test_finds_what_the_scan_finds(saved):
    index, exact = opened(saved), ExactIndex(DIM)
    exact.extend(IDS, ROWS)
    hits = 0
    for query in unit_rows(100, seed=3):
        found = index.search(query, 100)
        best = rescore(found, query, found.ids, ROWS[(found.ids - 1) // 2], 10)
        hits += len(set(best.ids) & set(exact.search(query, 10).ids))
        assert np.abs(found.scores - ROWS[(found.ids - 1) // 2] @ query).max() < 0.01
        assert (np.diff(found.scores) <= 0).all()
    assert hits / 1000 >= 0.98


def test_mean_and_deviation_are_those_of_all_rows(saved):
    index = opened(saved)
    late = unit_rows(500, seed=4)
    index.add(np.arange(500) + 10_000, late)
    scores = np.concatenate([ROWS, late]) @ QUERY
    found = index.search(QUERY, 5)
    assert found.mean == pytest.approx(scores.mean(), abs=1e-6)
    assert found.std == pytest.approx(scores.std(), abs=1e-6)


def test_added_rows_are_found_at_once_and_after_a_save(saved):
    index = opened(saved)
    index.add([9_001, 9_000], np.stack([QUERY, -QUERY]))
    assert index.search(QUERY, 1).ids.tolist() == [9_001]
    assert (index.pending, len(index)) == (2, COUNT + 2)
    index.save()
    for one in (index, opened(saved, COUNT + 2, 9_001)):
        assert one.search(QUERY, 1).ids.tolist() == [9_001]
        assert one.search(-QUERY, 1).ids.tolist() == [9_000]
        assert (one.pending, len(one)) == (0, COUNT + 2)


def test_removed_rows_are_found_no_more_even_where_they_crowd_the_top(saved):
    index = opened(saved)
    index.add([9_001], QUERY[None])
    order = IDS[np.argsort(-(ROWS @ QUERY))]
    assert index.remove([*order[:500], 9_001, 77_777]) == 501
    for one in (index, None):
        if one is None:
            index.save()
            one = opened(saved, COUNT - 500, int(np.setdiff1d(IDS, order[:500])[-1]))
        found = one.search(QUERY, 20)
        assert len(found.ids) == 20
        assert not set(found.ids) & {*order[:500], 9_001}
        assert len(set(found.ids[:10]) & set(order[500:520])) == 10
        assert one.worn == pytest.approx(500 / 3000, abs=0.001)


def test_a_removed_row_can_come_back(saved):
    index = opened(saved)
    best = index.search(ROWS[5], 1).ids[0]
    assert best == IDS[5]
    index.remove([best])
    index.add([best], ROWS[5][None])
    assert index.search(ROWS[5], 1).ids.tolist() == [best]
    index.save()
    index = opened(saved)
    assert index.search(ROWS[5], 2).ids.tolist().count(best) == 1
    assert np.array_equal(index.ids(), IDS)


def test_an_id_is_taken_once(saved, tmp_path):
    index = opened(saved)
    for ids in ([IDS[7]], [8_000, 8_000]):
        with pytest.raises(InputError, match=str(ids[0])):
            index.add(ids, unit_rows(len(ids)))
    with pytest.raises(InputError, match="row 5 was given twice"):
        sidecar(tmp_path / "other").build([5, 6, 5], unit_rows(3))
    with pytest.raises(InputError, match="2 ids came with 3"):
        sidecar(tmp_path / "other").build([5, 6], unit_rows(3))


def test_building_from_parts_tells_its_progress(tmp_path):
    index, told = sidecar(tmp_path / "a"), []
    parts = ((IDS[at : at + 1000], ROWS[at : at + 1000]) for at in range(0, COUNT, 1000))
    index.build_from(parts, COUNT, lambda done, total: told.append((done, total)))
    assert told == [(1000, 3000), (2000, 3000), (3000, 3000)]
    assert index.search(ROWS[2500], 1).ids.tolist() == [IDS[2500]]
    index.close()


def test_nothing_built_loaded_or_saved_finds_nothing(tmp_path):
    index = sidecar(tmp_path / "a")
    assert index.search(QUERY, 3).ids.tolist() == []
    with pytest.raises(ConflictError, match="neither loaded nor built"):
        index.add([1], QUERY[None])
    assert index.remove([1]) == 0
    index.save()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_scope_can_be_built_saved_and_added_to(tmp_path):
    index = sidecar(tmp_path / "a")
    index.build([], np.empty((0, DIM), np.float32))
    index.save()
    index = opened(tmp_path / "a", 0, -1)
    assert index.search(QUERY, 3).ids.tolist() == []
    index.add([4], QUERY[None])
    index.save()
    assert opened(tmp_path / "a", 1, 4).search(QUERY, 3).ids.tolist() == [4]


def test_load_says_how_the_file_stands_to_the_database(saved):
    top = int(IDS[-1])
    assert sidecar(saved.with_name("none")).load(0, -1).state == "missing"
    index = sidecar(saved)
    assert index.load(COUNT, top).state == "current"
    stale = index.load(COUNT + 1, top + 5)
    assert (stale.state, stale.count, stale.highest) == ("stale", COUNT, top)
    missing, gone = index.differs([*IDS[1:], top + 5])
    assert (missing.tolist(), gone.tolist()) == ([top + 5], [IDS[0]])
    index.add(missing, QUERY[None])
    index.remove(gone)
    assert index.load(COUNT, top + 5).state == "current"
    assert index.search(QUERY, 1).ids.tolist() == [top + 5]
    restored = sidecar(saved).load(COUNT - 1, int(IDS[-2]))
    assert restored.state == "unusable"
    assert "not of one history" in restored.why


@pytest.mark.parametrize(("dim", "model", "why"), [(DIM, "another", "its model is"), (16, "fake-32", "its dim is")])
def test_a_file_of_another_model_is_unusable(saved, dim, model, why):
    standing = AnnSidecar(saved, dim, model).load(COUNT, int(IDS[-1]))
    assert standing.state == "unusable"
    assert why in standing.why


def test_a_damaged_or_unfinished_file_is_never_opened(saved):
    whole = saved.read_bytes()
    rng = np.random.default_rng(0)
    cuts = [0, 1, 15, 16, len(whole) - 1, *rng.integers(0, len(whole), 20).tolist()]
    damaged = [whole[:cut] for cut in cuts]
    for at in [0, len(whole) - 1, *rng.integers(0, len(whole), 30).tolist()]:
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    damaged.append(whole + b"\0")
    damaged.append(bytes(len(whole)))
    for content in damaged:
        saved.write_bytes(content)
        assert sidecar(saved).load(COUNT, int(IDS[-1])).state == "unusable"
    saved.write_bytes(whole)
    opened(saved)


def test_an_unusable_file_is_replaced_by_a_build(saved):
    saved.write_bytes(b"half a file")
    index = sidecar(saved)
    assert index.load(COUNT, int(IDS[-1])).state == "unusable"
    index.build(IDS, ROWS)
    index.save()
    opened(saved)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved, monkeypatch, step):
    index = opened(saved)
    index.add([9_001], QUERY[None])
    before = saved.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ann_file.os, step, full)
        with pytest.raises(StoreError, match="No space left"):
            index.save()
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == ["memory.ann"]
    assert index.search(QUERY, 1).ids.tolist() == [9_001]
    index.save()
    assert opened(saved, COUNT + 1, 9_001).search(QUERY, 1).ids.tolist() == [9_001]


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from slowwave.errors import StoreError
from slowwave.store.ann import AnnSidecar
path = Path(sys.argv[1])
index = AnnSidecar(path, 32, "fake-32", threads=1)
index.load(3000, 5999)
index.add([9001], np.eye(32, dtype=np.float32)[:1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    index.save()
except StoreError as error:
    print(type(error).__name__, index.search(np.eye(32, dtype=np.float32)[0], 1).ids.tolist())
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files with setrlimit")
def test_a_file_that_cannot_grow_is_reported_and_the_old_one_stays(saved):
    before = saved.read_bytes()
    done = subprocess.run([sys.executable, "-c", FULL, str(saved)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error [9001]" in done.stdout
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == ["memory.ann"]


SAVER = """
import sys
import numpy as np
from slowwave.store.ann import AnnSidecar
index = AnnSidecar(sys.argv[1], 32, "fake-32", threads=1)
index.load(3000, 5999)
rows = np.eye(32, dtype=np.float32)
print("ready", flush=True)
for n in range(10_000, 1_000_000):
    index.add([n], rows[n % 32][None])
    index.save()
    print(n, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_a_kill_at_any_moment_leaves_a_whole_file_and_no_save_is_lost(saved):
    whole = saved.read_bytes()
    delays = np.random.default_rng(1).uniform(0.0, 0.06, 8)
    for delay in delays:
        saved.write_bytes(whole)
        process = subprocess.Popen([sys.executable, "-c", SAVER, str(saved)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().split()
        process.stdout.close()
        process.wait()
        index = sidecar(saved)
        standing = index.load(10**9, 10**9)
        assert standing.state == "stale"
        acknowledged = [int(line) for line in said if line.isdigit()]
        assert standing.highest >= max(acknowledged, default=5999)
        assert standing.count == COUNT + max(0, standing.highest - 9_999)
        delete_sidecar(saved)
    assert list(saved.parent.iterdir()) == []


def test_readers_keep_the_old_file_until_they_load_the_new_one(saved):
    writer, reader = opened(saved), opened(saved)
    writer.add([9_001], QUERY[None])
    writer.save()
    assert 9_001 not in reader.search(QUERY, 5).ids
    assert reader.load(COUNT + 1, 9_001).state == "current"
    assert reader.search(QUERY, 1).ids.tolist() == [9_001]


def test_of_two_that_changed_one_file_the_second_is_told(saved):
    first, second = opened(saved), opened(saved)
    for number, one in enumerate((first, second)):
        one.add([9_001 + number], QUERY[None])
    first.save()
    with pytest.raises(ConflictError, match="load it again"):
        second.save()
    assert second.load(COUNT + 2, 9_002).state == "stale"
    second.add(second.differs([*IDS, 9_001, 9_002])[0], QUERY[None])
    second.save()
    opened(saved, COUNT + 2, 9_002)


def test_searches_adds_and_saves_go_on_side_by_side(saved):
    index, wrong, stop = opened(saved), [], threading.Event()
    expected = [index.search(row, 1).ids[0] for row in ROWS[:50]]

    def look():
        while not stop.is_set():
            for row, best in zip(ROWS[:50], expected, strict=True):
                if index.search(row, 1).ids.tolist() != [best]:
                    wrong.append(best)

    def change():
        for n in range(10_000, 10_400):
            index.add([n], unit_rows(1, seed=n))
            if n % 3 == 0:
                index.remove([n])

    threads = [threading.Thread(target=look) for _ in range(3)] + [threading.Thread(target=change)]
    for thread in threads:
        thread.start()
    while threads[-1].is_alive():
        index.save()
    stop.set()
    for thread in threads:
        thread.join()
    index.save()
    kept = [n for n in range(10_000, 10_400) if n % 3]
    assert wrong == []
    assert index.ids().tolist() == [*IDS, *kept]
    assert opened(saved, COUNT + len(kept), kept[-1]).ids().tolist() == [*IDS, *kept]


def test_deleting_leaves_no_bytes(saved):
    trace = quantise(ROWS[:1])[0].tobytes()
    assert trace in saved.read_bytes()  # the probe finds what is there
    saved.with_name("memory.ann.1-aa.tmp").write_bytes(saved.read_bytes())
    saved.with_name("memory.ann2").write_bytes(b"of another index")
    index = opened(saved)
    assert index.delete_file()
    assert [file.name for file in saved.parent.iterdir()] == ["memory.ann2"]
    assert len(index) == 0
    assert index.search(QUERY, 1).ids.tolist() == []
    assert not index.delete_file()


def test_what_was_erased_meanwhile_cannot_be_saved(saved, monkeypatch):
    """By another process: before a fold begins, during a build, and between the writing and the last step."""
    folding = opened(saved)
    folding.add([9_001], QUERY[None])
    building = sidecar(saved)
    building.build(IDS, ROWS)
    delete_sidecar(saved)
    for one in (folding, building):
        with pytest.raises(ConflictError):
            one.save()
    assert list(saved.parent.iterdir()) == []

    building.build(IDS, ROWS)
    fsync, calls = os.fsync, []

    def erased(fd):
        fsync(fd)
        if not calls:
            calls.append(fd)
            delete_sidecar(saved)

    monkeypatch.setattr(ann_file.os, "fsync", erased)
    with pytest.raises(ConflictError):
        building.save()
    assert calls
    assert list(saved.parent.iterdir()) == []


def test_what_a_killed_process_left_is_swept_up_a_day_later(saved):
    old, new = saved.with_name("memory.ann.1-aa.tmp"), saved.with_name("memory.ann.2-bb.tmp")
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    index = opened(saved)
    index.add([9_001], QUERY[None])
    index.save()
    assert not old.exists()
    assert new.exists()


def test_without_usearch_it_says_what_to_install_and_can_still_delete(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ExtraMissingError, match=r"slowwave\[ann\]"):
        sidecar(saved)
    assert delete_sidecar(saved)


def test_the_encoder_can_be_loaded_after_it(tmp_path):
    """onnxruntime imported after usearch crashes the process."""
    code = f"from slowwave.store.ann import AnnSidecar; AnnSidecar({str(tmp_path / 'a')!r}, 8, 'm'); import onnxruntime"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_real_sentences_are_found_again_after_rescoring(tmp_path):
    """recall@10 of 2,000 real sentences with the default encoder; larger runs are in the benchmarks."""
    data = Path(os.environ.get("SLOWWAVE_DATA", Path(__file__).parents[3] / "shared" / "data"))
    book = data / "classic_books" / "stoker-dracula.txt.gz"
    if not book.is_file():
        pytest.skip(f"no {book}; set SLOWWAVE_DATA")
    import gzip

    from slowwave.models.onnx import OnnxEmbedder

    text = " ".join(gzip.decompress(book.read_bytes()).decode("utf-8").split())
    sentences = [part for part in text.split(". ") if 30 < len(part) < 60][:1050]
    rows = OnnxEmbedder().embed(sentences)
    rows, queries = rows[:1000], rows[1000:]
    index, exact = AnnSidecar(tmp_path / "a", 384, "minilm"), ExactIndex(384)
    index.build(range(1000), rows)
    exact.extend(range(1000), rows)
    hits = 0
    for query in queries:
        found = index.search(query, 50)
        best = rescore(found, query, found.ids, rows[found.ids], 10).ids
        hits += len(set(best) & set(exact.search(query, 10).ids))
    index.close()
    assert hits / (10 * len(queries)) >= 0.98
