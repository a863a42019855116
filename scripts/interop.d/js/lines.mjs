/** The lines between a peer and the one who asks. */
import { createInterface } from "node:readline";

/** `answerTo(asked, ready)` gives the answer to each line, one after the other. */
export async function serve(peer, answerTo) {
  const write = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  write({ peer });
  for await (const line of createInterface({ input: process.stdin }))
    write(await answerTo(JSON.parse(line), () => write({ ready: true })));
}
