"""Nucleotide Transformer: An ESM over 6-mers; its tokenizer's special-token mask counts an [EOS] that it never adds."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="nucleotide_transformer",
    name="Nucleotide Transformer",
    model="InstaDeepAI/nucleotide-transformer-v2-500m-multi-species",
    kind="masked",
    finetuning={
        "regulatory_elements": (128, 1, 5),
        "cell_type_elements": (128, 1, 10),
        "chromatin_activity": (24, 4, 10),
    },
    probing={
        "regulatory_elements": (2048, 2e-3),
        "cell_type_elements": (1024, 1e-3),
        "chromatin_activity": (1024, 2e-3),
    },
    words=("nucleotide-transformer",),
    model_types=("esm",),
)
