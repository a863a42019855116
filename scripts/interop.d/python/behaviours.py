"""What a Python peer does, whichever library it is of.

In      lines with a behaviour each, on stdin; an `open` of the library
Out     lines with an answer each, on stdout
Bounds  the one who asks sets the time
Source  docs/interoperation.md

`await open(url, protocols=(), origin=None, token=None, deflate=False, hears_pongs=False)` gives a connection with
`protocol` and `extensions` (texts), `text`, `binary`, `fragments`, `ping` (until its pong is there), `close` and
`hear`: a str, bytes or a `Closed`. It raises `Refused`.
"""

import asyncio
import dataclasses
import json
import sys
import traceback


def serve(peer, open_):
    print(json.dumps({"peer": peer}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(asyncio.run(answer(open_, asked))), flush=True)


async def answer(open_, asked):
    try:
        await BEHAVIOURS[asked.pop("behaviour")](open_, **asked)
    except Cannot as error:
        return {"cannot": str(error)}
    except Differs as error:
        return {"failed": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}
    return {"passed": True}


async def subprotocol(open_, url, topic):
    offering = await open_(url, protocols=["other", "fanwire"])
    expect("the protocol chosen of other and fanwire", offering.protocol, "fanwire")
    plain = await open_(url)
    expect("the protocol where none was offered", plain.protocol, "")
    for one in [offering, plain]:
        await one.close(1000, "")


async def requests(open_, url, topic):
    connection = await open_(url)
    await subscribe(connection, topic)
    await say(connection, "unsubscribe", {"topic": topic})
    expect(
        "the answer to unsubscribe",
        await heard(connection),
        {"topic": "unsubscribed", "data": {"topic": topic}},
    )
    await say(connection, "subscribe", {"topic": "error"})
    refusal = await heard(connection)
    expect(
        "the refusal of a reserved topic",
        (refusal["topic"], refusal["data"]["code"]),
        ("error", "reserved_topic"),
    )
    await say(connection, "ping", ["é", 1, None])
    expect("the answer to a ping in band", await heard(connection), {"topic": "pong", "data": ["é", 1, None]})
    await connection.close(1000, "")


async def order(open_, url, topic, count, window, texts):
    publisher, subscriber = await open_(url), await open_(url)
    await subscribe(subscriber, topic)
    for first in range(0, count, window):
        numbers = range(first, min(first + window, count))
        for number in numbers:
            await say(
                publisher,
                "publish",
                {"topic": topic, "data": {"number": number, "text": texts[number % len(texts)]}},
            )
        for number in numbers:
            wanted = {"topic": topic, "data": {"number": number, "text": texts[number % len(texts)]}}
            expect(f"message {number}", await heard(subscriber), wanted)
    for one in [publisher, subscriber]:
        await one.close(1000, "")


async def raw(open_, url, lengths, texts):
    connection = await open_(url)
    for length in lengths:
        payload = bytes(index % 256 for index in range(length))
        await connection.binary(payload)
        expect(f"{length} bytes", await connection.hear(), payload)
    for text in texts:
        await connection.text(text)
        expect(f"a text of {len(text)} characters", await connection.hear(), text)
    await connection.close(1000, "")


async def fragments(open_, url, topic, text):
    connection = await open_(url)
    message = json.dumps({"topic": "ping", "data": text}, ensure_ascii=False).encode()
    # Five bytes at a time: that cuts characters, too.
    await connection.fragments([message[first : first + 5] for first in range(0, len(message), 5)])
    expect("the answer to a message in fragments", await heard(connection), {"topic": "pong", "data": text})
    await connection.close(1000, "")


async def ping(open_, url, topic):
    connection = await open_(url, hears_pongs=True)
    for payload in [b"", b"are you there?", bytes(range(125))]:
        await connection.ping(payload)
    await connection.close(1000, "")


async def keepalive(open_, url, topic, silence_ms):
    connection = await open_(url)
    hearing = asyncio.create_task(connection.hear())
    done, _ = await asyncio.wait([hearing], timeout=silence_ms / 1000)
    if done:
        raise Differs(f"in a silence of {silence_ms} ms there came {hearing.result()}")
    await say(connection, "ping", 1)
    expect("the answer after the silence", json.loads(await hearing), {"topic": "pong", "data": 1})
    await connection.close(1000, "")


async def limit(open_, url, topic, bytes, code, reason):
    connection = await open_(url)
    await connection.text("x" * bytes)
    expect("the end after a message over the limit", await connection.hear(), Closed(code, reason))


async def close(open_, url, topic):
    connection = await open_(url)
    await connection.close(1000, "done")
    expect("the end after a close of our own", (await connection.hear()).code, 1000)
    connection = await open_(url)
    await connection.close(4321, "é")
    expect("the end after a close with a code of our own", (await connection.hear()).code, 4321)


async def deflate(open_, url, topic, text):
    connection = await open_(url, deflate=True)
    expect("the extensions in force", connection.extensions, "")
    await say(connection, "ping", text)
    expect("the answer without compression", await heard(connection), {"topic": "pong", "data": text})
    await connection.close(1000, "")


async def origin(open_, url, topic, own, foreign, status):
    await refused(open_, status, "a foreign origin", url, origin=foreign)
    connection = await open_(url, origin=own)
    await connection.close(1000, "")


async def token(open_, url, good, bad, status):
    await refused(open_, status, "no token", url)
    for one in bad:
        await refused(open_, status, "a bad token", url, token=one)
        await refused(
            open_, status, "a bad token as a protocol", url, protocols=["fanwire", "fanwire.token." + one]
        )
    for how, where, offered in [
        ("in a header", url, {"token": good}),
        ("in the address", f"{url}?token={good}", {}),
        ("as a protocol", url, {"protocols": ["fanwire", "fanwire.token." + good]}),
    ]:
        connection = await open_(where, **offered)
        expect(
            f"the protocol with a token {how}",
            connection.protocol,
            "fanwire" if "protocols" in offered else "",
        )
        await subscribe(connection, "news")
        await connection.close(1000, "")


async def expiry(open_, url, short, fresh, code, reason):
    staying, going = await open_(url, token=short), await open_(url, token=short)
    warning = await heard(staying)
    expect("the warning", (warning["topic"], warning["data"]["state"]), ("auth", "expiring"))
    await say(staying, "auth", {"token": fresh})
    expect("the answer to a fresh token", (await heard(staying))["data"]["state"], "renewed")
    await heard(going)
    expect("the end of a session whose token has expired", await going.hear(), Closed(code, reason))
    await subscribe(staying, "news")
    await staying.close(1000, "")


async def drain(open_, url, topic, code, reason):
    connection = await open_(url)
    await subscribe(connection, topic)
    print(json.dumps({"ready": True}), flush=True)
    expect("the end when the server is told to end", await connection.hear(), Closed(code, reason))


async def restart(open_, url, topic, code, status):
    connection = await open_(url)
    print(json.dumps({"ready": True}), flush=True)
    expect("the end when the server restarts", (await connection.hear()).code, code)
    await refused(open_, status, "no server behind the proxy", url)
    print(json.dumps({"ready": True}), flush=True)
    while True:
        try:
            connection = await open_(url)
            break
        except Refused as error:
            expect("the status until the server is back", error.status, status)
            await asyncio.sleep(0.05)
    await subscribe(connection, topic)
    await connection.close(1000, "")


async def subscribe(connection, topic):
    await say(connection, "subscribe", {"topic": topic})
    expect(
        "the answer to subscribe", await heard(connection), {"topic": "subscribed", "data": {"topic": topic}}
    )


async def say(connection, topic, data):
    await connection.text(json.dumps({"topic": topic, "data": data}, ensure_ascii=False))


async def heard(connection):
    message = await connection.hear()
    if not isinstance(message, str):
        raise Differs(f"a text was to come, there came {message!r}")
    return json.loads(message)


async def refused(open_, status, what, url, **offered):
    try:
        await open_(url, **offered)
    except Refused as error:
        expect(f"the status for {what}", error.status, status)
    else:
        raise Differs(f"{what}: it is let in")


def expect(what, found, wanted):
    if found != wanted:
        raise Differs(f"{what}: expected {wanted!r:.300}, found {found!r:.300}")


@dataclasses.dataclass(frozen=True)
class Closed:
    """What the peer saw of the end."""

    code: int
    reason: str


class Refused(Exception):
    """The handshake was answered with another status than 101."""

    def __init__(self, status):
        super().__init__(f"refused with {status}")
        self.status = status


class Cannot(Exception):
    """The library has no way to do that."""


class Differs(Exception):
    """What is not as it should be."""


BEHAVIOURS = {
    one.__name__: one
    for one in [
        subprotocol,
        requests,
        order,
        raw,
        fragments,
        ping,
        keepalive,
        limit,
        close,
        deflate,
        origin,
        token,
        expiry,
        drain,
        restart,
    ]
}
