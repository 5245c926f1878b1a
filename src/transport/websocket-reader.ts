import type { AssemblyBudget } from "./grpc-deframer.ts";
import { WebSocketCode } from "./transport.ts";

/** What ends a WebSocket, with the code that the client is told (RFC 6455 §7.4.1). */
export class WebSocketError extends Error {
  override readonly name = "WebSocketError";
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export const Opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A whole message, text or binary, or a control frame; its payload unmasked, and the receiver's. */
export interface WebSocketInput {
  readonly kind: "message" | "close" | "ping" | "pong";
  readonly payload: Buffer;
}

interface Frame {
  readonly opcode: number;
  readonly final: boolean;
  readonly mask: Buffer;
  missing: number;
  taken: number;
}

const EMPTY: Buffer = Buffer.alloc(0);
const CONTROL_BYTES_MAX = 125;
const MASK_BYTES = 4;
const MESSAGE_BYTES_MIN = 1024;
const kinds: Readonly<Record<number, WebSocketInput["kind"]>> = { 8: "close", 9: "ping", 10: "pong" };

/**
 * Takes messages from the frames of a client (RFC 6455 §5). Invariants:
 *  1. A message holds memory by what has come of it, never by what was announced, and within `bytesMax` and the budget.
 *  2. Only masked frames without extensions are taken; control frames are short, whole, and may lie amid a message.
 */
export class WebSocketReader {
  readonly #bytesMax: number;
  readonly #budget: AssemblyBudget;
  #input = EMPTY;
  /** Of the frame whose payload is being read; null: a frame's head is next. */
  #frame: Frame | null = null;
  #control = EMPTY;
  #controlFilled = 0;
  /** A message has begun, and its last frame has not come. */
  #midMessage = false;
  #message = EMPTY;
  #filled = 0;

  constructor(bytesMax: number, budget: AssemblyBudget) {
    this.#bytesMax = bytesMax;
    this.#budget = budget;
  }

  get inputBytes(): number {
    return this.#input.length;
  }

  /** Something has begun and is not complete. */
  get midway(): boolean {
    return this.#midMessage || this.#frame !== null || this.#input.length > 0;
  }

  add(chunk: Buffer): void {
    this.#input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
  }

  /** The next one that is complete; null when more input is needed. Throws a WebSocketError. */
  next(): WebSocketInput | null {
    for (;;) {
      const frame = this.#frame ?? this.#readHead();
      if (frame === null) return null;
      this.#readPayload(frame);
      if (frame.missing > 0) return null;
      this.#frame = null;
      const control = kinds[frame.opcode];
      if (control !== undefined) return { kind: control, payload: this.#control };
      if (!frame.final) continue;
      this.#midMessage = false;
      return { kind: "message", payload: this.#takeMessage() };
    }
  }

  /** Lets go of what has not been completed. */
  close(): void {
    this.#takeMessage();
    this.#input = EMPTY;
  }

  #takeMessage(): Buffer {
    const message = this.#message.subarray(0, this.#filled);
    this.#budget.release(this.#message.length);
    this.#message = EMPTY;
    this.#filled = 0;
    return message;
  }

  #readHead(): Frame | null {
    const input = this.#input;
    if (input.length < 2) return null;
    const [first, second] = [input[0]!, input[1]!];
    const opcode = first & 0x0f;
    const final = (first & 0x80) !== 0;
    if ((first & 0x70) !== 0) throw violation("no extension was agreed on");
    if ((second & 0x80) === 0) throw violation("a client masks what it sends");
    const short = second & 0x7f;
    this.#checkOpcode(opcode, { final, short });
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (input.length < 2 + lengthBytes + MASK_BYTES) return null;
    const length = lengthBytes === 0 ? short : lengthBytes === 2 ? input.readUInt16BE(2) : longLength(input);
    if (opcode < Opcode.close && this.#filled + length > this.#bytesMax) {
      throw new WebSocketError(WebSocketCode.tooLarge, `a message is over ${this.#bytesMax} bytes`);
    }
    const at = 2 + lengthBytes;
    const mask = Buffer.from(input.subarray(at, at + MASK_BYTES));
    this.#input = input.subarray(at + MASK_BYTES);
    if (opcode < Opcode.close) this.#midMessage = true;
    else {
      this.#control = Buffer.alloc(length);
      this.#controlFilled = 0;
    }
    const frame: Frame = { opcode, final, mask, missing: length, taken: 0 };
    this.#frame = frame;
    return frame;
  }

  #checkOpcode(opcode: number, { final, short }: { final: boolean; short: number }): void {
    if (opcode >= Opcode.close) {
      if (kinds[opcode] === undefined) throw violation("unknown opcode");
      if (!final || short > CONTROL_BYTES_MAX) throw violation("a control frame is short and whole");
    } else if (opcode > Opcode.binary) throw violation("unknown opcode");
    else if ((opcode === Opcode.continuation) !== this.#midMessage) {
      throw violation("a message goes on in continuation frames, and only there");
    }
  }

  #readPayload(frame: Frame): void {
    const some = Math.min(frame.missing, this.#input.length);
    if (some === 0) return;
    const isControl = frame.opcode >= Opcode.close;
    if (!isControl) this.#makeRoom(this.#filled + some);
    const target = isControl ? this.#control : this.#message;
    const from = isControl ? this.#controlFilled : this.#filled;
    for (let i = 0; i < some; i++) target[from + i] = this.#input[i]! ^ frame.mask[(frame.taken + i) & 3]!;
    if (isControl) this.#controlFilled += some;
    else this.#filled += some;
    frame.taken += some;
    frame.missing -= some;
    this.#input = this.#input.subarray(some);
  }

  #makeRoom(needed: number): void {
    if (needed <= this.#message.length) return;
    const size = Math.min(this.#bytesMax, Math.max(needed * 2, MESSAGE_BYTES_MIN));
    if (!this.#budget.reserve(size - this.#message.length)) {
      throw new WebSocketError(WebSocketCode.tryAgainLater, "too many bytes in unfinished messages");
    }
    const grown = Buffer.allocUnsafeSlow(size);
    this.#message.copy(grown, 0, 0, this.#filled);
    this.#message = grown;
  }
}

const violation = (message: string): WebSocketError => new WebSocketError(WebSocketCode.protocolError, message);

/** Lengths past what a number holds are past every bound, too. */
function longLength(input: Buffer): number {
  const high = input.readUInt32BE(2);
  if (high >= 0x8000_0000) throw violation("malformed length");
  return high * 2 ** 32 + input.readUInt32BE(6);
}
