/** Close codes on the wire, and what answers that do not come lead to. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { explain, isFinal, MEANINGS } from "../dist/codes.js";
import { startSmallServer } from "./small-server.js";
import { client, until } from "./support.js";

// Those that may be sent; 1005, 1006 and 1015 stand for what was not.
const SENT = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4001, 4321];

test("codes that are final end the client, others bring it back", async (t) => {
  const server = await startSmallServer(t);
  for (const code of SENT) {
    const here = client(t, server.url);
    await until(() => here.client.state === "open", "open");
    server.closeAll(code, "why");
    const left = await until(() => here.states.find((change) => change.code), `the end by ${code}`);
    const isLast = isFinal(code) || code === 4001;
    assert.deepEqual([left.code, left.reason, left.state], [code, "why", isLast ? "closed" : "waiting"]);
    if (!isLast)
      await until(() => here.states.filter(({ state }) => state === "open").length === 2, "its return");
    here.client.close();
    await until(() => server.open().length === 0, "its leave");
  }
});

test("a program may decide otherwise, and an exception in that decision does no harm", async (t) => {
  const server = await startSmallServer(t);
  const asked = [];
  const here = client(t, server.url, {
    isFinal(code, reason) {
      asked.push([code, reason]);
      if (code === 1012) throw new Error("broken");
      return code === 1013;
    },
  });
  for (const code of [1000, 1012, 1013]) {
    await until(() => here.client.state === "open", "open");
    server.closeAll(code, "why");
    await until(() => asked.at(-1)?.[0] === code, "the question");
  }
  assert.equal(here.client.state, "closed");
  assert.deepEqual(asked, [
    [1000, "why"],
    [1012, "why"],
    [1013, "why"],
  ]);
  assert.deepEqual(
    here.errors.map(({ code }) => code),
    ["callback_failed"],
  );
});

test("the documented table is the code's", async () => {
  const page = await readFile(new URL("../../../docs/clients.md", import.meta.url), "utf8");
  const rows = page.matchAll(/^\| (\d{4}) \| (yes|no) \| (.+?) \|$/gm);
  const documented = [...rows].map(([, code, retried, text]) => [Number(code), retried, text]);
  const real = Object.entries(MEANINGS).map(([code, text]) => [
    Number(code),
    isFinal(Number(code)) ? "no" : "yes",
    text,
  ]);
  assert.deepEqual(documented, real);
  assert.equal(explain(1001), MEANINGS[1001]);
  assert.match(explain(4999), /application/);
  assert.match(explain(3000), /unknown/i);
});

test("answers that were lost are missed, and topics asked for again", async (t) => {
  let lost = 2;
  const server = await startSmallServer(t, {
    on: {
      subscribe(data, { say }) {
        if (data.topic !== "lost" || lost-- <= 0) say("subscribed", data);
      },
    },
  });
  const here = client(t, server.url);
  here.client.subscribe("lost", () => {});
  // Later answers tell that an earlier one is missing.
  await until(async () => {
    await here.client.publish("other", 1);
    return here.subscribed.length === 1;
  }, "the topic");
  assert.equal(lost, -1);
  assert.deepEqual(here.errors, []);
});

test("a publish whose pong is lost is told so", async (t) => {
  let pings = 0;
  const server = await startSmallServer(t, {
    on: {
      ping(data, { say }) {
        pings += 1;
        if (pings > 1) say("pong", data);
      },
    },
  });
  const here = client(t, server.url);
  const code = (promise) =>
    promise.then(
      () => "done",
      (error) => error.code,
    );
  const outcomes = [1, 2].map((data) => code(here.client.publish("t", data)));
  assert.deepEqual(await Promise.all(outcomes), ["no_answer", "done"]);
});

test("a refusal that may pass is not the end of a subscription", async (t) => {
  let busy = 2;
  const server = await startSmallServer(t, {
    on: {
      subscribe(data, { say }) {
        if (busy-- > 0) say("error", { code: "busy", message: "later" });
        else say("subscribed", data);
      },
    },
  });
  const here = client(t, server.url);
  here.client.subscribe("t", () => {});
  await until(() => here.subscribed.length === 1, "the subscription");
  assert.equal(busy, -1);
  assert.deepEqual(here.errors, []);
});

test("what is no envelope is reported and skipped, and an error nobody asked for is reported", async (t) => {
  const server = await startSmallServer(t);
  const here = client(t, server.url);
  await until(() => here.client.state === "open", "open");
  const [socket] = server.open();
  for (const text of ["{", "null", Buffer.from([0, 255])]) socket.send(text);
  server.sayToAll("error", { code: "strange", message: "out of the blue" });
  await until(() => here.errors.length === 4, "the reports");
  assert.deepEqual(
    here.errors.map(({ code }) => code),
    ["bad_message", "bad_message", "bad_message", "strange"],
  );
  assert.equal(here.errors[3].message, "strange: out of the blue");
});
