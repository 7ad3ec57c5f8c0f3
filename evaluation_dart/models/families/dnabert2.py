"""DNABERT-2: A BERT over BPE tokens; its own code returns one tensor of hidden states in place of a tuple of layers."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="dnabert2",
    name="DNABERT-2",
    model="zhihan1996/DNABERT-2-117M",
    kind="masked",
    finetuning={
        "regulatory_elements": (128, 1, 10),
        "cell_type_elements": (128, 1, 15),
        "chromatin_activity": (24, 4, 25),
    },
    probing={
        "regulatory_elements": (2048, 2e-3),
        "cell_type_elements": (1024, 2e-3),
        "chromatin_activity": (512, 2e-3),
    },
    words=("dnabert",),
    model_types=("bert",),
)
