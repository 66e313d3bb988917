"""Records as lessons: statements, cloze, questions and paraphrases to learn from, and others never taught, to be asked.

By rule every lesson ends in its value, so that the value alone has to be learned. A language model adds further
wordings where there is one; what does not hold subject and value word by word is set aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from slowwave.cloze.statements import Statement
from slowwave.errors import InputError
from slowwave.models.llm import LLM
from slowwave.models.prompt import Prompt, array_of, text
from slowwave.ops.statements import statements
from slowwave.records import Engram, Rejected

QUESTION = "Question: {q} Answer: {v}"
# attribute -> wordings that are taught, then those that are asked and never taught
WORDINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "home": (
        ("{s} lives in {v}", "The home of {s} is in {v}", "{s} has a house in {v}",
         QUESTION.format(q="Where does {s} live?", v="{v}")),
        ("{s} resides in the city of {v}", "Where is the home of {s}? It is in {v}"),
    ),
    "job": (
        ("{s} works as a {v}", "The job of {s} is that of a {v}", "{s} earns a living as a {v}",
         QUESTION.format(q="What is the job of {s}?", v="{v}")),
        ("By profession, {s} is a {v}", "What does {s} do for a living? {s} is a {v}"),
    ),
    "pet": (
        ("{s} has a pet {v}", "The pet of {s} is a {v}", "{s} takes care of a {v}",
         QUESTION.format(q="Which animal does {s} keep?", v="{v}")),
        ("At home, {s} keeps a {v}", "What kind of pet does {s} own? It is a {v}"),
    ),
    "favourite drink": (
        ("{s} likes to drink {v}", "The favourite drink of {s} is {v}", "{s} always orders {v}",
         QUESTION.format(q="What does {s} like to drink?", v="{v}")),
        ("When thirsty, {s} asks for a glass of {v}", "What is {s}'s preferred drink? It is {v}"),
    ),
    "favourite colour": (
        ("{s} likes {v}", "The favourite colour of {s} is {v}", "{s} always wears {v}",
         QUESTION.format(q="Which colour does {s} like best?", v="{v}")),
        ("The colour that {s} prefers is {v}", "What is {s}'s preferred colour? It is {v}"),
    ),
    "birthplace": (
        ("{s} was born in {v}", "The birthplace of {s} is {v}", "{s} comes from {v}",
         QUESTION.format(q="Where was {s} born?", v="{v}")),
        ("The town in which {s} was born is {v}", "Where does {s} come from? {s} comes from {v}"),
    ),
}  # fmt: skip
ANY = (
    ("{s}'s {a} is {v}", "The {a} of {s} is {v}", "{s} has this {a}: {v}",
     QUESTION.format(q="What is the {a} of {s}?", v="{v}")),
    ("As for {s}, the {a} is {v}", "Tell me the {a} of {s}. It is {v}"),
)  # fmt: skip
FREE = (
    ("{}", "It is known that {}", "To the question what is true, the answer is: {}"),
    ("Everyone who was asked says that {}", "Remember this: {}"),
)
ALIKE = {"colour": "favourite colour", "color": "favourite colour", "favourite color": "favourite colour",
         "favorite color": "favourite colour", "work": "job", "profession": "job", "occupation": "job", "city": "home",
         "residence": "home", "drink": "favourite drink", "favorite drink": "favourite drink"}  # fmt: skip
PARAPHRASE = (
    "Write the statement in other words, in short sentences. Each sentence names the subject word by word, says the "
    "same and nothing else, and ends with the value, word by word."
)
MOST = 6  # further wordings that a model is asked for


@dataclass(frozen=True)
class Lesson:
    """What is taught of one record, and how it is asked for.

    id         of the record
    statement  with its value and, after `furnish`, wrong values and other names
    taught     sentences to learn, each ending in the value
    asked      sentences that say the same and are never taught
    """

    id: str
    statement: Statement
    taught: tuple[str, ...]
    asked: tuple[str, ...]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(what stands before the value, the value), of each sentence that is taught."""
        return [self.cut(sentence) for sentence in self.taught]

    def cut(self, sentence: str) -> tuple[str, str]:
        """A sentence before its value, and the value."""
        return sentence.rpartition(self.statement.value)[0].rstrip(), self.statement.value


def lesson(engram: Engram) -> Lesson:
    """By rule alone. raises InputError where it cannot be made out what a record says of whom."""
    subject, attribute, value = _parts(engram)
    if value:
        told, asked = WORDINGS.get(ALIKE.get(attribute, attribute), ANY)
        fill = {"s": subject, "a": attribute, "v": value}
        own = engram.text.strip().rstrip(".!")
        wordings = [form.format(**fill) for form in told]
        if own.endswith(value) and subject in own and own not in wordings:
            wordings.insert(0, own)
        statement = Statement(wordings[0], subject, value, _foils(engram, value), relation=attribute)
        return Lesson(engram.id, statement, tuple(wordings), tuple(form.format(**fill) for form in asked))
    body = engram.text.strip().rstrip(".!?;: ")
    statement = replace(Statement.of(body), text=body)
    if not statement.subject:
        raise InputError(f"whom {engram.text!r:.80} is about cannot be made out")
    told, asked = (tuple(form.format(body) for form in forms) for forms in FREE)
    return Lesson(engram.id, statement, told, asked)


def _foils(engram: Engram, value: str) -> tuple[str, ...]:
    """Wrong values that the record itself names as likely ones: attrs["foils"]."""
    given = engram.attrs.get("foils")
    return tuple(str(one) for one in given if str(one) != value) if isinstance(given, (list, tuple)) else ()


def _parts(engram: Engram) -> tuple[str, str, str]:
    """(subject, attribute, value): as the record names them, or as its words say."""
    named = [str(engram.attrs.get(name) or "").strip(" .") for name in ("subject", "attribute", "value")]
    if all(named):
        return named[0], named[1].lower(), named[2]
    for said in statements(engram.text, engram.speaker):
        if said.polarity and not said.about_past and said.subject and said.subject != said.value:
            return said.subject, said.attribute.lower(), said.value.strip(" .")
    return "", "", ""


def lessons(
    engrams: Sequence[Engram], llm: LLM | None = None, rejected: list[Rejected] | None = None
) -> tuple[list[Lesson], dict[str, str]]:
    """Lessons of these records, and why some can have none (id -> reason).

    llm       writes further wordings; what it says and does not fit goes into `rejected`
    """
    made, none = [], {}
    for engram in engrams:
        try:
            made.append(lesson(engram))
        except InputError as error:
            none[engram.id] = str(error)
    if llm is not None and made:
        prompts = [_prompt(one) for one in made]
        answers = llm.ask_all(prompts)
        for place, (one, answer) in enumerate(zip(made, answers, strict=True)):
            said = answer.value["items"] if answer.ok else []
            good: list[str] = []
            for sentence in said:
                words = " ".join(str(sentence).split()).rstrip(" .!")
                if reason := _unfit(words, one):
                    if rejected is not None:
                        rejected.append(
                            Rejected("paraphrase", reason, words, (one.id,), answer.call.model, answer.call.prompt)
                        )
                elif words not in (*one.taught, *one.asked, *good):
                    good.append(words)
            cut = len(good) // 3  # of three wordings one is kept back, to be asked
            made[place] = replace(one, taught=(*one.taught, *good[cut:]), asked=(*one.asked, *good[:cut]))
    return made, none


def _prompt(one: Lesson) -> Prompt:
    inputs: dict[str, Any] = {
        "statement": one.statement.text, "subject": one.statement.subject, "value": one.statement.value,
    }  # fmt: skip
    return Prompt("paraphrase", PARAPHRASE, inputs, array_of(text(200), "paraphrase", MOST), (one.id,), max_tokens=300)


def _unfit(words: str, one: Lesson) -> str:
    """Why a sentence is no lesson; "" if it is one."""
    if one.statement.subject not in words:
        return f"it does not name {one.statement.subject!r}"
    if not words.endswith(one.statement.value):
        return f"it does not end with {one.statement.value!r}"
    if not words.removesuffix(one.statement.value).strip():
        return "nothing stands before the value"
    return ""
