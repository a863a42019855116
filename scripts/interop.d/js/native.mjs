/** The client that Node has built in. */
import { answer } from "./behaviours.mjs";
import { serve } from "./lines.mjs";
import { open } from "./standard.mjs";

const { node, undici } = process.versions;
await serve(`Node ${node}, its own WebSocket (undici ${undici})`, (asked, ready) => answer(open, asked, ready));
