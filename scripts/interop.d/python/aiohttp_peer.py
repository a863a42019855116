"""The client of the package `aiohttp`."""

import platform

import aiohttp
from aiohttp import WSMsgType
from behaviours import Cannot, Closed, Refused, serve


async def open_(url, protocols=(), origin=None, token=None, deflate=False, hears_pongs=False):
    session = aiohttp.ClientSession()
    try:
        inner = await session.ws_connect(
            url,
            protocols=protocols,
            origin=origin,
            compress=15 if deflate else 0,
            max_msg_size=0,
            autoping=not hears_pongs,
            headers={"Authorization": f"Bearer {token}"} if token else None,
        )
    except aiohttp.WSServerHandshakeError as error:
        await session.close()
        raise Refused(error.status) from None
    return Connection(session, inner)


class Connection:
    def __init__(self, session, inner):
        self.session, self.inner = session, inner
        self.protocol = inner.protocol or ""
        self.extensions = "permessage-deflate" if inner.compress else ""

    async def text(self, text):
        await self.inner.send_str(text)

    async def binary(self, payload):
        await self.inner.send_bytes(payload)

    async def fragments(self, pieces):
        raise Cannot("it has no way to send a message in fragments")

    async def ping(self, payload):
        await self.inner.ping(payload)
        while (message := await self.inner.receive()).type == WSMsgType.PING:
            await self.inner.pong(message.data)
        if (message.type, message.data) != (WSMsgType.PONG, payload):
            raise ValueError(f"not the pong of {payload}: {message}")

    async def close(self, code, reason):
        await self.inner.close(code=code, message=reason.encode())
        await self.session.close()

    async def hear(self):
        message = await self.inner.receive()
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            return message.data
        # The server's close frame; `close_code` tells how its answer went, which a proxy may have cut.
        code = message.data if message.type == WSMsgType.CLOSE else self.inner.close_code
        closed = Closed(code, message.extra or "")
        await self.session.close()
        return closed


if __name__ == "__main__":
    serve(f"aiohttp {aiohttp.__version__}, Python {platform.python_version()}", open_)
