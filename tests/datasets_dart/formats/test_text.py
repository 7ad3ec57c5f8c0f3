"""Names of others in files with a syntax: whatever they hold, they stay one value."""

import re

import pysam
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from datasets_dart.formats.documents import parse_yaml, yaml_text
from datasets_dart.formats.text import markdown, markdown_code, one_line, plain_name, plot_text, vcf_quoted

ODD = st.text(alphabet="ab \\\n\r\t\0\x85\u2028\"'`|<>[](){}*_#&$=,;:!-") | st.text() | st.just("\udcff")


@given(ODD)
def test_one_line(text):
    assert len(one_line(text).splitlines()) <= 1
    one_line(text).encode()
    assert not re.search(r"[/\\\n\0]", plain_name(text))
    if re.fullmatch("[a-z ]*", text):
        assert one_line(text) == plain_name(text) == markdown(text) == plot_text(text) == text


@given(ODD)
def test_markdown_holds_no_link_html_code_or_column(text):
    row = f"| a | b |\n|---|---|\n| {markdown(text)} | {markdown_code(text)} |\n"
    tokens = MarkdownIt("commonmark").enable("table").parse(row)
    cells = [token for token in tokens if token.type == "inline"]
    assert len(cells) == 4
    inside = {child.type for child in cells[2].children}
    assert inside <= {"text", "text_special", "em_open", "em_close", "strong_open", "strong_close"}, inside
    assert {child.type for child in cells[3].children} <= {"code_inline", "text"}


@given(ODD)
def test_yaml(text):
    if not re.search("[\ud800-\udfff]", text):
        assert parse_yaml(yaml_text({"name": text}), "f") == yaml.safe_load(yaml.safe_dump({"name": text}))


@given(ODD)
def test_a_vcf_header_has_one_line_more(text):
    header = pysam.VariantHeader()
    header.add_line(f"##INFO=<ID=X,Number=A,Type=Float,Description={vcf_quoted(text)}>")
    assert [*header.info] == ["X"]
    assert str(header).count("\n") == 4  # fileformat, FILTER, INFO, #CHROM
