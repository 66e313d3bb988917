"""The small language model, the baselines under it, and the files that its memories write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.bench.recall_tasks import VOCABULARY, copy, inference, mqar, passkey  # noqa: E402
from slowwave.bench.recall_training import accuracy, trained  # noqa: E402
from slowwave.errors import ModelMismatchError, NotFoundError  # noqa: E402
from slowwave.state import SYSTEMS  # noqa: E402
from slowwave.state.baselines import DeltaRule, Recurrent  # noqa: E402
from slowwave.state.decoder import Decoder  # noqa: E402
from slowwave.state.mom import MoM  # noqa: E402
from slowwave.state.titans import Titans  # noqa: E402
from slowwave.state.window import WindowAttention  # noqa: E402

MIXERS: dict[str, Callable[[], Any]] = {
    "titans": lambda: Titans(16, "mac", heads=2, chunk=4),
    "mom": lambda: MoM(16, heads=2),
    "window": lambda: WindowAttention(16, 2, 5),
    "lstm": lambda: Recurrent(16, 12),
    "gru": lambda: Recurrent(16, 12, "gru"),
}


@pytest.mark.parametrize("name", sorted(MIXERS))
def test_a_prompt_and_single_tokens_give_what_one_pass_gives(name: str) -> None:
    torch.manual_seed(0)
    model = Decoder(30, 16, [MIXERS[name]] * 2).double()
    ids = torch.randint(30, (2, 13), generator=torch.Generator().manual_seed(0))
    whole, _, _ = model(ids)
    logits, states, _ = model(ids[:, :9])
    parts = [logits]
    for t in range(9, 13):
        logits, states, _ = model(ids[:, t : t + 1], states)
        parts.append(logits)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-9)


def test_a_delta_rule_learns_to_recall_and_repeats_under_a_seed() -> None:
    def once() -> tuple[list[float], float]:
        torch.manual_seed(0)
        model = Decoder(VOCABULARY, 32, [lambda: DeltaRule(32, heads=2)])
        draw = lambda batch, generator: mqar(batch, generator, pairs=2)  # noqa: E731
        losses = trained(model, [draw], 120, seed=0, batch=32, lr=1e-2)["loss"]
        return losses, accuracy(model, draw, seed=0, rows=256)

    losses, right = once()
    assert losses[-1] < losses[0] - 1
    assert right > 0.1
    assert once() == (losses, right)


def test_the_tasks_ask_for_what_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    ids, targets = mqar(4, generator, pairs=3, distance=5, again=2)
    for row, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        told = dict(zip(row[0:6:2], row[1:6:2], strict=True)) | dict(zip(row[6:10:2], row[7:10:2], strict=True))
        assert [told[key] for key in row[-3:]] == wanted[-3:]
    ids, targets = copy(2, generator, length=4)
    assert torch.equal(targets[:, -4:], ids[:, :4])
    ids, targets = passkey(2, generator, distance=20)
    place = int((ids[0] == ids[0, -1]).nonzero()[0])
    assert ids[0, place + 1] == targets[0, -1]
    ids, targets = inference(2, generator, triplets=2)
    facts = [tuple(pair) for pair in ids[0, :8].view(4, 2).tolist()]
    follows = dict(facts)
    assert follows[follows[int(ids[0, 8])]] == targets[0, 9]


def test_importing_the_package_loads_no_torch_and_names_are_told() -> None:
    script = "import sys, slowwave.state, slowwave.checks; print('torch' in sys.modules, *slowwave.state.SYSTEMS)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "False"
    assert done.stdout.split()[1:] == list(SYSTEMS)
    with pytest.raises(NotFoundError, match="titans"):
        SYSTEMS["titan"]


def test_a_state_of_other_settings_is_refused_with_both_values(tmp_path: Path) -> None:
    one = Titans(8, chunk=4, heads=2)
    one.save(one.init_state(1), tmp_path / "a.state")
    with pytest.raises(ModelMismatchError, match=r"settings .*'chunk': 4.*'chunk': 8"):
        Titans(8, chunk=8, heads=2).load(tmp_path / "a.state")
    with pytest.raises(ModelMismatchError, match="mom"):
        MoM(8, heads=2).load(tmp_path / "a.state")
