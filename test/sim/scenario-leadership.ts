import { equal, ok } from "node:assert/strict";
import { type DbError, isDbError } from "../../src/base/errors.ts";
import type { BranchId, Epoch } from "../../src/base/ids.ts";
import { isPromise } from "../../src/base/maybe-promise.ts";
import { acquireLeadership, type LocalDisk } from "../../src/leadership/acquire.ts";
import { resolveBranch } from "../../src/leadership/branch-name.ts";
import { openDataDirectory } from "../../src/leadership/data-directory.ts";
import { BranchDisk } from "../../src/leadership/disk-identity.ts";
import type { Durability, Leadership, TakeoverLog } from "../../src/leadership/leadership.ts";
import { openRepository, type Repository } from "../../src/leadership/repository.ts";
import { NodeSession } from "../../src/leadership/session.ts";
import {
  defaultLeadershipSettings,
  defaultSessionSettings,
  type SessionSettings,
} from "../../src/leadership/settings.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { chaos } from "./chaos.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { SimStorage, STORE_HOST, someStoreFaults } from "./object-store.ts";
import { createSimulation, type SimulationOptions } from "./simulation.ts";

/** What the world knows of one branch, which no process does. */
interface Truth {
  /** The highest epoch that proved a read. */
  served: number;
  serves: number;
  epochs: Set<number>;
}

interface Story {
  readonly storage: SimStorage;
  readonly truth: Truth;
  readonly durability: Durability;
  readonly readProof: "term" | "bucket";
  readonly settings: SessionSettings;
  /** Held by somebody who serves, by the world's own eyes. */
  readonly leaders: Map<SimNode, Epoch>;
  /** Nothing is to be seen any more but what comes late. */
  quiet: boolean;
}

const DIRECTORY = "/data";
const REQUEST_TIMEOUT_MS = 1000;

/** Short terms make for many take-overs in a run; the margin stays above twice what the clocks differ over a term. */
const tight: SessionSettings = {
  alone: { termMs: 2000, renewalMs: 700 },
  challenged: { termMs: 800, renewalMs: 250 },
  marginMs: 60,
  challengeMs: 1500,
  requestTimeoutMs: REQUEST_TIMEOUT_MS,
};

/**
 * Processes on three machines compete for one branch of one bucket, through kills, power failures, stalls, cuts,
 * outages, wrong clocks and late writes. Who proves a read must not do so once a later epoch has proven one; in the
 * end somebody leads, and goes on leading. Clocks differ in rate by up to 1 %: twice that over the longest term is
 * what the margin allows.
 */
const compete =
  (durability: Durability, readProof: "term" | "bucket") =>
  async (seed: number, options: SimulationOptions): Promise<string> => {
    const simulation = createSimulation(seed, options);
    const storage = new SimStorage(simulation, { ...someStoreFaults, silence: 0.05, late: 0.05, slowMsMax: 600 });
    const machines = ["a", "b", "c"].map((name) => {
      const random = simulation.random.fork(`clock of ${name}`);
      return simulation.machine(name, {
        clockRate: random.pick([0.99, 1, 1.01]),
        wallAheadMs: random.between(-60_000, 60_000),
      });
    });
    const truth: Truth = { served: 0, serves: 0, epochs: new Set() };
    const settings = simulation.random.fork("settings").chance(0.8) ? tight : defaultSessionSettings;
    const story: Story = { storage, truth, durability, readProof, settings, leaders: new Map(), quiet: false };
    const start = (machine: SimMachine): void => {
      const node = machine.start();
      node.onKilled.push(() => story.leaders.delete(node));
      void program(story, node);
    };
    await simulation.run(async () => {
      for (const machine of machines) start(machine);
      const durationMs = 120_000;
      await Promise.all([
        chaos(simulation, { machines, storage, durationMs, everyMs: 10_000, start }),
        harass(story, machines, durationMs - 10_000),
      ]);
      Object.assign(storage.faults, { errorBefore: 0, errorAfter: 0, silence: 0, late: 0, throttled: 0, slow: 0 });
      // All is well from here on: within a term, its margin and some requests there must be a leader that serves.
      await simulation.sleep(60_000);
      const before = truth.serves;
      await simulation.sleep(20_000);
      ok(truth.serves > before, "with everything healed somebody leads and proves reads");
      // What is late may still come.
      story.quiet = true;
      await simulation.sleep(600_000);
    });
    ok(truth.epochs.size >= 1);
    return simulation.trace.digest();
  };

/**
 * Mishaps as long as a term, most of them to who leads: it stalls, the way to the bucket fails, somebody sets its
 * clock back.
 */
async function harass(story: Story, machines: readonly SimMachine[], durationMs: number): Promise<void> {
  const { simulation } = story.storage;
  const random = simulation.random.fork("harass");
  const endMs = simulation.nowMs + durationMs;
  while (simulation.nowMs < endMs) {
    await simulation.sleep(random.between(0, random.pick([500, 6000])));
    const leaders = machines.filter((machine) => machine.nodes.some((node) => story.leaders.has(node)));
    const machine = random.pick(leaders.length > 0 && random.chance(0.8) ? leaders : machines);
    const lastsMs = random.between(0, 4000);
    const kind = random.integer(0, 3);
    if (kind === 0) for (const node of machine.nodes) if (!node.stalled) node.stallFor(lastsMs);
    if (kind === 1) machine.jumpWallClock(-random.integer(0, 4000));
    if (kind === 0 || simulation.network.isCut(machine.name, STORE_HOST)) continue;
    simulation.network.cut(machine.name, STORE_HOST);
    simulation.schedule(lastsMs, null, `the cut of ${machine.name} ends`, () =>
      simulation.network.heal(machine.name, STORE_HOST),
    );
  }
}

export const leadershipTerm = compete("object", "term");
export const leadershipBucket = compete("object", "bucket");
export const leadershipLocal = compete("local", "term");

async function program(story: Story, node: SimNode): Promise<void> {
  const store = story.storage.storeOf(node);
  const { runtime } = node;
  const data = await retried(runtime, () => openDataDirectory(runtime, DIRECTORY));
  const request = { timeoutMs: REQUEST_TIMEOUT_MS };
  const repository = await retried(runtime, () =>
    openRepository({ store, runtime, window: 4, requestTimeoutMs: REQUEST_TIMEOUT_MS }),
  );
  const { branch } = await retried(runtime, () => resolveBranch(store, "main", runtime, request));
  const session = new NodeSession({
    store,
    repositoryId: repository.id,
    runtime,
    node: data.nodeName,
    directory: data.identity,
    settings: story.settings,
  });
  const disk = await retried(runtime, () => BranchDisk.open({ directory: DIRECTORY, branch, runtime }));
  for (;;) await lead(story, node, { repository, branch, session, disk });
}

interface Opened {
  readonly repository: Repository;
  readonly branch: BranchId;
  readonly session: NodeSession;
  readonly disk: BranchDisk;
}

/** Leads once, for as long as it can or likes. */
async function lead(story: Story, node: SimNode, opened: Opened): Promise<void> {
  const { runtime } = node;
  const local: LocalDisk = {
    disk: opened.disk,
    createLog: async ({ path }) => {
      await runtime.disk.writeFile(`${path}/1`, Buffer.from("log"));
      await runtime.disk.syncDirectory(path);
    },
  };
  let leadership: Leadership;
  try {
    const acquired = await acquireLeadership({
      ...opened,
      local,
      store: story.storage.storeOf(node),
      branchName: "main",
      runtime,
      settings: {
        ...defaultLeadershipSettings,
        durabilityDefault: story.durability,
        readProof: story.readProof,
        requestTimeoutMs: REQUEST_TIMEOUT_MS,
      },
      takeoverLog: emptyLog(runtime),
      onWaiting: () => {},
    });
    leadership = acquired.leadership;
    if (acquired.localLog?.tail === "recover") {
      ok((await runtime.disk.stat(`${acquired.localLog.path}/1`)) !== null, "an established log is there");
    }
  } catch (error) {
    ok(isDbError(error), error instanceof Error ? (error.stack ?? error.message) : String(error));
    await pause(runtime, 500);
    return;
  }
  await serve(story, node, leadership);
}

async function serve(story: Story, node: SimNode, leadership: Leadership): Promise<void> {
  const { truth } = story;
  const { runtime } = node;
  node.simulation.note(node.name, `leads in epoch ${leadership.epoch}`);
  truth.epochs.add(leadership.epoch);
  story.leaders.set(node, leadership.epoch);
  let lost: DbError | null = null;
  leadership.onLost = (error) => {
    equal(lost, null, "a loss is told once");
    lost = error;
  };
  const endMs = node.simulation.nowMs + node.random.between(0, node.random.pick([1000, 10_000, 60_000]));
  // Several readers, so that one arrives while another's proof is under way.
  const reader = async (): Promise<void> => {
    while (lost === null && (story.quiet || node.simulation.nowMs < endMs)) {
      await read(story, node, leadership);
      await pause(runtime, story.quiet ? 30_000 : node.random.between(1, 60));
    }
  };
  await Promise.all([reader(), reader(), reader()]);
  if (lost !== null) {
    node.simulation.note(node.name, `lost epoch ${leadership.epoch}: ${(lost as DbError).message}`);
    ok((await leadership.proof()) !== null, "what is lost proves nothing");
  }
  story.leaders.delete(node);
  const how = lost === null && node.random.chance(0.7) ? "release" : "abandon";
  await leadership[how]().catch((error: unknown) => ok(isDbError(error), String(error)));
  ok((await leadership.proof()) !== null, "what is given up proves nothing");
}

/** A read that has just arrived; what it proves is judged as of then. */
async function read(story: Story, node: SimNode, leadership: Leadership): Promise<void> {
  const { truth } = story;
  const servedBefore = truth.served;
  const answer = leadership.proof();
  const error = isPromise(answer) ? await answer : answer;
  if (error !== null) return;
  ok(
    leadership.epoch >= servedBefore,
    `${node.name} proves a read in epoch ${leadership.epoch} after epoch ${servedBefore} has served`,
  );
  truth.served = Math.max(truth.served, leadership.epoch);
  truth.serves++;
}

/** A branch without a log: what is tried here is leadership alone. */
const emptyLog = (runtime: Runtime): TakeoverLog<{ id: string }> => ({
  newestStart: async () => ({ id: "origin" }),
  firstFreeSlot: () => pause(runtime, 5),
  fence: async () => {
    await pause(runtime, 5);
    return "fenced";
  },
  widen: () => pause(runtime, 5),
});

async function retried<T>(runtime: Runtime, run: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await run();
    } catch (error) {
      if (!isDbError(error, "storeUnavailable")) throw error;
      await pause(runtime, 200);
    }
  }
}

const pause = (runtime: Runtime, delayMs: number): Promise<void> =>
  new Promise((resolve) => void runtime.timers.set(delayMs, resolve));
