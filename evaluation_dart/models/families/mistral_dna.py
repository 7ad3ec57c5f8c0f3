"""Mistral-DNA: A mixture-of-experts transformer over BPE tokens."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="mistral_dna",
    name="Mistral-DNA",
    model="RaphaelMourad/Mistral-DNA-v1-1.6B-hg38",
    kind="causal",
    finetuning={
        "pairs": (128, 1, 25),
        "classes": (128, 1, 50),
        "counts": (24, 4, 25),
    },
    probing={
        "pairs": (2048, 2e-3),
        "classes": (512, 2e-3),
        "counts": (1024, 2e-3),
    },
    words=("mistral",),
    model_types=("mixtral",),
    status="tried on a copy (transformers' Mixtral, raphaelmourad/Mistral-DNA@700996f2, 2026-11-26): "
    "tiny model equals transformers 4.44.2; published weights not at hand",
)
