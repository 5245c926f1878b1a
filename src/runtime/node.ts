import { NodeRandom, nodeClock, nodeTimers } from "./node-clock.ts";
import { NodeDisk } from "./node-disk.ts";
import { nodeNet } from "./node-net.ts";
import { NodeOffload } from "./node-offload.ts";
import { NodePasswords } from "./node-passwords.ts";
import type { Runtime } from "./runtime.ts";

/** The runtime of a real process. Worker threads start when the first long piece of work comes. */
export function createNodeRuntime(): Runtime {
  return {
    clock: nodeClock,
    timers: nodeTimers,
    random: new NodeRandom(),
    disk: new NodeDisk(),
    net: nodeNet,
    offload: new NodeOffload(),
    passwords: new NodePasswords(),
  };
}
