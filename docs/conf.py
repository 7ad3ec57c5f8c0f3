"""Sphinx: the pages of this folder as a site (`make docs`)."""

from importlib.metadata import version as installed_version

project = "hyenadna-dart"
author = "the hyenadna-dart authors"
release = version = installed_version("hyenadna-dart")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "records"]
myst_heading_anchors = 4  # #like-this-one, as GitHub makes them
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = f"hyenadna-dart {version}"
# Pages link files of the repository, which are not of the site: tests/test_docs.py checks that they are there.
suppress_warnings = ["myst.xref_missing", "myst.header"]
