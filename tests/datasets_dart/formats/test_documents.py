"""YAML and JSON of others: read, or refused in one line, whatever stands in them."""

import contextlib
import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datasets_dart.errors import InputError
from datasets_dart.formats import documents
from datasets_dart.formats.documents import (
    parse_json,
    parse_yaml,
    read_json,
    read_yaml,
    read_yaml_mapping,
    yaml_text,
)

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD_YAML = {
    BOMB: r"f.yaml:2: .*alias \*a",
    "[" * 10_000: "nested too deeply",
    "a: 1\na: 2": "f.yaml:1: .*a key that occurs twice",
    "a: 1" + "0" * 400: "a number of 401 digits",
    "a: " + ":".join(["59"] * 10_000): "a number of 29999 digits",
    "!!python/object/apply:os.system ['true']": "could not determine a constructor",
    "a: b: c": "f.yaml:1: .*mapping values are not allowed",
    "a: !!timestamp x": "not YAML",
    "a: !!bool x": "not YAML",
    "a: 2020-13-45": "month must be in 1..12",
    "\0": "special characters are not allowed",
}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("text", BAD_YAML, ids=range(len(BAD_YAML)))
def test_yaml_that_is_refused(text):
    with pytest.raises(InputError, match=BAD_YAML[text]) as error:
        parse_yaml(text, "f.yaml")
    assert "\n" not in str(error.value)


@given(st.text(alphabet="ab:-?!&*[]{},|>'\"#%@ \n\t0129.eE~<=") | st.text() | st.binary().map(repr))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_yaml, parse_json):
        with contextlib.suppress(InputError):
            repr(parse(text, "f"))


@given(PLAIN)
def test_what_is_written_is_read_again(content):
    shared = {"one": content, "two": [content, content]}  # which PyYAML would write with an alias
    assert parse_yaml(yaml_text(shared), "f") == yaml.safe_load(yaml.safe_dump(shared))
    assert parse_json(json.dumps(content), "f", finite=False) == content


def test_json_that_is_refused():
    for text in ('{"a": 1, "b": {"c": 1, "c": 2}}', "[" * 100_000, '{"a":' * 100_000, "1" * 200, "", "{", "[1] 2"):
        with pytest.raises(InputError, match="f: not JSON"):
            parse_json(text, "f")
    for text in ("NaN", "[-Infinity]", "1e999"):
        with pytest.raises(InputError, match="is not a finite number"):
            parse_json(text, "f", finite=True)
    assert parse_json("-Infinity", "f") == -math.inf


def test_files(tmp_path, monkeypatch):
    path = tmp_path / "f"
    with pytest.raises(FileNotFoundError, match="f: no such file"):
        read_json(path)
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')  # a byte-order mark
    assert read_json(path) == read_yaml(path) == read_yaml_mapping(path) == {"a": 1}
    path.write_bytes(b'{"a": "\xff"}')
    for read in (read_json, read_yaml):
        with pytest.raises(InputError, match="f: not UTF-8"):
            read(path)
    for content in ("1: x", "[1]", "text"):
        path.write_text(content)
        with pytest.raises(InputError, match="f: not a mapping of options to values"):
            read_yaml_mapping(path, "options to values")
    monkeypatch.setattr(documents, "MOST_BYTES", 10)
    monkeypatch.setattr(documents, "MOST_BYTES_OF_YAML", 10)
    path.write_text('"0123456789"')
    for read in (read_json, read_yaml):
        with pytest.raises(InputError, match="f: more than 10 bytes"):
            read(path)
