"""A byte-level BPE tokenizer trained on the texts at hand, for small trainings on real English."""

from __future__ import annotations

from collections.abc import Sequence


class Bpe:
    """Encode and decode as a transformers tokenizer does, with a vocabulary of our own.

    vocabulary  how many tokens, 256 bytes included
    """

    def __init__(self, texts: Sequence[str], vocabulary: int = 4096) -> None:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

        self._tokenizer = Tokenizer(models.BPE())
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        self._tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        self._tokenizer.train_from_iterator(texts, trainer)

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Ids of a text."""
        return list(self._tokenizer.encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids."""
        return str(self._tokenizer.decode(list(ids)))
