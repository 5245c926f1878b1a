import { CACHE_DIRECTORY } from "./database-node.ts";
import type { DatabaseWorld, Place } from "./database-world.ts";
import { STORE_HOST } from "./object-store.ts";
import type { SimRandom } from "./random.ts";

/** Mishaps by the seed. When it has ended everything is healed, and a process runs at every place. */
export async function trouble(world: DatabaseWorld, durationMs: number): Promise<void> {
  const { simulation } = world;
  const random = world.random.fork("trouble");
  const everyMs = random.pick([1000, 3000, 8000]);
  const endMs = simulation.nowMs + durationMs;
  void cacheTrouble(world, endMs);
  while (simulation.nowMs < endMs) {
    await simulation.sleep(random.between(0, 2 * everyMs));
    const { leading, places } = world;
    const place = random.pick(leading.length > 0 && random.chance(0.7) ? leading : places);
    await mishap(world, place, { random, leftMs: Math.max(0, endMs - simulation.nowMs) });
  }
  for (const { machine } of world.places) {
    simulation.network.heal(machine.name, STORE_HOST);
    Object.assign(machine.diskFaults, { writeError: 0, syncError: 0 });
    machine.volume.bytesMax = Number.MAX_SAFE_INTEGER;
    for (const node of machine.nodes) node.resume();
  }
}

async function mishap(
  world: DatabaseWorld,
  place: Place,
  { random, leftMs }: { random: SimRandom; leftMs: number },
): Promise<void> {
  const { simulation, storage } = world;
  const { machine } = place;
  const draw = random.float();
  if (draw < 0.2) {
    for (const node of machine.nodes) node.kill();
    await restart(world, place, random);
  } else if (draw < 0.3) {
    machine.crash();
    await restart(world, place, random);
  } else if (draw < 0.47) stall(place, random.between(0, random.pick([300, 3000, 20_000])), world);
  else if (draw < 0.485) failingDisk(place, random.between(0, 4000), world);
  else if (draw < 0.5) fullDisk(place, { lastsMs: random.between(0, 8000), room: random.integer(0, 20_000) }, world);
  else if (draw < 0.6) storage.outage(Math.min(leftMs, random.between(0, random.pick([500, 5000, 90_000]))));
  else if (draw < 0.7) {
    const lastsMs = random.between(0, random.pick([500, 5000, 30_000]));
    if (simulation.network.isCut(machine.name, STORE_HOST)) return;
    simulation.network.cut(machine.name, STORE_HOST);
    simulation.schedule(lastsMs, null, `the cut of ${machine.name} ends`, () =>
      simulation.network.heal(machine.name, STORE_HOST),
    );
  } else if (draw < 0.76) machine.jumpWallClock(random.integer(-5000, 5000) * random.pick([1, 20]));
  else if (draw < 0.86) place.node?.checkpoint();
  else if (draw < 0.94) {
    // A clean stop, mostly with time enough for it.
    const stopped = place.node?.stop();
    await Promise.race([stopped, simulation.sleep(random.between(0, 10_000))]);
    for (const node of machine.nodes) if (random.chance(0.5)) node.kill();
    await restart(world, place, random);
  } else if (world.story !== "local") world.replace(place);
}

/** Somebody removes files of the disk cache, or bits of them flip, while the process runs: nobody may notice. */
async function cacheTrouble(world: DatabaseWorld, endMs: number): Promise<void> {
  const { simulation } = world;
  const random = world.random.fork("cache trouble");
  const everyMs = random.pick([300, 3000, 1e9]);
  while (simulation.nowMs < endMs) {
    await simulation.sleep(random.between(0, 2 * everyMs));
    if (world.places.length === 0) continue;
    const { volume } = random.pick(world.places).machine;
    for (const name of volume.list(CACHE_DIRECTORY)) {
      const path = `${CACHE_DIRECTORY}/${name}`;
      const inode = volume.findFile(path);
      if (inode === null || random.chance(0.3)) continue;
      if (random.chance(0.2)) volume.remove(path);
      else if (random.chance(0.1)) inode.truncate(random.integer(0, inode.bytes));
      else if (inode.bytes > 0) {
        for (let n = random.integer(1, 20); n > 0; n--) {
          const at = random.integer(0, inode.bytes - 1);
          const byte = new Uint8Array(1);
          inode.read(byte, at);
          inode.write(Uint8Array.of(byte[0]! ^ (1 << random.integer(0, 7))), at);
        }
      }
    }
  }
}

/** At once, or when it is noticed. */
async function restart(world: DatabaseWorld, place: Place, random: SimRandom): Promise<void> {
  if (random.chance(0.7)) await world.simulation.sleep(random.between(0, 500));
  world.start(place);
}

/** A short one, or one until the mishaps are over. */
function stall(place: Place, lastsMs: number, world: DatabaseWorld): void {
  const { simulation } = world;
  for (const node of place.machine.nodes) {
    if (node.stalled) continue;
    node.stall();
    simulation.schedule(lastsMs, null, `${node.name} wakes`, () => node.resume());
  }
}

/** Writes and syncs fail now and then: what was acknowledged stays all the same, or the process gives up. */
function failingDisk({ machine }: Place, lastsMs: number, world: DatabaseWorld): void {
  Object.assign(machine.diskFaults, { writeError: 0.02, syncError: 0.02 });
  world.simulation.note(machine.name, "its disk fails now and then");
  world.simulation.schedule(lastsMs, null, `the disk of ${machine.name} is sound again`, () =>
    Object.assign(machine.diskFaults, { writeError: 0, syncError: 0 }),
  );
}

/** Something else takes the room on the disk but for a little. */
function fullDisk(
  { machine }: Place,
  { lastsMs, room }: { lastsMs: number; room: number },
  world: DatabaseWorld,
): void {
  const { volume } = machine;
  const free = volume.room(Number.MAX_SAFE_INTEGER);
  volume.bytesMax = volume.bytesMax - free + room;
  world.simulation.note(machine.name, `its disk has room for ${room} bytes more`);
  world.simulation.schedule(lastsMs, null, `the disk of ${machine.name} has room again`, () => {
    volume.bytesMax = Number.MAX_SAFE_INTEGER;
  });
}
