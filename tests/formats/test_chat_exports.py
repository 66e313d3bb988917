"""ChatGPT, Claude and plain messages: what is kept, what is left out and why."""

from __future__ import annotations

import json
import shutil
import zipfile
from datetime import UTC, datetime, timedelta

import pytest

from slowwave.errors import FormatError


def test_chatgpt_follows_the_branch_of_the_current_node(samples, reading):
    got = reading(samples / "chatgpt.json", "chatgpt")
    spoken = [item.text for item in got.items if item.session == "Trip to Porto [6458f0a0]"]
    assert spoken == ["Which bridge is this?", "It is the Dom Luís I Bridge.", "Thank you, I will walk there."]
    (other,) = [junk for junk in got.junk if "branch" in junk.reason]
    assert other.text == "Which brigde is this?"
    assert other.where.endswith(".aaa9")


def test_chatgpt_keeps_who_when_and_what_came_along(samples, reading):
    got = reading(samples / "chatgpt.json", "chatgpt")
    asked = got.item("Which bridge")
    assert (asked.speaker, asked.kind, asked.origin) == ("user", "episode", "chatgpt:aaa4")
    assert asked.at == datetime.fromtimestamp(1683550981.25, UTC)
    assert asked.at.utcoffset() == timedelta(hours=1)  # shown in the zone given
    assert asked.attrs["attachments"] == ["bridge.jpg"]
    assert asked.attrs["media"] == ["image_asset_pointer"]
    assert got.item("Dom Luís").attrs["model"] == "gpt-4"
    spoken = got.item("walk there")
    assert spoken.at == datetime.fromtimestamp(1683550992, UTC)
    assert spoken.attrs["dated_by"] == "the message before"
    assert got.item("for i in range").text.startswith("```python\n")


def test_chatgpt_custom_instructions_become_notes_once(samples, reading):
    got = reading(samples / "chatgpt.json", "chatgpt")
    notes = [item for item in got.items if item.kind == "note"]
    assert [note.text for note in notes] == ["I live in Porto and work as a nurse.", "Answer briefly."]
    assert got.reasons.count("custom instructions again") == 2


def test_chatgpt_custom_instructions_are_freed_of_their_wrapping(samples, reading, tmp_path):
    chats = json.loads((samples / "chatgpt.json").read_text("utf-8"))[:1]
    del chats[0]["mapping"]["aaa3"]["message"]["metadata"]["user_context_message_data"]
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(chats), "utf-8")
    assert {"I live in Porto and work as a nurse.", "Answer briefly."} < set(reading(path).texts)


def test_chatgpt_tools_reasoning_and_system_are_junk(samples, reading):
    reasons = reading(samples / "chatgpt.json", "chatgpt").reasons
    for reason in ("a call of a tool", "output of a tool", "the model's reasoning", "a system prompt"):
        assert reasons.count(reason) == 1, reason


@pytest.mark.parametrize("leaf", [None, "gone", 7])
def test_chatgpt_without_a_current_node_takes_the_newest_leaf(samples, reading, tmp_path, leaf):
    chats = json.loads((samples / "chatgpt.json").read_text("utf-8"))[1:]
    chats[0]["current_node"] = leaf
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(chats), "utf-8")
    assert reading(path).texts[-2:] == ["Write a loop.", "```python\nfor i in range(3): print(i)\n```"]


def test_chatgpt_survives_a_loop_of_parents(samples, reading, tmp_path):
    chats = json.loads((samples / "chatgpt.json").read_text("utf-8"))[1:]
    chats[0]["mapping"]["bbb2"]["parent"] = "bbb5"
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(chats), "utf-8")
    assert "Write a loop." in reading(path).texts


def test_chatgpt_zip_folder_and_numbered_files_give_the_same(samples, reading, tmp_path):
    plain = reading(samples / "chatgpt.json", "chatgpt")
    chats = json.loads((samples / "chatgpt.json").read_text("utf-8"))
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("user.json", "{}")
        out.writestr("chat.html", "<html></html>")
        for index, chat in enumerate(chats):
            out.writestr(f"conversations-{index:03}.json", json.dumps([chat]))
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(samples / "chatgpt.json", folder / "conversations.json")
    assert reading(archive).items == plain.items
    assert reading(folder).items == plain.items


def test_claude_reads_chats_projects_and_memories_of_a_folder(samples, reading):
    got = reading(samples / "claude")
    assert got.texts == [
        "I move on 5 April.",
        "The rent is 900 euros a month.",
        "Here is a list.",
        "An older message, without blocks.",
        "**Work context**\n\nAna is a nurse in Porto.",
        "The thesis is due in June.",
        "Sleep of nurses on night shifts",
        "Chapter one: shifts.",
    ]
    assert not any("ana@example.com" in item.text for item in got.items)


def test_claude_keeps_zone_speaker_and_files(samples, reading):
    got = reading(samples / "claude" / "conversations.json")
    first = got.item("5 April")
    assert first.at == datetime(2025, 3, 1, 10, 0, 1, tzinfo=UTC)
    assert first.at.utcoffset() == timedelta(0)  # the zone that was written
    assert (first.speaker, first.attrs["role"]) == ("human", "user")
    assert first.attrs["attachments"] == ["contract.txt", "plan.png"]
    assert got.item("900 euros").links == (("about", first.origin),)
    assert got.item("older message").session == "Untitled [0f1e2d3c]"


def test_claude_other_branches_prompts_and_empty_messages_are_junk(samples, reading):
    got = reading(samples / "claude")
    assert sorted(got.reasons) == ["a branch not followed (edited or regenerated)", "a system prompt", "no text"]


def test_claude_parts_as_zips_in_one_folder(samples, reading, tmp_path):
    for name in ("conversations", "memories"):
        with zipfile.ZipFile(tmp_path / f"{name}-000.zip", "w") as out:
            out.write(samples / "claude" / f"{name}.json", f"{name}.json")
    assert len(reading(tmp_path).items) == 6


def test_claude_design_chats_are_read(reading, tmp_path):
    folder = tmp_path / "design_chats"
    folder.mkdir()
    text = {"type": "text", "text": "A blue page."}
    messages = [{"uuid": "x", "role": "assistant", "content": {"contentBlocks": [text], "timestamp": "2026-01-02"}}]
    chat = {"uuid": "dc", "title": "Page", "created_at": "2026-01-01T00:00:00Z", "messages": messages}
    (folder / "dc.json").write_text(json.dumps(chat), "utf-8")
    shutil.copytree(tmp_path / "design_chats", tmp_path / "all" / "design_chats")
    got = reading(tmp_path / "all", "claude")
    assert [(i.text, i.speaker, i.session) for i in got.items] == [("A blue page.", "assistant", "Page [dc]")]


def test_messages_keep_names_times_scopes_and_conversations(samples, reading):
    got = reading(samples / "messages.jsonl")
    first = got.item("moved to Porto")
    assert (first.speaker, first.session, first.scope) == ("Ana", "c1", {"user_id": "ana"})
    assert first.at == datetime.fromisoformat("2024-05-08T14:03:00+01:00")
    assert first.origin == "messages:c1:msg_1"
    assert got.item("Welcome").at == datetime(2024, 5, 8, 13, 4, tzinfo=UTC)
    parts = got.item("picture")
    assert (parts.session, parts.attrs["media"]) == ("conv-7", ["image_url"])
    assert parts.at == datetime.fromisoformat("2024-05-09T09:00:00+01:00")  # naive: read in the zone given
    assert got.reasons == ["a system prompt", "a call of a tool", "output of a tool"]


def test_messages_without_ids_keep_their_origins_when_the_file_grows_or_is_renamed(reading, tmp_path):
    lines = [json.dumps({"role": "user", "content": text}) for text in ("yes", "no", "yes")]
    short, long = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    short.write_text("\n".join(lines), "utf-8")
    long.write_text("\n".join([*lines, lines[0]]), "utf-8")
    before = [item.origin for item in reading(short).items]
    after = [item.origin for item in reading(long).items]
    assert after[:3] == before
    assert len(set(after)) == 4


def test_messages_as_one_json_array(samples, reading, tmp_path):
    rows = [json.loads(line) for line in (samples / "messages.jsonl").read_text("utf-8").splitlines()]
    path = tmp_path / "messages.json"
    path.write_text(json.dumps(rows, indent=2), "utf-8")
    assert reading(path).items == reading(samples / "messages.jsonl").items


def test_a_bad_line_costs_only_itself(samples, reading, tmp_path):
    good = (samples / "messages.jsonl").read_bytes().splitlines()
    for place in range(len(good) + 1):
        path = tmp_path / f"{place}.jsonl"
        path.write_bytes(b"\n".join([*good[:place], b'{"role": "user", "con', b"\xff\xfe\x00", *good[place:]]))
        got = reading(path, "messages")
        assert len(got.items) == 4, place
        assert [junk.where for junk in got.junk if junk.reason.startswith("unreadable")] == [
            f"{place}.jsonl:{place + 1}",
            f"{place}.jsonl:{place + 2}",
        ]


@pytest.mark.parametrize("name", ["chatgpt", "claude", "messages", "mem0", "mcp-memory"])
def test_json_of_no_known_layout_is_an_error_not_an_empty_import(reading, tmp_path, name):
    path = tmp_path / "conversations.json"
    path.write_text('[{"a": 1}, 2, null, "text"]', "utf-8")
    with pytest.raises(FormatError, match=f"as {name}"):
        reading(path, name)
