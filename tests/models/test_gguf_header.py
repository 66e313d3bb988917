"""A GGUF file's header is read as gguf reads it, and gguf is left as it was."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from slowwave.errors import ModelError, ModelMissingError
from slowwave.models.causal import gguf_reader, load_causal


def test_a_plain_view_of_the_file_gives_what_a_memory_map_gives(tmp_path: Path) -> None:
    path = tmp_path / "some.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "", "été"])
    writer.add_uint32("llama.block_count", 2)
    writer.add_tensor("x", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    mine, theirs = gguf_reader()(str(path)), gguf.GGUFReader(str(path))
    assert type(mine.data) is np.ndarray
    assert list(mine.fields) == list(theirs.fields)
    assert [field.contents() for field in mine.fields.values()] == [
        field.contents() for field in theirs.fields.values()
    ]
    np.testing.assert_array_equal(mine.tensors[0].data, theirs.tensors[0].data)


def test_gguf_is_as_it_was_after_a_file_that_is_none(tmp_path: Path) -> None:
    before = gguf.GGUFReader, gguf.get_tensor_name_map
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"no model" * 100)
    with pytest.raises(ModelError, match=r"bad\.gguf could not be loaded"):
        load_causal(path, purpose="a test", extra="probes")
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == before


def test_what_is_no_whole_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(b"GGUF\0\0\0")
    with pytest.raises(ModelError, match=r"cut\.gguf could not be loaded: .*is it a whole"):
        load_causal(tmp_path / "cut.gguf", purpose="a test", extra="probes")
    with pytest.raises(ModelMissingError, match=r"no config\.json; name the file in it: cut\.gguf"):
        load_causal(tmp_path, purpose="a test", extra="probes")
