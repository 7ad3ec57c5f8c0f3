"""The command `dart-eval`: score DNA language models on regulatory DNA.

Several processes, on GPUs or on CPU (where `accelerate launch --cpu` would start only one):

    torchrun --standalone --nproc_per_node 2 -m trainer_scripts.cli.dart_eval run ...
"""

from trainer_scripts.cli import (
    check,
    compare,
    ls,
    prepare,
    prepare_peaks,
    profile,
    report,
    run,
    suite,
    validate,
    verify_family,
)
from trainer_scripts.cli.app import new_app, run_app
from trainer_scripts.cli.inputs import InputsCommand

app = new_app(
    "Score DNA language models on regulatory DNA: tasks, protocols and intervals of DART-Eval.",
    ls.ls,
    run.run,
    suite.suite,
    compare.compare,
    report.report,
    validate.validate,
    profile.profile,
    verify_family.verify_family,
)
app.command(cls=InputsCommand)(check.check)
app.add_typer(prepare_peaks.app, name="prepare-peaks")
prepare.register(app)


def main() -> None:
    """Run the command on the words of the process."""
    run_app(app, "dart-eval")


if __name__ == "__main__":
    main()
