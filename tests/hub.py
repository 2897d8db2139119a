"""A small Hugging Face Hub on loopback: what `huggingface_hub` asks of one to create, upload, list and download.

Repositories are kept in memory as commits, each a mapping of paths to bytes, and branches that point at them.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 100_000
"""Files of so many bytes go through LFS."""
Files = dict[str, bytes]


@dataclass
class Repository:
    commits: dict[str, Files] = field(default_factory=lambda: {"0" * 40: {}})
    branches: dict[str, str] = field(default_factory=lambda: {"main": "0" * 40})

    def commit(self, branch: str, files: Files) -> str:
        sha = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = files
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        sha = self.branches.get(revision, revision)
        return sha if sha in self.commits else None

    def files(self, revision: str = "main") -> Files:
        return self.commits[self.branches[revision]]


@dataclass
class Hub:
    """State of the server.

    Attributes:
        repositories: by kind and id, such as "models/owner/name".
        gated: repositories whose terms nobody has accepted.
        failures: so many of the next commits are refused.
        token: the only one that is valid.
        cache: where a test has what is downloaded kept.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    failures: int = 0
    token: str = "dummy"
    endpoint: str = ""
    cache: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def publish(self, model: str, files: Files) -> None:
        """Has these files in a model's repository."""
        self.repositories.setdefault(f"models/{model}", Repository()).commit("main", files)


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()
    handler = type("BoundHandler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("HEAD")

    def do_POST(self) -> None:
        self._route("POST")

    def do_PUT(self) -> None:
        self._route("PUT")

    def _route(self, method: str) -> None:
        self.body = self._read_body()
        path = unquote(urlsplit(self.path).path).strip("/")
        with self.hub.lock:
            if method == "PUT" and path.startswith("objects/"):
                self.hub.objects[path.removeprefix("objects/")] = self.body
                return self._answer({})
            if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
                return self._refuse(401, "Invalid credentials")
            if path.startswith("api/"):
                return self._api(method, path.removeprefix("api/"))
            if path.endswith(".git/info/lfs/objects/batch"):
                return self._lfs_batch()
            return self._resolve(path)

    def _api(self, method: str, path: str) -> None:
        if path == "whoami-v2":
            return self._answer({"type": "user", "name": "tester", "auth": {"type": "access_token"}})
        if path == "validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path == "repos/create":
            return self._create(json.loads(self.body))
        kind, owner, name, *rest = path.split("/")
        repository = self.hub.repositories.get(f"{kind}/{owner}/{name}")
        if repository is None:
            return self._refuse(404, "Repository not found", "RepoNotFound")
        if f"{kind}/{owner}/{name}" in self.hub.gated:
            return self._refuse(403, "Access to this model is restricted", "GatedRepo")
        action = rest[0] if rest else "revision"
        revision = "/".join(rest[1:]) or "main"
        if action == "branch":
            repository.branches.setdefault(revision, repository.branches["main"])
            return self._answer({})
        if action == "preupload":
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["size"] > LARGE else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(self.body)["files"]
            ]
            return self._answer({"files": modes})
        if action == "commit":
            return self._commit(repository, f"{owner}/{name}", revision)
        if action == "tree":
            revision = rest[1]
        sha = repository.resolve(revision)
        if sha is None:
            return self._refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if action == "tree":
            under = "/".join(rest[2:])
            recursive = parse_qs(urlsplit(self.path).query).get("recursive", [""])[0].lower() in ("1", "true")
            entries = _tree(repository.commits[sha], under, recursive)
            if under and not entries:
                return self._refuse(404, f"{under} does not exist on {revision}", "EntryNotFound", sha)
            return self._answer(entries)
        siblings = [{"rfilename": path} for path in sorted(repository.commits[sha])]
        return self._answer({"id": f"{owner}/{name}", "sha": sha, "siblings": siblings, "private": False, "tags": []})

    def _create(self, asked: dict) -> None:
        name = f"{asked.get('organization') or 'tester'}/{asked['name']}"
        self.hub.repositories.setdefault(f"{asked.get('type', 'model')}s/{name}", Repository())
        self._answer({"url": f"{self.hub.endpoint}/{name}", "id": name})

    def _commit(self, repository: Repository, name: str, branch: str) -> None:
        if self.hub.failures:
            self.hub.failures -= 1
            return self._refuse(503, "Try again later")
        if branch not in repository.branches:
            return self._refuse(404, f"Invalid rev id: {branch}", "RevisionNotFound")
        files = dict(repository.files(branch))
        for line in self.body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif entry["key"] == "deletedFile":
                files.pop(value["path"], None)
            elif entry["key"] == "deletedFolder":
                files = {path: data for path, data in files.items() if not path.startswith(value["path"])}
        sha = repository.commit(branch, files)
        url = f"{self.hub.endpoint}/{name}/commit/{sha}"
        return self._answer({"success": True, "commitUrl": url, "commitOid": sha, "hookOutput": ""})

    def _lfs_batch(self) -> None:
        answers = []
        for wanted in json.loads(self.body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                answer["actions"] = {"upload": {"href": f"{self.hub.endpoint}/objects/{wanted['oid']}"}}
            answers.append(answer)
        self._answer({"transfer": "basic", "objects": answers})

    def _resolve(self, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        kind = "" if name.startswith("datasets/") else "models/"
        repository = self.hub.repositories.get(kind + name)
        if repository is None:
            return self._refuse(404, "Repository not found", "RepoNotFound")
        revision, _, file = rest.partition("/")
        sha = repository.resolve(revision)
        if sha is None:
            return self._refuse(404, "Invalid rev id", "RevisionNotFound")
        data = repository.commits[sha].get(file)
        if data is None:
            return self._refuse(404, "Entry not found", "EntryNotFound", sha)
        etag = hashlib.sha256(data).hexdigest()
        headers = {"X-Repo-Commit": sha, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": len(data)}
        wanted = self.headers.get("Range")
        if wanted is None:
            return self._send(200, data, headers | {"Content-Type": "application/octet-stream"})
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        last = min(int(last or len(data) - 1), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return self._send(206, data[int(first) : last + 1], headers)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, message: str, code: str = "", sha: str = "") -> None:
        headers = {"Content-Type": "application/json", "X-Error-Message": message}
        headers |= {"X-Error-Code": code} if code else {}
        headers |= {"X-Repo-Commit": sha} if sha else {}
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, data: bytes, headers: dict[str, object]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _tree(files: Files, under: str, recursive: bool) -> list[dict]:
    """Files and folders in a folder, "" being the whole repository; with `recursive` those in its folders too."""
    start = f"{under}/" if under else ""
    entries = {}
    for path, data in sorted(files.items()):
        if not path.startswith(start):
            continue
        parts = path.removeprefix(start).split("/")
        for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
            folder = start + "/".join(parts[:depth])
            entries[folder] = {
                "type": "directory",
                "path": folder,
                "size": 0,
                "oid": hashlib.sha1(folder.encode()).hexdigest(),
            }
        if recursive or len(parts) == 1:
            entries[path] = _file(path, data)
    return list(entries.values())


def _file(path: str, data: bytes) -> dict:
    entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
    if len(data) > LARGE:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry
