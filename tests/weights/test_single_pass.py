"""A stream without boundaries is passed once, whatever `epochs` says of those that have them."""

from __future__ import annotations

import torch

from slowwave.weights import Classifier, Learner
from slowwave.weights.base import Method
from slowwave.weights.batch import Batch
from slowwave.weights.data import glyphs
from slowwave.weights.rer import RER
from slowwave.weights.stream import split
from slowwave.weights.vectors import flatten
from slowwave.weights.view_batch import ViewBatch

DATA = glyphs(classes=6, train=240, test=60)


class Met(Method):
    """Writes down what it was shown."""

    name = "met"

    def __init__(self) -> None:
        self.rows: list[tuple[float, ...]] = []

    def look(self, learner: Learner, batch: Batch) -> Batch:
        self.rows += map(tuple, batch.x.flatten(1).tolist())
        return batch


def test_a_single_pass_shows_every_sample_once_and_as_it_is_whatever_the_views() -> None:
    met = Met()
    Learner(Classifier(64, (8,), 6), [ViewBatch(views=4), met], epochs=8).learn(split(DATA, 2).online())
    assert sorted(met.rows) == sorted(map(tuple, DATA.train.x.flatten(1).tolist()))


def test_pairs_are_weighed_on_a_stream_that_is_passed_once_whatever_the_epochs() -> None:
    ends = []
    for epochs in (1, 8):
        method = RER(capacity=40, every=1)
        learner = Learner(Classifier(64, (8,), 6), [method], epochs=epochs, batch=10, sleep_every=6)
        start = flatten(list(method.net.parameters())).detach().clone()
        learner.learn(split(DATA, 2).online())
        ends.append(flatten(list(method.net.parameters())).detach() - start)
        assert float(ends[-1].norm()) > 0
    assert torch.equal(ends[0], ends[1])
    written = RER(capacity=40, every=1)  # and so where examples are written, of which nobody says how often they come
    learner = Learner(Classifier(64, (8,), 6), [written], epochs=8, batch=10, sleep_every=6)
    start = flatten(list(written.net.parameters())).detach().clone()
    learner.write(DATA.train.x, DATA.train.y)
    assert not torch.equal(flatten(list(written.net.parameters())), start)
