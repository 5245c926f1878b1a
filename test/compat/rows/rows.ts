import { readdirSync, readFileSync } from "node:fs";

/**
 * The rows of etcd's API: what it promises, one id each. A test, story or Go case names the rows that it is about at
 * the beginning of its title; rows.test.ts checks that none is left out. What the rows say:
 *
 * B1 transport and limits, B2 HTTP, R Range, RS RangeStream, P Put, D DeleteRange, T Txn, C Compact, W Watch, L Lease,
 * A Auth, M Maintenance and Cluster, K Lock and Election, Q quirks, KA what Kubernetes asks for, E etcd's errors.
 */
export const families: readonly (readonly [prefix: string, rows: number])[] = [
  ["B1.", 16],
  ["B2.", 6],
  ["R", 16],
  ["RS", 10],
  ["P", 10],
  ["D", 7],
  ["T", 16],
  ["C", 7],
  ["W", 22],
  ["L", 12],
  ["A", 18],
  ["M", 9],
  ["K", 3],
  ["Q", 10],
  ["KA", 16],
  ["E", 63],
];

/** Errors are numbered with two digits. */
const idOf = (prefix: string, n: number): string => prefix + (prefix === "E" ? String(n).padStart(2, "0") : n);

export const allRows: readonly string[] = families.flatMap(([prefix, rows]) =>
  Array.from({ length: rows }, (_, i) => idOf(prefix, i + 1)),
);

const noLearners = "there are no learners: a node that serves a branch leads it";
const noConsensus = "told of a cluster that agrees by raft; there is none";

/** Rows that mean nothing here, and why. */
export const withoutMeaning: Readonly<Record<string, string>> = {
  "B1.11": noLearners,
  "B1.12": "all that 3.6 has is there from the first start; no version of a cluster turns it on",
  RS8: noLearners,
  RS9: "there is no proxy",
  L12: "a switch of etcd's own workings: keep-alives need no switch here",
  Q6: "of etcd 3.7, which leaves `lease` out of a range of keys only; 3.6.16 is emulated, which tells it",
  Q10: "says how etcd ends itself on a bug of its own; no answer is promised",
  E15: "made by etcd's client, not by the server",
  E16: "ids of members are drawn from their addresses and the time; a member with the same id cannot be added",
  E24: noConsensus,
  E45: "of Maintenance.MoveLeader on a follower; who answers here leads the branch",
  E46: "of a linearizable read overtaken by a change of leaders; here the call fails as the leadership does: E44, E50",
  E47: "see B1.12",
  E51: noConsensus,
  E52: noConsensus,
  E53: "of strict reconfiguration while members are unreachable; nodes are not voters",
  E55: noLearners,
  E59: "the version is known from the first moment on",
  E62: "of who has gone: nobody is told. What waits ends as gRPC itself ends it",
  E63: "a call whose time is over ends with gRPC's own text, `context deadline exceeded`, on an etcd too",
  E61: "3.6.16 answers the cancelling of no downgrade with success, and so does t4",
};

export interface Title {
  readonly file: string;
  readonly title: string;
}

const root = new URL("../../../", import.meta.url);
/** `test("…`, `name: "…`, `story("…` and a Go case's `{"…`; the title may begin on a line of its own. */
const TITLE = /(?:\b(?:test|it|describe|story)\(\s*|\bname:\s*|^\t\{)(["`])((?:\\.|(?!\1)[^\\])*)\1/gm;

/** The titles of every test in the repository. */
export function allTitles(): Title[] {
  const titles: Title[] = [];
  for (const folder of ["src", "test"]) {
    for (const name of readdirSync(new URL(folder, root), { recursive: true, encoding: "utf8" })) {
      if (!isTests(`${folder}/${name}`)) continue;
      const file = `${folder}/${name}`;
      for (const [, , title] of readFileSync(new URL(file, root), "utf8").matchAll(TITLE)) {
        titles.push({ file, title: title! });
      }
    }
  }
  return titles;
}

const isTests = (file: string): boolean =>
  /\.test\.ts$/.test(file) ||
  /^test\/compat\/stories\/.*\.ts$/.test(file) ||
  /^test\/compat\/go-client\/.*\.go$/.test(file);

/** "W1", and each of "KA7-KA9" and "K1 to K3". */
const ROW = /(?<![\w.])([A-Z]+(?:\d\.)?)(\d+)(?:(?:–|-| to )\1(\d+))?(?![\w.]*\w)/g;

export function rowsOf(title: string): string[] {
  const rows: string[] = [];
  for (const [, prefix, from, to] of title.matchAll(ROW)) {
    for (let n = Number(from); n <= Number(to ?? from); n++) rows.push(idOf(prefix!, n));
  }
  return rows;
}

/** etcd's errors: the codes they arrive with, and their texts, by row. */
export const errorTexts = (): ReadonlyMap<string, readonly [code: number, text: string]> =>
  new Map(
    Object.entries(JSON.parse(readFileSync(new URL("errors.json", import.meta.url), "utf8")) as Record<string, never>),
  );

/** The stories in whose recorded answers an error occurs: played on every runner, they test it. */
export function storiesWithError(code: number, text: string): Title[] {
  const found: Title[] = [];
  const recorded = new URL("test/recorded/", root);
  for (const name of readdirSync(recorded)) {
    const stories = JSON.parse(readFileSync(new URL(name, recorded), "utf8")) as Record<string, unknown[]>;
    for (const [title, answers] of Object.entries(stories)) {
      if (answers.some((answer) => isError(answer, code, text))) found.push({ file: `test/recorded/${name}`, title });
    }
  }
  return found;
}

const isError = (answer: unknown, code: number, text: string): boolean =>
  typeof answer === "object" && answer !== null && "code" in answer && answer.code === code && "text" in answer
    ? answer.text === text
    : false;

/** Every row, and the tests that name it or, for an error, meet it. */
export function coverage(): Map<string, Title[]> {
  const tests = new Map<string, Title[]>(allRows.map((row) => [row, []]));
  for (const title of allTitles()) for (const row of rowsOf(title.title)) tests.get(row)?.push(title);
  for (const [row, [code, text]] of errorTexts()) tests.get(row)?.push(...storiesWithError(code, text));
  return tests;
}
