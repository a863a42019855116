/**
 * The console in Chromium, against the real server with real clients: its figures are the API's.
 *
 * In      SERVER_UNDER_TEST, CHROMIUM
 * Bounds  as in support.js
 */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import WebSocket from "ws";
import { clientToken, openPage, startBrowser, startServer, subscriber, until } from "./support.js";

const whole = (value) => new Intl.NumberFormat("en").format(value);
const sum = (values) => values.reduce((sum, value) => sum + value, 0);
const texts = (page, selector) => page.locator(selector).allTextContents();

/** A page on a server of its own. */
async function start(t, { args = [], options = {} } = {}) {
  const after = (end) => t.after(end);
  const server = await startServer(after, "--shards", "2", ...args);
  const context = await startBrowser(after, options);
  const page = await openPage(context, server.page);
  return { after, server, context, page };
}

const isLive = (page) => page.locator("#state.live").waitFor();
const publish = (server, topic, data) =>
  fetch(new URL("api/publish", server.page), {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ topic, data }),
  }).then((answer) => answer.json());

/** Waits until the page shows what the API says; the server is quiet, so both stand still. */
async function same(what, shown, wanted) {
  let last;
  const equal = async () => {
    last = [await shown(), await wanted()];
    return JSON.stringify(last[0]) === JSON.stringify(last[1]);
  };
  await until(equal, what).catch(() => assert.deepEqual(last[0], last[1], what));
}

test("the figures of each view are the API's", async (t) => {
  const { after, server, page } = await start(t);
  for (let index = 0; index < 12; index += 1)
    await subscriber(after, server.socket, ["news", `room:${index % 4}`]);
  const gone = await subscriber(after, server.socket, []);
  gone.socket.close(1000);
  await until(async () => (await server.get("api/info")).total.closed.peer === 1, "a close");
  for (let index = 0; index < 5; index += 1) await publish(server, "news", index);
  await until(async () => (await server.get("api/info")).total.counters.frames_sent >= 60, "deliveries");
  await isLive(page);

  const tile = (name) => page.locator(`#tiles > [data-key="${name}"] .value`).textContent();
  const { counters } = (await server.get("api/info")).total;
  assert.deepEqual([counters.sessions, counters.publishes > 0], [12, true]);
  for (const [name, key] of [
    ["Sessions", "sessions"],
    ["Topics", "topics"],
    ["Publishes", "publishes"],
    ["Frames sent", "frames_sent"],
    ["Messages received", "messages_received"],
    ["Waiting in queues", "frames_waiting"],
  ])
    await same(
      name,
      () => tile(name),
      async () => whole((await server.get("api/info")).total.counters[key]),
    );
  await same(
    "closes",
    () => tile("Sessions closed"),
    async () => whole(sum(Object.values((await server.get("api/info")).total.closed))),
  );
  assert.equal(await page.locator(".chart canvas").count(), 6);

  await page.goto(`${server.page}#shards`);
  const column = async (nth) => texts(page, `#shard-table tbody tr > :nth-child(${nth})`);
  for (const [nth, key] of [
    [2, "sessions"],
    [4, "topics"],
    [7, "publishes"],
    [8, "frames_sent"],
  ])
    await same(
      `shards' ${key}`,
      () => column(nth),
      async () => (await server.get("api/info")).shards.map((one) => whole(one.counters[key])),
    );
  assert.equal(await page.locator("#shard-cards .track").count(), 12);

  await page.goto(`${server.page}#topics`);
  await same(
    "topics",
    async () => [
      await texts(page, "#topic-table tbody th"),
      await texts(page, "#topic-table tbody td.number"),
    ],
    async () => {
      const { topics } = await server.get("api/topics?order=subscribers");
      return [topics.map((one) => one.topic), topics.map((one) => whole(one.subscribers))];
    },
  );
  await page.selectOption("#topic-order", "name");
  await page.fill("#topic-prefix", "room:");
  await page.click("#topic-form button");
  await same(
    "topics by name",
    () => texts(page, "#topic-table tbody th"),
    () => ["room:0", "room:1", "room:2", "room:3"],
  );

  await page.goto(`${server.page}#sessions`);
  const peers = async () => texts(page, "#session-table tbody td:nth-child(3)");
  await same("sessions", peers, async () =>
    (await server.get("api/sessions")).sessions.map((one) => one.peer),
  );
  await page.fill("#session-topic", "room:1");
  await page.keyboard.press("Enter");
  await same("sessions of a topic", peers, async () =>
    (await server.get("api/sessions?topic=room:1")).sessions.map((one) => one.peer),
  );
  assert.equal((await peers()).length, 3);

  await page.goto(`${server.page}#reasons`);
  await same(
    "closes by reason",
    () => texts(page, "#closes-table tbody td:nth-child(2)"),
    () => ["1"],
  );
  assert.equal(await page.locator("#drops-table tbody tr").count(), 0);
  await page.check("#show-zero");
  const { closed } = (await server.get("api/info")).total;
  const keys = await page
    .locator("#closes-table tbody tr")
    .evaluateAll((rows) => rows.map((row) => row.dataset.key));
  assert.deepEqual(keys.toSorted(), Object.keys(closed).toSorted());
  assert.deepEqual(
    await texts(page, "#closes-table tbody td:nth-child(2)"),
    keys.map((key) => whole(closed[key])),
  );
  assert.deepEqual(page.troubles, []);
});

/** What the page writes short: "1.25 MiB", "31.5 µs", "12.3/s". */
function number(text) {
  const [, digits, unit] = /^([\d.]+) ?(\S*)$/.exec(text) ?? [];
  const units = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, "µs": 1e-6, ms: 1e-3, s: 1, "/s": 1 };
  return Number(digits) * units[unit];
}

/** A dash stands for what there is none of: a shard without turns has no median. */
const isNear = (shown, value) =>
  value === null ? shown === "–" : Math.abs(number(shown) - value) <= 0.01 * value;

test("what a client does not read is seen as waiting, blocked and dropped", async (t) => {
  const { after, server, page } = await start(t, { args: ["--queue-size", "8", "--overflow", "drop-newest"] });
  await isLive(page);
  const total = async () => (await server.get("api/info")).total;
  await subscriber(after, server.socket, ["other"]);
  const stalled = await subscriber(after, server.socket, ["news"]);
  stalled.socket.pause();
  await until(async () => {
    for (let index = 0; index < 20; index += 1) await publish(server, "news", "x".repeat(50_000));
    return (await total()).counters.frames_dropped_newest > 100;
  }, "drops");
  const stranger = new WebSocket(server.socket, { origin: "https://elsewhere.example" });
  await new Promise((resolve) => stranger.once("error", resolve));

  const { counters } = await total();
  assert.deepEqual([counters.sessions_blocked, counters.frames_waiting, counters.refused_origin], [1, 8, 1]);
  const dropped = whole(counters.frames_dropped_newest);
  const tile = (name, part) => page.locator(`#tiles > [data-key="${name}"] .${part}`).textContent();
  for (const [name, part, wanted] of [
    ["Messages dropped", "value", dropped],
    ["Waiting in queues", "value", "8"],
    ["Waiting in queues", "beside", "1 blocked"],
  ])
    await same(
      name,
      () => tile(name, part),
      () => wanted,
    );

  await page.goto(`${server.page}#shards`);
  const column = async (nth) => texts(page, `#shard-table tbody tr > :nth-child(${nth})`);
  const shards = async () => (await server.get("api/info")).shards;
  for (const [nth, key] of [
    [3, "sessions_blocked"],
    [5, "frames_waiting"],
    [6, "inbox_waiting"],
  ])
    await same(
      `shards' ${key}`,
      () => column(nth),
      async () => (await shards()).map((one) => whole(one.counters[key])),
    );
  for (const [nth, read] of [
    [9, (one) => one.counters.bytes_sent],
    [10, (one) => one.counters.frame_bytes_live],
    [11, (one) => one.distributions.turn.p50],
    [12, (one) => one.distributions.turn.p99],
  ])
    await until(async () => {
      const [shown, wanted] = [await column(nth), (await shards()).map(read)];
      return shown.length === 2 && shown.every((text, index) => isNear(text, wanted[index]));
    }, `column ${nth} of the shards`);

  await page.goto(`${server.page}#sessions`);
  const cells = async () =>
    Promise.all([6, 8, 9].map((nth) => texts(page, `#session-table tbody td:nth-child(${nth})`)));
  await same("queues of sessions", cells, async () => {
    const queues = (await server.get("api/sessions")).sessions.map((one) => one.queued);
    return [
      queues.map((one) => whole(one.messages)),
      queues.map((one) => whole(one.dropped)),
      queues.map((one) => (one.blocked ? "blocked" : "open")),
    ];
  });
  assert.deepEqual((await cells())[1].toSorted(), ["0", dropped].toSorted());

  await page.goto(`${server.page}#reasons`);
  // In all, and in the last minute.
  await same(
    "drops by reason",
    () => texts(page, "#drops-table tbody td.number"),
    () => [dropped, dropped],
  );
  await same(
    "refusals by reason",
    () => texts(page, "#refusals-table tbody td.number"),
    () => ["1", "1"],
  );
  assert.deepEqual(page.troubles, []);
});

test("rates are what is published a second", async (t) => {
  const { after, server, page } = await start(t);
  await isLive(page);
  await subscriber(after, server.socket, ["news"]);
  const rate = async (name) => number(await page.locator(`#tiles > [data-key="${name}"] .beside`).textContent());
  const begun = Date.now();
  let [count, isOver] = [0, false];
  const load = (async () => {
    while (!isOver) {
      await publish(server, "news", ++count);
      await new Promise((resolve) => setTimeout(resolve, 40));
    }
  })();
  for (const name of ["Publishes", "Frames sent"])
    await until(async () => {
      const [shown, mean] = [await rate(name), (1_000 * count) / (Date.now() - begun)];
      return count > 40 && shown > 0.7 * mean && shown < 1.4 * mean;
    }, `the rate of ${name}`);
  isOver = true;
  await load;
  await until(async () => (await rate("Publishes")) === 0, "no rate");
  assert.deepEqual(page.troubles, []);
});

test("pages of topics and sessions go forth and back", async (t) => {
  const { after, server, page } = await start(t);
  const names = Array.from({ length: 60 }, (_, index) => `t${String(index).padStart(2, "0")}`);
  await subscriber(after, server.socket, names);
  for (let index = 1; index < 30; index += 1) await subscriber(after, server.socket, []);
  await page.goto(`${server.page}#topics`);
  await page.selectOption("#topic-order", "name");
  await page.selectOption("#topic-limit", "25");
  const topics = () => texts(page, "#topic-table tbody th");
  await same("the first page", topics, () => names.slice(0, 25));
  await page.click("#topic-next");
  await same("the second page", topics, () => names.slice(25, 50));
  await page.click("#topic-next");
  await same("the last page", topics, () => names.slice(50));
  assert.equal(await page.isDisabled("#topic-next"), true);
  await page.click("#topic-back");
  await same("the second page again", topics, () => names.slice(25, 50));
  // What is typed and not sent is no question yet, and the next page is one of the last question.
  await page.fill("#topic-prefix", "t0");
  await page.click("#topic-next");
  await same("the last page again", topics, () => names.slice(50));
  await page.click("#topic-form button");
  await same("the first page of what was typed", topics, () => names.slice(0, 10));

  await page.goto(`${server.page}#sessions`);
  await page.selectOption("#session-limit", "25");
  const rows = () => page.locator("#session-table tbody tr").count();
  await same("25 sessions", rows, () => 25);
  await page.click("#session-next");
  await same("the other 5", rows, () => 5);
  await page.click("#session-back");
  await same("25 again", rows, () => 25);
  assert.deepEqual(page.troubles, []);
});

test("with tokens the page asks for one, keeps it in this tab alone, and forgets it", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "fanwire-console-tokens-"));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, "tokens");
  await writeFile(file, "a-token-of-this-test\n");
  const { server, context, page } = await start(t, { args: ["--api-token-file", file] });
  await page.locator("#login").waitFor();
  assert.equal(await page.isVisible("#views"), false);
  await page.fill("#token", "not-the-right-token");
  await page.keyboard.press("Enter");
  await page.getByText("does not know this token").waitFor();
  await page.fill("#token", "a-token-of-this-test");
  await page.keyboard.press("Enter");
  await isLive(page);
  assert.equal(await page.locator('#tiles > [data-key="Sessions"] .value').textContent(), "0");
  assert.equal(page.url().includes("token"), false);
  assert.deepEqual(await page.evaluate(() => [Object.keys(localStorage), document.cookie]), [[], ""]);
  await page.reload();
  await isLive(page);
  const other = await openPage(context, server.page);
  await other.locator("#login").waitFor();
  await page.click("#sign-out");
  await page.locator("#login").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.equal(await page.locator("#tiles > *").count(), 0);
  assert.deepEqual(page.troubles, []);
});

test("disconnect asks first, and then really does", async (t) => {
  const { after, server, page } = await start(t);
  const one = await subscriber(after, server.socket, []);
  await page.goto(`${server.page}#sessions`);
  const button = page.getByRole("button", { name: /^Disconnect session/ });
  await button.click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  assert.equal(one.closed, null);
  await button.click();
  await page.fill("#disconnect-code", "1005");
  await page.getByRole("dialog").getByRole("button", { name: "Disconnect" }).click();
  await page.locator("#disconnect-error", { hasText: "code" }).waitFor();
  await page.fill("#disconnect-code", "4000");
  await page.fill("#disconnect-reason", "said the test");
  await page.getByRole("dialog").getByRole("button", { name: "Disconnect" }).click();
  await until(() => one.closed, "the close");
  assert.deepEqual(one.closed, { code: 4000, reason: "said the test" });
  await page.getByText("No open session here.").waitFor();
  assert.deepEqual(page.troubles, []);
});

test("what is published arrives at a client and at the page's own subscriber", async (t) => {
  const { after, server, page } = await start(t);
  const one = await subscriber(after, server.socket, ["news"]);
  await page.goto(`${server.page}#try`);
  await page.click("#listen-button");
  await page.locator("#listen-state", { hasText: "Subscribed to news" }).waitFor();
  await page.fill("#publish-data", '{"text":"<b>hello</b>","number":12345678901234567890}');
  await page.keyboard.press("Control+Enter");
  await page.getByText("which has 2 subscribers").waitFor();
  await until(() => one.messages.some((message) => message.data?.text === "<b>hello</b>"), "the message");
  const data = page.locator("#log .data").first();
  await data.waitFor();
  assert.equal(await data.textContent(), '{"text":"<b>hello</b>","number":12345678901234567890}');
  assert.equal(await page.locator("#log b").count(), 0);
  await page.fill("#publish-topic", "subscribed");
  await page.click("#publish button");
  await page.locator("#publish-result.bad", { hasText: "choose another" }).waitFor();
  assert.deepEqual(page.troubles, []);
});

test("markup in names stays text", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "fanwire-console-keys-"));
  t.after(() => rm(folder, { recursive: true }));
  const secret = "0123456789abcdef0123456789abcdef";
  const file = join(folder, "key");
  await writeFile(file, secret);
  const { after, server, page } = await start(t, { args: ["--auth", "jwt", "--auth-key-file", file] });
  const evil = "<script>globalThis.evil = 1</script><img src=x onerror='globalThis.evil = 1'>";
  await subscriber(after, server.socket, [evil], clientToken(secret, evil));
  await page.goto(`${server.page}#sessions`);
  await same(
    "the user",
    () => texts(page, "#session-table tbody td:nth-child(2)"),
    () => [evil],
  );
  await page.getByRole("button", { name: /^Details/ }).click();
  await same(
    "the topic",
    () => texts(page, "#detail-topics li"),
    () => [evil],
  );
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await page.getByRole("button", { name: /^Disconnect session/ }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await page.goto(`${server.page}#topics`);
  await same(
    "the topic's row",
    () => texts(page, "#topic-table tbody th"),
    () => [evil],
  );
  assert.deepEqual(
    await page.evaluate(() => [globalThis.evil, document.querySelectorAll("main img").length]),
    [undefined, 0],
  );
  assert.deepEqual(page.troubles, []);
});

test("the tabs are walked by keyboard, and the address follows", async (t) => {
  const { page } = await start(t);
  await isLive(page);
  await page.locator("#tab-overview").focus();
  const seen = [];
  for (const key of [
    "ArrowRight",
    "ArrowRight",
    "ArrowRight",
    "ArrowRight",
    "ArrowRight",
    "ArrowRight",
    "ArrowLeft",
    "Home",
    "End",
  ]) {
    await page.keyboard.press(key);
    seen.push(
      await page.evaluate(
        () => location.hash + (document.activeElement.getAttribute("aria-selected") === "true" ? "" : "?"),
      ),
    );
    assert.equal(await page.locator("[role=tabpanel]:visible").count(), 1);
    assert.equal(await page.locator("[role=tab][tabindex='0']").count(), 1);
  }
  assert.deepEqual(seen, [
    "#shards",
    "#topics",
    "#sessions",
    "#reasons",
    "#try",
    "#overview",
    "#try",
    "#overview",
    "#try",
  ]);
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.notEqual(outline, "none");
  await page.goBack();
  await page.locator("#view-overview").waitFor();
  assert.deepEqual(page.troubles, []);
});

test("a server that stops is shown, one that comes back is found, and one that drains says so", async (t) => {
  const { after, server, page } = await start(t, { args: ["--drain-delay", "3s"] });
  await isLive(page);
  const one = await subscriber(after, server.socket, []);
  await same(
    "a session",
    () => page.locator('#tiles > [data-key="Sessions"] .value').textContent(),
    () => "1",
  );
  server.signal("SIGTERM");
  await page.locator("#state.draining").waitFor();
  await page.getByText("told to end").waitFor();
  await page.getByText("cannot be reached").waitFor();
  assert.equal(await page.locator("#state").textContent(), "Not reachable");
  await server.stop();
  await until(() => one.closed, "the end of the session");
  await server.start();
  await isLive(page);
  assert.equal(await page.locator("#banner").isVisible(), false);
  await same(
    "no session",
    () => page.locator('#tiles > [data-key="Sessions"] .value').textContent(),
    () => "0",
  );
  assert.deepEqual(page.troubles, []);
});

test("it fits on 360 pixels, and the theme can be chosen", async (t) => {
  const { after, server, page } = await start(t, {
    options: { viewport: { width: 360, height: 740 }, colorScheme: "dark" },
  });
  await subscriber(after, server.socket, ["news"]);
  for (const view of ["overview", "shards", "topics", "sessions", "reasons", "try"]) {
    await page.goto(`${server.page}#${view}`);
    await isLive(page);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360, view);
  }
  const back = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await back();
  await page.click("#theme");
  assert.equal(await page.locator("#theme").textContent(), "Theme: light");
  assert.notEqual(await back(), dark);
  await page.reload();
  assert.equal(await page.locator("#theme").textContent(), "Theme: light");
  assert.deepEqual(page.troubles, []);
});

test("the policy refuses what is not the page's own", async (t) => {
  const { page } = await start(t);
  await isLive(page);
  await page.evaluate(() => {
    const script = document.createElement("script");
    try {
      script.textContent = "globalThis.evil = 1";
    } catch {
      // Trusted types are in the way already.
    }
    document.body.append(script);
    document.body.setAttribute("style", "color: red");
    return fetch("https://example.com/").catch(() => {});
  });
  assert.equal(await page.evaluate(() => globalThis.evil), undefined);
  await until(
    () => page.troubles.filter((text) => text.startsWith("policy:")).length >= 2,
    "violations that are heard of",
  );
});
