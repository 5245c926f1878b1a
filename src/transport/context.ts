import type { Clock, Timers } from "../runtime/runtime.ts";
import { AssemblyRoom } from "./assembly-room.ts";
import { Deadlines } from "./deadlines.ts";
import { FairTurns } from "./fair-turns.ts";
import { ASSEMBLY_BYTES_TOTAL_MAX, QUEUED_BYTES_SHARE, QUEUED_BYTES_TOTAL_MAX } from "./limits.ts";
import type { Router } from "./router.ts";
import { SlabPool } from "./slab-pool.ts";
import type { TransportSettings } from "./transport.ts";
import { SocketBytes, slowestReaders, type UnsentHolder } from "./unsent.ts";

/** What the transport needs of a Runtime. */
export interface TransportRuntime {
  readonly clock: Clock;
  readonly timers: Timers;
}

/** One connection, whatever it speaks. */
export interface Connection extends UnsentHolder {
  /** Called about once a second: the place for time limits. */
  sweep(nowMs: number): void;
  /** No new requests; ends by itself when those that it has are answered. */
  drain(): void;
  destroy(): void;
}

/** A connection with output to be written at the end of the turn. */
export interface Flushable {
  flushTurn(): void;
}

/** What all connections of one transport share. */
export class TransportContext {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly router: Router;
  readonly settings: TransportSettings;
  readonly onBug: (error: unknown) => void;
  readonly slabs = new SlabPool();
  readonly deadlines: Deadlines;
  readonly turns: FairTurns;
  readonly refused = new Map<string, number>();
  readonly connections = new Set<Connection>();
  streams = 0;
  /** In the queues of the streams of all connections. */
  queuedBytes = 0;
  /** In the sockets of all connections. */
  readonly socketBytes = new SocketBytes();
  /** Taken by open streams of all connections. */
  streamBytes = 0;
  /** For unfinished messages of all connections. */
  readonly assembly: AssemblyRoom;
  bytesReceived = 0;
  bytesSent = 0;
  private dirty: Flushable[] = [];
  private cutsReaders = false;
  /** Down to between the two bounds, so that it is seldom done. */
  private readonly cutSlowest = (): void => {
    this.cutsReaders = false;
    const bytes = this.unsentBytes - 1.5 * this.unsentBytesMax;
    for (const connection of slowestReaders(this.connections, bytes, this.clock.monotonicMs())) {
      this.countRefused("slow_reader");
      connection.destroy();
    }
  };
  private readonly flushDirty = (): void => {
    const dirty = this.dirty;
    this.dirty = [];
    for (const connection of dirty) connection.flushTurn();
  };

  constructor(
    runtime: TransportRuntime,
    options: { router: Router; settings: TransportSettings; onBug: (error: unknown) => void },
  ) {
    this.clock = runtime.clock;
    this.timers = runtime.timers;
    this.router = options.router;
    this.settings = options.settings;
    this.onBug = options.onBug;
    this.assembly = new AssemblyRoom(options.settings.assemblyBytesTotalMax ?? ASSEMBLY_BYTES_TOTAL_MAX);
    this.turns = new FairTurns(runtime);
    this.deadlines = new Deadlines(runtime.clock, runtime.timers);
  }

  /** Once a connection and turn; the connection keeps count of that. */
  flushLater(connection: Flushable): void {
    if (this.dirty.push(connection) === 1) this.timers.defer(this.flushDirty);
  }

  /** Bytes that a connection may have unsent just now. */
  get connectionQueueBytesMax(): number {
    return this.share(this.settings.connectionQueueBytesMax);
  }

  /** Of a bound of one connection's what it may use while all have much unsent. */
  share(bytesMax: number): number {
    return this.isCrowded ? Math.min(bytesMax, QUEUED_BYTES_SHARE) : bytesMax;
  }

  /** What waits unsent is over its bound, over all connections; and twice that. */
  get isCrowded(): boolean {
    return this.unsentBytes > this.unsentBytesMax;
  }

  get isFull(): boolean {
    return this.unsentBytes > 2 * this.unsentBytesMax;
  }

  private get unsentBytes(): number {
    return this.queuedBytes + this.socketBytes.total;
  }

  private get unsentBytesMax(): number {
    return this.settings.queueBytesTotalMax ?? QUEUED_BYTES_TOTAL_MAX;
  }

  /** Something more waits unsent. Who is cut off for it goes in a turn of its own, amid no other's work. */
  unsentGrew(): void {
    if (this.cutsReaders || !this.isFull) return;
    this.cutsReaders = true;
    this.timers.defer(this.cutSlowest);
  }

  countRefused(reason: string): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
  }
}
