/**
 * What the console's tests and its pictures share: a real server, real clients, a browser.
 *
 * In      SERVER_UNDER_TEST: the server's binary; CHROMIUM: its path, else /usr/bin/chromium
 * Out     servers on loopback with an API; pages that note each violation of their policy
 * Bounds  WAIT_MS for each wait; what is started ends with its test
 */
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import WebSocket from "ws";

export const WAIT_MS = 15_000;

const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A server; `start` puts another one in its place, at the same ports. */
export async function startServer(after, ...args) {
  let child, socket, page;

  async function start() {
    const port = (url) => (url ? new URL(url).port : 0);
    const listen = ["--listen", `127.0.0.1:${port(socket)}`, "--api-listen", `127.0.0.1:${port(page)}`];
    child = spawn(process.env.SERVER_UNDER_TEST, [...listen, "--log", "error", ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
    });
    socket = (await until(() => /listening on (ws:\S+)/.exec(said), "the WebSocket's address"))[1];
    page = (await until(() => /console +(http:\S+)/.exec(said), "the console's address"))[1];
  }

  async function stop(signal = "SIGTERM") {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  await start();
  after(() => stop("SIGKILL"));
  const get = async (path, token) => {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    return (await fetch(new URL(path, page), { headers })).json();
  };
  return { socket, page, start, stop, get, signal: (name) => child.kill(name) };
}

/** A client that is subscribed; `closed` is its close code once it has one. */
export async function subscriber(after, url, topics, token) {
  const socket = new WebSocket(url, token ? ["fanwire", `fanwire.token.${token}`] : []);
  const seen = { socket, messages: [], closed: null };
  socket.on("message", (data) => seen.messages.push(JSON.parse(String(data))));
  socket.on("close", (code, reason) => {
    seen.closed = { code, reason: String(reason) };
  });
  after(() => socket.terminate());
  await until(() => socket.readyState === WebSocket.OPEN, "an open client");
  for (const topic of topics) socket.send(JSON.stringify({ topic: "subscribe", data: { topic } }));
  await until(
    () => seen.messages.filter((one) => one.topic === "subscribed").length === topics.length,
    "subscriptions",
  );
  return seen;
}

export async function startBrowser(after, options = {}) {
  const profile = await mkdtemp(join(tmpdir(), "fanwire-console-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    chromiumSandbox: false,
    timeout: 2 * WAIT_MS,
    viewport: { width: 1280, height: 860 },
    ...options,
    args: ARGUMENTS,
  });
  context.setDefaultTimeout(WAIT_MS);
  after(async () => {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  });
  return context;
}

/** A page whose `troubles` are errors of its scripts and violations of its policy. */
export async function openPage(context, url) {
  const page = await context.newPage();
  const troubles = [];
  await page.exposeFunction("violated", (text) => troubles.push(`policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      globalThis.violated(
        `${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`,
      );
    });
  });
  page.on("pageerror", (error) => troubles.push(`error: ${error.stack}`));
  page.on("console", (message) => {
    const isExpected = /Failed to load resource|WebSocket connection to/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !isExpected)
      troubles.push(`console: ${message.text()}`);
  });
  await page.goto(url);
  return Object.assign(page, { troubles });
}

/** A client's token for `--auth jwt` with a secret. */
export function clientToken(secret, sub) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const body = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, exp: Math.floor(Date.now() / 1000) + 600 })}`;
  return `${body}.${createHmac("sha256", secret).update(body).digest("base64url")}`;
}

/** What `look` gives, as soon as that is something. */
export async function until(look, what, ms = WAIT_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
