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
  let me = [];
  for await (const [control, batch] of socket) {
    const message = decode(control);
    if (message.type === "welcome") me = [message.node_id, message.pid];
    if (message.type === "changed" && message.joined.some(([node, pid]) => node === me[0] && pid === me[1]))
      await send("say", { group: bytes(group), message: bytes(text) });
    if (message.type === "messages")
      for (let at = 0; at < batch.length; ) { // each has its length in front
        const end = at + 4 + batch.readUInt32LE(at);
        const heard = batch.toString("utf8", at + 4, end);
        console.log(`node ${message.node}: ${heard}`);
        if (heard === "bye") return socket.close();
        at = end;
      }
    if (["expelled", "away", "failed", "refused", "unwelcome", "goodbye"].includes(message.type)) {
      console.error("no member any more:", message); // or say hello, if that is gone, and join again
      process.exit(1);
    }
    if (message.type !== "welcome" && message.type !== "credit") await send("consumed", { messages: 1 });
  }
}

main();
