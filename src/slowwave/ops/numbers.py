"""The numbers in a text, in digits or in words, each in one spelling: "three" is "3", "1,200" is "1200"."""

from __future__ import annotations

import re

from slowwave.ops.words import NUMBER_WORDS, straight

_SCALES = {"k": 1_000, "hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000, "dozen": 12}
_WORTH = {**NUMBER_WORDS, "one": 1, "a": 1, "an": 1}
_ONCE = {"once": "1", "twice": "2", "thrice": "3", "couple": "2", "pair": "2", "half": "0.5", "first": "1"}
_DIGITS = re.compile(rf"\d+(?:[.,:]\d+)*(?:\s?(?P<scale>{'|'.join(_SCALES)})\b)?", re.I)
_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*", re.I)


def numbers(text: str) -> dict[str, str]:
    """One spelling of each number in a text -> the words that say it.

    Numbers in words count as well: "twenty-two", "three hundred", "a dozen", "twice". A lone "one" or "a" is none.
    """
    text = straight(text)
    found: dict[str, str] = {}
    for match in _DIGITS.finditer(text):
        scale = match["scale"] or ""
        digits = match.group()[: len(match.group()) - len(scale)].strip()
        found.setdefault(_plain(digits, _SCALES[scale.lower()] if scale else 1), match.group())
    run: list[str] = []
    for word in [*_WORD.findall(_DIGITS.sub(" . ", text).lower()), ""]:
        if word in _WORTH or word in _SCALES or (word == "and" and run and run[-1] in _SCALES):
            run.append(word)
            continue
        for value, said in _counted(run):
            found.setdefault(value, said)
        run = []
        if word in _ONCE:
            found.setdefault(_ONCE[word], word)
    return found


def missing_number(said: str, known: str) -> str:
    """The first number of one text that the other does not have, in its own words; "" if there is none.

    What seldom counts ("one", "once", "first", "a couple", "half") is never missed.
    """
    there = numbers(known)
    for value, in_words in numbers(said).items():
        if value not in there and in_words.lower() not in _ONCE:
            return in_words
    return ""


def _plain(digits: str, scale: int) -> str:
    """ "1,200" as "1200", "007" as "7", "3.50" as "3.5"; "9:15" and "1.2.3" as they stand."""
    bare = re.sub(r",(?=\d{3}(?!\d))", "", digits)
    if re.fullmatch(r"\d{1,15}(\.\d+)?", bare):
        return f"{float(bare) * scale:.15g}" if "." in bare else str(int(bare) * scale)
    return bare.lstrip("0") or "0"


def _counted(run: list[str]) -> list[tuple[str, str]]:
    """The numbers that a run of number words says: one, or several where they do not go together ("two three")."""
    while run and run[-1] in ("a", "an", "and"):
        run = run[:-1]
    while run and run[0] in ("a", "an") and run[1] not in _SCALES:
        run = run[1:]
    if not run or run == ["one"]:
        return []
    total, part, last = 0, 0, 0
    for place, word in enumerate(run):
        if word == "and":
            continue
        if word in _SCALES:
            part = max(part, 1) * _SCALES[word]
            last = _SCALES[word]
            if last >= 1_000:
                total, part = total + part, 0
            continue
        worth = _WORTH[word]
        fits = not part or last in (100, 1_000) or (worth < 10 and last in range(20, 100, 10))
        if place and not fits:
            return [*_counted(run[:place]), *_counted(run[place:])]
        part, last = part + worth, worth
    return [(str(total + part), " ".join(run))]
