"""A folder of snapshots goes on with the stream that it is on, and with no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from slowwave.errors import InputError
from slowwave.weights import Classifier, Learner
from slowwave.weights.baselines import Replay
from slowwave.weights.batch import Batch
from slowwave.weights.data import glyphs
from slowwave.weights.stream import Stream, permuted, split

DATA = glyphs(classes=6, train=60, test=30)


def learner(**given: int) -> Learner:
    return Learner(Classifier(64, (8,), 6), ["replay"], batch=10, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (split(DATA, 2), "experience 0 was 'permutation 0' of task 0, and is 'classes 0, 1' of task 0"),
        (permuted(DATA, 2, seed=1), "experience 1, 'permutation 1', has other examples"),
        (permuted(glyphs(classes=6, train=90, test=30), 2), "experience 1 had 60 examples, and has 90"),
        (permuted(DATA, 2).online(), "lived through with boundaries, and is asked for otherwise"),
        (permuted(DATA, 1), "further than the 1 that are asked for"),
    ],
)
def test_a_folder_that_holds_another_streams_life_is_refused(tmp_path: Path, other: Stream, said: str) -> None:
    learner().learn(permuted(DATA, 2), tmp_path)
    with pytest.raises(InputError, match=rf"asked to learn .* but .* holds a life on .*: .*{said}.*another folder"):
        learner().learn(other, tmp_path)


def test_the_same_pixels_in_another_scenario_are_another_stream(tmp_path: Path) -> None:
    learner().learn(split(DATA, 2, "class"), tmp_path)
    with pytest.raises(InputError, match="as class-incremental, and is asked for as task-incremental"):
        learner().learn(split(DATA, 2, "task"), tmp_path)


def test_a_life_goes_on_with_the_same_stream_and_with_more_of_it(tmp_path: Path) -> None:
    whole = learner().learn(permuted(DATA, 3))
    learner().learn(permuted(DATA, 3).first(2), tmp_path)
    assert learner().learn(permuted(DATA, 3), tmp_path).matrix == whole.matrix
    assert learner().learn(permuted(DATA, 3), tmp_path).matrix == whole.matrix  # ended: as it was


def test_a_learner_that_has_lived_one_stream_does_not_pass_over_another_in_silence() -> None:
    given = learner()
    given.learn(permuted(DATA, 2))
    with pytest.raises(InputError, match="this learner holds a life on 'permuted glyphs', 2 experiences so far"):
        given.learn(split(DATA, 2))


def test_what_was_broken_off_within_an_experience_is_known_again(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class Stopping(Replay):
        def after_step(self, learner: Learner, batch: Batch, logits: Tensor) -> None:
            super().after_step(learner, batch, logits)
            if learner.step == 9:
                raise Stop

    with pytest.raises(Stop):
        Learner(Classifier(64, (8,), 6), [Stopping()], batch=10, epochs=2).learn(permuted(DATA, 2), tmp_path, 4)
    with pytest.raises(InputError, match="0 experiences so far: experience 0, 'permutation 0', has other examples"):
        learner(epochs=2).learn(permuted(glyphs(classes=6, train=60, test=30, seed=1), 2), tmp_path)
    whole = learner(epochs=2).learn(permuted(DATA, 2))
    assert learner(epochs=2).learn(permuted(DATA, 2), tmp_path).matrix == whole.matrix
