"""Sizes that cannot be, and input of another kind, are told and never computed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.errors import InputError  # noqa: E402
from slowwave.models.causal import fake_causal  # noqa: E402
from slowwave.state import SYSTEMS, attach  # noqa: E402

SIZES = [
    ("titans", {"width": -4}), ("titans", {"width": 8, "heads": 3}), ("titans", {"width": 8, "expansion": 0}),
    ("titans", {"width": 8, "window": 0}), ("titans", {"width": 8, "persistent": -1}), ("titans", {"width": 8.0}),
    ("titans", {"width": 9, "heads": 3}),
    ("mom", {"width": -8}), ("mom", {"width": 8, "chunk": 0}), ("mom", {"width": 8, "taps": -1}), ("mom", {"width": 2}),
    ("rmc", {"width": 8, "slots": 0}), ("rmc", {"width": 8, "heads": 0}),
    ("hcam", {"width": 8, "heads": 3}), ("hcam", {"width": 8, "k": 0}), ("hcam", {"width": 8, "capacity": 0}),
    ("hcam", {"width": 8, "store": "no"}),
    ("memo", {"item": 0}), ("memo", {"item": 4, "capacity": 0}),
    ("memory-prompt", {"width": 8, "prompts": 0}), ("memory-prompt", {"width": 8, "units": -1}),
]  # fmt: skip
AROUND = [
    ("em-llm", {"window": -3}), ("em-llm", {"representative": 0}), ("em-llm", {"local": 64, "block": 2.5}),
    ("memory-3", {"opening": (999,)}), ("m-plus", {"rank": -1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), SIZES)
def test_sizes_that_cannot_be_are_told(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="|".join(settings)):
        SYSTEMS[name](**settings)


@pytest.mark.parametrize(("name", "settings"), AROUND)
def test_around_a_model_too(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="|".join(settings)):
        attach(fake_causal(), name, **settings)


def test_input_of_another_kind_is_told() -> None:
    memory = SYSTEMS["mom"](width=8, heads=2)
    x = torch.randn(2, 5, 8)
    for wrong, told in ((x.double(), "float64"), (x.long(), "int64"), (x.to("meta"), "meta"), ([[1.0]], "a list")):
        with pytest.raises(InputError, match=told):
            memory(wrong)
    with pytest.raises(InputError, match="the state is a dict"):
        memory(x, {})
    with torch.autocast("cpu", torch.bfloat16):
        assert SYSTEMS["rmc"](width=8)(x.bfloat16()).y.isfinite().all()


def test_ids_that_the_model_does_not_have_are_told_and_no_ids_are_none() -> None:
    reader = SYSTEMS["em-llm"](fake_causal(), local=24, sinks=2, block=8, window=16)
    state = reader(torch.ones(1, 40, dtype=torch.int64)).state
    for wrong in (-1, 256):
        with pytest.raises(InputError, match="0 to 255"):
            reader(torch.full((1, 4), wrong))
    with pytest.raises(InputError, match="x has 2 rows and the state 1"):
        reader.logits(torch.ones(2, 4, dtype=torch.int64), state)
    nothing = torch.ones(1, 0, dtype=torch.int64)
    assert reader.logits(nothing, state).shape == reader.read(nothing, state).shape == (1, 0, 256)
    assert reader.recall(nothing, state) is state
    attached = attach(fake_causal(), "memory-3")
    assert attached.logits("").shape == (0, 256)
    with pytest.raises(InputError, match="whole numbers"):
        attached.write(torch.tensor([1.5, 2.0]))


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_a_state_of_another_kind_or_of_other_sizes_is_told(name: str, tmp_path: Path) -> None:
    system = SYSTEMS[name].small()
    x = system.example(1, 3, torch.Generator().manual_seed(0))
    other = SYSTEMS["rmc" if name != "rmc" else "hcam"].small().init_state(1)
    mine = system.init_state(1)
    first = next(leaf for leaf, tensor in mine.leaves().items() if tensor.dim() > 1)
    wide = mine.named_map(lambda leaf, t: torch.cat([t, t], -1) if leaf == first else t)
    for wrong, told in ((other, "and this"), (wide, first)):
        for call in (
            lambda wrong=wrong: system(x, wrong),
            lambda wrong=wrong: system.read(x, wrong),
            lambda wrong=wrong: system.write(x, wrong),
            lambda wrong=wrong: system.sleep(wrong),
            lambda wrong=wrong: system.save(wrong, tmp_path / "a.state"),
        ):
            with pytest.raises(InputError, match=told):
                call()


@pytest.mark.parametrize("name", sorted(SYSTEMS))
def test_no_rows_are_no_rows(name: str) -> None:
    system = SYSTEMS[name].small()
    x = system.example(2, 3, torch.Generator().manual_seed(0))[:0]
    for mode in ("chunk", "step"):
        y, state, _ = system(x, mode=mode)
        assert y.shape == (0, 3, system.out_width)
        assert state.batch == 0
    assert system.read(x, state).shape == (0, 3, system.out_width)
    assert system.sleep(state).batch == 0


def test_a_state_is_not_saved_onto_a_folder_nor_put_to_sleep_below_nothing(tmp_path: Path) -> None:
    for name in ("em-llm", "hcam", "rmc"):
        system = SYSTEMS[name].small()
        with pytest.raises(InputError, match="budget is -1"):
            system.sleep(system.init_state(1), -1)
    with pytest.raises(InputError, match="is a folder"):
        system.save(system.init_state(1), tmp_path)
    assert not list(tmp_path.parent.glob("*.new"))
