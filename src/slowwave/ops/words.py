"""Words and sentences of plain English text: splitting, light stems, numbers, and the word classes in common use.

No model and no dictionary: word lists of a few hundred entries and regular expressions. Other languages fall through as
unknown content words, so that operations built on this stay silent about them rather than wrong.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise


def word_set(text: str) -> frozenset[str]:
    """The words of a blank-separated list."""
    return frozenset(text.split())


def word_table(text: str) -> dict[str, frozenset[str]]:
    """ "go: went gone; see: saw" as {"go": {"went", "gone"}, "see": {"saw"}}."""
    return {key.strip(): word_set(rest) for key, _, rest in (row.partition(":") for row in text.split(";"))}


ARTICLES = word_set("a an the this that these those its some any")
BE = word_set("be is am are was were been being")
PAST_BE = word_set("was were been")
PREPOSITIONS = word_set("in at on for to of by with as into onto about near via per around through within")
PERSONS = {
    **dict.fromkeys(("i", "me", "my", "mine", "myself"), "~i"),
    **dict.fromkeys(("we", "us", "our", "ours", "ourselves"), "~we"),
    **dict.fromkeys(("you", "your", "yours", "yourself"), "~you"),
    **dict.fromkeys(("he", "him", "his", "himself"), "~he"),
    **dict.fromkeys(("she", "her", "hers", "herself"), "~she"),
    **dict.fromkeys(("they", "them", "their", "theirs", "themselves"), "~they"),
}
NEGATIONS = word_set("not no never none nobody nothing neither nor without hardly cannot")
FILLERS = word_set(
    "just really very so well oh yeah yes yep hey hi ok okay also too please then there here it and actually anyway "
    "quite pretty totally honestly basically literally again still already do does did though btw fyi um uh hmm wow "
    "haha lol"
)
CUES = word_set("now currently nowadays today presently lately recently instead anymore")
MODALS = word_set(
    "if would could might may maybe perhaps probably wish hope should want wanna plan intend consider suppose "
    "imagine "
    "pretend dream will gonna think guess unless whether try can must shall expect likely"
)
CONTRASTS = word_set(
    "less more most least only but except unless when while before after until over under from off out up down "
    "almost nearly than or never always sometimes often rarely seldom usually if because"
)
COLOURS = word_set(
    "red blue green yellow orange purple violet pink black white grey brown beige turquoise teal navy cyan magenta "
    "maroon gold golden silver crimson scarlet indigo lavender cream khaki burgundy coral"
)
WEEKDAYS = word_set("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = word_set("january february march april may june july august september october november december")
TIMES = word_set("morning noon afternoon evening midnight night tomorrow tonight week weekend month year o'clock")

_SMALL = (
    "zero one two three four five six seven eight nine ten "
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_DECADES = "twenty thirty forty fifty sixty seventy eighty ninety"
_RANKS = "third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_UNITS = {w: n for n, w in enumerate(_SMALL.split())}
_TENS = {w: 10 * n for n, w in enumerate(_DECADES.split(), 2)}
_ORDINALS = {w: n for n, w in enumerate(_RANKS.split(), 3)}
NUMBER_WORDS: dict[str, int] = {
    **_UNITS,
    **_TENS,
    **_ORDINALS,
    **{f"{tens}-{unit}": t + u for tens, t in _TENS.items() for unit, u in _UNITS.items() if 0 < u < 10},
}
del NUMBER_WORDS["one"]  # "the one", "no one": counts less often than it refers

_IRREGULAR = {
    form: base
    for base, forms in word_table(
        "go: went gone goes; have: had has having; get: got gotten; buy: bought; make: made; take: took taken; see: "
        "saw seen; say: said; tell: told; give: gave given; eat: ate eaten; drive: drove driven; write: wrote "
        "written; begin: began begun; know: knew known; leave: left; find: found; meet: met; sell: sold; run: ran; "
        "fly: flew flown; feel: felt; keep: kept; teach: taught; bring: brought; think: thought; lose: lost; win: "
        "won; speak: spoke spoken; break: broke broken; choose: chose chosen; wear: wore worn; sit: sat; sleep: "
        "slept; drink: drank drunk; grow: grew grown; spend: spent; send: sent; build: built; become: became; come: "
        "came; hear: heard; lend: lent; pay: paid; swim: swam swum; sing: sang sung; fall: fell fallen; hold: held; "
        "read: read; catch: caught; ride: rode ridden; child: children kid kids; person: people; man: men; woman: "
        "women; mother: mom mum mommy mam; father: dad daddy; boss: manager supervisor; wife: wives; favourite: "
        "favorite fave; colour: color; "
        "grey: gray; neighbour: neighbor; centre: center; live: reside resides resided residing; start: started "
        "starting; phone: telephone cellphone mobile; television: tv telly; apartment: flat; die: died dying dies; "
        "programme: program; car: automobile; marry: married marries; name: called named; beloved: belove; job: "
        "occupation profession; use: used using uses; gym: gymnasium; photo: photograph picture"
    ).items()
    for form in forms
}
_BASES = frozenset(_IRREGULAR.values())
PAST_FORMS = word_set(
    "was were had did went got bought made took saw said told gave ate drove wrote began knew left found met sold "
    "ran "
    "flew felt kept taught brought thought lost won spoke broke chose wore sat slept drank grew spent sent built "
    "became came heard lent paid swam sang fell held caught rode lived moved worked used"
)
_NOT_STEMMED = word_set(
    "this is his was has us bus gas news always yes thus less address business class glass boss chess tennis "
    "paris james texas christmas process access lens plus red bed need feed speed wed shed hundred naked indeed "
    "thing king ring spring string bring sing wing evening morning nothing something anything everything during "
    "wedding building meeting engaged united species series physics mathematics princess virus campus"
)

_CONTRACTIONS = [
    (re.compile(r"\b(can)'?t\b", re.I), r"\1 not"),
    (re.compile(r"\bwon't\b", re.I), "will not"),
    (re.compile(r"\bcannot\b", re.I), "can not"),
    (re.compile(r"n't\b", re.I), " not"),
    (re.compile(r"\b(I)'m\b", re.I), r"\1 am"),
    (re.compile(r"'re\b", re.I), " are"),
    (re.compile(r"'ve\b", re.I), " have"),
    (re.compile(r"'ll\b", re.I), " will"),
    (re.compile(r"'d\b", re.I), " would"),
    (re.compile(r"\b(it|that|he|she|there|here|what|who|where)'s\b", re.I), r"\1 is"),
    (re.compile(r"\b(?:no longer|not any longer|no more)\b", re.I), "not anymore"),
    (re.compile(r"\bany more\b", re.I), "anymore"),
    (re.compile(r"\b(have|has) got\b", re.I), r"\1"),
    (re.compile(r"\b(?:these days|at the moment|right now|as of (?:today|now)|for now)\b", re.I), "now"),
    (re.compile(r"\bper ?cent\b", re.I), "%"),
]
_TOKEN = re.compile(
    r"(?P<mail>[\w.+-]+@[\w-]+\.[\w.-]+)"
    r"|(?P<number>[$€£]?\d+(?:[.,:/-]\d+)*(?:\s?(?:[ap]\.?m\b\.?|st\b|nd\b|rd\b|th\b|%|k\b))?)"
    r"|(?P<word>[^\W\d_]+(?:['-][^\W\d_]+)*\d*)",
    re.I,
)
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|$)|\n{1,}")
_ABBREVIATIONS = word_set(
    "mr mrs ms dr prof st sr jr vs etc inc ltd co corp dept no vol pp fig approx gen col capt lt sgt rev hon mt "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun e.g i.e a.m p.m u.s u.k"
)


@dataclass(frozen=True, slots=True)
class Token:
    """One word or number: as it stood, its key for comparing, its kind, and where it stood.

    kind  article, filler, cue, preposition, be, person, negation, number, name or word
    """

    surface: str
    key: str
    kind: str
    start: int


_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")  # Chinese and Japanese: no spaces
_UNSPACED_RUN = re.compile(rf"{_UNSPACED.pattern}+")


def spaced(text: str) -> str:
    """Chinese and Japanese characters set apart, so that a full-text index sees each as a word."""
    return _UNSPACED.sub(r" \g<0> ", text) if _UNSPACED.search(text) else text


def pairs(word: str) -> list[str]:
    """A run of Chinese or Japanese as its overlapping pairs, to be looked for side by side; any other word as it is."""
    if not _UNSPACED.search(word):
        return [word]
    out = [part for part in _UNSPACED_RUN.sub(" ", word).split() if part]
    for run in _UNSPACED_RUN.findall(word):
        out += [run] if len(run) == 1 else [f"{a} {b}" for a, b in pairwise(run)]
    return out


def straight(text: str) -> str:
    """The text in compatibility form, with straight quotes and apostrophes."""
    text = unicodedata.normalize("NFKC", text) if not text.isascii() else text
    return text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')


def expand(text: str) -> str:
    """Contractions written out ("I'm" -> "I am", "don't" -> "do not"), "no longer" as "not anymore"."""
    text = straight(text)
    for pattern, into in _CONTRACTIONS:
        text = pattern.sub(into, text)
    return text


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A light English stem of a lower-case word: plurals, -ing, -ed and common irregular forms; nothing cleverer."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 3 or word in _NOT_STEMMED:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y" if len(word) > 4 else word[:-1]
    if word.endswith(("sses", "ches", "shes", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for suffix in ("ing", "ed"):
        root = word.removesuffix(suffix)
        if root != word and len(root) >= 3 and re.search("[aeiouy]", root):
            if root[-1] == root[-2] and root[-1] not in "lsz":
                return root[:-1]
            if root + "e" in _BASES:
                return root + "e"
            return _IRREGULAR.get(root, root[:-1] + "y" if root.endswith("i") else root)
    if word.endswith("e") and len(word) > 3 and word not in _BASES:
        return word[:-1]  # so that "move", "moved" and "moving" meet
    return word


def number_key(surface: str) -> str:
    """One spelling for one number: "1,200" is "1200", "3rd" is "3", "5:00 pm" is "5pm", "£3.50" stays "£3.5"."""
    text = surface.lower().replace(" ", "").replace(".m.", "m").replace(".m", "m")
    text = re.sub(r"(?<=\d)(?:st|nd|rd|th)$", "", text)
    text = re.sub(r",(?=\d{3}(?!\d))", "", text)
    text = re.sub(r":00(?=[ap]m)", "", text)
    if re.fullmatch(r"[$€£]?\d+\.\d+%?", text):
        text = text.rstrip("%").rstrip("0").rstrip(".") + ("%" if text.endswith("%") else "")
    return text


def tokens(text: str) -> list[Token]:
    """The tokens of a text in order, contractions written out; positions are those in `expand(text)`."""
    text = expand(text)
    if text.isupper():
        text = text.lower()  # shouting: capitals say nothing
    found: list[Token] = []
    fresh = 0  # end of the last token; a sentence mark between it and the next starts a sentence
    for match in _TOKEN.finditer(text):
        surface, start = match.group(), match.start()
        if match["number"]:
            found.append(Token(surface, number_key(surface), "number", start))
        elif match["mail"]:
            found.append(Token(surface, surface.lower().rstrip("."), "number", start))
        else:
            initial = not found or bool(re.search(r"[.!?\n]", text[fresh:start]))
            bare = surface[:-2] if surface.endswith(("'s", "'S")) else surface.rstrip("'")
            found.append(_word(bare, initial, start))
        fresh = match.end()
    return found


def _word(surface: str, initial: bool, start: int) -> Token:
    low = surface.lower()
    if low in PERSONS and (low != "us" or surface != "US"):
        return Token(surface, PERSONS[low], "person", start)
    if low in NUMBER_WORDS:
        return Token(surface, str(NUMBER_WORDS[low]), "number", start)
    for kind, members in _CLASSES:
        if low in members:
            return Token(surface, "be" if kind == "be" else low, kind, start)
    if surface[:1].isupper() and not initial:
        return Token(surface, stem(low), "name", start)
    return Token(surface, stem(low), "word", start)


_CLASSES = (
    ("article", ARTICLES),
    ("be", BE),
    ("preposition", PREPOSITIONS),
    ("negation", NEGATIONS),
    ("cue", CUES),
    ("filler", FILLERS),
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order, blanks trimmed; abbreviations, initials, decimals and quotes do not split."""
    out: list[str] = []
    begin = 0
    for match in _SENTENCE_END.finditer(text):
        if match.group().startswith(".") and _abbreviates(text, match.start(), match.end()):
            continue
        following = text[match.end() : match.end() + 3].lstrip()
        if following and following[0].islower() and "\n" not in match.group():
            continue  # '"Go!" he said' is one sentence, and so is "... and then"
        if piece := text[begin : match.end()].strip():
            out.append(piece)
        begin = match.end()
    if piece := text[begin:].strip():
        out.append(piece)
    return out


def _abbreviates(text: str, dot: int, end: int) -> bool:
    word = re.search(r"[\w.]*$", text[max(0, dot - 12) : dot])
    last = word.group().lower() if word else ""
    following = text[end : end + 2].lstrip()
    if last in ("a.m", "p.m", "etc", "jr", "sr", "inc", "ltd", "co", "u.s", "u.k"):
        return bool(following) and not following[0].isupper()
    if last in _ABBREVIATIONS:
        return True
    return len(last) == 1 and last.isalpha() and last != "i"  # an initial, as in "P. M. Harker"
