"""Sphinx: the pages of this folder as a site (`make docs`)."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

# The extensions beside this file, and the packages of this checkout, installed or not
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

project = "hyenadna-dart"
author = "the hyenadna-dart authors"
release = version = installed_version("hyenadna-dart")

OTHERS = ("torch", "pathlib", "collections", "os", "pyarrow", "pa", "np", "numpy", "transformers", "datasets")

extensions = [
    "myst_nb",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "command_reference",
    "docstrings",
]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build", "records"]
nb_execution_mode = "off"  # `make tutorials` runs them, and they are kept with their outputs
nb_merge_streams = True
myst_heading_anchors = 4  # #like-this-one, as GitHub makes them
myst_enable_extensions = ["dollarmath"]

default_role = "code"  # `so` is code in docstrings
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
python_maximum_signature_line_length = 88

html_theme = "furo"
html_search_scorer = str(Path(__file__).parent / "search_scores.js")
html_title = f"hyenadna-dart {version}"
# Commands are copied without their prompt and without what they print; what is only to be read has no button.
copybutton_selector = "div:not(.output):not(.highlight-text) > div.highlight > pre"
copybutton_exclude = ".linenos, .gp, .go"
# A reference that leads nowhere is a warning, which `make docs` makes an error. Names of other packages, whose sites
# are not asked, are left out.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(OTHERS)})(\..*)?"),
    ("py:class", "Dataset|DatasetDict|IterableDataset|IterableDatasetDict|Split"),  # of datasets, by their short names
    # Of annotations, and on no page. What a page refers to by its own words has the role obj.
    ("py:class", r"(modeling_hyenadna|evaluation_dart|datasets_dart)\..*|Calls|Score"),
]
suppress_warnings = ["myst.header"]  # sections of tables that are made from records begin below the page's level
