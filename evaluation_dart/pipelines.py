"""Pipelines of transformers for DNA, registered where this module is imported.

    import evaluation_dart.pipelines
    from transformers import pipeline

    pipeline("variant-effect", model="org/model")([("ACGTA", "ACTTA")])
    pipeline("variant-effect", model="org/model")("variants.vcf", genome="hg38.fa")
    pipeline("dna-embedding", model="org/model")(["ACGTA", "GGC"])

They score as `score_variants` and embed as `embed_regions` do, of any model that these take.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from datasets_dart.alphabet import checked_bases
from datasets_dart.errors import InputError
from evaluation_dart.models.checkpoints import register_models
from evaluation_dart.models.language_model import BatchSize
from evaluation_dart.models.loading import load_scorer
from evaluation_dart.recipes import ANY_ALLELES, variant_recipe
from evaluation_dart.scoring.alleles import VariantScorer
from evaluation_dart.tools.variants import WINDOW, score_variants

VARIANT_EFFECT, DNA_EMBEDDING = "variant-effect", "dna-embedding"


class ScorerPipeline(Pipeline):
    """A pipeline whose model and tokenizer are used as a scorer, which tokenizes and makes batches itself.

    What `pipeline(...)` is given beside the model is the default of every call.
    """

    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = False  # type: ignore[assignment]
    _load_feature_extractor = False  # type: ignore[assignment]
    _load_tokenizer = True  # type: ignore[assignment]
    needs_head = True

    @cached_property
    def scorer(self) -> Any:
        """The model and tokenizer as evaluation_dart uses them."""
        return load_scorer(model=self.model, tokenizer=self.tokenizer, head=self.needs_head)

    def __call__(self, inputs: Any, *args: Any, **options: Any) -> Any:
        """All inputs of one call; see the class."""
        given = options.pop("batch_size", None)
        batch_size = self._batch_size if given is None else given
        batch_size = "auto" if batch_size is None else batch_size
        with self.device_placement():
            return self.answer(inputs, *args, batch_size=batch_size, **{**self._forward_params, **options})

    def _sanitize_parameters(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, options, {}

    def answer(self, inputs: Any, *, batch_size: BatchSize, **options: Any) -> Any:
        """What a call returns."""
        raise NotImplementedError

    def _forward(self, input_tensors: Any, **options: Any) -> Any:
        return self.answer(input_tensors, batch_size="auto", **options)

    def preprocess(self, inputs: Any) -> Any:  # type: ignore[override]
        """The inputs as they are."""
        return inputs

    def postprocess(self, outputs: Any) -> Any:  # type: ignore[override]
        """The outputs as they are."""
        return outputs


class VariantEffectPipeline(ScorerPipeline):
    """Scores of variants: log p(ALT) - log p(REF), or by another recipe of `hyenadna score`.

    Args:
        inputs: pairs of strings, the sequence around a variant with REF and with ALT; one pair; or a VCF, with
            `genome`. Letters that are no bases are read as N, as of a genome; a protein is refused.
        genome: FASTA of a VCF. window: bases around a variant of a VCF that are read, 1,024 by default.
        recipe, strand: as of `score_variants`. batch_size: sequences in a forward pass.

    Returns:
        Of pairs a dict for each with `score`, `ref_score` and `alt_score`, in nats; of one pair that dict; of a VCF
        a dict for each alternative allele, as the rows of `score_variants`.
    """

    def answer(  # type: ignore[override]
        self,
        inputs: Any,
        genome: str | os.PathLike[str] | None = None,
        window: int | None = None,
        recipe: str = ANY_ALLELES,
        strand: str | None = None,
        batch_size: BatchSize = "auto",
    ) -> Any:
        """Scores of `inputs`; see the class."""
        if isinstance(inputs, (str, os.PathLike)):
            if genome is None:
                raise InputError(
                    f"{inputs}: a VCF needs the genome that it is of (genome=), or give pairs of sequences"
                )
            options: dict[str, Any] = {"recipe": recipe, "strand": strand, "batch_size": batch_size}
            options["window"] = WINDOW if window is None else window
            return cast(pa.Table, score_variants(inputs, os.fspath(genome), self.scorer, **options)).to_pylist()
        if genome is not None or window is not None:
            raise InputError("pairs of sequences take no genome and no window, which are for a VCF")
        if isinstance(inputs, Mapping) or not isinstance(inputs, Iterable):
            raise InputError(f"variant-effect takes a VCF or pairs of sequences, got {inputs!r:.100}")
        inputs = list(inputs)
        one = len(inputs) == 2 and all(isinstance(sequence, str) for sequence in inputs)
        scores = self.of_pairs([inputs] if one else inputs, recipe, strand, batch_size)
        return scores[0] if one else scores

    def of_pairs(
        self, pairs: Sequence[Sequence[str]], recipe: str, strand: str | None, batch_size: BatchSize
    ) -> list[dict[str, float]]:
        """Scores of pairs (REF, ALT) of sequences."""
        for pair in pairs:
            if isinstance(pair, str | Mapping) or len(pair) != 2 or not all(map(is_sequence, pair)):
                raise InputError(
                    f"variant-effect takes pairs of sequences of two bases or more, with REF and with ALT, got "
                    f"{pair!r:.100}"
                )
        apply = VariantScorer(self.scorer, variant_recipe(recipe, strand), batch_size)
        sequences = checked_bases(VARIANT_EFFECT, [sequence for pair in pairs for sequence in pair])
        found = apply(sequences, np.repeat(np.arange(len(pairs)), 2))
        columns = (found.score, found.reference, found.alternative)
        return [
            {"score": float(score), "ref_score": float(reference), "alt_score": float(alternative)}
            for score, reference, alternative in zip(*columns, strict=True)
        ]


class DNAEmbeddingPipeline(ScorerPipeline):
    """Vectors of DNA sequences: hidden states pooled over the bases, never over special tokens or padding.

    Args:
        inputs: a sequence, or several. Letters that are no bases are read as N; a protein is refused.
        layer, pooling: as of `embed_regions`. batch_size: sequences in a forward pass.

    Returns:
        (n, C) float32 of several sequences, (C,) of one.
    """

    needs_head = False

    def answer(  # type: ignore[override]
        self, inputs: Any, layer: int = -1, pooling: str = "mean", batch_size: BatchSize = "auto"
    ) -> np.ndarray:
        """Vectors of `inputs`; see the class."""
        if isinstance(inputs, Mapping) or not isinstance(inputs, Iterable):
            raise InputError(f"dna-embedding takes a sequence, or several, got {inputs!r:.100}")
        sequences = [inputs] if isinstance(inputs, str) else list(inputs)
        if not all(isinstance(sequence, str) and sequence for sequence in sequences):
            raise InputError("dna-embedding takes sequences of at least one base")
        vectors: np.ndarray = self.scorer.embed(
            checked_bases(DNA_EMBEDDING, sequences), layer=layer, pooling=pooling, batch_size=batch_size
        )
        return cast(np.ndarray, vectors[0]) if isinstance(inputs, str) else vectors


def is_sequence(given: Any) -> bool:
    """Whether it is a string of two bases or more: of one alone, a causal model predicts nothing."""
    return isinstance(given, str) and len(given) > 1


def register() -> None:
    """Make both pipelines known to `transformers.pipeline`."""
    register_models()
    known = PIPELINE_REGISTRY.get_supported_tasks()
    if VARIANT_EFFECT not in known:
        heads: Any = (AutoModelForCausalLM, AutoModelForMaskedLM)
        PIPELINE_REGISTRY.register_pipeline(VARIANT_EFFECT, VariantEffectPipeline, pt_model=heads, type="text")
    if DNA_EMBEDDING not in known:
        PIPELINE_REGISTRY.register_pipeline(DNA_EMBEDDING, DNAEmbeddingPipeline, pt_model=AutoModel, type="text")


register()
