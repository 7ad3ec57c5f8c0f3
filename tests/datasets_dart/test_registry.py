"""Where entry points come from: other packages' from their metadata, ours from the setup.cfg of an editable install."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from datasets_dart import registry
from datasets_dart.registry import EntryPoints, points_in, points_of

SETUP = """[metadata]
name = {name}
[options.entry_points]
datasets_dart.tasks =
    one = ours.one:One
    two = ours.two:Two
"""


class Distribution:
    """An installed distribution: where it lies, and what its direct_url.json says."""

    def __init__(self, folder, url=None):
        self.folder, self.url = folder, url

    def locate_file(self, path):
        return Path(self.folder, path)

    def read_text(self, name):
        return self.url


@pytest.fixture
def installed(monkeypatch):
    def install(*found):
        monkeypatch.setattr(registry, "distributions", lambda name: found)
        registry.declared.cache_clear()

    yield install
    registry.declared.cache_clear()


def names(group="datasets_dart.tasks"):
    return {point.name: point.value for point in points_of(group)}


def test_an_editable_install_has_what_its_setup_says_now(installed, tmp_path):
    (tmp_path / "setup.cfg").write_text(SETUP.format(name="hyenadna-dart"))
    expected = {"one": "ours.one:One", "two": "ours.two:Two"}
    installed(Distribution(tmp_path))
    assert names() == expected
    url = f'{{"url": "{tmp_path.as_uri()}", "dir_info": {{"editable": true}}}}'
    installed(Distribution(tmp_path / "site-packages", url))
    assert names() == expected
    assert names("evaluation_dart.tasks") == {}


def test_other_installs_have_their_metadata(installed, tmp_path, monkeypatch):
    (tmp_path / "setup.cfg").write_text(SETUP.format(name="another"))
    point = EntryPoint("one", "theirs:One", "datasets_dart.tasks")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    installed(Distribution(tmp_path), Distribution(tmp_path, '{"url": "https://pypi.org/x.whl"}'))
    assert registry.declared() is None
    assert names() == {"one": "theirs:One"}


def test_a_name_that_two_packages_claim_is_an_error(installed, tmp_path, monkeypatch):
    (tmp_path / "setup.cfg").write_text(SETUP.format(name="hyenadna-dart"))
    monkeypatch.setattr(registry, "entry_points", lambda group: points_in(group, "one = theirs:One"))
    installed(Distribution(tmp_path))
    with pytest.raises(
        ValueError, match=r"task .one. is named twice in datasets_dart\.tasks: as ours\.one:One and theirs"
    ):
        list(EntryPoints("datasets_dart.tasks", "task"))
