"""A small training learns, repeats under a seed, and goes on after a kill as if there had been none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.generators import ZipfGrammar, biography, canaries, clozes, parity, people, relations
from slowwave.probes.training import (
    Schedule,
    Trail,
    greedy,
    log_spaced,
    rows_sampler,
    span_logprob,
    train,
    windows,
)

GRAMMAR = ZipfGrammar(function=4, content=24, topics=2)
SCHEDULE = Schedule(steps=40, lr=3e-3, warm_up=5)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def model(seed: int = 0) -> Decoder:
    return Decoder(DecoderConfig(vocabulary=GRAMMAR.vocabulary, width=32, layers=2, heads=2, context=24), seed)


def sampler():
    return rows_sampler(GRAMMAR.documents(64, 24, 0), 8, 0)


class Killed(Exception):
    pass


def test_it_learns_and_repeats_under_a_seed() -> None:
    losses = train(model(), sampler(), SCHEDULE)
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5
    assert train(model(), sampler(), SCHEDULE) == losses


def test_a_killed_training_goes_on_as_if_there_had_been_no_kill(tmp_path: Path) -> None:
    whole = model()
    losses = train(whole, sampler(), SCHEDULE)
    trail, half = Trail(tmp_path), model()

    def kill(step: int, loss: float) -> None:
        if step == 27:
            raise Killed

    with pytest.raises(Killed):
        train(half, sampler(), SCHEDULE, trail, keep=(0, 10, 20), each_step=kill)
    again = model(seed=9)  # whatever it starts from, the checkpoint decides
    assert train(again, sampler(), SCHEDULE, trail, keep=(0, 10, 20)) == losses
    for a, b in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert trail.steps() == [0, 10, 20, 40]
    about = trail.load(20, again)
    assert (about["tokens"], len(about["seen"])) == (20 * 8 * 24, 20 * 8)
    with pytest.raises(InputError, match="no checkpoint of step 5"):
        trail.load(5, again)


def test_a_causal_model_does_not_see_what_comes() -> None:
    ids = torch.randint(0, GRAMMAR.vocabulary, (1, 12))
    changed = ids.clone()
    changed[0, 8:] = 0
    one = model().eval()
    torch.testing.assert_close(one(ids)[:, :8], one(changed)[:, :8])


def test_log_probabilities_of_spans_are_the_sums_of_their_tokens() -> None:
    one = model().eval()
    prompts, targets = [[1, 2, 3], [4]], [[5, 6], [7, 8, 9]]
    found = span_logprob(one, prompts, targets)
    for got, prompt, target in zip(found, prompts, targets, strict=True):
        logs = one(torch.tensor([[*prompt, *target]])).log_softmax(-1)[0]
        due = sum(logs[len(prompt) - 1 + n, token] for n, token in enumerate(target))
        torch.testing.assert_close(got, due.detach())


def test_greedy_takes_the_likeliest() -> None:
    one = model().eval()
    out = greedy(one, [1, 2], 3)
    assert out[0] == int(one(torch.tensor([[1, 2]]))[0, -1].argmax())
    assert len(out) == 3


def test_checkpoints_are_log_spaced_and_rows_are_whole() -> None:
    assert log_spaced(1200, 6) == (0, 50, 111, 245, 542, 1200)
    assert log_spaced(30) == (0, 30)
    assert windows(range(10), 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_is_generated_holds_its_truth() -> None:
    some = people(50, seed=3)
    assert len({person.name for person in some}) == 50
    assert people(50, seed=3) == some
    assert all(value in biography(some[0], 1) for value in some[0].values.values())
    for cloze in clozes(some[1]):
        assert some[1].name in cloze.prompt
        assert cloze.target == some[1].values[cloze.attribute]
        assert cloze.target not in cloze.foils
    rows = GRAMMAR.documents(20, 24, 1)
    assert rows.min() >= 0
    assert rows.max() < GRAMMAR.vocabulary
    counts = np.bincount(rows.ravel(), minlength=GRAMMAR.vocabulary)
    assert counts[:4].mean() > 3 * counts[4:].mean()
    assert sorted({c.copies for c in canaries((0, 1, 4), 2, 8, 100, 0)}) == [0, 1, 4]
    forward, both = relations(20, 0)
    assert len(forward) == 15
    assert len(both) == 5
    inputs, truth = parity(5, 6, 0)
    assert (truth[:, -1] == inputs.sum(1) % 2).all()
