"""Any OpenAI-compatible endpoint as a language model, through the official client (extra `llm`)."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from slowwave.errors import ExtraMissingError, InputError, ModelBusyError, ModelError, ModelMissingError
from slowwave.models.chat import Message, Reply, Token, estimate_tokens
from slowwave.models.forms import FORMS, Form, first_form, in_words, response_format

OPENAI = "https://api.openai.com/v1"
UNKNOWN = re.compile(r"(un|not )(support|known|recogni[sz]ed|allow|permitted|expected)|does not|extra inputs")
FORM = re.compile(r"response.?format|json|schema|grammar|structured|format")
TOO_LONG = re.compile(r"context.(length|size|window)")
SHOWN = 300  # characters of an endpoint's message that an error shows


class EndpointModel:
    """A model behind `base_url`, asked over HTTP.

    model            None reads SLOWWAVE_LLM_MODEL
    base_url         None reads SLOWWAVE_LLM_BASE_URL, then OPENAI_BASE_URL, then takes OpenAI's own
    api_key          None reads SLOWWAVE_LLM_API_KEY; OPENAI_API_KEY is read only where the base URL is OpenAI's, or
                     OPENAI_BASE_URL's, so that it goes nowhere else. Many local servers take any text
    timeout_seconds  after which a request is given up
    parallel         requests at once
    context_tokens   of prompt and reply together; 0 if that is not known
    seed             sent along where it is given

    An endpoint that turns down a JSON schema is asked with the next plainer form (see `forms.py`), one that does not
    know a parameter without it; both are remembered for as long as this object lives. There are no retries in here.
    """

    def __init__(
        self,
        model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_seconds: float = 120.0,
        parallel: int = 4,
        context_tokens: int = 0,
        seed: int | None = None,
    ) -> None:
        env = os.environ
        self.model = (model or env.get("SLOWWAVE_LLM_MODEL", "")).removeprefix("openai:")
        if not self.model:
            raise InputError("no model is named; give EndpointModel(model=...) or set SLOWWAVE_LLM_MODEL")
        try:
            import openai
        except ImportError as error:
            raise ExtraMissingError(f"llm openai:{self.model}", "llm") from error
        own = base_url or env.get("SLOWWAVE_LLM_BASE_URL")
        self.base_url = own or env.get("OPENAI_BASE_URL") or OPENAI
        self.host = urlsplit(self.base_url).netloc.rpartition("@")[2]
        at_openai = self.host == urlsplit(OPENAI).netloc
        key = api_key or env.get("SLOWWAVE_LLM_API_KEY")
        if not key and (at_openai or not own):
            key = env.get("OPENAI_API_KEY")
        if not key and at_openai:
            raise ModelMissingError(
                f"openai:{self.model} at {OPENAI} needs a key; set SLOWWAVE_LLM_API_KEY, or SLOWWAVE_LLM_BASE_URL for "
                "another endpoint"
            )
        self._key = key or "none"
        if not self._key.isascii():
            raise InputError("the API key holds characters that no HTTP header can; copy it again")
        self._openai = openai
        self._client: Any = openai.OpenAI(
            base_url=self.base_url, api_key=self._key, timeout=timeout_seconds, max_retries=0
        )
        self.name = f"openai:{self.model}" if at_openai else f"openai:{self.model}@{self.host}"
        self.timeout_seconds = timeout_seconds
        self.parallel = parallel
        self.context_tokens = context_tokens
        self.seed = seed
        self._lock = threading.Lock()
        self._form: Form = first_form(at_openai)
        self._works = False  # whether a schema was ever taken in this form
        self._spelled = False  # whether the schema is also told in words, for an endpoint that pays it no heed
        self._length = "max_completion_tokens" if at_openai else "max_tokens"
        self._swapped = False
        self._unknown: set[str] = set()  # parameters that it turned down
        self._held_until = 0.0

    def __repr__(self) -> str:
        return f"EndpointModel({self.model!r} at {self.host})"

    @property
    def hold_seconds(self) -> float:
        """How long it still wants to be left alone, as its Retry-After said."""
        return max(0.0, self._held_until - time.monotonic())

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_logprobs: int = 0,
    ) -> Reply:
        """Answer the messages.

        raises  ModelBusyError for a time-out, no connection, 408, 409, 425, 429 and 5xx; ModelMissingError for a key,
                a quota or a model that is turned down; ModelError for any other refusal of the request
        """
        settings: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature}
        if self.seed is not None:
            settings["seed"] = self.seed
        if top_logprobs:
            settings |= {"logprobs": True, "top_logprobs": top_logprobs}
        reply = self._asked(messages, schema, settings)
        if schema is None or self._spelled or self._form == "words" or not _is_prose(reply):
            return reply
        self._spelled = True
        again = self._asked(messages, schema, settings)
        return replace(
            again, tokens_in=reply.tokens_in + again.tokens_in, tokens_out=reply.tokens_out + again.tokens_out
        )

    def count_tokens(self, text: str) -> int:
        """An estimate: endpoints do not tell."""
        return estimate_tokens(text)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _asked(self, messages: Sequence[Message], schema: Mapping[str, Any] | None, settings: dict[str, Any]) -> Reply:
        """The reply in the best form that the endpoint takes; a form is given up only once a plainer one has worked."""
        form, first_error = self._form, None
        while True:
            told, given = self._request(messages, schema, form, settings)
            try:
                answer = self._client.chat.completions.create(model=self.model, messages=told, **given)
                reply = self._reply(answer, told)
            except self._openai.APIStatusError as error:
                if error.code in ("content_filter", "content_policy_violation"):
                    return Reply(self._clean(_message(error)), _counted(told), 0, "refused")
                if self._adapts(error, given):
                    continue
                plainer = FORMS[FORMS.index(form) + 1 :]
                if schema is None or not plainer or not self._minds_form(error):
                    raise self._explained(first_error or error) from None
                form, first_error = plainer[0], first_error or error
                continue
            except self._openai.OpenAIError as error:
                raise self._explained(error) from None
            except (ValueError, AttributeError, TypeError) as error:
                raise ModelBusyError(f"{self.name} answered what is no reply: {self._clean(str(error))}") from None
            if schema is not None:
                self._form, self._works = form, True
            return reply

    def _request(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None, form: Form, settings: Mapping[str, Any]
    ) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """The messages, and the other parameters as this endpoint takes them."""
        told = [message.to_dict() for message in messages]
        given = {name: value for name, value in settings.items() if name not in self._unknown}
        given[self._length] = given.pop("max_tokens")
        if schema is not None:
            if self._spelled or form in ("object", "words"):
                told = in_words(told, schema)
            given |= response_format(form, schema)
        return told, given

    def _reply(self, answer: Any, told: Sequence[Mapping[str, str]]) -> Reply:
        """The first choice; ValueError where there is none, as some answer 200 to what went wrong behind them."""
        choices = getattr(answer, "choices", None)
        if not choices:
            what = answer if isinstance(answer, str) else getattr(answer, "error", None) or "no choices"
            raise ValueError(f"{str(what)[:SHOWN]} (does the base URL end in /v1, as most do?)")
        choice, usage = choices[0], getattr(answer, "usage", None)
        refusal = getattr(choice.message, "refusal", None)
        text = refusal or choice.message.content or ""
        tokens_in = getattr(usage, "prompt_tokens", None)
        tokens_out = getattr(usage, "completion_tokens", None)
        finish = "length" if choice.finish_reason == "length" else "stop"
        found = getattr(getattr(choice, "logprobs", None), "content", None) or ()
        return Reply(
            text,
            _counted(told) if tokens_in is None else int(tokens_in),
            estimate_tokens(text) if tokens_out is None else int(tokens_out),
            "refused" if refusal or choice.finish_reason == "content_filter" else finish,
            tuple(
                Token(t.token, t.logprob, tuple((top.token, top.logprob) for top in t.top_logprobs or ()))
                for t in found
            ),
        )

    def _adapts(self, error: Any, given: Mapping[str, Any]) -> bool:
        """Whether the endpoint turned down a parameter that it can be asked without; remembered."""
        said = f"{error.param or ''} {error.message}".lower()
        if error.status_code not in (400, 422) or not UNKNOWN.search(said):
            return False
        with self._lock:
            for name, other in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
                if name in given and name in said:
                    if self._length == name and not self._swapped:
                        self._length, self._swapped = other, True
                    return self._length != name
            for name in ("temperature", "top_logprobs", "logprobs", "seed"):
                if name in given and name in said:
                    self._unknown |= {"logprobs", "top_logprobs"} if "logprobs" in name else {name}
                    return True
        return False

    def _minds_form(self, error: Any) -> bool:
        """Whether the endpoint may have turned down the form in which it was told of the schema."""
        said = f"{error.code or ''} {error.param or ''} {error.message}".lower()
        if error.status_code not in (400, 415, 422, 501) or TOO_LONG.search(said):
            return False
        return not self._works or bool(FORM.search(said))

    def _explained(self, error: Any) -> ModelError:
        """The error as ours, with the next step; never with the key in it."""
        openai = self._openai
        said = self._clean(_message(error))
        if isinstance(error, openai.APITimeoutError):
            return ModelBusyError(f"{self.name} timed out after {self.timeout_seconds:g} s")
        if isinstance(error, openai.APIConnectionError):
            return ModelBusyError(f"{self.name} cannot be reached at {self.host}: {self._clean(str(error.__cause__))}")
        status = getattr(error, "status_code", 0)
        if status in (401, 403):
            return ModelMissingError(
                f"{self.name} turned the key down ({status}: {said}); set SLOWWAVE_LLM_API_KEY to one that "
                f"{self.host} takes"
            )
        if status == 404:
            return ModelMissingError(
                f"{self.host} has no model {self.model}, or nothing at this path ({said}); check the model's name, "
                "and that the base URL ends in /v1, as most do"
            )
        if status == 402 or getattr(error, "code", None) == "insufficient_quota":
            return ModelMissingError(f"{self.name}: the account's quota is used up ({status}: {said})")
        if status in (408, 409, 425, 429) or status >= 500:
            held = _retry_after(error.response.headers)
            self._held_until = max(self._held_until, time.monotonic() + held)
            return ModelBusyError(f"{self.name} is busy ({status}: {said})")
        return ModelError(f"{self.name} turned the request down ({status or type(error).__name__}: {said})")

    def _clean(self, said: str) -> str:
        shown = said.replace(self._key, "***") if len(self._key) > len("none") else said
        return " ".join(shown.split())[:SHOWN]


def _message(error: Any) -> str:
    """The endpoint's own words, where there are any."""
    body = getattr(error, "body", None)
    own = body.get("message") if isinstance(body, Mapping) else None
    return str(own or getattr(error, "message", error))


def _is_prose(reply: Reply) -> bool:
    """Whether a finished reply is no JSON at all, so that the endpoint paid no heed to the schema."""
    if reply.finish != "stop" or not reply.text.strip():
        return False
    try:
        json.loads(reply.text)
    except ValueError:
        return True
    return False


def _counted(told: Sequence[Mapping[str, str]]) -> int:
    return sum(estimate_tokens(message["content"]) for message in told)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 0 without one."""
    given = headers.get("retry-after", "")
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
