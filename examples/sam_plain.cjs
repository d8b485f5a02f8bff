// An application in JavaScript that sam-run keeps: asked how it is, and started again when it does not answer.
//
//   npm install zeromq @msgpack/msgpack
//   sam-run --interval 1000 -- node sam_plain.cjs        then `touch sick`; docs/sam.md explains each step
const { Dealer } = require("zeromq");
const { decode, encode } = require("@msgpack/msgpack");
const isWell = () => !require("fs").existsSync("sick");

async function main() {
  const socket = new Dealer();
  socket.connect(`ipc://${process.env.TOTEMD_SAM_SOCKET}`);
  const say = (type, fields) => socket.send(encode({ type, ...fields }));
  await say("hello", { role: "sam-app", protocol: [1, 0] });
  for (const [at, type] of ["sam.enrol", "sam.ask-me", "sam.start"].entries()) await say(type, { request: at + 1 });
  console.log(`instance ${process.env.TOTEMD_SAM_INSTANCE}`);
  for await (const [frame] of socket) if (decode(frame).type === "sam.check" && isWell()) await say("sam.beat");
}

main();
