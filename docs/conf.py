"""Sphinx: the pages of this folder as a site (`make docs`)."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

# The extensions beside this file, and the packages of this checkout, installed or not
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

project = "hyenadna-dart"
author = "the hyenadna-dart authors"
release = version = installed_version("hyenadna-dart")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "command_reference", "docstrings"]
default_role = "code"  # `so` is code in docstrings
autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
python_maximum_signature_line_length = 88
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "records"]
myst_heading_anchors = 4  # #like-this-one, as GitHub makes them
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = f"hyenadna-dart {version}"
# Pages link files of the repository, which are not of the site: tests/test_docs.py checks that they are there.
suppress_warnings = ["myst.xref_missing", "myst.header"]
