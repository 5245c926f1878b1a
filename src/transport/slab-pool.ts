/** Room for the largest frame with the headers and trailers around it, and for a few hundred small responses. */
export const SLAB_BYTES = 32768;
const FREE_SLABS_MAX = 64;

/** A buffer that responses are gathered in. It goes back to its pool when the bytes in it have been handed to the system. */
export class Slab {
  readonly buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** The callback of the write that carries this slab; made once, not for each write. */
  readonly written: () => void;
  onWritten: (() => void) | null = null;

  constructor(pool: SlabPool) {
    this.written = () => {
      const { onWritten } = this;
      this.onWritten = null;
      pool.give(this);
      onWritten?.();
    };
  }
}

/** Shared by all connections: an idle connection holds none. */
export class SlabPool {
  private readonly free: Slab[] = [];

  take(): Slab {
    return this.free.pop() ?? new Slab(this);
  }

  give(slab: Slab): void {
    if (this.free.length < FREE_SLABS_MAX) this.free.push(slab);
  }
}
