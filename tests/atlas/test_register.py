"""The register is whole, and what is built is joined to it without a word that is not so."""

import json
import subprocess
import sys
import types
from dataclasses import FrozenInstanceError

import pytest

from slowwave import atlas
from slowwave.atlas import register
from slowwave.errors import ExtraMissingError, FormatError, InputError, NotFoundError


class FakeLightMem:
    """A class that builds LightMem."""

    name = "light-mem"
    paper = "LightMem: Lightweight and Efficient Memory-Augmented Generation"
    form = "text"
    operations = ("consolidation", "retrieval")
    claim = "what the class says"
    differs = "Keeps both twins: the original may delete each by the other."
    proof = "proofs/light_mem.py"

    def __init__(self, store: object, threshold: float = 0.9, seeds: int = 15) -> None:
        self.store, self.threshold, self.seeds = store, threshold, seeds


class FakeDefault:
    """What Memory uses: slowwave's own.

    Longer words follow.
    """

    name = "default"
    form = "text"
    operations = ("retrieval",)

    def __init__(self, half_life_days: float = 30.0, zone: object = types) -> None:
        self.half_life_days, self.zone = half_life_days, zone


class FakeHippoState:
    name = "hippo-mm"
    form = "state"
    operations = ("forgetting", "indexing")


class FakeHippoText:
    name = "hippo-mm"
    form = "text"
    operations = ("retrieval",)


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """No form's package but those a test puts in, by name, as a dictionary of classes or an error to raise."""
    given: dict[str, dict[str, type] | ImportError] = {}

    def import_module(path):
        short = path.removeprefix("slowwave.")
        if short not in given:
            raise ModuleNotFoundError(f"No module named {path!r}", name=path)
        if isinstance(given[short], ImportError):
            raise given[short]
        return types.SimpleNamespace(SYSTEMS=given[short])

    monkeypatch.setattr(register, "import_module", import_module)
    monkeypatch.setattr(register, "results_directory", lambda: tmp_path)
    return given


def test_every_number_from_1_to_119_is_there_exactly_once():
    assert [row.number for row in register.published()] == list(range(1, 120))


@pytest.mark.parametrize("spelling", ["slug", "name", "paper"])
def test_no_two_systems_share_a_spelling_even_without_hyphens_and_case(spelling):
    spellings = [register._squeeze(getattr(row, spelling)) for row in register.published()]
    assert len(set(spellings)) == 119


def test_every_slug_is_fit_for_a_command_line():
    for row in register.published():
        assert row.slug.replace("-", "a").isalnum(), row.slug
        assert row.slug == row.slug.lower().strip("-"), row.slug
        assert row.slug.isascii(), row.slug


def test_every_row_is_filled_and_keeps_to_the_six_operations_and_the_nine_forms():
    for row in register.published():
        assert row.operations, row.slug
        assert set(row.operations) <= set(atlas.OPERATIONS), row.slug
        assert len(set(row.operations)) == len(row.operations), row.slug
        assert row.form in atlas.FORMS, row.slug
        assert set(row.home) <= set(atlas.FORMS), row.slug
        for field in ("name", "paper", "authors_year", "summary", "claim", "proof", "pitfalls"):
            assert getattr(row, field).strip() == getattr(row, field) != "", (row.slug, field)


def test_every_text_system_says_what_it_does_at_some_stage():
    for row in register.published():
        if row.form == "text":
            assert row.write or row.read or row.sleep or row.working_memory, row.slug


def test_forms_are_counted_as_the_register_has_them():
    counted = {form: sum(row.form == form for row in register.published()) for form in atlas.FORMS}
    assert list(counted.values()) == [19, 29, 26, 19, 11, 6, 5, 1, 3], counted


def test_every_row_is_found_by_slug_number_name_and_title(packages):
    for wanted in register.published():
        for spelling in (
            wanted.slug,
            wanted.number,
            str(wanted.number),
            wanted.name,
            wanted.paper,
            wanted.slug.upper(),
        ):
            assert atlas.row(spelling).slug == wanted.slug, spelling


@pytest.mark.parametrize("spelling", ["Light Mem", "light_mem", " lightmem "])
def test_a_name_is_found_however_its_parts_are_joined(packages, spelling):
    assert atlas.row(spelling).number == 10


@pytest.mark.parametrize("spelling", ["lightmen", "120", "", "   ", "-", "9" * 5000, "é" * 300])
def test_an_unknown_name_is_not_found_and_says_where_to_look(packages, spelling):
    with pytest.raises(NotFoundError, match="`slowwave atlas` lists all 119"):
        atlas.row(spelling)


def test_a_near_miss_names_what_comes_close(packages):
    with pytest.raises(NotFoundError, match="did you mean light-mem"):
        atlas.row("lightmen")


def test_an_unknown_form_names_the_forms_there_are(packages):
    with pytest.raises(InputError, match=r"'texts'.*text, state, weights"):
        atlas.rows(form="texts")


def test_one_form_alone_is_listed(packages):
    assert {row.form for row in atlas.rows(form="theory")} == {"theory"}


def test_what_is_not_built_says_not_yet_and_is_neither_built_measured_nor_proved(packages):
    everything = atlas.rows()
    assert len(everything) == 119
    for row in everything:
        assert (row.where, row.built, row.measured, row.verdict, row.proved) == ("not yet", False, None, "", False)
        assert (dict(row.parameters), row.proof_file, row.differs) == ({}, None, "")


def test_a_built_class_wins_over_its_row_and_leaves_the_rest_as_published(packages):
    packages["text"] = {"light-mem": FakeLightMem}
    row, published = atlas.row("light-mem"), register.published()[9]
    assert row.built
    assert row.where == f"{__name__}.FakeLightMem"
    assert row.operations == ("consolidation", "retrieval")
    assert row.claim == "what the class says"
    assert row.differs.startswith("Keeps both twins")
    assert row.proof_file == "proofs/light_mem.py"
    assert row.parameters == {"threshold": 0.9, "seeds": 15}  # store has no default, so it is none
    for field in ("number", "name", "summary", "proof", "pitfalls", "sleep", "repository"):
        assert getattr(row, field) == getattr(published, field)
    assert len(atlas.rows()) == 119
    assert [row.slug for row in atlas.rows() if row.built] == ["light-mem"]


def test_a_class_without_a_paper_in_the_register_gets_number_0(packages):
    packages["text"] = {"default": FakeDefault}
    rows = atlas.rows()
    assert len(rows) == 120
    assert (rows[0].number, rows[0].slug) == (0, "default")
    assert rows[0].summary == "What Memory uses: slowwave's own."
    assert atlas.row(0) == atlas.row("default") == rows[0]


def test_a_system_built_in_two_forms_is_one_row_that_names_both_classes(packages):
    packages["text"], packages["state"] = {"hippo-mm": FakeHippoText}, {"hippo-mm": FakeHippoState}
    row = atlas.row("hippo-mm")
    assert row.where == f"{__name__}.FakeHippoText, {__name__}.FakeHippoState"
    assert (row.form, row.operations) == ("text", ("retrieval", "forgetting", "indexing"))
    assert len(atlas.rows()) == 119


@pytest.mark.parametrize(("attribute", "value"), [("operations", ("retrieval", "dreaming")), ("form", "texts")])
def test_a_class_with_an_operation_or_a_form_that_there_is_not_is_refused(packages, monkeypatch, attribute, value):
    monkeypatch.setattr(FakeLightMem, attribute, value)
    packages["text"] = {"light-mem": FakeLightMem}
    with pytest.raises(InputError, match=r"dreaming|texts"):
        atlas.rows()


@pytest.mark.parametrize("error", [ModuleNotFoundError("no torch", name="torch"), ExtraMissingError("state", "state")])
def test_a_package_that_does_not_import_leaves_its_rows_not_installed_and_all_others_alone(packages, error):
    packages["weights"], packages["text"] = error, {"light-mem": FakeLightMem}
    rows = {row.slug: row for row in atlas.rows()}
    assert rows["ewc"].where.startswith("not installed: ")
    assert "pip install 'slowwave[weights]'" in rows["ewc"].where
    assert rows["ideal-learner"].where.startswith("not installed: ")  # a theory that lives among the weights systems
    assert not rows["ewc"].built
    assert rows["light-mem"].built
    assert rows["titans"].where == "not yet"


def test_a_system_built_in_one_form_stays_built_when_the_package_of_its_other_form_is_not_installed(packages):
    packages["text"], packages["state"] = {"hippo-mm": FakeHippoText}, ImportError("no torch")
    assert atlas.row("hippo-mm").where == f"{__name__}.FakeHippoText"


@pytest.mark.parametrize("stem", ["light-mem", "light_mem"])
@pytest.mark.parametrize(("verdict", "proved"), [("holds", True), ("does not hold", False), (None, False)])
def test_what_a_proof_measured_is_read_and_only_a_verdict_that_holds_counts_as_proved(
    packages, tmp_path, stem, verdict, proved
):
    packages["text"] = {"light-mem": FakeLightMem}
    result = {"recall": 0.7, "seeds": [1, 2]} | ({} if verdict is None else {"verdict": verdict})
    (tmp_path / f"{stem}.json").write_text(json.dumps(result), "utf-8")
    row = atlas.row("light-mem")
    assert row.measured == result
    assert row.verdict == (verdict or "no verdict")
    assert row.proved is proved


def test_what_further_proofs_of_a_system_measured_stands_beside_and_proves_nothing(packages, tmp_path):
    packages["text"] = {"light-mem": FakeLightMem}
    mine = {"system": "light-mem", "verdict": "holds", "summary": "trained, it recalls"}
    (tmp_path / "light_mem_trained.json").write_text(json.dumps(mine), "utf-8")
    (tmp_path / "light_mem_of_others.json").write_text(json.dumps({**mine, "system": "other"}), "utf-8")
    row = atlas.row("light-mem")
    assert row.further == {"light_mem_trained": mine}
    assert not row.proved
    assert row.to_dict()["further"] == {"light_mem_trained": mine}
    assert "light\\_mem\\_trained: holds: trained, it recalls" in atlas.document([row])


def test_a_result_without_a_class_is_not_a_proof(packages, tmp_path):
    (tmp_path / "light-mem.json").write_text('{"verdict": "holds"}', "utf-8")
    assert not atlas.row("light-mem").proved


@pytest.mark.parametrize("content", ["{", "[1]", "", "\ud83d".encode("utf-16-le", "surrogatepass").decode("latin-1")])
def test_a_broken_result_file_is_named(packages, tmp_path, content):
    (tmp_path / "light-mem.json").write_text(content, "utf-8")
    with pytest.raises(FormatError, match=r"light-mem\.json"):
        atlas.rows()


def test_a_row_goes_through_json_and_cannot_be_changed(packages):
    packages["text"] = {"default": FakeDefault}
    row = atlas.row("default")
    back = json.loads(json.dumps(row.to_dict()))
    assert back["parameters"] == {"half_life_days": 30.0, "zone": repr(types)}
    assert (back["operations"], back["measured"]) == (["retrieval"], None)
    assert set(back) == set(atlas.row("ewc").to_dict())
    with pytest.raises(FrozenInstanceError):
        row.where = "here"


def test_our_own_classes_carry_what_the_atlas_shows():
    classes, _ = register._classes()
    for slug, cls in classes:
        assert slug == cls.name, cls
        own = slug in ("default", "holds", "compare")
        assert atlas.row(slug).number or own, f"{slug} is neither in the register nor slowwave's own"
        assert cls.form in atlas.FORMS, cls
        assert cls.operations, cls
        for attribute in ("paper", "claim", "differs", "proof"):
            assert isinstance(getattr(cls, attribute), str | None), (cls, attribute)


def test_a_class_builds_its_paper_however_its_name_is_spelled(packages, tmp_path):
    class FakeTim(FakeLightMem):
        name = "tim"

    class FakeMemOS(FakeLightMem):
        name = "memos"

    packages["text"] = {"tim": FakeTim, "memos": FakeMemOS}
    (tmp_path / "memos.json").write_text('{"verdict": "holds"}', "utf-8")
    by_number = {row.number: row for row in atlas.rows()}
    assert [(by_number[n].slug, by_number[n].built) for n in (21, 72)] == [("tim", True), ("memos", True)]
    assert by_number[72].verdict == "holds"
    for spelling in ("tim", "TiM", "think-in-memory", "21"):
        assert atlas.row(spelling).number == 21
    for spelling in ("memos", "mem-os", "MemOS"):
        assert atlas.row(spelling).number == 72
    assert len(by_number) == len(atlas.rows())


def test_the_atlas_itself_loads_no_torch():
    code = "import sys, slowwave.atlas, slowwave.atlas.register as r; r.published(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
