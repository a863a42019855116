/**
 * Opens a page in two windows, as the browser's quick start says, and waits for what it promises of them.
 *
 * In      the page's address; a package with playwright-core; CHROMIUM: its path, else /usr/bin/chromium
 * Out     what both windows say; exit status 1 if they never say what is promised
 * Bounds  WAIT_MS for each wait; a profile of its own, removed
 */
import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const WAIT_MS = 30_000;
const [address, parts] = process.argv.slice(2);
const { chromium } = createRequire(join(parts, "package.json"))("playwright-core");

async function says(page, promised) {
  const text = () => page.innerText("body");
  try {
    await page.waitForFunction(
      (all) => all.every((one) => document.body.innerText.includes(one)),
      promised,
      { polling: 100 },
    );
  } catch (error) {
    throw new Error(`the page says ${JSON.stringify(await text())}, and not ${promised.join(", ")}`, { cause: error });
  }
  console.log(await text());
}

const profile = await mkdtemp(join(tmpdir(), "fanwire-quick-start-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  chromiumSandbox: false,
  timeout: WAIT_MS,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
});
try {
  context.setDefaultTimeout(WAIT_MS);
  const [first, second] = [await context.newPage(), await context.newPage()];
  await first.goto(address);
  await says(first, ["connection: open", "tea 1,"]);
  await second.goto(address);
  await says(second, ["connection: open", "tea 1,"]);
  await says(first, ["tea 2,"]);
  await second.click("[data-vote=coffee]");
  await says(first, ["tea 2, coffee 1"]);
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
