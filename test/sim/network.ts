import { assert } from "../../src/base/assert.ts";
import type { ByteStream, ListenAddress, Listener } from "../../src/runtime/runtime.ts";
import type { SimNode } from "./node.ts";
import { makePipe, type SimStream } from "./pipe.ts";
import type { SimRandom } from "./random.ts";
import type { Simulation } from "./simulation.ts";

/** A sender gives up when nothing got through for this long. */
export const GIVE_UP_MS = 60_000;

interface ListenerEntry {
  readonly node: SimNode;
  readonly port: number;
  readonly accept: (stream: ByteStream) => void;
}

/** Connections between machines: ordered bytes, delays, cuts. A machine's name is its host name. */
export class SimNetwork {
  readonly #simulation: Simulation;
  readonly random: SimRandom;
  readonly #listeners = new Map<string, ListenerEntry>();
  readonly #streams = new Set<SimStream>();
  readonly #cuts = new Set<string>();
  #lastPort = 40_000;
  /** Of one way. */
  latencyMs = 0.3;

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
    this.random = simulation.random.fork("network");
  }

  /** The host of an address is ignored: a process listens on its own machine. */
  async listen(node: SimNode, address: ListenAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    const port = "path" in address ? 0 : address.port === 0 ? ++this.#lastPort : address.port;
    const key = "path" in address ? `${node.machine.name}:${address.path}` : `${node.machine.name}:${port}`;
    await node.operate(`listen on ${key}`, 0.01, () => {
      if (this.#listeners.has(key)) throw Object.assign(new Error(`listen EADDRINUSE: ${key}`), { code: "EADDRINUSE" });
      this.#listeners.set(key, { node, port, accept });
    });
    const close = async (): Promise<void> => {
      if (this.#listeners.get(key)?.node === node) this.#listeners.delete(key);
    };
    node.onKilled.push(() => void close());
    return { port, close };
  }

  /** Connects a process to a listener of the machine `host`. */
  connect(node: SimNode, to: { host: string; port: number } | { host: string; path: string }): Promise<ByteStream> {
    const key = "path" in to ? `${to.host}:${to.path}` : `${to.host}:${to.port}`;
    const from = node.machine.name;
    return new Promise((resolve, reject) => {
      const refuse = (code: string, afterMs: number): void => {
        const error = Object.assign(new Error(`connect ${code} ${key}`), { code });
        this.#simulation.schedule(afterMs, node, `connect to ${key}: ${code}`, () => reject(error));
      };
      this.#simulation.schedule(this.delayMs(), null, `${node.name} connects to ${key}`, () => {
        if (this.isCut(from, to.host)) return refuse("ETIMEDOUT", GIVE_UP_MS);
        const listener = this.#listeners.get(key);
        if (listener === undefined) return refuse("ECONNREFUSED", this.delayMs());
        const [ours, theirs] = makePipe(this.#simulation, this, { client: node, server: listener.node });
        this.#simulation.schedule(this.delayMs(), listener.node, `accepts ${node.name}`, () => {
          listener.accept(theirs);
          this.#simulation.schedule(this.delayMs(), node, `connected to ${key}`, () => resolve(ours));
        });
      });
    });
  }

  delayMs(): number {
    return this.random.latencyMs(this.latencyMs);
  }

  /** Nothing goes between two machines; what is under way waits, as TCP sends again, for up to GIVE_UP_MS. */
  cut(a: string, b: string): void {
    assert(a !== b, "a machine is not cut from itself");
    this.#simulation.note("network", `cut between ${a} and ${b}`);
    this.#cuts.add(pair(a, b));
  }

  heal(a: string, b: string): void {
    this.#simulation.note("network", `healed between ${a} and ${b}`);
    this.#cuts.delete(pair(a, b));
    for (const stream of this.#streams) stream.flush();
  }

  isCut(a: string, b: string): boolean {
    return this.#cuts.has(pair(a, b));
  }

  opened(stream: SimStream): void {
    this.#streams.add(stream);
  }

  closed(stream: SimStream): void {
    this.#streams.delete(stream);
  }
}

const pair = (a: string, b: string): string => (a < b ? `${a} ${b}` : `${b} ${a}`);
