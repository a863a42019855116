/**
 * Tokens: asked for at every connect, renewed in band, expired. Against the real server; and for what
 * that one does not do on request, against a small one that speaks as docs/clients.md says.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";
import test from "node:test";
import { startSmallServer } from "./small-server.js";
import { client, settled, startServer, until } from "./support.js";
import { startTokens } from "./tokens.js";

test("the real server warns, takes the new token in band, and messages go on", async (t) => {
  const tokens = await startTokens(t);
  const server = await startServer(t, ...tokens.settings);
  let asked = 0;
  // Warned of 2 s before its end: not within a second of the token before, which the server would refuse.
  const here = client(t, server.url, { token: () => tokens.make("ada", 5, ++asked) });
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

test("topics that a new token of the real server does not open end", async (t) => {
  const tokens = await startTokens(t);
  const server = await startServer(t, ...tokens.settings);
  let subscribe = ["open", "secret"];
  const here = client(t, server.url, { token: () => tokens.make("ada", 60, 0, { subscribe }) });
  here.client.subscribe("open", () => {});
  here.client.subscribe("secret", () => {});
  await until(() => here.subscribed.length === 2, "both topics");
  subscribe = ["open"];
  await here.client.refreshToken();
  assert.deepEqual(
    here.errors.map(({ code, topic }) => [code, topic]),
    [["unsubscribed", "secret"]],
  );
  // Whoever asks for it again hears the server's reason.
  here.client.subscribe("secret", () => {});
  await until(() => here.errors.length === 2, "the refusal");
  assert.deepEqual([here.errors[1].code, here.errors[1].topic], ["forbidden", "secret"]);
});

/** A webhook, and what it has not answered yet: a function for each question about a token in band. */
async function startWebhook(t) {
  const open = [];
  const hook = createServer(async (request, response) => {
    const { event, token } = await json(request);
    const answer = (status = 200, more = {}) => {
      response.writeHead(status);
      response.end(JSON.stringify({ user: "ada", expires_in: 3_600, ...more }));
    };
    if (event === "connect") answer();
    else open.push({ token, answer });
  }).listen(0, "127.0.0.1");
  await once(hook, "listening");
  t.after(() => {
    hook.closeAllConnections();
    hook.close();
  });
  const url = `http://127.0.0.1:${hook.address().port}/`;
  return { open, settings: ["--auth", "webhook", "--auth-webhook-url", url] };
}

test("while a webhook decides about a token, answers of others find their requests", async (t) => {
  const webhook = await startWebhook(t);
  const server = await startServer(t, ...webhook.settings, "--subscribe-topics", "a");
  let asked = 0;
  const here = client(t, server.url, { token: () => `token-${++asked}` });
  here.client.subscribe("a", () => {});
  await until(() => here.subscribed.length === 1, "the topic");
  const refreshed = here.client.refreshToken();
  const [question] = await until(() => webhook.open.length && webhook.open, "the question");
  assert.equal(question.token, "token-2");
  let isRefreshed = false;
  refreshed.then(() => {
    isRefreshed = true;
  });
  await here.client.publish("a", 1);
  await assert.rejects(here.client.publish("auth", 1), { code: "reserved_topic" });
  here.client.subscribe("b", () => {});
  await until(() => here.errors.length, "the refusal");
  assert.deepEqual([here.errors[0].code, here.errors[0].topic], ["forbidden", "b"]);
  assert.equal(isRefreshed, false, "nobody has decided");
  question.answer();
  await refreshed;
  assert.equal(here.states.filter(({ state }) => state === "open").length, 1);
});

test("a webhook's refusal is the token's, and nothing else's", async (t) => {
  const webhook = await startWebhook(t);
  const server = await startServer(t, ...webhook.settings);
  let asked = 0;
  const here = client(t, server.url, { token: () => `token-${++asked}` });
  await until(() => here.client.state === "open", "open");
  const refused = assert.rejects(here.client.refreshToken(), { code: "unauthorized" });
  const question = await until(() => webhook.open[0], "the question");
  // Refused or not, a publish that is under way when the refusal comes keeps its own answer.
  await server.freeze();
  question.answer(401, { reason: "locked out" });
  const publishes = [here.client.publish("a", 1), here.client.publish("b", 2)];
  await new Promise((resolve) => setTimeout(resolve, 50));
  server.thaw();
  await Promise.all([refused, ...publishes]);
  assert.deepEqual(here.errors, []);
});

test("a token that nobody answers is given up with its connection", async (t) => {
  const server = await startSmallServer(t, { on: { auth() {} } });
  const here = client(t, server.url, { token: () => "mine", answerMs: 100 });
  await until(() => here.client.state === "open", "open");
  await assert.rejects(here.client.refreshToken(), { code: "connection_lost" });
  assert.deepEqual([here.states.at(-1).code, here.states.at(-1).reason], [1006, "no answer"]);
});

test("a token is asked for at every connect", async (t) => {
  const server = await startSmallServer(t);
  let asked = 0;
  const here = client(t, server.url, { token: async () => `token-${++asked}` });
  for (let round = 1; round <= 3; round++) {
    await until(() => here.client.state === "open" && server.tokens.length === round, "a connection");
    server.closeAll(1012, "restart");
    await until(() => here.states.filter(({ code }) => code === 1012).length === round, "the loss");
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

test("of topics that a new token does not open only those end that were there", async (t) => {
  const server = await startSmallServer(t, {
    on: {
      auth(_, { say }) {
        say("auth", { state: "renewed", expires_in: 60, unsubscribed: ["secret", "never subscribed"] });
      },
    },
  });
  const here = client(t, server.url, { token: () => "t" });
  here.client.subscribe("open", () => {});
  here.client.subscribe("secret", () => {});
  await until(() => here.subscribed.length === 2, "both topics");
  await here.client.refreshToken();
  assert.deepEqual(
    here.errors.map(({ code, topic }) => [code, topic]),
    [["unsubscribed", "secret"]],
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
  assert.equal(here.states[1].reason, "not open");
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
