"""What every peer does with a server, and what that needs: the list of docs/interoperation.md.

In      a peer's process, a scene of servers that are its own
Out     a verdict for each behaviour
Bounds  one behaviour of a peer at a time, with the time limit that is given
"""

import contextlib
import dataclasses
import time
from typing import Callable

import peers
import tokens
from tap import Tap


@dataclasses.dataclass
class Verdict:
    """`ok`, `FAILED`, `-` if the peer's API cannot do it, `cut` if a proxy may do that; and why."""

    word: str
    why: str = ""


@dataclasses.dataclass
class Behaviour:
    """One row of the table."""

    name: str
    # What the peer is told; it does what is called `does`.
    ask: Callable
    does: str = ""
    # The server whose wire is looked at, and what must be seen on it: a function from the tap to a complaint or None.
    tapped: str = ""
    seen: Callable = lambda tap: None
    # What happens each time the peer says that it is ready for it.
    on_ready: Callable = lambda scene, times: None
    # What must hold afterwards: a function from the scene to a complaint or None.
    after: Callable = lambda scene: None
    proxied_only: bool = False
    # Any of these words in a complaint says that the proxy cut the connection, where it may.
    may_be_cut: tuple = ()

    def applies(self, world):
        return world.is_proxied or not self.proxied_only

    def run(self, process, scene, seconds_max):
        with contextlib.ExitStack() as stack:
            tap = None
            if self.tapped and not scene.world.is_proxied:
                tap = stack.enter_context(Tap(getattr(scene, self.tapped).port))
                scene.tapped_port = tap.port
            try:
                asked = {"behaviour": self.does or self.name, **self.ask(scene)}
                answer = process.ask(asked, seconds_max, lambda times: self.on_ready(scene, times))
            except peers.Broken as error:
                return Verdict("FAILED", str(error))
            finally:
                scene.tapped_port = None
            if "cannot" in answer:
                return Verdict("-", answer["cannot"])
            complaint = answer.get("failed") or (tap and self.seen(tap)) or self.after(scene)
            if not complaint:
                return Verdict("ok")
            is_cut = scene.world.is_proxied and any(word in complaint.lower() for word in self.may_be_cut)
            return Verdict("cut" if is_cut else "FAILED", complaint)


class Scene:
    """The servers of one peer in one setting."""

    def __init__(self, world, name, is_short):
        self.world, self.name, self.is_short = world, name, is_short
        self.folder = world.folder / name
        self.tapped_port = None
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        self.folder.mkdir(exist_ok=True)
        key = self.folder / "secret"
        key.write_text(tokens.SECRET)
        try:
            # Behind nginx the pings must come more often than its time limit for silence, as in earnest.
            pings = ["--ping", f"{PING_MS}ms", "--idle", f"{IDLE_MS}ms"]
            self.main = self.stack.enter_context(
                self.world.server(f"{self.name}/main", *pings, "--read-limit", str(READ_LIMIT_BYTES))
            )
            self.tokens = self.stack.enter_context(
                self.world.server(
                    f"{self.name}/tokens",
                    *pings,
                    "--auth",
                    "jwt",
                    "--auth-key-file",
                    str(key),
                    "--auth-leeway",
                    "0s",
                    "--auth-warning",
                    "1s",
                    *(f"--auth-token-from={place}" for place in ["header", "protocol", "query"]),
                )
            )
            self.echo = self.stack.enter_context(self.world.echo(f"{self.name}/echo"))
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def url(self, server):
        """Of the tap, while there is one."""
        return f"ws://127.0.0.1:{self.tapped_port}/ws" if self.tapped_port else server.url

    def count(self, count):
        return count // 5 if self.is_short else count


# --- what is asked; each peer has a function of the same name ---


def at_main(scene, **more):
    return {"url": scene.url(scene.main), "topic": "interop", **more}


def small(scene):
    return at_main(scene, count=scene.count(5000), window=100, texts=SMALL_TEXTS)


def large(scene):
    return at_main(scene, count=scene.count(300), window=50, texts=LARGE_TEXTS)


def raw(scene):
    return {"url": scene.echo.url, "lengths": LENGTHS, "texts": SMALL_TEXTS + LARGE_TEXTS}


def limit(scene):
    return at_main(scene, bytes=READ_LIMIT_BYTES + 50_000, code=1009, reason="message longer than the limit")


def origin(scene):
    return at_main(scene, own=scene.main.origin, foreign="https://elsewhere.example", status=403)


def token(scene):
    return {
        "url": scene.tokens.url,
        "good": tokens.token("ada", 600),
        "status": 401,
        "bad": [tokens.token("ada", 600, tokens.OTHER_SECRET), tokens.token("ada", -60)],
    }


def expiry(scene):
    # Whole seconds: it ends in one to two. The server warns one second before.
    return {
        "url": scene.tokens.url,
        "short": tokens.token("ada", 2),
        "fresh": tokens.token("ada", 600),
        "code": 4001,
        "reason": "the token has expired",
    }


# --- what must be seen on the wire, so that a peer that did less than it was asked does not pass ---


def saw_offer(tap):
    for one in tap.upgraded():
        if b"permessage-deflate" not in one.request.lower():
            return "the peer did not offer permessage-deflate: this shows nothing"
        if b"sec-websocket-extensions" in one.response.lower():
            return "the server took an extension: mend docs/protocol.md, and what the peers expect"
        if any(frame.reserved for frame in one.frames):
            return "the peer sent frames with a reserved bit set, though nothing was negotiated"
    return None if tap.upgraded() else "no handshake was seen"


def saw_fragments(tap):
    frames = [frame for one in tap.upgraded() for frame in one.frames]
    pieces = [frame for frame in frames if not frame.is_final or frame.opcode == 0]
    return (
        None
        if len(pieces) >= 3
        else f"the peer sent {len(pieces)} fragments, 3 or more are needed: this shows nothing"
    )


def saw_opcode(opcode, what, at_least=1):
    def look(tap):
        count = sum(frame.opcode == opcode for one in tap.upgraded() for frame in one.frames)
        return (
            None
            if count >= at_least
            else f"the peer sent {count} {what}, {at_least} or more are needed: this shows nothing"
        )

    return look


# --- what happens when the peer is ready ---


def drain(scene, _times):
    scene.main.terminate()


def drained(scene):
    status = scene.main.await_end()
    if status != 0:
        return f"the server ended with {status} and not with 0 after SIGTERM: {scene.main.last_words()}"
    scene.main.start()
    return None


def restart(scene, times):
    """Down when the peer is connected, up again when it has been refused."""
    if times == 1:
        scene.main.terminate()
        if scene.main.await_end() != 0:
            raise peers.Broken(f"the server did not end well: {scene.main.last_words()}")
    else:
        # Not at once: it has to come back by itself, whenever that is.
        time.sleep(0.3)
        scene.main.start()


READ_LIMIT_BYTES = 256 << 10
PING_MS = 300
IDLE_MS = 1500
SILENCE_MS = 3000
LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 100_001]
# One, two, three and four bytes of UTF-8, a surrogate pair, line ends that JavaScript once took for its own, a NUL.
WORDS = 'Grüße, 漢字, naïve, \U0001f980\U0001f468‍\U0001f469‍\U0001f467, \u2028 \u0000 "\\/ ¢ \U0010ffff'
SMALL_TEXTS = ["", "a", "é", "\U0001f980", WORDS, WORDS * 3, "x" * 125, "x" * 126]
LARGE_TEXTS = [(WORDS * 2000).encode()[:65_000].decode("utf-8", "ignore"), "y" * (64 << 10)]

ALL = [
    Behaviour("subprotocol", at_main),
    Behaviour("requests", at_main),
    Behaviour("small", small, does="order"),
    Behaviour("large", large, does="order"),
    Behaviour("raw", raw),
    Behaviour("fragments", lambda scene: at_main(scene, text=WORDS), tapped="main", seen=saw_fragments),
    Behaviour("ping", at_main, tapped="main", seen=saw_opcode(9, "pings")),
    Behaviour(
        "keepalive",
        lambda scene: at_main(scene, silence_ms=SILENCE_MS),
        tapped="main",
        seen=saw_opcode(10, "pongs", SILENCE_MS // PING_MS // 2),
    ),
    # nginx closes on a client that is still sending as soon as the server has closed: what that one had not read by
    # then is lost.
    Behaviour("limit", limit, may_be_cut=("1006", "reset")),
    Behaviour("close", at_main, tapped="main", seen=saw_opcode(8, "close frames")),
    Behaviour("deflate", lambda scene: at_main(scene, text=WORDS * 20), tapped="main", seen=saw_offer),
    Behaviour("origin", origin),
    Behaviour("token", token),
    Behaviour("expiry", expiry),
    Behaviour(
        "drain",
        lambda scene: at_main(scene, code=1001, reason="the server is going away"),
        on_ready=drain,
        after=drained,
    ),
    Behaviour(
        "restart", lambda scene: at_main(scene, code=1001, status=502), on_ready=restart, proxied_only=True
    ),
]
