"""The forms in which plain English says what holds over time: patterns, each with the attribute that it fills.

Used by `statements` alone. A form is a regular expression with the groups `who` or `owner`, and `value`; further groups
(`kin`, `topic`, `no`) serve the function that names the attribute, or refuses the match.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from slowwave.ops import words
from slowwave.ops.names import COMMON
from slowwave.ops.words import word_set

_NAME = r"(?-i:[A-Z][\w'-]*[a-z](?:\s[A-Z][\w'-]*[a-z]){0,3})"
_PLACE = (
    r"(?-i:(?:the\s)?[A-Z][\w.'-]*(?:(?:,)?\s(?:(?:de|la|of|the|upon|on|del)\s)?[A-Z][\w.'-]*){0,4})"
    r"(?!\s(?i:and\sloved)\b)"
)
_ADV = (
    r"(?:\s(?:now|currently|still|also|just|recently|actually|finally|already|officially|presently|happily|"
    r"mostly))*"
)
_WHO = rf"(?P<who>\bI|\bwe|(?<![\w'-]){_NAME})"
_AM = r"(?:'m|\sam|'re|\sare|'s|\sis)"
_WAS = r"(?:\swas|\swere)"
_NOT = r"(?P<no>\snot|n't|\sno\slonger|\snever)?"
_WORDS = r"(?P<value>[\w'+&.-]+(?:\s[\w'+&.-]+){0,5}?)"
_STOP = (
    r"(?=\s*(?:[,.;:!?)\"]|$|\s[-–—]|\n|\b(?:and|but|or|because|since|so|which|who|where|when|while|with|after|"
    r"before|if|as|"
    r"that|though|although|these|right|now|for|at|in|on|from|to|lately|currently|recently|anymore|too|myself|by|"
    r"about|"
    r"\d+\shours)\b))"
)
_OWNER = rf"(?P<owner>\b[Mm]y|\b[Oo]ur|(?<![\w'-]){_NAME}'s)"

KIN_ONE = word_set(
    "wife husband spouse fiancé fiancée fiance fiancee girlfriend boyfriend mother father mom mum dad boss manager "
    "supervisor"
)
KIN_MANY = word_set(
    "sister brother daughter son cousin aunt uncle niece nephew grandmother grandfather grandma grandpa friend "
    "roommate "
    "flatmate colleague coworker neighbor neighbour partner mentor therapist landlord"
)
PETS = word_set("dog cat puppy kitten parrot rabbit hamster horse turtle goldfish bird ferret guinea-pig")
DIETS = word_set("vegetarian vegan pescatarian omnivore carnivore")
MARITAL = word_set("single married divorced engaged widowed separated")
WORKING = word_set("retired unemployed self-employed freelance")
_ROLES = (
    r"(?:engineer|teacher|nurse|doctor|lawyer|attorney|accountant|architect|designer|developer|programmer|scientist|"
    r"researcher|student|professor|lecturer|manager|director|analyst|consultant|chef|cook|baker|barista|waiter|"
    r"waitress|"
    r"writer|author|journalist|editor|photographer|musician|teller|electrician|plumber|carpenter|mechanic|pilot|"
    r"librarian|pharmacist|dentist|veterinarian|vet|physicist|chemist|biologist|psychologist|therapist|counselor|"
    r"counsellor|coach|paramedic|firefighter|policeman|officer|secretary|receptionist|salesman|salesperson|realtor|"
    r"marketer|recruiter|translator|farmer|gardener|driver|technician|specialist|coordinator|administrator|bartender|"
    r"cashier|entrepreneur|freelancer|intern|surgeon|economist|statistician|actor|actress|dancer|blogger|tutor|nanny)"
)
_EVENTS = (
    r"(?:meeting|appointment|interview|deadline|flight|exam|test|surgery|checkup|check-up|wedding|class|lesson|"
    r"session|"
    r"rehearsal|shift|party|call|presentation|birthday|anniversary|concert|reservation|event|game|match|trip|review)"
)
_DAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|tonight|today|next\s\w+|noon|midnight)"
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december)"
_WHEN = (
    rf"(?P<value>(?:the\s)?(?:{_DAY}|{_MONTH}|\d{{1,2}}(?:st|nd|rd|th)?\b|\d\d?:\d\d)(?:\s?(?:,|at|on|of|the|in|"
    rf"from)?\s?"
    rf"(?:{_DAY}|{_MONTH}|morning|afternoon|evening|\d{{1,4}}(?::\d\d)?(?:st|nd|rd|th)?\b|[ap]\.?m\b\.?)){{0,4}})"
)
_NUMBERED = r"(?P<value>[$€£]?\d[\w.,:/@%-]*(?:\s(?:[ap]\.?m\.?|\w+)){0,3}?)"
_MADE_OF_DIGITS = (
    r"phone\snumber|number|pin|passcode|salary|rent|budget|weight|height|age|score|balance|mileage|"
    r"(?:shoe|ring|dress|shirt)?\s?size|credit\sscore|mortgage|zip\scode|postcode|room\snumber|typing\sspeed|goal|"
    r"personal\sbest(?:\stime)?|limit|commute"
)
_NOT_ACTIVITIES = word_set(
    "thinking feeling noticing wondering looking getting seeing realizing realising trying doing having being crying "
    "laughing talking to off out over up with by from becoming to-do it that this my the a an his her their our "
    "going "
    "making falling wanting losing putting asking telling hearing planning worrying saying considering exploring "
    "experiencing introducing incorporating researching some out implementing brainstorming hanging coming gaining"
)
_JUDGEMENTS = word_set(
    "good great terrible bad decent better best amazing awful huge horrible lousy fast slow quick natural born "
    "real fellow "
    "mean keen careful safe nervous excellent fantastic wonderful pretty proud happy total bit"
)
_VAGUE = word_set("it them one things this that up him her")
_TRANSITIVE = word_set(
    "watching listening sticking engaging focusing caring using introducing meeting teaching offering creating "
    "building seeking "
    "joining attending enjoying setting keeping collecting learning practicing practising taking noticing caring "
    "helping"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern and the attribute it fills: a name, or a function of the match that may refuse with None."""

    cue: re.Pattern[str]  # looked for first, because it is cheap
    pattern: re.Pattern[str]
    attribute: str | Callable[[re.Match[str]], str | None]
    single: bool
    past: bool = False
    polarity: bool = True
    proper: bool = False  # the value must be a name


def _rule(
    cue: str,
    pattern: str,
    attribute: str | Callable[[re.Match[str]], str | None],
    single: bool = True,
    past: bool = False,
    polarity: bool = True,
    proper: bool = False,
) -> Rule:
    return Rule(re.compile(cue), re.compile(pattern, re.I), attribute, single, past, polarity, proper)


def _relative(match: re.Match[str]) -> str | None:
    kin = match["kin"].lower()
    return "boss" if kin in ("manager", "supervisor") else kin


def _favourite(match: re.Match[str]) -> str | None:
    topic = match["topic"].lower().strip()
    short = 0 < len(topic.split()) <= 3 and not set(topic.split()) & words.BE
    vague = match["value"].lower().split()[0] in words.ARTICLES - {"the"} or match["value"].lower() in COMMON
    return None if not short or vague or "part" in topic or "thing" in topic else f"favourite {topic}"


def _state(match: re.Match[str]) -> str | None:
    value = match["value"].lower()
    return "diet" if value in DIETS else "marital status" if value in MARITAL else "job status"


def _activity(match: re.Match[str]) -> str | None:
    parts = match["value"].lower().split()
    vague = parts[0] in _NOT_ACTIVITIES or {"it", "them", "one", "things", "this", "that", "up", "him", "her"} & set(
        parts
    )
    dangling = parts[-1] in words.PREPOSITIONS | {"how", "project"} or (len(parts) == 1 and parts[0] in _TRANSITIVE)
    return None if vague or dangling or not parts[0].endswith("ing") else "activity"


def _place(match: re.Match[str]) -> str | None:
    topic = match["topic"].lower()
    return "office" if topic in ("desk", "seat") else topic


def _role(match: re.Match[str]) -> str | None:
    return None if match["value"].lower().split()[0] in _JUDGEMENTS else "job"


def _event(match: re.Match[str]) -> str | None:
    return re.sub(r"\s+", " ", match["topic"].lower().strip())


_DOING = r"\w+ing(?:\s[\w'-]+){0,6}?"
_END = (
    r"(?=\s*(?:[,.;:!?)\"]|$|\s[-–—]|\n|\b(?:and|but|or|because|since|so|which|who|where|when|while|after|before|"
    r"if|as|"
    r"that|though|although|these|right|now|for|lately|currently|recently|anymore|too|again|about|around|last|this|"
    r"next|every|"
    r"a\sfew|a\slot|to\shelp|to\smake|to\sget|to\skeep|entirely|altogether|more|earlier|today|yesterday|once|twice)"
    r"\b))"
)
_HAVE = r"(?:(?:'ve|\shave|'s|\shas)(?:\sbeen)?)?"
_KIN_CUE = "|".join(sorted(KIN_ONE | KIN_MANY | PETS))
_STATE_CUE = "|".join(sorted(DIETS | MARITAL | WORKING))


@cache
def rules() -> tuple[Rule, ...]:
    """Every form; compiled on first use, because that takes some 80 ms."""
    return (
        # who
        _rule(
            "name",
            rf"{_OWNER}\s(?:full\s|first\s)?name(?:'s|\sis){_NOT}{_ADV}\s(?P<value>{_NAME})",
            "name",
            proper=True,
        ),
        _rule(
            "call me|go by|hi|hello|hey",
            rf"\b(?:call\sme|I\sgo\sby|(?:hi|hello|hey)[,!.]?\sI(?:'m|\sam))"
            rf"\s(?P<value>{_NAME})",
            "name",
            proper=True,
        ),
        _rule("old", rf"{_WHO}{_AM}{_NOT}{_ADV}\s(?P<value>\d{{1,3}})\s?(?:years?\sold|yrs?\sold)\b", "age"),
        _rule(
            "turned", rf"{_WHO}{_HAVE}{_ADV}\sturned\s(?P<value>\d{{1,3}})\b(?!\s?(?:%|percent|pages|dollars))", "age"
        ),
        _rule("old", rf"{_WHO}{_AM}{_ADV}\s(?:a|an)\s(?P<value>\d{{1,2}})[- ]years?[- ]old\b", "age"),
        _rule("from", rf"{_WHO}{_AM}{_NOT}{_ADV}(?:\soriginally)?\sfrom\s(?P<value>{_PLACE})", "origin", proper=True),
        _rule("born", rf"{_WHO}(?:\swas|\swere)\sborn\sin\s(?P<value>{_PLACE}|(?:19|20)\d\d)", "birth"),
        # where
        _rule(
            "liv|resid|based",
            rf"{_WHO}(?:\sdo(?:es)?)?{_NOT}{_HAVE}{_ADV}{_AM}?{_ADV}\s(?:live|lives|living|reside|"
            rf"resides|residing|based)\s"
            rf"(?:in|at|near)\s(?P<value>{_PLACE})",
            "home",
            proper=True,
        ),
        _rule(
            "moved|relocated",
            rf"{_WHO}{_HAVE}{_ADV}\s(?:moved|relocated)(?:\s(?:back|here|over|out)"
            rf")?\s(?:from\s{_PLACE}\s)?to\s(?P<value>{_PLACE})",
            "home",
            proper=True,
        ),
        _rule(
            "live",
            rf"{_WHO}\s(?:used\sto\slive|lived)\s(?:in|at|near)\s(?P<value>{_PLACE})",
            "home",
            past=True,
            proper=True,
        ),
        _rule(
            "home", rf"{_OWNER}(?:\snew)?\shome(?:'s|\sis){_NOT}{_ADV}\sin\s(?P<value>{_PLACE})", "home", proper=True
        ),
        # work and study
        _rule(
            "joined",
            rf"{_WHO}{_HAVE}{_ADV}\sjoined\s(?P<value>{_PLACE})(?!\s(?:for|on|in|club|group|team|us|me))",
            "employer",
            proper=True,
        ),
        _rule(
            "employer",
            rf"{_OWNER}(?:\snew)?\semployer(?:'s|\sis){_NOT}{_ADV}\s(?P<value>{_PLACE})",
            "employer",
            proper=True,
        ),
        _rule(
            "job|occupation",
            rf"{_OWNER}(?:\snew)?\s(?:job|occupation)(?:'s|\sis){_ADV}\s(?:as\s)?an?\s{_WORDS}{_STOP}",
            "job",
        ),
        _rule("profession|trade", rf"{_WHO}{_AM}{_ADV}\san?\s{_WORDS}\sby\s(?:profession|trade)\b", "job"),
        _rule("report", rf"{_WHO}{_ADV}\sreports?\sto\s(?P<value>{_NAME})", "boss", proper=True),
        _rule("rent", rf"{_WHO}{_ADV}\spays?\s(?P<value>[$€£]\d[\d,.]*\d)(?:\sa\smonth)?\s(?:in|for)\srent\b", "rent"),
        _rule("room", rf"{_WHO}{_ADV}\ssits?\sin\s(?P<value>room\s\d\w*)\b", "office"),
        _rule(
            "work",
            rf"{_WHO}(?:\sdo(?:es)?)?{_NOT}{_HAVE}{_ADV}{_AM}?{_ADV}\s(?:work|works|working)(?:\s(?:full|"
            rf"part)[- ]time)?"
            rf"{_ADV}\s(?:at|for)\s(?P<value>{_PLACE})",
            "employer",
            proper=True,
        ),
        _rule(
            "work", rf"{_WHO}{_HAVE}{_AM}?{_ADV}\s(?:work|works|working){_ADV}\sas\s(?:an?|the)\s{_WORDS}{_STOP}", "job"
        ),
        _rule(
            "worked|used to work",
            rf"{_WHO}\s(?:used\sto\swork|worked)\s(?:at|for)\s(?P<value>{_PLACE})",
            "employer",
            past=True,
            proper=True,
        ),
        _rule(
            "worked|used to work",
            rf"{_WHO}\s(?:used\sto\swork|worked)\sas\s(?:an?|the)\s{_WORDS}{_STOP}",
            "job",
            past=True,
        ),
        _rule(
            "as a",
            rf"{_WHO}{_HAVE}{_ADV}\s(?:got|landed|accepted|took|started)\s(?:an?|the|my)\s(?:new\s)?(?:job|"
            rf"position|role)\s"
            rf"as\s(?:an?|the)\s{_WORDS}{_STOP}",
            "job",
        ),
        _rule(
            "job|position|role",
            rf"{_WHO}{_HAVE}{_ADV}\s(?:got|landed|accepted|took|started)\s(?:an?|the|my)"
            rf"\s(?:new\s)?(?:job|position|role)\s"
            rf"(?:at|with)\s(?P<value>{_PLACE})",
            "employer",
            proper=True,
        ),
        _rule(
            "promoted",
            rf"{_WHO}(?:{_WAS}|\sgot|(?:'ve|\shave|'s|\shas){_ADV}\sbeen)?{_ADV}"
            rf"\spromoted\sto\s(?:(?:an?|the|be)\s)?{_WORDS}{_STOP}",
            "job",
        ),
        _rule(
            "my job",
            rf"{_WHO}{_HAVE}{_ADV}\s(?:quit|left|resigned\sfrom)\smy\sjob\s(?:at|with)\s(?P<value>{_PLACE})",
            "employer",
            polarity=False,
            proper=True,
        ),
        _rule(
            "i'm a|am a|'s a| is a|are the|is the",
            rf"{_WHO}{_AM}{_NOT}{_ADV}\s(?:an?|the)"
            rf"\s(?P<value>(?:[\w-]+\s){{0,3}}?{_ROLES})\b(?![- ]\w+ing\b)"
            rf"(?!\s(?:role|position|job|degree|friend|name|account|at\sheart|of\slife))",
            _role,
            single=False,
        ),
        _rule(
            "studying|majoring",
            rf"{_WHO}{_AM}{_ADV}\s(?:studying|majoring\sin)"
            rf"\s(?P<value>[\w-]+(?:\s(?:and\s)?[\w-]+){{0,2}}?)\sat\s(?-i:[A-Z])",
            "studies",
        ),
        _rule(
            "graduated",
            rf"{_WHO}{_HAVE}{_ADV}\sgraduated\s(?:from\s[\w\s]{{2,40}}?\s)?with\san?\s(?P<value>[\w' "
            rf"]{{2,25}}?\sin\s\w+(?:\s\w+)?)"
            rf"{_STOP}",
            "degree",
            single=False,
        ),
        _rule(
            "graduated",
            rf"{_WHO}{_HAVE}{_ADV}\sgraduated\sfrom\s(?P<value>{_PLACE})",
            "alma mater",
            single=False,
            proper=True,
        ),
        # people and animals
        _rule(
            "name",
            rf"{_OWNER}\s(?:\w+\s)?(?P<kin>{'|'.join(sorted(KIN_ONE | KIN_MANY | PETS))})'s\sname\s(?:is|was)"
            rf"\s(?P<value>{_NAME})",
            _relative,
            proper=True,
        ),
        _rule(
            _KIN_CUE,
            rf"{_OWNER}\s(?:\w+\s)?(?P<kin>{'|'.join(sorted(KIN_ONE | KIN_MANY | PETS))})(?:,|\sis|'s)?{_ADV}"
            rf"(?:\s(?:named|called))?\s(?P<value>{_NAME})",
            _relative,
            proper=True,
        ),
        _rule(
            "named|called",
            rf"{_WHO}(?:\shave|\shas|'ve\sgot|\sgot|\sadopted)\s(?:an?|another)\s(?:[\w-]+\s){{0,2}}?"
            rf"(?P<kin>{'|'.join(sorted(KIN_MANY | PETS))})(?:,)?\s(?:named|called)\s(?P<value>{_NAME})",
            _relative,
            proper=True,
        ),
        _rule(
            "married|engaged",
            rf"{_WHO}(?:{_HAVE}\smarried|{_AM}{_ADV}\smarried\sto|\sgot\smarried\sto|"
            rf"\sgot\sengaged\sto|{_AM}\sengaged\sto)\s"
            rf"(?P<value>{_NAME})",
            "spouse",
            proper=True,
        ),
        _rule(
            "have|has|'ve got",
            rf"{_WHO}(?:\shave|\shas|'ve\sgot)\s(?P<value>(?:\d+|two|three|four|five|six)"
            rf"\s(?:kids|children|sons|daughters|"
            rf"sisters|brothers|siblings|cats|dogs|pets))\b",
            lambda m: f"number of {m['value'].lower().split()[-1]}",
        ),
        # what is liked best, and what is owned
        _rule(
            "favo",
            rf"(?<!of\s){_OWNER}\s(?:all[- ]time\s|current\s|new\s|absolute\s)?favou?rite\s(?P<topic>[\w' "
            rf"-]{{2,30}}?)"
            rf"(?:'s|\sis|\sare){_NOT}{_ADV}\s(?:the\s|an?\s)?{_WORDS}{_STOP}",
            _favourite,
        ),
        _rule(
            "favo",
            rf"(?:^|[,;]\s)(?P<value>(?-i:[A-Z])[\w'-]*(?:\s[\w'-]+){{0,2}})(?:\sis|\sare){_ADV}"
            rf"\s(?P<owner>my|our)\s"
            rf"(?:all[- ]time\s|new\s|absolute\s)?favou?rite\s(?P<topic>[\w'-]+(?:\s[\w'-]+)?){_STOP}",
            _favourite,
        ),
        _rule(
            "is|'s",
            rf"{_OWNER}\s(?:new\s|current\s|weekly\s|monthly\s)?(?P<topic>{_MADE_OF_DIGITS})(?:'s|"
            rf"\sis){_NOT}{_ADV}"
            rf"(?:\s(?:around|about|exactly|set\sat))?\s{_NUMBERED}{_STOP}",
            _event,
        ),
        _rule(
            "mail",
            rf"{_OWNER}\s(?:new\s|work\s|home\s)?(?P<topic>e-?mail(?:\saddress)?)(?:'s|\sis)"
            rf"\s(?P<value>\S+@\S+\.\w+)",
            lambda m: "email",
        ),
        _rule(
            "address",
            rf"{_OWNER}\s(?:new\s|home\s)?(?P<topic>address)(?:'s|\sis){_ADV}"
            rf"\s(?P<value>\d+\s[\w\s]{{3,40}}?)(?=[.,;!]|$)",
            _event,
        ),
        _rule(
            "on|in|at",
            rf"{_OWNER}\s(?:new\s)?(?P<topic>office|desk|seat|room|apartment)(?:'s|\sis){_ADV}\s(?:on|in|"
            rf"at)\s"
            rf"(?P<value>(?:the\s)?(?:\w+\s)?(?:floor|room|building|seat)(?:\s[\w-]+)?|\d\w*){_STOP}",
            _place,
        ),
        _rule(
            "office|desk",
            rf"{_OWNER}\s(?:new\s)?(?:office|desk)(?:'s|\sis|\s(?:was\s)?moved\sto){_ADV}"
            rf"(?:\sin)?\s(?P<value>room\s\d\w*)",
            "office",
        ),
        _rule(
            "car|bike|phone|laptop|camera|dog|cat",
            rf"{_OWNER}\s(?:new\s)?(?P<topic>car|bike|phone|laptop|camera|"
            rf"dog|cat)(?:'s|\sis){_ADV}\s(?P<value>an?\s(?:[\w-]+\s){{0,2}}?"
            rf"(?-i:[A-Z])[\w-]*(?:\s[A-Z0-9][\w-]*)*)",
            _event,
        ),
        _rule(
            "drive",
            rf"{_WHO}{_ADV}\sdrives?\san?\s(?P<value>(?:[\w-]+\s){{0,2}}?(?-i:[A-Z])"
            rf"[\w-]*(?:\s[A-Z0-9][\w-]*)*)",
            "car",
        ),
        _rule(
            "have|has|'ve got|own",
            rf"{_WHO}(?:\shave|\shas|'ve\sgot|\sown|\sowns)"
            rf"\san?\s(?P<value>(?:[\w-]+\s){{0,2}}?(?-i:[A-Z])[\w-]*"
            rf"(?:\s[\w-]+)?\s(?P<topic>laptop|car|bike|bicycle|camera|phone|guitar|piano|keyboard|tablet|watch|"
            rf"truck))\b",
            _event,
            single=False,
        ),
        # states
        _rule(
            _STATE_CUE,
            rf"{_WHO}{_AM}{_NOT}{_ADV}(?:\san?)?\s(?P<value>{'|'.join(sorted(DIETS | MARITAL | WORKING))}"
            rf")\b"
            rf"(?!\s(?:to|with|in|by|life|out|person|recipe|diet\splan|food|meal|friend|options?|dish\w*|from|mom|"
            rf"dad|parent|mother))",
            _state,
        ),
        _rule(
            "been",
            rf"{_WHO}(?:'ve|\shave|'s|\shas)\sbeen{_ADV}\s(?:an?\s)?(?P<value>{'|'.join(sorted(DIETS))})\b",
            "diet",
        ),
        _rule(
            "became|become|gone|went|turned",
            rf"{_WHO}{_HAVE}{_ADV}\s(?:became|become|gone|went|turned)"
            rf"\s(?P<value>{'|'.join(sorted(DIETS))})\b",
            "diet",
        ),
        _rule(
            "allergic",
            rf"{_WHO}{_AM}{_NOT}{_ADV}(?:\s(?:severely|deathly|highly|very)"
            rf")?\sallergic\sto\s{_WORDS}{_STOP}",
            "allergy",
            single=False,
        ),
        _rule(
            "pregnant|diabetic|blind|handed|intolerant",
            rf"{_WHO}{_AM}{_NOT}{_ADV}\s(?P<value>pregnant|diabetic|"
            rf"colou?r[- ]?blind|left-handed|lactose[- ]intolerant|"
            rf"gluten[- ]intolerant)\b",
            "condition",
            single=False,
        ),
        _rule(
            "stopped|quit|given up|gave up",
            rf"{_WHO}{_HAVE}{_ADV}\s(?:stopped|quit|given\sup|gave\sup)"
            rf"\s(?P<value>{_DOING}){_END}",
            _activity,
            single=False,
            polarity=False,
        ),
        _rule(
            "started|begun|began|taken up|took up",
            rf"{_WHO}{_HAVE}{_ADV}\s(?:started|begun|began|taken\sup|"
            rf"took\sup)\s(?P<value>{_DOING}){_END}",
            _activity,
            single=False,
        ),
        _rule(
            "been",
            rf"{_WHO}(?:'ve|\shave|'s|\shas){_ADV}\sbeen{_ADV}\s(?P<value>(?:volunteering|learning|attending|"
            rf"studying|"
            rf"teaching|practi[cs]ing|taking\s(?:an?\s)?\w+\s(?:class(?:es)?|lessons|course))"
            rf"(?:\s[\w'-]+){{0,5}}?){_END}",
            _activity,
            single=False,
        ),
        _rule(
            "no longer",
            rf"{_WHO}\sno\slonger\s(?P<value>(?!am|is|are|have|has|feel|want|need|think|work|live)"
            rf"\w+(?:\s[\w'-]+){{0,3}}?){_STOP}",
            "activity",
            single=False,
            polarity=False,
        ),
        _rule(
            "more|longer",
            rf"{_WHO}\s(?:don't|doesn't|do\snot|does\snot)\s(?P<value>(?!have|feel|want|need|think|"
            rf"work|live)\w+"
            rf"(?:\s[\w'-]+){{0,3}}?)\s(?:anymore|any\smore|any\slonger)\b",
            "activity",
            single=False,
            polarity=False,
        ),
        _rule(
            "speak",
            rf"{_WHO}{_ADV}\sspeaks?{_ADV}\s(?:fluent\s)?(?P<value>(?-i:[A-Z])[a-z]{{3,}})\b",
            "language",
            single=False,
        ),
        # appointments
        _rule(
            _EVENTS,
            rf"(?P<owner>\b[Mm]y|\b[Oo]ur|\b[Tt]he|(?<![\w'-]){_NAME}'s)"
            rf"\s(?P<topic>(?:[\w'-]+\s){{0,3}}?{_EVENTS})"
            rf"(?:'s|\sis|\shas\sbeen|\swas|\sgot)(?:\s(?:now|moved|rescheduled|scheduled|set|pushed(?:\sback)?|"
            rf"postponed|due|"
            rf"confirmed))*(?:\s(?:on|at|to|for|by|until))?\s{_WHEN}{_STOP}",
            _event,
        ),
    )
