/** The scenario in a process of its own: `SERVER CONTROL [ws]`; says what was seen as JSON. */
import { scenario } from "./scenario.js";

const [server, control, which] = process.argv.slice(2);
const { connect } = await import("../dist/index.js");
const options = which === "ws" ? { WebSocket: (await import("ws")).WebSocket } : {};
console.log(JSON.stringify(await scenario({ connect, options, server, control })));
