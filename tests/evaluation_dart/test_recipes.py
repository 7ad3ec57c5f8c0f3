"""The page of recipes has what the recipes are, and the commands' defaults."""

from pathlib import Path

from evaluation_dart.recipes import ANY_ALLELES, DEFAULT, RECIPES, recipe_named
from evaluation_dart.tools.loading import default_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
MARKOV = Path(__file__).parents[2] / "model_cards" / "markov-chrX" / "markov.safetensors"
FIELDS = ("reduction", "strand", "special_tokens", "alleles", "text", "variants", "ends")
COMMIT = 7  # digits of it that the page shows


def tables():
    """Tables of the page, each a list of rows, each a list of cells."""
    found = [[]]
    for line in PAGE.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return found


def test_the_table_is_what_the_recipes_are():
    _, _, *rows = tables()[0]
    expected = []
    for recipe in RECIPES.values():
        project, _, commit = recipe.source.partition("@")
        number_of = f"{project}@{commit[:COMMIT]}" if commit else "this package"
        expected.append([f"`{recipe.name}`", *(getattr(recipe, field) for field in FIELDS), number_of])
    assert rows == expected


def test_every_recipe_says_what_it_needs():
    named = " ".join(row[0] for row in tables()[1])
    for name in RECIPES:
        assert f"`{name}`" in named or name.startswith("dart-eval-")


def test_the_defaults_are_those_of_the_page():
    header, _, default, *_ = tables()[2]
    assert header == ["", "`dart-eval run`, `evaluate`", "`hyenadna score`, `hyenadna mutagenesis`"]
    assert default[1] == f"`{DEFAULT}`" == f"`{recipe_named(None).name}`"
    assert default[2].startswith(f"`{ANY_ALLELES}`")
    assert default_recipe(f"markov:{MARKOV}", None, False) == ANY_ALLELES


def test_sources_are_whole_commits():
    for recipe in RECIPES.values():
        _, _, commit = recipe.source.partition("@")
        assert len(commit) in (0, 40)
        assert bool(recipe.source) == (
            recipe.name in ("dart-eval", "biofoundation", "traitgym") or "carbon" in recipe.name
        )
