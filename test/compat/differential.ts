/**
 * Random operations on two servers, whose whole answers are compared:
 *
 * t4-node test/compat/differential.ts [--seed N] [--operations N] [--left SIDE] [--right SIDE] [--auth]
 *
 * A side is engine, server, gateway (unary calls as JSON over HTTP), etcd, or etcd-gateway.
 *
 * The seed is printed first, and a difference with the fewest operations that still show it. The engine runs in
 * this process.
 */
import { parseArgs } from "node:util";
import { authContest } from "./differential/auth-contest.ts";
import { contest } from "./differential/run.ts";
import type { Endpoint } from "./endpoint.ts";
import { sides } from "./sides.ts";

const kinds: Readonly<Record<string, () => Promise<Endpoint>>> = sides;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    operations: { type: "string", default: "10000" },
    left: { type: "string", default: "engine" },
    right: { type: "string", default: "etcd" },
    auth: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);
const operations = Number(values.operations);
const left = kinds[values.left];
const right = kinds[values.right];
if (!Number.isSafeInteger(seed) || !Number.isSafeInteger(operations) || left === undefined || right === undefined) {
  throw new Error(`--seed and --operations are numbers; --left and --right: ${Object.keys(kinds).join(", ")}`);
}
console.log(`seed ${seed}: ${operations} operations on ${values.left} and ${values.right}`);
const startedMs = performance.now();
const report = (line: string): void => console.log(line);
const difference = values.auth ? await ofAuth() : await contest({ seed, operations, left, right, report });
const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
if (difference === null) console.log(`no difference, in ${seconds} s`);
else if (typeof difference === "string") {
  console.log(difference);
  process.exitCode = 1;
} else {
  console.log(`after ${seconds} s, ${difference.operations.length} operations show a difference:`);
  for (const operation of difference.operations) console.log(`  ${JSON.stringify(operation)}`);
  console.log(`  ${difference.what}`);
  process.exitCode = 1;
}

async function ofAuth(): Promise<string | null> {
  const sides = await Promise.all([left!(), right!()]);
  try {
    return await authContest({ seed, operations, left: sides[0], right: sides[1], report });
  } finally {
    await Promise.all(sides.map((side) => side.close()));
  }
}
