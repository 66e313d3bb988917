"""Replies of language models kept where the records are, so that erasing a record erases what was said of it."""

from __future__ import annotations

from contextlib import suppress

from slowwave.errors import StoreError
from slowwave.models.chat import Reply, Token
from slowwave.models.prompt import Prompt
from slowwave.store.base import Replies, Said


class StoredReplies:
    """The replies of one scope as a `ReplyCache`: a night that was killed asks nothing twice."""

    def __init__(self, replies: Replies) -> None:
        self.replies = replies

    def get(self, key: str) -> Reply | None:
        """The reply, or None."""
        said = self.replies.get(key)
        if said is None:
            return None
        return Reply(said.text, said.tokens_in, said.tokens_out, said.finish, tuple(Token(*one) for one in said.tokens))

    def put(self, key: str, prompt: Prompt, model: str, reply: Reply) -> None:
        """Keep a reply; where the store cannot, it is asked for again, and whoever writes to the store hears why."""
        tokens = tuple((token.text, token.logprob, token.top) for token in reply.tokens)
        text = reply.text.encode("utf-8", "replace").decode("utf-8")
        said = Said(text, reply.tokens_in, reply.tokens_out, reply.finish, tokens)
        with suppress(StoreError):
            self.replies.put(key, model, said, prompt.sources)
