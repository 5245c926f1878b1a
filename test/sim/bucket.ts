import { hash } from "node:crypto";
import type { PutCondition } from "../../src/objects/objects.ts";

export interface SimObject {
  readonly body: Buffer;
  readonly etag: string;
  readonly modifiedMs: number;
}

/** One change of the bucket, in the order in which they took effect. */
export interface BucketChange {
  readonly atMs: number;
  /** The process that had asked for it; it may be long dead. */
  readonly by: string;
  readonly kind: "put" | "delete";
  readonly key: string;
  readonly body: Buffer | null;
}

/** The bucket itself, which no process's death touches: linearizable, each change at one moment. */
export class SimBucket {
  readonly objects = new Map<string, SimObject>();
  readonly history: BucketChange[] = [];
  /** "content": equal bytes have equal etags, as with S3, so that a swap may mistake an older state for the newer. */
  readonly etags: "counter" | "content";
  #lastEtag = 0;

  constructor(etags: "counter" | "content" = "counter") {
    this.etags = etags;
  }

  /** The new etag, or null when the condition does not hold. */
  put(
    key: string,
    body: Buffer,
    condition: PutCondition,
    change: { atMs: number; by: string; wallMs: number },
  ): string | null {
    const present = this.objects.get(key);
    if (condition.kind === "absent" && present !== undefined) return null;
    if (condition.kind === "match" && present?.etag !== condition.etag) return null;
    const etag = this.etags === "counter" ? `"${++this.#lastEtag}"` : `"${hash("md5", body)}"`;
    this.objects.set(key, { body, etag, modifiedMs: change.wallMs });
    this.history.push({ atMs: change.atMs, by: change.by, kind: "put", key, body });
    return etag;
  }

  delete(key: string, change: { atMs: number; by: string }): void {
    if (this.objects.delete(key)) this.history.push({ ...change, kind: "delete", key, body: null });
  }

  /** Keys in byte order. */
  keys(prefix = ""): string[] {
    return [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
  }
}
