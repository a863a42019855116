// Node's ws: the library that most JavaScript servers have, at its best settings.
//
// In      a listening descriptor in RIVAL_LISTENER (rival-listen sets the socket options that Node cannot);
//         [--batch-ms N]; connections as ../README.md says. Or --version
// Out     each message to each subscriber: framed once by ws' own Sender.frame, joined with the others of the same
//         read, and that one buffer to each socket, which is ours (noServer): one write per subscriber
// Bounds  a subscriber with more than QUEUE_BYTES_MAX in memory is terminated; ws itself keeps everything
// Source  ws 8, doc/ws.md: noServer, perMessageDeflate, and allowSynchronousEvents, by default on; Node's
//         net.Socket.writableLength. No string is made of text: it is sent as it came
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Sender, WebSocket, WebSocketServer } from "ws";

if (process.argv[2] === "--version") {
  const { version } = createRequire(import.meta.url)("ws/package.json");
  console.log(`ws ${version} on Node ${process.version}`);
  process.exit(0);
}

const MESSAGE_BYTES_MAX = 2 << 20;
const QUEUE_BYTES_MAX = 64 << 20;
const BACKLOG = 4096;

const batchMs = process.argv[2] === "--batch-ms" ? Number(process.argv[3]) : null;

const subscribers = new Map(); // WebSocket -> its socket
let frames = [];

const hub = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MESSAGE_BYTES_MAX,
});

const FRAME = { fin: true, rsv1: false, mask: false, readOnly: true };
const TEXT = 1, BINARY = 2;

function publish(data, isBinary) {
  if (frames.length === 0) process.nextTick(flush);
  frames.push(...Sender.frame(data, { ...FRAME, opcode: isBinary ? BINARY : TEXT }));
}

function flush() {
  const bytes = Buffer.concat(frames);
  frames = [];
  for (const [subscriber, socket] of subscribers) {
    if (subscriber.readyState !== WebSocket.OPEN) continue;
    socket.write(bytes);
    if (socket.writableLength > QUEUE_BYTES_MAX) leave(subscriber);
  }
}

let waiting = [];

function gather(data, isBinary) {
  if (waiting.push([data, isBinary]) > 1) return;
  setTimeout(() => {
    const messages = waiting;
    waiting = [];
    for (const message of messages) publish(...message);
  }, batchMs);
}

function leave(subscriber) {
  if (subscribers.delete(subscriber)) subscriber.terminate();
}

const roles = {
  "/sub": (client, socket) => {
    subscribers.set(client, socket);
    client.on("close", () => leave(client));
  },
  "/pub": (client) => client.on("message", batchMs === null ? publish : gather),
  "/echo": (client) => client.on("message", (data, isBinary) => client.send(data, { binary: isBinary })),
};

const server = createServer((request, response) => response.writeHead(404).end());

server.on("upgrade", (request, socket, head) => {
  const role = roles[request.url];
  if (!role) {
    socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
    return;
  }
  hub.handleUpgrade(request, socket, head, (client) => {
    // How a connection ended is for the client to say; ws closes it.
    client.on("error", () => {});
    role(client, socket);
  });
});

server.listen({ fd: Number(process.env.RIVAL_LISTENER) }, BACKLOG, () => {
  console.log(`listening on ws://127.0.0.1:${server.address().port}`);
});

process.stdin.on("end", () => process.exit(0)).resume();
