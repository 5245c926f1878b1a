import { type BranchView, notesOf, revisionText } from "./view.ts";

/**
 * Branches below what they were cut from, in the order of the cuts:
 *
 *   main                  revision 912
 *   ├── staging           from revision 310, at 402
 *   │   └── staging-fix   from revision 350, at 355
 *   └── (deleted 3f2a…)
 *       └── ci-77         from revision 800, at 800
 *
 * An ancestor that has no name any more is shown by how its id begins.
 */
export function treeLines(branches: readonly BranchView[]): string[] {
  const known = new Set(branches.map(({ id }) => id));
  const children = new Map<string, BranchView[]>();
  const roots: Node[] = [];
  for (const branch of branches) {
    const { parentId } = branch;
    if (parentId === null) roots.push(branch);
    else children.set(parentId, [...(children.get(parentId) ?? []), branch]);
  }
  for (const id of children.keys()) if (!known.has(id)) roots.push({ id });
  const rows = roots.flatMap((root) => rowsOf(root, children, { own: "", below: "" }));
  const width = Math.max(0, ...rows.map(({ label }) => label.length));
  return rows.map(({ label, text }) => `${label.padEnd(width)}  ${text}`.trimEnd());
}

type Node = BranchView | { readonly id: string };

interface Row {
  readonly label: string;
  readonly text: string;
}

function rowsOf(
  node: Node,
  children: ReadonlyMap<string, readonly BranchView[]>,
  indent: { own: string; below: string },
): Row[] {
  const below = [...(children.get(node.id) ?? [])].sort((a, b) => a.forkRevision - b.forkRevision || order(a, b));
  const label = "name" in node ? node.name : `(deleted ${node.id.slice(0, 8)}…)`;
  const row = { label: indent.own + label, text: "name" in node ? textOf(node) : "" };
  return [
    row,
    ...below.flatMap((child, at) => {
      const last = at === below.length - 1;
      const own = `${indent.below}${last ? "└── " : "├── "}`;
      return rowsOf(child, children, { own, below: `${indent.below}${last ? "    " : "│   "}` });
    }),
  ];
}

const order = (a: BranchView, b: BranchView): number => (a.name < b.name ? -1 : 1);

function textOf(branch: BranchView): string {
  const revision = revisionText(branch);
  const at = branch.parentId === null ? `revision ${revision}` : `from ${branch.forkRevision}, at ${revision}`;
  return [at, ...notesOf(branch)].join(", ");
}
