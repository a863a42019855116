/** The package as it is shipped: its size, its files, its dependencies. */
import assert from "node:assert/strict";
import { readFile, stat } from "node:fs/promises";
import test from "node:test";

const at = (path) => new URL(`../${path}`, import.meta.url);
const json = async (path) => JSON.parse(await readFile(at(path), "utf8"));

test("the small build has at most 5,000 bytes", async () => {
  const { size } = await stat(at("dist/fanwire.min.js"));
  console.log(`fanwire.min.js: ${size} bytes`);
  assert.ok(size <= 5_000, `${size} bytes`);
});

test("what package.json names is there, with types and source maps", async () => {
  const { exports } = await json("package.json");
  const files = Object.values(exports).flatMap((one) =>
    typeof one === "string" ? [one] : Object.values(one),
  );
  for (const file of files) {
    await stat(at(file));
    if (!file.endsWith(".json")) await stat(at(`${file}.map`));
  }
  const { sources } = await json("dist/fanwire.min.js.map");
  assert.ok(sources.some((source) => source.endsWith("src/client.ts")));
});

test("there is nothing to install beside it, and the lock names no addresses", async () => {
  const { dependencies, peerDependencies, sideEffects } = await json("package.json");
  assert.deepEqual([dependencies, peerDependencies, sideEffects], [undefined, undefined, false]);
  const lock = await readFile(at("package-lock.json"), "utf8");
  assert.doesNotMatch(lock, /"resolved"/);
});

test("each entry point offers what it should", async () => {
  const [readable, small] = await Promise.all([import("fanwire"), import("fanwire/min")]);
  assert.deepEqual(Object.keys(readable), ["FanwireError", "connect"]);
  assert.deepEqual(Object.keys(small), ["FanwireError", "connect"]);
  assert.deepEqual(Object.keys(await import("fanwire/codes")), [
    "MEANINGS",
    "TOKEN_EXPIRED",
    "explain",
    "isFinal",
  ]);
});
