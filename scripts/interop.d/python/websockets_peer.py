"""The client of the package `websockets`."""

import platform

import websockets
from behaviours import Closed, Refused, serve
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def open_(url, protocols=(), origin=None, token=None, deflate=False, hears_pongs=False):
    try:
        return Connection(
            await connect(
                url,
                subprotocols=protocols or None,
                origin=origin,
                compression="deflate" if deflate else None,
                max_size=None,
                proxy=None,
                additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            )
        )
    except InvalidStatus as error:
        raise Refused(error.response.status_code) from None


class Connection:
    def __init__(self, inner):
        self.inner = inner
        self.protocol = inner.subprotocol or ""
        self.extensions = inner.response.headers.get("Sec-WebSocket-Extensions", "")

    async def text(self, text):
        await self.inner.send(text)

    async def binary(self, payload):
        await self.inner.send(payload)

    async def fragments(self, pieces):
        async def with_pings():
            for index, piece in enumerate(pieces):
                if index == 2:
                    await self.inner.ping(b"between")
                yield piece

        await self.inner.send(with_pings(), text=True)

    async def ping(self, payload):
        await (await self.inner.ping(payload))

    async def close(self, code, reason):
        await self.inner.close(code, reason)

    async def hear(self):
        try:
            return await self.inner.recv()
        except ConnectionClosed as error:
            return Closed(error.rcvd.code, error.rcvd.reason) if error.rcvd else Closed(1006, "")


if __name__ == "__main__":
    serve(f"websockets {websockets.__version__}, Python {platform.python_version()}", open_)
