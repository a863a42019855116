/**
 * Chromium without a window: each behaviour runs in a page of the address that it talks to.
 *
 * In      the browser's path
 * Bounds  a profile of its own, removed at the end
 */
import { readFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "./lines.mjs";

const profile = await mkdtemp(join(tmpdir(), "interop-chromium-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.argv[2],
  headless: true,
  chromiumSandbox: false,
  // The proxy's certificate is of this run.
  ignoreHTTPSErrors: true,
  bypassCSP: true,
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

// The scripts come from here. The page is the server's, whatever it answers: Chromium asks its user before a page that
// comes from nowhere may connect to this machine.
for (const file of ["behaviours.mjs", "standard.mjs"]) {
  const body = await readFile(new URL(file, import.meta.url));
  await context.route(`**/${file}`, (route) => route.fulfill({ contentType: "text/javascript", body }));
}

const page = context.pages()[0] ?? (await context.newPage());
let tellReady;
await page.exposeFunction("tellReady", () => tellReady());
// Why a handshake failed is for the console only, not for pages.
let said = [];
page.on("console", (message) => said.push(message.text()));

async function inPageOf(origin, asked) {
  await page.goto(`${origin}/interop.html`);
  return page.evaluate(async (asked) => {
    const { answer } = await import("./behaviours.mjs");
    const { open } = await import("./standard.mjs");
    return answer(open, asked, () => globalThis.tellReady());
  }, asked);
}

/** A page of the same machine by another name: elsewhere.example would not resolve, and be refused for that. */
async function originIsChecked({ url, status }) {
  const own = originOf(url);
  said = [];
  const asked = { behaviour: "subprotocol", url };
  const foreign = await inPageOf(own.replace("127.0.0.1", "localhost"), asked);
  const console = said.join(" ");
  if (!console.includes(`Unexpected response code: ${status}`))
    return { failed: `a page of localhost: expected ${status}, found ${JSON.stringify(foreign)} and "${console}"` };
  return inPageOf(own, asked);
}

function originOf(url) {
  const { protocol, host } = new URL(url);
  return `${protocol === "wss:" ? "https" : "http"}://${host}`;
}

await serve(`Chromium ${context.browser()?.version() ?? ""}`, (asked, ready) => {
  tellReady = ready;
  return asked.behaviour === "origin" ? originIsChecked(asked) : inPageOf(originOf(asked.url), asked);
});
await context.close();
await rm(profile, { recursive: true, force: true });
