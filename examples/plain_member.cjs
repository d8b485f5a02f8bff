// A member of a group in JavaScript: says TEXT, prints what the group hears, ends at "bye".
//
//   npm install zeromq @msgpack/msgpack
//   node plain_member.cjs RUN_DIR GROUP TEXT      docs/protocol.md explains each step
const { Dealer } = require("zeromq");
const { decode, encode } = require("@msgpack/msgpack");

const [runDir, group, text] = process.argv.slice(2);
const bytes = (string) => new TextEncoder().encode(string);

async function main() {
  const socket = new Dealer();
  socket.connect(`ipc://${runDir}/cpg.sock`);
  const send = (type, fields) => socket.send(encode({ type, ...fields }));
  await send("hello", { role: "client", protocol: [1, 0] });
  await send("join", { group: bytes(group) });
  await send("say", { group: bytes(group), message: bytes(text) }); // waits there until we are a member
  for await (const [control, batch] of socket) {
    const message = decode(control);
    if (message.type === "messages") {
      const heard = [];
      let at = 0, start;
      while ((start = at + 4) <= batch.length) { // each has its length in front
        at = start + batch.readUInt32LE(at);
        heard.push(batch.toString("utf8", start, at));
      }
      if (at !== batch.length || heard.length !== message.count) heard.length = 0; // no member takes any of it
      for (const each of heard) console.log(`node ${message.node}: ${each}`);
      if (heard.includes("bye")) return socket.close();
    }
    if (["expelled", "away", "failed", "refused", "unwelcome", "goodbye"].includes(message.type)) {
      console.error("no member any more:", message); // or say hello, if that is gone, and join again
      process.exit(1);
    }
    if (message.type !== "welcome" && message.type !== "credit") await send("consumed", { messages: 1 });
  }
}

main();
