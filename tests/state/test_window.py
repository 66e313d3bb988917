"""Window attention writes and asks without the attention that nobody reads, and gets the same."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra state")

from slowwave.state.base import StateModule  # noqa: E402
from slowwave.state.window import WindowAttention  # noqa: E402


@pytest.mark.parametrize("persistent", [0, 3])
@pytest.mark.parametrize("time", [0, 3, 7, 20])
def test_writing_and_asking_alone_are_what_the_whole_pass_gives(persistent: int, time: int) -> None:
    torch.manual_seed(0)
    memory = WindowAttention(16, 4, 7, persistent).double()
    x, fresh = torch.randn(3, time, 16, dtype=torch.float64), memory.init_state(3)
    for mask in (None, torch.rand(3, time) < 0.7):
        written = memory.write(x, fresh, mask)
        whole = StateModule.write(memory, x, fresh, mask)
        assert all(
            torch.allclose(a, b) for a, b in zip(written.leaves().values(), whole.leaves().values(), strict=True)
        )
        query = torch.randn(3, 5, 16, dtype=torch.float64)
        assert torch.allclose(memory.read(query, written), StateModule.read(memory, query, written))
