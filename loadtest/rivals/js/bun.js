// Bun: its own WebSocket server, which is uWebSockets, and its own publish.
//
// In      [--port N] [--batch-ms N]; connections as ../README.md says
// Out     each message by server.publish: the messages of one turn leave together
// Bounds  a subscriber with more than QUEUE_BYTES_MAX in memory is closed (backpressureLimit,
//         closeOnBackpressureLimit); each has its own copy
// Source  bun.sh/docs: Bun.serve's websocket options, server.publish. Socket options and the backlog cannot
//         be set there; they are set by bun:ffi on the listening socket, from which connections inherit them
import { dlopen, ptr } from "bun:ffi";
import { readdirSync } from "node:fs";

const MESSAGE_BYTES_MAX = 2 << 20;
const QUEUE_BYTES_MAX = 64 << 20;
const SEND_BUFFER_BYTES = 128 << 10;
const BACKLOG = 4096;
const TOPIC = "messages";

const option = (name, otherwise) => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : Number(process.argv[at + 1]);
};
const port = option("--port", 0);
const batchMs = option("--batch-ms", null);

const roles = { "/sub": true, "/pub": true, "/echo": true };

const server = Bun.serve({
  hostname: "127.0.0.1",
  development: false,
  port,
  fetch(request, server) {
    // Without taking the URL apart: what counts is its end.
    const path = request.url.slice(request.url.lastIndexOf("/"));
    if (roles[path] && server.upgrade(request, { data: path })) return undefined;
    return new Response("there are /sub, /pub and /echo\n", { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    sendPings: false,
    idleTimeout: 0,
    maxPayloadLength: MESSAGE_BYTES_MAX,
    backpressureLimit: QUEUE_BYTES_MAX,
    closeOnBackpressureLimit: true,
    open(socket) {
      if (socket.data === "/sub") socket.subscribe(TOPIC);
    },
    // Text comes as a string, which publish sends as text, and binary as a buffer.
    message(socket, message) {
      if (socket.data === "/pub") batchMs === null ? server.publish(TOPIC, message) : gather(message);
      else if (socket.data === "/echo") socket.send(message);
    },
  },
});

let waiting = [];

function gather(message) {
  // Its memory may be used again after the callback.
  if (waiting.push(typeof message === "string" ? message : Buffer.from(message)) > 1) return;
  setTimeout(() => {
    const messages = waiting;
    waiting = [];
    for (const message of messages) server.publish(TOPIC, message);
  }, batchMs);
}

tune();
console.log(`listening on ws://127.0.0.1:${server.port}`);
process.stdin.on("end", () => process.exit(0)).resume();

// What the Rust rivals do in src/listen.rs.
function tune() {
  const { symbols: libc } = dlopen("libc.so.6", {
    getsockopt: { args: ["i32", "i32", "i32", "ptr", "ptr"], returns: "i32" },
    setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
    listen: { args: ["i32", "i32"], returns: "i32" },
  });
  const SOL_SOCKET = 1, SO_SNDBUF = 7, SO_ACCEPTCONN = 30, IPPROTO_TCP = 6, TCP_NODELAY = 1;
  const isListening = (fd) => {
    const value = new Int32Array(1), bytes = new Uint32Array([4]);
    return libc.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, ptr(value), ptr(bytes)) === 0 && value[0] === 1;
  };
  const set = (fd, level, name, value) =>
    libc.setsockopt(fd, level, name, ptr(new Int32Array([value])), 4) === 0;
  const listeners = readdirSync("/proc/self/fd").map(Number).filter(isListening);
  const done =
    listeners.length === 1 &&
    set(listeners[0], SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES) &&
    set(listeners[0], IPPROTO_TCP, TCP_NODELAY, 1) &&
    libc.listen(listeners[0], BACKLOG) === 0;
  if (!done) throw new Error("bun: the listening socket's options could not be set");
}
