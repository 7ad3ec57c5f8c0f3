"""DNABERT-2: A BERT over BPE tokens; its own code returns one tensor of hidden states in place of a tuple of layers."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="dnabert2",
    name="DNABERT-2",
    model="zhihan1996/DNABERT-2-117M",
    kind="masked",
    finetuning={
        "pairs": (128, 1, 10),
        "classes": (128, 1, 15),
        "counts": (24, 4, 25),
    },
    probing={
        "pairs": (2048, 2e-3),
        "classes": (1024, 2e-3),
        "counts": (512, 2e-3),
    },
    words=("dnabert",),
    model_types=("bert",),
    code=("bert_layers",),
    config_class="BertConfig",
    relative_positions=True,
    packages={"einops": "pip install 'hyenadna-dart[families]'"},
    hidden=("triton",),  # its kernel is of a Triton that is gone; the original hides it, too
    status="tried on a copy (ashal-ali/CS224N_DNABERT2@d064dece, the Hub's own history, 2026-11-26): "
    "tiny model equals transformers 4.44.2; published weights not at hand",
)
