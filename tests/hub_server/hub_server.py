"""A Hub on this machine: enough of its HTTP API for huggingface_hub 2.x to push to and pull from.

Repositories live in memory: commits of whole trees, branches, tags, regular files inline, large ones by digest (Git
LFS; Xet is off, by HF_HUB_DISABLE_XET=1). Large files are served from another origin, as by the real Hub's storage.
Faults are asked for: a rate limit, a cut in the middle of a file.
"""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_token_of_the_owner"
LFS_SUFFIXES = (".safetensors", ".parquet", ".png", ".bin")
TYPES = ("models", "datasets", "spaces")


@dataclass
class File:
    content: bytes
    lfs: bool

    @property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()

    @property
    def oid(self):
        """The Git blob's name: of the content, or of the pointer that stands for a large file."""
        return git_blob(self.pointer() if self.lfs else self.content)

    def pointer(self):
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @property
    def etag(self):
        return self.sha256 if self.lfs else self.oid


@dataclass
class Repository:
    kind: str
    name: str
    private: bool = False
    refs: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    commits: dict = field(default_factory=dict)  # commit -> (files by path, title)

    def commit(self, branch, files, title):
        serial = f"{self.kind}/{self.name}/{len(self.commits)}/{title}"
        sha = hashlib.sha1(serial.encode()).hexdigest()
        self.commits[sha] = (files, title)
        self.refs[branch] = sha
        return sha

    def resolve(self, revision):
        sha = self.refs.get(revision) or self.tags.get(revision) or revision
        return sha if sha in self.commits else None


class HubServer:
    """`with HubServer() as hub:` serves on `hub.url`, storage on `hub.storage_url`.

    Attributes:
        requests: every (method, path) that came, in order.
        rate_limited: answers 429 to this many of the next requests.
        cut: path -> bytes after which the next download of it breaks off.
    """

    def __init__(self):
        self.repositories = {}
        self.objects = {}
        self.requests = []
        self.ranges = []
        self.rate_limited = 0
        self.cut = {}
        self.pull_requests = Counter()
        self.lock = threading.RLock()
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler(self)) for _ in range(2)]
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def files(self, repo_id, kind="models", revision="main"):
        """Content by path, as committed."""
        repository = self.repositories[kind, repo_id]
        return {path: file.content for path, file in repository.commits[repository.resolve(revision)][0].items()}

    def downloads(self, name):
        """How often the content of the file `name` was asked for."""
        return sum(method == "GET" and path.endswith("/" + name) for method, path in self.requests)


def git_blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def handler(hub):
    """The class that answers requests for `hub`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments):
            pass

        def do_GET(self):
            self.answer()

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

        def answer(self):
            url = urlsplit(self.path)
            self.query = parse_qs(url.query)
            path = unquote(url.path)
            self.body = self.read_body()
            with hub.lock:
                hub.requests.append((self.command, path))
                limited = hub.rate_limited > 0
                hub.rate_limited -= limited
            if limited:
                # Of a window of 300 seconds none are left, and it starts anew at once.
                headers = {"RateLimit": '"api";r=0;t=1', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
                return self.send(429, b"Too Many Requests", headers)
            for method, pattern, function in ROUTES:
                if (found := re.fullmatch(pattern, path)) and self.command in method.split():
                    return getattr(self, function)(**found.groupdict())
            return self.send_json({"error": f"no such route: {self.command} {path}"}, 404)

        def read_body(self):
            if "chunked" in self.headers.get("Transfer-Encoding", ""):
                chunks = []
                while size := int(self.rfile.readline(), 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def send(self, status, content=b"", headers=None):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def send_json(self, value, status=200, headers=None):
            self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

        @property
        def owner(self):
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def repository(self, kind, name):
            """The repository, or None after an answer that says why not: private ones look absent, as on the Hub."""
            repository = hub.repositories.get((kind, name))
            if repository is None or (repository.private and not self.owner):
                if self.owner:
                    self.send_json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
                else:
                    message = "Invalid username or password."
                    self.send_json(
                        {"error": message}, 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": message}
                    )
                return None
            return repository

        def at(self, kind, name, revision):
            """Repository, commit and its files; None after an answer that says why not."""
            repository = self.repository(kind, name)
            if repository is None:
                return None
            sha = repository.resolve(unquote(revision or "main"))
            if sha is None:
                self.send_json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
                return None
            return repository, sha, repository.commits[sha][0]

        def writable(self, kind, name):
            if not self.owner:
                self.send_json({"error": "Unauthorized"}, 401)
                return None
            return self.repository(kind, name)

        # -- who, and which repositories

        def whoami(self):
            if not self.owner:
                return self.send_json({"error": "Invalid user token"}, 401)
            return self.send_json({"type": "user", "name": "owner", "orgs": [], "auth": {"type": "access_token"}})

        def create_repo(self):
            if not self.owner:
                return self.send_json({"error": "Unauthorized"}, 401)
            asked = json.loads(self.body)
            kind = asked.get("type", "model") + "s"
            name = f"{asked.get('organization') or 'owner'}/{asked['name']}"
            url = f"{hub.url}/{'' if kind == 'models' else kind + '/'}{name}"
            if (kind, name) in hub.repositories:
                return self.send_json({"error": "You already created this repo", "url": url}, 409)
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            repository = hub.repositories[kind, name] = Repository(kind, name, private)
            repository.commit("main", {".gitattributes": File(b"*.safetensors filter=lfs\n", False)}, "initial commit")
            return self.send_json({"url": url, "id": name})

        def validate_yaml(self):
            content = json.loads(self.body)["content"]
            if not content.startswith("---\n") or "license:" not in content:
                return self.send_json({"errors": [{"message": "license is missing"}]}, 400)
            return self.send_json({"errors": [], "warnings": []})

        def info(self, kind, name, revision=None):
            if (found := self.at(kind, name, revision)) is None:
                return None
            repository, sha, files = found
            siblings = [{"rfilename": path} for path in sorted(files)]
            value = {"_id": "0", "id": name, "sha": sha, "private": repository.private, "siblings": siblings,
                     "tags": [], "downloads": 0, "likes": 0, "gated": False, "disabled": False,
                     "lastModified": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")}  # fmt: skip
            value["modelId"] = name
            if "evalResults" in self.query.get("expand", []):
                folder = ".eval_results/"
                texts = [file.content for path, file in sorted(files.items()) if path.startswith(folder)]
                value["evalResults"] = [entry for text in texts for entry in yaml.safe_load(text)]
            return self.send_json(value)

        def refs(self, kind, name):
            if (repository := self.repository(kind, name)) is None:
                return None

            def listed(refs, folder):
                return [{"name": ref, "ref": f"refs/{folder}/{ref}", "targetCommit": sha} for ref, sha in refs.items()]

            branches = {ref: sha for ref, sha in repository.refs.items() if not ref.startswith("refs/")}
            pulls = [{"name": ref, "ref": ref, "targetCommit": sha} for ref, sha in repository.refs.items()
                     if ref.startswith("refs/pr/")]  # fmt: skip
            value = {"branches": listed(branches, "heads"), "tags": listed(repository.tags, "tags"), "converts": []}
            return self.send_json(value | {"pullRequests": pulls})

        def create_ref(self, kind, name, what, ref):
            if (repository := self.writable(kind, name)) is None:
                return None
            target = repository.refs if what == "branch" else repository.tags
            asked = json.loads(self.body or b"{}")
            if what == "tag":
                name, start = asked["tag"], ref
            else:
                name, start = ref, asked.get("startingPoint", "main")
            if name in target:
                return self.send_json({"error": "Reference already exists"}, 409)
            target[name] = repository.resolve(unquote(start))
            return self.send_json({})

        # -- trees

        def tree(self, kind, name, revision, path=""):
            if (found := self.at(kind, name, revision)) is None:
                return None
            _, _, files = found
            recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
            prefix = path.strip("/") + "/" if path.strip("/") else ""
            inside = {name: file for name, file in files.items() if name.startswith(prefix)}
            if prefix and not inside:
                return self.send_json({"error": "path does not exist"}, 404, {"X-Error-Code": "EntryNotFound"})
            return self.send_json(self.entries(inside, prefix, recursive))

        def entries(self, files, prefix, recursive):
            entries, folders = [], set()
            for path, file in sorted(files.items()):
                parts = path.removeprefix(prefix).split("/")
                for depth in range(1, len(parts)):
                    if recursive or depth == 1:
                        folders.add(prefix + "/".join(parts[:depth]))
                if recursive or len(parts) == 1:
                    entries.append(self.entry(path, file))
            return [self.folder(path) for path in sorted(folders)] + entries

        def folder(self, path):
            return {"type": "directory", "oid": git_blob(path.encode()), "size": 0, "path": path}

        def entry(self, path, file):
            entry = {"type": "file", "oid": file.oid, "size": len(file.content), "path": path}
            if file.lfs:
                entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer())}
            return entry

        def paths_info(self, kind, name, revision):
            if (found := self.at(kind, name, revision)) is None:
                return None
            _, _, files = found
            if "json" in self.headers.get("Content-Type", ""):
                paths = json.loads(self.body)["paths"]
            else:
                paths = parse_qs(self.body.decode())["paths"]
            entries = []
            for path in paths:
                if path in files:
                    entries.append(self.entry(path, files[path]))
                elif any(each.startswith(path.rstrip("/") + "/") for each in files):
                    entries.append(self.folder(path))
            return self.send_json(entries)

        # -- down

        def resolve(self, name, revision, path, kind="models"):
            if (found := self.at(kind.rstrip("/") or "models", name, revision)) is None:
                return None
            _, sha, files = found
            if path not in files:
                return self.send_json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound",
                                                                         "X-Repo-Commit": sha})  # fmt: skip
            file = files[path]
            headers = {"X-Repo-Commit": sha, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
            if file.lfs:
                hub.objects[file.sha256] = file.content
                headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
                return self.send(302, b"", headers | {"Location": f"{hub.storage_url}/objects/{file.sha256}/{path}"})
            return self.send_range(file.content, path, headers)

        def stored(self, sha256, path):
            if self.headers.get("Authorization"):  # the owner's token is the Hub's secret
                return self.send(400, b"a token was sent to another origin")
            return self.send_range(hub.objects[sha256], path, {"ETag": f'"{sha256}"', "Accept-Ranges": "bytes"})

        def send_range(self, content, path, headers):
            start, status = 0, 200
            if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start = int(asked[1])
                end = int(asked[2] or len(content) - 1)
                if start >= len(content):
                    return self.send(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                headers = headers | {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
                content, status = content[start : end + 1], 206
                hub.ranges.append((path, start))
            with hub.lock:
                length = hub.cut.pop(path, None) if self.command == "GET" else None
            if length is None:
                return self.send(status, content, headers)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[:length])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return None

        # -- up

        def preupload(self, kind, name, revision):
            if (repository := self.writable(kind, name)) is None:
                return None
            sha = repository.resolve(unquote(revision))
            present = repository.commits[sha][0] if sha else {}
            files = []
            for file in json.loads(self.body)["files"]:
                mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) or file["size"] > 10_000_000 else "regular"
                answer = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
                if file["path"] in present:
                    answer["oid"] = present[file["path"]].etag
                files.append(answer)
            return self.send_json({"files": files})

        def lfs_batch(self, kind, name):
            if self.writable(kind.rstrip("/") or "models", name) is None:
                return None
            objects = []
            for each in json.loads(self.body)["objects"]:
                if each["oid"] not in hub.objects:
                    upload = {"href": f"{hub.storage_url}/upload/{each['oid']}"}
                    verify = {"href": f"{hub.url}/verify/{each['oid']}"}
                    each = each | {"actions": {"upload": upload, "verify": verify}}
                objects.append(each)
            return self.send_json({"transfer": "basic", "objects": objects})

        def upload(self, sha256):
            if hashlib.sha256(self.body).hexdigest() != sha256:
                return self.send(400, b"digest differs")
            hub.objects[sha256] = self.body
            return self.send(200)

        def verify(self, sha256):
            known = len(hub.objects.get(sha256, b"")) == json.loads(self.body)["size"]
            return self.send_json({}, 200 if known else 404)

        def commit(self, kind, name, revision):
            if (repository := self.writable(kind, name)) is None:
                return None
            with hub.lock:
                return self.commit_to(repository, unquote(revision))

        def commit_to(self, repository, branch):
            if (sha := repository.resolve(branch)) is None:
                return self.send_json({"error": "Invalid rev id"}, 404, {"X-Error-Code": "RevisionNotFound"})
            files = dict(repository.commits[sha][0])
            title = ""
            for line in self.body.splitlines():
                item = json.loads(line)
                value = item["value"]
                if item["key"] == "header":
                    title = value["summary"]
                    if value.get("parentCommit") not in (None, sha):
                        return self.send_json({"error": "A commit has happened since. Please refresh"}, 412)
                elif item["key"] == "file":
                    files[value["path"]] = File(base64.b64decode(value["content"]), False)
                elif item["key"] == "lfsFile":
                    if value["oid"] not in hub.objects:
                        return self.send_json({"error": f"LFS pointer to {value['oid']} does not exist"}, 400)
                    files[value["path"]] = File(hub.objects[value["oid"]], True)
                elif item["key"] == "deletedFile":
                    del files[value["path"]]
                elif item["key"] == "deletedFolder":
                    files = {path: file for path, file in files.items() if not path.startswith(value["path"])}
            answer = {}
            if self.query.get("create_pr") == ["1"]:
                hub.pull_requests[repository.name] += 1
                number = hub.pull_requests[repository.name]
                branch = f"refs/pr/{number}"
                answer["pullRequestUrl"] = f"{hub.url}/{repository.name}/discussions/{number}"
            oid = repository.commit(branch, files, title)
            return self.send_json(answer | {"commitOid": oid, "commitUrl": f"{hub.url}/{repository.name}/commit/{oid}"})

    return Handler


KIND = rf"/api/(?P<kind>{'|'.join(TYPES)})"
NAME = r"/(?P<name>[\w.-]+/[\w.-]+)"
PREFIX = r"/(?P<kind>(?:datasets/|spaces/)?)(?P<name>[\w.-]+/[\w.-]+)"
# refs/pr/1 is the one revision with slashes; huggingface_hub quotes them.
REVISION = r"/(?P<revision>refs/pr/\d+|[^/]+)"
ROUTES = (
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create_repo"),
    ("POST", r"/api/validate-yaml", "validate_yaml"),
    ("GET", KIND + NAME, "info"),
    ("GET", KIND + NAME + r"/revision" + REVISION, "info"),
    ("GET", KIND + NAME + r"/refs", "refs"),
    ("POST", KIND + NAME + r"/(?P<what>branch|tag)/(?P<ref>.+)", "create_ref"),
    ("GET", KIND + NAME + r"/tree" + REVISION + r"(?P<path>.*)", "tree"),
    ("POST", KIND + NAME + r"/paths-info" + REVISION, "paths_info"),
    ("POST", KIND + NAME + r"/preupload" + REVISION, "preupload"),
    ("POST", KIND + NAME + r"/commit" + REVISION, "commit"),
    ("POST", PREFIX + r"\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/upload/(?P<sha256>[0-9a-f]{64})", "upload"),
    ("POST", r"/verify/(?P<sha256>[0-9a-f]{64})", "verify"),
    ("GET HEAD", PREFIX + r"/resolve" + REVISION + r"/(?P<path>.+)", "resolve"),
    ("GET HEAD", r"/objects/(?P<sha256>[0-9a-f]{64})/(?P<path>.+)", "stored"),
)


if __name__ == "__main__":
    with HubServer() as server:
        print(f"HF_ENDPOINT={server.url} HF_TOKEN={TOKEN} HF_HUB_DISABLE_XET=1", flush=True)
        threading.Event().wait()
