import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import type { ByteStream } from "../../src/runtime/runtime.ts";
import { GIVE_UP_MS } from "./network.ts";
import { createSimulation, type Simulation } from "./simulation.ts";

/** Two connected processes, and what the server's end has seen. */
async function connected(simulation: Simulation) {
  const server = simulation.machine("server").start();
  const client = simulation.machine("client").start();
  const accepted = Promise.withResolvers<ByteStream>();
  const listener = await server.runtime.net.listen({ host: "0.0.0.0", port: 2379 }, accepted.resolve);
  const ours = await simulation.network.connect(client, { host: "server", port: listener.port });
  const theirs = await accepted.promise;
  const seen = { text: "", ended: false, closed: "" };
  theirs.onData = (chunk) => (seen.text += chunk.toString());
  theirs.onEnd = () => (seen.ended = true);
  theirs.onClose = (error) => (seen.closed += error === undefined ? "closed" : error.message);
  return { server, client, ours, theirs, seen, listener };
}

test("bytes arrive in order and whole, whatever the pieces; both ends finish by themselves", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const simulation = createSimulation(seed);
    await simulation.run(async () => {
      const { ours, theirs, seen } = await connected(simulation);
      let expected = "";
      let written = 0;
      let closed = false;
      ours.onClose = () => (closed = true);
      for (let n = 0; n < 50; n++) {
        const text = `${n},`.repeat(n * 50);
        expected += text;
        ours.write(Buffer.from(text), () => written++);
      }
      ours.end();
      await simulation.sleep(1000);
      ok(seen.text === expected, `${seen.text.length} bytes of ${expected.length} arrived, or not in order`);
      equal(written, 50);
      deepEqual([seen.ended, seen.closed, closed], [true, "", false]);
      theirs.write(Buffer.from("answer"));
      theirs.end();
      await simulation.sleep(1000);
      deepEqual([seen.closed, closed], ["closed", true]);
    });
  }
});

test("a reader that pauses holds the writer up", async () => {
  const simulation = createSimulation(1);
  await simulation.run(async () => {
    const { ours, theirs, seen } = await connected(simulation);
    theirs.pause();
    ours.write(Buffer.alloc(1 << 20, "x"));
    await simulation.sleep(1000);
    ok(ours.pendingBytes > 900_000 && seen.text === "");
    theirs.resume();
    await simulation.sleep(1000);
    equal(ours.pendingBytes, 0);
    equal(seen.text.length, 1 << 20);
  });
});

test("a cut holds bytes until it heals, or the connection is given up", async () => {
  const simulation = createSimulation(1);
  await simulation.run(async () => {
    const { ours, seen, client } = await connected(simulation);
    simulation.network.cut("client", "server");
    ours.write(Buffer.from("a"));
    await simulation.sleep(GIVE_UP_MS / 2);
    equal(seen.text, "");
    simulation.network.heal("client", "server");
    await simulation.sleep(100);
    equal(seen.text, "a");
    simulation.network.cut("client", "server");
    ours.write(Buffer.from("b"));
    const refused = rejects(simulation.network.connect(client, { host: "server", port: 2379 }), { code: "ETIMEDOUT" });
    await simulation.sleep(2 * GIVE_UP_MS);
    await refused;
    deepEqual([seen.text, seen.closed], ["a", "the connection is gone: ETIMEDOUT"]);
  });
});

test("when a process dies its peer is told, and its port is free", async () => {
  const simulation = createSimulation(1);
  await simulation.run(async () => {
    const { client, server, seen } = await connected(simulation);
    client.kill();
    await simulation.sleep(100);
    equal(seen.closed, "the connection is gone: ECONNRESET");
    await rejects(
      server.runtime.net.listen({ host: "", port: 2379 }, () => {}),
      { code: "EADDRINUSE" },
    );
    server.machine.crash();
    const other = simulation.machine("client").start();
    await rejects(simulation.network.connect(other, { host: "server", port: 2379 }), { code: "ECONNREFUSED" });
    await server.machine.start().runtime.net.listen({ host: "", port: 2379 }, () => {});
  });
});
