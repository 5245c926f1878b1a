import { ConnectionError, ErrorCode } from "./frames.ts";
import { CONTINUATION_FRAMES_MAX, HEADER_BLOCK_BYTES_MAX } from "./limits.ts";

/** A header block that spans frames. Between its first and its last no other frame may come (RFC 9113 §6.10). */
export class HeaderBlock {
  readonly streamId: number;
  readonly endStream: boolean;
  readonly selfDependent: boolean;
  readonly startedMs: number;
  private readonly parts: Buffer[] = [];
  private bytes = 0;

  constructor(options: { streamId: number; endStream: boolean; selfDependent: boolean; startedMs: number }) {
    this.streamId = options.streamId;
    this.endStream = options.endStream;
    this.selfDependent = options.selfDependent;
    this.startedMs = options.startedMs;
  }

  add(bytes: Buffer, start: number, end: number): void {
    this.bytes += end - start;
    this.parts.push(Buffer.from(bytes.subarray(start, end)));
    if (this.parts.length > CONTINUATION_FRAMES_MAX)
      throw tooMuch("continuation_flood", "too many CONTINUATION frames");
    if (this.bytes > HEADER_BLOCK_BYTES_MAX) throw tooMuch("header_block_too_large", "header block too large");
  }

  whole(): Buffer {
    return Buffer.concat(this.parts, this.bytes);
  }
}

const tooMuch = (reason: string, detail: string): ConnectionError =>
  new ConnectionError(ErrorCode.enhanceYourCalm, reason, detail);
