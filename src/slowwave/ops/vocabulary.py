"""The attributes that facts go by: one name for each, whatever it is called, and whether it has one value at a time.

Two facts can only be compared ("same subject and attribute, another value") where both call the attribute by one name.
Models are offered these names, and what they, or the rules, say instead is led back to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from slowwave.ops import words


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute.

    single  whether another value takes the place of this one
    also    other names for it
    cues    stems of which a text that states a value holds at least one; empty where any text may
    """

    name: str
    single: bool
    also: frozenset[str]
    cues: frozenset[str]


def _table(text: str, single: bool) -> dict[str, Attribute]:
    """Lines of "name | other names, by commas | words of which a text that states it holds one"."""
    out = {}
    for row in text.strip().splitlines():
        name, also, cues = (part.strip() for part in f"{row} |".split("|")[:3])
        others = frozenset(part.strip() for part in also.split(",") if part.strip())
        stems = frozenset(words.stem(word) for word in cues.split())
        out[name] = Attribute(name, single, others, stems)
    return out


_ONE = _table(
    "name | full name, first name, real name, surname | name call i'm am hi hello\n"
    "age | years old | old age turn year born birthday\n"
    "home | residence, place of residence, home city, city, current city, location, address city, living place, "
    "hometown now, lives in, where they live | live move home house flat apartment reside relocate base settle place "
    "city town stay address\n"
    "origin | hometown, home country, country of origin, place of origin, birthplace, comes from | from born grow "
    "grew come origin hometown country native\n"
    "employer | company, workplace, works for, works at, work place, organisation, organization, place of work | work "
    "job employ employer company firm join hire start office team boss colleague\n"
    "job | occupation, profession, job title, position, role, career, work as, for a living, do for work | work job "
    "occupation profession position role career promote hire trade title become train qualify\n"
    "job status | employment status, work status | retire unemploy freelance self-employed work job lay\n"
    "boss | manager, supervisor, line manager, reports to | boss manager supervisor report lead head\n"
    "studies | major, field of study, course of study, subject of study | study major degree course university "
    "college school class\n"
    "school | university, college | study school university college attend class go\n"
    "relationship status | marital status, relationship | single marry divorce engage widow separate date "
    "relationship husband wife partner\n"
    "spouse | husband, wife, partner, fiancé, fiancée, girlfriend, boyfriend | marry wife husband spouse partner "
    "girlfriend boyfriend fiance fiancée fiancé engage date\n"
    "diet | eating habits, dietary preference | vegetarian vegan pescatarian omnivore carnivore diet eat meat\n"
    "favourite colour | colour, color, favourite color, preferred colour | favourite colour best like love prefer\n"
    "favourite food | food, dish, meal, favourite dish, favourite meal, favorite dish, comfort food, favourite "
    "cuisine, preferred food | favourite food dish meal eat best like love prefer taste comfort cuisine\n"
    "favourite book | book | favourite book read best love like\n"
    "favourite film | favourite movie, movie, film | favourite film movie watch best love like\n"
    "favourite music | favourite song, favourite band, favourite artist, music | favourite music song band artist "
    "listen best love like\n"
    "phone number | phone, number, telephone, telephone number, mobile, mobile number, cell, cell phone number, "
    "contact number | phone number telephone mobile cell call reach ring text dial\n"
    "email | e-mail, email address, e-mail address, mail address | email mail e-mail write reach address\n"
    "address | street address, home address, postal address | address street live move road house\n"
    "office | room, desk, seat, office room, room number, office location, workspace, desk location, office number | "
    "office desk room seat sit floor\n"
    "car | vehicle, drives, automobile | car drive vehicle own ride auto truck buy bought\n"
    "rent | monthly rent, rent amount, housing cost, rent cost | rent pay cost flat month apartment\n"
    "salary | wage, income, pay | salary wage earn pay income make\n"
    "wifi password | wifi key, network password, router password, wi-fi password, wifi, wireless password, password "
    "of the wifi, network key | password key passcode wifi wi-fi router network wireless code\n"
    "weekly review | review meeting, weekly review meeting, weekly review time | review meeting session check-in "
    "weekly planning\n"
    "birthday | date of birth, birth date | birthday born birth turn\n"
    "height |  | tall height foot feet cm metre\n"
    "weight |  | weigh weight kilo kg pound\n",
    True,
)
_MANY = _table(
    "child | son, daughter, kid, children, kids | child son daughter kid boy girl baby\n"
    "sibling | brother, sister | brother sister sibling twin\n"
    "parent | mother, father, mom, mum, dad | mother father mom mum dad parent\n"
    "friend | friends | friend\n"
    "pet | dog, cat, pets | pet dog cat\n"
    "hobby | activity, pastime, interest, hobbies, sport, leisure activity |\n"
    "like | likes, preference, enjoys, loves |\n"
    "dislike | dislikes, hates |\n"
    "possession | owns, belonging, has |\n"
    "skill | ability, talent |\n"
    "language | languages, speaks |\n"
    "health | health condition, condition, illness, injury |\n"
    "allergy | allergies, allergic to |\n"
    "plan | plans, intention, upcoming event |\n"
    "goal | dream, ambition, aspiration, wish |\n"
    "event | experience, happening, activity done |\n"
    "trip | travel, journey, vacation, holiday |\n"
    "purchase | bought |\n"
    "achievement | accomplishment, award |\n"
    "opinion | belief, view, thoughts |\n"
    "feeling | emotion, mood |\n"
    "reason | cause, motivation |\n",
    False,
)
_ENGLISH = words.word_set(
    "the i my and you are to with it that have has they she he his her is of for this not from by"
)
ASIDE = frozenset(words.stem(w) for w in ("month", "profession"))
VOCABULARY: dict[str, Attribute] = {**_ONE, **_MANY}
SPELLINGS = (("favorite", "favourite"), ("color", "colour"), ("fave", "favourite"), ("e-mail", "email"))
_IDLE = re.compile(
    r"^(?:the |a |an |his |her |their |its |my |your )?(?:current |present |new |latest |own |main )*", re.I
)


def canonical(attribute: str) -> str:
    """The one name of an attribute: "Favorite color" is "favourite colour"; what is not known keeps its own words."""
    said = _IDLE.sub("", re.sub(r"[\s_]+", " ", attribute.casefold()).strip(" .:"))
    for other, usual in SPELLINGS:
        said = re.sub(rf"\b{other}\b", usual, said)
    return other_names().get(said, said)


def is_single(attribute: str) -> bool:
    """Whether an attribute is known to have one value at a time."""
    known = VOCABULARY.get(canonical(attribute))
    return known is not None and known.single


def is_cued(attribute: str, texts: Iterable[str]) -> bool:
    """Whether some text holds a word that goes with the attribute: what never speaks of living states no home.

    An attribute that is not in the vocabulary is cued by a stem of its own name.
    """
    cues = cues_of(attribute)
    if not cues and canonical(attribute) in VOCABULARY:
        return True
    return any(cues & {words.stem(token.surface.lower()) for token in words.tokens(text)} for text in texts)


def is_english(text: str) -> bool:
    """Whether a text has any word that only English has, or a telling word of an attribute; names alone do not say."""
    toks = [token.surface.lower() for token in words.tokens(text)]
    return not _ENGLISH.isdisjoint(toks) or not _all_cues().isdisjoint(map(words.stem, toks))


def cues_of(attribute: str) -> frozenset[str]:
    """Stems of the words that go with an attribute; of one that is not in the vocabulary, those of its name."""
    name = canonical(attribute)
    known = VOCABULARY.get(name)
    return known.cues if known is not None else frozenset(words.stem(word) for word in name.split())


def value_key(value: str) -> frozenset[str]:
    """The words of a value that must agree for two values to be one; "a month" and "by profession" stand aside."""
    idle = ("article", "filler", "cue", "preposition", "be")
    return frozenset(t.key for t in words.tokens(value) if t.kind not in idle and t.key not in ASIDE)


def offered() -> str:
    """The names, as a prompt lists them."""
    return ", ".join(VOCABULARY)


@lru_cache(maxsize=1)
def _all_cues() -> frozenset[str]:
    return frozenset(cue for attribute in VOCABULARY.values() for cue in attribute.cues)


@lru_cache(maxsize=1)
def other_names() -> dict[str, str]:
    """Whatever an attribute may be called -> its one name."""
    out = {other: attribute.name for attribute in VOCABULARY.values() for other in attribute.also}
    return out | {name: name for name in VOCABULARY}
