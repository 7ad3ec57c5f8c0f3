"""Mistral-DNA: A mixture-of-experts transformer over BPE tokens."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="mistral_dna",
    name="Mistral-DNA",
    model="RaphaelMourad/Mistral-DNA-v1-1.6B-hg38",
    kind="causal",
    finetuning={
        "regulatory_elements": (128, 1, 25),
        "cell_type_elements": (128, 1, 50),
        "chromatin_activity": (24, 4, 25),
    },
    probing={
        "regulatory_elements": (2048, 2e-3),
        "cell_type_elements": (512, 2e-3),
        "chromatin_activity": (1024, 2e-3),
    },
    words=("mistral",),
    model_types=("mixtral",),
)
