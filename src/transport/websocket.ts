import { createHash } from "node:crypto";
import type { ByteStream, Clock } from "../runtime/runtime.ts";
import type { AssemblyBudget } from "./grpc-deframer.ts";
import type { Http1Head } from "./http1-head.ts";
import { type MessageSocket, WebSocketCode } from "./transport.ts";
import { Opcode, WebSocketError, WebSocketReader } from "./websocket-reader.ts";

/** Of what comes while messages are not taken so much is kept; then reading stops. */
const AHEAD_BYTES_MAX = 65536;
/** Proves to the client that its request was understood as a handshake (RFC 6455 §1.3). */
const HANDSHAKE_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The request is a complete handshake (RFC 6455 §4.2.1). */
export function offersWebSocket({ method, old, body, fields }: Http1Head): boolean {
  const lists = (name: string, option: string): boolean =>
    (fields.get(name) ?? "").split(",").some((one) => one.trim().toLowerCase() === option);
  return (
    method === "GET" &&
    !old &&
    body === 0 &&
    lists("connection", "upgrade") &&
    lists("upgrade", "websocket") &&
    fields.get("sec-websocket-version") === "13" &&
    /^[A-Za-z0-9+/]{22}==$/.test(fields.get("sec-websocket-key") ?? "")
  );
}

export const acceptOf = (key: string): string => createHash("sha1").update(`${key}${HANDSHAKE_GUID}`).digest("base64");

/** A server's frame: whole, and not masked. */
export function frameOf(opcode: number, payload: Buffer): Buffer {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  if (length < 126) head[1] = length;
  else if (length < 65536) {
    head[1] = 126;
    head.writeUInt16BE(length, 2);
  } else {
    head[1] = 127;
    head.writeUInt32BE(Math.floor(length / 2 ** 32), 2);
    head.writeUInt32BE(length % 2 ** 32, 6);
  }
  return Buffer.concat([head, payload]);
}

export interface WebSocketSurroundings {
  readonly bytes: ByteStream;
  readonly clock: Clock;
  readonly budget: AssemblyBudget;
  readonly messageBytesMax: number;
  /** Queued output at which `send` says stop. */
  readonly queueBytesMax: () => number;
  /** More of what has come may be looked at now; else `readOn` is called when it may. */
  readonly hasTurn: () => boolean;
  readonly put: (bytes: Buffer) => void;
  /** Called once: no more is sent, and what comes is not looked at. `reason`: what the client did wrong, if it did. */
  readonly closed: (reason: string | null) => void;
}

/** A connection that has become a WebSocket, as its server sees it: messages both ways, pings answered. */
export class WebSocketConnection implements MessageSocket {
  onMessage: (message: Buffer) => void = () => {};
  onDrain: () => void = () => {};
  readonly #surroundings: WebSocketSurroundings;
  readonly #reader: WebSocketReader;
  #open = true;
  #paused = false;
  #reading = false;
  #bytesPaused = false;
  #drainDue = false;
  #waitsForTurn = false;
  /** When what is not complete has begun. */
  #unfinishedSinceMs: number | null = null;

  constructor(surroundings: WebSocketSurroundings) {
    this.#surroundings = surroundings;
    this.#reader = new WebSocketReader(surroundings.messageBytesMax, surroundings.budget);
  }

  /** For how long something has been unfinished that the client sends. */
  unfinishedMs(nowMs: number): number {
    return this.#unfinishedSinceMs === null ? 0 : nowMs - this.#unfinishedSinceMs;
  }

  receive(chunk: Buffer): void {
    if (!this.#open) return;
    this.#reader.add(chunk);
    this.#read();
  }

  /** Others had their turn. */
  readOn(): void {
    this.#read();
  }

  send(message: Buffer): boolean {
    if (!this.#open) return false;
    const { bytes, put, queueBytesMax } = this.#surroundings;
    put(frameOf(Opcode.text, message));
    this.#drainDue = bytes.pendingBytes > queueBytesMax();
    return !this.#drainDue;
  }

  /** The system has taken some of what was written. */
  written(): void {
    const { bytes, queueBytesMax } = this.#surroundings;
    if (!this.#open || bytes.pendingBytes > queueBytesMax() / 2) return;
    // Pongs are not made for who does not read them.
    this.#read();
    if (!this.#drainDue || !this.#open) return;
    this.#drainDue = false;
    this.onDrain();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#read();
  }

  close(code: number, reason = ""): void {
    this.#end(code, reason, null);
  }

  /** Others need the room that an unfinished message holds. */
  giveUp(): void {
    if (this.#reader.midway) this.#end(WebSocketCode.tryAgainLater, "too many bytes in unfinished messages", null);
  }

  /** The connection has gone. */
  cut(): void {
    this.#open = false;
    this.#reader.close();
  }

  #read(): void {
    if (this.#reading || !this.#open) return;
    this.#reading = true;
    try {
      while (this.#open && this.#takes && this.#hasTurn() && this.#readOne());
    } catch (error) {
      if (!(error instanceof WebSocketError)) throw error;
      this.#end(error.code, error.message, "websocket_violation");
    } finally {
      this.#reading = false;
    }
    if (!this.#open) return;
    if (this.#paused || !this.#reader.midway) this.#unfinishedSinceMs = null;
    else this.#unfinishedSinceMs ??= this.#surroundings.clock.monotonicMs();
    this.#pauseOrResumeBytes();
  }

  get #takes(): boolean {
    return !this.#paused && this.#surroundings.bytes.pendingBytes <= this.#surroundings.queueBytesMax();
  }

  #hasTurn(): boolean {
    this.#waitsForTurn = this.#reader.inputBytes > 0 && !this.#surroundings.hasTurn();
    return !this.#waitsForTurn;
  }

  #readOne(): boolean {
    const input = this.#reader.next();
    if (input === null) return false;
    if (input.kind === "message") {
      // What comes next begins now, however long this one took.
      this.#unfinishedSinceMs = null;
      this.onMessage(input.payload);
    } else if (input.kind === "ping") this.#surroundings.put(frameOf(Opcode.pong, input.payload));
    else if (input.kind === "close") this.#answerClose(input.payload);
    return true;
  }

  #answerClose(payload: Buffer): void {
    const code = payload.length === 0 ? WebSocketCode.normal : payload.length === 1 ? 0 : payload.readUInt16BE(0);
    if (!mayBeSent(code)) throw new WebSocketError(WebSocketCode.protocolError, "malformed close");
    this.#end(code, "", null);
  }

  #pauseOrResumeBytes(): void {
    const full = (this.#waitsForTurn || !this.#takes) && this.#reader.inputBytes > AHEAD_BYTES_MAX;
    if (full === this.#bytesPaused) return;
    this.#bytesPaused = full;
    if (full) this.#surroundings.bytes.pause();
    else this.#surroundings.bytes.resume();
  }

  #end(code: number, reason: string, wrong: string | null): void {
    if (!this.#open) return;
    this.#open = false;
    this.#reader.close();
    const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
    payload.writeUInt16BE(code, 0);
    payload.write(reason, 2);
    this.#surroundings.put(frameOf(Opcode.close, payload.subarray(0, 125)));
    if (this.#bytesPaused) this.#surroundings.bytes.resume();
    this.#surroundings.closed(wrong);
  }
}

/** RFC 6455 §7.4: others are for what is not sent, or nobody's. */
const mayBeSent = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) || (code >= 3000 && code <= 4999);
