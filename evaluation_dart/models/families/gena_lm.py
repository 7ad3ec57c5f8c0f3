"""GENA-LM: A BERT over BPE tokens; its repository declares its BertForMaskedLM as "AutoModel" only."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="gena_lm",
    name="GENA-LM",
    model="AIRI-Institute/gena-lm-bert-large-t2t",
    kind="masked",
    finetuning={
        "regulatory_elements": (128, 1, 10),
        "cell_type_elements": (128, 1, 15),
        "chromatin_activity": (24, 4, 25),
    },
    probing={
        "regulatory_elements": (2048, 2e-3),
        "cell_type_elements": (1024, 2e-3),
        "chromatin_activity": (1024, 2e-3),
    },
    words=("gena",),
)
