"""The command line: every command for people and as JSON, its examples true, its errors short, its exit codes kept."""

from __future__ import annotations

import argparse
import inspect
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from slowwave.cli import main, parser, showcase
from slowwave.cli.arguments import given, options, told
from slowwave.cli.commands import COMMANDS
from slowwave.cli.nights import CALLBACKS
from slowwave.cli.page import Page
from slowwave.memory import Memory
from slowwave.text import SYSTEMS

SLOWWAVE = [sys.executable, "-m", "slowwave"]


@pytest.fixture(autouse=True)
def env(tmp_path, monkeypatch):
    """A file of its own, the fake embedder, and no scope but what the command line says."""
    for name in list(os.environ):
        if name.startswith("SLOWWAVE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLOWWAVE_DB", str(tmp_path / "memory.db"))
    monkeypatch.setenv("SLOWWAVE_EMBED_MODEL", "fake")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Runs a command in this process: (exit code, standard output, standard error)."""

    def call(*words):
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def values(run):
    """Runs a command with --json: the document; the command must succeed."""

    def call(*words):
        code, out, err = run(*words, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    return call


@pytest.fixture
def lived(values):
    """Two statements of Ana's, the ids of them."""
    lisbon = values("add", "I live in Lisbon", "--at", "2023-01-01", "--speaker", "Ana", "--user-id", "ana")
    porto = values("add", "I live in Porto", "--at", "2024-01-01", "--speaker", "Ana", "--user-id", "ana")
    return [lisbon["results"][0]["id"], porto["results"][0]["id"]]


def process(*words, **options):
    """Runs the real command in a process of its own."""
    return subprocess.run([*SLOWWAVE, *words], capture_output=True, text=True, check=False, timeout=60, **options)


# -- the main path, as people run it


def test_the_main_path_in_processes_of_its_own():
    added = process("add", "I live in Lisbon", "--at", "2023-01-01", "--speaker", "Ana", "--user-id", "ana")
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.startswith("ADD ")
    assert process("add", "-", "--user-id", "ana", input="I like tea\n").stdout.endswith("I like tea\n")
    found = process("search", "Where does Ana live?", "--threshold", "0", "--user-id", "ana")
    assert "2023-01-01  Ana: I live in Lisbon" in found.stdout
    process("add", "I live in Porto", "--at", "2024-01-01", "--speaker", "Ana", "--user-id", "ana")
    dry, night = process("sleep", "--dry-run", "--user-id", "ana"), process("sleep", "--user-id", "ana")
    assert "“I live in Lisbon”" in dry.stdout
    assert "would change: " in dry.stdout
    assert "changed: " in night.stdout
    op = night.stdout.split()[-1]
    assert "undone: " in process("undo", op, "--user-id", "ana").stdout
    assert process("stats", "--user-id", "ana").stdout.startswith("scope ")
    assert "\x1b" not in found.stdout + dry.stdout + night.stdout


def test_help_and_stats_load_neither_onnxruntime_nor_rich():
    process("add", "I live in Lisbon", "--user-id", "ana")
    for words in (["--help"], ["stats", "--user-id", "ana"], ["list", "--user-id", "ana"]):
        code = f"import sys; from slowwave.cli import main; main({words!r}); print(*sys.modules, file=sys.stderr)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split()
        assert not {"onnxruntime", "rich", "tokenizers", "dateparser", "torch"} & set(loaded)


def test_a_broken_pipe_is_quiet():
    for n in range(3):
        process("add", " ".join(["word"] * 20_000), "--origin", str(n), "--user-id", "ana")
    reader = f"{shlex.join(SLOWWAVE)} list --user-id ana | head -c 1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {reader}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_ends_with_130_and_a_word():
    code = "import slowwave.cli.commands as c, slowwave.cli as m, time, sys; "
    code += "c.COMMANDS['scopes'] = c.Command('scopes', '', '', lambda p: None, lambda a: time.sleep(60)); "
    code += "print('ready', flush=True); sys.exit(m.main(['scopes']))"
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    time.sleep(0.3)
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert (started.returncode, out, err) == (130, "", "slowwave: interrupted\n")


# -- every command


# `serve` runs until it is stopped (tests/serve does that); the others need a PostgreSQL, which tests/store has.
OF_A_SERVER = {"serve", "worker", "jobs", "migrate"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example_that_is_true(name, run, values, lived, tmp_path):
    code, out, _ = run(name, "--help")
    assert code == 0
    example = COMMANDS[name].example
    assert f"example:\n  {example}" in out
    if name in OF_A_SERVER:
        return
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "Porto.md").write_text("Ana lives in Porto.\n", "utf-8")
    words = [{"ID": lived[0], "OTHER": lived[1]}.get(word, word) for word in shlex.split(example)]
    assert words[0] == "slowwave"
    code, out, err = run(*words[1:])
    assert (code, err) == (0, "")
    assert out


CALLS = {
    "keys": ["list"], "adapters": ["list"], "held": ["list"], "mcp": ["install"], "backup": ["copy.db"],
    "add": ["hello", "--attrs", '{"mood": "glad"}', "--kind", "note"],
    "search": ["where", "does", "Ana", "live", "--top-k", "1", "--threshold", "0", "--filters", '{"speaker": "Ana"}'],
    "context": ["Ana", "--max-tokens", "500", "--threshold", "0", "--kinds", "episode,fact"],
    "sleep": [],
    "undo": [],
    "log": ["--limit", "1", "--verb", "add"],
    "list": ["--limit", "1", "--newest-first", "--retired"],
    "get": ["ID"],
    "history": ["ID"],
    "update": ["ID", "--until", "2024-01-01"],
    "link": ["ID", "causes", "OTHER", "--weight", "0.5"],
    "forget": ["ID", "--reason", "test"],
    "erase": ["--all", "--yes"],
    "import": ["Porto.md", "--dry-run"],
    "export": ["ana.jsonl"],
    "stats": [],
    "scopes": [],
    "rebuild": [],
    "build-ann": [],
    "reembed": ["fake"],
    "check": [],
    "systems": [],
    "atlas": ["--form", "survey"],
    "reproduce": [],
    "bench": [],
    "probe": [],
}
NO_MEMORY = {"systems", "atlas", "reproduce", "bench", "probe"}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in OF_A_SERVER])
def test_every_command_gives_one_json_document(name, values, lived, tmp_path):
    (tmp_path / "Porto.md").write_text("Ana lives in Porto.\n", "utf-8")
    words = [{"ID": lived[0], "OTHER": lived[1]}.get(word, word) for word in CALLS[name]]
    assert isinstance(values(name, *words, *([] if name in NO_MEMORY else ["--user-id", "ana"])), dict)


@pytest.mark.parametrize("name", ["worker", "jobs"])
def test_what_needs_postgresql_says_so_of_a_file(name, run, lived):
    code, out, err = run(name)
    assert (code, out) == (1, "")
    assert "postgresql" in err.lower()


def test_a_parameter_of_memory_is_an_option_of_its_command(run):
    for name, method in (("add", "add"), ("search", "search"), ("import", "import_"), ("erase", "erase"),
                         ("log", "log"), ("sleep", "sleep"), ("sleep", "sleep_every")):  # fmt: skip
        shown = run(name, "--help")[1]
        asked = set(re.findall(r"--([a-z-]+)", shown))
        for parameter in inspect.signature(getattr(Memory, method)).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.name not in ("progress", *CALLBACKS):
                assert parameter.name.replace("_", "-") in asked
    assert "(default: 10)" in run("search", "--help")[1]


def test_options_are_read_off_signatures_of_every_kind():
    from slowwave.cli.arguments import Parser

    def function(*, n: int = 3, names: tuple[str, ...] = ("a",), fast: bool = True, at: str | None = None) -> None:
        """Does.

        n      how many,
               in all
        names  which
        """

    own = Parser(prog="x")
    options(own, function)
    assert told(function) == {"n": "how many, in all", "names": "which"}
    assert given(own.parse_args([]), function) == {}
    args = own.parse_args(["--n", "1_000", "--names", "b,c", "--no-fast"])
    assert given(args, function) == {"n": 1000, "names": ["b", "c"], "fast": False}


def test_get_follows_log_and_history_show_texts_before_and_after(run, values, lived):
    values("update", lived[0], "I lived in Lisbon", "--user-id", "ana")
    code, out, _ = run("history", lived[0], "--user-id", "ana")
    assert code == 0
    assert "“I live in Lisbon” → “I lived in Lisbon”" in out
    op = values("log", "--user-id", "ana")["results"][0]["op"]
    assert "corrected by hand" in run("log", op, "--user-id", "ana")[1]
    assert values("get", lived[0], "--user-id", "ana")["retired_why"] == "corrected"


def test_add_takes_a_file_and_says_what_is_wrong_with_it(run, values, tmp_path):
    (tmp_path / "a.txt").write_text("from a file\n", "utf-8")
    assert values("add", "--file", "a.txt", "--user-id", "ana")["results"][0]["memory"] == "from a file"
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    for words, said in (
        (["--file", "b.txt"], "not UTF-8"),
        (["--file", "c.txt"], "c.txt"),
        (["text", "--file", "a.txt"], "both"),
    ):
        code, out, err = run("add", *words, "--user-id", "ana")
        assert (code, out) == (1, "")
        assert said in err
        assert "Traceback" not in err


def test_standard_input_is_added_whole(values, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO("zwei\nZeilen ö".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert values("add", "-", "--user-id", "ana")["results"][0]["memory"] == "zwei\nZeilen ö"


def test_the_scope_comes_from_options_before_or_after_the_command_or_the_environment(values, monkeypatch):
    values("--user-id", "ana", "add", "one")
    values("add", "two", "--user-id", "ana", "--run-id", "r1")
    monkeypatch.setenv("SLOWWAVE_USER_ID", "ana")
    assert len(values("list")["results"]) == 2
    assert len(values("list", "--run-id", "r1")["results"]) == 1
    assert len(values("list", "--user-id", "bob")["results"]) == 0


def test_import_and_export_make_a_round(run, values, lived, tmp_path):
    assert values("export", "ana.jsonl", "--user-id", "ana")["records"] == 2
    code, out, _ = run("import", "ana.jsonl", "--db", "other.db", "--user-id", "ana")
    assert code == 0
    assert "2  added" in out
    found = values("list", "--db", "other.db", "--user-id", "ana")["results"]
    assert [record["id"] for record in found] == lived
    assert values("export", "notes", "--format", "markdown", "--user-id", "ana")["records"] == 2


def test_reembed_changes_the_model_and_says_how_to_go_on(run, lived, monkeypatch):
    monkeypatch.delenv("SLOWWAVE_EMBED_MODEL")
    code, out, _ = run("reembed", "fake", "--user-id", "ana")
    assert code == 0
    assert "SLOWWAVE_EMBED_MODEL=fake" in out


# -- nights with a language model


@pytest.fixture
def asked(values, monkeypatch):
    """A night in which a model that invents was asked, named by the environment; its operation."""
    monkeypatch.setenv("SLOWWAVE_LLM_MODEL", "fake:invents")
    values("add", "My sister Clara lives in Porto", "--speaker", "Ana", "--user-id", "ana")
    return values("sleep", "--system", "memos", "--llm", "env", "--user-id", "ana")["op"]


def test_the_log_shows_calls_and_what_was_turned_down(run, values, asked):
    calls = values("log", "--calls", "--user-id", "ana")["results"]
    assert {(call["op"], call["model"]) for call in calls} == {(asked, "fake-invents")}
    assert all(len(call["prompt"]) == 64 for call in calls)
    rejected = values("log", "--rejected", "--user-id", "ana")["results"]
    assert all(one["reason"] and one["sources"] and one["model"] == "fake-invents" for one in rejected)
    assert rejected
    one = values("log", asked, "--user-id", "ana")
    assert (len(one["calls"]), len(one["rejected"])) == (len(calls), len(rejected))
    assert "sister" not in json.dumps(calls), "a call holds no word of the prompt"
    shown = run("log", "--calls", "--user-id", "ana")[1]
    assert f"{calls[0]['prompt'][:16]}" in shown
    assert shown.endswith(f"{len(calls)} calls\n")
    shown = run("log", "--rejected", "--user-id", "ana")[1]
    assert rejected[0]["reason"] in shown
    assert f"from {', '.join(rejected[0]['sources'])}" in shown
    shown = run("log", asked, "--user-id", "ana")[1]
    assert rejected[0]["reason"] in shown
    assert calls[0]["operation"] in shown
    shown = run("log", "--user-id", "ana")[1]
    assert f", {len(calls)} calls of fake-invents, {len(rejected)} turned down\n" in shown
    assert run("log", "--calls", "--rejected", "--user-id", "ana")[0] == 1
    assert values("log", "--calls", "--limit", "1", "--user-id", "ana")["results"] == calls[:1]


def test_a_log_without_a_model_says_so(run, lived):
    assert run("log", "--calls", "--user-id", "ana")[1] == "no language model was asked here\n"
    assert run("log", "--rejected", "--user-id", "ana")[1] == "nothing was turned down here\n"


def test_a_model_that_is_not_there_is_one_line(run, lived):
    for spec, said in (("env", "SLOWWAVE_LLM_MODEL is not set"), ("nothing", "OpenAI-compatible")):
        code, out, err = run("sleep", "--llm", spec, "--user-id", "ana")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert said in err


def test_what_is_for_the_background_alone_or_for_one_night_alone_is_told_apart(run):
    for words in (["--hours", "2-5"], ["--minutes", "5"], ["--each", "user_id"], ["--new-records", "0"]):
        code, _, err = run("sleep", *words, "--user-id", "ana")
        assert code == 2
        assert f"{words[0]} is for sleeping in the background; add --watch" in err
    for words in (["--dry-run"], ["--since", "2023-01-01"]):
        code, _, err = run("sleep", "--watch", *words, "--user-id", "ana")
        assert code == 2
        assert f"{words[0]} is for one night; leave --watch out" in err
    code, _, err = run("sleep", "--watch", "--hours", "soon", "--user-id", "ana")
    assert code == 1
    assert "stretches of the day" in err


def test_each_leaves_the_scope_open_and_the_environment_aside(monkeypatch):
    from slowwave.cli.nights import watched_scope

    monkeypatch.setenv("SLOWWAVE_USER_ID", "ana")
    monkeypatch.setenv("SLOWWAVE_AGENT_ID", "bot")
    args = argparse.Namespace(each="user_id")
    assert watched_scope(args) == {"agent_id": "bot"}
    assert watched_scope(argparse.Namespace()) == {"user_id": "ana", "agent_id": "bot"}
    assert watched_scope(argparse.Namespace(each="user_id", user_id="ben")) == {"user_id": "ben", "agent_id": "bot"}


# -- systems and proofs


def test_systems_tells_what_each_fills_claims_and_asks(run, values):
    rows = {row["name"]: row for row in values("systems")["results"]}
    shown = run("systems")[1]
    for name, system in SYSTEMS.items():
        assert rows[name]["operations"] == list(system.operations)
        assert (rows[name]["claim"], rows[name]["paper"]) == (system.claim, system.paper)
        assert f"{name} " in shown
        assert rows[name]["model"] == list(system.asks)
    asked = {name: row["model"] for name, row in rows.items()}
    assert (asked["memos"], asked["a-mem"]) == (["sleep"], ["sleep", "reading"])


def test_the_atlas_shows_card_code_and_measurement_of_every_system_that_is_built(run, values):
    for name, system in SYSTEMS.items():
        row = values("atlas", name)
        assert row["where"].startswith(f"{system.__module__}.{system.__qualname__}")
        assert (row["slug"], row["claim"]) == (name, system.claim)
        assert row["number"] or name == "default", f"{name} is not joined with its card"
        shown = " ".join(run("atlas", name)[1].split())
        assert " ".join(row["where"].split()) in shown
        assert "Measured: " in shown
        if row["measured"]:
            assert " ".join(str(row["measured"]["summary"]).split()) in shown


@pytest.fixture
def proof(tmp_path, monkeypatch):
    """A folder of proofs with one in it, which measures what it is told to."""
    folder = tmp_path / "proofs"
    (folder / "results").mkdir(parents=True)
    result = "{'verdict': VERDICT, 'summary': 'so and so', 'date': '2024-05-01T02:03'}"
    (folder / "common.py").write_text("", "utf-8")
    (folder / "fast_weights.py").write_text(
        f"import json, pathlib, os, sys\nVERDICT = os.environ.get('VERDICT', 'holds')\nprint(VERDICT + ': running')\n"
        "if VERDICT == 'fails': sys.exit(3)\n"
        "if '--quick' not in sys.argv:\n"
        f"    pathlib.Path('proofs/results/fast-weights.json').write_text(json.dumps({result}))\n",
        "utf-8",
    )
    monkeypatch.setattr(showcase, "proofs", lambda: folder)
    return folder


def test_reproduce_runs_a_proof_and_gives_what_it_measured(run, proof):
    assert json.loads(run("reproduce", "--json")[1]) == {"results": ["fast_weights"]}
    code, out, err = run("reproduce", "fast-weights")
    assert (code, err) == (0, "slowwave: running proofs/fast_weights.py, which may take minutes\n")
    assert out.startswith("now        holds: so and so, 2024-05-01\ncommitted  nothing\n")
    code, out, _ = run("reproduce", "fast_weights", "--json")
    found = json.loads(out)
    assert (code, found["code"], found["reproduced"]) == (0, 0, True)
    assert found["measured"] == {"verdict": "holds", "summary": "so and so", "date": "2024-05-01T02:03"}


def test_reproduce_hands_a_model_on_by_its_whole_path(run, proof, tmp_path, monkeypatch):
    (proof / "fast_weights.py").write_text("import sys\nprint('holds:', *sys.argv[1:])\n", "utf-8")
    (tmp_path / "small.gguf").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    whole = str((tmp_path / "small.gguf").resolve())
    for model, handed in (("small.gguf", whole), ("owner/name", "owner/name")):
        found = json.loads(run("reproduce", "fast-weights", "--quick", "--model", model, "--json")[1])
        assert found["said"] == f"holds: --quick --model {handed}"


def test_reproduce_sets_it_beside_what_is_committed(run, proof, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    assert run("reproduce", "fast-weights")[0] == 0
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "a result"]):
        subprocess.run([*git, *words], cwd=proof.parent, check=True, capture_output=True)
    monkeypatch.setenv("VERDICT", "does not hold")
    for _ in range(2):  # the file is another one by the second time, what is committed is not
        code, out, _ = run("reproduce", "fast-weights")
        assert code == 1
        assert "now        does not hold: so and so" in out
        assert "committed  holds: so and so" in out
        assert "another one than that which is committed" in out
    monkeypatch.setenv("VERDICT", "holds")
    assert run("reproduce", "fast-weights")[0] == 0


def test_a_quick_run_writes_nothing_and_a_failed_one_is_told(run, proof, monkeypatch):
    code, out, _ = run("reproduce", "fast-weights", "--quick")
    assert (code, list((proof / "results").iterdir())) == (0, [])
    assert out.startswith("quick      holds: running\n")
    monkeypatch.setenv("VERDICT", "fails")
    code, out, _ = run("reproduce", "fast-weights")
    assert code == 1
    assert "exit code 3" in out


def test_an_installed_package_has_no_proofs_and_says_so(run, monkeypatch):
    monkeypatch.setattr(showcase, "__file__", "/usr/lib/python3/site-packages/slowwave/cli/showcase.py")
    code, out, err = run("reproduce", "default")
    assert (code, out) == (1, "")
    assert "checkout" in err


def test_a_benchmark_has_its_parameters_as_options(run):
    shown = run("bench", "factstream", "--help")[1]
    assert "--seed" in shown
    assert "--quick" in shown


# -- errors


def test_errors_are_one_line_with_exit_code_1_and_no_traceback(run, lived):
    for words in (
        ["get", "nothing", "--user-id", "ana"],
        ["list"],
        ["list", "--user-id", "ana", "--db", "/nowhere/x.db"],
        ["undo", "nothing", "--user-id", "ana"],
        ["list", "--user-id", "ana", "--filters", '{"a": {"like": 1}}'],
        ["search", "x", "--at", "soon", "--user-id", "ana"],
        ["atlas", "nosuchsystem"],
        ["reproduce", "nosuchproof"],
    ):
        code, out, err = run(*words)
        assert (code, out) == (1, "")
        assert err.startswith("slowwave: ")
        assert err.count("\n") == 1
        code, out, err = run(*words, "--json")
        assert (code, err) == (1, "")
        error = json.loads(out)["error"]
        assert error["type"].endswith("Error")
        assert error["message"]


def test_a_wrong_command_line_is_2_with_the_way_to_help(run):
    for words in ([], ["bogus"], ["list", "--bogus"], ["list", "--limit", "x"], ["list", "--filters", "{"], ["get"]):
        code, out, err = run(*words)
        assert (code, out) == (2, "")
        assert "--help" in err
        code, out, err = run(*words, "--json")
        assert (code, err) == (2, "")
        assert json.loads(out)["error"]["type"] == "UsageError"


def test_a_read_makes_no_file(run, tmp_path):
    assert run("list", "--user-id", "ana")[0] == 1
    assert not (tmp_path / "memory.db").exists()


def test_erase_asks_before_it_does(run, values, lived):
    code, _, err = run("erase", "--all", "--user-id", "ana")
    assert (code, "--yes" in err) == (1, True)
    assert len(values("list", "--user-id", "ana")["results"]) == 2
    receipt = values("erase", "--all", "--yes", "--user-id", "ana")
    assert receipt["clean"] is True
    assert values("list", "--user-id", "ana", "--retired")["results"] == []


def test_check_ends_with_1_when_something_is_wrong(run, values, lived, monkeypatch):
    assert values("check") == {"problems": []}
    monkeypatch.setattr(Memory, "check", lambda self: ["a fault"])
    assert run("check")[:2] == (1, "a fault\n")


# -- the terminal


def on_terminal(*words, answer=b"", **env):
    """Runs the command on a pseudo-terminal: (exit code, what was shown)."""
    pty = pytest.importorskip("pty", reason="no pseudo-terminals on this system")
    terminal, inner = pty.openpty()
    options = {"env": {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **env}, "start_new_session": True}
    started = subprocess.Popen([*SLOWWAVE, *words], stdin=inner, stdout=inner, stderr=inner, **options)
    os.close(inner)
    shown = b""
    with suppress(OSError):  # the end of a terminal is an error
        while part := os.read(terminal, 4096):
            shown += part
            if answer and b"[y/N]" in shown:
                os.write(terminal, answer)
                answer = b""
    os.close(terminal)
    return started.wait(timeout=30), shown.decode()


def test_a_terminal_gets_colours_unless_no_color_is_set(lived):
    code, shown = on_terminal("list", "--user-id", "ana")
    assert code == 0
    assert "\x1b[" in shown
    assert "\x1b[3" not in on_terminal("list", "--user-id", "ana", NO_COLOR="1")[1]


def test_on_a_terminal_erase_shows_what_goes_and_takes_no_for_an_answer(lived, values):
    code, shown = on_terminal("erase", "--all", "--user-id", "ana", answer=b"n\n")
    assert code == 1
    assert "I live in Lisbon" in shown
    assert "nothing was erased" in shown
    assert len(values("list", "--user-id", "ana")["results"]) == 2
    code, shown = on_terminal("erase", "--all", "--user-id", "ana", answer=b"y\n")
    assert code == 0
    assert "nothing of them is left" in shown


def test_control_characters_of_a_text_do_not_reach_the_terminal(run, values):
    values("add", "clear \x1b[2J and ring \x07 and hide \u202e!", "--user-id", "ana")
    out = run("list", "--user-id", "ana")[1]
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "\u202e" not in out
    assert "␛[2J" in out


def test_what_the_output_cannot_encode_is_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    page = Page()
    page.line("Größe 🐶")
    sys.stdout.flush()
    assert raw.getvalue() == b"Gr\\xf6\\xdfe \\U0001f436\n"


def test_the_parser_names_every_command(run):
    shown = run("--help")[1]
    assert all(re.search(rf"^    {name} ", shown, re.MULTILINE) for name in COMMANDS)
    assert parser().prog == "slowwave"
    assert run("--version")[1].startswith("slowwave ")
