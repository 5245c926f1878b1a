import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import type { SimMachine } from "../../test/sim/machine.ts";
import type { SimNode } from "../../test/sim/node.ts";
import { noStoreFaults, SimStorage, STORE_HOST } from "../../test/sim/object-store.ts";
import { createSimulation, type Simulation } from "../../test/sim/simulation.ts";
import type { DbError } from "../base/errors.ts";
import { leaderKey, sessionKey } from "../objects/keys.ts";
import { type Acquired, acquireLeadership, leaderRegister } from "./acquire.ts";
import { resolveBranch } from "./branch-name.ts";
import { openDataDirectory } from "./data-directory.ts";
import { BranchDisk } from "./disk-identity.ts";
import type { Leadership } from "./leadership.ts";
import type { Waiting } from "./outlive.ts";
import { openRepository } from "./repository.ts";
import { NodeSession } from "./session.ts";
import { defaultLeadershipSettings, defaultSessionSettings, type LeadershipSettings } from "./settings.ts";

const DATA = "/data";
const requestTimeoutMs = 2000;

class World {
  readonly simulation: Simulation;
  readonly storage: SimStorage;

  constructor() {
    this.simulation = createSimulation(3);
    this.storage = new SimStorage(this.simulation, noStoreFaults);
  }

  get nowMs(): number {
    return this.simulation.nowMs;
  }

  /** What a process does from its start to leading. */
  async lead(machine: SimMachine, settings: Partial<LeadershipSettings> = {}): Promise<Led> {
    const node = machine.start();
    const { runtime } = node;
    const store = this.storage.storeOf(node);
    const directory = await openDataDirectory(runtime, DATA);
    const repository = await openRepository({ store, runtime, window: 8, requestTimeoutMs });
    const { branch } = await resolveBranch(store, "main", runtime, { timeoutMs: requestTimeoutMs });
    const session = new NodeSession({
      store,
      repositoryId: repository.id,
      runtime,
      node: directory.nodeName,
      directory: directory.identity,
      settings: { ...defaultSessionSettings, requestTimeoutMs },
    });
    const disk = await BranchDisk.open({ directory: DATA, branch, runtime });
    const steps: string[] = [];
    const waited: Waiting[] = [];
    const events: string[] = [];
    const abort = new AbortController();
    node.onKilled.push(() => abort.abort());
    const acquire = (): Promise<Acquired<{ id: string }>> =>
      acquireLeadership({
        store,
        repository,
        branch,
        branchName: "main",
        runtime,
        session,
        local: {
          disk,
          createLog: async ({ path }) => void (await runtime.disk.writeFile(`${path}/1`, Buffer.from("log"))),
        },
        settings: { ...defaultLeadershipSettings, durabilityDefault: "object", requestTimeoutMs, ...settings },
        takeoverLog: {
          newestStart: async () => ({ id: "origin" }),
          firstFreeSlot: async () => {},
          fence: async () => {
            steps.push("fence");
            return "fenced";
          },
          widen: async (_, count) => void steps.push(`widen ${count}`),
        },
        onWaiting: (waiting) => void waited.push(waiting),
        signal: abort.signal,
      });
    const startedMs = this.nowMs;
    const acquired = await acquire();
    const { leadership } = acquired;
    leadership.onLost = (error) => void events.push(`lost: ${error.message}`);
    leadership.onRegained = () => void events.push("regained");
    return {
      node,
      session,
      disk,
      steps,
      waited,
      events,
      acquire,
      acquired,
      leadership,
      tookMs: this.nowMs - startedMs,
    };
  }

  async record(machine: SimMachine): Promise<object> {
    const node = machine.start();
    const { branch } = await resolveBranch(this.storage.storeOf(node), "main", node.runtime, { timeoutMs: 1000 });
    const state = await leaderRegister(this.storage.storeOf(node), branch, node.runtime).read({ timeoutMs: 1000 });
    node.kill();
    return state!.body;
  }
}

interface Led {
  readonly node: SimNode;
  readonly session: NodeSession;
  readonly disk: BranchDisk;
  readonly steps: string[];
  readonly waited: Waiting[];
  readonly events: string[];
  readonly acquire: () => Promise<Acquired<{ id: string }>>;
  readonly acquired: Acquired<{ id: string }>;
  readonly leadership: Leadership;
  readonly tookMs: number;
}

function story(name: string, tell: (world: World, a: SimMachine, b: SimMachine) => Promise<void>): void {
  test(name, async () => {
    const world = new World();
    const { simulation } = world;
    await simulation.run(() => tell(world, simulation.machine("a"), simulation.machine("b")));
  });
}

/** Round trips at this world's pace, with room for all that a start asks for. */
const soon = (world: World): number => 60 * world.storage.typicalMs;

for (const durability of ["object", "local"] as const) {
  story(`${durability}: one's own restart after kill -9 waits for no term`, async (world, a) => {
    const first = await world.lead(a, { durabilityDefault: durability });
    equal(first.leadership.epoch, 1);
    equal(first.leadership.durability, durability);
    deepEqual(first.steps, [], "nobody led before: no fence");
    first.node.kill();
    const second = await world.lead(a);
    ok(second.tookMs < soon(world), `took ${second.tookMs} ms`);
    equal(second.leadership.epoch, 2);
    deepEqual(second.steps, ["fence", "widen 7"]);
    deepEqual(second.waited, []);
    equal(second.leadership.proof(), null);
    const tails = [first, second].map(({ acquired }) => acquired.localLog?.tail ?? null);
    deepEqual(tails, durability === "local" ? ["empty", "recover"] : [null, null]);
  });

  story(
    `${durability}: after a clean release another takes over in round trips, without a fence`,
    async (world, a, b) => {
      const first = await world.lead(a, { durabilityDefault: durability });
      await first.leadership.release();
      equal(((await first.leadership.proof()) as DbError).kind, "noLeader");
      match(JSON.stringify(await world.record(b)), /"inSync":\[\].*"released":true/);
      const second = await world.lead(b);
      ok(second.tookMs < soon(world), `took ${second.tookMs} ms`);
      deepEqual([second.leadership.epoch, second.steps, second.waited], [2, [], []]);
      equal(second.acquired.localLog?.tail ?? null, durability === "local" ? "empty" : null);
      await first.leadership.release();
      deepEqual(first.events, [], "who gave up is told of no loss");
    },
  );
}

story(
  "another node waits a dead leader's term and margin out, says for whom, and kills the session",
  async (world, a, b) => {
    const first = await world.lead(a);
    const { id } = first.session;
    await world.simulation.sleep(6000);
    first.node.kill();
    const second = await world.lead(b);
    ok(second.tookMs >= 15_500 && second.tookMs < 17_500, `took ${second.tookMs} ms`);
    deepEqual(second.waited, [{ session: id, node: first.session.node, waitMs: 15_500 }]);
    const session = world.storage.bucket.objects.get(sessionKey(id!))!.body.toString("latin1");
    match(session, new RegExp(`"endedBy":"${second.session.node}".*"state":"killed"`));
    equal(second.leadership.epoch, 2);
  },
);

story("while somebody stands by terms are short, and so is the takeover", async (world, a, b) => {
  const first = await world.lead(a);
  const second = world.lead(b);
  await world.simulation.sleep(200_000);
  equal(first.leadership.proof(), null, "a leader that renews is waited for as long as it does");
  const killedMs = world.nowMs;
  first.node.kill();
  const { leadership } = await second;
  const took = world.nowMs - killedMs;
  ok(took >= 2000 && took < 6000, `took ${took} ms`);
  equal(leadership.epoch, 2);
});

story("a machine that booted anew waits for the term; a copy of a directory does", async (world, a) => {
  const first = await world.lead(a);
  a.crash();
  const second = await world.lead(a);
  ok(second.tookMs >= 15_500, `took ${second.tookMs} ms`);
  equal(second.session.node, first.session.node);
  second.node.kill();
  const { disk } = a.start().runtime;
  await disk.rename(`${DATA}/lock`, `${DATA}/old`);
  const third = await world.lead(a);
  ok(third.tookMs >= 15_500, `another lock file: took ${third.tookMs} ms`);
});

story(
  "without the store a leader by term stops proving, and goes on in its epoch when it is back",
  async (world, a) => {
    const { leadership, events } = await world.lead(a);
    world.storage.outage(60_000);
    await world.simulation.sleep(9000);
    equal(leadership.proof(), null, "the term that was granted holds");
    await world.simulation.sleep(8000);
    equal(((await leadership.proof()) as DbError).kind, "noLeader");
    equal(leadership.unprovenBecause()?.kind, "noLeader");
    deepEqual(events, []);
    await world.simulation.sleep(60_000);
    equal(leadership.proof(), null);
    deepEqual(events, ["regained"]);
  },
);

story(
  "local: an outage of the store ends nothing; a forced takeover does, and says what may be lost",
  async (world, a, b) => {
    const first = await world.lead(a, { durabilityDefault: "local" });
    world.storage.outage(60_000);
    await world.simulation.sleep(59_000);
    equal(first.leadership.proof(), null);
    await world.simulation.sleep(10_000);
    deepEqual(first.events, []);
    await rejects(world.lead(b), (error: DbError) => {
      match(
        error.message,
        new RegExp(`only disk ${first.disk.state!.disk} of node ${first.session.node}.*--force-takeover`),
      );
      return error.kind === "storeRefused";
    });
    b.crash();
    equal(first.leadership.proof(), null, "who may not take it kills nobody");
    world.simulation.network.cut("a", STORE_HOST);
    const second = await world.lead(b, { forceTakeover: true });
    match(second.acquired.warning ?? "", /had not uploaded is lost/);
    ok(second.tookMs >= 15_500, "the session was waited out: it may carry other branches");
    equal(first.leadership.proof(), null, "it cannot know yet");
    world.simulation.network.heal("a", STORE_HOST);
    await world.simulation.sleep(20_000);
    equal(((await first.leadership.proof()) as DbError).kind, "leadershipLost");
    equal(first.events.length, 1);
    await first.leadership.abandon();
    await rejects(first.acquire(), /only disk/);
  },
);

story("local: a disk that was rolled back is refused", async (world, a) => {
  const first = await world.lead(a, { durabilityDefault: "local" });
  const file = `${first.disk.path}/disk`;
  const old = (await first.node.runtime.disk.readFile(file, 1000))!;
  first.node.kill();
  const second = await world.lead(a);
  second.node.kill();
  const node = a.start();
  await node.runtime.disk.writeFile(file, old);
  node.kill();
  await rejects(world.lead(a), /old copy of disk [0-9a-f]{32}: the leader record shows generation/);
});

story("the durability of a branch is changed only when it is asked for, after a clean stop", async (world, a) => {
  const first = await world.lead(a, { durabilityDefault: "local" });
  await first.leadership.abandon();
  first.node.kill();
  await rejects(world.lead(a, { durability: "object" }), /has durability local, not object: leave --durability out/);
  a.crash();
  await rejects(world.lead(a, { durability: "object", changeDurability: true }), /may not be uploaded yet/);
  a.crash();
  const again = await world.lead(a);
  await again.leadership.release();
  again.node.kill();
  const changed = await world.lead(a, { durability: "object", changeDurability: true });
  equal(changed.leadership.durability, "object");
  await changed.leadership.release();
});

story("read proof by the bucket: each read is answered by a record read after it came", async (world, a, b) => {
  const first = await world.lead(a, { readProof: "bucket" });
  equal(await first.leadership.proof(), null);
  equal(first.leadership.unprovenBecause(), null);
  world.simulation.network.cut("a", STORE_HOST);
  const answer = (await first.leadership.proof()) as DbError;
  equal(answer.kind, "noLeader");
  equal(first.leadership.unprovenBecause(), answer);
  world.simulation.network.heal("a", STORE_HOST);
  equal(await first.leadership.proof(), null);
  deepEqual(first.events, ["regained"]);
  first.node.stall();
  const second = await world.lead(b, { readProof: "bucket" });
  equal(await second.leadership.proof(), null);
  first.node.resume();
  equal(((await first.leadership.proof()) as DbError).kind, "leadershipLost");
  equal(first.events.length, 2);
});

story(
  "read proof by the bucket: a read waits no longer than it may; the proof comes back without one",
  async (world, a) => {
    const first = await world.lead(a, { readProof: "bucket", proofTimeoutMs: 300 });
    world.simulation.network.cut("a", STORE_HOST);
    const { clock } = first.node.runtime;
    const askedMs = clock.monotonicMs();
    const answers = await Promise.all([first.leadership.proof(), first.leadership.proof()]);
    ok(clock.monotonicMs() - askedMs < 400);
    for (const answer of answers) equal((answer as DbError).kind, "noLeader");
    equal(first.leadership.unprovenBecause()?.kind, "noLeader");
    await world.simulation.sleep(30_000);
    equal(first.leadership.unprovenBecause()?.kind, "noLeader");
    deepEqual(first.events, []);
    world.simulation.network.heal("a", STORE_HOST);
    await world.simulation.sleep(12_000);
    equal(first.leadership.unprovenBecause(), null);
    deepEqual(first.events, ["regained"]);
    await first.leadership.release();
  },
);

story("a session that was killed is followed by a new one, and its branch won anew", async (world, a, b) => {
  const first = await world.lead(a);
  first.node.stall();
  const second = await world.lead(b);
  await second.leadership.release();
  first.node.resume();
  await world.simulation.sleep(10_000);
  match(first.events.join(), /^lost: session .* was killed by node-/);
  await first.leadership.abandon();
  const again = await first.acquire();
  equal(again.leadership.epoch, 3);
  match(first.session.id ?? "", /-0000000002$/);
});

story("a node that stopped leading leaves nothing to renew, and removes its old sessions", async (world, a) => {
  const first = await world.lead(a);
  for (let n = 0; n < 3; n++) {
    await (n === 0 ? first.leadership : (await first.acquire()).leadership).release();
    equal(first.session.id, null);
  }
  const puts = (): number => world.storage.bucket.history.length;
  const before = puts();
  await world.simulation.sleep(60_000);
  equal(puts(), before);
  equal(world.storage.bucket.keys("session/").length, 2, "the last one, and the one before it");
});

story("what is given up while it waits leaves no session behind", async (world, a, b) => {
  await world.lead(a);
  const node = b.start();
  const { runtime } = node;
  const store = world.storage.storeOf(node);
  const repository = await openRepository({ store, runtime, window: 8, requestTimeoutMs });
  const { branch } = await resolveBranch(store, "main", runtime, { timeoutMs: 1000 });
  const abort = new AbortController();
  const session = new NodeSession({
    store,
    repositoryId: repository.id,
    runtime,
    node: "b",
    directory: null,
    settings: { ...defaultSessionSettings, requestTimeoutMs },
  });
  const options = { ...defaultLeadershipSettings, durabilityDefault: "object", requestTimeoutMs } as const;
  const waiting = acquireLeadership({
    store,
    repository,
    branch,
    branchName: "main",
    runtime,
    session,
    local: { refusal: "no data directory" },
    settings: options,
    takeoverLog: null as never,
    onWaiting: () => setTimeoutIn(world, 5000, () => abort.abort()),
    signal: abort.signal,
  });
  await rejects(waiting, (error: DbError) => error.kind === "canceled");
  equal(world.storage.bucket.keys("session/").length, 1);
  ok(world.storage.bucket.objects.has(leaderKey(branch)));
});

function setTimeoutIn(world: World, delayMs: number, run: () => void): void {
  world.simulation.schedule(delayMs, null, "a while later", run);
}
