/** The scenario in Node, with the ws package and with Node's own client, and in Bun. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { EXPECTED, startControl } from "./control.js";
import { WAIT_MS } from "./support.js";

const run = promisify(execFile);
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const BUN = here("../node_modules/.bin/bun");
const hasBun = await run(BUN, ["--version"]).then(
  ({ stdout }) => stdout.trim(),
  () => null,
);

async function runs(t, program, flags, ...more) {
  const { server, control } = await startControl(t);
  const args = [...flags, here("run-scenario.js"), server.url, control, ...more];
  const { stdout } = await run(program, args, { timeout: 2 * WAIT_MS });
  assert.deepEqual(JSON.parse(stdout), EXPECTED);
}

test(`Node ${process.version} with the ws package`, (t) => runs(t, process.execPath, [], "ws"));

test(`Node ${process.version} with its own WebSocket`, (t) => {
  const [major] = process.versions.node.split(".");
  return runs(t, process.execPath, major < 22 ? ["--experimental-websocket"] : []);
});

test(
  `Bun ${hasBun ?? ""}`,
  { skip: hasBun ? false : "the bun package did not bring a binary for this machine" },
  (t) => runs(t, BUN, []),
);

test("Node without a WebSocket says what to do", async () => {
  const flags = Number(process.versions.node.split(".")[0]) < 22 ? [] : ["--no-experimental-websocket"];
  await assert.rejects(
    run(process.execPath, [...flags, here("run-scenario.js"), "ws://127.0.0.1:1", "http://x"]),
    {
      stderr: /TypeError: no WebSocket: give one/,
    },
  );
});
