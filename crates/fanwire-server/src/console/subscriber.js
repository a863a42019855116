/**
 * A client of the server's WebSocket, for trying: one topic at a time.
 *
 * In      an address, a topic, a client's token
 * Out     `state(text)` and `message(topic, text)`
 * Bounds  one connection; it does not come back by itself
 */

export class Subscriber {
  #socket = null;
  #told;

  constructor(told) {
    this.#told = told;
  }

  get isOpen() {
    return this.#socket !== null;
  }

  open(address, topic, token) {
    this.close();
    const socket = new WebSocket(address, token ? ["fanwire", `fanwire.token.${token}`] : []);
    this.#socket = socket;
    this.#told.state("Connecting …");
    let wasOpen = false;
    socket.onopen = () => {
      wasOpen = true;
      socket.send(JSON.stringify({ topic: "subscribe", data: { topic } }));
    };
    socket.onmessage = ({ data }) => this.#received(String(data));
    socket.onclose = ({ code, reason }) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#told.state(wasOpen ? `Closed: ${code} ${reason}`.trim() : REFUSED);
    };
  }

  close() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    if (socket) this.#told.state("Not connected");
  }

  #received(text) {
    const { topic, data } = JSON.parse(text);
    if (topic === "subscribed") return this.#told.state(`Subscribed to ${data.topic}`);
    if (topic === "error") this.#told.state(`Refused: ${data.message}`);
    const before = `{"topic":${JSON.stringify(topic)},"data":`;
    const isPlain = text.startsWith(before) && text.endsWith("}");
    // As it came: parsing and writing it again would change numbers.
    this.#told.message(topic, isPlain ? text.slice(before.length, -1) : text);
  }
}

const REFUSED =
  "No connection. The server cannot be reached from here, wants a client token, or was started with --origin and not " +
  "this page's: name it too, or subscribe on the server's own page.";
