"""Every method of the weights form is held to the shipped contract, check by check."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slowwave.checks import METHOD_CHECKS
from slowwave.checks.methods import MethodFactory
from slowwave.weights import METHODS, SYSTEMS


@pytest.mark.parametrize("check", METHOD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", METHODS)
def test_method(name: str, check: Callable[[MethodFactory], None]) -> None:
    if name not in SYSTEMS and check.__name__ == "its_row_in_the_atlas_is_filled":
        pytest.skip("a baseline follows no paper")
    check(METHODS[name])
