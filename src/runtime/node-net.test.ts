import { deepEqual, equal, match, ok, rejects, throws } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { AssertionError } from "../base/assert.ts";
import { nodeNet } from "./node-net.ts";
import type { ByteStream } from "./runtime.ts";

/** A listener on a free port; `take` gives the next connection. */
async function listening() {
  const waiting: ((stream: ByteStream) => void)[] = [];
  const listener = await nodeNet.listen({ host: "127.0.0.1", port: 0 }, (stream) => waiting.shift()?.(stream));
  const take = () => new Promise<ByteStream>((resolve) => waiting.push(resolve));
  return { listener, take };
}

test("bytes go both ways, and a peer that has finished sending still gets its answer", async () => {
  const { listener, take } = await listening();
  await using _ = { [Symbol.asyncDispose]: () => listener.close() };
  const events: string[] = [];
  const taken = take();
  const client = connect({ port: listener.port, host: "127.0.0.1" });
  const stream = await taken;
  match(stream.remoteAddress, /^127\.0\.0\.1:\d+$/);
  const closed = new Promise<void>((resolve) => {
    stream.onData = (chunk) => events.push(`data ${chunk}`);
    stream.onClose = (error) => {
      events.push(`close ${error === undefined}`);
      resolve();
    };
    stream.onEnd = () => {
      events.push("end");
      stream.write(Buffer.from("answer"), () => events.push("written"));
      ok(!events.includes("written"), "never from within the method");
      stream.end();
      throws(() => stream.write(Buffer.from("more")), AssertionError);
    };
  });
  client.end("question");
  equal(await text(client), "answer");
  await closed;
  deepEqual(events, ["data question", "end", "written", "close true"]);
});

test("what the system takes at once needs no callback; what it does not is called back for, in its order", async () => {
  const { listener, take } = await listening();
  await using _ = { [Symbol.asyncDispose]: () => listener.close() };
  const taken = take();
  const client = connect({ port: listener.port, host: "127.0.0.1" });
  client.pause();
  const stream = await taken;
  const events: string[] = [];
  const write = (bytes: Buffer, name: string): boolean =>
    stream.writeAtOnce!(bytes, () => events.push(`${name}, ${stream.pendingBytes} pending`));
  equal(write(Buffer.from("small"), "small"), true);
  equal(stream.pendingBytes, 0);
  equal(write(Buffer.alloc(16 << 20, "l"), "large"), false);
  ok(stream.pendingBytes > 0);
  equal(write(Buffer.from("behind"), "behind"), false);
  await new Promise((resolve) => setTimeout(resolve, 20));
  deepEqual(events, []);
  stream.end();
  client.resume();
  const got = await text(client);
  ok(got.startsWith("smalll") && got.endsWith("lbehind"));
  equal(got.length, 5 + (16 << 20) + 6);
  deepEqual(events, ["large, 0 pending", "behind, 0 pending"]);
  stream.destroy();
  equal(stream.pendingBytes, 0);
});

test("what comes while a stream is paused, and after it, comes in order", async () => {
  const { listener, take } = await listening();
  await using _ = { [Symbol.asyncDispose]: () => listener.close() };
  const taken = take();
  const client = connect({ port: listener.port, host: "127.0.0.1", noDelay: true });
  const stream = await taken;
  const size = 3 << 20;
  const sent = Buffer.from(Array.from({ length: size }, (_, n) => (n * 7 + (n >> 8)) & 0xff));
  const chunks: Buffer[] = [];
  let pauses = 0;
  const ended = new Promise<void>((resolve) => {
    stream.onEnd = resolve;
    stream.onData = (chunk) => {
      chunks.push(chunk);
      if (chunks.length % 3 !== 0) return;
      pauses++;
      stream.pause();
      const resume = () => stream.resume();
      if (pauses % 3 === 0) resume();
      else if (pauses % 3 === 1) setImmediate(resume);
      else setTimeout(resume, 2);
    };
  });
  for (let at = 0; at < size; at += 50_000) {
    client.write(sent.subarray(at, at + 50_000));
    if (at % 150_000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  client.end();
  await ended;
  ok(pauses > 3);
  ok(Buffer.concat(chunks).equals(sent));
  stream.destroy();
});

test("a peer that does not read leaves bytes pending; destroying frees them and calls back", async () => {
  const { listener, take } = await listening();
  const taken = take();
  const client = connect({ port: listener.port, host: "127.0.0.1" });
  client.pause();
  client.on("error", () => {});
  const stream = await taken;
  let closes = 0;
  const closed = new Promise<void>((resolve) => {
    stream.onClose = () => {
      closes++;
      resolve();
    };
  });
  let written = 0;
  const bytes = Buffer.alloc(4 << 20);
  for (let n = 0; n < 4; n++) stream.write(bytes, () => written++);
  await new Promise((resolve) => setTimeout(resolve, 50));
  ok(stream.pendingBytes > 4 << 20, `${stream.pendingBytes} pending`);
  ok(written < 4);
  stream.destroy();
  await closed;
  await new Promise((resolve) => setImmediate(resolve));
  equal(written, 4);
  stream.write(Buffer.from("late"), () => written++);
  await new Promise((resolve) => setImmediate(resolve));
  equal(written, 5);
  equal(closes, 1);
  client.destroy();
  await listener.close();
});

test("a paused stream gives nothing until it is resumed", async () => {
  const { listener, take } = await listening();
  const taken = take();
  const client = connect({ port: listener.port, host: "127.0.0.1" });
  const stream = await taken;
  let got = "";
  let more = () => {};
  stream.onData = (chunk) => {
    got += chunk;
    more();
  };
  stream.pause();
  client.write("abc");
  await new Promise((resolve) => setTimeout(resolve, 30));
  equal(got, "");
  const arrived = new Promise<void>((resolve) => (more = resolve));
  stream.resume();
  await arrived;
  equal(got, "abc");
  stream.destroy();
  client.destroy();
  await listener.close();
});

test("a reset peer ends in onClose with the error", async () => {
  const { listener, take } = await listening();
  const taken = take();
  const client = connect({ port: listener.port, host: "127.0.0.1" });
  const stream = await taken;
  const closed = new Promise<Error | undefined>((resolve) => (stream.onClose = resolve));
  client.resetAndDestroy();
  const error = await closed;
  ok(error instanceof Error && "code" in error && error.code === "ECONNRESET");
  await listener.close();
});

test("a port that is taken is refused with the system's code; a closed listener frees it", async () => {
  const { listener } = await listening();
  const again = () => nodeNet.listen({ host: "127.0.0.1", port: listener.port }, () => {});
  await rejects(again(), { code: "EADDRINUSE" });
  await listener.close();
  await listener.close();
  await (await again()).close();
});

test("unix sockets by path", { skip: process.platform === "win32" }, async () => {
  const directory = await mkdtemp(join(tmpdir(), "t4-net-"));
  const path = join(directory, "socket");
  const taken = Promise.withResolvers<ByteStream>();
  const listener = await nodeNet.listen({ path }, taken.resolve);
  equal(listener.port, 0);
  const client = connect({ path });
  const stream = await taken.promise;
  equal(stream.remoteAddress, "unix");
  stream.write(Buffer.from("hello"));
  equal(String((await once(client, "data"))[0]), "hello");
  stream.destroy();
  client.destroy();
  await listener.close();
  await rm(directory, { recursive: true });
});

test("the socket file of a killed process is taken over; one that is served, and any other file, is not", {
  skip: process.platform === "win32",
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), "t4-net-"));
  const path = join(directory, "socket");
  const program = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.stdout.write("bound"))`;
  const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  const listen = () => nodeNet.listen({ path }, (stream) => stream.destroy());
  await rejects(listen(), { code: "EADDRINUSE" });
  child.kill("SIGKILL");
  await once(child, "exit");
  const listener = await listen();
  await rejects(listen(), { code: "EADDRINUSE" });
  await listener.close();
  await writeFile(path, "somebody's");
  await rejects(listen(), { code: "EADDRINUSE" });
  equal(await readFile(path, "utf8"), "somebody's");
  await rm(directory, { recursive: true });
});
