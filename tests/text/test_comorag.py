"""ComoRAG: three layers made in sleep from what is new, and a search that probes for what it did not find."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from replying import Replying
from slowwave import Memory
from slowwave.text.comorag import LAYERS, ComoRAG, mixed

READER = {"user_id": "reader"}
START = datetime(2024, 1, 1, tzinfo=UTC)
CHAIN = [
    "The old red boat in the harbour belongs to Mara.",
    "Everybody knows that a brother of Mara is called Tom.",
    "After long months, Tom found work at Kestrel.",
]
OTHERS = [
    "The green cart in the valley belongs to Nadia.", "The blue barn in the meadow belongs to Leo.",
    "The white mill in the village belongs to Petra.", "The black ferry in the gorge belongs to Hugo.",
    "The grey kiln in the forest belongs to Ida.", "The brown press in the yard belongs to Karl.",
    *(f"A neighbour says that the brother of {name} works hard." for name in ("Nadia", "Leo", "Petra", "Hugo")),
]  # fmt: skip
QUESTION = "Where does the brother of the owner of the red boat work?"


@pytest.fixture
def open_story(clock):
    opened = []

    def open_(system=None, **options):
        options = {"embedder": "fake", "clock": clock, **options}
        opened.append(Memory(":memory:", system=system or ComoRAG(), **options))
        return opened[-1]

    yield open_
    for memory in opened:
        memory.close()


def tell(memory, lines, session="one", start=START):
    for n, line in enumerate(lines):
        memory.add(line, at=start + timedelta(minutes=n), session=session, **READER)


def long_story(parts=40, words=60):
    """Passages of about 90 tokens on four matters, which make some chunks each."""
    matters = ["the lighthouse and its keeper", "bees in the orchard", "a railway to the coast", "the violin maker"]
    return [
        f"Part {n}: Clara wrote of {matters[n % 4]}. "
        + " ".join(f"{matters[n % 4].split()[-1]}{k}" for k in range(words))
        for n in range(parts)
    ]


def layers(memory):
    out = {}
    for engram in memory.list(limit=None, **READER):
        out.setdefault(engram.attrs.get("layer", "record"), []).append(engram)
    return out


def test_a_loop_finds_the_chain_that_one_search_misses(open_story):
    memory = open_story(ComoRAG(cycles_by_rule=3, layers=("veridical",)), embedder="minilm")
    tell(memory, [*OTHERS, *CHAIN])
    memory.sleep(**READER)
    found = memory.search(QUESTION, threshold=0, **READER)
    places = [[hit.text for hit in found].index(line) for line in CHAIN]
    memory.system.cycles_by_rule = 0
    once = [hit.text for hit in memory.search(QUESTION, threshold=0, top_k=20, **READER)]
    assert sum(places) < sum(once.index(line) for line in CHAIN)
    assert "Mara" in found.trace["probes"]
    assert any("Tom" in hit.why for hit in found if hit.text == CHAIN[2])


def test_a_loop_works_before_any_night(open_story):
    memory = open_story(ComoRAG(layers=("veridical",)), embedder="minilm")
    tell(memory, [*OTHERS, *CHAIN])
    hits = memory.search(QUESTION, threshold=0, top_k=20, **READER)
    assert next(hit for hit in hits if hit.text == CHAIN[1]).why.endswith("asking for 'Mara'")


def test_a_night_makes_three_layers_and_a_graph_of_names(open_story):
    memory = open_story()
    tell(memory, long_story())
    tell(memory, [*CHAIN, "Mara joined the choir with Tom."], "two", START + timedelta(days=1))
    memory.sleep(**READER)
    found = layers(memory)
    assert {"record", "semantic", "episodic", "names", "triples"} <= set(found)
    assert {"Mara", "Tom", "Kestrel", "Clara"} <= {e.text for e in found["names"]}
    for layer in ("semantic", "episodic"):
        for summary in found[layer]:
            assert summary.sources
            assert all(memory.get(id_, **READER).at <= summary.at for id_ in summary.sources)
    assert memory.sleep(**READER).op is None


def test_the_next_night_reads_what_is_new_alone(open_story):
    memory = open_story()
    tell(memory, long_story(20))
    memory.sleep(**READER)
    before = {e.id for e in memory.list(limit=None, **READER)}
    tell(memory, long_story(44)[20:], "two", START + timedelta(days=1))
    memory.sleep(**READER)
    made = [e for e in memory.list(limit=None, **READER) if e.id not in before and e.kind == "summary"]
    assert made
    told = {e.id for e in memory.list(limit=None, kinds=["episode"], **READER) if e.session == "two"}
    for summary in made:
        assert set(summary.sources) <= told | {e.id for e in made}, "old records are not summed up again"


def test_few_chunks_wait_for_more_and_are_then_summed_up(open_story):
    memory = open_story()
    tell(memory, long_story(2))
    memory.sleep(**READER)
    assert "episodic" not in layers(memory)
    tell(memory, long_story(16)[2:], start=START + timedelta(days=1))
    memory.sleep(**READER)
    assert "episodic" in layers(memory)
    first = next(e for e in layers(memory)["record"] if e.text.startswith("Part 0:"))
    ties = memory.store.view(first.scope).links([first.id], ("part",))
    assert {tie.target for tie in ties} & {e.id for e in layers(memory)["episodic"]}, "what waited is among it"


def test_each_layer_can_be_left_out(open_story):
    for left_out in LAYERS:
        memory = open_story(ComoRAG(layers=tuple(layer for layer in LAYERS if layer != left_out)))
        tell(memory, long_story(30))
        memory.sleep(**READER)
        hits = memory.search("What did Clara write of the orchard?", threshold=0, top_k=30, **READER)
        assert hits
        assert {hit.why.split(";")[0] for hit in hits} <= set(LAYERS) - {left_out}


def test_names_and_triples_lead_to_evidence_and_are_none(open_story):
    memory = open_story()
    tell(memory, CHAIN)
    memory.sleep(**READER)
    hits = memory.search("Mara Tom Kestrel", threshold=0, top_k=50, **READER)
    assert {hit.engram.attrs.get("layer") for hit in hits} <= {None, "semantic", "episodic"}


def test_hits_are_mixed_by_the_budgets_of_their_layers(open_story):
    memory = open_story(ComoRAG(budgets=(1000, 1000, 1000)))
    tell(memory, long_story())
    memory.sleep(**READER)
    even = memory.search("the orchard of Clara", threshold=0, top_k=6, **READER)
    assert {hit.why.split(";")[0] for hit in even} == set(LAYERS)
    memory.system.budgets = (3000, 1, 1)
    uneven = memory.search("the orchard of Clara", threshold=0, top_k=8, **READER)
    assert [hit.why.split(";")[0] for hit in uneven].count("veridical") == 6


def test_speakers_are_no_nodes(open_story):
    memory = open_story()
    for n, line in enumerate(("Mara said that Ana sings.", "Then Ana met Tom.")):
        memory.add(line, speaker="Ana", at=START + timedelta(minutes=n), **READER)
    memory.sleep(**READER)
    assert {e.text for e in layers(memory)["names"]} == {"Mara", "Tom"}


def test_a_reader_who_lets_it_gets_an_answer_and_never_a_failure_as_one(open_story):
    def answer(operation, inputs):
        if operation == "try":
            known = any("Tom found work" in said for said in inputs["records"])
            return {"known": "yes" if known else "no", "answer": "Kestrel" if known else "I do not know yet."}
        if operation == "probes":
            return {"probes": ["Who is a brother of Mara?", "Where did Tom find work?"]}
        return {"cue": "nothing"}

    model = Replying(answer)
    memory = open_story(ComoRAG(budgets=(60, 1, 1)), llm=model.llm())
    tell(memory, [*OTHERS, *CHAIN])
    hits = memory.search(QUESTION, threshold=0, ask=True, **READER)
    assert hits.trace.get("answer") == "Kestrel"
    assert hits.trace["probes"] == ["Who is a brother of Mara?", "Where did Tom find work?"]
    never = open_story(llm=Replying(lambda op, inputs: {"known": "no", "answer": "unknown"}).llm())
    tell(never, CHAIN)
    assert "answer" not in never.search(QUESTION, threshold=0, ask=True, **READER).trace


@pytest.mark.parametrize("value", ["", "Error: rate limit exceeded", {"items": []}, {"summary": "Zorblax 4242."}, None])
def test_a_model_that_fails_or_invents_leaves_the_rules_and_its_words_are_nowhere(open_story, value):
    memory = open_story(llm=Replying(lambda operation, inputs: value).llm(down_after=10_000))
    tell(memory, long_story(12))
    tell(memory, CHAIN, "two", START + timedelta(days=1))
    memory.sleep(**READER)
    texts = [e.text for e in memory.list(limit=None, retired=True, **READER)]
    assert not any("Zorblax" in text or "rate limit" in text for text in texts)
    hits = memory.search(QUESTION, threshold=0, top_k=5, ask=True, **READER)
    assert CHAIN[0] in [hit.text for hit in hits]
    assert "answer" not in hits.trace


def test_a_night_whose_model_is_spent_goes_on_where_it_stopped(open_story):
    model = Replying(lambda operation, inputs: {"items": []} if operation == "triples" else "?")
    memory = open_story(llm=model.llm(max_calls=1))
    tell(memory, ["Then Mara sang.", "Later Tom came."], "a")
    tell(memory, ["Then Petra danced.", "Later Hugo came."], "b", START + timedelta(days=1))
    memory.sleep(**READER)
    assert {e.text for e in layers(memory)["names"]} == {"Mara", "Tom"}
    memory.llm.max_calls = None
    memory.sleep(**READER)
    assert {e.text for e in layers(memory)["names"]} == {"Mara", "Tom", "Petra", "Hugo"}
    assert sum(e.text == "Mara" for e in layers(memory)["names"]) == 1


def test_as_of_an_earlier_day_nothing_later_is_told(open_story):
    memory = open_story()
    tell(memory, long_story(40))
    memory.sleep(**READER)
    moment = START + timedelta(minutes=10)
    for hit in memory.search("What did Clara write?", at=moment, threshold=0, top_k=50, **READER):
        quoted = [memory.get(id_, **READER) for id_ in hit.engram.sources]
        assert all(e.at <= moment for e in [hit.engram, *quoted])


def test_scopes_are_not_mixed_in_a_summary(open_story):
    memory = open_story()
    for run in ("x", "y"):
        for n, line in enumerate(long_story(12)):
            memory.add(line, at=START + timedelta(minutes=n), session=run, run_id=run, **READER)
    memory.sleep(**READER)
    assert layers(memory)["episodic"]
    for engram in memory.list(limit=None, **READER):
        assert len({memory.get(id_, **READER).scope for id_ in engram.sources} | {engram.scope}) == 1


def test_the_mix_gives_every_piece_once():
    from slowwave.ops.probing import Piece, Pool
    from slowwave.records import Engram, Scope

    pool = Pool("q")
    pool.add(
        Piece(
            n, Engram(f"{n:026}", "episode", "word " * 20, Scope(user_id="u"), START, START), LAYERS[n % 3], 0.1, n / 50
        )
        for n in range(30)
    )
    order = mixed(pool, dict.fromkeys(LAYERS, 100))
    assert sorted(piece.n for piece in order) == list(range(30))
    assert [piece.layer for piece in order[:3]] == list(LAYERS)
