"""A served memory for the page's tests: an application, a client that remembers cookies and reads forms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from html.parser import HTMLParser
from typing import Any

from starlette.testclient import TestClient

from slowwave import Memory, Scope
from slowwave.models import resolve_embedder
from slowwave.serve import create_app

VIEWS = ("/timeline", "/search", "/nights", "/fading", "/held", "/stats", "/move", "/keys")
ALL = ("read", "write", "sleep", "forget", "erase", "review", "admin")


class Page:
    """What a browser without JavaScript would do with the page."""

    def __init__(self, memory: Memory, key: str | None = None) -> None:
        self.app = create_app(memory)
        self.client = TestClient(self.app, follow_redirects=False)
        if key:
            self.client.cookies.set("slowwave_key", key)

    def get(self, path: str, **params: Any) -> Any:
        return self.client.get(path, params=params)

    def follow(self, answer: Any) -> Any:
        """Go where an answer sends one, until it sends nowhere."""
        while answer.status_code in (302, 303):
            answer = self.client.get(answer.headers["location"])
        return answer

    def token(self) -> str:
        return str(re.search(r'name="form_token" value="(\w+)"', self.get("/login").text)[1])  # type: ignore[index]

    def post(self, path: str, files: Any = None, **fields: Any) -> Any:
        return self.client.post(path, data={"form_token": self.token(), **fields}, files=files)

    def close(self) -> None:
        self.app.state.service.close()


@cache
def encoder() -> Any:
    """The encoder that comes with the install, loaded once."""
    return resolve_embedder("minilm")


def key_for(memory: Memory, *scopes: Scope, verbs: Iterable[str] = ALL) -> str:
    """A key, made as the owner would."""
    from slowwave.serve.keys import Keys

    return Keys(memory).add("test", scopes=scopes, verbs=verbs)[1]


class Markup(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data


def fill(memory: Memory) -> None:
    """A small life: two homes one after the other, a sister, a cello, an allergy."""
    said = [
        ("2023-02-01", "a", "I live in Porto, near the river.", "A fine place to hear the boats. Why there?",
         "Work, at first. I teach at the conservatory."),
        ("2023-03-05", "b", "My sister Clara plays the cello.", "Do you see her often?",
         "Every month. Her birthday is in May."),
        ("2023-05-08", "c", "Yesterday Clara turned forty. We had dinner by the sea.", "What did you eat?",
         "Grilled sardines, and bread with olive oil."),
        ("2024-01-20", "d", "I am allergic to walnuts, please remember that.", "Noted: no walnuts."),
        ("2024-05-06", "e", "I moved to Lisbon last week.", "How is the new flat?",
         "Small and bright. My favourite room is the kitchen."),
    ]  # fmt: skip
    for day, session, *turns in said:
        for n, text in enumerate(turns):
            who, at = "Assistant" if n % 2 else "Ana", f"{day}T{9 + n:02d}:1{n}"
            memory.add(text, speaker=who, at=at, session=f"chat {session}", user_id="ana")
