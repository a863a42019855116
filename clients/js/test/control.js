/** An HTTP server for the scenario: a page, the built client, and `/restart` for the real server. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { startServer } from "./support.js";

const FILES = {
  "/": ["text/html", null],
  "/fanwire.min.js": ["text/javascript", "../dist/fanwire.min.js"],
  "/scenario.js": ["text/javascript", "./scenario.js"],
};

export async function startControl(t, ...args) {
  const pages = createServer(async (request, response) => {
    if (request.url === "/restart") {
      await server.restart();
      return response.end();
    }
    const [type, file] = FILES[request.url] ?? [];
    response.writeHead(type ? 200 : 404, { "Content-Type": type ?? "text/plain" });
    response.end(
      file ? await readFile(new URL(file, import.meta.url)) : "<!doctype html><title>test</title>",
    );
  }).listen(0, "127.0.0.1");
  await once(pages, "listening");
  t.after(() => {
    pages.closeAllConnections();
    pages.close();
  });
  const control = `http://127.0.0.1:${pages.address().port}`;
  const server = await startServer(t, "--origin", control, ...args);
  return { server, control };
}

export const EXPECTED = { messages: 40, errors: [["reserved_topic", "subscribed"]], last: "closed" };
