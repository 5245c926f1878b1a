import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectPlain } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { Authority } from "../../../test/tls/certificates.ts";
import { createNodeRuntime } from "../../runtime/node.ts";
import type { ByteStream, Listener, TlsListening } from "../../runtime/runtime.ts";
import { type MadeCertificate, makeRevocationList } from "./certificate.ts";
import { checkMaterial } from "./check-material.ts";
import { cipherList } from "./cipher-suites.ts";
import { type TlsFileSettings, TlsFiles } from "./tls-files.ts";

const runtime = createNodeRuntime();
const directory = mkdtempSync(join(tmpdir(), "t4-tls-"));
const path = (name: string): string => join(directory, name);
const authority = new Authority("authority");
const alice = authority.client("alice");
const servers = { first: authority.server(), second: authority.server(["localhost"], "second") };
const listeners: Listener[] = [];
const told: string[] = [];

after(async () => {
  for (const listener of listeners) await listener.close();
  rmSync(directory, { recursive: true });
});

function writePair({ certificatePem, keyPem }: MadeCertificate): void {
  writeFileSync(path("cert.pem"), certificatePem);
  writeFileSync(path("key.pem"), keyPem);
}

writePair(servers.first);
writeFileSync(path("ca.pem"), authority.pem);

const basics: TlsFileSettings = {
  certificatePath: path("cert.pem"),
  keyPath: path("key.pem"),
  authorityPath: path("ca.pem"),
  revocationPath: null,
  requiresClientCertificate: true,
  allowedCommonNames: [],
  allowedHostnames: [],
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.3",
  ciphers: cipherList([]),
};

const filesOf = (settings: Partial<TlsFileSettings> = {}): TlsFiles => {
  const tell = (text: string, fields?: Record<string, unknown>) => void told.push(`${text} ${fields?.["why"] ?? ""}`);
  const surroundings = { disk: runtime.disk, clock: runtime.clock, notices: { warn: tell, info: tell } };
  return new TlsFiles({ ...basics, ...settings }, { ...surroundings, check: checkMaterial });
};

/** A server that says who its client is, then ends. */
async function listen(tls: TlsListening): Promise<number> {
  const accept = (stream: ByteStream): void => {
    stream.write(Buffer.from(stream.peer === null ? "nobody" : `peer ${stream.peer?.commonName}`));
    stream.end();
  };
  const listener = await runtime.net.listenTls({ host: "127.0.0.1", port: 0 }, tls, accept);
  listeners.push(listener);
  return listener.port;
}

interface Heard {
  text: string;
  server: string;
  protocol: string;
  alpn: string | false | null;
  reused: boolean;
}

/** What a server says to a client with this certificate; rejects where it ends the connection without a word. */
function hear(port: number, client: MadeCertificate | null, options: ConnectionOptions = {}): Promise<Heard> {
  return new Promise((resolve, reject) => {
    const pair = client === null ? {} : { cert: client.certificatePem, key: client.keyPem };
    const host = "127.0.0.1";
    const own = { host, port, ca: authority.pem, servername: "localhost", ALPNProtocols: ["h2"], ...pair };
    const socket: TLSSocket = connect({ ...own, ...options });
    let text = "";
    let server = "";
    socket.on("secureConnect", () => (server = String(socket.getPeerCertificate().subject.CN)));
    socket.on("data", (chunk) => (text += String(chunk)));
    socket.on("error", reject);
    socket.on("end", () => {
      const protocol = String(socket.getProtocol());
      if (text === "") reject(new Error("ended without a word"));
      else resolve({ text, server, protocol, alpn: socket.alpnProtocol, reused: socket.isSessionReused() });
    });
  });
}

test("clients: a certificate of the authority's lets in, and says who it is; anything else does not", async () => {
  const files = filesOf();
  const port = await listen(files);
  equal((await hear(port, alice)).text, "peer alice");
  equal((await hear(port, alice, { maxVersion: "TLSv1.2" })).text, "peer alice");
  await rejects(hear(port, null));
  await rejects(hear(port, new Authority("authority").client("alice")));
  await rejects(hear(port, authority.sign({ commonName: "late", notAfterMs: Date.now() - 1000, usages: ["client"] })));
  await rejects(hear(port, authority.server(["localhost"], "a server's certificate")));
  equal(files.refusals, 4);
  const open = await listen(filesOf({ requiresClientCertificate: false }));
  equal((await hear(open, null)).text, "nobody");
});

test("ALPN: HTTP/2 or HTTP/1.1, as the client asks", async () => {
  const port = await listen(filesOf());
  equal((await hear(port, alice)).alpn, "h2");
  equal((await hear(port, alice, { ALPNProtocols: ["http/1.1"] })).alpn, "http/1.1");
  equal((await hear(port, alice, { ALPNProtocols: ["http/1.1", "h2"] })).alpn, "h2");
  await rejects(hear(port, alice, { ALPNProtocols: ["smtp"] }));
});

test("B1.7 versions and cipher suites", async () => {
  const newest = await listen(filesOf({ minVersion: "TLSv1.3" }));
  equal((await hear(newest, alice)).protocol, "TLSv1.3");
  await rejects(hear(newest, alice, { maxVersion: "TLSv1.2" }));
  const oldest = await listen(filesOf({ maxVersion: "TLSv1.2" }));
  equal((await hear(oldest, alice)).protocol, "TLSv1.2");
  await rejects(hear(oldest, alice, { minVersion: "TLSv1.3" }));
  const suites = cipherList(["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]);
  const chosen = await listen(filesOf({ ciphers: suites }));
  const old = { maxVersion: "TLSv1.2" } as const;
  equal((await hear(chosen, alice, { ...old, ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384" })).text, "peer alice");
  await rejects(hear(chosen, alice, { ...old, ciphers: "ECDHE-ECDSA-AES128-GCM-SHA256" }));
  equal((await hear(chosen, alice)).protocol, "TLSv1.3");
  const before = await listen(filesOf());
  await rejects(hear(before, alice, { maxVersion: "TLSv1.1", minVersion: "TLSv1.1", ciphers: "ALL@SECLEVEL=0" }));
});

test("names: common names, alternative names and addresses that are allowed", async () => {
  const named = await listen(filesOf({ allowedCommonNames: ["alice", "carol"] }));
  equal((await hear(named, alice)).text, "peer alice");
  await rejects(hear(named, authority.client("bob", ["alice"])));
  const hosts = await listen(filesOf({ allowedHostnames: ["node1.a.example", "10.0.0.7"] }));
  equal((await hear(hosts, authority.client("x", ["node1.a.example"]))).text, "peer x");
  equal((await hear(hosts, authority.client("x", ["*.a.example"]))).text, "peer x");
  equal((await hear(hosts, authority.client("x", ["10.0.0.7"]))).text, "peer x");
  await rejects(hear(hosts, authority.client("node1.a.example")));
  await rejects(hear(hosts, authority.client("x", ["*.other.example", "10.0.0.8"])));
});

test("revocation: as soon as the list says so, for each connection, and never without the list", async () => {
  const { issuer } = authority.made;
  const revoke = (...serials: string[]) =>
    writeFileSync(path("crl.pem"), makeRevocationList(issuer, serials, Date.now()));
  revoke();
  const port = await listen(filesOf({ revocationPath: path("crl.pem") }));
  equal((await hear(port, alice)).text, "peer alice");
  revoke(alice.serialHex);
  await rejects(hear(port, alice));
  await rejects(hear(port, alice, { maxVersion: "TLSv1.2" }));
  equal((await hear(port, authority.client("bob"))).text, "peer bob");
  // A new list is in force also when the certificate beside it cannot be used at that time.
  writeFileSync(path("key.pem"), servers.second.keyPem);
  revoke(alice.serialHex, authority.client("unknown").serialHex);
  await rejects(hear(port, alice));
  equal((await hear(port, authority.client("bob"))).text, "peer bob");
  writePair(servers.first);
  revoke();
  equal((await hear(port, alice)).text, "peer alice");
  rmSync(path("crl.pem"));
  await rejects(hear(port, authority.client("bob")));
  writeFileSync(path("crl.pem"), "not a list");
  await rejects(hear(port, authority.client("bob")));
  await rejects(listen(filesOf({ revocationPath: path("crl.pem") })), /--client-crl-file .*: a value is longer/);
});

test("an authority between that was revoked takes all with it that it has signed", async () => {
  const between = authority.sign({ commonName: "between", isAuthority: true });
  const { makeCertificate } = await import("./certificate.ts");
  const period = { notBeforeMs: Date.now() - 1000, notAfterMs: Date.now() + 60_000 };
  const leaf = makeCertificate({ ...period, commonName: "leaf", usages: ["client"] }, between.issuer);
  const chain = { ...leaf, certificatePem: leaf.certificatePem + between.certificatePem };
  const list = (...serials: string[]) => makeRevocationList(authority.made.issuer, serials, Date.now());
  writeFileSync(path("crl2.pem"), list());
  const port = await listen(filesOf({ revocationPath: path("crl2.pem") }));
  equal((await hear(port, chain)).text, "peer leaf");
  writeFileSync(path("crl2.pem"), list(between.serialHex));
  await rejects(hear(port, chain));
});

test("no session is resumed: what holds for a client is looked at anew", async () => {
  const port = await listen(filesOf());
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    let session: Buffer | undefined;
    const socket = connect({
      host: "127.0.0.1",
      port,
      ca: authority.pem,
      servername: "localhost",
      cert: alice.certificatePem,
      key: alice.keyPem,
      maxVersion,
    });
    socket.on("session", (one) => (session = one));
    await new Promise((resolve) => socket.resume().on("close", resolve));
    if (session === undefined) continue;
    const again = await hear(port, alice, { session, maxVersion });
    deepEqual([again.text, again.reused], ["peer alice", false]);
  }
});

test("new files are taken up without a restart; ones that cannot be used leave the old ones in force", async () => {
  writePair(servers.first);
  const port = await listen(filesOf());
  equal((await hear(port, alice)).server, "server");
  writePair(servers.second);
  equal((await hear(port, alice)).server, "second");
  told.length = 0;
  writeFileSync(path("key.pem"), servers.first.keyPem);
  equal((await hear(port, alice)).server, "second");
  equal((await hear(port, alice)).server, "second");
  equal(told.filter((text) => text.startsWith("the certificate files changed and cannot be used")).length, 1);
  rmSync(path("cert.pem"));
  equal((await hear(port, alice)).server, "second");
  writePair(servers.first);
  equal((await hear(port, alice)).server, "server");
  const other = new Authority("other");
  writeFileSync(path("ca.pem"), other.pem);
  await rejects(hear(port, alice));
  equal((await hear(port, other.client("oscar"))).text, "peer oscar");
  writeFileSync(path("ca.pem"), authority.pem);
});

test("a start with files that cannot be used fails, and says which", async () => {
  await rejects(listen(filesOf({ certificatePath: path("none.pem") })), /none\.pem: there is no such file$/);
  writeFileSync(path("other.pem"), servers.second.keyPem);
  await rejects(listen(filesOf({ keyPath: path("other.pem") })), /key values mismatch/);
});

/** GHSA-6vch-q96h-7gc3 */
test("a handshake has a time limit; who opens many and says nothing keeps nobody else out", async () => {
  const tls = filesOf();
  const reasons: string[] = [];
  const refused = (reason: string) => void reasons.push(reason);
  const { material, admit } = tls;
  const port = await listen({ material, admit, refused, handshakeTimeoutMs: 2000, handshakesMax: 5 });
  const startedMs = performance.now();
  const silent = Array.from({ length: 20 }, () => {
    const socket = connectPlain(port, "127.0.0.1");
    socket.on("error", () => {});
    return new Promise<void>((resolve) => socket.on("close", () => resolve()));
  });
  while (reasons.length < 15) await new Promise((resolve) => setTimeout(resolve, 5));
  ok(reasons.every((reason) => reason === "too many handshakes are under way"));
  equal((await hear(port, alice)).text, "peer alice");
  await Promise.all(silent);
  ok(performance.now() - startedMs >= 1990);
  equal(reasons.length, 20);
  match(reasons.at(-1)!, /the handshake took too long/);
});

test("garbage instead of a handshake, and a client that goes away, end alone", async () => {
  const port = await listen(filesOf());
  for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff", "\0".repeat(1000)]) {
    const socket = connectPlain(port, "127.0.0.1", () => socket.end(bytes));
    socket.on("error", () => {});
    await new Promise((resolve) => socket.resume().on("close", resolve));
  }
  equal((await hear(port, alice)).text, "peer alice");
});

test("one address with and without TLS: the first byte tells, and until it comes the bounds hold", async () => {
  const { material, admit } = filesOf();
  const reasons: string[] = [];
  const refused = (reason: string) => void reasons.push(reason);
  const tls: TlsListening = { material, admit, refused, handshakeTimeoutMs: 300, handshakesMax: 5 };
  const accept = (stream: ByteStream): void => {
    stream.onData = (bytes) => {
      stream.write(Buffer.from(`${stream.secure ? `peer ${stream.peer?.commonName}` : "plain"}: ${bytes}`));
      stream.end();
    };
  };
  const listener = await runtime.net.listenBoth({ host: "127.0.0.1", port: 0 }, tls, accept);
  listeners.push(listener);
  const plain = (bytes: string): Promise<string> =>
    new Promise((resolve) => {
      let text = "";
      const socket = connectPlain(listener.port, "127.0.0.1", () => socket.write(bytes));
      socket.on("error", () => {});
      socket.on("data", (chunk) => (text += String(chunk))).on("close", () => resolve(text));
    });
  const secure = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const pair = { cert: alice.certificatePem, key: alice.keyPem };
      const options = { host: "127.0.0.1", port: listener.port, ca: authority.pem, servername: "localhost", ...pair };
      const socket = connect(options, () => socket.write("hello"));
      socket.on("error", reject).on("data", (chunk) => resolve(String(chunk)));
    });
  deepEqual(await Promise.all([plain("PRI * HTTP/2.0"), secure(), plain("G"), secure()]), [
    "plain: PRI * HTTP/2.0",
    "peer alice: hello",
    "plain: G",
    "peer alice: hello",
  ]);
  deepEqual(reasons, []);
  equal(await plain(""), "");
  equal(await plain("\x16\x03\x01"), "");
  deepEqual(reasons, ["the handshake took too long", "the handshake took too long"]);
  equal(await plain("G"), "plain: G");
});
