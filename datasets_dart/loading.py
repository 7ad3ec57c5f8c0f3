"""From a builder to its rows; and a builder's options as what they are compared and hashed by."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset, DatasetBuilder, DatasetDict, IterableDataset, IterableDatasetDict, Split
from datasets.exceptions import DatasetGenerationError


def rows_of(
    builder: DatasetBuilder, split: str | Split | None, streaming: bool, num_proc: int | None = None
) -> Dataset | DatasetDict | IterableDataset | IterableDatasetDict:
    """The rows of one split, or of all; what is wrong with the inputs is raised as the builder raised it."""
    if streaming:
        return builder.as_streaming_dataset(split=split)
    try:
        builder.download_and_prepare(num_proc=num_proc)
    except DatasetGenerationError as error:
        if isinstance(error.__cause__, ValueError | FileNotFoundError):
            raise error.__cause__ from None
        raise
    return builder.as_dataset(split=split)


def plain(value: Any) -> Any:
    """`value` with every path in it as text: what a builder's options are compared and hashed by."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value
