import type { X509Certificate } from "node:crypto";
import type { MaybePromise } from "../base/maybe-promise.ts";

/**
 * The only door to the outside. Node's binding is node.ts beside this file; the simulator's is in test/sim. Everything
 * that could make two runs differ comes through here, so that a run is a function of its seed.
 */
export interface Runtime {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly disk: Disk;
  readonly net: Net;
  readonly offload: Offload;
  readonly passwords: Passwords;
}

export interface Clock {
  /** Milliseconds, with fractions, since an unnamed moment; never goes back. */
  monotonicMs(): number;
  /** Whole milliseconds since 1970; may jump either way. */
  wallMs(): number;
}

export interface Timers {
  /** Calls `fire` once after `delayMs`. Keeps the process alive unless `background`. */
  set(delayMs: number, fire: () => void, options?: { background?: boolean }): Timer;
  /** Calls `fire` once this turn of the event loop has handled the input at hand. */
  defer(fire: () => void): void;
}

export interface Timer {
  cancel(): void;
}

export interface Random {
  /** An unsigned 32-bit number. */
  uint32(): number;
  /** In [0, 1). */
  float(): number;
  /** Fit for identities and tokens. */
  bytes(count: number): Buffer;
}

/**
 * Files. Every failure is a DiskError (disk-error.ts: a DbError `diskFailed` with the system's `code`), but for what a
 * method's text says.
 */
export interface Disk {
  /** Opens for reading and writing; `create` makes the file where it is missing, else a missing file gives null. */
  open(path: string, options: { create: boolean; sync?: boolean }): Promise<DiskFile | null>;
  /** The whole file, or null. Refuses one of over `bytesMax`. */
  readFile(path: string, bytesMax: number): Promise<Buffer | null>;
  /** Bytes [start, end) of a file, or null if it is missing; short at its end. */
  readRange(path: string, start: number, end: number): Promise<Buffer | null>;
  /** Creates or replaces a file whole, and syncs it. Not atomic: write a temporary one and `rename` or `link` it. */
  writeFile(path: string, bytes: Uint8Array): Promise<void>;
  /** Size and modification time (ms since 1970), or null. */
  stat(path: string): Promise<{ bytes: number; modifiedMs: number; directory: boolean } | null>;
  /** Names in a directory, sorted by code unit; empty where it is missing. */
  list(path: string): Promise<string[]>;
  makeDirectory(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Gives `from` a second name, atomically; false if `to` exists. */
  link(from: string, to: string): Promise<boolean>;
  /** False if it is missing. */
  remove(path: string): Promise<boolean>;
  /** Makes names created, renamed or removed in a directory survive a crash. */
  syncDirectory(path: string): Promise<void>;
  /**
   * Takes the operating system's exclusive lock on the file at `path` (made if missing): null while another holder, in
   * this process or any other, has it. The system releases it when the process dies.
   */
  lock(path: string): Promise<DiskLock | null>;
  /** Identity of this boot of the kernel: equal values mean that no process has outlived a reboot in between. */
  bootId(): Promise<string>;
  /** Room of the file system that holds `path`, which must exist: all of it, and what this user may still take. */
  space(path: string): Promise<{ bytes: number; freeBytes: number }>;
  /** Kind of file system, as the system names it ("ext", "nfs", "overlay" …); "unknown" where it cannot be told. */
  fileSystem(path: string): Promise<string>;
}

export interface DiskLock {
  readonly device: bigint;
  readonly inode: bigint;
  release(): Promise<void>;
}

/** One open file. With `sync`, each write is durable when it has returned (O_DSYNC). */
export interface DiskFile {
  /**
   * Writes all of `bytes` at `position`. Done at once, or when the promise resolves; `bytes` must stay as they are
   * until then. A failure is thrown, or rejected with.
   */
  write(bytes: Uint8Array, position: number): MaybePromise<void>;
  /**
   * Fills `into` from `position`; answers, as `write` does, with the bytes read, fewer only at the end of the file.
   */
  read(into: Uint8Array, position: number): MaybePromise<number>;
  /** The same, if it is quick enough to be done at once; null: it is not, and nothing was begun. */
  readAtOnce(into: Uint8Array, position: number): number | null;
  size(): Promise<number>;
  truncate(bytes: number): Promise<void>;
  /** Makes content and size durable. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface Net {
  /** Binds and listens. Fails with an Error that carries the system's `code` (EADDRINUSE …). */
  listen(address: ListenAddress, accept: (stream: ByteStream) => void): Promise<Listener>;
  /** The same over TLS: `accept` is given streams whose handshake is done and whose client was let in. */
  listenTls(address: ListenAddress, tls: TlsListening, accept: (stream: ByteStream) => void): Promise<Listener>;
  /** Both on one address, told apart by a connection's first byte; until it comes, the bounds of handshakes hold. */
  listenBoth(address: ListenAddress, tls: TlsListening, accept: (stream: ByteStream) => void): Promise<Listener>;
}

/** How connections of one listener become secure. */
export interface TlsListening {
  /**
   * What handshakes use; asked before each one, so that it may change. The same object says that it did not. What it
   * throws or rejects with ends the listening at its start, and later that connection.
   */
  readonly material: () => MaybePromise<TlsMaterial>;
  /** Whether a client whose certificate was verified is let in: null, or why not. `chain` begins with the client's. */
  readonly admit: (chain: readonly X509Certificate[]) => string | null;
  /** A handshake that takes longer ends. */
  readonly handshakeTimeoutMs: number;
  /** Handshakes under way at one time; when one more begins, the oldest ends: it is the likeliest to be idle. */
  readonly handshakesMax: number;
  /** Told of each connection that ended before it was accepted. */
  readonly refused: (reason: string, remoteAddress: string) => void;
}

/** PEM throughout. */
export interface TlsMaterial {
  readonly certificate: Buffer;
  readonly key: Buffer;
  /** Client certificates are required, and verified against these ("system": those of the system); null: none is. */
  readonly clientAuthorities: Buffer | "system" | null;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
  readonly maxVersion: "TLSv1.2" | "TLSv1.3";
  /** As OpenSSL names them. */
  readonly ciphers: string;
}

export type ListenAddress = { host: string; port: number } | { path: string };

export interface Listener {
  /** The port bound to (useful where 0 was asked); 0 for a path. */
  readonly port: number;
  /** Stops accepting; connections already made go on. */
  close(): Promise<void>;
}

/** Of a client certificate that was verified. */
export interface PeerIdentity {
  /** The subject's common name; "" where it has none. */
  readonly commonName: string;
}

/**
 * A connection: TCP, unix socket, TLS, or the simulator's pipe. Handlers are called from the event loop, never from
 * within a method.
 */
export interface ByteStream {
  readonly remoteAddress: string;
  /** What is sent here is encrypted on its way. */
  readonly secure?: boolean;
  /** Who the peer has proven to be by a certificate that was verified; null, or not there: nobody. */
  readonly peer?: PeerIdentity | null;
  /** `chunk` belongs to the receiver and is never changed by the sender. */
  onData: (chunk: Buffer) => void;
  /** The peer has finished sending. */
  onEnd: () => void;
  /** Called once, last; the stream is gone. */
  onClose: (error?: Error) => void;
  /** Takes over `bytes` until `written` is called (with them handed to the system, or the stream gone). */
  write(bytes: Uint8Array, written?: () => void): void;
  /**
   * As `write`, but true when the system has taken all of it by now: then `written` is not called. Left out: it never
   * has.
   */
  writeAtOnce?(bytes: Uint8Array, written: () => void): boolean;
  /** Bytes taken by `write` and not yet handed to the system. */
  readonly pendingBytes: number;
  pause(): void;
  resume(): void;
  /** Sends what is pending, then finishes. */
  end(): void;
  destroy(): void;
}

/**
 * Work that would hold up the event loop; in worker threads on Node, inline in simulation. Inputs must not be changed
 * meanwhile.
 */
export interface Offload {
  sha256(bytes: Uint8Array): Promise<Buffer>;
  zstdCompress(bytes: Uint8Array, level: number): Promise<Buffer>;
  zstdDecompress(bytes: Uint8Array, bytesMax: number): Promise<Buffer>;
  /**
   * Runs a task beside the event loop; `how.short` runs it here, where a thread would cost more than it gives. What the
   * task asks for by `call` is answered by `how.serve`. Aborted: rejects with `canceled`, as soon as the task notices.
   */
  run<Input, Result>(task: OffloadTask<Input, Result>, input: Input, how: OffloadHow): Promise<Result>;
}

/**
 * Long work with input and output of its own. A thread cannot be handed a function: it imports `module` and takes the
 * task of this name from it. Input, result, requests and replies are plain data (what structuredClone takes).
 */
export interface OffloadTask<Input, Result> {
  readonly module: string;
  readonly name: string;
  run(input: Input, surroundings: TaskSurroundings): Promise<Result>;
}

export interface TaskSurroundings {
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random"> & { readonly offload: BlockOffload };
  readonly signal: AbortSignal;
  /** Asks the one who runs the task. What is in `moved` is handed over and must not be touched any more. */
  call(request: unknown, moved?: readonly Uint8Array[]): Promise<unknown>;
}

/** The part of it that a task can have. */
export type BlockOffload = Pick<Offload, "sha256" | "zstdCompress" | "zstdDecompress">;

export interface OffloadHow {
  readonly short: boolean;
  readonly signal: AbortSignal;
  /**
   * The reply is copied; bytes with all of the memory that they are in, so it should be theirs alone. Nothing is handed
   * over: once any memory was, V8 compiles all code that reads or writes bytes in this thread anew, and slower. What
   * comes in numbers lies in a SharedArrayBuffer, which is not copied: whose turn it is, the two agree on.
   */
  serve(request: unknown): Promise<unknown>;
}

/** bcrypt, beside the event loop. A password is at most 72 bytes long. */
export interface Passwords {
  /** So many are worked on at one time; who asks for more makes those wait. */
  readonly atOnce: number;
  hash(password: Uint8Array, options: { cost: number; salt: Uint8Array }): Promise<string>;
  /** False also for what is no bcrypt hash. */
  verify(password: Uint8Array, hash: string): Promise<boolean>;
}
