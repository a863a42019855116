/** The types as users meet them: compiled, never run. */
import { WebSocket } from "ws";
import type { Client, FanwireError, StateChange } from "../src/index.js";
import { connect } from "../src/index.js";

const client: Client = connect("ws://127.0.0.1:8080/ws", { WebSocket, token: async () => "t" });
connect(new URL("http://127.0.0.1:8080/ws"), { token: () => null });
if (globalThis.WebSocket) connect("/ws", { WebSocket: globalThis.WebSocket });

const unsubscribe: () => void = client.subscribe<{ price: number }>("t", (data, topic) => {
  const price: number = data.price;
  const name: string = topic;
  return void [price, name];
});
client.subscribe("t", (data) => {
  // @ts-expect-error: without a type, data has to be looked at first.
  data.price;
});

client.on("state", ({ state, code, retryInMs }: StateChange) => {
  if (state === "waiting") return void [code, retryInMs];
  // @ts-expect-error: there is no such state.
  if (state === "closing") return;
});
client.on("error", (error: FanwireError) => void [error.code, error.topic, error.cause]);
// @ts-expect-error: there is no such event.
client.on("message", () => {});
// @ts-expect-error: times are numbers.
connect("/ws", { retryMs: "1s" });
// @ts-expect-error: nobody but the client says what it is at.
client.state = "open";

unsubscribe();
