import { assert } from "../base/assert.ts";
import type { ByteStream, Timer } from "../runtime/runtime.ts";
import { type Connection, TransportContext, type TransportRuntime } from "./context.ts";
import { H2Connection } from "./h2-connection.ts";
import { Http1Connection } from "./http1-connection.ts";
import { Router } from "./router.ts";
import { Sniffer } from "./sniffer.ts";
import type { Routes, TransportSettings, TransportStats } from "./transport.ts";

/** How often connections are looked at for time limits. */
const SWEEP_MS = 1_000;
const SWEEP_MS_MIN = 5;

/** The server side of connections that somebody else accepts: give it each one, and it speaks HTTP on it. */
export interface Transport {
  accept(stream: ByteStream): void;
  /**
   * Takes no new requests, lets those at work finish, then closes; what is left after `timeoutMs` is destroyed.
   * Streaming calls end when their handlers end them.
   */
  drain(timeoutMs: number): Promise<void>;
  /** Ends all connections at once; their calls are cancelled. */
  destroy(): void;
  stats(): TransportStats;
}

/** `onBug` is told what handlers throw that is no GrpcError, and broken promises of the transport itself. */
export function createTransport(
  runtime: TransportRuntime,
  routes: Routes,
  settings: TransportSettings,
  onBug: (error: unknown) => void,
): Transport {
  checkSettings(settings);
  return new Server(new TransportContext(runtime, { router: new Router(routes), settings, onBug }));
}

function checkSettings(settings: TransportSettings): void {
  for (const [name, value] of Object.entries(settings)) assert(value >= 0, `${name} is not negative`);
  assert(settings.messageBytesMax > 0 && settings.messageBytesMax <= 0x7fffffff, "messageBytesMax fits a gRPC message");
  assert(settings.concurrentStreamsMax > 0, "at least one stream is allowed");
}

class Server implements Transport {
  private readonly context: TransportContext;
  private readonly connections: Set<Connection>;
  private readonly sweepMs: number;
  private sweeper: Timer | null = null;
  private draining = false;
  /** Resolves the drain when the last connection has gone. */
  private onEmpty: (() => void) | null = null;

  constructor(context: TransportContext) {
    this.context = context;
    this.connections = context.connections;
    const { keepaliveIntervalMs, keepaliveTimeoutMs } = context.settings;
    const shortest = keepaliveIntervalMs > 0 ? Math.min(keepaliveIntervalMs, keepaliveTimeoutMs) / 4 : SWEEP_MS;
    this.sweepMs = Math.max(SWEEP_MS_MIN, Math.min(SWEEP_MS, shortest));
  }

  accept(stream: ByteStream): void {
    this.context.turns.accepted();
    if (this.draining || this.connections.size >= this.context.settings.connectionsMax) {
      if (!this.draining) this.context.countRefused("too_many_connections");
      stream.destroy();
      return;
    }
    const sniffer: Sniffer = new Sniffer(this.context, stream, {
      decided: (protocol, first) => {
        this.connections.delete(sniffer);
        this.open(stream, protocol, first);
      },
      gone: () => this.remove(sniffer),
    });
    this.connections.add(sniffer);
    this.sweepLater();
  }

  drain(timeoutMs: number): Promise<void> {
    this.draining = true;
    for (const connection of [...this.connections]) connection.drain();
    if (this.connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.context.timers.set(timeoutMs, () => this.destroy());
      const before = this.onEmpty;
      this.onEmpty = () => {
        timer.cancel();
        before?.();
        resolve();
      };
    });
  }

  destroy(): void {
    this.draining = true;
    for (const connection of [...this.connections]) connection.destroy();
    // A destroyed stream closes by itself, but it is not waited for.
    this.connections.clear();
    this.ended();
  }

  stats(): TransportStats {
    const { streams, bytesReceived, bytesSent, refused } = this.context;
    return { connections: this.connections.size, streams, bytesReceived, bytesSent, refused: new Map(refused) };
  }

  private open(stream: ByteStream, protocol: "h2" | "http1", first: Buffer): void {
    const Kind = protocol === "h2" ? H2Connection : Http1Connection;
    const connection: H2Connection | Http1Connection = new Kind(this.context, stream, () => this.remove(connection));
    this.connections.add(connection);
    connection.receive(first);
  }

  private remove(connection: Connection): void {
    this.connections.delete(connection);
    if (this.draining && this.connections.size === 0) this.ended();
  }

  private ended(): void {
    this.sweeper?.cancel();
    this.sweeper = null;
    this.context.deadlines.clear();
    const { onEmpty } = this;
    this.onEmpty = null;
    onEmpty?.();
  }

  private sweepLater(): void {
    if (this.sweeper !== null) return;
    this.sweeper = this.context.timers.set(this.sweepMs, () => this.sweep(), { background: true });
  }

  private sweep(): void {
    this.sweeper = null;
    const nowMs = this.context.clock.monotonicMs();
    for (const connection of [...this.connections]) {
      try {
        connection.sweep(nowMs);
      } catch (error) {
        this.context.onBug(error);
        connection.destroy();
      }
    }
    if (this.connections.size > 0) this.sweepLater();
  }
}
