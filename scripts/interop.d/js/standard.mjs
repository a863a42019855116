/** The client that browsers have, and Node: `globalThis.WebSocket`. */
import { Cannot, Heard, Refused } from "./behaviours.mjs";

export function open(url, { protocols = [], origin } = {}) {
  if (origin !== undefined) throw new Cannot("it has no way to set the origin");
  const socket = new WebSocket(url, protocols);
  socket.binaryType = "arraybuffer";
  const heard = new Heard();
  socket.onmessage = ({ data }) => heard.put(typeof data === "string" ? data : new Uint8Array(data));
  socket.onclose = ({ code, reason }) => heard.put({ code, reason });
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(connection(socket, heard));
    socket.onerror = () => reject(new Refused());
  });
}

open.hasHeaders = false;

function connection(socket, heard) {
  return {
    protocol: socket.protocol,
    extensions: socket.extensions,
    text: (text) => socket.send(text),
    binary: (payload) => socket.send(payload),
    fragments() {
      throw new Cannot("its API has no fragments");
    },
    ping() {
      throw new Cannot("its API has no pings");
    },
    close: (code, reason) => socket.close(code, reason),
    hear: () => heard.take(),
  };
}
