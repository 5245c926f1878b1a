import { gunzipSync } from "node:zlib";
import { GrpcCode } from "./grpc-status.ts";
import { GrpcError } from "./transport.ts";

export const MESSAGE_PREFIX_BYTES = 5;
const ASSEMBLY_BYTES_MIN = 1024;

export interface MessageSink {
  /** A complete message, decompressed. May throw a GrpcError. */
  takeMessage(message: Buffer): void;
}

/** Bounds what the unfinished messages of one connection may hold together. */
export interface AssemblyBudget {
  /** False: there is no room for so much more. */
  reserve(bytes: number): boolean;
  release(bytes: number): void;
}

/**
 * Cuts a stream's DATA into messages (gRPC over HTTP/2, "Length-Prefixed-Message"). A message within one frame is given
 * as a view of it; a longer one is put together in a buffer that grows with what has arrived, never by what was
 * announced.
 */
export class GrpcDeframer {
  private readonly budget: AssemblyBudget;
  private readonly bytesMax: number;
  private readonly encoding: string;
  private readonly onUnpacked: (bytes: number) => void;
  private prefixBytes = 0;
  private flag = 0;
  private length = 0;
  private assembly: Buffer | null = null;
  private filled = 0;

  /** `onUnpacked` is told how large a message became that had been packed. */
  constructor(options: {
    bytesMax: number;
    encoding: string;
    budget: AssemblyBudget;
    onUnpacked: (bytes: number) => void;
  }) {
    this.bytesMax = options.bytesMax;
    this.encoding = options.encoding;
    this.onUnpacked = options.onUnpacked;
    this.budget = options.budget;
  }

  /** True when the stream must not end here. */
  get midMessage(): boolean {
    return this.prefixBytes > 0;
  }

  /** Gives `sink` each message that is complete. Throws a GrpcError for what cannot be accepted. */
  push(bytes: Buffer, start: number, end: number, sink: MessageSink): void {
    let at = start;
    while (at < end) {
      if (this.prefixBytes < MESSAGE_PREFIX_BYTES) {
        this.prefixByte(bytes[at++]!);
        if (this.prefixBytes < MESSAGE_PREFIX_BYTES || (this.length > 0 && at === end)) continue;
      }
      const missing = this.length - this.filled;
      const some = Math.min(missing, end - at);
      if (some === missing && this.filled === 0) {
        this.prefixBytes = 0;
        sink.takeMessage(this.decoded(bytes.subarray(at, at + some)));
      } else {
        this.assemble(bytes, at, at + some);
        if (some === missing) sink.takeMessage(this.decoded(this.takeAssembled()));
      }
      at += some;
    }
  }

  /** Gives up an unfinished message. */
  close(): void {
    if (this.assembly !== null) this.budget.release(this.assembly.length);
    this.assembly = null;
  }

  private prefixByte(byte: number): void {
    if (this.prefixBytes === 0) {
      if (byte > 1) throw new GrpcError(GrpcCode.internal, `grpc: received unexpected payload format ${byte}`);
      if (byte === 1 && this.encoding !== "gzip") {
        throw new GrpcError(GrpcCode.internal, "grpc: compressed flag set with identity or empty encoding");
      }
      this.flag = byte;
      this.length = 0;
    } else this.length = this.length * 256 + byte;
    this.prefixBytes++;
    if (this.prefixBytes === MESSAGE_PREFIX_BYTES && this.length > this.bytesMax)
      throw tooLarge(this.length, this.bytesMax);
  }

  private assemble(bytes: Buffer, start: number, end: number): void {
    const needed = this.filled + (end - start);
    if (this.assembly === null || this.assembly.length < needed) this.growAssembly(needed);
    bytes.copy(this.assembly!, this.filled, start, end);
    this.filled = needed;
  }

  private growAssembly(needed: number): void {
    const before = this.assembly;
    const size = Math.min(this.length, Math.max(needed * 4, ASSEMBLY_BYTES_MIN));
    if (!this.budget.reserve(size - (before?.length ?? 0))) {
      throw new GrpcError(GrpcCode.resourceExhausted, "grpc: too many bytes in unfinished messages of one connection");
    }
    this.assembly = Buffer.allocUnsafeSlow(size);
    before?.copy(this.assembly, 0, 0, this.filled);
  }

  private takeAssembled(): Buffer {
    const message = this.assembly!.subarray(0, this.length);
    this.close();
    this.prefixBytes = 0;
    this.filled = 0;
    return message;
  }

  private decoded(message: Buffer): Buffer {
    if (this.flag === 0) return message;
    try {
      const unpacked = gunzipSync(message, { maxOutputLength: this.bytesMax });
      this.onUnpacked(unpacked.length);
      return unpacked;
    } catch (error) {
      this.onUnpacked(this.bytesMax);
      if (error instanceof Error && (error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") {
        const text = `grpc: received message after decompression larger than max ${this.bytesMax}`;
        throw new GrpcError(GrpcCode.resourceExhausted, text);
      }
      throw new GrpcError(GrpcCode.internal, "grpc: failed to decompress the received message");
    }
  }
}

export const tooLarge = (length: number, bytesMax: number): GrpcError =>
  new GrpcError(GrpcCode.resourceExhausted, `grpc: received message larger than max (${length} vs. ${bytesMax})`);
