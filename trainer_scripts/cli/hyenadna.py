"""The command `hyenadna`: what one does with a model outside a benchmark."""

from trainer_scripts.cli import (
    calibrate,
    convert,
    dataset,
    demo,
    dependencies,
    embed,
    export_hub_code,
    export_onnx,
    fit_markov,
    generate,
    mutagenesis,
    push,
    rank_mean,
    score,
    train,
    verify,
)
from trainer_scripts.cli.app import new_app, run_app

app = new_app(
    "Work with DNA language models.",
    score.score,
    calibrate.neutral_variants,
    calibrate.calibrate,
    rank_mean.rank_mean,
    embed.embed,
    mutagenesis.mutagenesis,
    dependencies.dependencies,
    generate.generate,
    dataset.dataset,
    train.train,
    convert.convert,
    verify.verify,
    export_hub_code.export_hub_code,
    export_onnx.export_onnx,
    push.push,
    demo.demo,
)
app.command(context_settings=fit_markov.SETTINGS)(fit_markov.fit_markov)


def main() -> None:
    """Run the command."""
    run_app(app, "hyenadna")


if __name__ == "__main__":
    main()
