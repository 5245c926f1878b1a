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

test("a branch that is to be opened waits until the others have made room, and no longer than a while", async () => {
  let waits = 0;
  const users: (MemoryUser & { memtableBytes: number })[] = [];
  const timers = {
    set: (ms: number, fire: () => void) => {
      // The look that comes by itself is left out.
      if (ms < 100) {
        waits++;
        if (waits === 3) for (const user of users) user.memtableBytes = 0;
        queueMicrotask(fire);
      }
      return { cancel: () => {} };
    },
  };
  const share = new MemoryShare({ timers: timers as never, users: () => users, bytesMax: 60 });
  await share.room();
  deepEqual(waits, 0);
  const told: number[] = [];
  for (const memtableBytes of [10, 50, 40]) {
    const user = { memtableBytes, relieve: () => void told.push(user.memtableBytes) };
    users.push(user);
  }
  await share.room();
  deepEqual([waits, [...new Set(told)]], [3, [50]]);
  users[0]!.memtableBytes = 1000;
  await share.room();
  deepEqual(waits < 1000, true);
});
