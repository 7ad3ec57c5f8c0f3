"""GENA-LM: A BERT over BPE tokens; its repository declares its BertForMaskedLM as "AutoModel" only."""

from evaluation_dart.models.families.family import Family

FAMILY = Family(
    key="gena_lm",
    name="GENA-LM",
    model="AIRI-Institute/gena-lm-bert-large-t2t",
    kind="masked",
    finetuning={
        "pairs": (128, 1, 10),
        "classes": (128, 1, 15),
        "counts": (24, 4, 25),
    },
    probing={
        "pairs": (2048, 2e-3),
        "classes": (1024, 2e-3),
        "counts": (1024, 2e-3),
    },
    words=("gena",),
    code=("modeling_bert",),
    classes={"AutoModelForSequenceClassification": "BertForSequenceClassification"},
    status="tried on a copy (AIRI-Institute/GENA_LM@4a884630, the authors' repository, 2026-11-26): "
    "tiny model equals transformers 4.44.2; published weights not at hand",
)
