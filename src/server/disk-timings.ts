import { isPromise } from "../base/maybe-promise.ts";
import type { Clock, Disk, DiskFile } from "../runtime/runtime.ts";
import { doublingBounds, Histogram } from "./histogram.ts";

/** etcd's bounds: 1 ms to 8 s. */
const WRITE_BOUNDS_S = doublingBounds(0.001, 14);

/**
 * How long the writes of the local log took, which are durable when they return: etcd's
 * etcd_disk_wal_fsync_duration_seconds.
 */
export class DiskTimings {
  readonly writes = new Histogram(WRITE_BOUNDS_S);
  bytesWritten = 0;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The same disk, with what is written through files opened with `sync` timed. */
  around(disk: Disk): Disk {
    const open: Disk["open"] = async (path, options) => {
      const file = await disk.open(path, options);
      return file === null || options.sync !== true ? file : this.#timed(file);
    };
    return new Proxy(disk, {
      get: (target, name) => {
        if (name === "open") return open;
        const own: unknown = Reflect.get(target, name, target);
        return typeof own === "function" ? (own as (...args: unknown[]) => unknown).bind(target) : own;
      },
    });
  }

  #timed(file: DiskFile): DiskFile {
    const write: DiskFile["write"] = (bytes, position) => {
      const startedMs = this.#clock.monotonicMs();
      const done = (): void => {
        this.writes.observeMs(this.#clock.monotonicMs() - startedMs);
        this.bytesWritten += bytes.length;
      };
      const written = file.write(bytes, position);
      if (isPromise(written)) return written.then(done);
      done();
      return written;
    };
    return {
      write,
      read: (into, position) => file.read(into, position),
      readAtOnce: (into, position) => file.readAtOnce(into, position),
      size: () => file.size(),
      truncate: (bytes) => file.truncate(bytes),
      sync: () => file.sync(),
      close: () => file.close(),
    };
  }
}
