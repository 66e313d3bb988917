"""A language model as the engine uses it: every call budgeted, cached, retried, checked against its schema, counted.

What a model says is never trusted with control: `ask` gives back an Answer whose `problem` says why nothing could be
made of the reply, and never raises for what a model does. Where the budget is spent or the model is gone, `exhausted`
says so: a night then stops asking, what was done until then stands, and the next night goes on from there.
"""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from slowwave.errors import InputError, ModelBusyError, ModelError, ModelMissingError
from slowwave.models.answer import Answer, read, unfenced
from slowwave.models.cache import DictCache, ReplyCache
from slowwave.models.chat import ChatModel, Reply
from slowwave.models.prompt import Prompt, array_of, choice, obj, text
from slowwave.records import Call

NO_REPLY = "no reply"
CALLS_KEPT = 100_000  # of one LLM object, for those who never take them
WARMTH = 0.3  # temperature of the second try for a reply that was of no use
LONGEST_WAIT = 120.0  # seconds; a model that wants to be left alone for longer gives no reply
DOWN_SECONDS = 300.0  # after which a model that counts as gone is tried with one prompt again


@dataclass(slots=True)
class Spent:
    """What an operation has used so far.

    calls     requests sent, further tries included
    cached    answers that came from the cache
    problems  prompts of which nothing could be made
    seconds   in which answers were waited for, added up over threads
    """

    calls: int = 0
    cached: int = 0
    problems: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0

    def add(self, call: Call, tries: int = 1) -> None:
        """Count a call; a cached one costs no tokens."""
        self.calls += 0 if call.cached else tries
        self.cached += call.cached
        self.problems += bool(call.problem)
        self.tokens_in += 0 if call.cached else call.tokens_in
        self.tokens_out += 0 if call.cached else call.tokens_out
        self.seconds += call.seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class _Budget:
    """Where a budget stands, for an LLM and its sessions: requests since it began, and what was spent before that."""

    begun: int = 0
    before: Spent = field(default_factory=Spent)


@dataclass
class LLM:
    """A model, or one per operation, behind a budget, a cache and a tally. Safe to share between threads.

    model        answers what `models` does not name
    models       operation -> the model that answers it
    max_calls    requests allowed, further tries included, cached answers aside; None for no limit
    max_tokens   tokens in and out allowed; the call that reaches it is finished
    max_seconds  seconds of waiting for answers allowed, added up over threads
    retries      further tries where the model was busy; unless 0, also one more (at a little warmth) for a reply that
                 is of no use
    cache        where replies are kept; None keeps none
    down_after   prompts in a row without any reply after which the model counts as gone, for five minutes
    wait         sleeps between tries; for tests
    """

    model: ChatModel
    models: Mapping[str, ChatModel] = field(default_factory=dict)
    max_calls: int | None = None
    max_tokens: int | None = None
    max_seconds: float | None = None
    retries: int = 2
    cache: ReplyCache | None = field(default_factory=DictCache)
    down_after: int = 3
    wait: Callable[[float], None] = field(default=time.sleep, repr=False)
    spent: dict[str, Spent] = field(default_factory=dict, init=False)
    calls: list[Call] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        for model in (self.model, *self.models.values()):
            if not isinstance(model, ChatModel):
                raise InputError(f"llm is a {type(model).__name__} without name, context_tokens, chat and count_tokens")
        self._lock = threading.RLock()
        self._silent: dict[str, int] = {}  # prompts in a row without a reply, by model
        self._gone: dict[str, tuple[float, str]] = {}  # since when, and why
        self._budget = _Budget()

    @property
    def name(self) -> str:
        """The main model's name."""
        return self.model.name

    def of(self, operation: str) -> ChatModel:
        """The model that answers an operation; its name may be written with underscores, as the environment must."""
        return self.models.get(operation) or self.models.get(operation.replace("-", "_")) or self.model

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, to the main model."""
        return self.model.count_tokens(text)

    def ask(self, prompt: Prompt) -> Answer:
        """Ask once, within the budget; an Answer whose `problem` tells what went wrong, if anything did."""
        answer, asked = self._ask(prompt)
        if asked:
            self._note([answer.call])
        return answer

    def ask_all(self, prompts: Sequence[Prompt], workers: int | None = None) -> list[Answer]:
        """Answers to many prompts, in their order; the journal's order is theirs too.

        workers  how many are asked at once, of models that take several (`parallel`); None takes what each takes. A
                 model in this process is asked one after the other. Twins are asked once, where there is a cache.
        """
        seen: set[str] = set()
        wide, single, twins = list[int](), list[int](), list[int]()
        most = 1
        for place, prompt in enumerate(prompts):
            model = self.of(prompt.operation)
            key, takes = prompt.key(model.name), int(getattr(model, "parallel", 1))
            most = max(most, takes)
            (twins if key in seen and self.cache is not None else wide if takes > 1 else single).append(place)
            seen.add(key)
        done: dict[int, tuple[Answer, bool]] = {}

        def one(place: int) -> None:
            done[place] = self._ask(prompts[place])

        threads = min(len(wide), most if workers is None else min(workers, most))
        if threads > 1:
            pool = ThreadPoolExecutor(threads, thread_name_prefix="slowwave-ask")
            try:
                jobs = [pool.submit(one, place) for place in wide]
                for place in single:
                    one(place)
                for job in jobs:
                    job.result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        else:
            for place in sorted([*wide, *single]):
                one(place)
        for place in twins:
            one(place)
        answers = [done[place] for place in range(len(prompts))]
        self._note([answer.call for answer, asked in answers if asked])
        return [answer for answer, _ in answers]

    @property
    def exhausted(self) -> str:
        """Why nothing more will be asked: the budget is spent, or a model is gone; "" while asking goes on."""
        with self._lock:
            for name, (since, why) in list(self._gone.items()):
                if time.monotonic() - since < DOWN_SECONDS:
                    return why
                del self._gone[name]
                self._silent[name] = self.down_after - 1
            spent, before = self.total(), self._budget.before
            tokens = spent.tokens_in + spent.tokens_out - before.tokens_in - before.tokens_out
            for name, used, most in (
                ("calls", self._budget.begun, self.max_calls),
                ("tokens", tokens, self.max_tokens),
                ("seconds", spent.seconds - before.seconds, self.max_seconds),
            ):
                if most is not None and used >= most:
                    return f"{used:.0f} of {most:.0f} {name} are spent"
        return ""

    def session(self, cache: ReplyCache) -> LLM:
        """The same models behind the same budget and tally, with a list of calls of its own, as one night needs it.

        cache  takes the place of this one's, where this one keeps replies in memory alone
        """
        made = copy.copy(self)
        made.calls = []
        if isinstance(self.cache, DictCache):
            made.cache = cache
        return made

    def renew(self) -> None:
        """Begin the budget anew, and try models again that counted as gone; the tally goes on."""
        with self._lock:
            self._budget.begun, self._budget.before = 0, self.total()
            self._silent.clear()
            self._gone.clear()

    def take_calls(self) -> list[Call]:
        """The calls since this was last asked, in order: what a night writes into its operation."""
        with self._lock:
            taken, self.calls = self.calls, []
        return taken

    def total(self) -> Spent:
        """What all operations have used together."""
        out = Spent()
        with self._lock:
            for spent in self.spent.values():
                for name in Spent.__slots__:
                    setattr(out, name, getattr(out, name) + getattr(spent, name))
        return out

    def erase(self, sources: Iterable[str]) -> int:
        """Drop cached replies to prompts that showed one of these engrams; how many there were."""
        erase = getattr(self.cache, "erase", None)
        return int(erase(sources)) if erase is not None else 0

    def close(self) -> None:
        """Let the models go, those that hold something."""
        for model in {id(model): model for model in (self.model, *self.models.values())}.values():
            close = getattr(model, "close", None)
            if close is not None:
                close()

    def _ask(self, prompt: Prompt) -> tuple[Answer, bool]:
        """The answer, and whether it belongs in the journal: one that the budget forbade does not."""
        model = self.of(prompt.operation)
        key = prompt.key(model.name)
        kept = self.cache.get(key) if self.cache is not None else None
        if kept is not None:
            value, problem = read(kept, prompt.schema)
            if not problem:
                call = _call(prompt, model, key, kept.tokens_in, kept.tokens_out, cached=True)
                self._count(call, 0)
                return Answer(value, "", kept.text, call, kept.tokens), True
        if why := self._begin():
            return Answer(None, why, "", _call(prompt, model, key, cached=True, problem=why)), False
        start = time.perf_counter()
        tried = _Tries(self, model, prompt)
        tried.run()
        seconds = time.perf_counter() - start
        reply, problem = tried.reply, tried.problem
        if not problem and self.cache is not None:
            self.cache.put(key, prompt, model.name, reply)
        call = _call(prompt, model, key, tried.tokens_in, tried.tokens_out, seconds, problem=problem)
        self._count(call, tried.count)
        return Answer(tried.value, problem, reply.text, call, reply.tokens), True

    def _begin(self) -> str:
        """Take one request from the budget, or say why there is none to take."""
        with self._lock:
            why = self.exhausted
            if not why:
                self._budget.begun += 1
            return why

    def _heard(self, model: ChatModel, replied: bool, lost: str) -> None:
        """Whether a model gave any reply to a prompt; `lost` says why no prompt will ever get one."""
        with self._lock:
            if replied:
                self._silent.pop(model.name, None)
                self._gone.pop(model.name, None)
                return
            count = self._silent[model.name] = self._silent.get(model.name, 0) + 1
            if lost or count >= self.down_after:
                why = lost or f"{NO_REPLY} to {count} prompts in a row: {model.name} counts as gone"
                self._gone[model.name] = (time.monotonic(), why)

    def _affords(self, seconds: float, already: float) -> bool:
        """Whether waiting is allowed: not for longer than anyone should, and within the budget."""
        if seconds > LONGEST_WAIT:
            return False
        used = self.total().seconds - self._budget.before.seconds
        return self.max_seconds is None or used + already + seconds < self.max_seconds

    def _count(self, call: Call, tries: int) -> None:
        with self._lock:
            self.spent.setdefault(call.operation, Spent()).add(call, tries)

    def _note(self, calls: Sequence[Call]) -> None:
        with self._lock:
            self.calls += calls[: max(0, CALLS_KEPT - len(self.calls))]


class _Tries:
    """The tries for one prompt: the reply that came of them, its value and problem, and what they all cost."""

    def __init__(self, llm: LLM, model: ChatModel, prompt: Prompt) -> None:
        self.llm, self.model, self.prompt = llm, model, prompt
        self.reply = Reply("", 0, 0)
        self.value: Any = None
        self.problem = ""
        self.tokens_in = self.tokens_out = self.count = 0
        self.start = time.perf_counter()

    def run(self) -> None:
        """Try until there is a value, or until further tries make no sense or are not allowed."""
        llm, messages = self.llm, self.prompt.messages()
        failures, warm, replied, lost = 0, False, False, ""
        while self._wait(failures):
            if self.count and llm._begin():
                break
            self.count += 1
            problem = ""
            try:
                reply = self.model.chat(
                    messages,
                    schema=self.prompt.schema,
                    max_tokens=self.prompt.max_tokens,
                    temperature=max(self.prompt.temperature, WARMTH) if warm else self.prompt.temperature,
                    top_logprobs=self.prompt.top_logprobs,
                )
            except ModelBusyError as error:
                problem, failures = f"{NO_REPLY}: {error}", failures + 1
                if failures <= llm.retries:
                    self.problem = self.problem or problem
                    continue
            except ModelMissingError as error:
                problem = lost = f"failed: {error}"
            except ModelError as error:
                problem, replied = f"failed: {error}", True  # it is there, but not for this prompt
            except Exception as error:  # noqa: BLE001 - a fault in somebody's model must not end a night
                problem = f"failed: {type(error).__name__}: {error}"
            if problem:
                self.problem = problem if not self.reply.text else self.problem
                break
            replied, failures = True, 0
            self.reply = reply
            self.tokens_in, self.tokens_out = self.tokens_in + reply.tokens_in, self.tokens_out + reply.tokens_out
            self.value, self.problem = read(reply, self.prompt.schema)
            if not self.problem or warm or not llm.retries or reply.finish == "refused":
                break
            warm = True
        llm._heard(self.model, replied or bool(self.reply.text), lost)

    def _wait(self, failures: int) -> bool:
        """Wait as long as the model asks for, or as is due after so many failures; False if that is too long."""
        due = min(30.0, 0.5 * 2 ** (failures - 1)) * (1 + random.random() / 4) if failures else 0.0
        held = float(getattr(self.model, "hold_seconds", 0.0))
        if not self.llm._affords(max(due, held), time.perf_counter() - self.start):
            self.problem = self.problem or f"{NO_REPLY}: {self.model.name} asks to be left alone for {held:.0f} s"
            return False
        if max(due, held) > 0:
            self.llm.wait(max(due, held))
        return True


def _call(
    prompt: Prompt, model: ChatModel, key: str, tokens_in: int = 0, tokens_out: int = 0, seconds: float = 0.0,
    cached: bool = False, problem: str = "",
) -> Call:  # fmt: skip
    return Call(prompt.operation, model.name, key, tokens_in, tokens_out, seconds, cached, problem)


__all__ = [
    "LLM", "NO_REPLY", "Answer", "DictCache", "Prompt", "ReplyCache", "Spent", "array_of", "choice",
    "obj", "read", "text", "unfenced",
]  # fmt: skip
