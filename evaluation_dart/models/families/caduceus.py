"""Caduceus: reverse-complement equivariant Mamba; its tokenizer makes no attention mask."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="caduceus",
    name="Caduceus",
    model="kuleshov-group/caduceus-ps_seqlen-131k_d_model-256_n_layer-16",
    kind="masked",
    finetuning={
        "pairs": (64, 2, 16),
        "classes": (64, 2, 40),
        "counts": (12, 8, 50),
    },
    probing={
        "pairs": (2048, 2e-3),
        "classes": (256, 2e-3),
        "counts": (512, 2e-3),
    },
    words=("caduceus",),
    paper_kernel=3,
    reads_two_tokens=True,
    code=("modeling_caduceus",),
    packages={
        "mamba_ssm": "pip install mamba-ssm causal-conv1d, on a machine with a CUDA GPU and its compiler",
        "einops": "pip install 'hyenadna-dart[families]'",
    },
    status="tried with a stand-in of mamba-ssm (kuleshov-group/caduceus@0060a6d8, PS and PH, 2026-11-26): "
    "tiny model equals transformers 4.44.2; published weights not at hand",
)
