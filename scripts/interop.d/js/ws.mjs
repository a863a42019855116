/** The client of the package `ws`. */
import { once } from "node:events";
import { createRequire } from "node:module";
import WebSocket from "ws";
import { Heard, Refused, answer } from "./behaviours.mjs";
import { serve } from "./lines.mjs";

function open(url, { protocols = [], origin, token } = {}) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const socket = new WebSocket(url, protocols, { origin, headers });
  const heard = new Heard();
  socket.on("message", (payload, isBinary) => heard.put(isBinary ? new Uint8Array(payload) : payload.toString()));
  socket.on("close", (code, reason) => heard.put({ code, reason: reason.toString() }));
  return new Promise((resolve, reject) => {
    socket.once("open", () => resolve(connection(socket, heard)));
    socket.once("unexpected-response", (request, response) => {
      request.destroy();
      reject(new Refused(response.statusCode));
    });
    socket.on("error", reject);
  });
}

open.hasHeaders = true;

function connection(socket, heard) {
  return {
    protocol: socket.protocol,
    extensions: socket.extensions,
    text: (text) => socket.send(text),
    binary: (payload) => socket.send(payload),
    fragments(pieces) {
      pieces.forEach((piece, index) => {
        if (index === 2) socket.ping("between");
        socket.send(piece, { binary: false, fin: index === pieces.length - 1 });
      });
    },
    async ping(payload) {
      socket.ping(payload);
      const [back] = await once(socket, "pong");
      if (!back.equals(payload)) throw new Error(`a ping of ${payload.length} bytes came back as ${back}`);
    },
    close: (code, reason) => socket.close(code, reason),
    hear: () => heard.take(),
  };
}

const { version } = createRequire(import.meta.url)("ws/package.json");
await serve(`ws ${version}, Node ${process.versions.node}`, (asked, ready) => answer(open, asked, ready));
