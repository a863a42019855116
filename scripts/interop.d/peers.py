"""The peers: how each is had on this machine, and how it is talked to.

In      pinned versions (requirements.txt, package-lock.json, Cargo.lock), Debian's packages for Go; what this machine has
Out     a command for each peer; a process that takes one behaviour per line and answers with one line
Bounds  INSTALL_SECONDS_MAX for each step; a second call builds and fetches nothing that is there
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import selectors
import shutil
import subprocess
import sys
import time
from typing import Callable

import debian
from missing import Missing


@dataclasses.dataclass
class Peer:
    """Somebody's WebSocket client."""

    name: str
    # From the cache folder to the command that runs it; raises `Missing`.
    ensure: Callable
    # Whether it runs behind nginx as well: not those whose TLS would be another library's.
    behind_nginx: bool = False


class Process:
    """A peer that runs: each line it reads is a behaviour with its numbers, each line it writes is an answer:

    `{"passed": true}`, `{"failed": WHY}`, `{"cannot": WHY}`, or `{"ready": true}` when it waits for something to
    happen. Its first line says who it is.
    """

    def __init__(self, name, command, folder, environment):
        self.name, self.command = name, command
        self.environment = {**os.environ, **environment}
        self.log = folder / "peer.log"
        self.child, self.said = None, b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def hello(self):
        """Its name and version; starts it."""
        try:
            return self.started()["peer"]
        except (Broken, KeyError) as error:
            return f"{self.name}, which does not start: {error}"

    def ask(self, request, seconds_max, on_ready):
        if self.child is None:
            self.started()
        deadline_s = time.monotonic() + seconds_max
        try:
            self.child.stdin.write(json.dumps(request).encode() + b"\n")
            self.child.stdin.flush()
            times = 0
            while "ready" in (answer := self.line(deadline_s)):
                times += 1
                on_ready(times)
            return answer
        except (Broken, OSError) as error:
            # What it was in the middle of is unknown: the next behaviour gets a new one.
            self.end()
            raise Broken(f"{error}; {self.last_words()}") from None

    def started(self):
        with self.log.open("ab") as sink:
            self.child = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=sink
            )
        self.said = b""
        return self.line(time.monotonic() + HELLO_SECONDS_MAX)

    def line(self, deadline_s):
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            while b"\n" not in self.said:
                if not selector.select(max(0, deadline_s - time.monotonic())):
                    raise Broken("it did not answer in time")
                part = os.read(self.child.stdout.fileno(), 65_536)
                if not part:
                    raise Broken("it ended")
                self.said += part
        line, _, self.said = self.said.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            raise Broken(f"not an answer: {line[:200]!r}") from None

    def end(self):
        """At the end of its input it ends by itself, as Chromium's has a browser to close."""
        if self.child is None:
            return
        try:
            self.child.stdin.close()
        except OSError:
            pass  # it has ended
        try:
            self.child.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.child.terminate()
            try:
                self.child.wait(END_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child.stdout.close()
        self.child = None

    def last_words(self):
        return self.log.read_text("utf-8", "replace")[-600:].strip() or "it said nothing on stderr"


def python(module):
    def ensure(cache):
        venv, wanted = cache / "python", HERE / "python" / "requirements.txt"
        stamp = venv / "interop.stamp"
        fingerprint = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
        if not stamp.exists() or stamp.read_text() != fingerprint:
            shutil.rmtree(venv, ignore_errors=True)
            install([sys.executable, "-m", "venv", str(venv)], "no venv (install python3-venv)")
            install(
                [
                    str(venv / "bin" / "pip"),
                    "install",
                    "-q",
                    "--disable-pip-version-check",
                    "--only-binary",
                    ":all:",
                    "-r",
                    str(wanted),
                ],
                "the package registry did not give what requirements.txt names",
            )
            stamp.write_text(fingerprint)
        return [str(venv / "bin" / "python"), "-B", str(HERE / "python" / module)]

    return ensure


def node(module, *flags):
    def ensure(cache):
        if not shutil.which("node") or not shutil.which("npm"):
            raise Missing("install Node 20 or later, with npm")
        js = HERE / "js"
        installed, wanted = js / "node_modules" / ".package-lock.json", js / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
            install(
                ["npm", "ci", "--no-audit", "--no-fund"],
                "the package registry did not give what package-lock.json names",
                cwd=js,
            )
        # In Node 20 the client is there, and hidden.
        return ["node", *(flag for flag in flags if node_takes(flag)), str(js / module)]

    return ensure


def chromium(cache):
    browser = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if not os.access(browser, os.X_OK):
        raise Missing(f"there is no {browser}: install Chromium, or set CHROMIUM")
    return [*node("chromium.mjs")(cache), browser]


def go(cache):
    """The gorilla package and Go are Debian's: of this machine if it has them, else unpacked."""
    compiler, path = shutil.which("go"), pathlib.Path("/usr/share/gocode")
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
        "GOCACHE": str(cache / "go-build"),
        "GOFLAGS": "",
    }
    if not compiler or not (path / GORILLA).exists():
        folder = debian.unpack(
            cache / "go", ["golang-1.19-go", "golang-1.19-src", "golang-github-gorilla-websocket-dev"]
        )
        root = folder / "usr" / "lib" / "go-1.19"
        compiler, path = str(root / "bin" / "go"), folder / "usr" / "share" / "gocode"
        environment["GOROOT"] = str(root)
    environment["GOPATH"] = str(path)
    binary, sources = cache / "go-gorilla", sorted((HERE / "go").glob("*.go"))
    version = debian_version("golang-github-gorilla-websocket-dev") or "of Debian 12 (1.5.0)"
    newest_s = max(source.stat().st_mtime for source in sources)
    if not binary.exists() or binary.stat().st_mtime < newest_s:
        install(
            [compiler, "build", "-ldflags", f"-X 'main.gorilla={version}'", "-o", str(binary)]
            + [str(source) for source in sources],
            "Go does not build it",
            env=environment,
        )
    return [str(binary)]


def rust(name):
    def ensure(cache):
        manifest, target = HERE / "rust" / "Cargo.toml", cache / "rust"
        install(
            [
                "cargo",
                "build",
                "--release",
                "--locked",
                "--manifest-path",
                str(manifest),
                "--target-dir",
                str(target),
            ],
            "cargo does not build it",
        )
        return [str(target / "release" / name)]

    return ensure


def install(command, what, **options):
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=INSTALL_SECONDS_MAX,
            **options,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{what}: {error}") from None
    if done.returncode != 0:
        raise Missing(f"{what}: {done.stdout.strip()[-1500:]}")


def node_takes(flag):
    return subprocess.run(["node", flag, "--eval", "0"], capture_output=True).returncode == 0


def debian_version(package):
    """As installed; None if it is not."""
    try:
        done = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout or None


class Broken(Exception):
    """A peer ended, hung, or did not speak as it should."""


HERE = pathlib.Path(__file__).resolve().parent
GORILLA = "src/github.com/gorilla/websocket"
INSTALL_SECONDS_MAX = 900
HELLO_SECONDS_MAX = 60
END_SECONDS_MAX = 10

ALL = [
    Peer("chromium", chromium, behind_nginx=True),
    Peer("node", node("native.mjs", "--experimental-websocket"), behind_nginx=True),
    Peer("ws", node("ws.mjs"), behind_nginx=True),
    Peer("websockets", python("websockets_peer.py"), behind_nginx=True),
    Peer("aiohttp", python("aiohttp_peer.py"), behind_nginx=True),
    Peer("gorilla", go, behind_nginx=True),
    Peer("tokio-tungstenite", rust("tokio-tungstenite")),
    Peer("fastwebsockets", rust("fastwebsockets")),
]
