import { Repository } from "../../src/gen/t4/v1/repository_pb.ts";
import { benchmark } from "../bench/loads.ts";
import { run, type Sample } from "../bench/measure.ts";
import type { Figures } from "../bench-storage/library-cases.ts";
import { freePort } from "../contract/free-port.ts";
import { type Database, keyOf, Served } from "./place.ts";

const CALM = { clients: 2, connections: 2 };
const HEAVY = { clients: 2000, connections: 100 };
/** Calls a second of the calm branch. */
const RATE = 200;

/** Reads and puts of one branch at a modest rate: alone, beside another that takes all it gets, and amid such calls. */
export async function fairness(database: Database, seconds: number): Promise<Figures> {
  const ports = { calm: await freePort(), busy: await freePort() };
  const doors = Object.entries(ports).map(([name, port]) => `--listen-branch=${name}=http://127.0.0.1:${port}`);
  const first = await Served.start(database);
  for (const name of Object.keys(ports))
    await first.client().repository(["main"], Repository.method.branchCreate, { name });
  await first.stop();
  const served = await Served.start(database, { args: doors });
  try {
    const pid = served.process.pid!;
    const total = RATE * seconds;
    const endpoint = (name: keyof typeof ports): string => `127.0.0.1:${ports[name]}`;
    const reads = () =>
      benchmark(endpoint("calm"), CALM, ["range", keyOf(1), `--rate=${RATE}`, `--total=${total}`], total);
    const puts = () =>
      benchmark(endpoint("calm"), CALM, ["put", "--val-size=256", `--rate=${RATE}`, `--total=${total}`], total);
    const heavy = (name: keyof typeof ports, count: number) =>
      benchmark(
        endpoint(name),
        HEAVY,
        ["put", "--val-size=1024", "--key-space-size=100000", `--total=${count}`],
        count,
      );
    const both = async (): Promise<{ reads: Sample; puts: Sample }> => ({
      reads: await run(reads(), pid),
      puts: await run(puts(), pid),
    });
    const sized = await run(heavy("busy", 30_000), pid);
    const count = Math.round(sized.opsPerSecond * (2 * seconds + 3));
    const beside = async (name: keyof typeof ports) => {
      const load = run(heavy(name, count), pid);
      // Clients of the load connect first.
      await new Promise((resolve) => setTimeout(resolve, 1000));
      return { ...(await both()), load: await load };
    };
    const alone = await both();
    const other = await beside("busy");
    const same = await beside("calm");
    return {
      heavyPutsPerSecond: other.load.opsPerSecond,
      readP99MsAlone: alone.reads.p99Ms!,
      readP99Ms: other.reads.p99Ms!,
      readP99MsSameBranch: same.reads.p99Ms!,
      putP99MsAlone: alone.puts.p99Ms!,
      putP99Ms: other.puts.p99Ms!,
      putP99MsSameBranch: same.puts.p99Ms!,
    };
  } finally {
    await served.stop();
  }
}
