import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { MemoryShare, type MemoryUser } from "./memory-share.ts";

test("beyond the bound for all, the branch with the most in memory makes tables of it, until there is room", () => {
  const told: string[] = [];
  const user = (name: string, bytes: number): MemoryUser & { memtableBytes: number } => ({
    memtableBytes: bytes,
    relieve() {
      told.push(name);
      this.memtableBytes = 0;
    },
  });
  const users = [user("a", 40), user("b", 50), user("c", 30)];
  let next: (() => void) | null = null;
  const timers = {
    set: (_ms: number, fire: () => void) => {
      next = fire;
      return { cancel: () => {} };
    },
  };
  const share = new MemoryShare({ timers: timers as never, users: () => users, bytesMax: 60 });
  for (let i = 0; i < 4; i++) (next as unknown as () => void)();
  deepEqual(told, ["b", "a"]);
  share.close();
});
