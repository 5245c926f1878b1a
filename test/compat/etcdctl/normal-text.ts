import type { Outcome } from "./command-line.ts";

export interface NormalOutcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * What differs between any two servers is given names: ids of cluster and member, the term, lease ids in the order in
 * which they were granted, addresses, times. One per server, for a whole script.
 */
export class NormalText {
  readonly #leases: string[] = [];
  readonly #members: string[] = [];

  /** The nth lease that was granted, from 1, in hexadecimal. */
  lease(n: number): string {
    const id = this.#leases[n - 1];
    if (id === undefined) throw new Error(`only ${this.#leases.length} leases were granted`);
    return id;
  }

  /** The nth member that was added, from 1, in hexadecimal. */
  member(n: number): string {
    const id = this.#members[n - 1];
    if (id === undefined) throw new Error(`only ${this.#members.length} members were added`);
    return id;
  }

  of(outcome: Outcome): NormalOutcome {
    // Control characters are what Go's protobuf output begins with, too.
    const stdout = outcome.stdout.toString("latin1");
    for (const [, id] of stdout.matchAll(/lease ([0-9a-f]{16}) granted/g)) this.#learn(id!);
    for (const [, id] of stdout.matchAll(/^Member +([0-9a-f]+) added/gm)) this.#members.push(id!);
    for (const [, id] of stdout.matchAll(/"ID":(\d+),"TTL"/g)) this.#learn(BigInt(id!).toString(16).padStart(16, "0"));
    for (const [, id] of stdout.matchAll(/"ID" : (\d+)\n"TTL"/g))
      this.#learn(BigInt(id!).toString(16).padStart(16, "0"));
    return { code: outcome.code, stdout: this.#text(stdout), stderr: this.#text(withoutLogLines(outcome.stderr)) };
  }

  #learn(id: string): void {
    if (!this.#leases.includes(id)) this.#leases.push(id);
  }

  #text(text: string): string {
    this.#leases.forEach((id, n) => {
      text = text.replaceAll(id, `<lease ${n + 1}>`).replaceAll(String(BigInt(`0x${id}`)), `<lease ${n + 1}>`);
    });
    return membersSorted(replacements.reduce((so, [pattern, name]) => so.replace(pattern, name), keysSorted(text)));
  }
}

/** etcd gives a lease's keys in the order of a Go map, another one each time. */
const keysSorted = (text: string): string =>
  text
    .replace(/"keys":\[([^\]]*)\]/g, (_match, keys: string) => `"keys":[${keys.split(",").sort().join(",")}]`)
    .replace(
      /attached keys\(\[([^\]]*)\]\)/g,
      (_match, keys: string) => `attached keys([${keys.split(" ").sort().join(" ")}])`,
    )
    .replace(/(?:"Key" : [^\n]*\n)+/g, (keys) =>
      keys
        .split(/(?<=\n)/)
        .sort()
        .join(""),
    );

/** Members come in the order of their ids. */
const membersSorted = (text: string): string =>
  text
    .replace(/(?:^<id>, [^\n]*\n)+/gm, (lines) => sortedParts(lines, /(?<=\n)/, ""))
    .replace(/(?:"ID" : <id>\n(?:"[^\n]*\n)+\n)+/g, (members) => sortedParts(members, /(?<=\n\n)/, ""))
    .replace(/"members":\[(.*?\})\]\}/g, (_match, list: string) => `"members":[${sortedParts(list, /(?<=\}),/, ",")}]}`)
    .replace(/ETCD_INITIAL_CLUSTER="([^"]*)"/g, (_match, list: string) => sortedParts(list, /,/, ","));

const sortedParts = (text: string, between: RegExp, joint: string): string => text.split(between).sort().join(joint);

const replacements: readonly [RegExp, string][] = [
  [/"ID":\d{15,}/g, '"ID":<id>'],
  [/"ID" : \d{15,}/g, '"ID" : <id>'],
  [/^ {0,5}[0-9a-f]{11,16}, (un)?started/gm, "<id>, $1started"],
  // An id is padded to sixteen columns.
  [/(Member|cluster|from|to) {1,6}[0-9a-f]{11,16}\b/g, "$1 <id>"],
  [/"(cluster_id|member_id|raft_term)":\d+/g, '"$1":<$1>'],
  [/"(ClusterID|MemberID|RaftTerm)" : [0-9a-f]+/g, '"$1" : <$1>'],
  [/127\.0\.0\.1:\d{4,}/g, "<endpoint>"],
  // The µ of a quick answer is two bytes, and two characters of latin1.
  [/took = [\d.]+(m|n|\xc2?\xb5)?s/g, "took = <time>"],
  [/"took":"[^"]+"/g, '"took":"<time>"'],
  [/remaining\(\d+s\)/g, "remaining(<time>)"],
  [/"ttl":\d+/g, '"ttl":<time>'],
  [/"TTL" : \d+\n"GrantedTTL"/g, '"TTL" : <time>\n"GrantedTTL"'],
  // The key of a lock or a candidate ends with the id of its session's lease.
  [/\/[0-9a-f]{12,16}\b/g, "/<session>"],
];

/** What the client's library logs is neither server's answer. */
const withoutLogLines = (text: string): string =>
  text
    .split("\n")
    .filter((line) => !line.startsWith('{"level":'))
    .join("\n");
