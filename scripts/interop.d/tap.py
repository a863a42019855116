"""A tap on the wire between a peer and a server: it passes everything on and notes what the peer sent.

In      the port of a server
Out     a port for the peer; of each connection the request, the response, and the headers of the peer's frames
Bounds  HEAD_BYTES_MAX kept of a head, FRAMES_MAX noted per connection; ends with its `with` block
Source  RFC 6455 section 5.2
"""

import contextlib
import dataclasses
import socket
import threading


class Tap:
    """Listens while the `with` block runs."""

    def __init__(self, server_port):
        self.server_port = server_port
        self.connections = []
        self.sockets = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        for one in [self.listener, *self.sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def upgraded(self):
        return [one for one in self.connections if one.response.startswith(b"HTTP/1.1 101")]

    def accept(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.server_port))
            for one in [peer, server]:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets += [peer, server]
            noted = Noted()
            self.connections.append(noted)
            threading.Thread(target=carry, args=(peer, server, noted.from_peer), daemon=True).start()
            threading.Thread(target=carry, args=(server, peer, noted.from_server), daemon=True).start()


@dataclasses.dataclass
class FrameHeader:
    is_final: bool
    reserved: int
    opcode: int
    length: int


class Noted:
    """What is kept of one connection."""

    def __init__(self):
        self.request = self.response = b""
        self.frames = []
        self.is_request_read = False
        self.rest = b""
        # Bytes of the current payload that are still to come.
        self.skipped = 0

    def from_server(self, part):
        if b"\r\n\r\n" not in self.response:
            self.response = (self.response + part)[:HEAD_BYTES_MAX].partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    def from_peer(self, part):
        if not self.is_request_read:
            self.request, end, part = (self.request + part)[:HEAD_BYTES_MAX].partition(b"\r\n\r\n")
            self.is_request_read = bool(end)
        if self.is_request_read:
            self.note_frames(part)

    def note_frames(self, part):
        self.rest += part
        while len(self.frames) < FRAMES_MAX:
            here = min(self.skipped, len(self.rest))
            self.rest, self.skipped = self.rest[here:], self.skipped - here
            header = self.rest[:14]
            if self.skipped or len(header) < 2:
                return
            short = header[1] & 0x7F
            more = {126: 2, 127: 8}.get(short, 0)
            head_bytes = 2 + more + (4 if header[1] & 0x80 else 0)
            if len(header) < head_bytes:
                return
            length = int.from_bytes(header[2 : 2 + more], "big") if more else short
            self.frames.append(
                FrameHeader(bool(header[0] & 0x80), header[0] >> 4 & 7, header[0] & 0xF, length)
            )
            self.rest, self.skipped = self.rest[head_bytes:], length
        self.rest = b""


def carry(source, target, note):
    """Until either end is done; an end is passed on as such."""
    try:
        while part := source.recv(65_536):
            note(part)
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in [source, target]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


HEAD_BYTES_MAX = 16 << 10
FRAMES_MAX = 10_000
