"""True statements and corrupted ones, each with the records it claims to rest on: what a guard has to tell apart.

A corruption changes one thing and nothing else: a name, a number, a date, a negation, or a word of content, the new one
taken from elsewhere in the same conversation, so that it is likely there and wrong here.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from slowwave.bench.factstream import FactStream, Turn, render
from slowwave.bench.factstream_words import STATES
from slowwave.ops import words
from slowwave.ops.names import names
from slowwave.records import Engram, Scope

SCOPE = Scope(user_id="someone")
_AUXILIARY = re.compile(r"\b(is|are|was|were|has|have|had|will|would|can|could)\b(?!\s+not|n't)")
_THIRD = re.compile(r"(?<=\w )([a-z]{3,}[^s\W])s\b(?= (?:in|at|for|as|to|a|an|the|from)\b)")
_DIGITS = re.compile(r"(?<![\w£$-])\d[\d,.:]*\d|(?<![\w-])\d(?![\w-])")


@dataclass(frozen=True, slots=True)
class Case:
    """A statement, what it claims to rest on, what was corrupted in it ("" where it is true), its value if known."""

    statement: str
    sources: tuple[Engram, ...]
    corrupted: str = ""
    value: str = ""


def from_stream(stream: FactStream) -> list[Case]:
    """Facts of a generated dialogue as a model might write them, in templates of the same half: true and corrupted."""
    rng = random.Random(f"corrupted {stream.seed}")
    stated = [turn for turn in stream.turns if turn.label in ("states", "repeats", "changes")]
    others = {turn.person for turn in stated}
    out: list[Case] = []
    for turn in stated:
        source = _episode(turn.origin, turn.text, turn.speaker, turn.at)
        form = _form(rng, stream, turn)
        plain = render(form, turn.person, turn.value)
        fact, dated = f"{turn.person}'s {turn.attribute} is {turn.value}.", f"{plain[:-1]} since {turn.at:%B %Y}."
        out += [Case(text, (source,), "", turn.value) for text in (plain, fact, dated)]
        another = rng.choice([t.value for t in stated if t.attribute == turn.attribute and t.value != turn.value])
        wrong = rng.choice(sorted(others - {turn.person}))
        out.append(Case(render(form, wrong, turn.value), (source,), "name", turn.value))
        out.append(Case(render(form, turn.person, another), (source,), _kind_of(turn), another))
        out.append(Case(_denied(plain), (source,), "negation", turn.value))
        away = turn.at + timedelta(days=rng.choice((-400, -90, -45, 40, 100)))
        out.append(Case(f"{plain[:-1]} since {away:%-d %B %Y}.", (source,), "date", turn.value))
    for turn in (turn for turn in stream.turns if turn.label == "trap"):
        source = _episode(turn.origin, turn.text, turn.speaker, turn.at)
        out.append(Case(render(_form(rng, stream, turn), turn.person, turn.value), (source,), "trap", turn.value))
    return out


def _form(rng: random.Random, stream: FactStream, turn: Turn) -> str:
    """A template of the half that the stream is made of."""
    forms = STATES[turn.attribute]
    return rng.choice(forms[: len(forms) // 2] if stream.half == "tuning" else forms[len(forms) // 2 :])


def _kind_of(turn: Turn) -> str:
    if turn.attribute in ("phone", "office", "rent", "meeting"):
        return "number"
    return "name" if turn.value[0].isupper() else "content"


def from_observations(file: Path) -> list[Case]:
    """The observations that come with a LoCoMo conversation, with the turns they cite: as shipped, and corrupted."""
    data = json.loads(file.read_text(encoding="utf-8"))
    rng = random.Random(f"corrupted {file.stem}")
    talk, turns = data["conversation"], dict[str, Engram]()
    for key in (k for k in talk if re.fullmatch(r"session_\d+", k)):
        at = datetime.strptime(talk[f"{key}_date_time"], "%I:%M %p on %d %B, %Y")
        for turn in talk[key]:
            caption = turn.get("blip_caption")
            text = turn["text"].strip() + (f" [image: {caption}]" if caption else "")
            turns[turn["dia_id"]] = _episode(turn["dia_id"], text, turn["speaker"], at)
    told: list[tuple[str, tuple[Engram, ...]]] = []
    for session in data["observation"].values():
        for noted in session.values():
            for text, cited in noted:
                ids = re.findall(r"D\d+:\d+", str(cited))
                sources = tuple(turns[id_] for id_ in ids if id_ in turns)
                if sources:
                    told.append((text, sources))
    speakers = [talk["speaker_a"], talk["speaker_b"]]
    pool = sorted({name for text, _ in told for name in names(text, speakers)} - set(speakers))
    dates = sorted({f"{engram.at:%-d %B %Y}" for engram in turns.values()})
    content = sorted({t.surface for text, _ in told for t in words.tokens(text) if _swappable(t)})
    out = [Case(text, sources) for text, sources in told]
    for text, sources in told:
        for kind, change in _changes(rng, speakers, pool, dates, content, sources):
            changed = change(text)
            if changed and changed != text:
                out.append(Case(changed, sources, kind))
        cited = {source.id for source in sources}
        apart = [t for t, s in told if cited.isdisjoint(e.id for e in s) and t.split()[0] == text.split()[0]]
        if apart:
            out.append(Case(rng.choice(apart), sources, "another statement"))
    return out


def _changes(
    rng: random.Random,
    speakers: Sequence[str],
    pool: Sequence[str],
    dates: Sequence[str],
    content: Sequence[str],
    sources: Sequence[Engram],
) -> Iterator[tuple[str, Callable[[str], str]]]:
    def speaker(text: str) -> str:
        here = next((name for name in speakers if text.startswith(name)), None)
        return text.replace(here, next(n for n in speakers if n != here)) if here else ""

    def name(text: str) -> str:
        found = [n for n in names(text, speakers) if n not in speakers]
        if not found or not pool:
            return ""
        was = rng.choice(found)
        return text.replace(was, rng.choice([n for n in pool if n != was and n not in text] or [was]))

    def number(text: str) -> str:
        found = _DIGITS.search(text)
        if found:
            wrong = str(int(re.sub(r"\D", "", found.group())) + rng.randint(2, 9))
            return text[: found.start()] + wrong + text[found.end() :]
        tokens = [t for t in words.tokens(text) if t.kind == "number" and t.surface.isalpha()]
        if not tokens:
            return ""
        other = rng.choice([w for w in ("four", "six", "eight", "eleven") if w != tokens[0].surface.lower()])
        return re.sub(rf"\b{tokens[0].surface}\b", other, text, count=1)

    def date(text: str) -> str:
        told = {f"{source.at:%-d %B %Y}" for source in sources}
        return f"{text.rstrip('.')} on {rng.choice([d for d in dates if d not in told])}."

    def word(text: str) -> str:
        mine = [t for t in words.tokens(text) if _swappable(t) and f" {t.surface}" in text]
        if not mine:
            return ""
        was = rng.choice(mine[-3:])
        return text.replace(f" {was.surface}", f" {rng.choice(content)}", 1)

    yield from (("speaker", speaker), ("name", name), ("number", number), ("date", date))
    yield from (("negation", _denied), ("content", word))


def _swappable(token: words.Token) -> bool:
    return token.kind == "word" and len(token.surface) > 4 and not token.surface.endswith(("ing", "ed", "ly"))


def _denied(text: str) -> str:
    """The statement with a "not" in it."""
    found = _AUXILIARY.search(text)
    if found:
        return f"{text[: found.end()]} not{text[found.end() :]}"
    found = re.search(r"^(\w+) ([a-z]+?)s\b", text)
    return f"{found[1]} does not {found[2]}{text[found.end() :]}" if found else ""


def _episode(origin: str, text: str, speaker: str, at: datetime) -> Engram:
    return Engram(
        id=origin, kind="episode", text=text, scope=SCOPE, at=at, recorded=at, attrs={"speaker": speaker}, origin=origin
    )
