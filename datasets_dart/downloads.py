"""The benchmark's public inputs: where they are, how they are checked to be whole, and fetching them, resumed.

The table `downloads.tsv` says for each file the task and role, where it is (an address, or an entity of Synapse), how
its bytes are checked, and whether anybody here has fetched it ("unchecked": nobody; "quoted": its digest is a third
party's). Checks: `sha256:...` or `md5:...`; `encode`, the MD5 that the ENCODE portal gives for the file; `md5sum.txt`,
the list beside the file at UCSC; `synapse`, by synapseclient itself; `folder`, a folder of Synapse, fetched by hand.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import get_session

from datasets_dart.errors import InputError, MissingExtra
from datasets_dart.files import fsync
from datasets_dart.formats import tables
from datasets_dart.outputs import hidden, locked

if TYPE_CHECKING:
    import synapseclient

TABLE = Path(__file__).with_name("downloads.tsv")
TOKEN = "SYNAPSE_AUTH_TOKEN"  # synapseclient's environment variable


class Download(NamedTuple):
    """One row of the table."""

    task: str
    role: str  # which input of `load_dart` it is
    needed: str  # "yes", or "no" for what can be given instead of others
    file: str  # its name in the folder of inputs
    source: str
    checksum: str
    status: str
    note: str

    @property
    def synapse(self) -> bool:
        """Whether the source is an entity of Synapse, which wants an account."""
        return re.fullmatch(r"syn\d+", self.source) is not None

    @property
    def address(self) -> str:
        """Where a person can look at it."""
        return f"https://www.synapse.org/Synapse:{self.source}" if self.synapse else self.source


def read_table(task: str | None = None) -> list[Download]:
    """Rows of the table, of one task or all. Raises ValueError for a task without any."""
    rows = [Download._make(row.values()) for _, row in tables.read_table(TABLE)]
    if found := [row for row in rows if task in (None, row.task)]:
        return found
    raise InputError(f"task {task!r}: no public inputs are known for it")


def fetch(url: str, path: Path, checksum: str = "") -> str:
    """Download `url` to `path`, and return its SHA-256; a file that is there and right is left as it is.

    A download that broke off is in a hidden file ending in .part beside `path`, and is gone on with from there.
    checksum: as in the table; "" for none.

    Raises OSError naming the address where it cannot be read (run again to go on); ValueError naming it and both
    digests where the bytes are others than they should be, after which nothing is left of them.
    """
    algorithm, expected = expected_digest(url, checksum)
    part = hidden(path, "part")
    with locked(hidden(path, "lock"), path, wait=True):  # a second process finds it there when the first is done
        if not path.exists():
            if not (part.exists() and expected and digest(part, algorithm) == expected):
                _resume(url, part)
            if expected and (got := digest(part, algorithm)) != expected:
                part.unlink()
                raise InputError(f"{url}: {algorithm} is {got}, but {expected} was expected; nothing is kept of it")
            fsync(part)
            os.replace(part, path)
            fsync(path.parent)
            return digest(path, "sha256")
    if expected and (got := digest(path, algorithm)) != expected:
        raise InputError(
            f"{path}: {algorithm} is {got}, but {expected} is that of {url}; remove the file to fetch it again"
        )
    return digest(path, "sha256")


def _resume(url: str, part: Path) -> None:
    try:
        with part.open("ab") as file:
            # Bytes as they lie there: a server that compresses on the way could not be asked for the rest.
            http_get(
                url,
                file,
                resume_size=file.tell(),
                headers={"Accept-Encoding": "identity"},
                displayed_filename=part.name[1:-5],
            )
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code == 416 and part.stat().st_size:
            part.unlink()  # it is not the beginning of what is there now
            _resume(url, part)
            return
        raise OSError(f"{url}: cannot be fetched: {' '.join(str(error).split())}") from None
    except (HTTPError, OSError) as error:
        raise OSError(
            f"{url}: cannot be fetched: {' '.join(str(error).split())}; {part.stat().st_size} bytes are kept, run again"
        ) from None


def expected_digest(url: str, checksum: str) -> tuple[str, str]:
    """Algorithm and hexadecimal digest that a row's file must have, asking its server where the table says so."""
    if checksum == "encode":
        record = f"{url.partition('/@@download')[0]}/?format=json"
        found = re.search(r'"md5sum":\s*"([0-9a-f]{32})"', _text(record))
    elif checksum == "md5sum.txt":
        record = url.rpartition("/")[0] + "/md5sum.txt"
        found = re.search(rf"(?m)^([0-9a-f]{{32}})\s+\*?(?:\./)?{re.escape(url.rpartition('/')[2])}$", _text(record))
    else:
        algorithm, _, value = checksum.partition(":")
        return algorithm or "sha256", value
    if found is None:
        raise OSError(f"{record}: has no MD5 of {url.rpartition('/')[2]}")
    return "md5", found[1]


def _text(url: str) -> str:
    try:
        response = get_session().get(url, headers={"Accept": "application/json, text/plain"}, follow_redirects=True)
        response.raise_for_status()
    except (HTTPError, OSError) as error:
        raise OSError(f"{url}: cannot be fetched: {' '.join(str(error).split())}") from None
    return response.text


def digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def synapse_client(token: str) -> "synapseclient.Synapse":
    """A client that is logged in; raises ImportError naming the extra, ValueError where Synapse refuses the token."""
    try:
        import synapseclient
    except ImportError:
        raise MissingExtra("downloading from Synapse", "synapse") from None
    client = synapseclient.Synapse(skip_checks=True, silent=True)
    try:
        client.login(authToken=token, silent=True)
    except Exception as error:  # synapseclient's have no common ancestor below Exception
        raise InputError(f"Synapse: {' '.join(str(error).split())}") from None
    return client


def fetch_synapse(entity: str, path: Path, client: "synapseclient.Synapse") -> str:
    """Download a file of Synapse to `path`, and return its SHA-256; synapseclient resumes and checks it by its MD5.

    Raises OSError naming the entity where it cannot be had.
    """
    with locked(hidden(path, "lock"), path, wait=True):
        if not path.exists():
            folder = hidden(path, entity)
            folder.mkdir(exist_ok=True)
            try:
                got = client.get(entity, downloadLocation=str(folder), ifcollision="overwrite.local")
                os.replace(got.path, path)
                folder.rmdir()
            except Exception as error:
                raise OSError(f"Synapse {entity}: {' '.join(str(error).split())}") from None
    return digest(path, "sha256")


def fetch_inputs(
    rows: list[Download], folder: Path, token: str | None = None, client: "synapseclient.Synapse | None" = None
) -> dict[Path, str]:
    """Fetch what is not in `folder` yet; returns the SHA-256 of each file by its path.

    Raises ValueError, when all else is there, saying which files of Synapse to put where: those for which there is no
    token, and its folders.
    """
    token = token or os.environ.get(TOKEN)
    found: dict[Path, str] = {}
    by_hand: list[str] = []
    for row in rows:
        path = folder / row.file
        if row.checksum == "folder" or (row.synapse and not path.exists() and not (token or client)):
            if not path.exists():
                by_hand.append(f"{row.address} as {path} ({row.note})")
        elif row.synapse:
            if not path.exists() and client is None:
                client = synapse_client(token or "")
            found[path] = fetch_synapse(row.source, path, client)
        else:
            found[path] = fetch(row.source, path, row.checksum)
    if by_hand:
        how = "" if token or client else f" (or, for single files, set {TOKEN} to a Synapse token)"
        raise InputError(f"fetch by hand{how}: {'; '.join(by_hand)}")
    return found


def fetch_task(task: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Fetch a task's public inputs into a folder; returns them by their names in `load_dart`, where that is one file,
    and lines for people: every file with its SHA-256, and which files are to be chosen from.

    Raises ValueError as `fetch_inputs`.
    """
    rows = [row for row in read_table(task) if row.needed == "yes"]
    said = [f"{path}: sha256 {sha256}" for path, sha256 in fetch_inputs(rows, folder).items()]
    inputs: dict[str, Any] = {}
    for row in rows:
        name, _, cell = row.role.partition(" ")
        path = str(folder / row.file)
        if cell.startswith("("):
            said.append(f"{path}: {row.role}; choose the input {name}")
        elif cell:
            inputs.setdefault(name, {})[cell] = path
        else:
            inputs[name] = path
    return inputs, said
