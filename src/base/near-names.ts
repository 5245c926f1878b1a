/** What a mistyped name may have meant: at most so many edits away. */
const EDITS_MAX = 2;
const NAMES_MAX = 3;

/** Of `names`, those that are close to `wanted`: nearest first, at most three. */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  return names
    .map((name) => ({ name, edits: startsAlike(wanted, name) ? 1 : editDistance(wanted, name) }))
    .filter(({ edits }) => edits <= EDITS_MAX)
    .sort((a, b) => a.edits - b.edits || (a.name < b.name ? -1 : 1))
    .slice(0, NAMES_MAX)
    .map(({ name }) => name);
}

const startsAlike = (a: string, b: string): boolean => a.length >= 3 && b.startsWith(a);

/** Insertions, deletions and replacements that make `a` into `b` (Levenshtein); beyond the bound, the bound + 1. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > EDITS_MAX) return EDITS_MAX + 1;
  let before = Array.from({ length: b.length + 1 }, (_none, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = before[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, before[j]! + 1, row[j - 1]! + 1));
    }
    before = row;
  }
  return before[b.length]!;
}
