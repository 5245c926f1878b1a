import { type Components, open } from "../../src/index.ts";
import type { T4 } from "../../src/library/t4.ts";
import { MeteredStore } from "../../src/objects/metered.ts";
import { openStore } from "../../src/objects/open-store.ts";
import { parseStoreUrl } from "../../src/objects/store-url.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";

export interface Place {
  /** file:///DIR or s3://… */
  readonly store: string;
  readonly dataDirectory: string;
  /** Undefined: as is right for the store. */
  readonly cacheDiskBytes?: number;
}

export interface Opened {
  readonly db: T4;
  readonly requests: MeteredStore;
}

/** Opens in default settings, with its requests counted. */
export async function openMetered(place: Place): Promise<Opened> {
  const runtime = createNodeRuntime();
  const credentials = {
    accessKeyId: process.env["AWS_ACCESS_KEY_ID"] ?? "",
    secretAccessKey: process.env["AWS_SECRET_ACCESS_KEY"] ?? "",
  };
  const store = await openStore(parseStoreUrl(place.store), runtime, { credentials: async () => credentials });
  const requests = new MeteredStore(store, runtime.clock);
  const components: Components = { runtime, objectStore: requests };
  return { db: await open({ ...place }, components), requests };
}

/** Requests since the store was opened, and bytes of tables written. */
export function requestsOf(store: MeteredStore): { requests: number; tableBytesWritten: number } {
  let requests = 0;
  let tableBytesWritten = 0;
  for (const series of store.series()) {
    requests += series.count;
    if (series.operation === "put" && series.object === "table") tableBytesWritten += series.bytes;
  }
  return { requests, tableBytesWritten };
}

export const VALUE_BYTES = 256;
export type Order = "in order" | "random";

/** Key number `n` of a load; those of a random one are all over the key space. */
export const keyOf = (n: number, order: Order): string =>
  `/bench/key/${String(order === "random" ? (n * 2_654_435_761) % 4_294_967_296 : n).padStart(12, "0")}`;

const POOL_BYTES = 1 << 20;
const pool = Buffer.alloc(POOL_BYTES);
// About as packable as text: half of the bits are chance.
let state = 12_345;
for (let i = 0; i < POOL_BYTES; i++) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
  pool[i] = 97 + ((state >>> 16) & 15);
}

export const valueFor = (n: number, bytes = VALUE_BYTES): Buffer => {
  const start = (n * 30_011) % (POOL_BYTES - bytes);
  return pool.subarray(start, start + bytes);
};
