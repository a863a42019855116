"""Starts a program, talks to it once, ends it.

In      `server|echo|rooms PROGRAM [ARGUMENTS]`: fanwire-server, or one of the examples
Out     one line per check; exit status 0 if all hold
Bounds  SECONDS_MAX for each wait; the program is ended by its process id
"""

import base64
import http.client
import json
import os
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time


def main():
    kind, program, *arguments = sys.argv[1:]
    with Program([program, "--listen", "127.0.0.1:0", *arguments]) as running:
        CHECKS[kind](running)
    return 0


def check_server(running):
    address = running.await_address()
    page = get(address, "/")
    expect(page[0] == 200 and b"<html" in page[1].lower(), "GET / is a page")
    health = get(address, "/healthz")
    expect(health[0] == 200 and health[1].strip() == b"ok", "GET /healthz says ok")
    client = WebSocket(address, "/ws")
    client.send_json("subscribe", {"topic": "news"})
    expect(client.receive_json() == {"topic": "subscribed", "data": {"topic": "news"}}, "subscribe is acknowledged")
    client.send_json("publish", {"topic": "news", "data": [1, "two"]})
    expect(client.receive_json() == {"topic": "news", "data": [1, "two"]}, "what is published arrives")
    running.child.send_signal(signal.SIGTERM)
    opcode, payload = client.receive()
    expect(opcode == 8 and payload[:2] == b"\x03\xe9", "SIGTERM closes sessions with 1001")
    client.send(8, payload[:2])
    expect(running.child.wait(SECONDS_MAX) == 0, "and the server ends with 0")


def check_echo(running):
    client = WebSocket(running.await_address(), "/ws")
    for opcode, payload in [(1, b"hello"), (2, bytes(range(256)) * 300)]:
        client.send(opcode, payload)
        expect(client.receive() == (opcode, payload), f"{len(payload)} bytes come back")


def check_rooms(running):
    client = WebSocket(running.await_address(), "/ws?token=ada")
    client.send_json("count", None)
    expect(client.receive_json() == {"topic": "count", "data": {"sessions": 1}}, "one session is counted")


class Program:
    """Runs while the `with` block does."""

    def __init__(self, command):
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def await_address(self):
        """Waits for the line in which the program says where it listens."""
        deadline_s = time.monotonic() + SECONDS_MAX
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            while not (found := ADDRESS.search(self.said)):
                part = os.read(self.child.stdout.fileno(), 4096) if selector.select(deadline_s - time.monotonic()) else b""
                if not part:
                    self.give_up()
                self.said += part
        return found.group(1).decode(), int(found.group(2))

    def give_up(self):
        said = self.said.decode("utf-8", "replace").strip()
        sys.exit(f"not ready after {SECONDS_MAX} s, or ended; it said: {said}")


class WebSocket:
    """As much of a client as the checks need: small whole messages."""

    def __init__(self, address, target):
        self.stream = socket.create_connection(address, SECONDS_MAX)
        self.read = self.stream.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self.stream.sendall((f"GET {target} HTTP/1.1\r\nHost: {address[0]}:{address[1]}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        status = self.read.readline()
        expect(b" 101 " in status, f"{target} is upgraded")
        while self.read.readline() not in (b"\r\n", b""):
            pass

    def send(self, opcode, payload):
        mask = os.urandom(4)
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self.stream.sendall(head + mask + masked)

    def receive(self):
        first, length = self.read.read(2)
        if length == 126:
            (length,) = struct.unpack("!H", self.read.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.read.read(8))
        return first & 0x0F, self.read.read(length)

    def send_json(self, topic, data):
        message = {"topic": topic} if data is None else {"topic": topic, "data": data}
        self.send(1, json.dumps(message).encode())

    def receive_json(self):
        return json.loads(self.receive()[1])


def get(address, path):
    connection = http.client.HTTPConnection(*address, timeout=SECONDS_MAX)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def expect(holds, what):
    print(("ok: " if holds else "NOT SO: ") + what, flush=True)
    if not holds:
        sys.exit(1)


CHECKS = {"server": check_server, "echo": check_echo, "rooms": check_rooms}
ADDRESS = re.compile(rb"(?:ws|http)://(127\.0\.0\.1):([1-9][0-9]*)/")
SECONDS_MAX = 20

if __name__ == "__main__":
    sys.exit(main())
