"""Memory^3: texts turned once into sparse keys and values, which a model attends to instead of reading them again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from slowwave.errors import InputError
from slowwave.state.kernels.growing import appended
from slowwave.state.kernels.sparse import strongest
from slowwave.state.kernels.surprise import surprise
from slowwave.state.kernels.topk import top_k
from slowwave.state.packing import take, unflatten
from slowwave.state.reader import Reader, ReaderState, View
from slowwave.state.values import joined


@dataclass(frozen=True)
class ReferenceState(ReaderState):
    """Besides what every reader keeps:

    ids     (batch, held) int64, and weights (batch, held): of the tokens in context, which, and how unexpected
    bank    (batch, references, memory layers, 2, kv heads, kept, dim): keys, unrotated, and values of what is kept
    places  (batch, references, memory layers, kv heads, kept) int64: where in the reference each stood
    keys    (batch, references, width): what a reference is found by
    chosen  (batch, retrieve) int64: references in view; -1 is none
    stored, fetched (batch,) int64: references there are, and in view
    """

    ids: Tensor
    weights: Tensor
    bank: Tensor
    places: Tensor
    keys: Tensor
    chosen: Tensor
    stored: Tensor
    fetched: Tensor


class Memory3(Reader[ReferenceState]):
    """A bank of references, of each a few tokens for each layer and head, of which the fitting ones are in view.

    What leaves the context of a stream becomes references; `encode` and `learn` make them of texts of their own.

    model      of transformers, (model, tokenizer), or a path
    reference  tokens of a reference
    keep       tokens kept of it, for each memory layer and kv head, besides the opening's first
    retrieve   references in view
    block      tokens between two retrievals
    local      tokens in context at least, before what is older becomes references
    opening    before each reference: ids, or words behind what the tokenizer puts before every text (the paper has
               "Reference:"); None is what the tokenizer puts there, () nothing. The first is kept in every head
    memory_layers  share of the layers, from the first, that see references
    choice_of  "attention", or "random", for comparison

    Example:
        >>> import torch
        >>> from slowwave.models.causal import fake_causal
        >>> reader = Memory3(fake_causal(), reference=16, keep=2, block=8, local=16)
        >>> state = reader(torch.randint(256, (1, 70))).state
        >>> int(state.stored), tuple(state.bank.shape)[2:]
        (3, (1, 2, 2, 2, 8))
    """

    name = "memory-3"
    paper = "Memory^3: Language Modeling with Explicit Memory"
    operations = ("indexing", "compression", "retrieval")
    claim = (
        "Average over benchmarks 63.31 with memory, 60.80 without (63.33 with vector quantisation), in a 2.4B model; "
        "733 tokens a second with memory, 1131 without."
    )
    differs = (
        "Fits any rotary model, untrained for it; the paper's was trained in two stages. References are found by the "
        "cosine of mean token embeddings, each token weighted by its surprise, not by BGE-M3, and by the 64 tokens "
        "before, not those read. A stream's own past becomes references too. No vector quantisation. None is refused "
        "for what it shares with the text, as the words of references are not kept. The positions of the context begin "
        "behind those that all references share."
    )
    proof = "proofs/memory_3.py"  # and, trained, proofs/memory_3_trained.py
    learns = True
    alone = False
    counters: ClassVar[tuple[str, ...]] = ("held", "begun", "stored", "fetched")
    skips = MappingProxyType({"gradients_by_hand_are_right": "it derives no gradient by hand"})
    SMALL = MappingProxyType(
        {"reference": 4, "keep": 2, "retrieve": 2, "block": 3, "local": 2, "opening": (1,), "memory_layers": 1.0}
    )
    grown = MappingProxyType(
        {
            "local": "held", "asked": "begun", "ids": "held", "weights": "held", "bank": "stored", "places": "stored",
            "keys": "stored",
        }
    )  # fmt: skip
    choice = ("chosen", "fetched")

    def __init__(
        self, model: Any, reference: int = 128, keep: int = 8, retrieve: int = 5, block: int = 64, local: int = 512,
        opening: tuple[int, ...] | str | None = None, memory_layers: float = 0.5, choice_of: str = "attention",
    ) -> None:  # fmt: skip
        if not 1 <= keep <= reference:
            raise InputError(f"{keep} tokens of a reference of {reference} cannot be kept; give 1 <= keep <= reference")
        if choice_of not in ("attention", "random"):
            raise InputError(f"choice_of is {choice_of!r}; give 'attention' or 'random'")
        if min(retrieve, block, local) < 1 or not 0 < memory_layers <= 1:
            raise InputError("retrieve, block and local are at least 1, memory_layers a share above 0")
        super().__init__(model)
        opening = self._opening(opening)
        if bad := [token for token in opening if not 0 <= token < self.base_model.vocabulary]:
            raise InputError(f"opening has {bad[0]}; the model's ids are 0 to {self.base_model.vocabulary - 1}")
        self.reference, self.keep, self.retrieve, self.block, self.local = reference, keep, retrieve, block, local
        self.opening, self.memory_layers, self.choice_of = opening, memory_layers, choice_of

    @property
    def shown(self) -> int:
        """How many layers see references."""
        return max(1, round(self.memory_layers * int(self.base_model.layers)))

    @property
    def kept(self) -> int:
        """Tokens of a reference that are kept, for each of these layers and kv heads."""
        return self.keep + (1 if self.opening else 0)

    def init_state(self, batch: int, generator: torch.Generator | None = None) -> ReferenceState:
        base, whole = self.base_model, torch.int64
        return ReferenceState(
            **self._empty(batch, (1, base.width)),
            ids=self._zeros(batch, 0, dtype=whole),
            weights=self._zeros(batch, 0),
            bank=self._zeros(batch, 0, self.shown, 2, base.kv_heads, self.kept, base.dim),
            places=self._zeros(batch, 0, self.shown, base.kv_heads, self.kept, dtype=whole),
            keys=self._zeros(batch, 0, base.width),
            chosen=torch.full((batch, self.retrieve), -1, device=self._device()),
            stored=self._zeros(batch, dtype=whole),
            fetched=self._zeros(batch, dtype=whole),
        )

    def reach(self) -> int:
        return 2 * self.reference + len(self.opening) + self.local + self.block

    def encode(self, ids: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """One reference, ids (time,) of `keep` to `reference` tokens: its part of `bank`, `places` and `keys`.

        generator  for choice_of="random"
        """
        bank, places, key = self._encoded(ids[None], generator)
        return bank[0], places[0], key[0]

    def learn(self, ids: Tensor, state: ReferenceState, generator: torch.Generator | None = None) -> ReferenceState:
        """The state with a text (batch, time) as references of its own, cut every `reference` tokens; a rest too short
        to keep `keep` of is left out.

        Gradients pass through what is kept, to a model that is trained; which tokens are kept has none.
        """
        parts, order = [], []
        for rows in self._groups(state, torch.full(ids.shape[:1], ids.shape[1])):
            part = self._trimmed(state, rows)
            for start in range(0, ids.shape[1], self.reference):
                piece = ids[rows, start : start + self.reference]
                if piece.shape[1] >= self.keep:
                    part = self._added(part, piece, generator)
            parts.append(part)
            order += rows
        return self._filled(joined(parts).select(torch.tensor(order).argsort()))

    def chosen(self, state: ReferenceState, references: Tensor) -> ReferenceState:
        """The state with these references in view: (batch, up to retrieve) numbers, as many in each row."""
        count = references.shape[1]
        if count > self.retrieve or bool((references >= state.stored[:, None]).any()) or bool((references < 0).any()):
            raise InputError(
                f"{count} references, up to number {int(references.max()) if count else 0}; at most {self.retrieve} of "
                f"the {int(state.stored.min())} stored can be in view"
            )
        chosen = torch.full_like(state.chosen, -1)
        chosen[:, :count] = references
        return replace(state, chosen=chosen, fetched=torch.full_like(state.fetched, count))

    # -- inside

    def _opening(self, given: tuple[int, ...] | str | None) -> tuple[int, ...]:
        base = self.base_model
        if isinstance(given, str) and base.tokenizer is None:
            raise InputError(f"opening is {given!r}, and words need the model's tokenizer; give both, or ids")
        words = base.tokenizer.encode(given, add_special_tokens=False) if isinstance(given, str) else ()
        return (*base.opening, *words) if given is None or isinstance(given, str) else tuple(given)

    def _encoded(
        self, ids: Tensor, generator: torch.Generator | None, seed: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """References (batch, time), all at once: as `encode`, with the batch in front.

        seed  of each row's own lots, where there is no generator
        """
        batch, time = ids.shape
        own = [torch.Generator().manual_seed(seed) if generator is None else generator for _ in range(batch)]
        if not self.keep <= time <= self.reference:
            raise InputError(f"a reference has {self.keep} to {self.reference} tokens, this has {time}")
        base, skip = self.base_model, len(self.opening)
        whole = torch.cat([ids.new_tensor(self.opening).expand(batch, -1), ids], 1)
        view = View(base, self._zeros(batch, 0, base.layers, 2, base.kv_heads, base.dim))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not base.frozen):
            logits = base.through(whole, view)
        record = view.record()[:, :, : self.shown]  # (batch, time, layers, 2, kv heads, dim)
        picked, places = [], []
        for layer in range(self.shown):
            keys = record[:, skip:, layer, 0].transpose(1, 2).flatten(0, 1).detach()  # (batch x kv heads, time, dim)
            if self.choice_of == "random":
                each = [one for one in own for _ in range(base.kv_heads)]
                lots = [torch.randperm(time, generator=one)[: self.keep].sort().values for one in each]
                where = torch.stack(lots).to(ids.device)
            else:
                where = strongest(view.queries[layer][:, :, skip:].flatten(0, 1).detach(), keys, self.keep, time)
            where = unflatten(where + skip, 0, batch, base.kv_heads)
            if skip:
                where = F.pad(where, (1, 0))
            index = where[:, None, :, :, None].expand(-1, 2, -1, -1, record.shape[-1])
            picked.append(record[:, :, layer].permute(0, 2, 3, 1, 4).gather(3, index))
            places.append(where)
        with torch.no_grad():
            key = self._key(ids, surprise(logits, whole)[:, skip:])
        return torch.stack(picked, 1), torch.stack(places, 1), key

    def _key(self, ids: Tensor, weights: Tensor) -> Tensor:
        """(batch, width), each of unit length."""
        return F.normalize((weights[..., None] * self._embedded(ids)).sum(1), dim=-1)

    def _embedded(self, ids: Tensor) -> Tensor:
        table = self.base_model.model.get_input_embeddings().weight
        return F.normalize(self.base_model.embed(ids) - table.mean(0), dim=-1)

    def _view(self, state: ReferenceState) -> View:
        return _References(self, state)

    def _asks(self, view: View, ids: Tensor, logits: Tensor, state: ReferenceState) -> Tensor:
        return (self._surprise(ids, logits, state)[..., None] * self._embedded(ids))[:, :, None]

    def _kept(self, view: View, ids: Tensor, logits: Tensor, state: ReferenceState) -> ReferenceState:
        weights = self._surprise(ids, logits, state)
        new = super()._kept(view, ids, logits, state)
        return replace(new, ids=torch.cat([state.ids, ids], 1), weights=torch.cat([state.weights, weights], 1))

    def _close(self, state: ReferenceState) -> ReferenceState:
        while int(state.held[0]) >= self.local + self.reference:
            oldest = state.ids[:, : self.reference]
            parts = {name: getattr(state, name)[:, self.reference :] for name in ("local", "ids", "weights")}
            state = self._added(replace(state, **parts, held=state.held - self.reference), oldest, None)
        state = self._choose(state)
        return replace(state, asked=state.asked[:, :0], begun=torch.zeros_like(state.begun))

    def _added(self, state: ReferenceState, ids: Tensor, generator: torch.Generator | None) -> ReferenceState:
        bank, places, key = self._encoded(ids, generator, int(state.stored[0]))
        return replace(
            state,
            bank=appended(state.bank, bank[:, None]),
            places=appended(state.places, places[:, None]),
            keys=appended(state.keys, key[:, None]),
            stored=state.stored + 1,
        )

    def _choose(self, state: ReferenceState) -> ReferenceState:
        many = min(self.retrieve, int(state.stored[0]))
        if not many or not state.asked.shape[1]:
            return state
        query = F.normalize(state.asked[:, :, 0].sum(1), dim=-1)
        best = top_k(query[:, None], state.keys, many)[1][:, 0].sort(-1).values
        return self.chosen(state, best)


class _References(View):
    """Before the context: what is kept of the references in view, each at its own places from 0 on."""

    def __init__(self, system: Memory3, state: ReferenceState) -> None:
        many = int(state.fetched[0])
        offset = system.reference + len(system.opening) if many else 0
        super().__init__(system.base_model, state.local, offset)
        self.shown = system.shown if many else 0
        self.bank = take(state.bank, state.chosen[:, :many])
        self.places = take(state.places, state.chosen[:, :many])

    def far(self, layer: int, q: Tensor, turned_q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
        if layer >= self.shown:
            return None
        keys, values = self.bank[:, :, layer].to(q.dtype).permute(2, 0, 3, 1, 4, 5)  # (batch, kv heads, references,
        keys = self.base.rotate(keys, self.places[:, :, layer].transpose(1, 2))  # kept, dim)
        return turned_q, keys.flatten(2, 3), values.flatten(2, 3), None
