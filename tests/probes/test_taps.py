"""Taps read, replace and add where they are told to, on our decoder and on a transformers model, and leave no trace."""

from __future__ import annotations

import pytest
import torch

from slowwave.errors import InputError
from slowwave.probes.decoder import Decoder, DecoderConfig
from slowwave.probes.taps import Taps

IDS = torch.arange(12).reshape(2, 6)


def ours() -> Decoder:
    return Decoder(DecoderConfig(vocabulary=32, width=32, layers=3, heads=4), seed=1).eval()


def theirs() -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="eager",
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        out = model(IDS)
    return out.logits if hasattr(out, "logits") else out


@pytest.fixture(params=[ours, theirs], ids=["ours", "transformers"])
def model(request: pytest.FixtureRequest) -> torch.nn.Module:
    return request.param()


def test_what_is_read_is_what_passes(model: torch.nn.Module) -> None:
    with Taps(model) as taps:
        for layer in range(3):
            taps.read(layer, "block")
            taps.read(layer, "heads")
            taps.read(layer, "mlp")
        logits(model)
        assert taps.seen[1, "block"].shape == (2, 6, 32)
        assert taps.seen[1, "heads"].shape == (2, 6, 32)
        assert taps.seen[1, "mlp"].shape[:2] == (2, 6)
        change = taps.seen[1, "block"] - taps.seen[0, "block"]
        parts = taps.anatomy.out[1](taps.seen[1, "heads"]) + taps.anatomy.down[1](taps.seen[1, "mlp"])
    torch.testing.assert_close(change, parts)  # a layer adds what its heads and its hidden units give


def test_adding_nothing_changes_nothing_and_adding_something_does(model: torch.nn.Module) -> None:
    before = logits(model)
    with Taps(model) as taps:
        taps.add(1, "block", torch.zeros(32))
        torch.testing.assert_close(logits(model), before)
    with Taps(model) as taps:
        taps.add(1, "block", torch.ones(32), positions=[3])
        after = logits(model)
    torch.testing.assert_close(after[:, :3], before[:, :3])  # nothing flows backwards
    assert (after[:, 3] - before[:, 3]).abs().max() > 1e-4
    torch.testing.assert_close(logits(model), before)  # and the hooks are gone


def test_replacing_the_last_block_decides_the_answer(model: torch.nn.Module) -> None:
    with Taps(model) as taps:
        taps.replace(2, "block", torch.linspace(-1, 1, 32))
        out = logits(model)
    torch.testing.assert_close(out[0, 0].expand_as(out), out)


def test_attention_weights_sum_to_one_and_cannot_be_edited(model: torch.nn.Module) -> None:
    if isinstance(model, Decoder):
        for block in model.blocks:
            block.self_attn.keep_weights = True
    with Taps(model) as taps:
        taps.read(0, "attention")
        logits(model)
        weights = taps.seen[0, "attention"]
        with pytest.raises(InputError, match="read, not changed"):
            taps.add(0, "attention", torch.zeros(1))
    assert weights.shape == (2, 4, 6, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 6))


def test_a_layer_that_is_not_there_is_named(model: torch.nn.Module) -> None:
    with Taps(model) as taps, pytest.raises(InputError, match="layers 0 to 2"):
        taps.read(7)


def test_hooks_are_gone_after_an_error(model: torch.nn.Module) -> None:
    before = logits(model)

    def fails() -> None:
        with Taps(model) as taps:
            taps.add(0, "block", torch.ones(32))
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fails()
    torch.testing.assert_close(logits(model), before)
