"""How each data set becomes records and questions: on made-up files of the same layout."""

import gzip
import json
from collections import Counter
from datetime import datetime

import pytest

from slowwave.bench import beam, epbench, locomo, longmemeval, personamem
from slowwave.records import Item


@pytest.fixture
def talk(tmp_path):
    turns = [{"speaker": "Ana", "dia_id": f"D1:{n}", "text": f"turn {n} "} for n in range(1, 4)]
    turns[1] |= {"blip_caption": "a red kite", "query": "the secret answer"}
    later = [{"speaker": "Ben", "dia_id": "D10:1", "text": "much later"}]
    qa = [
        {"question": "q1", "evidence": ["D1:1; D1:2"], "category": 1},
        {"question": "q2", "evidence": ["D:1:3"], "category": 2},
        {"question": "q3", "evidence": ["D9:9"], "category": 3},
        {"question": "q4", "evidence": [], "category": 4},
        {"question": "q5", "evidence": ["D10:1", "D10:1"], "category": 5},
    ]
    talk = {
        "session_10": later,
        "session_10_date_time": "4:04 pm on 20 January, 2023",
        "session_1": turns,
        "session_1_date_time": "1:56 pm on 8 May, 2022",
    }
    file = tmp_path / "conv-0.json"
    file.write_text(json.dumps({"conversation": talk, "qa": qa}))
    return file


def test_locomo_mends_evidence_and_says_so(talk):
    counts = Counter()
    found = locomo.read(talk, {("conv-0", 1)}, counts)
    assert [(q.text, q.evidence, q.kind, q.audited) for q in found.questions] == [
        ("q1", ("D1:1", "D1:2"), "multi-hop", False),
        ("q2", ("D1:3",), "temporal", True),
        ("q5", ("D10:1",), "adversarial", False),
    ]
    assert counts["evidence lists mended"] == 2
    assert counts["unknown ids dropped"] == 1
    assert counts["questions without evidence skipped"] == 2


def test_locomo_keeps_captions_and_never_the_image_query(talk):
    found = locomo.read(talk, set(), Counter())
    assert [item.text for item in found.items] == ["turn 1", "turn 2 [image: a red kite]", "turn 3", "much later"]
    assert not any("secret" in repr(item) for item in found.items)
    assert found.items[0].at == datetime(2022, 5, 8, 13, 56)
    assert found.items[3].session == "session_10"
    assert found.asked == datetime(2023, 1, 20, 16, 4)


def test_longmemeval_counts_chats(tmp_path):
    data = {
        "haystack_session_ids": ["a", "b"],
        "haystack_dates": ["2022/09/01 (Thu) 00:10", "2022/09/02 (Fri) 00:10"],
        "haystack_sessions": [[{"role": "user", "content": "hello"}], [{"role": "assistant", "content": "x" * 9000}]],
        "question_date": "2022/09/03 (Sat) 23:52",
        "questions": ["one?", "two?"],
        "answer_session_ids": [["a", "b"], ["b"]],
    }
    file = tmp_path / "history_0.json"
    file.write_text(json.dumps(data))
    counts = Counter()
    found = longmemeval.read(file, counts)
    assert found.units == ("a", "b")
    assert [(q.evidence, q.kind) for q in found.questions] == [
        (("a", "b"), "of the data set"),
        (("b",), "about filler chats"),
    ]
    assert len(found.items[1].text) == longmemeval.LONGEST
    assert counts["turns cut"] == 1


def test_longmemeval_counts_the_times_that_questions_name():
    def asked(query):
        return {"query": query, "meta": {"query_timestamp": "2023-05-30T00:00:00+00:00", "question_type": "kind"}}

    out = longmemeval.times_named([asked("What did I buy last week?"), asked("What is my name?")])
    assert out == {"kind": {"questions": 2, "hints": 1, "resolved": 1, "beyond the hints": 0, "future": 0}}


def test_beam_strips_the_marker_and_the_plan(tmp_path):
    message = {
        "id": 4,
        "role": "user",
        "content": "When is it due? ->-> 1,12",
        "index": "1,12",
        "question_type": "main",
    }
    dated = message | {"id": 5, "time_anchor": "March-15-2024", "content": "Now."}
    batches = [{"batch_number": 1, "turns": [[message, dated], [message | {"id": 6}]]}]
    with gzip.open(tmp_path / "chat.json.gz", "wt") as handle:
        json.dump(batches, handle)
    probes = {
        "temporal_reasoning": [{"question": "when?", "source_chat_ids": {"first": [4], "second": [[6], 99]}}],
        "abstention": [{"question": "why?"}],
    }
    (tmp_path / "probing_questions.json").write_text(json.dumps(probes))
    counts = Counter()
    found = beam.read(tmp_path, counts)
    assert [item.text for item in found.items] == ["When is it due?", "Now.", "When is it due?"]
    assert not any("1,12" in repr(item) or "main" in repr(item) for item in found.items)
    assert found.items[2].at - found.items[1].at == beam.GAP
    assert [(q.text, q.evidence) for q in found.questions] == [("when?", ("4", "6"))]
    assert counts["unknown ids dropped"] == counts["questions without evidence skipped"] == 1


def test_epbench_leaves_out_what_the_thriller_cannot_ask(tmp_path):
    def entry(cue, asks, chapters):
        return {"question": cue, "cue": cue, "retrieval_type": asks, "get": "all", "correct_answer_chapters": chapters}

    entries = [
        entry("(t, *, *, *)", "Spaces", [2]),
        entry("(*, *, *, c)", "Spaces", [1]),
        entry("(*, s, *, *)", "Event contents", [1]),
        entry("(*, s, ent, *)", "Times", []),
    ]
    for book in ("news", "thriller"):
        with gzip.open(tmp_path / f"{book}_book.txt.gz", "wt") as handle:
            handle.write("Chapter 1\n\nOne.\n\nTwo.\n\nChapter 2\n\nThree.\n")
        with gzip.open(tmp_path / f"{book}_qa.jsonl.gz", "wt") as handle:
            handle.write("\n".join(map(json.dumps, entries)))
    news = epbench.read(tmp_path, "news", Counter())
    assert news.units == ("1", "1", "2")
    assert [item.text for item in news.items] == ["One.", "Two.", "Three."]
    assert [(q.kind, q.evidence) for q in news.questions] == [
        ("all, by time", ("2",)),
        ("all, by content", ("1",)),
        ("all, by place", ("1",)),
    ]
    assert [q.kind for q in epbench.read(tmp_path, "thriller", Counter()).questions] == ["all, by time"]
    assert [e["cue"] for e in epbench.entries(tmp_path, "news")] == ["(*, s, ent, *)"]


def test_personamem_leaves_the_persona_summary_out(monkeypatch, tmp_path):
    folder = tmp_path / "personamem_32k"
    folder.mkdir()
    document = {
        "id": "d0",
        "user_id": "u" * 20,
        "content": "[SYSTEM] Name: Ana\n[USER] I like tea.\n[ASSISTANT] Noted.",
    }
    query = {"user_id": "u" * 20, "meta": {"question_type": "k", "retrieval_query": "User: Ana\n\nWhat do I like?"}}
    for name, entry in (("documents", document), ("queries", query)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as handle:
            handle.write(json.dumps(entry) + "\n")
    monkeypatch.setenv("SLOWWAVE_DATA", str(tmp_path))
    (found,), _ = personamem.PersonaMem().read(Counter())
    assert [(item.speaker, item.text) for item in found.items] == [("user", "I like tea."), ("assistant", "Noted.")]
    assert [q.text for q in found.questions] == ["What do I like?"]
    assert isinstance(found.items[0], Item)
