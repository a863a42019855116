/**
 * Trying it: a message through the API, and a subscriber that sees it arrive.
 *
 * In      what the user types; the WebSocket's address from /api/info
 * Out     POST /api/publish; a log
 * Bounds  LOG_ROWS_MAX rows of DATA_CHARACTERS_MAX
 */
import { post } from "./api.js";
import { at, make, write } from "./dom.js";
import { whole } from "./figures.js";
import { Subscriber } from "./subscriber.js";

const LOG_ROWS_MAX = 200;
const DATA_CHARACTERS_MAX = 2_000;

export class Try {
  #address = null;
  #subscriber;

  constructor() {
    this.#subscriber = new Subscriber({ state: (text) => this.#state(text), message: log });
    at("publish").addEventListener("submit", (event) => {
      event.preventDefault();
      publish();
    });
    at("publish-data").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("publish").requestSubmit();
    });
    at("listen").addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#subscriber.isOpen) this.#subscriber.close();
      else this.#subscriber.open(this.#address, at("listen-topic").value, at("listen-token").value);
    });
    at("log-clear").addEventListener("click", () => at("log").replaceChildren());
    at("listen-button").disabled = true;
  }

  /** The WebSocket has the name of this page, and a port and a path of its own. */
  show({ last }) {
    const port = /:(\d+)$/.exec(last.info.address)?.[1] ?? "0";
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.#address = port === "0" ? null : `${scheme}://${location.hostname}:${port}${last.info.path}`;
    write(at("socket-address"), this.#address ?? "a Unix socket, which no page can reach");
    at("listen-button").disabled = this.#address === null;
  }

  /** Nothing goes on behind the back of who has signed out. */
  stop() {
    this.#subscriber.close();
  }

  #state(text) {
    write(at("listen-state"), text);
    write(at("listen-button"), this.#subscriber.isOpen ? "Unsubscribe" : "Subscribe");
  }
}

/** The data goes as it was typed; JSON.parse makes sure that it is one whole value. */
async function publish() {
  const topic = at("publish-topic").value;
  let data = at("publish-data").value.trim();
  try {
    JSON.parse(data);
  } catch {
    data = JSON.stringify(at("publish-data").value);
  }
  const result = at("publish-result");
  result.className = "";
  try {
    const { subscribers } = await post("api/publish", `{"topic":${JSON.stringify(topic)},"data":${data}}`);
    write(
      result,
      `Sent to ${topic}, which has ${whole(subscribers)} ${subscribers === 1 ? "subscriber" : "subscribers"}.`,
    );
  } catch (error) {
    result.className = "bad";
    write(result, error.message);
  }
}

function log(topic, text) {
  const shown =
    text.length > DATA_CHARACTERS_MAX
      ? `${text.slice(0, DATA_CHARACTERS_MAX)} … (${text.length} characters)`
      : text;
  const time = make("time", "", new Date().toLocaleTimeString("en", { hour12: false }));
  at("log").prepend(make("li", "", time, make("span", "topic", topic), make("span", "data", shown)));
  while (at("log").childElementCount > LOG_ROWS_MAX) at("log").lastElementChild.remove();
}
