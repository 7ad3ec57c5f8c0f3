"""The card of a dataset of one's own: what the Hub reads, how to load it, its rows by class and split."""

import json
from collections.abc import Mapping
from typing import Any

from huggingface_hub import DatasetCardData

from datasets_dart.formats.text import markdown, markdown_code


def data_card(name: str, about: Mapping[str, Any]) -> str:
    """Text of the card, metadata first.

    Args:
        name: of the dataset.
        about: what its dataset.json says.
    """
    files = [{"split": split, "path": f"{split}.parquet"} for split in about["rows"]]
    data = DatasetCardData(
        license="unknown",
        task_categories=["text-classification"],
        tags=["biology", "genomics", "dna"],
        pretty_name=name,
        configs=[{"config_name": "default", "data_files": files}],
    )
    label = f"a number, {markdown(about['target'])}" if about["classes"] is None else "a class"
    window = f"{about['window']} bases" if about["window"] else "a sequence"
    negatives = f" Negatives: {about['negatives'].replace('_', ' ')}." if about["negatives"] else ""
    left_out = "; ".join(f"{count:,} {markdown(reason)}" for reason, count in about["left_out"].items()) or "nothing"
    again = "; ".join(f"{count:,} {what}" for what, count in about.get("sequences_again", {}).items()) or "none"
    inputs = "\n".join(f"* {markdown(kind)}: {markdown(value)}" for kind, value in about["inputs"].items())
    return f"""---
{data.to_yaml()}
---

# {markdown(name)}

DNA with labels, made by `hyenadna dataset` (from: {markdown(about["kind"])}). A row is {window}: `chrom`, `start` and
`end` (from 0, half-open), `sequence`, and `label`, which is {label}.{negatives}

```python
from datasets import load_dataset

rows = load_dataset({json.dumps(name)}, split="train")  # this folder, or the repository that it was pushed to
```

## Rows

{class_table(about["rows"], about["classes"])}

Splits: {markdown_code(json.dumps(about["splits"], default=str))}. Left out: {left_out}. Sequences that occur again:
{again}.

{inputs}

## Use

To train and to test a model (`hyenadna train`). What is measured on the test rows holds for rows that were made in this
way from these files. The rows are excerpts of the files above and keep their terms; the licence is for you to fill in.
"""


def class_table(rows: Mapping[str, Any], classes: list[str] | None) -> str:
    """A Markdown table of the number of rows of each class in each split; of all rows where there are no classes."""
    counts = {"all": [*rows.values()]} if classes is None else {
        name: [own.get(name, 0) for own in rows.values()] for name in classes
    }  # fmt: skip
    lines = [f"| class | {' | '.join(rows)} |", f"|---|{'---:|' * len(rows)}"]
    lines += [f"| {markdown(name)} | {' | '.join(f'{n:,}' for n in own)} |" for name, own in counts.items()]
    return "\n".join(lines)
