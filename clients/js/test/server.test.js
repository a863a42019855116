/** The client against the real server. */
import assert from "node:assert/strict";
import test from "node:test";
import { client, settled, startServer, until } from "./support.js";

test("what is published arrives, at every callback of its topic and at no other", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const seen = [];
  here.client.subscribe("news", (data, topic) => seen.push(["first", topic, data]));
  here.client.subscribe("news", (data) => seen.push(["second", data]));
  here.client.subscribe("other", () => seen.push("other"));
  await here.client.publish("news", { price: 1.5, name: "ä" });
  await settled(here, "end");
  assert.deepEqual(seen, [
    ["first", "news", { price: 1.5, name: "ä" }],
    ["second", { price: 1.5, name: "ä" }],
  ]);
  assert.deepEqual(here.subscribed.slice(0, 2), [
    { topic: "news", again: false },
    { topic: "other", again: false },
  ]);
  assert.deepEqual(here.errors, []);
});

test("null is data, and missing data is undefined", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const seen = [];
  here.client.subscribe("t", (data) => seen.push(data));
  await here.client.publish("t", null);
  await here.client.publish("t");
  await settled(here, "end");
  assert.deepEqual(seen, [null, undefined]);
});

test("each callback ends by itself, and the last one ends the subscription", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const other = client(t, server.url);
  const seen = [];
  const same = (data) => seen.push(data);
  const first = here.client.subscribe("t", same);
  const second = here.client.subscribe("t", same);
  await until(() => here.subscribed.length === 1, "the subscription");
  first();
  first();
  await other.client.publish("t", 1);
  await settled(here, "end");
  assert.deepEqual(seen, [1]);
  second();
  await other.client.publish("t", 2);
  await settled(here, "end");
  assert.deepEqual(seen, [1]);
});

test("a topic that is left and joined again in one breath is delivered, once", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const seen = [];
  await until(() => here.client.state === "open", "open");
  for (let round = 0; round < 100; round++) {
    const stop = here.client.subscribe("t", (data) => seen.push([round, data]));
    if (round < 99) stop();
  }
  await settled(here, "end");
  await here.client.publish("t", "x");
  await settled(here, "end");
  assert.deepEqual(seen, [[99, "x"]]);
});

test("a callback that ends another during a message is obeyed", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const seen = [];
  here.client.subscribe("t", () => {
    seen.push("first");
    second();
  });
  const second = here.client.subscribe("t", () => seen.push("second"));
  await here.client.publish("t", 1);
  await settled(here, "end");
  assert.deepEqual(seen, ["first"]);
});

test("a callback that throws is reported and breaks nothing", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const seen = [];
  const broken = new Error("broken");
  here.client.on("error", () => {
    throw broken;
  });
  const told = t.mock.method(console, "error", () => {});
  here.client.subscribe("t", () => {
    throw broken;
  });
  here.client.subscribe("t", async () => {
    throw broken;
  });
  here.client.subscribe("t", (data) => seen.push(data));
  await here.client.publish("t", 1);
  await here.client.publish("t", 2);
  await settled(here, "end");
  assert.deepEqual(seen, [1, 2]);
  assert.equal(here.errors.length, 4);
  for (const error of here.errors) {
    assert.deepEqual(
      [error.name, error.code, error.topic, error.cause],
      ["FanwireError", "callback_failed", "t", broken],
    );
  }
  assert.equal(told.mock.callCount(), 4, "the error listener's own exceptions are told to the console");
});

test("refusals reach whoever asked, in whatever order they were asked", async (t) => {
  const server = await startServer(t, "--client-publish", "false", "--topics-per-session", "2");
  const here = client(t, server.url);
  const long = "x".repeat(300);
  const outcome = (promise) =>
    promise.then(
      () => "done",
      (error) => error.code,
    );
  here.client.subscribe("a", () => {});
  const first = outcome(here.client.publish("a", 1));
  here.client.subscribe("error", () => {});
  const second = outcome(here.client.publish(long, 1));
  here.client.subscribe("b", () => {});
  here.client.subscribe("c", () => {});
  assert.deepEqual(await Promise.all([first, second]), ["publish_disabled", "publish_disabled"]);
  await until(() => here.subscribed.length === 2, "both subscriptions");
  assert.deepEqual(
    here.errors.map(({ code, topic }) => [code, topic]),
    [
      ["reserved_topic", "error"],
      ["too_many_topics", "c"],
    ],
  );
  assert.match(here.errors[1].message, /^too_many_topics: .*unsubscribe/);
  assert.deepEqual(
    here.subscribed.map(({ topic }) => topic),
    ["a", "b"],
  );
});

test("after a restart all topics return, in order, without duplicates", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const other = client(t, server.url);
  const names = Array.from({ length: 200 }, (_, index) => `topic-${index}`);
  const seen = new Map(names.map((name) => [name, []]));
  for (const name of names) here.client.subscribe(name, (data) => seen.get(name).push(data));
  await until(() => here.subscribed.length === names.length, "all subscriptions");
  for (let round = 1; round <= 3; round++) {
    for (const name of names) await other.client.publish(name, [round, "a"]);
    await Promise.all(names.map((name) => other.client.publish(name, [round, "b"])));
    await until(() => names.every((name) => seen.get(name).length === 2 * round), "all messages");
    // Once in peace, once as in a crash.
    await server.restart(round === 1 ? "SIGTERM" : "SIGKILL");
    await until(() => here.subscribed.length === (round + 1) * names.length, "all topics again");
    assert.deepEqual(here.subscribed.at(-1), { topic: names.at(-1), again: true });
  }
  for (const name of names) {
    const expected = [1, 2, 3].flatMap((round) => [
      [round, "a"],
      [round, "b"],
    ]);
    assert.deepEqual(seen.get(name), expected);
  }
  const lost = here.states.filter(({ state }) => state === "waiting");
  assert.equal(lost[0].code, 1001);
  assert.ok(lost.some(({ code }) => code === 1006));
  assert.deepEqual(here.errors, []);
});

test("what was published while the server was away arrives when it is back, once and in order", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const seen = [];
  here.client.subscribe("t", (data) => seen.push(data));
  await until(() => here.subscribed.length === 1, "the subscription");
  await server.stop();
  await until(() => here.client.state !== "open", "the loss");
  // What listeners publish at `open` comes behind what waits.
  here.client.on("state", ({ state }) => state === "open" && here.client.publish("t", "last"));
  const sent = [1, 2, 3].map((data) => here.client.publish("t", data));
  await server.start();
  await Promise.all(sent);
  await settled(here, "end");
  assert.deepEqual(seen, [1, 2, 3, "last"]);
});

test("publishes that wait are bounded in number, size and time", async (t) => {
  const server = await startServer(t);
  await server.stop();
  const here = client(t, server.url, { pendingMax: 3, pendingCharsMax: 1_000, answerMs: 300 });
  const code = (promise) =>
    promise.then(
      () => "done",
      (error) => error.code,
    );
  const began = Date.now();
  const waits = [1, 2].map((data) => code(here.client.publish("t", data)));
  assert.equal(await code(here.client.publish("t", "x".repeat(1_000))), "queue_full");
  waits.push(code(here.client.publish("t", 3)));
  assert.equal(await code(here.client.publish("t", 4)), "queue_full");
  assert.deepEqual(await Promise.all(waits), ["timeout", "timeout", "timeout"]);
  assert.ok(Date.now() - began >= 290, "not before its time");
  const next = code(here.client.publish("t", 5));
  here.client.close();
  assert.equal(await next, "closed");
  assert.equal(await code(here.client.publish("t", 6)), "closed");
});

test("unanswered publishes are bounded as well, and make room when they are answered", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url, { pendingMax: 10 });
  await until(() => here.client.state === "open", "open");
  for (let round = 0; round < 3; round++) {
    const all = await Promise.allSettled(
      Array.from({ length: 25 }, (_, data) => here.client.publish("t", data)),
    );
    const refused = all.filter(({ reason }) => reason?.code === "queue_full");
    assert.equal(refused.length, 15);
    assert.equal(all.filter(({ status }) => status === "fulfilled").length, 10);
  }
});

test("topics are bounded", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url, { topicsMax: 2 });
  here.client.subscribe("a", () => {});
  here.client.subscribe("b", () => {});
  assert.throws(() => here.client.subscribe("c", () => {}), { code: "too_many_topics" });
  here.client.subscribe("b", () => {})();
});

test("a subscription that the API ends is over, until the program asks again", async (t) => {
  const server = await startServer(t, "--api-listen", "127.0.0.1:0");
  const [, api] = await until(() => /console +(http:\/\/[^/]+)/.exec(server.said()), "the API's address");
  const call = async (path, body) => {
    const headers = { "Content-Type": "application/json" };
    const method = body ? "POST" : "GET";
    const response = await fetch(`${api}${path}`, { method, headers, body: body && JSON.stringify(body) });
    return response.json();
  };
  const here = client(t, server.url);
  const seen = [];
  here.client.subscribe("t", (data) => seen.push(data));
  here.client.subscribe("u", (data) => seen.push(data));
  await until(() => here.subscribed.length === 2, "both topics");
  const { sessions } = await call("/api/sessions");
  const { session } = sessions[0];
  assert.deepEqual(await call("/api/unsubscribe", { session, topic: "t" }), { unsubscribed: 1 });
  await until(() => here.errors.length, "the news");
  assert.deepEqual([here.errors[0].code, here.errors[0].topic], ["unsubscribed", "t"]);
  await server.restart();
  await until(() => here.subscribed.length === 3, "what is left of the topics");
  await here.client.publish("t", "lost");
  here.client.subscribe("t", (data) => seen.push(data));
  await until(() => here.subscribed.length === 4, "the topic again");
  await here.client.publish("t", 1);
  await here.client.publish("u", 2);
  await settled(here, "end");
  assert.deepEqual(seen, [1, 2]);
  assert.deepEqual(
    here.subscribed.map(({ topic }) => topic),
    ["t", "u", "u", "t"].concat("end"),
  );
  assert.equal(here.errors.length, 1);
});

test("a server that stops answering is left, and found again", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url, { stallMs: 100, answerMs: 200, openMs: 300 });
  here.client.subscribe("t", () => {});
  await until(() => here.subscribed.length === 1, "the subscription");
  // Its sockets stay open, and nobody reads them.
  await server.freeze();
  const lost = await until(() => here.states.find(({ state }) => state === "waiting"), "the stall");
  assert.deepEqual([lost.code, lost.reason], [1006, "no answer"]);
  await until(() => here.states.some(({ reason }) => reason === "not open"), "an attempt in vain");
  server.thaw();
  await until(() => here.subscribed.length === 2, "the subscription again");
  assert.equal(here.subscribed[1].again, true);
});

test("what was under way when the connection was lost is not sent again", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url, { answerMs: 300 });
  await until(() => here.client.state === "open", "open");
  await server.freeze();
  const outcome = here.client.publish("t", 1).then(
    () => "done",
    (error) => error.code,
  );
  assert.equal(await outcome, "connection_lost");
  server.thaw();
});

test("close ends it, open begins again with the same subscriptions", async (t) => {
  const server = await startServer(t);
  const here = client(t, server.url);
  const seen = [];
  here.client.subscribe("t", (data) => seen.push(data));
  await until(() => here.subscribed.length === 1, "the subscription");
  here.client.close();
  assert.equal(here.client.state, "closed");
  here.client.open();
  assert.equal(here.client.state, "connecting");
  await until(() => here.subscribed.length === 2, "the subscription again");
  await here.client.publish("t", 1);
  await settled(here, "end");
  assert.deepEqual(seen, [1]);
});

test("a listener that closes the client has the last word", async (t) => {
  const server = await startServer(t);
  for (const state of ["connecting", "open"]) {
    const here = client(t, server.url);
    here.client.on("state", (change) => change.state === state && here.client.close());
    await until(() => here.client.state === "closed", `closed at ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(here.states.at(-1).state, "closed");
  }
});

test("mistakes are told at once", (t) => {
  const options = { WebSocket: class {} };
  // Newer runtimes have one of their own.
  const { WebSocket: own } = globalThis;
  delete globalThis.WebSocket;
  t.after(() => {
    if (own) globalThis.WebSocket = own;
  });
  assert.throws(() => client(t, "no url", options), TypeError);
  assert.throws(() => client(t, "ws://127.0.0.1:1", { WebSocket: undefined }), /no WebSocket: give one/);
  for (const wrong of [{ retryMs: 0 }, { stallMs: Number.NaN }, { openMs: 2 ** 31 }, { topicsMax: "many" }]) {
    assert.throws(() => client(t, "ws://127.0.0.1:1", { ...options, ...wrong }), /must be 1 to 2147483647/);
  }
});
