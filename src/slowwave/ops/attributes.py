"""Words that say whether a thing has one value at a time: attribute nouns, verbs of lasting states, and small talk.

Used by `compare` alone; all are stems. What is missing here costs a change that is not seen, never a false one.
"""

from __future__ import annotations

from slowwave.ops.words import stem, word_set, word_table

# Nouns of which a person or thing has one value at a time: "my address is", "the deadline is", "Anna's job is".
ATTRIBUTES = frozenset(
    stem(w)
    for w in word_set(
        "name surname nickname age height weight size address email mail number phone password passcode pin code "
        "username handle job position title role salary wage rent price cost budget rate fee deadline meeting "
        "appointment interview flight train departure arrival checkup exam class lesson rehearsal wedding party "
        "event "
        "session shift status address office desk room floor seat hometown birthday birthplace anniversary employer "
        "boss manager supervisor doctor dentist therapist landlord wife husband spouse fiance fiancee partner "
        "girlfriend boyfriend mother father colour favourite goal limit diet major university school college "
        "nationality religion language record score rank ranking level target plan commute schedule bedtime alarm "
        "mileage balance weight location destination timezone zone breed speed temperature capacity version model "
        "brand key url domain server port"
    )
)
# Of these, the ones whose value does not change over time: another value corrects, or contradicts.
PERMANENT = frozenset(
    stem(w) for w in word_set("birthday birthplace hometown mother father nationality breed anniversary")
)
# Present-tense verbs whose object holds over time and is one at a time: (verb, prepositions that may follow it).
STATIVE = {
    stem(verb): after
    for verb, after in word_table(
        "live: in at on near; work: at for as in; study: at; weigh:; cost:; sit: on in at; start: at on; begin: at "
        "on; end: at on; open: at on; close: at on; earn:; pay:; drive:; wake: at; stay: at in; teach: at; belong: "
        "to; report: to; have:; get:; own:; need:; marry: to; engage: to; date:; leave: at on; run: on; base: "
        "in at; schedule: for on at; set: for to at on; due: on at by; locate: in at on; use:; play: for; "
        "age:; turn:; meet: on at; fly: on at; depart: at on"
    ).items()
}
COUNT_ONLY = frozenset(stem(w) for w in word_set("have get own need use turn pay earn cost weigh run wake"))
# Past-tense verbs that tell of a new state: (verb, preposition that leads to it).
RESULTS = {
    stem(w) for w in word_set("move relocate change switch rename reschedule transfer promote postpone raise shift")
}
GROUPS = [
    frozenset(stem(w) for w in word_set(group))
    for group in (
        "vegetarian vegan pescatarian omnivore carnivore",
        "single married engaged divorced widowed separated",
        "unemployed employed retired freelance self-employed",
        "open closed",
        "full-time part-time",
    )
]
ANTONYMS = [
    (frozenset(stem(w) for w in word_set(a)), frozenset(stem(w) for w in word_set(b)))
    for a, b in (("like love enjoy adore", "hate dislike detest loathe"), ("agree accept", "disagree refuse reject"))
]
SEVERAL = frozenset(
    stem(w)
    for w in word_set("brother sister son daughter child cousin aunt uncle friend colleague dog cat pet niece nephew")
)
CHAT = frozenset(
    stem(w)
    for w in word_set(
        "thanks thank thankyou appreciate great good nice awesome amazing cool wonderful lovely sounds looks talk "
        "hear see later soon care take luck glad congrats congratulations welcome sure absolutely definitely sorry "
        "bye goodbye morning evening night love like support lot mean know let happy perfect exactly right have be no "
        "yes wow time long up what how who where about keep go much more way words kind fun best"
    )
)
ONCE = word_set("origin birth name mother father mom mum dad")
CLASSIFIERS = word_set("floor room number gate platform terminal seat row line route size level version grade year")
PASSIVE = frozenset(
    stem(w) for w in word_set("name set schedule based located due married engaged located worth turning")
)
LINKING = CLASSIFIERS | {"from", "~i", "~we"}
PLACES = word_set("in at on for near")
