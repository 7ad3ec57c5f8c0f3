"""The HyenaDNA tokenizer: one token a base, [SEP] appended, ids as in the released checkpoints.

Two paths give the same result. The Rust backend defines it; what it writes to tokenizer.json is the whole tokenizer.
Plain sequences (no literal special tokens, pairs or offsets) are translated by a 256-entry byte table instead, which
is about a hundred times faster (benchmarks/tokenizer.py).
"""

import logging
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import BatchEncoding, TokenizersBackend
from transformers.tokenization_utils_base import TruncationStrategy
from transformers.utils import PaddingStrategy

from .vocabulary import BASES, BYTE_TABLES, SEP, UNK, VOCABULARY

logger = logging.getLogger(__name__)

# Tokenizers that have warned of [UNK]. Kept here, because what a tokenizer has in itself is part of its fingerprint, by
# which `datasets` finds what it has computed before.
warned_of_unknown: "WeakSet[HyenaDNATokenizer]" = WeakSet()


class HyenaDNATokenizer(TokenizersBackend):
    """Character tokenizer of HyenaDNA (Nguyen et al. 2023, section 3.2; vocabulary of the official Hub checkpoints).

    `tokenizer("ACGTN")` gives ids `[7, 8, 9, 10, 11, 1]`: the bases, then [SEP]; neither [CLS] nor [BOS] is added.
    Only upper-case A, C, G, T and N have a token; everything else, lower-case bases and IUPAC codes included, is
    [UNK], one for each character. Padding goes to the left. Unlike the official tokenizer the attention mask is
    returned by default, because this package's models make exact use of it.

    Args:
        do_upper_case: read a, c, g, t and n as their upper-case bases (soft-masked genomes). Saved with the tokenizer
            and part of tokenizer.json, so the saved files behave alike where this package is not installed.
        model_max_length: longest input in tokens, [SEP] included.
        padding_side: "left" or "right".

    Raises:
        ValueError: if a tokenizer.json that is loaded holds another vocabulary.
        KeyError: on decoding an id that has no token (12 to 15 are rows of the embedding only).
    """

    model_input_names = ["input_ids", "attention_mask"]

    def __init__(
        self,
        do_upper_case: bool = False,
        model_max_length: int = 1_000_002,
        padding_side: str = "left",
        bos_token: str = "[BOS]",
        eos_token: str = "[SEP]",
        sep_token: str = "[SEP]",
        cls_token: str = "[CLS]",
        pad_token: str = "[PAD]",
        mask_token: str = "[MASK]",
        unk_token: str = "[UNK]",
        **kwargs: Any,
    ):
        vocabulary = kwargs.pop("vocab", None)
        if vocabulary is not None and vocabulary != VOCABULARY:
            raise ValueError(
                f"{kwargs.get('name_or_path') or 'tokenizer.json'}: vocabulary {vocabulary} is not that of HyenaDNA, "
                f"{VOCABULARY}; load it with transformers.TokenizersBackend"
            )
        kwargs.pop("auto_map", None)  # the official folders name remote code that a folder saved here does not hold
        # There are no spaces to clean up, and transformers warns when a BPE tokenizer is asked to.
        kwargs["clean_up_tokenization_spaces"] = False
        if "post_processor" not in kwargs:
            kwargs.setdefault("add_eos_token", True)

        # A BPE without merges is a character vocabulary; without fuse_unk every unknown character keeps its place.
        self._tokenizer = Tokenizer(BPE(VOCABULARY, merges=[], unk_token="[UNK]", fuse_unk=False))
        self._tokenizer.decoder = decoders.Fuse()
        if do_upper_case:
            self._tokenizer.normalizer = normalizers.Sequence(
                [normalizers.Replace(base.lower(), base) for base in BASES]
            )
        super().__init__(  # type: ignore[no-untyped-call]
            do_upper_case=do_upper_case,
            model_max_length=model_max_length,
            padding_side=padding_side,
            bos_token=bos_token,
            eos_token=eos_token,
            sep_token=sep_token,
            cls_token=cls_token,
            pad_token=pad_token,
            mask_token=mask_token,
            unk_token=unk_token,
            **kwargs,
        )

    @property
    def do_upper_case(self) -> bool:
        """Whether lower-case bases are read as bases. Fixed when the tokenizer is made."""
        return self.backend_tokenizer.normalizer is not None

    def _encode_plus(self, text: Any = None, text_pair: Any = None, **options: Any) -> BatchEncoding:  # type: ignore[override]
        encoded = self._encode_by_table(text, text_pair, **options)
        if encoded is not None:
            return encoded
        if isinstance(text, str) and isinstance(text_pair, str):
            encoded = self._encode_pair(text, text_pair, **options)
        else:
            encoded = super()._encode_plus(text=text, text_pair=text_pair, **options)
        for encoding in encoded.encodings or ():
            self._warn_of_unknown(encoding.ids.count(UNK), sum(encoding.attention_mask))
        return encoded

    def _encode_pair(self, text: str, text_pair: str, **options: Any) -> BatchEncoding:
        """The Rust path for one pair, with the official answer in the two cases where the base class has another."""
        # As a batch, because the base class takes an empty second sequence for none and leaves its [SEP] out.
        try:
            encoded = super()._encode_plus(text=[text], text_pair=[text_pair], **options)
        except Exception as error:  # what Rust raises has no narrower class
            strategy = options.get("truncation_strategy")
            if "too short" not in str(error) or strategy == TruncationStrategy.LONGEST_FIRST:
                raise
            logger.warning(
                f"max_length={options.get('max_length')} cannot be met by truncation={strategy!r}: "
                "that sequence is dropped and the other kept whole"
            )
            kept = ("", text_pair) if strategy == TruncationStrategy.ONLY_FIRST else (text, "")
            return self._encode_pair(*kept, **{**options, "truncation_strategy": TruncationStrategy.DO_NOT_TRUNCATE})
        if options.get("return_tensors") is None and not options.get("return_overflowing_tokens"):
            return BatchEncoding({key: rows[0] for key, rows in encoded.items()}, encoded.encodings)
        return encoded

    def _encode_by_table(
        self,
        text: Any,
        text_pair: Any,
        add_special_tokens: bool = True,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        truncation_strategy: TruncationStrategy = TruncationStrategy.DO_NOT_TRUNCATE,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: Any = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        verbose: bool = True,
        split_special_tokens: bool | None = None,
        **unsupported: Any,
    ) -> BatchEncoding | None:
        """What the Rust path returns for `text` (one sequence or a batch), or None where the Rust path is needed.

        Ids stay `bytes` until the end. `split_special_tokens` has no effect on text without special tokens.
        """
        texts = [text] if isinstance(text, str) else text
        if (
            text_pair is not None
            or any(unsupported.values())
            or return_tensors not in (None, "np", "pt")
            or "token_type_ids" in self.model_input_names
            or not isinstance(texts, (list, tuple))
            or not texts
            or not all(isinstance(sequence, str) and "[" not in sequence for sequence in texts)
        ):
            return None
        limit: int = max_length  # type: ignore[assignment]  # an int wherever one of the strategies reads it
        self.set_truncation_and_padding(
            padding_strategy, truncation_strategy, limit, 0, pad_to_multiple_of, padding_side
        )
        backend = self.backend_tokenizer.to_str()
        if _behaviour(backend) != _unmodified_behaviour(self.do_upper_case):
            return None

        suffix = bytes([SEP]) if add_special_tokens else b""
        keep = slice(None)
        if truncation_strategy != TruncationStrategy.DO_NOT_TRUNCATE:
            room = limit - len(suffix)
            if room <= 0 or truncation_strategy == TruncationStrategy.ONLY_SECOND:
                return None
            keep = slice(room) if self.truncation_side == "right" else slice(-room, None)
        table = BYTE_TABLES[self.do_upper_case]
        try:
            rows = [sequence[keep].encode("latin-1").translate(table) + suffix for sequence in texts]
        except UnicodeEncodeError:
            return None
        lengths = [len(row) for row in rows]
        for row in rows:
            self._warn_of_unknown(row.count(UNK), len(row))

        pads = [0] * len(rows)
        if padding_strategy != PaddingStrategy.DO_NOT_PAD:
            width = limit if padding_strategy == PaddingStrategy.MAX_LENGTH else max(lengths)
            width += -width % (pad_to_multiple_of or 1)
            pads = [max(width - length, 0) for length in lengths]
        side = padding_side or self.padding_side
        if return_tensors is not None and len(set(map(sum, zip(lengths, pads, strict=True)))) > 1:
            return None

        def padded(unpadded: list[bytes], value: int) -> list[bytes]:
            fillings = [bytes([value]) * pad for pad in pads]
            pairs = zip(unpadded, fillings, strict=True)
            return [filling + row if side == "left" else row + filling for row, filling in pairs]

        fields = {"input_ids": padded(rows, self.pad_token_id if any(pads) else 0)}
        if return_attention_mask or (return_attention_mask is None and "attention_mask" in self.model_input_names):
            fields["attention_mask"] = padded([b"\1" * length for length in lengths], 0)
        if return_special_tokens_mask:
            fields["special_tokens_mask"] = padded(
                [b"\0" * (length - len(suffix)) + b"\1" * len(suffix) for length in lengths], 1
            )
        for row in fields["input_ids"]:
            self._eventual_warn_about_too_long_sequence(row, max_length, verbose)  # type: ignore[arg-type]

        data: dict[str, Any]
        if return_tensors is not None:
            data = {key: _as_tensor(values, return_tensors) for key, values in fields.items()}
        elif isinstance(text, str):
            data = {key: list(values[0]) for key, values in fields.items()}
        else:
            data = {key: [list(row) for row in values] for key, values in fields.items()}
        encodings = _RustEncodings(backend, texts, add_special_tokens)
        return BatchEncoding(data, encodings, n_sequences=1)

    def _warn_of_unknown(self, unknown: int, length: int) -> None:
        if unknown > 0.01 * length and self not in warned_of_unknown:
            warned_of_unknown.add(self)
            logger.warning(
                f"{unknown} of {length} tokens are [UNK]: HyenaDNA reads only upper-case A, C, G, T and N. Soft-masked "
                "genomes have lower-case bases: upper-case them, or load the tokenizer with do_upper_case=True. "
                "RNA has U, which is T here. (This tokenizer warns once.)"
            )

    def _decode(self, token_ids: int | list[int], *args: Any, **kwargs: Any) -> str:
        self._require_tokens([token_ids] if isinstance(token_ids, int) else token_ids)
        return super()._decode(token_ids, *args, **kwargs)

    def convert_ids_to_tokens(self, ids: int | list[int], skip_special_tokens: bool = False) -> str | list[str]:
        """As the base class, but KeyError for an id that has no token."""
        self._require_tokens([ids] if isinstance(ids, int) else ids)
        return super().convert_ids_to_tokens(ids, skip_special_tokens)

    def _require_tokens(self, ids: Any) -> None:
        # The Rust decoder drops ids without a token, which would shift every base after them.
        unknown = {int(index) for index in ids}.difference(self.get_vocab().values())
        if unknown:
            raise KeyError(f"token id {min(unknown)} has no token: ids run from 0 to {len(self) - 1}")


class _RustEncodings(Sequence[Encoding]):
    """The Rust encodings (tokens, offsets, word ids) of a batch translated by table, made when first looked at."""

    def __init__(self, backend: str, texts: Sequence[str], add_special_tokens: bool):
        self._backend, self._texts, self._add_special_tokens = backend, texts, add_special_tokens

    @cached_property
    def _encodings(self) -> list[Encoding]:
        return Tokenizer.from_str(self._backend).encode_batch(
            list(self._texts), add_special_tokens=self._add_special_tokens
        )

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: Any) -> Any:
        return self._encodings[index]


def _behaviour(backend: str) -> str:
    """A backend's JSON without its padding and truncation, which every call sets anew and which come first."""
    return backend.partition('"added_tokens"')[2]


@lru_cache
def _unmodified_behaviour(upper_case: bool) -> str:
    """`_behaviour` of a tokenizer to which nothing was added and in which nothing was replaced."""
    return _behaviour(HyenaDNATokenizer(do_upper_case=upper_case).backend_tokenizer.to_str())


def _as_tensor(rows: list[bytes], kind: str) -> Any:
    """(len(rows), length) int64 NumPy array ("np") or torch tensor ("pt") of equally long rows."""
    array = np.frombuffer(b"".join(rows), np.uint8).astype(np.int64).reshape(len(rows), len(rows[0]))
    return array if kind == "np" else torch.from_numpy(array)
