import { deepEqual, equal } from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { etcdIsMissing, startEtcd } from "../compat/etcd-process.ts";
import { startServer } from "../compat/server-runner.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");

interface Line {
  result?: { created?: boolean; canceled?: boolean; TTL?: string; events?: { kv: { key: string; value?: string } }[] };
  error?: { code: number; message: string };
}

/** A page's socket, and what it has got. */
class Page {
  readonly #socket: WebSocket;
  readonly #lines: Line[] = [];
  readonly opened: Promise<string>;
  readonly closed: Promise<number>;
  #wake: () => void = () => {};

  constructor(url: string, protocols: string[] = []) {
    this.#socket = new WebSocket(url, protocols);
    this.#socket.onmessage = ({ data }) => {
      this.#lines.push(JSON.parse(String(data)) as Line);
      this.#wake();
    };
    this.opened = new Promise((resolve) => {
      this.#socket.onopen = () => resolve(this.#socket.protocol);
      this.#socket.onerror = () => resolve("refused");
    });
    this.closed = new Promise((resolve) => {
      this.#socket.onclose = ({ code }) => resolve(code);
    });
  }

  say(message: object | string): void {
    this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  async next(): Promise<Line> {
    while (this.#lines.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#lines.shift()!;
  }

  close(): void {
    this.#socket.close();
  }
}

async function post(address: string, path: string, body: object): Promise<Record<string, string>> {
  const response = await fetch(`http://${address}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
  return (await response.json()) as Record<string, string>;
}

/** The same on both. */
async function watchesAndRenews(address: string): Promise<void> {
  const page = new Page(`ws://${address}/v3/watch`);
  equal(await page.opened, "");
  page.say({ create_request: { key: base64("socket") } });
  equal((await page.next()).result!.created, true);
  for (const value of ["1", "2"]) {
    await post(address, "kv/put", { key: base64("socket"), value: base64(value) });
    deepEqual(
      (await page.next()).result!.events!.map(({ kv }) => [kv.key, kv.value]),
      [[base64("socket"), base64(value)]],
    );
  }
  page.say({ cancel_request: { watch_id: "0" } });
  equal((await page.next()).result!.canceled, true);
  page.close();
  await page.closed;

  const { ID } = await post(address, "lease/grant", { TTL: 60 });
  const keeper = new Page(`ws://${address}/v3/lease/keepalive`);
  await keeper.opened;
  for (let i = 0; i < 3; i++) {
    keeper.say({ ID });
    equal((await keeper.next()).result!.TTL, "60");
  }
  keeper.close();
  await keeper.closed;
}

test("B0 streams of the gateway by a WebSocket, on an etcd", { skip: etcdIsMissing(), timeout: 60_000 }, async () => {
  const etcd = await startEtcd();
  try {
    await watchesAndRenews(etcd.address);
  } finally {
    await etcd.stop();
  }
});

test("B0 streams of the gateway by a WebSocket: requests as they come, the token, whose pages may", {
  timeout: 60_000,
}, async () => {
  const server = await startServer(["--cors", "https://good.example"]);
  const { address } = server;
  try {
    await watchesAndRenews(address);

    const bad = new Page(`ws://${address}/v3/watch`);
    await bad.opened;
    bad.say("{bad");
    equal((await bad.next()).error!.code, 3);
    equal(await bad.closed, 1000);

    const observer = new Page(`ws://${address}/v3/election/observe`);
    await observer.opened;
    const { ID } = await post(address, "lease/grant", { TTL: 60 });
    observer.say({ name: base64("chair") });
    await post(address, "election/campaign", { name: base64("chair"), lease: ID, value: base64("me") });
    const { result } = (await observer.next()) as { result: { kv: { value: string } } };
    equal(result.kv.value, base64("me"));
    observer.close();

    const handshake = { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13" };
    equal(await statusFor(address, { ...handshake, origin: "https://bad.example" }), 403);
    equal(await statusFor(address, { ...handshake, origin: "https://good.example" }), 101);

    for (const name of ["root", "user"]) await post(address, "auth/user/add", { name, password: "pw" });
    await post(address, "auth/user/grant", { user: "root", role: "root" });
    await post(address, "auth/enable", {});
    const { token } = await post(address, "auth/authenticate", { name: "root", password: "pw" });
    const known = new Page(`ws://${address}/v3/watch`, ["Bearer", token!]);
    equal(await known.opened, "Bearer");
    known.say({ create_request: { key: base64("k") } });
    equal((await known.next()).result!.canceled, undefined);
    known.close();
    const unknown = new Page(`ws://${address}/v3/watch`);
    await unknown.opened;
    unknown.say({ create_request: { key: base64("k") } });
    equal((await unknown.next()).result!.canceled, true);
    unknown.close();
  } finally {
    await server.stop();
  }
});

/** fetch may not send these fields. */
function statusFor(address: string, headers: Record<string, string>): Promise<number> {
  const [host, port] = address.split(":") as [string, string];
  return new Promise((resolve, reject) => {
    const asked = request({
      ...{ host, port, path: "/v3/watch" },
      headers: { ...headers, "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
    });
    asked.on("upgrade", (_, socket) => {
      socket.destroy();
      resolve(101);
    });
    asked.on("response", (response) => {
      response.resume();
      resolve(response.statusCode!);
    });
    asked.on("error", reject);
    asked.end();
  });
}
