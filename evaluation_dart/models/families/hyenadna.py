"""HyenaDNA: implicit long convolutions over single nucleotides; the family whose recipes all other models get."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="hyenadna",
    name="HyenaDNA",
    model="LongSafari/hyenadna-large-1m-seqlen-hf",
    kind="causal",
    finetuning={
        "pairs": (128, 1, 20),
        "classes": (128, 1, 30),
        "counts": (24, 4, 45),
    },
    probing={
        "pairs": (2048, 2e-3),
        "classes": (512, 2e-3),
        "counts": (1024, 2e-3),
    },
    # The official port's classifier: it reads the last token, and never applies its embedding dropout.
    paper_head={"pooling": "last", "embed_dropout": 0.0},
    model_types=("hyenadna",),
    status="tried on a copy (shubhamtkr/checkpoint-62500@18ec6529, the port, 2026-11-26): tiny model equals ours; "
    "published weights not at hand",
)
