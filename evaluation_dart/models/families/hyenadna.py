"""HyenaDNA: implicit long convolutions over single nucleotides; the family whose recipes all other models get."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="hyenadna",
    name="HyenaDNA",
    model="LongSafari/hyenadna-large-1m-seqlen-hf",
    kind="causal",
    finetuning={
        "regulatory_elements": (128, 1, 20),
        "cell_type_elements": (128, 1, 30),
        "chromatin_activity": (24, 4, 45),
    },
    probing={
        "regulatory_elements": (2048, 2e-3),
        "cell_type_elements": (512, 2e-3),
        "chromatin_activity": (1024, 2e-3),
    },
)
