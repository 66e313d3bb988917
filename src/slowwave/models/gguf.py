"""A GGUF file as a language model in this process, through xllamacpp (extra `local-llm`): no key and no network.

What the package brings is llama.cpp's server, and that always listens somewhere. Here it listens on a socket whose name
is taken away before the model is loaded to the end, so that nothing outside this process can reach it; on Windows, on
the loopback with a key that nobody knows.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowwave.errors import ExtraMissingError, InputError, ModelBusyError, ModelError, ModelMissingError
from slowwave.models.chat import Message, Reply, Token, encodable, estimate_tokens
from slowwave.models.gguf_file import look

LONGEST_SOCKET = 100  # characters that a socket's path may have everywhere
PLAIN_SPACING = {"x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}}


class GgufModel:
    """A model file, loaded at the first question.

    path             the .gguf file
    context_tokens   of prompt and reply together; no more than the model was trained with. Memory grows with it
    threads          None reads SLOWWAVE_LLM_THREADS, then takes the cores this process may use
    seed             of sampling, where a prompt asks for some temperature
    reuse_prefix     keep the last prompt's work, so that a prompt that begins alike starts later. Quicker where prompts
                     are long and alike, but the arithmetic then runs in other batches, and a reply may in rare cases
                     depend on what was asked before; without it equal prompts get equal replies
    timeout_seconds  after which a reply is given up

    Threads may share one; they are answered one after the other. It does not survive a fork. Ctrl-C stops a reply.
    """

    def __init__(
        self,
        path: str | Path,
        context_tokens: int = 8192,
        threads: int | None = None,
        seed: int = 0,
        reuse_prefix: bool = False,
        timeout_seconds: float = 600.0,
    ) -> None:
        if importlib.util.find_spec("xllamacpp") is None:
            raise ExtraMissingError(f"the model file {path}", "local-llm")
        self.file = look(path)
        self.threads = threads if threads is not None else _threads()
        self.seed = seed
        self.reuse_prefix = reuse_prefix
        self.timeout_seconds = timeout_seconds
        self.context_tokens = min(context_tokens, self.file.context_tokens or context_tokens)
        self.name = f"gguf:{self.file.path.stem}:{self.file.fingerprint}"
        self._lock = threading.Lock()
        self._server: Any = None

    def __repr__(self) -> str:
        return f"GgufModel({str(self.file.path)!r}, context_tokens={self.context_tokens}, threads={self.threads})"

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_logprobs: int = 0,
    ) -> Reply:
        """Answer the messages in the model's own chat template.

        schema  decoding is constrained to it, with one space after commas and colons; a schema that llama.cpp cannot
                follow is ignored there, so the caller checks
        raises  ModelError for a prompt that does not fit into the context, ModelBusyError after `timeout_seconds`
        """
        request: dict[str, Any] = {
            "messages": [message.to_dict() for message in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": self.seed,
            "cache_prompt": self.reuse_prefix,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if top_logprobs:
            request |= {"logprobs": True, "top_logprobs": top_logprobs}
        with self._lock:
            server = self._loaded()
            if schema is not None:
                request["grammar"] = _grammar(schema)
            hearing = _Hearing(time.monotonic() + self.timeout_seconds)
            hearing.run(server, request)
        if hearing.late:
            raise ModelBusyError(f"{self.name} timed out after {self.timeout_seconds:g} s")
        if hearing.error:
            raise ModelError(self._explained(hearing.error))
        return hearing.reply(schema is None)

    def count_tokens(self, text: str) -> int:
        """How many tokens the text is to this model."""
        with self._lock:
            # a prompt that cannot fit is counted and turned down before any of it is computed
            filler = [0] * (self.context_tokens + 1)
            answer = self._loaded().handle_completions({"prompt": [*filler, encodable(text)], "max_tokens": 1})
        counted = answer.get("error", {}).get("n_prompt_tokens")
        return estimate_tokens(text) if counted is None else int(counted) - len(filler)

    def close(self) -> None:
        """Give the memory back; another question would load the model again."""
        with self._lock:
            self._server = None

    def _loaded(self) -> Any:
        if self._server is None:
            xllamacpp = _engine()
            params = xllamacpp.CommonParams()
            params.model.path = str(self.file.path)
            params.n_ctx = self.context_tokens
            params.n_parallel = 1
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = self.threads
            params.enable_reasoning = 0
            params.verbosity = 0
            params.warmup = params.fit_params = False
            if not self.reuse_prefix:
                params.cache_ram_mib = 0
            folder = _hide(params)
            try:
                self._server = xllamacpp.Server(params)
            except RuntimeError as error:
                version = importlib.metadata.version("xllamacpp")
                raise ModelMissingError(
                    f"{self.file.path} cannot be loaded: it is cut short, needs more memory than there is, or is of a "
                    f"kind ({self.file.architecture}, {self.file.quantisation or 'no quantisation told'}) that "
                    f"xllamacpp {version} does not know; fetch it again, or run: pip install -U xllamacpp"
                ) from error
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return self._server

    def _explained(self, error: Mapping[str, Any]) -> str:
        if "n_prompt_tokens" in error:
            return (
                f"the prompt is {error['n_prompt_tokens']} tokens, and {self.name} holds {self.context_tokens} with "
                f"its reply; give it less, or open it with more context_tokens (it was trained with "
                f"{self.file.context_tokens})"
            )
        return f"{self.name} did not answer: {error.get('message', error)}"


@dataclass(slots=True)
class _Hearing:
    """One reply as it comes, token by token, so that it can be stopped at any."""

    deadline: float
    stopped: bool = False
    late: bool = False
    parts: list[str] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    finish: str = "stop"
    usage: Mapping[str, Any] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)

    def run(self, server: Any, request: Mapping[str, Any]) -> None:
        """Listen to the end. The main thread waits in Python, where Ctrl-C is heard, and not inside llama.cpp."""
        if threading.current_thread() is not threading.main_thread():
            self._listen(server, request)
            return
        thread = threading.Thread(target=self._listen, args=(server, request), name="slowwave-gguf", daemon=True)
        thread.start()
        try:
            thread.join()
        except BaseException:
            self.stopped = True
            thread.join()
            raise

    def reply(self, trim: bool) -> Reply:
        """What was heard."""
        text = "".join(self.parts)
        return Reply(
            text.strip() if trim else text,
            int(self.usage.get("prompt_tokens", 0)),
            int(self.usage.get("completion_tokens", 0)),
            "length" if self.finish == "length" else "stop",
            tuple(self.tokens),
        )

    def _listen(self, server: Any, request: Mapping[str, Any]) -> None:
        try:
            server.handle_chat_completions(request, self._hear)
        except (RuntimeError, ValueError, TypeError) as error:
            self.error = {"message": str(error)}

    def _hear(self, chunk: Mapping[str, Any]) -> bool:
        """Take a piece; True stops the reply."""
        self.error = chunk.get("error") or self.error
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk.get("choices") or ():
            self.parts.append(choice.get("delta", {}).get("content") or "")
            self.finish = choice.get("finish_reason") or self.finish
            for token in (choice.get("logprobs") or {}).get("content") or ():
                top = tuple((each["token"], float(each["logprob"])) for each in token.get("top_logprobs", ()))
                self.tokens.append(Token(token["token"], float(token["logprob"]), top))
        self.late = self.late or time.monotonic() > self.deadline
        return self.stopped or self.late


def _grammar(schema: Mapping[str, Any]) -> str:
    """The schema as llama.cpp's grammar. Plain spacing saves a third of the tokens that small models put into lines."""
    return str(_engine().json_schema_to_grammar(json.loads(json.dumps({**schema, **PLAIN_SPACING}))))


def _engine() -> Any:
    """The package, with threads that wait for each other politely.

    They meet some hundred times for every token, and by default spin there for as long as it takes: where another
    program has one of two cores, a reply then takes six times as long as on one thread (measured). OpenMP reads how
    long to spin when it is loaded, and never again; who has set it keeps it.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}.isdisjoint(os.environ):
        os.environ["GOMP_SPINCOUNT"] = "1000"
        try:
            import xllamacpp
        finally:
            del os.environ["GOMP_SPINCOUNT"]
    else:
        import xllamacpp
    return xllamacpp


def _hide(params: Any) -> str:
    """Let the server listen where nobody finds it; a folder to delete once it does, or "" if there is none."""
    params.api_keys = [secrets.token_hex(32)]
    params.cors_origins = ""
    params.endpoint_slots = params.ui = False
    params.n_threads_http = 1
    if os.name != "posix":
        return ""
    folder = tempfile.mkdtemp(prefix="slowwave-")
    socket = f"{folder}/s.sock"
    if len(socket) <= LONGEST_SOCKET:
        params.hostnames = [socket]
    return folder


def _threads() -> int:
    if given := os.environ.get("SLOWWAVE_LLM_THREADS"):
        if not given.isdigit() or not int(given):
            raise InputError(f"SLOWWAVE_LLM_THREADS is {given!r}; it must be a whole number above 0")
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
