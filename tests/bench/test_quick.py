"""Every benchmark runs through with --quick, says what it stands on, and lets no text of the data into its result."""

import json
import re

import pytest

from slowwave.bench import BENCHMARKS
from slowwave.bench.base import Benchmark, as_json, machine, versions
from slowwave.bench.datasets import data_root
from slowwave.bench.metrics import interval
from slowwave.bench.peer_table import better, peer_lines


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_quick_run(name, tmp_path, monkeypatch, request):
    kind = BENCHMARKS[name]
    missing = [need for need in kind.needs if not (data_root() / need).is_dir()]
    if missing:
        pytest.skip(f"no data set {', '.join(missing)} in {data_root()}; set SLOWWAVE_DATA")
    monkeypatch.setenv("SLOWWAVE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "results" / "r.json"
    given = {"database": request.getfixturevalue("server").tenant()} if name in ("scale", "hnsw") else {}
    bench = kind(quick=True, out=out, **given)
    seen = []
    result = bench.run(lambda stage, done, total: seen.append((stage, done, total)))
    assert result["benchmark"] == name
    assert result["command"] == f"slowwave bench {name} --quick{' --database URL' if given else ''}"
    assert {"versions", "machine", "date", "parameters"} <= set(result)
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert seen
    assert all(0 <= done <= total for _, done, total in seen)
    shown = bench.render(json.loads(out.read_text()))
    assert len(shown.splitlines()) > 2
    longest = max((len(text) for text in texts_in(result)), default=0)
    assert longest < 300, "a result holds numbers and labels; this looks like a text of the data"
    assert not re.search(r"/home/|/root/|/tmp/", out.read_text())


def texts_in(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from texts_in(key)
            yield from texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_options_can_be_read_off_the_constructor(name):
    kind = BENCHMARKS[name]
    assert issubclass(kind, Benchmark)
    assert kind.name == name
    parameters = kind.parameters()
    assert {"quick", "seed", "out"} <= set(parameters)
    bench = kind()
    for option, parameter in parameters.items():
        assert parameter.default is not parameter.empty, f"{option} has no default"
        assert hasattr(bench, option), f"{option} is not kept under its name"
        told = any(re.search(rf"^    {option}  ", doc.__doc__ or "", re.M) for doc in kind.__mro__)
        assert told, f"{option} is not explained in the docstring"


def test_the_command_names_what_was_asked():
    assert (
        BENCHMARKS["locomo"](seed=3, sleep=False, out="x.json").command() == "slowwave bench locomo --seed 3 --no-sleep"
    )
    assert BENCHMARKS["sleep"](sizes=(10, 20)).command() == "slowwave bench sleep --sizes 10,20"


def test_a_written_result_reads_back_as_it_was():
    result = {"a": {"mean": 0.5, "low": None}, "b": [1, 2], "c": {"d": {"e": "x {y}\n z", "f": []}, "g": {}}}
    shown = as_json(result)
    assert json.loads(shown) == result
    assert ' "a": {"mean": 0.5, "low": null},' in shown.splitlines()


def test_a_result_names_what_it_was_measured_with():
    assert {"slowwave", "python", "sqlite", "numpy", "onnxruntime"} <= set(versions())
    assert machine()["cores"] >= 1


def test_a_ratio_below_one_is_told_as_behind():
    assert better(10, 5, True) == 2
    assert better(10, 5, False) == 0.5
    assert better(None, 5, True) is None
    label = "search p50 ms, vectors known"
    systems = {"slowwave": {"1000": {label: [4.0, 2.0, 3.0], "records": [1000]}}, "fast": {"1000": {label: [1.0]}}}
    shown = "\n".join(peer_lines({"systems": systems, "runs": 3, "seconds_cap": 60, "failed": {}}))
    assert f"{label} at 1,000: fast is 3.0 times better" in shown
    assert "nowhere" not in shown


def test_an_interval_is_within_the_values():
    found = interval([0.2, 0.4, 0.9], list("abc"))
    assert 0.2 <= found["low"] <= found["mean"] <= found["high"] <= 0.9
