/**
 * What the tests share: a real server, waits that end, a log of what a client says.
 *
 * In      SERVER_UNDER_TEST: the server's binary; without it the one that `cargo build --release` leaves
 * Out     servers on loopback, at a free port
 * Bounds  WAIT_MS for each wait; servers end with their test
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import WebSocket from "ws";
import { connect } from "../dist/index.js";

export const WAIT_MS = 15_000;

const BINARY =
  process.env.SERVER_UNDER_TEST ??
  fileURLToPath(new URL("../../../target/release/fanwire-server", import.meta.url));

/** A fanwire-server; `restart` puts another one in its place, at the same port. */
export async function startServer(t, ...args) {
  if (!existsSync(BINARY))
    throw new Error(`there is no ${BINARY}: run scripts/clients, or set SERVER_UNDER_TEST`);
  let child;
  let url;
  let said;

  async function start(port = 0) {
    child = spawn(BINARY, ["--listen", `127.0.0.1:${port}`, "--shards", "1", "--log", "error", ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    said = "";
    child.stdout.on("data", (chunk) => {
      said += chunk;
    });
    url = (await until(() => /listening on (ws:\S+)/.exec(said), "the server's address"))[1];
  }

  async function stop(signal = "SIGTERM") {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await ended;
  }

  await start();
  t.after(() => stop("SIGKILL"));
  return {
    url,
    /** What it has written. */
    said: () => said,
    stop,
    start: () => start(new URL(url).port),
    /** Stops all of its threads. The signal alone does not: one may still answer while another takes it. */
    async freeze() {
      child.kill("SIGSTOP");
      await until(() => threadStates(child.pid).every((state) => state === "T"), "a stopped server");
    },
    thaw: () => child.kill("SIGCONT"),
    async restart(signal) {
      await stop(signal);
      await start(new URL(url).port);
    },
  };
}

/** The letter of proc_pid_stat(5) for each thread. */
function threadStates(pid) {
  const folder = `/proc/${pid}/task`;
  return readdirSync(folder).map((id) => /\) (\S)/.exec(readFileSync(`${folder}/${id}/stat`, "utf8"))[1]);
}

/** A client that is closed with its test, and everything it said. */
export function client(t, url, options = {}) {
  const made = connect(url, { WebSocket, retryMs: 50, retryMsMax: 200, ...options });
  const log = { states: [], errors: [], subscribed: [] };
  made.on("state", (change) => log.states.push(change));
  made.on("error", (error) => log.errors.push(error));
  made.on("subscribed", (event) => log.subscribed.push(event));
  t.after(() => made.close());
  return Object.assign(log, { client: made });
}

/** What `look` gives, as soon as that is something. */
export async function until(look, what, ms = WAIT_MS) {
  const end = Date.now() + ms;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Resolves when the client has heard from the server after everything that was sent before. */
export async function settled({ client: made }, topic) {
  const seen = Symbol("seen");
  let last;
  const stop = made.subscribe(topic, (data) => {
    last = data === "settled" ? seen : last;
  });
  await made.publish(topic, "settled");
  await until(() => last === seen, "the last message");
  stop();
}
