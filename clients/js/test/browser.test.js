/**
 * The small build in headless Chromium.
 *
 * In      CHROMIUM: its path, else /usr/bin/chromium; skipped, and said so, where there is none
 * Bounds  WAIT_MS for each wait; a profile of its own, removed
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { chromium } from "playwright-core";
import { EXPECTED, startControl } from "./control.js";
import { WAIT_MS } from "./support.js";
import { startTokens } from "./tokens.js";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : `there is no ${CHROMIUM}: install Chromium, or set CHROMIUM`;

async function openPage(t, ...args) {
  const profile = await mkdtemp(join(tmpdir(), "fanwire-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    chromiumSandbox: false,
    timeout: 2 * WAIT_MS,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  t.after(async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  });
  context.setDefaultTimeout(WAIT_MS);
  const { server, control } = await startControl(t, ...args);
  const page = context.pages()[0] ?? (await context.newPage());
  await page.goto(control);
  return { context, page, server, control };
}

test("the scenario in Chromium", { skip }, async (t) => {
  const { page, server, control } = await openPage(t);
  const seen = await page.evaluate(
    async (addresses) => {
      const { connect } = await import("/fanwire.min.js");
      const { scenario } = await import("/scenario.js");
      return scenario({ connect, ...addresses });
    },
    { server: server.url, control },
  );
  assert.deepEqual(seen, EXPECTED);
});

test("in Chromium a token is renewed in band, and after its end with a new one", { skip }, async (t) => {
  const tokens = await startTokens(t);
  const { page, server } = await openPage(t, ...tokens.settings);
  let made = 0;
  await page.exposeFunction("make", () => tokens.make("ada", 5, ++made));
  await page.evaluate(async (url) => {
    const { connect } = await import("/fanwire.min.js");
    Object.assign(globalThis, { asked: 0, states: [], errors: [], seen: [] });
    const token = () => {
      globalThis.asked += 1;
      // The second one is a renewal; there is no third until the second has ended.
      if (globalThis.asked <= 2 || globalThis.states.some(([, code]) => code === 4001)) return globalThis.make();
      throw new Error("sign-in is down");
    };
    const client = connect(url, { retryMs: 100, retryMsMax: 100, token });
    client.on("state", (change) => globalThis.states.push([change.state, change.code]));
    client.on("error", ({ code }) => globalThis.errors.push(code));
    client.subscribe("t", (data) => globalThis.seen.push(data));
    globalThis.client = client;
  }, server.url);
  const publish = (data) => page.evaluate((data) => globalThis.client.publish("t", data), data);
  await page.waitForFunction(() => globalThis.asked === 2);
  await publish("renewed");
  await page.waitForFunction(() => globalThis.states.some(([, code]) => code === 4001));
  await page.waitForFunction(() => globalThis.states.filter(([state]) => state === "open").length === 2);
  await publish("again");
  await page.waitForFunction(() => globalThis.seen.length === 2);
  assert.deepEqual(await page.evaluate(() => globalThis.seen), ["renewed", "again"]);
  assert.ok((await page.evaluate(() => globalThis.errors)).includes("refresh_failed"));
});

test("in Chromium, `online` ends a long wait and `offline` asks for a sign of life", { skip }, async (t) => {
  const { context, page, server } = await openPage(t);
  await page.evaluate(async (url) => {
    const { connect } = await import("/fanwire.min.js");
    // The first wait is long; the one after `online` is not.
    const randoms = [0.99, 0.99];
    Math.random = () => randoms.shift() ?? 0;
    globalThis.sent = [];
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (text) {
      globalThis.sent.push(JSON.parse(text).topic);
      return send.call(this, text);
    };
    globalThis.states = [];
    globalThis.client = connect(url, { retryMs: 600_000, retryMsMax: 600_000 });
    globalThis.client.on("state", (change) => globalThis.states.push(change));
  }, server.url);
  await page.waitForFunction(() => globalThis.client.state === "open");
  assert.deepEqual(await page.evaluate(() => globalThis.sent), []);
  await page.evaluate(() => dispatchEvent(new Event("offline")));
  await page.waitForFunction(() => globalThis.sent.length > 0);
  assert.deepEqual(await page.evaluate(() => globalThis.sent), ["ping"]);
  await server.restart();
  await page.waitForFunction(() => globalThis.client.state === "waiting");
  const { code, retryInMs } = await page.evaluate(() => globalThis.states.at(-1));
  assert.deepEqual([code, retryInMs > 500_000], [1001, true]);
  await page.evaluate(() => {
    Math.random = () => 0;
  });
  await context.setOffline(true);
  await context.setOffline(false);
  await page.waitForFunction(() => globalThis.client.state === "open");
  // A closed client listens no more.
  await page.evaluate(() => {
    globalThis.client.close();
    dispatchEvent(new Event("online"));
  });
  assert.equal(await page.evaluate(() => globalThis.client.state), "closed");
});

test("in Chromium, a page of another origin is refused, and tries again", {
  skip,
}, async (t) => {
  const { page, server, control } = await openPage(t);
  await page.goto(control.replace("127.0.0.1", "localhost"));
  const first = await page.evaluate(async (url) => {
    const { connect } = await import("/fanwire.min.js");
    const client = connect(url, { retryMs: 50 });
    return new Promise((resolve) => client.on("state", (change) => change.code && resolve(change)));
  }, server.url);
  assert.deepEqual([first.state, first.code], ["waiting", 1006]);
});
