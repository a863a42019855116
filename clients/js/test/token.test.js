/**
 * Tokens: asked for at every connect, renewed in band, expired. Against the real server; and for what
 * that one does not do on request, against a small one that speaks as docs/clients.md says.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { startSmallServer } from "./small-server.js";
import { client, settled, startServer, until } from "./support.js";
import { startTokens } from "./tokens.js";

test("the real server warns, takes the new token in band, and messages go on", async (t) => {
  const tokens = await startTokens(t);
  const server = await startServer(t, ...tokens.settings);
  let asked = 0;
  const here = client(t, server.url, { token: () => tokens.make("ada", 3, ++asked) });
  const seen = [];
  here.client.subscribe("t", (data) => seen.push(data));
  for (let round = 1; round <= 3; round++) {
    await until(() => asked === round, "a token");
    await here.client.publish("t", round);
  }
  await settled(here, "end");
  assert.deepEqual(seen, [1, 2, 3]);
  assert.equal(here.states.filter(({ state }) => state === "open").length, 1);
  assert.deepEqual(here.errors, []);
});

test("the real server ends with 4001 who has no new token, and takes them back with one", async (t) => {
  const tokens = await startTokens(t);
  const server = await startServer(t, ...tokens.settings);
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked > 1 && !here.states.some(({ code }) => code === 4001)) throw new Error("sign-in is down");
    return tokens.make("ada", 3, asked);
  };
  const here = client(t, server.url, { token });
  here.client.subscribe("t", () => {});
  await until(() => here.subscribed.length === 2, "the subscription after 4001");
  assert.deepEqual(here.subscribed[1], { topic: "t", again: true });
  assert.ok(here.errors.length > 1, "it was tried more than once");
  assert.ok(here.errors.every(({ code }) => code === "refresh_failed"));
});

test("topics that a new token does not open end, with the real server's words", async (t) => {
  const tokens = await startTokens(t);
  const server = await startServer(t, ...tokens.settings);
  let subscribe = ["open", "secret"];
  const here = client(t, server.url, { token: () => tokens.make("ada", 60, 0, { subscribe }) });
  here.client.subscribe("open", () => {});
  here.client.subscribe("secret", () => {});
  await until(() => here.subscribed.length === 2, "both topics");
  subscribe = ["open"];
  await here.client.refreshToken();
  await until(() => here.errors.length, "the refusal");
  assert.deepEqual(
    here.errors.map(({ code, topic }) => [code, topic]),
    [["forbidden", "secret"]],
  );
});

test("a token is asked for at every connect", async (t) => {
  const server = await startSmallServer(t);
  let asked = 0;
  const here = client(t, server.url, { token: async () => `token-${++asked}` });
  for (let round = 1; round <= 3; round++) {
    await until(() => here.client.state === "open" && server.tokens.length === round, "a connection");
    server.closeAll(1012, "restart");
    await until(() => here.client.state !== "open", "the loss");
  }
  assert.deepEqual(server.tokens.slice(0, 3), ["token-1", "token-2", "token-3"]);
  assert.deepEqual(here.errors, []);
});

test("a token that expires is renewed in band, and messages go on", async (t) => {
  const server = await startSmallServer(t);
  let asked = 0;
  const here = client(t, server.url, { token: () => `token-${++asked}` });
  const seen = [];
  here.client.subscribe("t", (data) => seen.push(data));
  await here.client.publish("t", 1);
  // Twice in one breath is asked for once.
  server.sayToAll("auth", { state: "expiring", expires_in: 30 });
  server.sayToAll("auth", { state: "expiring", expires_in: 30 });
  await until(() => server.tokens.length === 2, "the new token");
  await here.client.publish("t", 2);
  await settled(here, "end");
  assert.deepEqual(server.tokens, ["token-1", "token-2"]);
  assert.deepEqual(seen, [1, 2]);
  assert.equal(here.states.filter(({ state }) => state === "open").length, 1);
  await here.client.refreshToken();
  assert.deepEqual(server.tokens.at(-1), "token-3");
  assert.deepEqual(here.errors, []);
});

test("topics that a new token does not open end with the server's reason", async (t) => {
  let isForbidden = false;
  const server = await startSmallServer(t, {
    on: {
      subscribe(data, { say }) {
        if (isForbidden && data.topic === "secret")
          say("error", { code: "forbidden", message: "not for you" });
        else say("subscribed", data);
      },
      auth(_, { say }) {
        isForbidden = true;
        say("auth", { state: "renewed", expires_in: 60, unsubscribed: ["secret", "never subscribed"] });
      },
    },
  });
  const here = client(t, server.url, { token: () => "t" });
  here.client.subscribe("open", () => {});
  here.client.subscribe("secret", () => {});
  await until(() => here.subscribed.length === 2, "both topics");
  await here.client.refreshToken();
  await until(() => here.errors.length, "the refusal");
  assert.deepEqual(
    here.errors.map(({ code, topic }) => [code, topic]),
    [["forbidden", "secret"]],
  );
});

test("after 4001 a new token is tried, and the same one again is the end", async (t) => {
  const server = await startSmallServer(t);
  const given = ["old", "new", "new"];
  const here = client(t, server.url, { token: () => given.shift() });
  await until(() => here.client.state === "open", "open");
  server.closeAll(4001, "the token has expired");
  await until(() => server.tokens.length === 2 && here.client.state === "open", "the new token");
  server.closeAll(4001, "the token has expired");
  const last = await until(() => here.states.find(({ state }) => state === "closed"), "the end");
  assert.equal(last.code, 4001);
  assert.deepEqual(server.tokens, ["old", "new"]);
  assert.deepEqual(
    here.errors.map(({ code }) => code),
    ["no_token"],
  );
  assert.match(here.errors[0].message, /sign in, then open\(\)/);
});

test("a client closed for want of a token opens again with one, and all its topics", async (t) => {
  const server = await startSmallServer(t);
  let token = null;
  const here = client(t, server.url, { token: () => token });
  here.client.subscribe("t", () => {});
  await until(() => here.client.state === "closed", "the end");
  assert.deepEqual([here.states.at(-1).code, here.errors[0].code], [4001, "no_token"]);
  token = "mine";
  here.client.open();
  await until(() => here.subscribed.length === 1, "the subscription");
  assert.deepEqual(server.tokens, ["mine"]);
});

test("a provider that throws is reported, and asked again later", async (t) => {
  const server = await startSmallServer(t);
  const broken = new Error("sign-in is down");
  let asked = 0;
  const token = () => {
    asked += 1;
    if (asked <= 2) throw broken;
    return "mine";
  };
  const here = client(t, server.url, { token });
  await until(() => here.client.state === "open", "open");
  assert.deepEqual(
    here.errors.map(({ code, cause }) => [code, cause]),
    [
      ["connect_failed", broken],
      ["connect_failed", broken],
    ],
  );
});

test("a provider that never answers is given up, each time", async (t) => {
  const server = await startSmallServer(t);
  let asked = 0;
  const token = () => {
    asked += 1;
    return asked === 1 ? new Promise(() => {}) : "mine";
  };
  const here = client(t, server.url, { token, openMs: 100 });
  await until(() => here.client.state === "open", "open");
  assert.equal(here.states[1].reason, "not open in time");
});

test("a refused handshake is tried again with another token", async (t) => {
  const server = await startSmallServer(t, { isGood: (token) => token === "3" });
  let asked = 0;
  const here = client(t, server.url, { token: () => `${++asked}` });
  await until(() => here.client.state === "open", "open");
  assert.deepEqual(server.tokens, ["3"]);
  assert.ok(here.states.filter(({ state }) => state === "waiting").every(({ code }) => code === 1006));
});

test("refreshToken says why it could not", async (t) => {
  const server = await startSmallServer(t, { isGood: (token) => token !== "bad" });
  let token = "good";
  const here = client(t, server.url, { token: () => token });
  await assert.rejects(here.client.refreshToken(), { code: "not_open" });
  await until(() => here.client.state === "open", "open");
  token = "bad";
  await assert.rejects(here.client.refreshToken(), { code: "unauthorized" });
  token = null;
  await assert.rejects(here.client.refreshToken(), { code: "no_token" });
  server.sayToAll("auth", { state: "expiring", expires_in: 1 });
  await until(() => here.errors.length, "the report");
  assert.equal(here.errors[0].code, "refresh_failed");
  assert.equal(here.client.state, "open", "until the server closes it");
  const plain = client(t, server.url);
  await assert.rejects(plain.client.refreshToken(), { code: "no_token" });
});

test("without a provider, auth is a topic as any other", async (t) => {
  const server = await startSmallServer(t);
  const here = client(t, server.url);
  const seen = [];
  here.client.subscribe("auth", (data) => seen.push(data));
  await here.client.publish("auth", { state: "expiring" });
  await settled(here, "end");
  assert.deepEqual(seen, [{ state: "expiring" }]);
});
