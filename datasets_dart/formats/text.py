"""Texts of others (names of files, classes, contigs) in files that have a syntax: one function for each format."""

import re

# Control characters, line and paragraph separators, and halves of surrogate pairs (bytes of names that are not UTF-8)
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
LATEX = {letter: f"\\{letter}" for letter in "_&%#${}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
MARKDOWN = re.compile(r"([\\`*\[\]<>|&])")


def one_line(text: object) -> str:
    r"""Text without line ends and control characters, which are written as in Python: a\nb."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def plain_name(text: object) -> str:
    """Text as one part of a path and of an identifier: what cannot be in one is an underscore."""
    return re.sub(r"[/\\]", "_", UNPRINTABLE.sub("_", str(text)))


def vcf_quoted(text: object) -> str:
    """A value of a VCF's header, in quotes (VCF 4.3, section 1.4)."""
    return '"{}"'.format(one_line(str(text).replace("\\", "\\\\").replace('"', '\\"')))


def markdown(text: object) -> str:
    """Text that is itself in Markdown, in a table too: no link, no HTML, no code, no other column."""
    return MARKDOWN.sub(r"\\\1", one_line(text))


def markdown_code(text: object) -> str:
    """Text in Markdown as code."""
    return "`{}`".format(one_line(text).replace("`", "'").replace("|", "\\|"))


def latex(text: object) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(LATEX.get(letter, letter) for letter in one_line(text))


def plot_text(text: object) -> str:
    """Text that matplotlib draws as it is, and not as a formula."""
    return one_line(text).replace("$", r"\$")
