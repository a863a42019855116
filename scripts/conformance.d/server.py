"""The echo example as a child process: built, started, watched, stopped by its process id.

In      the repository, a driver
Out     the URL it listens on
Bounds  READY_SECONDS_MAX until it is ready, STOP_SECONDS_MAX until it is gone
"""

import json
import os
import pathlib
import re
import selectors
import socket
import subprocess
import time
import urllib.parse


class Server:
    """Runs while the `with` block does."""

    def __init__(self, binary, driver, log):
        self.driver = driver
        self.log = log
        with log.open("wb") as sink:
            self.child = subprocess.Popen(
                [binary, "--listen", "127.0.0.1:0", "--driver", driver, "--message-bytes-max", str(MESSAGE_BYTES_MAX)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=sink)

    def __enter__(self):
        try:
            self.url = self.await_url()
            self.assert_driver()
            self.assert_no_compression()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def await_url(self):
        """Waits for the line in which the server says where it listens."""
        said = b""
        deadline_s = time.monotonic() + READY_SECONDS_MAX
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            while b"\n" not in said:
                if not selector.select(deadline_s - time.monotonic()):
                    raise Failed(f"{self.driver}: the server was not ready after {READY_SECONDS_MAX} s")
                part = os.read(self.child.stdout.fileno(), 4096)
                if not part:
                    raise Failed(f"{self.driver}: the server ended before it was ready: {self.last_words()}")
                said += part
        found = READY.match(said.decode("utf-8", "replace"))
        if not found:
            raise Failed(f"{self.driver}: not the line of a server that is ready: {said!r}")
        return found.group(1)

    def assert_driver(self):
        """A server that fell back to the other driver would pass in its name."""
        links = [os.readlink(link) for link in pathlib.Path(f"/proc/{self.child.pid}/fd").iterdir()]
        has_ring = "anon_inode:[io_uring]" in links
        if has_ring != (self.driver == "uring"):
            raise Failed(f"{self.driver}: the server {'uses' if has_ring else 'does not use'} io_uring: {self.last_words()}")

    def assert_no_compression(self):
        """Sections 12 and 13 are left out for as long as an offer of compression is not taken, and no longer."""
        address = urllib.parse.urlsplit(self.url)
        request = OFFER.format(path=address.path, host=address.netloc)
        with socket.create_connection((address.hostname, address.port), READY_SECONDS_MAX) as connection:
            connection.sendall(request.encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                part = connection.recv(4096)
                if not part:
                    break
                answer += part
        if not answer.startswith(b"HTTP/1.1 101 "):
            raise Failed(f"{self.driver}: a handshake that offers compression was answered with {answer[:200]!r}")
        if b"sec-websocket-extensions:" in answer.lower():
            raise Failed(f"{self.driver}: the server compresses: take sections 12 and 13 from LEFT_OUT in cases.py")

    def assert_alive(self):
        if self.child.poll() is not None:
            raise Failed(f"{self.driver}: the server ended during the run, status {self.child.returncode}: {self.last_words()}")

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.child.stdout.close()

    def last_words(self):
        return self.log.read_text("utf-8", "replace")[-2000:].strip() or "it said nothing on stderr"


def build(root):
    """Builds the example and returns the path of its binary, as cargo reports it."""
    command = ["cargo", "build", "--release", "-p", "fanwire", "--example", "echo", "--message-format=json-render-diagnostics"]
    try:
        run = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotBuilt(f"the echo example does not build: {error}") from None
    for line in run.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "echo":
            return message["executable"]
    raise NotBuilt("cargo reported no binary of the echo example")


class Failed(Exception):
    """The server did not start, used another driver, or ended."""


class NotBuilt(Exception):
    """There is no server to test."""


READY = re.compile(r"listening on (ws://127\.0\.0\.1:[1-9][0-9]*/\S*)\s*\n")
OFFER = ("GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
# The longest message of section 9. The library's default, 4 MiB, is not for a conformance suite to change.
MESSAGE_BYTES_MAX = 16 << 20
READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10
