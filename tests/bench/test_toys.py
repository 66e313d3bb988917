"""Toys that are trained with their memory: facts are where they should be, and lessons grow as they are learned."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")
pytest.importorskip("transformers", reason="needs transformers")

from slowwave.bench import toys  # noqa: E402


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_facts_among_fillers_are_whole_and_in_their_order() -> None:
    told = toys.facts(5, 3, seeded())
    text = toys.among(told, 11, seeded(1))
    assert text.shape == (5, 11)
    for row, facts in zip(text, told, strict=True):
        said = row[row >= toys.FIRST_KEY]
        assert said.tolist() == facts.flatten().tolist()
        keys = ((row >= toys.FIRST_KEY) & (row < toys.FIRST_VALUE)).nonzero()[:, 0]
        assert bool((row[keys + 1] >= toys.FIRST_VALUE).all()), "a value does not follow its key"
        assert len(set(facts[:, 0].tolist())) == 3


def test_only_values_are_guessed() -> None:
    told = toys.facts(2, 3, seeded())
    ids, targets = toys.asked(told)
    assert targets[:, ::2].tolist() == told[..., 1].tolist()
    assert bool((targets[:, 1::2] < 0).all())
    logits = torch.nn.functional.one_hot(targets.clamp_min(0), toys.VOCABULARY).float()
    assert toys.right(logits, targets) == 1.0
    assert ids.tolist() == told.flatten(1).tolist()


def test_one_head_begins_by_looking_one_token_back() -> None:
    model = toys.toy(0, 2)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        seen = model(input_ids=toys.facts(3, 20, seeded()).flatten(1), output_attentions=True).attentions[0][:, 0]
    back = seen.diagonal(-1, 1, 2)
    assert float(back.mean()) > 0.9
    assert float(back.min()) > 0.5


def test_lessons_grow_only_when_they_are_learned() -> None:
    lessons = toys.Lessons(toys.toy(0, 1), most=8, length=40)
    lessons(seeded())
    assert (lessons.count, lessons.filled, lessons.done) == (4, 0, False)
    grown = []
    for _ in range(3):
        lessons.lately = 2.0  # as if all had been right
        lessons(seeded())
        grown.append((lessons.count, lessons.filled))
    assert grown == [(8, 0), (8, 32), (8, 40)]
    assert lessons.done


def test_a_trained_toy_is_kept_and_taken_up_again(tmp_path: Path) -> None:
    made = [toys.remembering(0, 2, 2, 8, 3, (1, 4), tmp_path) for _ in range(2)]
    (one, told), (two, again) = made
    assert told == again
    assert len(list(tmp_path.iterdir())) == 2, "after the lessons, and at the end"
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    other, _ = toys.remembering(0, 2, 2, 8, 3, (1, 4), tmp_path, pool_layers=(1,))
    assert other.pool_layers == (1,)
    assert len(list(tmp_path.iterdir())) == 3, "the lessons are shared"
