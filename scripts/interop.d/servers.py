"""The servers that peers talk to: fanwire-server and the echo example on one driver, or behind nginx.

In      binaries, built here unless named; a setting: `uring`, `epoll`, or `nginx` (in front of whatever driver works)
Out     running servers and the URLs under which peers reach them
Bounds  READY_SECONDS_MAX until one is ready, STOP_SECONDS_MAX until it is gone
"""

import os
import pathlib
import re
import selectors
import subprocess
import time

import nginx
from missing import Missing

SETTINGS = ["uring", "epoll", "nginx"]


class World:
    """One setting: what all servers in it have in common."""

    def __init__(self, binaries, folder, cache, setting):
        self.binaries, self.setting, self.cache = binaries, setting, cache
        self.folder = folder / setting
        self.folder.mkdir()
        self.is_proxied = setting == "nginx"
        self.driver = "auto" if self.is_proxied else setting
        self.proxy = nginx.Installed(cache, self.folder) if self.is_proxied else None

    def server(self, name, *arguments):
        return Server(self, "server", name, ["--log", "warn", "--drain-timeout", "5s", *arguments])

    def echo(self, name):
        return Server(self, "echo", name, [])

    def environment(self):
        """What peers need to trust the proxy's certificate."""
        return self.proxy.trust() if self.proxy else {}


class Server:
    """Runs while the `with` block does. `restart` starts it anew at the same port."""

    def __init__(self, world, kind, name, arguments):
        self.world, self.kind = world, kind
        self.arguments = arguments
        self.log = world.folder / f"{name}.log"
        self.child = self.front = None
        self.port = 0

    def __enter__(self):
        try:
            self.start()
            if self.world.proxy:
                self.front = self.world.proxy.in_front_of(
                    self.port, self.log.with_suffix(".nginx"), nginx.HTTP
                )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.front:
            self.front.stop()
        self.kill()

    def start(self):
        with self.log.open("ab") as sink:
            self.child = subprocess.Popen(
                [
                    self.world.binaries[self.kind],
                    "--listen",
                    f"127.0.0.1:{self.port}",
                    "--driver",
                    self.world.driver,
                    "--shards",
                    "2",
                    *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                env=ENVIRONMENT,
            )
        self.said = b""
        self.port = self.await_port(READY)
        self.assert_driver()

    def terminate(self):
        """As an operator would: it drains."""
        self.child.terminate()

    def await_end(self):
        """Its exit status, None if it did not end."""
        try:
            return self.child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return None

    @property
    def address(self):
        """Where peers connect: the server, or nginx in front of it."""
        return ("127.0.0.1", self.front.port if self.front else self.port)

    @property
    def url(self):
        return f"{'wss' if self.front else 'ws'}://127.0.0.1:{self.address[1]}/ws"

    @property
    def origin(self):
        """Of the pages that come from where peers connect."""
        return f"{'https' if self.front else 'http'}://127.0.0.1:{self.address[1]}"

    def await_port(self, pattern):
        """The first group of what it says when it starts."""
        deadline_s = time.monotonic() + READY_SECONDS_MAX
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            while not (found := pattern.search(self.said)):
                is_readable = selector.select(max(0, deadline_s - time.monotonic()))
                part = os.read(self.child.stdout.fileno(), 4096) if is_readable else b""
                if not part:
                    raise Missing(f"{self.kind} on {self.world.driver} does not start: {self.last_words()}")
                self.said += part
        return int(found.group(1))

    def assert_driver(self):
        """A server that fell back to the other driver would pass in its name."""
        links = []
        for link in pathlib.Path(f"/proc/{self.child.pid}/fd").iterdir():
            try:
                links.append(os.readlink(link))
            except FileNotFoundError:
                pass  # closed meanwhile
        has_ring = "anon_inode:[io_uring]" in links
        if self.world.driver != "auto" and has_ring != (self.world.driver == "uring"):
            raise Missing(
                f"{self.kind}: asked for {self.world.driver}, and it {'uses' if has_ring else 'does not use'} io_uring"
            )

    def kill(self):
        if self.child and self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.child:
            self.child.stdout.close()

    def last_words(self):
        return self.log.read_text("utf-8", "replace")[-1000:].strip() or "it said nothing on stderr"


def build(root):
    """The binaries under test."""
    named = {"server": os.environ.get("SERVER_UNDER_TEST"), "echo": os.environ.get("ECHO_UNDER_TEST")}
    target = root / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
    made = {"server": target / "fanwire-server", "echo": target / "examples" / "echo"}
    steps = {"server": ["--package", "fanwire-server"], "echo": ["--package", "fanwire", "--example", "echo"]}
    for kind, step in steps.items():
        if named[kind]:
            continue
        try:
            subprocess.run(["cargo", "build", "--release", *step], cwd=root, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Missing(f"{kind} does not build: {error}") from None
    return {kind: named[kind] or str(made[kind]) for kind in made}


# The server reads its settings from there, too: those of whoever runs this are not for the tests.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FANWIRE_")}
READY = re.compile(rb"listening on ws://127\.0\.0\.1:([1-9][0-9]*)/ws\s")
READY_FOR_PROXIES = re.compile(rb"proxies on ws://127\.0\.0\.1:([1-9][0-9]*)/ws\s")
API = re.compile(rb"http://127\.0\.0\.1:([1-9][0-9]*)/api/info")
READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 15
