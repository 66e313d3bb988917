"""Every text system is held to the shipped contract, check by check."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slowwave.checks import SYSTEM_CHECKS
from slowwave.checks.systems import SystemFactory
from slowwave.text import SYSTEMS


@pytest.mark.parametrize("check", SYSTEM_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", SYSTEMS)
def test_system(name: str, check: Callable[[SystemFactory], None]) -> None:
    check(SYSTEMS[name])
