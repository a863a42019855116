/** The waits between attempts, by a clock that the test moves. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import test from "node:test";
import { startSmallServer } from "./small-server.js";
import { client, until } from "./support.js";

// The test's own patience must not depend on the clock that it stops.
const { setImmediate: soon } = globalThis;

async function untilReal(look) {
  for (let turns = 0; !look(); turns++) {
    if (turns > 1e6) throw new Error("waited in vain");
    await new Promise((resolve) => soon(resolve));
  }
}

test("waits double up to their end, are random from 0, and are kept", async (t) => {
  // A port where nobody listens.
  const port = await new Promise((resolve) => {
    const taken = createServer().listen(0, "127.0.0.1", () => {
      const { port } = taken.address();
      taken.close(() => resolve(port));
    });
  });
  for (const random of [0, 0.5, 0.999_999]) {
    await t.test(`at ${random}`, async (t) => {
      t.mock.method(Math, "random", () => random);
      t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
      const here = client(t, `ws://127.0.0.1:${port}`, { retryMs: 1_000, retryMsMax: 30_000 });
      const waits = [];
      for (let attempt = 0; attempt < 8; attempt++) {
        await untilReal(() => here.states.length === 2 * (attempt + 1));
        const { state, retryInMs } = here.states.at(-1);
        assert.equal(state, "waiting");
        waits.push(retryInMs);
        if (retryInMs > 2) {
          t.mock.timers.tick(Math.floor(retryInMs) - 1);
          assert.equal(here.client.state, "waiting", "not before its time");
        }
        t.mock.timers.tick(2);
        assert.equal(here.client.state, "connecting");
      }
      const ends = [1, 2, 4, 8, 16, 30, 30, 30].map((seconds) => 1_000 * seconds * random);
      assert.deepEqual(waits, ends);
    });
  }
});

test("a connection that does not last is no success, one that lasts is", async (t) => {
  t.mock.method(Math, "random", () => 0.5);
  const server = await startSmallServer(t);
  const here = client(t, server.url, { retryMs: 20, retryMsMax: 80, stableMs: 400 });
  const waits = () =>
    here.states.filter(({ state }) => state === "waiting").map(({ retryInMs }) => retryInMs);
  for (let round = 1; round <= 4; round++) {
    await until(() => here.client.state === "open", "open");
    server.closeAll(1012, "restart");
    await until(() => waits().length === round, "the loss");
  }
  assert.deepEqual(waits(), [10, 20, 40, 40]);
  await until(() => here.client.state === "open", "open");
  await new Promise((resolve) => setTimeout(resolve, 450));
  server.closeAll(1012, "restart");
  await until(() => waits().length === 5, "the loss");
  assert.equal(waits()[4], 10);
});

test("open does not wait", async (t) => {
  t.mock.method(Math, "random", () => 0.999);
  const server = await startSmallServer(t);
  const here = client(t, server.url, { retryMs: 60_000, retryMsMax: 60_000 });
  await until(() => here.client.state === "open", "open");
  server.closeAll(1012, "restart");
  await until(() => here.client.state === "waiting", "the loss");
  here.client.open();
  await until(() => here.client.state === "open", "open");
  here.client.open();
  assert.equal(server.open().length, 1);
});
