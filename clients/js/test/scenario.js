/**
 * What must work wherever there is a WebSocket: runs unchanged in Node, Bun and Chromium.
 *
 * In      the client's `connect`, its options, the address of the server, that of the control (see
 * control.js)
 * Out     what was seen, or an exception that says what was not
 * Bounds  10 s for each wait
 */
export async function scenario({ connect, options, server, control }) {
  // A connection that the dying server had taken may neither open nor fail: it is given up before the test is.
  const client = connect(server, { retryMs: 50, retryMsMax: 200, openMs: 2_000, ...options });
  const seen = [];
  const errors = [];
  const states = [];
  let subscribed = 0;
  client.on("state", ({ state }) => states.push(state));
  client.on("error", ({ code, topic }) => errors.push([code, topic]));
  client.on("subscribed", () => {
    subscribed += 1;
  });
  const topics = Array.from({ length: 20 }, (_, index) => `topic-${index}`);
  for (const topic of topics) client.subscribe(topic, (data) => seen.push([topic, data]));
  const round = async (number) => {
    for (const topic of topics) await client.publish(topic, { number, text: "grün 🌿" });
    await until(() => seen.length === topics.length * number, `${topics.length * number} messages`);
  };
  await round(1);
  await fetch(`${control}/restart`);
  await until(() => subscribed === 2 * topics.length, "all topics after the restart");
  await round(2);
  for (const [index, [topic, data]] of seen.entries()) {
    const expected = topics[index % topics.length];
    const number = index < topics.length ? 1 : 2;
    if (topic !== expected || data.number !== number || data.text !== "grün 🌿") {
      throw new Error(`message ${index} is ${topic} ${JSON.stringify(data)}`);
    }
  }
  client.subscribe("subscribed", () => {});
  await until(() => errors.length === 1, "the refusal");
  client.close();
  return { messages: seen.length, errors, last: states.at(-1) };
}

async function until(look, what) {
  for (const end = Date.now() + 10_000; !look(); ) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
