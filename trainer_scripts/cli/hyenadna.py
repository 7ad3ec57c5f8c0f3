"""The command `hyenadna`: what one does with a model outside a benchmark."""

from trainer_scripts.cli import (
    convert,
    dataset,
    demo,
    embed,
    export_hub_code,
    fit_markov,
    generate,
    mutagenesis,
    push,
    score,
    train,
    verify,
)
from trainer_scripts.cli.app import new_app, run_app

app = new_app("Work with DNA language models.")
app.command("score")(score.score)
app.command("embed")(embed.embed)
app.command("mutagenesis")(mutagenesis.mutagenesis)
app.command("generate")(generate.generate)
app.command("dataset")(dataset.dataset)
app.command("train")(train.train)
app.command("fit-markov", context_settings=fit_markov.SETTINGS)(fit_markov.fit_markov)
app.command("convert")(convert.convert)
app.command("verify")(verify.verify)
app.command("export-hub-code")(export_hub_code.export_hub_code)
app.command("push")(push.push)
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command."""
    run_app(app, "hyenadna")


if __name__ == "__main__":
    main()
