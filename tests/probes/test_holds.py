"""What a model holds is told from what it does not, with a confidence that nothing scored has set."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.cloze.grids import ties_of, value_grids
from slowwave.cloze.invented import ATTRIBUTES
from slowwave.cloze.scoring import logprobs, spans, tails
from slowwave.cloze.statements import Statement, cue, furnish, read_statements
from slowwave.errors import InputError
from slowwave.probes import SYSTEMS
from slowwave.probes.calibration import Calibrator, folds_of, reliability
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import WordTokenizer, people, statement
from slowwave.probes.holds import Holds, holds, lead, score
from slowwave.probes.subjects import Subject
from slowwave.probes.training import Schedule, rows_sampler, train


class Known(torch.nn.Module):
    """A table: after a context that ends in these words, this word has probability 0.9; else all are alike."""

    def __init__(self, rules: dict[tuple[int, ...], int], vocabulary: int) -> None:
        super().__init__()
        self.rules, self.vocabulary = rules, vocabulary

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        out = torch.zeros(*ids.shape, self.vocabulary)
        for row, line in enumerate(ids.tolist()):
            for end in range(1, len(line) + 1):
                for words, then in self.rules.items():
                    if tuple(line[max(0, end - len(words)) : end]) == words:
                        out[row, end - 1] = np.log(0.1 / (self.vocabulary - 1))
                        out[row, end - 1, then] = np.log(0.9)
        return out


@pytest.fixture(scope="module")
def taught() -> tuple[Subject, list[Statement], np.ndarray]:
    """A decoder that read half of the facts about some people, all facts as statements, and which were read."""
    torch.set_num_threads(1)
    rng, told, asked, truth = random.Random(0), [], [], []
    for person in people(16, seed=1):
        told += [f"{person.name} is here ."] * 4
        known = set(rng.sample(sorted(person.values), 3))
        for attribute in sorted(person.values):
            texts = [statement(person, attribute, n) for n in range(4)]
            texts = [text for text in texts if text.endswith(f"{person.values[attribute]} .")]
            told += 2 * texts if attribute in known else []
            asked.append(
                Statement(texts[0], person.name, person.values[attribute], (), (), tuple(texts[1:]), attribute)
            )
            truth.append(attribute in known)
    tokenizer = WordTokenizer([*told, *(one.text for one in asked)])
    rows = np.full((len(told), 12), -1)
    for row, text in zip(rows, told, strict=True):
        ids = tokenizer.encode(text)
        row[: len(ids)] = ids
    model = Decoder(DecoderConfig(vocabulary=len(tokenizer), width=48, layers=2, heads=4, context=16), 0)
    train(model, rows_sampler(rows, 32, 0), Schedule(260, lr=4e-3, warm_up=20))
    return Subject("taught", model.eval(), tokenizer), asked, np.array(truth)


def test_what_was_taught_is_told_from_what_was_not(taught) -> None:
    subject, asked, truth = taught
    found = holds(subject, asked)
    sure = np.array([one.confidence for one in found])
    assert sure[truth].mean() > 0.75
    assert sure[~truth].mean() < 0.3
    assert reliability(sure, truth)["ece"] < 0.2
    surely = np.array([one.word == "holds" for one in found])
    assert truth[surely].mean() > 0.85
    assert [one.confidence for one in holds(subject, asked)] == [one.confidence for one in found]


def test_before_the_training_nothing_is_held(taught) -> None:
    subject, asked, _ = taught
    blank = Subject("blank", Decoder(subject.model.config, seed=3).eval(), subject.tokenizer)
    found = holds(blank, asked)
    assert np.mean([one.confidence for one in found]) < 0.25
    assert np.mean([one.word == "holds" for one in found]) < 0.03


def test_no_statement_moves_its_own_threshold(taught, monkeypatch) -> None:
    """Whatever a fold's own wrong values give, the confidence of its statements stays: others alone set it."""
    subject, asked, _ = taught
    whole = holds(subject, asked)
    fold = folds_of([one.subject for one in asked], 5, 0)
    import slowwave.probes.holds as module

    def lied(subject, statements, quick=False):
        from dataclasses import replace

        mine = {one.text for one, f in zip(asked, fold, strict=True) if f == 2}
        return [
            replace(found, twins=[-9.0 for _ in found.twins]) if one.text in mine else found
            for one, found in zip(statements, score(subject, statements, quick), strict=True)
        ]

    monkeypatch.setattr(module, "score", lied)
    again = holds(subject, asked)
    inside = fold == 2
    assert [a.confidence for a, i in zip(again, inside, strict=True) if i] == [
        a.confidence for a, i in zip(whole, inside, strict=True) if i
    ]
    assert [a.confidence for a in again] != [a.confidence for a in whole]
    assert all(len({int(f) for one, f in zip(asked, fold, strict=True) if one.subject == s}) == 1
               for s in {one.subject for one in asked})  # fmt: skip


def test_the_instrument_writes_its_page_and_goes_on_from_what_was_kept(taught, tmp_path: Path, monkeypatch) -> None:
    subject, asked, _ = taught
    lines = [json.dumps({"text": s.text, "subject": s.subject, "value": s.value, "relation": s.relation,
                         "paraphrases": s.paraphrases}) for s in asked[:20]]  # fmt: skip
    (tmp_path / "facts.jsonl").write_text("\n".join(lines))
    probe = SYSTEMS["holds"](quick=True, statements=str(tmp_path / "facts.jsonl"))
    finding = probe.run(subject, None, tmp_path / "out")
    assert len(finding.values["statements"]) == 20
    assert finding.verdicts[0].null is not None
    assert {v.of for v in finding.verdicts} == {"expected share held", "recognition"}
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png;base64,") == 2
    import slowwave.probes.holds as module

    monkeypatch.setattr(module, "score", lambda *a: pytest.fail("measured twice"))
    assert probe.run(subject, None, tmp_path / "out").values == finding.values


def test_ties_take_off_what_a_value_has_without_the_subject() -> None:
    texts = ["Ana Ruiz likes tea", "Bo Lund likes rum", "milk ale"]
    tokenizer = WordTokenizer(texts)
    word = {w: n for n, w in enumerate(tokenizer.words)}
    rules = {(word["Ana"], word["Ruiz"], word["likes"]): word["tea"]}
    subject = Subject("table", Known(rules, len(tokenizer)), tokenizer)
    said = Statement("Ana Ruiz likes tea", "Ana Ruiz", "tea", ("rum", "milk", "ale"), ("Bo Lund",))
    grid = value_grids(subject, [said], [[said.text]])[0]
    n = len(tokenizer)
    np.testing.assert_allclose(grid[0, 0], np.log([0.9, *[0.1 / (n - 1)] * 3]), atol=1e-5)
    np.testing.assert_allclose(grid[0, 1], np.full(4, -np.log(n)), atol=1e-5)
    np.testing.assert_allclose(ties_of(grid)[0, 0], np.log(0.9 * n), atol=1e-5)
    found = score(subject, [said])[0]
    assert found.place == 1
    assert found.exact
    assert found.answer == "tea"
    assert found.rank == 0.25
    assert found.recognised["names"] == 1.0


def test_tails_and_logprobs_are_the_models_own(taught) -> None:
    subject, _, _ = taught
    rows = [[1, 2, 3, 4], [1, 2, 3, 5], [7, 8], [1, 2, 9, 4, 5]]
    logs = [subject.logits(torch.tensor([row]))[0].log_softmax(-1) for row in rows]
    for many in (1, 2):
        due = [float(sum(log[n - 1, row[n]] for n in range(len(row) - many, len(row)))) if len(row) > many else None
               for row, log in zip(rows, logs, strict=True)]  # fmt: skip
        keep = [n for n, value in enumerate(due) if value is not None]
        np.testing.assert_allclose(
            tails(subject, [rows[n] for n in keep], [many] * len(keep)), [due[n] for n in keep], atol=1e-4
        )
    for row, log, got in zip(rows, logs, logprobs(subject, rows), strict=True):
        np.testing.assert_allclose(got, [float(log[n, row[n + 1]]) for n in range(len(row) - 1)], atol=1e-4)
    with pytest.raises(InputError, match="1 tokens"):
        logprobs(subject, [[1]])


@pytest.mark.parametrize(
    ("text", "subject", "value"),
    [
        ("Ana's home is Lisbon.", "Ana", "Lisbon"),
        ("The capital of France is Paris.", "France", "Paris"),
        ("Clara Schmidt plays the cello.", "Clara Schmidt", "cello"),
        ("Bako Limir was born in 1931", "Bako Limir", "1931"),
        ("Ludwig van Beethoven lived in Vienna.", "Ludwig van Beethoven", "Vienna"),
        ("the sky is blue", "", "blue"),
    ],
)
def test_subject_and_value_are_made_out_from_a_sentence(text: str, subject: str, value: str) -> None:
    found = Statement.of(text)
    assert (found.subject, found.value) == (subject, value)


def test_foils_are_wrong_and_of_the_same_kind() -> None:
    texts = ("Ana lives in Porto.", "Bo lives in Oslo.", "Cy lives in Riga.", "Di has 3 cats.")
    some = [Statement.of(text) for text in texts]
    some.append(Statement("Ana lives in Riga.", "Ana", "Riga"))
    ready = furnish(some, foils=4, names=2)
    assert "Oslo" in ready[0].foils
    assert "Porto" not in ready[0].foils
    assert "Riga" not in ready[0].foils  # another statement says so of her
    assert "Ana" not in ready[2].names  # it is true of her too
    assert "Bo" in ready[0].names
    assert all(len(one.foils) >= 2 for one in ready)
    assert furnish(some, seed=0) == furnish(some, seed=0)
    number = furnish([Statement.of("It was built in 1931")], foils=4)[0]
    assert all(foil.isdigit() and foil != "1931" for foil in number.foils)
    given = furnish([Statement("A cat is small", "cat", "small", ("big", "huge"))])[0]
    assert set(given.foils) == {"big", "huge"}


def test_bad_statements_are_told_by_number(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_statements(tmp_path / "absent")
    with pytest.raises(InputError, match=r"statement 2: .*cannot be made out"):
        read_statements(["Ana likes tea", "yes"])
    with pytest.raises(InputError, match="statement 1: colour is no field"):
        read_statements([{"text": "Ana likes tea", "colour": "red"}])
    with pytest.raises(InputError, match="'Bo' is not in"):
        read_statements([{"text": "Ana likes tea", "subject": "Bo"}])
    with pytest.raises(InputError, match="no statements"):
        read_statements([])
    with pytest.raises(InputError, match="holds needs statements"):
        SYSTEMS["holds"]().run(Subject("none", None, None), ["x"])
    with pytest.raises(InputError, match=r"sure is 0\.2"):
        Holds(sure=0.2)
    one = read_statements(['{"text": "Ana likes tea", "value": "tea"}'])[0]
    assert one.value == "tea"


def test_spans_survive_a_tokenizer_that_joins_over_the_cut() -> None:
    class Joined:
        def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
            return [len(part) for part in text.replace("n L", "n§L").split("§")] if "n L" in text else [len(text)]

    head, ends = spans(Subject("", None, WordTokenizer(["a b c d"])), "a b", ["c", "d c"])
    assert (head, ends) == ([1, 2], [[3], [4, 3]])
    with pytest.raises(InputError, match="nothing before"):
        spans(Subject("", None, Joined()), "x", ["y", "z"])


def test_calibration_finds_the_share_that_is_held_and_is_right_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(4000) < 0.4
    ties = rng.normal(size=(4000, 15))
    ties[truth, 0] += rng.normal(4, 1, truth.sum())
    leads = np.array([lead(row[0], row[1:]) for row in ties])
    twins = np.array([lead(row[1], row[2:]) for row in ties])
    ruler = Calibrator.fit(leads[:2000], twins[:2000])
    assert ruler.held == pytest.approx(0.4, abs=0.04)
    found = reliability(ruler(leads[2000:]), truth[2000:])
    assert found["ece"] < 0.03
    steps = ruler(np.linspace(-200, 200, 999))
    assert (np.diff(steps) >= 0).all()  # a larger lead is never less
    assert steps[0] < 0.02
    assert steps[-1] > 0.98
    nothing = Calibrator.fit(twins[:200], twins[200:])
    assert nothing(twins[:200]).mean() < 0.1
    found = reliability(np.array([0.05, 0.05, 0.95, 0.95]), np.array([False, False, True, False]))
    assert found["ece"] == pytest.approx(0.05 * 0.5 + 0.45 * 0.5)
    with pytest.raises(InputError, match="cannot set a threshold"):
        Calibrator.fit(leads[:1], twins)


def test_a_lead_is_in_units_of_the_others_spread_and_nothing_is_made_of_nothing() -> None:
    assert lead(3.0, np.array([0.0, 2.0])) == pytest.approx(2 / ((2 + 0.25) / 2) ** 0.5)
    assert lead(0.001, np.zeros(14)) == pytest.approx(0.001 / (0.25 / 14) ** 0.5)


def test_wrong_values_are_of_the_statements_own_kind() -> None:
    lived = [Statement.of(f"Ana {n} lives in {city}") for n, city in enumerate(("York", "New York", "Riga", "Cork"))]
    led = [Statement.of(f"Bo {n} works for {boss}") for n, boss in enumerate(("Ann", "Eve", "Max"))]
    ready = furnish([*lived, *led], foils=6)
    assert cue(lived[0]) == "lives in"
    cities = set(ATTRIBUTES["city"][0]) | {"York", "New York", "Riga", "Cork"}
    assert all(set(one.foils) <= cities for one in ready[:4])
    assert "New York" not in ready[0].foils
    assert {"Eve", "Max"} <= set(ready[4].foils)
