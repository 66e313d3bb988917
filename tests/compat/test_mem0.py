"""mem0's verbs and shapes over slowwave: a script written for mem0 runs with its import changed."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import slowwave
from slowwave.compat.mem0 import AsyncMemory, Memory
from slowwave.errors import InputError, ScopeError

# The shape of mem0's quick start and of its chat example, for mem0 2.x: scope at the top of add, in filters elsewhere.
SCRIPT = """
from mem0 import Memory

config = {
    "llm": {"provider": "openai", "config": {"model": "gpt-5-mini", "temperature": 0.1}},
    "embedder": {"provider": "mock"},
    "vector_store": {"provider": "qdrant", "config": {"collection_name": "chat", "path": PATH, "on_disk": True}},
    "history_db_path": "history.db",
    "version": "v1.1",
}
m = Memory.from_config(config)

messages = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "Hi, I am Alex. I am vegetarian and allergic to nuts."},
    {"role": "assistant", "content": "Noted, Alex: vegetarian, no nuts."},
]
added = m.add(messages, user_id="alex", metadata={"category": "food"})
for entry in added["results"]:
    print(entry["event"], entry["memory"])


def chat_with_memories(message, user_id):
    found = m.search(query=message, filters={"user_id": user_id}, top_k=3)
    memories = "\\n".join(f"- {entry['memory']}" for entry in found["results"])
    assert all(0 <= entry["score"] <= 1 for entry in found["results"])
    m.add([{"role": "user", "content": message}], user_id=user_id, infer=False)
    return memories


print(chat_with_memories("What can Alex eat? Alex is allergic to what?", "alex"))
first = added["results"][0]["id"]
print(m.update(memory_id=first, data="Alex is vegan and allergic to nuts.")["message"])
print(m.get(first)["memory"])
for change in m.history(memory_id=first):
    print(change["event"], "|", change["old_memory"], "|", change["new_memory"])
print(len(m.get_all(filters={"user_id": "alex"})["results"]))
m.delete(memory_id=first)
print(m.get(first))
m.delete_all(user_id="alex")
print(m.get_all(filters={"user_id": "alex"}))
"""
PRINTED = """
ADD Hi, I am Alex. I am vegetarian and allergic to nuts.
ADD Noted, Alex: vegetarian, no nuts.
- Hi, I am Alex. I am vegetarian and allergic to nuts.
- Noted, Alex: vegetarian, no nuts.
Memory updated successfully!
Alex is vegan and allergic to nuts.
ADD | None | Hi, I am Alex. I am vegetarian and allergic to nuts.
UPDATE | Hi, I am Alex. I am vegetarian and allergic to nuts. | Alex is vegan and allergic to nuts.
3
None
{'results': []}
"""


@pytest.fixture
def m(memory):
    return Memory(memory=memory)


def test_a_script_written_for_mem0_runs_with_its_import_changed(tmp_path):
    script = SCRIPT.replace("from mem0 import", "from slowwave.compat.mem0 import").replace("PATH", repr(str(tmp_path)))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    assert sorted(done.stdout.split("\n")[2:4]) == sorted(PRINTED.strip().split("\n")[2:4])
    assert done.stdout.split("\n")[4:-1] == PRINTED.strip().split("\n")[4:]
    assert [file.name for file in tmp_path.iterdir()] == ["chat.db"]


def test_results_have_mem0s_fields(m):
    added = m.add("I love hiking", user_id="alex", agent_id="coach", metadata={"mood": "glad"})
    (entry,) = added["results"]
    assert (entry["memory"], entry["event"], entry["role"]) == ("I love hiking", "ADD", "user")
    (hit,) = m.search("hiking", filters={"user_id": "alex"})["results"]
    assert hit["metadata"] == {"mood": "glad"}
    assert (hit["user_id"], hit["agent_id"], hit["role"]) == ("alex", "coach", "user")
    assert {"id", "memory", "hash", "score", "created_at", "updated_at"} <= set(hit)
    got = m.get(entry["id"])
    assert got == {name: value for name, value in hit.items() if name != "score"}
    assert m.get_all(filters={"user_id": "alex"})["results"] == [got]
    assert (
        m.add("I love hiking", user_id="alex", agent_id="coach", metadata={"mood": "glad"})["results"][0]["event"]
        == "NONE"
    )


def test_a_scope_is_taken_from_arguments_and_from_filters(m):
    m.add("mine", user_id=7)
    m.add("his", user_id="bob", run_id="r1")
    for scope in ({"user_id": 7}, {"filters": {"user_id": "7"}}, {"filters": {"AND": [{"user_id": "7"}]}}):
        assert [hit["memory"] for hit in m.get_all(**scope)["results"]] == ["mine"]
        assert [hit["memory"] for hit in m.search("mine his", **scope)["results"]] == ["mine"]
    for call in (m.get_all, lambda **scope: m.search("x", **scope), lambda **scope: m.add("x", **scope), m.delete_all):
        with pytest.raises(ScopeError):
            call()
    with pytest.raises(ScopeError):
        m.get_all(filters={"user_id": "*"})
    with pytest.raises(InputError, match="usr_id"):
        m.search("x", usr_id="7")


def test_the_id_stays_the_same_through_updates(m):
    (first,) = (entry["id"] for entry in m.add("I live in Lisbon", user_id="ana")["results"])
    m.update(first, "I live in Porto")
    m.update(first, text="I live in Braga", metadata={"sure": True})
    got = m.get(first)
    assert (got["id"], got["memory"], got["metadata"]) == (first, "I live in Braga", {"sure": True})
    assert got["created_at"] < got["updated_at"]
    assert m.search("Braga", user_id="ana")["results"][0]["id"] == first
    history = m.history(first)
    assert [(line["event"], line["old_memory"], line["new_memory"]) for line in history] == [
        ("ADD", None, "I live in Lisbon"),
        ("UPDATE", "I live in Lisbon", "I live in Porto"),
        ("UPDATE", "I live in Porto", "I live in Braga"),
    ]
    assert {line["memory_id"] for line in history} == {first}
    m.delete(first)
    assert m.history(first)[-1]["event"] == "DELETE"
    assert m.history(first)[-1]["is_deleted"] is True


def test_an_id_that_is_not_there_is_none_on_get_and_a_value_error_elsewhere(m):
    assert m.get("nothing") is None
    assert m.history("nothing") == []
    for call in (m.delete, lambda id_: m.update(id_, "x")):
        with pytest.raises(ValueError, match="not found"):
            call("nothing")
    with pytest.raises(ValueError, match="nothing to update"):
        m.update("nothing")


def test_reset_takes_everything_out_of_view_and_it_can_be_undone(m):
    m.add("mine", user_id="ana")
    m.add("his", user_id="bob")
    assert "undo" in m.reset()["message"]
    assert m.get_all(user_id="ana") == m.get_all(user_id="bob") == {"results": []}
    m.memory.undo(user_id="ana")
    assert len(m.get_all(user_id="ana")["results"]) == 1


def test_what_has_expired_is_hidden_until_it_is_asked_for(m):
    m.add("old offer", user_id="ana", expiration_date="2020-01-31")
    m.add("good offer", user_id="ana", expiration_date="2999-01-31")
    assert [r["memory"] for r in m.get_all(user_id="ana")["results"]] == ["good offer"]
    assert [r["memory"] for r in m.search("offer", user_id="ana")["results"]] == ["good offer"]
    assert len(m.search("offer", user_id="ana", show_expired=True)["results"]) == 2
    (old,) = (r for r in m.get_all(user_id="ana", show_expired=True)["results"] if r["memory"] == "old offer")
    assert old["expiration_date"] == "2020-01-31"
    m.update(old["id"], expiration_date=None)
    assert len(m.get_all(user_id="ana")["results"]) == 2
    with pytest.raises(ValueError, match="2026-12-31"):
        m.add("x", user_id="ana", expiration_date="soon")


def test_filters_and_limits_work_as_in_mem0(m):
    for n, mood in enumerate(("glad", "sad", "glad")):
        m.add(f"day {n}", user_id="ana", metadata={"mood": mood, "n": n})
    found = m.search("day", user_id="ana", filters={"mood": "glad", "n": {"gte": 1}})["results"]
    assert [r["memory"] for r in found] == ["day 2"]
    assert len(m.get_all(user_id="ana", top_k=2)["results"]) == 2
    assert len(m.get_all(user_id="ana", limit=1)["results"]) == 1
    assert m.search("day", user_id="ana", top_k=0) == {"results": []}
    assert "score_details" in m.search("day", user_id="ana", explain=True)["results"][0]


def test_metadata_cannot_move_a_memory_into_another_scope(m):
    m.add("mine", user_id="ana", metadata={"user_id": "bob", "tag": 1})
    assert m.get_all(user_id="bob") == {"results": []}
    assert m.get_all(user_id="ana")["results"][0]["metadata"] == {"tag": 1}
    assert any("user_id" in note for note in m.notes)


def test_messages_of_every_shape_are_kept_and_others_refused(m):
    parts = [
        {"type": "text", "text": "look at"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "this"},
    ]
    m.add({"role": "user", "content": parts, "name": "Ana"}, user_id="ana", memory_type="procedural_memory")
    (got,) = m.get_all(user_id="ana")["results"]
    assert (got["memory"], got["actor_id"]) == ("look at\nthis", "Ana")
    assert m.memory.list(user_id="ana")[0].kind == "skill"
    assert m.add([{"role": "system", "content": "rules"}], user_id="ana") == {"results": []}
    for wrong in (7, [7]):
        with pytest.raises(ValueError, match="message"):
            m.add(wrong, user_id="ana")
    with pytest.raises(ValueError, match="procedural_memory"):
        m.add("x", user_id="ana", memory_type="semantic")


def test_a_config_is_taken_over_where_it_means_something_and_noted_where_not(tmp_path):
    config = {
        "vector_store": {"provider": "pgvector", "config": {"host": "db", "path": str(tmp_path / "own.db"), "hnsw": 1}},
        "embedder": {"provider": "mock", "config": {"embedding_dims": 8}},
        "llm": {"provider": "openai"},
        "reranker": {"provider": "cohere"},
        "colour": "blue",
    }
    with Memory.from_config(config) as m:
        assert m.memory.path == str(tmp_path / "own.db")
        assert m.memory.embedder.name == "fake-64"
        told = "\n".join(m.notes)
    for word in ("pgvector", "no server", "hnsw", "llm", "reranker", "colour"):
        assert word in told


def test_a_config_object_of_mem0_is_read_like_a_dictionary(tmp_path):
    class Config:
        def model_dump(self, exclude_unset):
            return {"vector_store": {"config": {"path": ":memory:"}}, "embedder": {"provider": "mock"}}

    with Memory(Config()) as m:
        assert m.memory.path == ":memory:"
    with pytest.raises(InputError, match="dictionary"):
        Memory(7)


def test_without_a_config_it_opens_slowwaves_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("SLOWWAVE_DB", str(tmp_path / "mine.db"))
    monkeypatch.setenv("SLOWWAVE_EMBED_MODEL", "fake")
    with Memory() as m:
        m.add("shared", user_id="ana")
    with slowwave.Memory() as own:
        assert [engram.text for engram in own.list(user_id="ana")] == ["shared"]


def test_the_async_class_awaits_the_same_verbs():
    async def script():
        config = {"vector_store": {"config": {"path": ":memory:"}}, "embedder": {"provider": "mock"}}
        async with AsyncMemory.from_config(config) as m:
            added = await m.add("I love hiking", user_id="alex")
            found = await m.search("hiking", filters={"user_id": "alex"})
            assert found["results"][0]["id"] == added["results"][0]["id"]
            await m.delete(added["results"][0]["id"])
            return await m.get_all(filters={"user_id": "alex"})

    assert asyncio.run(script()) == {"results": []}


def test_both_classes_have_every_verb_of_mem0():
    for verb in ("add", "get", "get_all", "search", "update", "delete", "delete_all", "history", "reset", "chat"):
        assert callable(getattr(Memory, verb))
        assert verb in AsyncMemory.VERBS
