"""What a newer statement does to an older one: repeats it, adds to it, replaces its value, contradicts it, or none.

Decided on the words, never on the cosine: two statements that differ in nothing but a colour reach cosine 0.96, and a
memory that merges them has lost a fact. So every number, name, negation and contrast must agree before two
statements count as one. A change needs a shared template, one differing value, and words that speak of something that
holds over time ("my favourite colour is", "the office is on floor"); two events of one kind ("I bought a red car",
"I bought a blue car") are both new. Where the words do not decide, the answer is "unsure", and nothing should be done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from slowwave.ops import words
from slowwave.ops.attributes import (
    ANTONYMS,
    ATTRIBUTES,
    CHAT,
    CLASSIFIERS,
    COUNT_ONLY,
    GROUPS,
    LINKING,
    ONCE,
    PASSIVE,
    PERMANENT,
    PLACES,
    RESULTS,
    SEVERAL,
    STATIVE,
)
from slowwave.ops.statements import Statement, statements
from slowwave.ops.vocabulary import canonical
from slowwave.ops.words import Token, stem, word_set

Outcome = Literal["new", "restates", "refines", "supersedes", "contradicts", "unsure"]

MAX_TOKENS = 80  # longer texts are no single statement; compare their statements instead
MAX_VALUE = 5  # tokens in a value that changed
ALIKE = 0.9  # cosine above which two texts that the rules cannot place are "unsure" rather than "new"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome, the pairs (old span, new span) that differ, and a sentence for the diff.

    outcome  new          another matter, or another event of the same kind
             restates     says the same
             refines      says the same and adds to it
             supersedes   gives a newer value of something that can change
             contradicts  cannot hold together with the older one, and nothing says that it changed
             unsure       too alike to be called new, too little to call it more; leave both
    """

    outcome: Outcome
    changed: tuple[tuple[str, str], ...] = ()
    reason: str = ""


_ENDED = re.compile(
    r"\b(?:have |has |had )?(?:recently |just |finally |completely )?"
    r"(?:(?:stopped|quit|given up|gave up)\b(?= \w+ing\b)|used to(?= \w))",
    re.I,
)
_BEGAN = re.compile(
    r"\b(?:have |has )?(?:recently |just |finally )?(?:started|begun|began|taken up)(?= \w+ing\b)", re.I
)
_CORRECTION = re.compile(
    r"^\W*(?:sorry|oops)?\W*(?:correction|i meant(?: to say)?(?: that)?|i was wrong(?: before)?|"
    r"i made a mistake|i misspoke|it turns out(?: that)?)\b[,:;.\s]*",
    re.I,
)
_OF = re.compile(r"^\W*the (\w+) of (my|our|his|her|their|\w+'s) (\w+) (is|are)\b", re.I)
_PREFACE = re.compile(
    r"^\W*(?:(?:by the way|btw|fyi|just so you know|for the record|"
    r"(?:as|like) (?:i|you) (?:said|mentioned|know|told you)(?: before| earlier)?|"
    r"don't forget(?: that)?|remember(?: that)?|just a reminder(?: that)?|i mean|you know|"
    r"(?:did )?i(?:'ve| have)?(?: already)? (?:tell|told|mention(?:ed)?)(?: to)?(?: you)?(?: before| already)?"
    r"(?: that)?|"
    r"i should (?:say|mention)(?: that)?|i (?:guess|suppose) you know(?: that)?|it's true that|to be clear|in fact|"
    r"(?:good|big|great|some|quick|small) (?:news|update)|update|news)\b[,:!.\s]*)+",
    re.I,
)
_POSTFACE = re.compile(
    r",?\s*(?:by the way|btw|you know|(?:as|like) i (?:said|mentioned|told you)(?: before| earlier)?)\W*$", re.I
)
_ASKS = re.compile(
    r"\?\W*$|^\W*(?:(?:what|who|whom|whose|where|when|why|how|which)\b(?! a\b)|"
    r"(?:do|does|did|can|could|would|will|should|are|is|have|has|am|was|were)\s+(?:i|you|he|she|it|we|they|the|my|"
    r"your|there|any)\b)",
    re.I,
)
_QUOTES = re.compile(
    r"\"[^\"]{3,}\"|\b(?:said|says|claims|claimed|told (?:me|us|him|her|them)|heard|according to)\b", re.I
)


@dataclass(frozen=True, slots=True)
class _Parse:
    """A statement made ready for comparing."""

    aligned: tuple[Token, ...]  # all but articles and fillers: what a template is
    content: tuple[str, ...]  # keys that must agree in a repeat, in order
    negative: bool
    past: bool
    cue: bool
    ended: bool  # "stopped", "no longer", "used to", or their opposite "started"
    corrects: bool
    asks: bool
    points: bool  # at something its words do not name: "that's great", "she lives in Rome"
    unreal: bool  # a wish, a plan, a guess or another's words

    @property
    def numbers(self) -> list[str]:
        return [t.key for t in self.aligned if t.kind == "number"]


def compare(old: str, new: str, cosine: float = 1.0, alike: float = ALIKE) -> Comparison:
    """What `new` does to `old`, both statements about one matter by one speaker, `new` the later of the two.

    cosine   of their vectors, in [-1, 1]; it can only turn "new" into "unsure", never decide a merge
    alike    the cosine from which it does so
    returns  a Comparison; texts of more than 80 words are compared for repetition alone
    """
    a, b = _parse(old), _parse(new)
    outcome = _decide(a, b)
    if outcome.outcome in ("new", "unsure") and not (_is_chat(a) or _is_chat(b)):
        outcome = _by_attribute(old, new, a, b) or outcome
    if outcome.outcome not in ("new", "unsure") and (a.points or b.points):
        return Comparison("unsure", outcome.changed, "they point at something that their words do not name")
    stated = all(not (_is_chat(p) or p.past or p.asks or p.unreal) for p in (a, b))
    if outcome.outcome == "new" and cosine >= alike and stated:
        return Comparison("unsure", outcome.changed, f"alike (cosine {cosine:.2f}), but {outcome.reason}")
    return outcome


def _by_attribute(old: str, new: str, a: _Parse, b: _Parse) -> Comparison | None:
    """Other words for one attribute of one subject ("I live in Rome", "my home is in Oslo"); None if there are none."""
    if a.asks or b.asks or a.unreal or b.unreal or max(len(a.aligned), len(b.aligned)) > MAX_TOKENS:
        return None
    stated_a, stated_b = statements(old), statements(new)
    if len(stated_a) != 1 or len(stated_b) != 1:
        return None
    was, now = stated_a[0], stated_b[0]
    same = (was.subject, canonical(was.attribute)) == (now.subject, canonical(now.attribute))
    if not same or was.about_past or now.about_past:
        return None
    changed = ((was.value, now.value),)
    if _same_value(was, now):
        if was.polarity and not now.polarity:
            return Comparison("supersedes", changed, f"{was.attribute} {was.value!r} has since ended")
        if was.polarity == now.polarity and not b.past and not _beside(new, now) and not _beside(old, was):
            return Comparison("restates", reason=f"the same {was.attribute} in other words")
        return None
    if not (was.polarity and now.polarity and was.single_valued and now.single_valued):
        return None
    if now.attribute in ONCE and not b.corrects:
        return Comparison("contradicts", changed, f"two values of {now.attribute}, which does not change")
    return Comparison("supersedes", changed, f"{now.attribute} {was.value!r} has become {now.value!r}")


def _same_value(was: Statement, now: Statement) -> bool:
    """Whether two values are one: by their stems, but where both are written as names letter by letter."""
    a, b = _content(was), _content(now)
    return len(a) == len(b) and all(map(_same_word, a, b))


def _same_word(a: Token, b: Token) -> bool:
    names = (a.kind == "name" or a.surface.istitle()) and (b.kind == "name" or b.surface.istitle())
    return a.surface.lower() == b.surface.lower() or (not names and a.key == b.key)


def _content(statement: Statement) -> list[Token]:
    found = words.tokens(statement.value)
    return [t for t in found if t.kind not in ("article", "filler", "cue") and t.key not in ASIDE]


def _beside(text: str, statement: Statement) -> bool:
    """Whether the text says more than the statement that was read off it."""
    rest = _POSTFACE.sub("", _PREFACE.sub("", text[: statement.span[0]] + " . " + text[statement.span[1] :]))
    return any(
        t.kind in ("word", "name", "number", "person", "negation") and t.key not in ASIDE for t in words.tokens(rest)
    )


ASIDE = frozenset(
    stem(w) for w in ("month", "profession")
)  # "a month", "by profession": said in the words beside a value


def _decide(a: _Parse, b: _Parse) -> Comparison:
    if _is_chat(a) or _is_chat(b):
        return Comparison("new", reason="one of them states nothing")
    if a.asks or b.asks:
        if a.asks and b.asks and a.content == b.content:
            return Comparison("restates", reason="the same question")
        return Comparison("new", reason="a question states nothing")
    if set(a.content) == set(b.content) and _same_values(a, b):
        return _same_words(a, b)
    if max(len(a.aligned), len(b.aligned)) > MAX_TOKENS:
        return Comparison("new", reason="too long to be one statement")
    if a.unreal or b.unreal:
        return Comparison("new", reason="a wish, a plan or another's words changes nothing")
    start, tail = _shared_ends(a.aligned, b.aligned)
    before, after = a.aligned[:start], a.aligned[len(a.aligned) - tail :]
    mid_a, mid_b = a.aligned[start : len(a.aligned) - tail], b.aligned[start : len(b.aligned) - tail]
    if not _is_template(before, after):
        return Comparison("new", reason="they share no template")
    if a.negative != b.negative:
        return Comparison("new", reason="they differ in more than a negation")
    if not mid_a:
        return _addition(a, b, before, mid_b, after)
    if not mid_b:
        return Comparison("unsure", reason="the newer says less than the older")
    return _substitution(a, b, before, mid_a, mid_b, after)


def _same_words(a: _Parse, b: _Parse) -> Comparison:
    """All content words agree: a repeat, unless negation, tense or order say otherwise."""
    if a.negative != b.negative:
        pair = ((_text(a.aligned), _text(b.aligned)),)
        if a.unreal or b.unreal:
            return Comparison("new", pair, "one of them is not stated as true")
        if b.ended or b.cue or (a.ended and not b.past):
            return Comparison("supersedes", pair, "what the older says has since stopped, or begun")
        if a.past or b.past:
            return Comparison("unsure", pair, "one happened and one did not; they may be two occasions")
        return Comparison("contradicts", pair, "the one denies what the other says")
    if a.past != b.past or a.ended != b.ended:
        return Comparison("unsure", reason="the same words, but in another tense")
    if a.unreal != b.unreal:
        return Comparison("new", reason="one of them is not stated as true")
    if not _same_order(a.content, b.content):
        return Comparison("unsure", reason="the same words in another order")
    return Comparison("restates", reason="the same words, numbers and names")


def _addition(
    a: _Parse, b: _Parse, before: Sequence[Token], extra: Sequence[Token], after: Sequence[Token]
) -> Comparison:
    """`new` is `old` with one stretch more."""
    added = _text(extra)
    changed = (("", added),)
    if a.past or b.past:
        return Comparison("new", changed, "two events may share all words of the shorter one")
    if any(t.kind == "negation" or t.key in words.CONTRASTS or t.key in words.MODALS for t in extra):
        return Comparison("unsure", changed, f"the added words {added!r} may turn the sense")
    if _joins(extra[0]) and after and not _joins(after[0]):
        return Comparison("unsure", changed, f"the added words {added!r} may turn the sense")
    if not _joins(extra[0]) and not (not after and before and before[-1].kind == "be"):
        return Comparison("unsure", changed, f"the added words {added!r} may name another thing")
    return Comparison("refines", changed, f"says the same and adds {added!r}")


def _substitution(
    a: _Parse,
    b: _Parse,
    before: Sequence[Token],
    mid_a: Sequence[Token],
    mid_b: Sequence[Token],
    after: Sequence[Token],
) -> Comparison:
    """One stretch of the template has another value."""
    changed = ((_text(mid_a), _text(mid_b)),)
    was, now = changed[0]
    if a.past != b.past:
        return Comparison("new", changed, "they speak of different times")
    if max(len(mid_a), len(mid_b)) > MAX_VALUE or any(t.kind in ("be", "negation") for t in (*mid_a, *mid_b)):
        return Comparison("new", changed, "they differ in more than a value")
    keys_a, keys_b = {t.key for t in mid_a}, {t.key for t in mid_b}
    for likes, dislikes in ANTONYMS:
        if (keys_a & likes and keys_b & dislikes) or (keys_a & dislikes and keys_b & likes):
            if len(mid_a) == len(mid_b) == 1 and not a.past:
                sure: Outcome = "supersedes" if b.cue else "contradicts"
                return Comparison(sure, changed, f"{was!r} against {now!r}")
            return Comparison("new", changed, "they differ in more than a value")
    if len(mid_a) > 1 and len(mid_b) > 1 and mid_a[0].key in PLACES and mid_b[0].key in PLACES:
        before, mid_a, mid_b = [*before, mid_b[0]], mid_a[1:], mid_b[1:]  # "work at X", "work for Y"
    verdict = _can_change(a, before, mid_a, mid_b, after)
    if verdict is None:
        if b.corrects:
            return Comparison("supersedes", changed, f"corrects {was!r} to {now!r}")
        return Comparison("new", changed, f"{was!r} and {now!r} may both be so")
    if verdict == "permanent" and not (b.corrects or b.cue):
        return Comparison("contradicts", changed, f"{was!r} against {now!r}, of something that does not change")
    return Comparison("supersedes", changed, f"{was!r} has become {now!r}")


def _can_change(
    a: _Parse, before: Sequence[Token], mid_a: Sequence[Token], mid_b: Sequence[Token], after: Sequence[Token]
) -> Literal["changes", "permanent"] | None:
    """Whether the place after `before` holds one value at a time; None if two values may both be true."""
    lead = [t for t in before if t.kind != "cue"]
    particles: list[str] = []
    while lead and (lead[-1].kind == "preposition" or lead[-1].key in LINKING):
        particles.insert(0, lead.pop().key)
    if not lead:
        return None
    same_type = _types(mid_a) & _types(mid_b)
    if lead[-1].kind == "be" or (lead[-1].key in PASSIVE and len(lead) > 1 and lead[-2].kind == "be"):
        at = len(lead) - 1 if lead[-1].kind == "be" else len(lead) - 2
        return _copular(lead[:at], lead[at:], particles, mid_a, mid_b, same_type, after)
    verb = lead[-1].key
    counts = bool(same_type & {"number"})
    if verb in RESULTS and particles[-1:] == ["to"] and (same_type or lead[0].kind == "person"):
        return "changes"
    if len(lead) > 1 and lead[-2].surface.lower() in POSSESSIVES:
        return None  # "your support means": a noun, not a verb
    if a.past or verb not in STATIVE or not _definite(lead[:-1]):
        return None
    if particles and not set(particles) & STATIVE[verb] and not set(particles) & CLASSIFIERS:
        return None
    if not particles and STATIVE[verb] and not counts:
        return None
    if verb in COUNT_ONLY and not counts:
        return None
    return "changes"


def _copular(
    subject: Sequence[Token],
    link: Sequence[Token],
    particles: Sequence[str],
    mid_a: Sequence[Token],
    mid_b: Sequence[Token],
    same_type: set[str],
    after: Sequence[Token],
) -> Literal["changes", "permanent"] | None:
    """`subject is VALUE`: an attribute noun as subject, or two values of one type."""
    if not _definite(subject) or link[0].surface.lower() in words.PAST_BE:
        return None
    nouns = [t.key for t in subject if t.kind == "word"]
    head = next((t.key for t in reversed(subject) if t.kind == "word"), "")
    if "birth" in nouns or (particles and particles[-1] == "from"):
        return "permanent"
    if head in PERMANENT:
        return "permanent"
    for group in GROUPS:
        if len(mid_a) == len(mid_b) == 1 and mid_a[0].key in group and mid_b[0].key in group:
            return "changes"
    if "favourite" in nouns or head in ATTRIBUTES or (nouns and nouns[0] in ATTRIBUTES and subject[0].kind == "word"):
        return "changes"
    if not subject or not same_type:
        return None
    if "name" in same_type and not particles and link[-1].key != "name":
        return None  # "my sister is Anna", "my sister is Beth": there may be two
    if same_type == {"name"} and link[-1].key == "name" and head in SEVERAL:
        return None
    return "changes"


def _types(value: Sequence[Token]) -> set[str]:
    """The types of a value: number, colour, weekday, month, name."""
    found: set[str] = set()
    for token in value:
        low = token.surface.lower()
        if token.kind == "number":
            found.add("number")
        elif low in words.COLOURS:
            found.add("colour")
        elif low.rstrip("s") in words.WEEKDAYS or low in words.TIMES:
            found.add("day")
        elif low in words.MONTHS and token.surface[0].isupper():
            found.add("month")
        elif token.kind == "name":
            found.add("name")
    if {"day", "month"} & found:
        found.add("date")
    if "number" in found and len(found) > 1:
        found.discard("number")
    return found


def _definite(subject: Sequence[Token]) -> bool:
    """Whether the subject names one thing: a person, a name, or words led by "my", "the", "Anna's"."""
    return bool(subject) and len(subject) <= 8 and not any(t.key in words.MODALS for t in subject)


def _is_template(before: Sequence[Token], after: Sequence[Token]) -> bool:
    """Whether what is shared is enough to be the same sentence: a subject, and a verb or an attribute."""
    shared = [*before, *after]
    content = [t for t in shared if t.kind in ("word", "name", "number", "person")]
    return len(content) >= 2 or (len(content) == 1 and any(t.kind == "be" for t in before))


def _shared_ends(a: Sequence[Token], b: Sequence[Token]) -> tuple[int, int]:
    """How many tokens two sequences share at the start, and then at the end."""
    limit = min(len(a), len(b))
    start = 0
    while start < limit and a[start].key == b[start].key:
        start += 1
    tail = 0
    while tail < limit - start and a[-1 - tail].key == b[-1 - tail].key:
        tail += 1
    return start, tail


def _same_values(a: _Parse, b: _Parse) -> bool:
    """Numbers agree one by one, and names letter by letter ("Robert" is not "Roberts")."""
    if sorted(a.numbers) != sorted(b.numbers):
        return False
    spelt_a, spelt_b = ({t.surface.lower() for t in p.aligned} for p in (a, b))
    return all(
        t.surface.lower() in other
        for parse, other in ((a, spelt_b), (b, spelt_a))
        for t in parse.aligned
        if t.kind == "name"
    )


def _same_order(a: Sequence[str], b: Sequence[str]) -> bool:
    """Equal, or turned about a point: "X is Y" and "Y is X", "on Tuesdays I swim" and "I swim on Tuesdays"."""
    if a == b:
        return True
    if len(a) != len(b):  # a word said twice
        return tuple(dict.fromkeys(a)) == tuple(dict.fromkeys(b))
    return any(tuple(a[i:]) + tuple(a[:i]) == tuple(b) for i in range(1, len(a)))


def _joins(token: Token) -> bool:
    return token.kind in ("preposition", "name_join") or token.key in (
        "with",
        "who",
        "which",
        "because",
        "since",
        "name",
        "&",
        "plus",
        "and",
    )


def _is_chat(parse: _Parse) -> bool:
    """Whether there is nothing in it but greetings, thanks and praise: said often, of another matter each time."""
    return all(t.key in CHAT or t.kind not in ("word", "number") for t in parse.aligned) and not any(
        t.kind == "name" and i
        for i, t in enumerate(parse.aligned)
        if parse.aligned[i - 1].kind in ("be", "preposition")
    )


_POINTERS = word_set("that this these those here there")
_PRONOUNS = word_set("it he she they him them itself")


def _points(toks: Sequence[Token]) -> bool:
    """Whether a statement leans on what was said before it."""
    for i, token in enumerate(toks):
        low = token.surface.lower()
        if low in _PRONOUNS or (low in ("his", "her", "their") and i == 0):
            return True
        following = toks[i + 1] if i + 1 < len(toks) else None
        if low in _POINTERS and (following is None or following.kind == "be" or (i == 0 and following.kind != "name")):
            return not (low in ("there", "here") and following is not None and following.kind == "be")
    return False


def _text(span: Sequence[Token]) -> str:
    return " ".join(t.surface for t in span)


@lru_cache(maxsize=8192)  # a night compares each text with several others
def _parse(text: str) -> _Parse:
    text = words.straight(text).strip()
    asks = bool(_ASKS.search(text)) and not _PREFACE.match(text)
    text = _POSTFACE.sub("", _PREFACE.sub("", text))
    corrects = bool(_CORRECTION.match(text))
    text = _OF.sub(r"\2 \3 \1 \4", _CORRECTION.sub("", text))
    unreal = bool(_QUOTES.search(text))
    plain = words.expand(text)
    stopped, began = bool(_ENDED.search(plain)), bool(_BEGAN.search(plain))
    plain = _BEGAN.sub("", _ENDED.sub("", plain))
    toks = words.tokens(plain)
    aligned: list[Token] = []
    negations, past, cue, auxiliary = int(stopped), False, False, False
    for i, token in enumerate(toks):
        low = token.surface.lower()
        following = toks[i + 1] if i + 1 < len(toks) else None
        if low in ("have", "has", "had") and following is not None and _participle(toks[i + 1 : i + 4]):
            auxiliary = True
            continue
        past = (
            past or low in ("was", "were", "did") or (token.kind == "word" and not auxiliary and _is_past(low, aligned))
        )
        if token.kind == "be" and _progressive(toks[i + 1 : i + 4]):
            continue
        if token.kind == "negation":
            negations += 1
            if token.key == "without":
                aligned.append(token)
            continue
        cue = cue or token.kind == "cue" or low == "switched"
        unreal = unreal or (token.kind != "name" and (low in words.MODALS or token.key in words.MODALS))
        if token.kind in ("article", "cue") or (token.kind == "filler" and low != "and"):
            continue
        if low == "new" and aligned and any(t.key in ATTRIBUTES for t in toks[i + 1 : i + 4]):
            cue = True  # "my new phone number": the older number is no more
            continue
        if token.key == "phone" and following is not None and following.key == "number":
            continue
        if low == "called" and any(t.kind == "person" or t.kind == "name" for t in toks[max(0, i - 1) : i]):
            past = True  # "Anna called Tom", not "a dog called Rex"
        aligned.append(token)
    aligned = _inverted(aligned)
    content = tuple(
        t.key for t in aligned if t.kind in ("word", "name", "number", "person") or t.key in words.CONTRASTS
    )
    ended = stopped or began or ("anymore" in {t.key for t in toks})
    return _Parse(tuple(aligned), content, negations % 2 == 1, past, cue, ended, corrects, asks, _points(toks), unreal)


def _progressive(following: Sequence[Token]) -> bool:
    """Whether "be" before these words only says that something goes on: "am working", "is not really living"."""
    token = next((t for t in following if t.kind not in ("negation", "filler", "cue")), None)
    return token is not None and token.surface.endswith("ing") and token.key != token.surface.lower()


def _participle(following: Sequence[Token]) -> bool:
    """Whether "have" before these words is an auxiliary: "have been", "have not seen", "has just moved"."""
    for token in following:
        if token.kind in ("negation", "filler", "cue"):
            continue
        low = token.surface.lower()
        return low == "been" or low.endswith(("ed", "en")) or low in words.PAST_FORMS
    return False


def _is_past(low: str, aligned: Sequence[Token]) -> bool:
    if low in (
        "named",
        "called",
        "married",
        "engaged",
        "based",
        "located",
        "scheduled",
        "retired",
        "divorced",
        "allowed",
    ):
        return False
    if low in words.PAST_FORMS:
        return True
    if not low.endswith("ed") or len(low) < 5 or stem(low) == low:
        return False
    return not (aligned and aligned[-1].kind == "be" and aligned[-1].surface.lower() not in ("was", "were"))


def _inverted(aligned: list[Token]) -> list[Token]:
    """ "Red is my favourite colour" as "my favourite colour is red", so that values stand in one place."""
    at = [i for i, t in enumerate(aligned) if t.kind == "be"]
    if len(at) == 1 and 0 < at[0] <= 3 and not any(t.kind == "person" for t in aligned[: at[0]]):
        rest = aligned[at[0] + 1 :]
        attribute = any(t.key in ATTRIBUTES for t in rest)
        owned = attribute and rest[0].kind == "name"
        if len(rest) > 1 and (owned or (rest[0].kind == "person" and rest[0].surface.lower() in POSSESSIVES)):
            return [*rest, aligned[at[0]], *aligned[: at[0]]]
    return aligned


POSSESSIVES = word_set("my our your his her their")
