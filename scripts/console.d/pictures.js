/**
 * Pictures of each view, light and dark, of a server with something to do.
 *
 * In      SERVER_UNDER_TEST, CHROMIUM; PICTURES: a folder, else docs/console
 * Out     a PNG per view and colour scheme
 * Bounds  SESSIONS clients, LOAD_MS of messages before the first picture
 */
import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { openPage, startBrowser, startServer, subscriber, until } from "./support.js";

const folder = process.env.PICTURES ?? fileURLToPath(new URL("../../docs/console/", import.meta.url));
const SESSIONS = 60;
const LOAD_MS = Number(process.env.LOAD_MS ?? 45_000);
const VIEWS = ["overview", "shards", "topics", "sessions", "reasons", "try"];

const ends = [];
const after = (end) => ends.unshift(end);
let isOver = false;
try {
  await mkdir(folder, { recursive: true });
  const server = await startServer(after, "--shards", "2", "--overflow", "drop-oldest");
  const contexts = await Promise.all(
    ["light", "dark"].map((colorScheme) =>
      startBrowser(after, { colorScheme, viewport: { width: 1280, height: 900 } }),
    ),
  );
  const pages = await Promise.all(contexts.map((context) => openPage(context, server.page)));
  const topics = (index) => ["news", `room:${index % 12}`, index % 3 ? "ticker" : "sports"];
  const indices = Array.from({ length: SESSIONS }, (_, index) => index);
  const clients = await Promise.all(indices.map((index) => subscriber(after, server.socket, topics(index))));
  // One that stops reading, and misses most of what is large.
  const stalled = await subscriber(after, server.socket, ["frames"]);
  stalled.socket.pause();
  const load = publish(server);
  for (const one of clients.slice(0, 7)) one.socket.close(1000);
  clients[8].socket.terminate();
  clients[9].socket.send("no message of a known form");
  for (let index = 0; index < 3; index += 1) await refused(server.socket);
  await new Promise((resolve) => setTimeout(resolve, LOAD_MS));
  for (const [index, scheme] of ["light", "dark"].entries()) {
    const page = pages[index];
    await page.bringToFront();
    for (const view of VIEWS) {
      await page.goto(`${server.page}#${view}`);
      await page.locator("#state.live").waitFor();
      if (view === "try") await tryIt(page);
      await page.waitForTimeout(2_500);
      await page.screenshot({ path: `${folder}/${view}-${scheme}.png`, animations: "disabled" });
    }
  }
  const narrow = pages[0];
  await narrow.setViewportSize({ width: 360, height: 740 });
  await narrow.goto(`${server.page}#overview`);
  await narrow.waitForTimeout(2_000);
  await narrow.screenshot({ path: `${folder}/narrow-light.png` });
  isOver = true;
  await load;
  const troubles = pages.flatMap((page) => page.troubles);
  if (troubles.length > 0) throw new Error(troubles.join("\n"));
} finally {
  isOver = true;
  for (const end of ends) await end();
}

/** A page of elsewhere. */
async function refused(url) {
  const socket = new WebSocket(url, { origin: "https://elsewhere.example" });
  await new Promise((resolve) => socket.once("error", resolve));
}

/** Some hundred messages a second, more at times. */
async function publish(server) {
  for (let turn = 0; !isOver; turn += 1) {
    const count = 6 + Math.round(5 * Math.sin(turn / 25)) + (turn % 90 < 12 ? 14 : 0);
    const topics = ["news", "ticker", `room:${turn % 12}`, "sports"];
    const lines = Array.from({ length: count }, (_, index) =>
      JSON.stringify({
        topic: topics[(turn + index) % 4],
        data: { turn, text: "x".repeat(40 + (turn % 60)) },
      }),
    );
    lines.push(JSON.stringify({ topic: "frames", data: "x".repeat(30_000) }));
    await fetch(new URL("api/batch", server.page), {
      method: "POST",
      headers: { "Content-Type": "application/x-ndjson" },
      body: lines.join("\n"),
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function tryIt(page) {
  await page.fill("#listen-topic", "demo");
  await page.click("#listen-button");
  await page.locator("#listen-state", { hasText: "Subscribed" }).waitFor();
  await page.fill("#publish-topic", "demo");
  for (const data of ['{"hello":"world"}', '{"price":101.25,"symbol":"FAN"}', '"any JSON value"']) {
    await page.fill("#publish-data", data);
    await page.click("#publish button.main");
    await until(async () => (await page.locator("#log li").count()) > 0, "a message");
  }
}
