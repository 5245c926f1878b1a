import { type DescMessage, type MessageShape, toJson } from "@bufbuild/protobuf";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/**
 * What a story asked and what it was answered, in order, without what differs from store to store: the ids of
 * cluster and
 * member, the term, and lease ids that the server chose are replaced by names.
 */
export class Transcript {
  readonly entries: Json[] = [];
  readonly #names = new Map<string, string>();
  #leases = 0;
  #silent = 0;

  add(entry: { [name: string]: Json }): void {
    if (this.#silent === 0) this.entries.push(this.#normal(entry));
  }

  /** What is asked within is not recorded: for answers that may rightly differ. */
  async silently<T>(body: () => Promise<T>): Promise<T> {
    this.#silent++;
    try {
      return await body();
    } finally {
      this.#silent--;
    }
  }

  nameLease(id: bigint): void {
    if (!this.#names.has(String(id))) this.#names.set(String(id), `lease ${++this.#leases}`);
  }

  jsonOf<D extends DescMessage>(schema: D, message: MessageShape<D>): Json {
    return toJson(schema, message, { useProtoFieldName: true }) as Json;
  }

  #normal(value: Json, name = ""): Json {
    if (Array.isArray(value)) return value.map((element) => this.#normal(element, name));
    if (typeof value === "string") return this.#names.get(value) ?? value;
    if (value === null || typeof value !== "object") return value;
    const normal: { [name: string]: Json } = {};
    for (const [field, inner] of Object.entries(value)) {
      const isIdentity = name === "header" && ["cluster_id", "member_id", "raft_term"].includes(field);
      normal[field] = isIdentity ? "set" : this.#normal(inner, field);
    }
    return normal;
  }
}
