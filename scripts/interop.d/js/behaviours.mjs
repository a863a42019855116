/**
 * What a JavaScript peer does, whichever client it has. A page of Chromium runs it as well.
 *
 * In      a behaviour with its numbers; `open` of the client
 * Out     an answer
 * Bounds  the one who asks sets the time
 * Source  docs/interoperation.md
 *
 * `await open(url, { protocols, origin, token })` gives a connection with `protocol`, `extensions`, `text`, `binary`,
 * `fragments`, `ping` (until its pong is there), `close` and `hear`: a string, a Uint8Array, or `{ code, reason }`.
 * It throws `Refused`, with the status where the client tells it, and `Cannot` where the client has no way to do that.
 */

/** `ready` tells the one who asks, and goes on when that is heard. */
export async function answer(open, { behaviour, ...asked }, ready) {
  try {
    await BEHAVIOURS[behaviour](open, asked, ready);
  } catch (error) {
    if (error instanceof Cannot) return { cannot: error.message };
    if (error instanceof Differs) return { failed: error.message };
    return { failed: `${error?.stack ?? error}` };
  }
  return { passed: true };
}

const BEHAVIOURS = {
  async subprotocol(open, { url }) {
    const offering = await open(url, { protocols: ["other", "fanwire"] });
    expect("the protocol chosen of other and fanwire", offering.protocol, "fanwire");
    const plain = await open(url);
    expect("the protocol where none was offered", plain.protocol, "");
    for (const one of [offering, plain]) await one.close(1000, "");
  },

  async requests(open, { url, topic }) {
    const connection = await open(url);
    await subscribe(connection, topic);
    await say(connection, "unsubscribe", { topic });
    expect("the answer to unsubscribe", await heard(connection), { topic: "unsubscribed", data: { topic } });
    await say(connection, "subscribe", { topic: "error" });
    const refusal = await heard(connection);
    expect("the refusal of a reserved topic", [refusal.topic, refusal.data.code], ["error", "reserved_topic"]);
    await say(connection, "ping", ["é", 1, null]);
    expect("the answer to a ping in band", await heard(connection), { topic: "pong", data: ["é", 1, null] });
    await connection.close(1000, "");
  },

  async order(open, { url, topic, count, window, texts }) {
    const publisher = await open(url);
    const subscriber = await open(url);
    await subscribe(subscriber, topic);
    const wanted = (number) => ({ number, text: texts[number % texts.length] });
    for (let first = 0; first < count; first += window) {
      const end = Math.min(first + window, count);
      for (let number = first; number < end; number++) await say(publisher, "publish", { topic, data: wanted(number) });
      for (let number = first; number < end; number++)
        expect(`message ${number}`, await heard(subscriber), { topic, data: wanted(number) });
    }
    for (const one of [publisher, subscriber]) await one.close(1000, "");
  },

  async raw(open, { url, lengths, texts }) {
    const connection = await open(url);
    for (const length of lengths) {
      const payload = Uint8Array.from({ length }, (_, index) => index % 256);
      await connection.binary(payload);
      const back = await connection.hear();
      if (!(back instanceof Uint8Array)) throw new Differs(`${length} bytes came back as ${typeof back}`);
      const isSame = back.length === length && back.every((byte, index) => byte === payload[index]);
      if (!isSame) throw new Differs(`${length} bytes came back changed, as ${back.length}`);
    }
    for (const text of texts) {
      await connection.text(text);
      expect(`a text of ${text.length} units`, await connection.hear(), text);
    }
    await connection.close(1000, "");
  },

  async fragments(open, { url, text }) {
    const connection = await open(url);
    const message = new TextEncoder().encode(JSON.stringify({ topic: "ping", data: text }));
    // Five bytes at a time: that cuts characters, too.
    const pieces = [];
    for (let first = 0; first < message.length; first += 5) pieces.push(message.subarray(first, first + 5));
    await connection.fragments(pieces);
    expect("the answer to a message in fragments", await heard(connection), { topic: "pong", data: text });
    await connection.close(1000, "");
  },

  async ping(open, { url }) {
    const connection = await open(url);
    const payloads = ["", "are you there?", "x".repeat(125)];
    for (const payload of payloads) await connection.ping(new TextEncoder().encode(payload));
    await connection.close(1000, "");
  },

  async keepalive(open, { url, silence_ms: silenceMs }) {
    const connection = await open(url);
    const hearing = connection.hear();
    const came = await Promise.race([hearing, new Promise((resolve) => setTimeout(resolve, silenceMs))]);
    if (came !== undefined) throw new Differs(`in a silence of ${silenceMs} ms there came ${JSON.stringify(came)}`);
    await say(connection, "ping", 1);
    expect("the answer after the silence", JSON.parse(await hearing), { topic: "pong", data: 1 });
    await connection.close(1000, "");
  },

  async limit(open, { url, bytes, code, reason }) {
    const connection = await open(url);
    await connection.text("x".repeat(bytes));
    expect("the end after a message over the limit", await connection.hear(), { code, reason });
  },

  async close(open, { url }) {
    let connection = await open(url);
    await connection.close(1000, "done");
    expect("the end after a close of our own", (await connection.hear()).code, 1000);
    connection = await open(url);
    await connection.close(4321, "é");
    expect("the end after a close with a code of our own", (await connection.hear()).code, 4321);
  },

  async deflate(open, { url, text }) {
    const connection = await open(url);
    expect("the extensions in force", connection.extensions, "");
    await say(connection, "ping", text);
    expect("the answer without compression", await heard(connection), { topic: "pong", data: text });
    await connection.close(1000, "");
  },

  async origin(open, { url, own, foreign, status }) {
    await refused(open, status, "a foreign origin", url, { origin: foreign });
    const connection = await open(url, { origin: own });
    await connection.close(1000, "");
  },

  async token(open, { url, good, bad, status }) {
    const asProtocol = (token) => ({ protocols: ["fanwire", `fanwire.token.${token}`] });
    await refused(open, status, "no token", url);
    for (const one of bad) {
      await refused(open, status, "a bad token in the address", `${url}?token=${one}`);
      await refused(open, status, "a bad token as a protocol", url, asProtocol(one));
    }
    const ways = [
      ["in the address", `${url}?token=${good}`, {}, ""],
      ["as a protocol", url, asProtocol(good), "fanwire"],
    ];
    // Browsers and their like have no headers to set.
    if (open.hasHeaders) ways.push(["in a header", url, { token: good }, ""]);
    for (const [how, where, offered, protocol] of ways) {
      const connection = await open(where, offered);
      expect(`the protocol with a token ${how}`, connection.protocol, protocol);
      await subscribe(connection, "news");
      await connection.close(1000, "");
    }
  },

  async expiry(open, { url, short, fresh, code, reason }) {
    const staying = await open(`${url}?token=${short}`);
    const going = await open(`${url}?token=${short}`);
    const warning = await heard(staying);
    expect("the warning", [warning.topic, warning.data.state], ["auth", "expiring"]);
    await say(staying, "auth", { token: fresh });
    expect("the answer to a fresh token", (await heard(staying)).data.state, "renewed");
    await heard(going);
    expect("the end of a session whose token has expired", await going.hear(), { code, reason });
    await subscribe(staying, "news");
    await staying.close(1000, "");
  },

  async drain(open, { url, topic, code, reason }, ready) {
    const connection = await open(url);
    await subscribe(connection, topic);
    await ready();
    expect("the end when the server is told to end", await connection.hear(), { code, reason });
  },

  async restart(open, { url, topic, code, status }, ready) {
    const connection = await open(url);
    await ready();
    expect("the end when the server restarts", (await connection.hear()).code, code);
    await refused(open, status, "no server behind the proxy", url);
    await ready();
    let back;
    while (!back) {
      try {
        back = await open(url);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    await subscribe(back, topic);
    await back.close(1000, "");
  },
};

async function subscribe(connection, topic) {
  await say(connection, "subscribe", { topic });
  expect("the answer to subscribe", await heard(connection), { topic: "subscribed", data: { topic } });
}

async function say(connection, topic, data) {
  await connection.text(JSON.stringify({ topic, data }));
}

async function heard(connection) {
  const message = await connection.hear();
  if (typeof message !== "string") throw new Differs(`a text was to come, there came ${JSON.stringify(message)}`);
  return JSON.parse(message);
}

async function refused(open, status, what, ...request) {
  try {
    await open(...request);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    // Browsers do not tell pages.
    if (error.status !== undefined) expect(`the status for ${what}`, error.status, status);
    return;
  }
  throw new Differs(`${what}: it is let in`);
}

function expect(what, found, wanted) {
  const [left, right] = [JSON.stringify(wanted), JSON.stringify(found)];
  if (left !== right) throw new Differs(`${what}: expected ${left.slice(0, 300)}, found ${right.slice(0, 300)}`);
}

/** What waits to be heard, in order. */
export class Heard {
  constructor() {
    this.messages = [];
    this.waiting = [];
  }

  put(message) {
    const next = this.waiting.shift();
    if (next) next(message);
    else this.messages.push(message);
  }

  take() {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

/** The handshake failed. */
export class Refused extends Error {
  constructor(status) {
    super(`refused with ${status ?? "a status that this client does not tell"}`);
    this.status = status;
  }
}

/** The client has no way to do that. */
export class Cannot extends Error {}

class Differs extends Error {}
