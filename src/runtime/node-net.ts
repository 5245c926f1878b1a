import { lstat, unlink } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { assert } from "../base/assert.ts";
import type { Handshakes } from "./node-tls.ts";
import type { ByteStream, ListenAddress, Listener, Net, PeerIdentity, TlsListening } from "./runtime.ts";

/** Connections that the kernel holds before we take them; it clips the number to its own bound. */
const BACKLOG = 1024;

export const nodeNet: Net = {
  listen: (address, accept) => listenSockets(address, (socket) => accept(new SocketStream(socket))),
  async listenTls(address, tls, accept) {
    const handshakes = await readyHandshakes(tls, accept);
    return listenSockets(address, (socket) => handshakes.begin(socket));
  },
  async listenBoth(address, tls, accept) {
    const handshakes = await readyHandshakes(tls, accept);
    const plain = (socket: Socket): void => accept(new SocketStream(socket));
    return listenSockets(address, (socket) => handshakes.beginOrLeave(socket, plain));
  },
};

async function readyHandshakes(tls: TlsListening, accept: (stream: ByteStream) => void): Promise<Handshakes> {
  // Loaded by those who ask for it.
  const { Handshakes } = await import("./node-tls.ts");
  const handshakes = new Handshakes(tls, (socket, peer) => accept(new SocketStream(socket, { peer })));
  // A certificate that cannot be used is told of before the port is taken.
  await handshakes.refresh();
  return handshakes;
}

async function listenSockets(address: ListenAddress, accept: (socket: Socket) => void): Promise<Listener> {
  // Half-open: a peer that has finished sending still gets its answers, and `end` is ours to call.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
  try {
    await bind(server, address);
  } catch (error) {
    const inUse = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
    if (!inUse || !("path" in address) || !(await isAbandoned(address.path))) throw error;
    // Another process may take it over at the same moment: the later one then has the name.
    await unlink(address.path);
    await bind(server, address);
  }
  // An error of a listening server is one of accepting a connection (EMFILE, ECONNABORTED): the next one may succeed.
  server.on("error", () => {});
  return new NodeListener(server);
}

function bind(server: Server, address: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ ...address, backlog: BACKLOG }, () => {
      server.removeListener("error", reject);
      resolve();
    });
  });
}

/** The file of a socket outlives a process that is killed: then nobody answers there. */
async function isAbandoned(path: string): Promise<boolean> {
  const isSocket = await lstat(path).then(
    (status) => status.isSocket(),
    () => false,
  );
  if (!isSocket) return false;
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code === "ECONNREFUSED"));
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
  });
}

class NodeListener implements Listener {
  readonly port: number;
  private readonly server: Server;

  constructor(server: Server) {
    this.server = server;
    const bound = server.address();
    this.port = bound !== null && typeof bound === "object" ? bound.port : 0;
  }

  close(): Promise<void> {
    // The callback waits for the last connection; connections have owners of their own, so only the end of listening is
    // ours.
    if (this.server.listening) this.server.close();
    return Promise.resolve();
  }
}

const nothing = (): void => {};
const NO_BYTES = Buffer.alloc(0);

/** A connected socket as a ByteStream; also a TLS one, whose handshake is done. Takes the socket over. */
class SocketStream implements ByteStream {
  readonly remoteAddress: string;
  readonly secure: boolean;
  readonly peer: PeerIdentity | null;
  onData: (chunk: Buffer) => void = nothing;
  onEnd: () => void = nothing;
  onClose: (error?: Error) => void = nothing;
  private readonly socket: Socket;
  private error: Error | undefined;
  private ended = false;

  constructor(socket: Socket, secured: { peer: PeerIdentity | null } | null = null) {
    this.socket = socket;
    this.secure = secured !== null;
    this.peer = secured?.peer ?? null;
    this.remoteAddress = addressOf(socket);
    // Reading starts on a later tick, so who takes the stream has set its handlers by then.
    socket.on("data", (chunk: Buffer) => this.onData(chunk));
    this.readPast(socket);
    socket.on("end", () => this.onEnd());
    socket.on("error", (error) => {
      this.error ??= error;
    });
    socket.on("close", () => (this.error === undefined ? this.onClose() : this.onClose(this.error)));
  }

  get pendingBytes(): number {
    return this.socket.writableLength;
  }

  write(bytes: Uint8Array, written?: () => void): void {
    assert(!this.ended, "nothing is written to a stream that was ended");
    // Node calls back on a later tick also when the socket is gone, and then once with an error that onClose tells of.
    if (written === undefined) this.socket.write(bytes);
    else this.socket.write(bytes, () => written());
  }

  /** A write with a callback costs a tick of its own: here there is one only where the system has not taken all. */
  writeAtOnce(bytes: Uint8Array, written: () => void): boolean {
    const { socket } = this;
    if (this.secure || socket.writableLength > 0) {
      this.write(bytes, written);
      return false;
    }
    assert(!this.ended, "nothing is written to a stream that was ended");
    socket.write(bytes);
    // Also when the socket is gone: nobody needs the bytes then.
    if (socket.writableLength === 0) return true;
    // What comes behind is written after all that comes before.
    socket.write(NO_BYTES, () => written());
    return false;
  }

  pause(): void {
    this.socket.pause();
  }

  /**
   * What is read while the socket flows and holds nothing back is given out at once, past the queue and the events of
   * the stream, which take more time than reading. All else takes the usual way, so that the order stays.
   */
  private readPast(socket: Socket): void {
    const push = socket.push;
    socket.push = (chunk: Buffer | null, encoding?: BufferEncoding): boolean => {
      if (chunk === null || socket.readableFlowing !== true || socket.readableLength > 0) {
        return push.call(socket, chunk, encoding);
      }
      this.onData(chunk);
      return true;
    };
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    this.ended = true;
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** "10.0.0.1:51234", "[::1]:51234"; "unix" for a unix socket, whose peers have no address. */
export function addressOf(socket: Socket): string {
  const { remoteAddress, remotePort } = socket;
  if (remoteAddress === undefined) return "unix";
  return remoteAddress.includes(":") ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}
