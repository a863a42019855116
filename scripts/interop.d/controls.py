"""Controls: that the servers do what the behaviours rely on, without which some of these would show nothing.

In      a world
Out     complaints; none if all is as it should be
Bounds  WAIT_SECONDS_MAX
"""

import base64
import contextlib
import json
import os
import socket
import ssl
import time
import urllib.request

import behaviours
import nginx
import servers


def check(world):
    """A client that answers no ping is closed with 1008: so a peer that stays has answered."""
    with world.server(
        "control", "--ping", f"{behaviours.PING_MS}ms", "--idle", f"{behaviours.IDLE_MS}ms"
    ) as server:
        # At the server itself, also where nginx is in front.
        with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS_MAX) as stream:
            stream.sendall(request())
            said, deadline_s = b"", time.monotonic() + WAIT_SECONDS_MAX
            with contextlib.suppress(TimeoutError):
                # Pings keep coming, so the time limit of one read is none for all of them.
                while (part := stream.recv(4096)) and time.monotonic() < deadline_s:
                    said += part
    head, _, frames = said.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101 "):
        return f"a plain handshake was answered with {head[:100]!r}"
    pings = frames.count(b"\x89\x00")
    if pings < 2 or b"\x03\xf0" not in frames:
        return f"a client that answers no ping got {pings} pings and then {frames[-60:]!r}, not 1008"
    return None


def check_stream(world):
    """Behind nginx's stream module the server knows whose a connection is, and takes none that does not say so."""
    places = ["--listen-proxy", "127.0.0.1:0", "--proxy-from", "127.0.0.1", "--allow-unauthenticated"]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(
            world.server("stream", *places, "--api-listen", "127.0.0.1:0", "--ping", f"{behaviours.PING_MS}ms")
        )
        port, api = server.await_port(servers.READY_FOR_PROXIES), server.await_port(servers.API)
        front = world.proxy.in_front_of(port, server.log.with_suffix(".stream"), nginx.STREAM)
        stack.callback(front.stop)
        plain = stack.enter_context(
            socket.create_connection(
                ("127.0.0.1", front.port), WAIT_SECONDS_MAX, source_address=(CLIENT_ADDRESS, 0)
            )
        )
        name = plain.getsockname()
        trusting = ssl.create_default_context(cafile=world.proxy.folder / "certificate.pem")
        client = stack.enter_context(trusting.wrap_socket(plain, server_hostname="127.0.0.1"))
        client.sendall(request())
        answer = client.recv(4096)
        if not answer.startswith(b"HTTP/1.1 101 "):
            return f"through nginx's stream module a handshake was answered with {answer[:100]!r}"
        with urllib.request.urlopen(f"http://127.0.0.1:{api}/api/sessions", timeout=WAIT_SECONDS_MAX) as listed:
            peers = [session["peer"] for session in json.load(listed)["sessions"]]
        known = f"{name[0]}:{name[1]}"
        if peers != [known]:
            return f"through nginx's stream module {known} came, and the server saw {peers}"
        with socket.create_connection(("127.0.0.1", port), WAIT_SECONDS_MAX) as stream:
            stream.sendall(request())
            answer = stream.recv(4096)
        if not answer.startswith(b"HTTP/1.1 400 "):
            return f"a connection without a PROXY header was answered with {answer[:100]!r}, not 400"
    return None


def check_log(world):
    """nginx writes down who asked for what, but for the query: a token may stand there."""
    with world.server("log") as server:
        trusting = ssl.create_default_context(cafile=world.proxy.folder / "certificate.pem")
        url = f"https://127.0.0.1:{server.front.port}/healthz?token=secret"
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS_MAX, context=trusting) as answer:
            answer.read()
        log, deadline_s = server.front.folder / "access.log", time.monotonic() + WAIT_SECONDS_MAX
        # It is written when the answer has gone out.
        while "/healthz" not in (written := log.read_text()):
            if time.monotonic() > deadline_s:
                return f"nginx did not write that /healthz was asked for, but {written!r}"
            time.sleep(0.02)
    return f"nginx wrote {written!r}" if "secret" in written else None


def request():
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


# Not where nginx itself comes from.
CLIENT_ADDRESS = "127.0.0.9"
WAIT_SECONDS_MAX = 10
