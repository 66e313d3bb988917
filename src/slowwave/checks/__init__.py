"""The contracts that every store, embedder, language model, text system and method of the weights form must pass.

Shipped, for plug-ins too:

    check_store(lambda path, **options: MyStore(path, **options))
    check_embedder(MyEmbedder())
    check_chat_model(MyModel())
    check_text_system(lambda: MySystem())
    check_method(lambda: MyMethod())
    check_state_system(lambda: MyStateSystem(width=8))

Each check is a function named after what it holds; the first that fails raises AssertionError, naming itself. A check
that does not apply is skipped by name with a written reason, and the list of what ran is printed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from slowwave.checks.bench import Bench, StoreFactory, expect, run_all
from slowwave.checks.chatting import CHAT_CHECKS, check_chat_model
from slowwave.checks.finding import FINDING
from slowwave.checks.keeping import KEEPING
from slowwave.checks.methods import METHOD_CHECKS, check_method
from slowwave.checks.nights import NIGHTS
from slowwave.checks.reading import READING
from slowwave.checks.serving import SERVING
from slowwave.checks.states import STATE_CHECKS, check_state_system
from slowwave.checks.systems import SYSTEM_CHECKS, check_text_system
from slowwave.checks.writing import WRITING
from slowwave.models.base import Embedder

STORE_CHECKS = (*READING, *WRITING, *FINDING, *KEEPING, *NIGHTS, *SERVING)


def its_name_and_width_are_plain(embedder: Embedder) -> None:
    expect(isinstance(embedder, Embedder), f"a {type(embedder).__name__} lacks name, dim or embed")
    expect(isinstance(embedder.name, str) and embedder.name.strip(), f"its name is {embedder.name!r}")
    expect(isinstance(embedder.dim, int) and embedder.dim > 0, f"its dim is {embedder.dim!r}")


def it_gives_unit_rows_of_float32(embedder: Embedder) -> None:
    rows = embedder.embed(["one text", "and another, which is rather longer than the first"])
    expect(rows.shape == (2, embedder.dim), f"two texts give {rows.shape}, due is (2, {embedder.dim})")
    expect(rows.dtype == np.float32, f"the rows are {rows.dtype}")
    expect(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3), f"lengths {np.linalg.norm(rows, axis=1)}")
    expect(embedder.embed([]).shape == (0, embedder.dim), f"no texts give {embedder.embed([]).shape}")


def it_takes_any_text(embedder: Embedder) -> None:
    odd = ["", " ", "\n\t", "🙂" * 50, "שלום עולם", "\x01\x7f", "word " * 5000, "x" * 5000, "SELECT * FROM t; --"]
    rows = embedder.embed(odd)
    expect(rows.shape == (len(odd), embedder.dim) and np.isfinite(rows).all(), "odd texts give no finite rows")
    expect(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3), "odd texts give rows of another length")


def the_same_text_gives_the_same_vector(embedder: Embedder) -> None:
    given = ["red wine", "a bicycle with two wheels and a bell", "the parliament met in Lisbon on a Tuesday"]
    together = embedder.embed(given)
    expect(np.allclose(together, embedder.embed(given), atol=1e-5), "asked twice, it gives two answers")
    alone = np.concatenate([embedder.embed([text]) for text in given])
    worst = float((together * alone).sum(axis=1).min())
    expect(worst > 0.98, f"a text alone and among others has a cosine of {worst:.3f}")
    expect(float(together[0] @ together[1]) < 0.9999, "different texts give one vector")


EMBEDDER_CHECKS: tuple[Callable[[Embedder], None], ...] = (
    its_name_and_width_are_plain, it_gives_unit_rows_of_float32, it_takes_any_text, the_same_text_gives_the_same_vector,
)  # fmt: skip


def check_store(
    factory: StoreFactory, skip: Mapping[str, str] = MappingProxyType({}), show: Callable[[str], None] = print
) -> None:
    """Hold a store to its contract; AssertionError names the first check that fails.

    factory  called with a path that is not there yet, and again with one that is; options: readonly
    skip     check's name -> why it does not apply
    """

    def run(check: Callable[[Bench], None]) -> None:
        with tempfile.TemporaryDirectory(prefix="slowwave-check-") as folder:
            bench = Bench(factory, Path(folder))
            try:
                check(bench)
            finally:
                for store in bench.stores:
                    store.close()

    run_all(STORE_CHECKS, run, skip, show)


def check_embedder(
    embedder: Embedder, skip: Mapping[str, str] = MappingProxyType({}), show: Callable[[str], None] = print
) -> None:
    """Hold an embedder to its contract; AssertionError names the first check that fails."""
    run_all(EMBEDDER_CHECKS, lambda check: check(embedder), skip, show)


__all__ = [
    "CHAT_CHECKS", "EMBEDDER_CHECKS", "METHOD_CHECKS", "STATE_CHECKS", "STORE_CHECKS", "SYSTEM_CHECKS", "Bench",
    "check_chat_model", "check_embedder", "check_method", "check_state_system", "check_store", "check_text_system",
]  # fmt: skip
