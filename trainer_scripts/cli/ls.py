"""`dart-eval ls`: what there is to run."""

from trainer_scripts.messages import result


def ls() -> None:
    """List the tasks with their settings and inputs, the recipes, the kinds of models, and the paper's families.

    dart-eval ls
    """
    from evaluation_dart import RECIPES, TASKS
    from evaluation_dart.models.families import FAMILIES
    from evaluation_dart.models.kinds import KINDS
    from evaluation_dart.tasks import dart_eval_tasks

    benchmark = dart_eval_tasks()
    beyond = [name for name in TASKS if name not in benchmark]
    lines = []
    for title, listed in (("tasks and settings", benchmark), ("tasks beyond DART-Eval, run when named", beyond)):
        lines += [title]
        for name in listed:
            task = TASKS[name]
            lines += [f"  {name}: {', '.join(task.settings)}", f"    inputs: {', '.join(task.inputs)}"]
    lines += ["recipes for likelihoods"]
    lines += [
        f"  {recipe.name}: {recipe.reduction} over tokens, strand {recipe.strand}, special tokens "
        f"{recipe.special_tokens}, alleles {recipe.alleles}, variants {recipe.variants}"
        for recipe in RECIPES.values()
    ]
    lines += ["kinds of models, beside the Hub id or folder of a language model"]
    names = {name: f"{name}:{kind.of}".rstrip(":") for name, kind in KINDS.items()}
    lines += [f"  {names[name]}: {kind.help}" for name, kind in KINDS.items()]
    lines += ["model families of the paper (any other model of the Auto classes runs the same way)"]
    lines += [f"  {own.name}, {own.kind}, {own.model}: {own.status}" for own in FAMILIES.values()]
    found = {
        "tasks": {
            name: {"settings": [*task.settings], "inputs": [*task.inputs], "benchmark": task.benchmark}
            for name, task in TASKS.items()
        },
        "recipes": {name: recipe._asdict() for name, recipe in RECIPES.items()},
        "kinds": {names[name]: kind.help for name, kind in KINDS.items()},
        "families": {key: {"model": own.model, "status": own.status} for key, own in FAMILIES.items()},
    }
    result(found, "\n".join(lines))
