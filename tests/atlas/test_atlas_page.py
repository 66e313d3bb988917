"""What the atlas prints: nothing wider than asked, nothing lost, and the page in docs as the rows have it."""

from dataclasses import replace
from pathlib import Path

import pytest

from slowwave import atlas
from slowwave.atlas.page import REGENERATE
from slowwave.atlas.register import published

PAGE = Path(__file__).parents[2] / "docs" / "atlas.md"
BUILT = replace(
    published()[9],
    where="slowwave.text.light_mem.LightMem",
    differs="Archives | never deletes.",
    parameters={"threshold": 0.9},
    proof_file="proofs/light_mem.py",
    measured={"verdict": "does not hold", "stale_rate": 0.12, "seeds": [1, 2, 3], "date": "2026-01-02"},
)


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_no_line_of_a_table_is_wider_than_asked_and_every_system_has_one(width):
    lines = atlas.render_table(published(), width).splitlines()
    assert max(map(len, lines)) <= width
    assert [int(line[:3]) for line in lines[2:121]] == list(range(1, 120))


@pytest.mark.parametrize("width", [40, 100])
def test_no_line_of_a_card_is_wider_than_asked_and_no_word_is_lost(width):
    for row in published():
        card = atlas.render_card(row, width)
        assert max(map(len, card.splitlines())) <= width
        if width == 100:
            for text in (row.paper, row.summary, row.claim, row.proof, row.pitfalls):
                assert "".join(text.split()) in "".join(card.split()), row.slug


def test_a_width_too_small_to_read_is_taken_as_40():
    assert atlas.render_card(published()[0], 0) == atlas.render_card(published()[0], 40)
    assert atlas.render_table(published(), -1) == atlas.render_table(published(), 40)


def test_an_empty_table_still_says_that_there_is_nothing():
    assert "0 published systems: 0 built" in atlas.render_table([])


def test_a_card_shows_claim_and_measurement_one_under_the_other_and_the_code():
    lines = atlas.render_card(BUILT, 400).splitlines()
    claim = next(number for number, line in enumerate(lines) if line.startswith("Claim:"))
    assert lines[claim + 1].startswith("Measured:")
    assert "does not hold; stale_rate 0.12; date 2026-01-02" in lines[claim + 1]
    assert "[1, 2, 3]" not in lines[claim + 1]
    for shown in ("slowwave.text.light_mem.LightMem", "threshold=0.9", "proofs/light_mem.py", "Archives | never"):
        assert any(shown in line for line in lines)


def test_what_is_not_measured_says_so():
    assert "Measured:       not yet" in atlas.render_card(published()[0], 100)


def test_the_count_tells_built_measured_proved_and_missing_apart():
    proved = replace(BUILT, measured={"verdict": "holds"})
    unknown = replace(published()[16], where="not installed: slowwave.state does not import here")
    own = replace(BUILT, number=0, slug="default", measured=None)
    table = " ".join(atlas.render_table([own, BUILT, proved, unknown, published()[0]], 300).split())
    assert (
        "4 published systems and 1 of slowwave's own: 3 built, 2 measured, 1 proved, 1 not yet built, 1 unknown"
        in table
    )


def test_the_page_holds_every_system_once_and_its_table_cells_survive_a_bar():
    page = atlas.document([*published()[:9], BUILT, *published()[10:]])
    for row in published():
        assert page.count(f"\n### {row.number}. ") == 1
    assert "Archives \\| never deletes." in page
    assert "| text | 19 | 1 | 0 | 18 |" in page


def test_docs_atlas_is_what_the_rows_generate():
    rows = atlas.rows()
    if any(row.where.startswith("not installed") for row in rows):
        pytest.skip("a form's package is not installed here, so the page cannot be generated whole")
    assert PAGE.read_text("utf-8") == atlas.document(rows), f"docs/atlas.md is behind; run: {REGENERATE}"
