import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { treeLines } from "./tree.ts";
import type { BranchView } from "./view.ts";

const branch = (name: string, more: Partial<BranchView>): BranchView => ({
  ...{ name, id: name, parentId: null, parentName: null, forkRevision: 0, forkMs: 0, protected: false },
  ...{ expiresMs: null, deleted: false, purgeMs: null, revision: 7, open: true, leader: null, frozen: false },
  writeProtected: null,
  ...more,
});

test("branches stand below what they were cut from; of one that is not open the least revision is known", () => {
  const lines = treeLines([
    branch("main", {}),
    branch("late", { parentId: "main", forkRevision: 5, open: false }),
    branch("early", { parentId: "main", forkRevision: 3, frozen: true }),
    branch("fix", { parentId: "early", forkRevision: 6, open: false, revision: 6 }),
    branch("orphan", { parentId: "0123456789abcdef", forkRevision: 2 }),
  ]);
  deepEqual(lines, [
    "main                 revision 7",
    "├── early            from 3, at 7, frozen",
    "│   └── fix          from 6, at ≥6",
    "└── late             from 5, at ≥7",
    "(deleted 01234567…)",
    "└── orphan           from 2, at 7",
  ]);
});
