/**
 * A server of a few lines, for what the real one does not do on request: close with a code of the test's
 * choice, let tokens expire, lose answers. Its token messages are those of docs/clients.md.
 *
 * In      handlers for requests, which tokens are good
 * Out     a WebSocket server on loopback, the tokens that came, the sockets that are open
 */
import { once } from "node:events";
import { WebSocketServer } from "ws";

export async function startSmallServer(t, { isGood = () => true, on = {} } = {}) {
  const server = new WebSocketServer({
    host: "127.0.0.1",
    port: 0,
    handleProtocols: (offered) => offered.has("fanwire") && "fanwire",
    verifyClient: ({ req }) => isGood(tokenOf(req)),
  });
  await once(server, "listening");
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const tokens = [];
  server.on("connection", (socket, request) => {
    tokens.push(tokenOf(request));
    const say = (topic, data) => socket.send(JSON.stringify({ topic, data }));
    const handlers = {
      subscribe: (data) => say("subscribed", data),
      unsubscribe: (data) => say("unsubscribed", data),
      publish: ({ topic, data }) => say(topic, data),
      ping: (data) => say("pong", data),
      auth: ({ token }) => {
        tokens.push(token);
        if (isGood(token)) say("auth", { state: "renewed", expires_in: 60, unsubscribed: [] });
        else say("error", { code: "unauthorized", message: "this token is not good: get another" });
      },
      ...on,
    };
    socket.on("message", (text) => {
      const { topic, data } = JSON.parse(text);
      handlers[topic](data, { say, socket });
    });
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/ws`,
    tokens,
    open: () => [...server.clients].filter(({ readyState }) => readyState === 1),
    sayToAll(topic, data) {
      for (const socket of server.clients) socket.send(JSON.stringify({ topic, data }));
    },
    closeAll(code, reason) {
      for (const socket of server.clients) socket.close(code, reason);
    },
  };
}

/** Of the subprotocols. */
function tokenOf(request) {
  const offered = (request.headers["sec-websocket-protocol"] ?? "").split(/, */);
  const found = offered.find((name) => name.startsWith(PROTOCOL));
  return found?.slice(PROTOCOL.length);
}

const PROTOCOL = "fanwire.token.";
