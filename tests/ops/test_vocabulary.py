"""One name for one attribute, and the words that go with it."""

from __future__ import annotations

import pytest

from slowwave.ops.vocabulary import VOCABULARY, canonical, is_cued, is_single, offered


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Favorite color", "favourite colour"),
        ("current city", "home"),
        ("occupation", "job"),
        ("her new phone", "phone number"),
        ("favourite_dish", "favourite food"),
        ("Zodiac sign", "zodiac sign"),
        ("", ""),
    ],
)
def test_an_attribute_has_one_name(said, name):
    assert canonical(said) == name


def test_no_name_of_one_attribute_is_the_name_of_another():
    seen = {}
    for attribute in VOCABULARY.values():
        assert canonical(attribute.name) == attribute.name
        for other in attribute.also:
            assert seen.setdefault(other, attribute.name) == attribute.name, other


def test_only_known_attributes_have_one_value_at_a_time():
    assert is_single("residence")
    assert not is_single("hobby")
    assert not is_single("zodiac sign")


def test_a_text_that_never_speaks_of_an_attribute_does_not_state_it():
    assert is_cued("home", ["My flat is in Rome."])
    assert is_cued("boss", ["I report to Karen."])
    assert not is_cued("boss", ["I had coffee with Karen."])
    assert not is_cued("home", ["I visited Rome last weekend."])
    assert is_cued("hobby", ["anything at all"])
    assert is_cued("zodiac sign", ["My zodiac sign is Leo"])
    assert not is_cued("zodiac sign", ["I bought a lion"])


def test_what_a_prompt_offers_is_short():
    assert len(offered()) < 800
