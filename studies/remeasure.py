"""Make the metrics of records again from their predictions, and write them in the present version of the schema.

    python -m studies.remeasure results/real_data

Nothing is scored or trained. What does not follow from its predictions, or has none, is left as it is, with a line.
"""

from pathlib import Path
from typing import Annotated

import typer

from datasets_dart.errors import InputError
from evaluation_dart.records import remeasure
from evaluation_dart.report.tables import record_folders
from trainer_scripts.messages import run_function


def remeasure_all(folder: Annotated[Path, typer.Argument(help="folder with records in or below it")]) -> None:
    """Make the metrics of all records in or below a folder again.

    python -m studies.remeasure results/real_data
    """
    done, left = 0, 0
    for place in record_folders([folder]):
        try:
            remeasure(place)
            done += 1
        except (InputError, OSError) as error:
            left += 1
            print(f"left as it is: {error}", flush=True)
    print(f"{folder}: {done} records measured again, {left} left as they are")
    if left:
        raise typer.Exit(1)


if __name__ == "__main__":
    run_function(remeasure_all)
