"""Controls: that the servers do what the behaviours rely on, without which some of these would show nothing.

In      a world
Out     complaints; none if all is as it should be
Bounds  WAIT_SECONDS_MAX
"""

import base64
import contextlib
import os
import socket
import time

import behaviours


def check(world):
    """A client that answers no ping is closed with 1008: so a peer that stays has answered."""
    with world.server(
        "control", "--ping", f"{behaviours.PING_MS}ms", "--idle", f"{behaviours.IDLE_MS}ms"
    ) as server:
        # At the server itself, also where nginx is in front.
        with socket.create_connection(("127.0.0.1", server.port), WAIT_SECONDS_MAX) as stream:
            key = base64.b64encode(os.urandom(16)).decode()
            stream.sendall(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
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


WAIT_SECONDS_MAX = 10
