"""Nucleotide Transformer: An ESM over 6-mers; its tokenizer's special-token mask counts an [EOS] that it never adds."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="nucleotide_transformer",
    name="Nucleotide Transformer",
    model="InstaDeepAI/nucleotide-transformer-v2-500m-multi-species",
    kind="masked",
    finetuning={
        "pairs": (128, 1, 5),
        "classes": (128, 1, 10),
        "counts": (24, 4, 10),
    },
    probing={
        "pairs": (2048, 2e-3),
        "classes": (1024, 1e-3),
        "counts": (1024, 2e-3),
    },
    words=("nucleotide-transformer",),
    model_types=("esm",),
    motif_batch=32,
    code=("modeling_esm",),
    status="tried on a copy (open-genome/dna@e38e5b51, less that project's edits, 2026-11-26): "
    "tiny model equals transformers 4.44.2; published weights not at hand",
)
