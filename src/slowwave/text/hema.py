"""HEMA: a one-sentence summary that is kept up beside the turns themselves, which are pruned by age and use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from slowwave.models.base import Embedder
from slowwave.ops.extraction import ids_of
from slowwave.ops.made import Made
from slowwave.ops.nearness import alike
from slowwave.ops.packing import OPENING, Context, line
from slowwave.ops.running import Sentence, carry
from slowwave.ops.salience import Bonus, archived, blocks, due_prunings, least_salient
from slowwave.records import Engram, Hit, Hits, Link
from slowwave.store.base import View, Want
from slowwave.text.base import Cue, Dream, Night, batches
from slowwave.text.plain import PAGE, PlainMemory, stopped, unread

SAID = Want(kinds=("episode",))
RUNNING, WHOLE = "hema:summary:1", "hema:summary:2"  # origins of the running sentence and of the summary of summaries
NO_END = 10**12  # turns of a block that never ends


class Hema(PlainMemory):
    """A running sentence for the whole, chunks by likeness for the detail, the last turns for the thread.

    summary_tokens   of the running sentence
    stride           turns that one rewriting of it takes in (the paper's: 1, after every turn)
    block            turns of one running sentence; a summary of such summaries spans the blocks; 0 for one level alone
    last_turns       shown word for word in `context`
    decay            per turn of age: the paper's gamma
    recency          weight of age: its lambda
    use              weight of use: its beta
    bonus            who gets the weight of use: "used" as the paper's text means, "unused" as its formula is printed
    lately           turns within which a retrieval counts as use
    prune_every      turns between two prunings; 0 for none
    prune_share      of the turns in view that a pruning archives
    """

    name = "hema"
    paper = "HEMA: A Hippocampus-Inspired Extended Memory Architecture for Long-Context AI Conversations (Ahn 2025)"
    operations = ("compression", "indexing", "forgetting", "retrieval")
    asks = ("sleep",)
    claim = (
        "With a 6B model factual recall 41 % to 62 % (summary) to 87 % (summary and chunks); pruning cuts latency 21.4 "
        "to 14.1 ms for recall 0.74 to 0.72; two-level summaries 0.76."
    )
    differs = (
        "The sentence is rewritten at night, several turns at once, since nobody reads those in between. A pruned turn "
        "is archived and not dropped: it leaves the view with its reason. The bonus goes to what was used, as the text "
        "has it and the printed formula has not; `bonus` offers both. A summary of summaries is made of the one before "
        "and the sentence of the block that ended, so its cost does not grow. Chunks are records as they came, and "
        "their index is the store's."
    )
    proof = "proofs/hema.py"

    def __init__(
        self,
        summary_tokens: int = 60,
        stride: int = 10,
        block: int = 100,
        last_turns: int = 2,
        decay: float = 0.002,
        recency: float = 1.0,
        use: float = 0.5,
        bonus: Bonus = "used",
        lately: int = 100,
        prune_every: int = 100,
        prune_share: float = 0.005,
    ) -> None:
        self.summary_tokens = summary_tokens
        self.stride = stride
        self.block = block
        self.last_turns = last_turns
        self.decay = decay
        self.recency = recency
        self.use = use
        self.bonus: Bonus = bonus
        self.lately = lately
        self.prune_every = prune_every
        self.prune_share = prune_share

    # -- read

    def search(self, view: View, cue: Cue, embedder: Embedder | None) -> Hits:
        """The nearest chunks."""
        least = 0.0 if cue.threshold is None else cue.threshold
        near, degraded = alike(view, cue.text, embedder, max(50, 2 * cue.top_k), cue.want)
        ranked = [n for n in near if near[n] >= least][: cue.top_k]
        engrams = view.engrams(ranked, cue.want.as_of)
        hits = [Hit(engrams[n], near[n], {"dense": near[n]}, "close in meaning") for n in ranked if n in engrams]
        return Hits(hits, {"degraded": degraded, "threshold": least})

    def context(
        self, view: View, cue: Cue, embedder: Embedder | None, max_tokens: int, count_tokens: Callable[[str], int]
    ) -> Context:
        """The summary, the chunks oldest first, and the last turns word for word, in this order, within the budget.

        The summary is taken first and the last turns after it; chunks get what is left. What does not fit is left out.
        """
        sums = self._summaries(view, cue.want)
        last = self._last(view, cue.want)
        fixed = {engram.id for engram in (*sums, *last)}
        chunks = [hit for hit in self.search(view, cue, embedder) if hit.id not in fixed]
        parts = [
            [Hit(engram, 1.0, {}, "the summary of all that was said") for engram in sums],
            [Hit(engram, 1.0, {}, "among the last turns") for engram in last],
            chunks,
        ]
        used, left = count_tokens(OPENING), list[Hit]()
        taken: list[list[Hit]] = []
        for part in parts:
            taken.append([])
            for hit in part:
                cost = count_tokens(line(hit.engram)) + 1
                fits = used + cost <= max_tokens
                (taken[-1] if fits else left).append(hit)
                used += cost if fits else 0
        first, thread, found = taken
        if not (first or thread or found):
            return Context("", 0, (), tuple(left))
        shown = [*first, *sorted(found, key=lambda hit: (hit.engram.at, hit.id)), *thread]
        told = "\n".join([OPENING, *(line(hit.engram) for hit in shown)])
        return Context(told, used, (*first, *found, *thread), tuple(left))

    def _summaries(self, view: View, want: Want) -> list[Engram]:
        """The summary of summaries and the running sentence, as this scope has them, or else one within it."""
        held = view.find_origin([WHOLE, RUNNING])
        found = []
        for origin in (WHOLE, RUNNING):
            kept = held.get(origin, [])
            found += [e for e in kept if e.scope == view.scope][-1:] or kept[-1:]
        rows = view.rows(list(view.numbers(ids_of(found)).values()), want)
        wanted = {engram.id for engram in view.engrams(list(rows)).values()}
        return [engram for engram in found if engram.id in wanted]

    def _last(self, view: View, want: Want) -> list[Engram]:
        """The last turns, oldest first."""
        if not self.last_turns or (want.kinds is not None and "episode" not in want.kinds):
            return []
        return view.select(replace(want, kinds=("episode",)), self.last_turns, newest_first=True)[::-1]

    # -- sleep

    def sleep(self, night: Night) -> Dream:
        made = Made()
        read = unread(night)
        before = int(night.since.state.get("turns", 0))
        held = night.view.find_origin([RUNNING, WHOLE])
        was = {origin: e for origin, kept in held.items() for e in kept if e.scope == night.view.scope}
        running, whole, done = self._summarise(night, read, before, was, made)
        self._keep(night, RUNNING, running, was.get(RUNNING), made)
        self._keep(night, WHOLE, whole, was.get(WHOLE), made)
        left = list(read)[done:]
        self._prune(night, before, before + done, made)
        notes = [f"{len(left)} turns wait for the next night: {night.llm.exhausted}"] if left and night.llm else []
        return self.dream(night, made, stopped(night, read, left, turns=before + done), notes)

    def _summarise(
        self, night: Night, read: Mapping[int, Engram], before: int, was: Mapping[str, Engram], made: Made
    ) -> tuple[Sentence, Sentence, int]:
        """The running sentence and the summary of summaries, carried over the new turns; and how many they took in."""
        running, whole = Sentence.of(was.get(RUNNING)), Sentence.of(was.get(WHOLE))
        taken = 0
        for number, part in blocks(list(read.values()), before, self.block or NO_END):
            for new in batches(part, self.stride):
                carried = carry(running, list(new), self.summary_tokens, night.llm, made)
                if carried is None:
                    return running, whole, taken
                running, taken = carried, taken + len(new)
                night.progress("summarise", taken, len(read))
            if self.block and (before + taken) % self.block == 0:
                running, whole = self._close(night, number, running, whole, made)
        return running, whole, taken

    def _close(
        self, night: Night, number: int, running: Sentence, whole: Sentence, made: Made
    ) -> tuple[Sentence, Sentence]:
        """A block has ended: its sentence is kept for itself and taken up into the summary of summaries."""
        if not running.text:
            return running, whole
        block = running.engram(f"{self.name}:block:{number}", night.view.scope, night.now, self.name)
        made.add(block, "summarise", f"turns {number * self.block + 1} to {(number + 1) * self.block}")
        carried = carry(whole, [block], self.summary_tokens, night.llm, made)
        return Sentence(), carried or carry(whole, [block], self.summary_tokens, None, made) or whole

    def _keep(self, night: Night, origin: str, sentence: Sentence, old: Engram | None, made: Made) -> None:
        """Put a sentence in the place of the one before; nothing if it is the same."""
        if old is not None and (sentence.text, sentence.sources) == (old.text, old.sources):
            return
        new = None
        if sentence.text:
            new = sentence.engram(origin, night.view.scope, night.now, self.name)
            ties = [Link(new.id, "supersedes", old.id)] if old is not None else []
            made.add(new, "summarise", f"of {len(sentence.sources)} records", ties)
        if old is not None:
            reason = f"rewritten as {new.id}" if new else "its block has ended"
            made.changes.append(archived(old, reason, night.now, "corrected"))

    def _prune(self, night: Night, before: int, after: int, made: Made) -> None:
        """Archive the least salient turns, as often as a pruning was due."""
        if not self.prune_every or not (times := due_prunings(before, after, self.prune_every)):
            return
        live = night.view.count(SAID)
        count = 0
        for again in range(times):
            then = live - (after - (after // self.prune_every - times + 1 + again) * self.prune_every)
            count += round(self.prune_share * (then - count))
        for engram in least_salient(
            self._oldest_first(night.view, live), count, self.decay, self.recency, self.use, self.bonus
        ):
            made.changes.append(archived(engram, "among the least salient", night.now, "archived"))

    def _oldest_first(self, view: View, live: int) -> Iterator[tuple[Engram, int, bool]]:
        """(turn, its age in turns, whether it was retrieved lately), a page at a time."""
        newest = view.select(SAID, self.lately, newest_first=True)
        since = min((engram.recorded for engram in newest), default=None)
        last, place = 0, 0
        while page := view.after(last, PAGE, SAID):
            last = page[-1][0]
            for _, engram in page:
                lately = since is not None and engram.used is not None and engram.used >= since
                yield engram, live - 1 - place, lately
                place += 1
