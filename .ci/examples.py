"""Starts an example, does what it is there for, and ends it as its user would.

In      `NAME PROGRAM`: chat, ticker, presence, cursors, sessions or worker, and where it was built
Out     one line per check; exit status 0 if all hold
Bounds  SECONDS_MAX for each wait; the program is ended by its process id
Source  docs/examples.md
"""

import base64
import http.client
import os
import re
import signal
import socket
import struct
import sys

sys.dont_write_bytecode = True
from smoke import Program, SECONDS_MAX, WebSocket, expect, get


def main():
    kind, program = sys.argv[1:]
    options = {"ticker": ["--quotes-per-second", "20000"], "presence": ["--timeout-seconds", "1"]}.get(
        kind, []
    )
    with Program([program, "--listen", "127.0.0.1:0", *options]) as running:
        address = running.await_address()
        last = CHECKS[kind](running, address)
        running.child.send_signal(signal.SIGINT)
        expect(code_of_close(last) == 1001, "Ctrl-C closes sessions with 1001")
        expect(running.child.wait(SECONDS_MAX) == 0, "and the example ends with 0")
    with Program([program, "--listen", "127.0.0.1:0", "--for-seconds", "1"]) as running:
        expect(running.child.wait(SECONDS_MAX) == 0, "--for-seconds 1 ends it")
    return 0


def check_chat(_, address):
    expect_page(address, b"Chat")
    expect(status(address, "/ws") == 401, "nobody is let in without a name")
    ada, bob = Peer(address, "/ws?name=ada"), Peer(address, "/ws?name=Bob%20%C3%A9")
    ada.send_json("say", {"text": "too early"})
    expect(ada.receive_json()["topic"] == "error", "who is in no room is told so")
    ada.send_json("enter", {"room": "lobby"})
    expect(ada.line() == ("ada", "enters", None), "ada is in the lobby")
    bob.send_json("enter", {"room": "lobby"})
    expect(ada.line() == bob.line() == ("Bob é", "enters", None), "both see Bob enter")
    bob.send_json("say", {"text": 'hello "all"'})
    expect(ada.line() == bob.line() == ("Bob é", "says", 'hello "all"'), "both hear what Bob says")
    bob.send_json("enter", {"room": "attic"})
    expect(ada.line() == ("Bob é", "leaves", None), "ada sees Bob leave")
    expect(bob.line() == ("Bob é", "enters", None), "Bob is in the attic")
    bob.send_json("say", {"text": "nobody hears this"})
    expect(bob.line() == ("Bob é", "says", "nobody hears this"), "Bob hears himself")
    bob.send_json("enter", {"room": "lobby"})
    expect(ada.line() == ("Bob é", "enters", None), "and ada has heard nothing of the attic")
    bob.lose()
    expect(ada.line() == ("Bob é", "leaves", None), "a connection that is lost leaves")
    return ada


def check_ticker(running, address):
    expect_page(address, b"Ticker")
    fast = Peer(address, "/ws")
    fast.send_json("watch", {"symbols": ["ZZZ"]})
    expect(fast.receive_json()["topic"] == "error", "a symbol that there is not is refused")
    fast.send_json("watch", {"symbols": ["AAA"]})
    numbers = [fast.receive_json()["data"]["number"] for _ in range(200)]
    # The first is the latest before it came, which the next may be again.
    expect(numbers[1:] == sorted(set(numbers[1:])), "prices come in order")
    slow = Peer(address, "/ws", receive_buffer_bytes=4096)
    slow.send_json("watch", {"symbols": ["AAA", "BBB", "CCC"]})
    fast.lose()
    while not re.search(rb"dropped [1-9]", running.said):
        running.said = running.said[-100:] + os.read(running.child.stdout.fileno(), 4096)
    expect(True, "a client that does not read has prices dropped")
    other = Peer(address, "/ws")
    other.send_json("watch", {"symbols": ["AAA"]})
    latest = other.receive_json()["data"]["number"]
    other.lose()
    gap, number = 0, 0
    while number < latest:
        quote = slow.receive_json()["data"]
        gap = max(gap, quote["number"] - number if number else 0)
        number = max(number, quote["number"])
    expect(gap > 100, f"it reads on with newer ones, after a gap of {gap}")
    return slow


def check_presence(_, address):
    expect_page(address, b"Who is here")
    expect(status(address, "/ws?room=r") == 401, "nobody is let in without a name")
    # Who reads answers pings, as a browser does.
    ada = Peer(address, "/ws?room=r&name=ada")
    expect(ada.people() == ["ada"], "ada is told that she is alone")
    elsewhere = Peer(address, "/ws?room=other&name=eve")
    bob = Peer(address, "/ws?room=r&name=bob")
    expect(bob.people() == ["ada", "bob"], "bob is told who is here")
    expect(ada.event() == ("bob", "here"), "ada is told of bob, and of nobody elsewhere")
    bob.send(8, struct.pack("!H", 1000))
    expect(ada.event() == ("bob", "gone"), "who closes is gone")
    carl = Peer(address, "/ws?room=r&name=carl")
    expect(ada.event() == ("carl", "here"), "carl comes")
    carl.lose()
    expect(ada.event() == ("carl", "lost"), "whose connection breaks is lost")
    dora = Peer(address, "/ws?room=r&name=dora")
    expect(ada.event() == ("dora", "here"), "dora comes")
    expect(ada.event() == ("dora", "timed out"), "who answers no pings is timed out")
    expect(dora.people() == ["ada", "dora"], "though she was told who was here")
    elsewhere.lose()
    return ada


def check_cursors(_, address):
    expect_page(address, b"Cursors")
    one, two = Peer(address, "/ws"), Peer(address, "/ws")
    one.send(1, b"text is ignored")
    one.send(2, b"and so is what is longer")
    one.send(2, struct.pack("!HH", 1000, 65535))
    opcode, payload = two.receive()
    number, x, y = struct.unpack("!IHH", payload)
    expect((opcode, x, y) == (2, 1000, 65535), "the other sees where it points")
    two.send(2, struct.pack("!HH", 1, 2))
    expect(one.receive()[1][4:] == struct.pack("!HH", 1, 2), "and the other way round, but not its own")
    one.send(8, struct.pack("!H", 1000))
    expect(two.receive() == (2, struct.pack("!I", number)), "a cursor that is gone is told by its number")
    return two


def check_sessions(_, address):
    expect_page(address, b"Sessions from cookies")
    expect(status(address, "/ws") == 401, "nobody is let in without a cookie")
    expect(status(address, "/ws", Cookie="session=guessed") == 401, "nor with one that was never given")
    cookie = login(address, "ada")
    expect(
        "HttpOnly" in cookie and "SameSite=Strict" in cookie,
        "the cookie is out of reach of scripts and other pages",
    )
    ada = {"Cookie": "theme=dark; " + cookie.partition(";")[0]}
    expect(
        status(address, "/ws", Origin="https://elsewhere.example", **ada) == 403,
        "a page of another origin is refused",
    )
    window = Peer(address, "/ws", Origin=f"http://{address[0]}:{address[1]}", **ada)
    other = Peer(address, "/ws", Cookie=login(address, "bob").partition(";")[0])
    welcomes = [window.receive_json(), other.receive_json()]
    expect([one["data"] for one in welcomes] == ["ada", "bob"], "both are told who they are")
    window.send_json("say", "hello")
    expect(
        window.receive_json() == other.receive_json() == {"topic": "room", "data": 'ada: "hello"'},
        "everybody sees who has said it",
    )
    expect(post(address, "/logout", headers=ada).status == 204, "ada signs out")
    expect(code_of_close(window) == 4001, "that closes her WebSocket with 4001")
    expect(status(address, "/ws", **ada) == 401, "and the cookie is worth nothing any more")
    other.send_json("say", "bye")
    expect(other.receive_json()["data"] == 'bob: "bye"', "others stay")
    return other


def check_worker(_, address):
    one, two = Peer(address, "/ws"), Peer(address, "/ws")
    for steps in [0, 101, "many"]:
        one.send_json("order", steps)
        expect(one.receive_json()["topic"] == "error", f"{steps} steps are refused")
    two.send_json("watch", 1)
    two.send_json("order", "an answer, so the one before is done")
    expect(two.receive_json()["topic"] == "error", "two watches")
    one.send_json("order", 3)
    wanted = [{"topic": "job:1", "data": {"step": step, "of": 3}} for step in [1, 2, 3]]
    expect([one.receive_json() for _ in wanted] == wanted, "who orders hears of each step")
    expect([two.receive_json() for _ in wanted] == wanted, "and so does who watches")
    for _ in range(80):
        one.send_json("order", 100)
    while one.receive_json()["topic"] != "error":
        pass
    expect(True, "more than may wait is refused")
    return two


class Peer(WebSocket):
    """A client with headers of its own that answers pings while it reads."""

    def __init__(self, address, target, receive_buffer_bytes=None, **headers):
        self.stream = socket.socket()
        if receive_buffer_bytes:
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.stream.settimeout(SECONDS_MAX)
        self.stream.connect(address)
        self.read = self.stream.makefile("rb")
        lines = [
            f"GET {target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in request_headers(address, headers).items()),
        ]
        self.stream.sendall("\r\n".join([*lines, "", ""]).encode())
        status = self.read.readline()
        expect(b" 101 " in status, f"{target} is upgraded")
        while self.read.readline() not in (b"\r\n", b""):
            pass

    def receive(self):
        while (message := super().receive())[0] == 9:
            self.send(10, message[1])
        return message

    def lose(self):
        """As when a cable is cut, but at once."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.read.close()
        self.stream.close()

    def line(self):
        """Of the chat."""
        data = self.receive_json()["data"]
        return data["from"], data["does"], data.get("text")

    def people(self):
        message = self.receive_json()
        expect(message["topic"] == "here", "the list comes first")
        return sorted(one["name"] for one in message["data"])

    def event(self):
        data = self.receive_json()["data"]
        return data["name"], data["is"]


def code_of_close(peer):
    """Reads until the close frame and answers it."""
    while (message := peer.receive())[0] != 8:
        pass
    peer.send(8, message[1][:2])
    return int.from_bytes(message[1][:2], "big")


def request_headers(address, more):
    return {
        "Host": f"{address[0]}:{address[1]}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **more,
    }


def status(address, target, **headers):
    """With which a handshake is answered."""
    connection = http.client.HTTPConnection(*address, timeout=SECONDS_MAX)
    connection.request("GET", target, headers=request_headers(address, headers))
    return connection.getresponse().status


def post(address, path, body="", headers=None):
    connection = http.client.HTTPConnection(*address, timeout=SECONDS_MAX)
    connection.request("POST", path, body=body, headers=headers or {})
    return connection.getresponse()


def login(address, name):
    return post(address, "/login", name).getheader("Set-Cookie")


def expect_page(address, title):
    code, page = get(address, "/")
    is_its_own = b"<title>" + title in page or b"<h1>" + title in page
    expect(code == 200 and is_its_own, "GET / is its page")


CHECKS = {
    "chat": check_chat,
    "ticker": check_ticker,
    "presence": check_presence,
    "cursors": check_cursors,
    "sessions": check_sessions,
    "worker": check_worker,
}

if __name__ == "__main__":
    sys.exit(main())
