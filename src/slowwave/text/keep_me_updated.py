"""Keep Me Updated: every new sentence of a session is held against the remembered ones, and either may have to go."""

from __future__ import annotations

from collections.abc import Sequence

from slowwave.ops.made import Made
from slowwave.ops.pairwise import label, settle
from slowwave.ops.standing import Standing, Vector
from slowwave.records import Engram
from slowwave.store.base import Want
from slowwave.text.base import Cue, Night
from slowwave.text.sentences import Episodes, SentenceMemory


class KeepMeUpdated(SentenceMemory):
    """Sentences kept up to date by a four-way operator: PASS, REPLACE, APPEND or DELETE for each old and new pair.

    nearest    remembered sentences that a new one is compared with, beside those on the same attribute; the paper
               compares all pairs
    alike      cosine below which a pair counts as APPEND without being looked at
    guard      turn down a model's label that the words speak against: PASS where the new sentence says more, any label
               but APPEND where they are about different people
    past       search what was replaced or deleted as well; the paper has deleted it. A question about a date (`at`)
               reads the memory of that date in any case
    turns, episodes, threshold   see `SentenceMemory`

    >>> from slowwave import Memory
    >>> memory = Memory(":memory:", embedder="fake", system=KeepMeUpdated())
    >>> for text, day in (("I live in Rome.", "2024-01-08"), ("I moved to Oslo.", "2024-03-04")):
    ...     _ = memory.add(text, speaker="Ana", at=day, user_id="ana")
    >>> dict(memory.sleep(user_id="ana").counts)
    {'add': 2, 'supersede': 1}
    >>> [hit.text for hit in memory.search("Where is Ana's home?", user_id="ana")]
    ["Ana's home is Oslo"]
    """

    name = "keep-me-updated"
    paper = "Keep Me Updated! Memory Management in Long-term Conversations (Bae et al. 2022)"
    operations = ("updating", "forgetting", "retrieval")
    asks = ("sleep",)
    claim = (
        "People rate engagingness and humanness above an accumulating memory, and the gap grows in later sessions; "
        "numbers (unverified)."
    )
    differs = (
        "Sentences are drawn and compared at night, from what is new, one after the other, so that sentences of one "
        "session meet as well. A new sentence meets its nearest and those on its attribute, not all; a model labels "
        "them in one prompt, where the paper has a fine-tuned T5 label each pair, and labels that the words speak "
        "against are turned down. What is replaced or deleted stays, with the date until which it held, and is found "
        "as of an earlier date; of what deletes it no sentence is written, only a tie from the turn that said so. What "
        "was said later wins, whatever came in first."
    )
    proof = "proofs/keep_me_updated.py"

    def __init__(
        self,
        nearest: int = 5,
        alike: float = 0.3,
        guard: bool = True,
        past: bool = False,
        turns: int = 40,
        episodes: Episodes = "new",
        threshold: float = 0.0,
    ) -> None:
        super().__init__(turns, episodes, threshold)
        self.nearest = nearest
        self.alike = alike
        self.guard = guard
        self.past = past

    def wanted(self, cue: Cue) -> Want:
        return cue.want if self.past else super().wanted(cue)

    def take_in(
        self,
        night: Night,
        drawn: Sequence[Engram],
        vectors: Sequence[Vector | None],
        standing: Standing,
        made: Made,
    ) -> None:
        """Label each new sentence against the memory as it stands, and settle what becomes of both."""
        for new, vector in zip(drawn, vectors, strict=True):
            old = standing.candidates(new, vector, self.nearest, self.alike)
            verdicts = label(new, old, night.llm, made, self.guard)
            entered = settle(new, verdicts, standing, made, night.now)
            if entered is not None:
                standing.add(entered, vector)
