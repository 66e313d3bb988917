"""What every language model must hold, whatever it makes of a question: replies that fit, counts, errors of our kinds.

None of these checks asks whether a model is any good; a model that knows nothing passes, one that lies about a cut-off
reply or raises somebody else's exceptions does not. They take some tens of short replies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

from slowwave.checks.bench import expect, raises, run_all
from slowwave.errors import ModelError
from slowwave.models.answer import read
from slowwave.models.chat import ChatModel, Message, Reply
from slowwave.models.prompt import Prompt, array_of, choice, obj, text

SAID = "On Monday Ana moved from Porto to Lisbon, and her dog Rex came along."
PLACE = Prompt(
    "check", "Answer in JSON. Where does she live now?", {"said": SAID}, obj("check", city=choice(["Porto", "Lisbon"]))
)
FACTS = Prompt(
    "check",
    "Write down the facts in the text, as JSON.",
    {"said": SAID},
    array_of(obj("fact", about=choice(["Ana", "Rex"]), fact=text(40), sure={"type": "boolean"}), "check", 2),
    max_tokens=128,
)
ODD = ("", "🙂 שלום עולם", "\n a\x01b\x7f", "half a pair \ud83d", "<|im_end|>\n<|im_start|>system", "x" * 200)


def its_name_and_context_are_plain(model: ChatModel) -> None:
    expect(isinstance(model, ChatModel), f"a {type(model).__name__} lacks name, context_tokens, chat or count_tokens")
    expect(isinstance(model.name, str) and model.name.strip(), f"its name is {model.name!r}")
    expect(isinstance(model.context_tokens, int) and model.context_tokens >= 0, f"context is {model.context_tokens!r}")
    parallel = getattr(model, "parallel", 1)
    expect(isinstance(parallel, int) and parallel >= 1, f"parallel is {parallel!r}")
    expect(float(getattr(model, "hold_seconds", 0.0)) >= 0, "hold_seconds is below 0")


def its_replies_fit_the_schema(model: ChatModel) -> None:
    for prompt in (PLACE, FACTS):
        reply = ask(model, prompt)
        value, problem = read(reply, prompt.schema)
        expect(not problem, f"a reply has a problem: {problem}; it is {reply.text[:200]!r}")
        expect(isinstance(value, dict), f"a reply is {value!r}")


def equal_prompts_get_equal_replies(model: ChatModel) -> None:
    first = ask(model, FACTS)
    ask(model, PLACE)
    again = ask(model, FACTS)
    expect(first.text == again.text, f"at temperature 0 it says {first.text[:120]!r}, then {again.text[:120]!r}")


def it_counts_tokens(model: ChatModel) -> None:
    expect(model.count_tokens("") in (0, 1), f"no text is {model.count_tokens('')} tokens")
    one, many = model.count_tokens(SAID), model.count_tokens(f"{SAID} " * 10)
    expect(isinstance(one, int) and 5 <= one <= len(SAID), f"a sentence of {len(SAID)} letters is {one} tokens")
    expect(8 * one <= many <= 12 * one, f"a sentence is {one} tokens, ten times it are {many}")
    for odd in ODD:
        expect(model.count_tokens(odd) >= 0, f"{odd!r} has fewer than no tokens")
    short, long = ask(model, PLACE), ask(model, Prompt("check", PLACE.instructions, {"said": SAID * 9}, PLACE.schema))
    expect(short.tokens_in >= one / 2, f"a prompt that holds {one} tokens is said to be {short.tokens_in}")
    expect(long.tokens_in >= short.tokens_in + 4 * one, f"a prompt nine times as long: {long.tokens_in} tokens in")
    expect(short.tokens_out > 0, "a reply took no tokens")


def a_long_reply_is_cut_off_and_says_so(model: ChatModel) -> None:
    said = "Count from one to fifty in words."
    reply = model.chat([Message("user", said)], schema=obj("check", counted=text(4000)), max_tokens=8)
    expect(reply.tokens_out <= 8, f"max_tokens is 8, and the reply has {reply.tokens_out}")
    if read(reply, obj("check", counted=text(4000)))[1]:
        expect(reply.finish in ("length", "refused"), f"a reply was cut off, and finish is {reply.finish!r}")


def it_takes_any_text(model: ChatModel) -> None:
    for odd in ODD:
        try:
            reply = ask(model, Prompt("check", PLACE.instructions, {"said": odd}, PLACE.schema))
            model.chat([Message("user", odd)], schema=PLACE.schema, max_tokens=32)
        except ModelError:
            continue  # turning a text down is allowed, with an error of ours
        expect(reply.finish in ("stop", "length", "refused"), f"finish is {reply.finish!r}")


def a_prompt_beyond_the_context_is_a_model_error(model: ChatModel) -> None:
    if model.context_tokens:
        long = Prompt("check", PLACE.instructions, {"said": "lighthouse " * (model.context_tokens + 100)}, PLACE.schema)
        raises(ModelError, lambda: ask(model, long), "a prompt beyond the context")


def probabilities_are_logarithms(model: ChatModel) -> None:
    reply = model.chat(PLACE.messages(), schema=PLACE.schema, max_tokens=32, top_logprobs=2)
    for token in reply.tokens:
        expect(token.logprob <= 1e-6, f"the log-probability of {token.text!r} is {token.logprob}")
        expect(len(token.top) <= 2, f"two likeliest were asked for, and {len(token.top)} came")
        order = [logprob for _, logprob in token.top]
        expect(order == sorted(order, reverse=True), f"the likeliest of {token.text!r} are out of order: {token.top}")


def threads_may_share_it(model: ChatModel) -> None:
    due = ask(model, PLACE).text
    with ThreadPoolExecutor(3) as pool:
        found = [job.result().text for job in [pool.submit(ask, model, PLACE) for _ in range(3)]]
    expect(found == [due] * 3, f"alone it says {due!r}, to three threads {found}")


def ask(model: ChatModel, prompt: Prompt) -> Reply:
    """A prompt, as the engine sends it."""
    return model.chat(
        prompt.messages(), schema=prompt.schema, max_tokens=prompt.max_tokens, temperature=prompt.temperature
    )


CHAT_CHECKS: tuple[Callable[[ChatModel], None], ...] = (
    its_name_and_context_are_plain,
    its_replies_fit_the_schema,
    equal_prompts_get_equal_replies,
    it_counts_tokens,
    a_long_reply_is_cut_off_and_says_so,
    it_takes_any_text,
    a_prompt_beyond_the_context_is_a_model_error,
    probabilities_are_logarithms,
    threads_may_share_it,
)


def check_chat_model(
    model: ChatModel, skip: Mapping[str, str] = MappingProxyType({}), show: Callable[[str], Any] = print
) -> None:
    """Hold a language model to its contract; AssertionError names the first check that fails."""
    run_all(CHAT_CHECKS, lambda check: check(model), skip, show)
