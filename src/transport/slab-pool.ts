import { FRAME_HEADER_BYTES } from "./frames.ts";
import { FRAME_BYTES_MAX } from "./limits.ts";

/** What a connection starts a turn's output in: a few dozen small responses. */
const SMALL_SLAB_BYTES = 4096;
/** Room for four of the largest frames with what comes around them, or for a few hundred small responses. */
export const SLAB_BYTES = 4 * (FRAME_BYTES_MAX + FRAME_HEADER_BYTES) + 1024;
/** A turn may end with output of thousands of connections: what is kept for the next one, 8 MiB of each. */
const FREE_SMALL_MAX = 2048;
const FREE_LARGE_MAX = 128;

/**
 * A buffer that responses are gathered in. It goes back to its pool when the bytes in it have been handed to the
 * system.
 */
export class Slab {
  readonly buffer: Buffer;
  /** The callback of the write that carries this slab; made once, not for each write. */
  readonly written: () => void;
  onWritten: (() => void) | null = null;
  private readonly pool: SlabPool;

  constructor(pool: SlabPool, bytes: number) {
    this.pool = pool;
    this.buffer = Buffer.allocUnsafeSlow(bytes);
    this.written = () => {
      const { onWritten } = this;
      this.onWritten = null;
      pool.give(this);
      onWritten?.();
    };
  }

  /** Nothing in it is needed any more. */
  release(): void {
    this.onWritten = null;
    this.pool.give(this);
  }
}

/** Shared by all connections: an idle connection holds none. */
export class SlabPool {
  private readonly small: Slab[] = [];
  private readonly large: Slab[] = [];

  /** With room for `bytes`, at most SLAB_BYTES. */
  take(bytes: number): Slab {
    if (bytes <= SMALL_SLAB_BYTES) return this.small.pop() ?? new Slab(this, SMALL_SLAB_BYTES);
    return this.large.pop() ?? new Slab(this, SLAB_BYTES);
  }

  give(slab: Slab): void {
    if (slab.buffer.length === SLAB_BYTES) {
      if (this.large.length < FREE_LARGE_MAX) this.large.push(slab);
    } else if (this.small.length < FREE_SMALL_MAX) this.small.push(slab);
  }
}
