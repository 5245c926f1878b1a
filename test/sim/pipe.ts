import { assert } from "../../src/base/assert.ts";
import type { ByteStream } from "../../src/runtime/runtime.ts";
import { GIVE_UP_MS, type SimNetwork } from "./network.ts";
import { fingerprint, type SimNode } from "./node.ts";
import type { Simulation } from "./simulation.ts";

/** Bytes that the two systems hold between a writer and a reader that is slow or paused. */
const WINDOW_BYTES = 64 * 1024;

interface Outgoing {
  readonly bytes: Uint8Array;
  sent: number;
  readonly written: (() => void) | undefined;
}

type Packet = { kind: "data"; bytes: Buffer } | { kind: "end" };

/** The two ends of a connection. */
export function makePipe(
  simulation: Simulation,
  network: SimNetwork,
  ends: { client: SimNode; server: SimNode },
): [client: SimStream, server: SimStream] {
  const client = new SimStream(simulation, network, { node: ends.client, peer: ends.server });
  const server = new SimStream(simulation, network, { node: ends.server, peer: ends.client });
  client.join(server);
  server.join(client);
  return [client, server];
}

/** One end. What it sends arrives in order, in pieces of the network's choosing, each after a delay of its own. */
export class SimStream implements ByteStream {
  readonly remoteAddress: string;
  onData: (chunk: Buffer) => void = () => {};
  onEnd: () => void = () => {};
  onClose: (error?: Error) => void = () => {};
  readonly #simulation: Simulation;
  readonly #network: SimNetwork;
  readonly #node: SimNode;
  readonly #peerNode: SimNode;
  #peer!: SimStream;
  readonly #outgoing: Outgoing[] = [];
  #pendingBytes = 0;
  /** Bytes handed to the system that the peer's process has not taken. */
  #windowBytes = 0;
  /** Sent, and not yet arrived because of a cut. */
  readonly #held: Packet[] = [];
  /** On their way, in order: what arrives is the first of them, also when two arrive at one moment. */
  readonly #travelling: Packet[] = [];
  #arrivesMs = 0;
  /** Arrived, and not yet taken. */
  readonly #arrived: Packet[] = [];
  #paused = false;
  #ended = false;
  #endSent = false;
  #peerEnded = false;
  #gone = false;

  constructor(simulation: Simulation, network: SimNetwork, ends: { node: SimNode; peer: SimNode }) {
    this.#simulation = simulation;
    this.#network = network;
    this.#node = ends.node;
    this.#peerNode = ends.peer;
    this.remoteAddress = ends.peer.machine.name;
    network.opened(this);
    ends.node.onKilled.push((how) => this.#ownerDied(how));
  }

  join(peer: SimStream): void {
    this.#peer = peer;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  write(bytes: Uint8Array, written?: () => void): void {
    assert(!this.#ended, "nothing is written to a stream that was ended");
    if (this.#gone) {
      if (written !== undefined) this.#soon("written, stream gone", written);
      return;
    }
    this.#outgoing.push({ bytes, sent: 0, written });
    this.#pendingBytes += bytes.length;
    this.#pump();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#soon("resumed", () => this.#take());
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#pump();
  }

  destroy(): void {
    if (this.#gone) return;
    this.#breakOff(undefined);
    const peer = this.#peer;
    this.#simulation.schedule(this.#network.delayMs(), peer.#node, "reset by peer", () => peer.#breakOff("ECONNRESET"));
  }

  /** The cut is healed: what was held goes on its way. */
  flush(): void {
    if (this.#isCut()) return;
    for (const packet of this.#held.splice(0)) this.#deliver(packet);
  }

  #isCut(): boolean {
    return this.#network.isCut(this.#node.machine.name, this.#peerNode.machine.name);
  }

  /** Hands to the system what it has room for. */
  #pump(): void {
    while (!this.#gone && this.#outgoing.length > 0 && this.#windowBytes < WINDOW_BYTES) {
      const first = this.#outgoing[0]!;
      const left = first.bytes.length - first.sent;
      const most = Math.min(left, WINDOW_BYTES - this.#windowBytes);
      const count = most > 1 && this.#network.random.chance(0.2) ? this.#network.random.integer(1, most) : most;
      const bytes = Buffer.from(first.bytes.subarray(first.sent, first.sent + count));
      first.sent += count;
      this.#windowBytes += count;
      this.#pendingBytes -= count;
      if (count > 0) this.#deliver({ kind: "data", bytes });
      if (first.sent < first.bytes.length) continue;
      this.#outgoing.shift();
      if (first.written !== undefined) this.#soon("written", first.written);
    }
    if (!this.#gone && this.#ended && !this.#endSent && this.#outgoing.length === 0) {
      this.#endSent = true;
      this.#deliver({ kind: "end" });
      this.#closeIfDone();
    }
  }

  #deliver(packet: Packet): void {
    if (this.#isCut()) {
      this.#held.push(packet);
      if (this.#held.length === 1)
        this.#simulation.schedule(GIVE_UP_MS, null, "gives up sending", () => this.#giveUp());
      return;
    }
    this.#arrivesMs = Math.max(this.#simulation.nowMs + this.#network.delayMs(), this.#arrivesMs);
    this.#travelling.push(packet);
    const peer = this.#peer;
    const what = packet.kind === "end" ? "end" : fingerprint(packet.bytes);
    // Of the world, not of the process: a stalled one's system receives all the same.
    this.#simulation.schedule(
      this.#arrivesMs - this.#simulation.nowMs,
      null,
      `${peer.#node.name} receives ${what}`,
      () => {
        const first = this.#travelling.shift();
        if (peer.#gone || first === undefined) return;
        peer.#arrived.push(first);
        peer.#soon("input", () => peer.#take());
      },
    );
  }

  #giveUp(): void {
    if (this.#held.length === 0 || !this.#isCut()) return;
    this.#soon("connection timed out", () => this.#breakOff("ETIMEDOUT"));
    this.#peer.#soon("connection timed out", () => this.#peer.#breakOff("ETIMEDOUT"));
  }

  /** Gives the process what has arrived. */
  #take(): void {
    while (!this.#gone && !this.#paused) {
      const packet = this.#arrived.shift();
      if (packet === undefined) break;
      if (packet.kind === "data") {
        this.#peer.#taken(packet.bytes.length);
        this.onData(packet.bytes);
      } else {
        this.#peerEnded = true;
        this.onEnd();
        this.#closeIfDone();
      }
    }
  }

  #taken(bytes: number): void {
    this.#windowBytes -= bytes;
    this.#simulation.schedule(this.#network.delayMs(), null, `${this.#node.name} has room to send`, () => this.#pump());
  }

  #closeIfDone(): void {
    if (this.#endSent && this.#peerEnded) this.#soon("closed", () => this.#breakOff(undefined, true));
  }

  #breakOff(code: string | undefined, now = false): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#network.closed(this);
    const unsent = this.#outgoing.splice(0);
    this.#pendingBytes = 0;
    this.#held.length = 0;
    this.#arrived.length = 0;
    const tell = (): void => {
      for (const { written } of unsent) written?.();
      if (code === undefined) this.onClose();
      else this.onClose(Object.assign(new Error(`the connection is gone: ${code}`), { code }));
    };
    if (now) tell();
    else this.#soon("gone", tell);
  }

  #ownerDied(how: "killed" | "power lost"): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#network.closed(this);
    // Of a killed process the system tells the peer; after a power loss the peer finds out in time.
    const delayMs = how === "killed" ? this.#network.delayMs() : this.#network.random.between(0, GIVE_UP_MS);
    const peer = this.#peer;
    this.#simulation.schedule(delayMs, peer.#node, "reset by peer", () => peer.#breakOff("ECONNRESET"));
  }

  #soon(label: string, run: () => void): void {
    this.#simulation.schedule(0, this.#node, label, run);
  }
}
