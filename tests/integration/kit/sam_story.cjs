// An application in another language that uses all it can say: instance 1 leaves something behind and falls silent,
// instance 2 finds it and ends well.
const { Dealer } = require("zeromq");
const { decode, encode } = require("@msgpack/msgpack");

async function main() {
  const socket = new Dealer();
  socket.connect(`ipc://${process.env.TOTEMD_SAM_SOCKET}`);
  const send = (type, fields) => socket.send(encode({ type, ...fields }));
  await send("hello", { role: "sam-app", protocol: [1, 0] });
  for (const [at, type] of ["sam.enrol", "sam.restore", "sam.ask-me", "sam.start"].entries()) await send(type, { request: at + 1 });
  let instance, checks = 0;
  for await (const [frame] of socket) {
    const message = decode(frame);
    if (message.type === "sam.enrolled") console.log(`instance ${(instance = message.instance)}`);
    if (message.type === "sam.stored") console.log(`restored: ${Buffer.from(message.data)}`);
    if (message.type !== "sam.check" || (instance === 1 && checks > 4)) continue; // no answer: warned, then killed
    await send("sam.beat");
    if (++checks === 4) await send("sam.store", { data: new TextEncoder().encode("left by " + instance), request: 5 });
    if (instance === 2 && checks === 5) await send("sam.stop", { request: 6 }).then(() => process.exit(0));
  }
}

main();
