"""The names in a text, and its salient terms, found without a model: what links one episode to another.

English only, by capitals: a run of capitalised words inside a sentence is a name; at the start of a sentence, where
every word is capitalised, there must be more to say so (a run of two, a possessive, a comma that calls someone, a
name already known). Days, months, titles alone and common sentence starters are not names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from slowwave.ops.words import FILLERS, MONTHS, PREPOSITIONS, WEEKDAYS, straight, word_set

TITLES = word_set(
    "mr mrs ms miss dr prof professor sir lord lady count countess captain colonel general president king queen "
    "prince princess saint st father sister brother uncle aunt auntie grandma grandpa inspector judge doctor madame "
    "mme herr frau"
)
GENDERED = {"mr": "m", "sir": "m", "mrs": "f", "miss": "f", "ms": "f"}  # the rest say nothing of who is meant
JOINS = word_set("of de da di del della la le van von der den du bin al the and & y")
COMMON = (  # words that start sentences, and capitalised words that name nothing
    FILLERS
    | PREPOSITIONS
    | MONTHS
    | WEEKDAYS
    | word_set(
        "i i'm i've i'd i'll me my mine we our us you your he his him she her they their them who whom whose what "
        "which when where why how a an the this that these those its is am are was were be been being do does did has "
        "have had can could may might must shall should will would if unless while until after before because since "
        "although as but or nor yet not no none nothing nobody never always sometimes often usually maybe perhaps "
        "probably one two three four five six seven eight nine ten first second third last next another other others "
        "some any all each every both either neither many much more most few several such same own only even ever "
        "else what's that's it's there's here's let's let lets don't doesn't didn't can't won't isn't aren't wasn't "
        "couldn't wouldn't thanks thank sorry welcome congrats congratulations good great nice cool awesome amazing "
        "wonderful perfect absolutely definitely certainly sure exactly indeed of course glad happy sad hope love "
        "looking sounds seems please tell give get got go going gonna come take make made see saw know think thought "
        "feel felt keep try trying use using find found say said ask want need like likes been having doing getting "
        "making taking being working looking seeing however therefore moreover furthermore additionally finally later "
        "once recently today tomorrow yesterday tonight morning afternoon evening night day week weekend month year "
        "time god everyone everything everybody someone something somebody anyone anything anybody people guys folks "
        "kids mom dad man woman boy girl friend friends life work home family new old big little best better dear "
        "hello bye goodbye cheers oh ah aw aww ooh ugh omg lol haha hahaha yay yup nope nah gotcha wow whoa ha hmm um "
        "uh ps p.s overall consider start create remember note step tip tips example examples option options yes-no "
        "speaking english-language between during without within despite through throughout across against along "
        "among around behind below beneath beside besides beyond inside outside upon via whether whatever whenever "
        "wherever whoever two-way hang hold wait check enjoy talk call wish believe guess bet appreciate agree "
        "understand imagine left met saw mon tue tues wed thu thur thurs fri sat sun jan feb mar apr jun jul aug sep "
        "sept oct nov dec woohoo lovely excellent fantastic incredible interesting impressive beautiful fun funny "
        "super total hard easy true right"
    )
)
PLACE_STARTS = word_set("new old great little big")  # "New York", "Great Yarmouth"
NAME_VERBS = (  # after a sentence's first word, these make it a subject, hence a name
    r"is|was|has|had|will|would|lives|lived|works|worked|says|said|told|asked|went|came|likes|liked|loves|loved|thinks|"
    r"thought|got|gets|bought|made|took|moved|called|wants|wanted|gave|married|knows|knew|invited|met|died|left|started|"
    r"joined|wrote|plays|played|teaches|studies|owns"
)

_RUN = re.compile(
    r"(?<![\w'@#-])(?:(?:Mr|Mrs|Ms|Dr|Prof|St)\.\s+)?[A-Z]\w*(?:['-](?!s\b|m\b|ve\b|ll\b|d\b|re\b|t\b)\w+)*\.?"
    r"(?:(?:(?<=\b[A-Z]\.)|(?<!\.))\s(?:(?:of|de|da|di|del|van|von|der|den|du|la|le)\s(?:the\s|la\s|der\s)?)?"
    r"[A-Z]\w*(?:['-](?!s\b)\w+)*(?:(?<=\b[A-Z])\.)?)*"
)
_MARKED = re.compile(r"(?<![\w.])[@#]([A-Za-z]\w+)")
_TITLE = re.compile(r'"([A-Z][^".!?]{1,60})[.,]?"')
_STARTS = re.compile(r"(?:^|[.!?:\n…*•-]\s*[\"'(*]*|^[\"'(*]+)$")
_SUBJECT = re.compile(rf"\s(?:{NAME_VERBS})\b")
_ADDRESS = re.compile(
    r",\s(?:you|your|can|could|would|will|do|did|does|are|have|what|how|where|when|why|who|thank|thanks|please|come|look)\b"
)
_TERM = re.compile(r"[^\W\d_]{4,}(?:-[^\W\d_]+)*")


def names(text: str, known: Iterable[str] = ()) -> list[str]:
    """The names in a text, each once, in order of first mention; a short form that a longer one explains is left out.

    known    names met before, some dozens: they count wherever they stand, and a short form of just one becomes it
    returns  such as ["Van Helsing", "Lucy", "Whitby"], without possessive endings
    """
    text = straight(text)
    met = {name.lower(): name for name in known}
    parts = {part for name in met for part in name.split()} - COMMON
    found: dict[str, int] = {}  # name -> where it is first said
    doubtful: list[tuple[str, int]] = []
    for match in _RUN.finditer(text):
        start, end = match.span()
        run = _trim(match.group())
        if not run:
            continue
        first = match.group().startswith(run) and _STARTS.search(text[max(0, start - 6) : start]) is not None
        if not first or " " in run or _is_called(text, start, end, run, met, parts):
            found.setdefault(run, start)
        else:
            doubtful.append((run, start))
    lower = {name.lower() for name in found}
    for run, start in doubtful:  # "Anna ... with Anna": elsewhere it stands inside a sentence
        if run.lower() in lower:
            found[run] = min(start, found.get(run, start))
    for pattern in (_MARKED, _TITLE):
        for match in pattern.finditer(text):
            found.setdefault(match.group(1).strip(), match.start())
    longest = aliases([*met.values(), *found])
    return list(dict.fromkeys(longest[name] for name in sorted(found, key=found.__getitem__)))


def _is_called(text: str, start: int, end: int, run: str, met: Mapping[str, str], parts: set[str]) -> bool:
    """Whether a single capitalised word at the start of a sentence is a name all the same."""
    low = run.lower()
    if low in met or low in parts:
        return True
    if len(run) > 1 and run.isupper() and len(run) <= 6:
        return "\n" in text or any(c.islower() for c in text)  # an acronym, unless everything is shouted
    after = text[end : end + 16]
    if after.startswith("'s "):
        return True
    return (_SUBJECT.match(after) or _ADDRESS.match(after)) is not None and not low.endswith(("ing", "ly", "ed", "s"))


def _trim(run: str) -> str:
    """A run without the common words at its ends ("But Anna", "Thanks Bob"), "" if nothing is left."""
    parts = run.rstrip(".").split()
    while parts and (parts[0].lower().strip(".'") in COMMON or parts[0].lower() in JOINS):
        if len(parts) > 1 and parts[0].lower() in PLACE_STARTS:
            break
        parts.pop(0)
    while parts and (parts[-1].lower() in COMMON or parts[-1].lower() in JOINS):
        parts.pop()
    if all(len(part) == 1 for part in run.replace(".", "").split()):
        return ""  # "P. M."
    if not parts or (len(parts) == 1 and (len(parts[0]) < 2 or parts[0].lower().strip(".") in TITLES)):
        return ""
    return " ".join(parts)


def aliases(known: Iterable[str]) -> dict[str, str]:
    """Each name -> the longest name it is a short form of, where just one is possible; itself otherwise.

    "Van Helsing" and "Dr. Van Helsing" -> "Abraham Van Helsing"; "Mina" -> "Mina Murray" unless there is a "Mina
    Harker" too; "Mr. Harker" never joins "Mrs. Harker".
    """
    forms = list(dict.fromkeys(known))
    split = {form: _parts(form) for form in forms}
    out: dict[str, str] = {}
    for form in forms:
        title, parts = split[form]
        longer = [other for other in forms if other != form and _explains(split[other], (title, parts))]
        tops = [x for x in longer if not any(y != x and _explains(split[y], split[x]) for y in longer)]
        out[form] = tops[0] if len(tops) == 1 else form
    return out


def _parts(name: str) -> tuple[str, tuple[str, ...]]:
    parts = [p.strip(".").lower() for p in name.split()]
    title = ""
    while len(parts) > 1 and parts[0] in TITLES:
        title = GENDERED.get(parts.pop(0), title)
    return title, tuple(parts)


def _explains(longer: tuple[str, tuple[str, ...]], shorter: tuple[str, tuple[str, ...]]) -> bool:
    """Whether the shorter name is the longer's given name(s) or surname(s), and the titles do not stand against it."""
    if longer[0] and shorter[0] and longer[0] != shorter[0]:
        return False
    if longer[1] == shorter[1]:
        return bool(longer[0]) and not shorter[0]
    n = len(shorter[1])
    return 0 < n < len(longer[1]) and shorter[1] in (longer[1][:n], longer[1][-n:])


def terms(text: str, most: int = 12) -> list[str]:
    """The salient words of a text: lower case, four letters and more, no common words, each once, in order.

    A weak cue for linking: count over a scope how many texts hold a term, and let only the rare ones link.
    """
    found = dict.fromkeys(word for word in _TERM.findall(straight(text).lower()) if word not in COMMON)
    return list(found)[:most]
