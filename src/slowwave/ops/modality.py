"""Whether words state something as so, or only ask, wish, plan or guess it. By a list of English words."""

from __future__ import annotations

import re

from slowwave.ops.words import PAST_FORMS, straight

_UNREAL = re.compile(
    r"\b(?:if|would|could|might|should|maybe|perhaps|possibly|wish(?:es|ed)?|hop(?:e|es|ed|ing)|imagin\w+|suppos\w+|"
    r"pretend\w*|consider(?:s|ed|ing)?|think(?:s|ing)? (?:of|about)|want(?:s|ed|ing)? to|wanna|going to|gonna|will|"
    r"plan(?:s|ned|ning)? (?:to|on|for|an?|my|our|the)|intend\w*|aim(?:s|ed|ing)? to|dream(?:s|ed|t|ing)?|fantas\w+|"
    r"unless|whether|what if|as if|"
    r"looking forward|excited (?:to|for|about)|can't wait|may (?:be|have|go|get|move|apply|try)|"
    r"apply|applied|applying|interview\w*|almost|nearly|not sure|act as|role[- ]?play|let's|tr(?:y|ies|ied|ying) to|"
    r"suggest\w*|recommend\w*|advis\w+|encourag\w+|ask(?:s|ed|ing)?|wonder(?:s|ed|ing)?|believ\w+|interested in)\b"
    r"|'d\b|'ll\b|\?\s*$",
    re.I,
)
_CHANGE = re.compile(
    r"\b(?:now|nowadays|these days|currently|lately|recently|since|no longer|not any ?more|any ?more|instead|"
    r"any longer|new|chang\w+|switch\w+|mov(?:e|ed|ing)|replac\w+|becam?e|becoming|turned|started|stopped|quit|"
    r"gave up|given up|cancel\w*|postpon\w+|reschedul\w+|transferr?\w*|promot\w+|updat\w+|used to|from today|"
    r"from now on|finally)\b",
    re.I,
)
_HAPPENED = re.compile(rf"\b(?:{'|'.join(sorted(PAST_FORMS))}|\w{{2,}}ed)\b", re.I)


def is_unreal(text: str) -> bool:
    """Whether a clause speaks of what is asked, wished, planned, tried, guessed or recommended, not of what is."""
    return _UNREAL.search(straight(text)) is not None


def is_state(text: str) -> bool:
    """Whether a text may tell how things stand: stated as so, and of the present, or of a change to it."""
    return not is_unreal(text) and (_HAPPENED.search(straight(text)) is None or tells_change(text))


def tells_change(text: str) -> bool:
    """Whether the words say that something is other than it was: "now", "instead", "no longer", "switched"."""
    return _CHANGE.search(straight(text)) is not None
