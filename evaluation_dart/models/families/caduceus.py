"""Caduceus: reverse-complement equivariant Mamba; its tokenizer makes no attention mask."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="caduceus",
    name="Caduceus",
    model="kuleshov-group/caduceus-ps_seqlen-131k_d_model-256_n_layer-16",
    kind="masked",
    finetuning={
        "regulatory_elements": (64, 2, 16),
        "cell_type_elements": (64, 2, 40),
        "chromatin_activity": (12, 8, 50),
    },
    probing={
        "regulatory_elements": (2048, 2e-3),
        "cell_type_elements": (256, 2e-3),
        "chromatin_activity": (512, 2e-3),
    },
    words=("caduceus",),
    paper_kernel=3,
    reads_two_tokens=True,
)
