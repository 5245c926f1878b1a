import type { ObjectKey } from "../base/ids.ts";
import type { Checkpoint } from "../storage/checkpoint.ts";
import type { TableRef } from "../storage/table.ts";
import type { Findings } from "./faults.ts";

/** All tables that checkpoints name. In memory is what one checkpoint of them all would take. */
export class NamedTables {
  readonly tables = new Map<ObjectKey, { ref: TableRef; by: ObjectKey; facts: string }>();
  readonly #findings: Findings;

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  add(by: ObjectKey, runs: Checkpoint["runs"]): void {
    for (const ref of runs.flat()) {
      const facts = JSON.stringify(ref);
      const there = this.tables.get(ref.key);
      if (there === undefined) this.tables.set(ref.key, { ref, by, facts });
      else if (there.facts !== facts) this.#findings.fault(by, `lists ${ref.key} otherwise than ${there.by} does`);
    }
  }

  /** Tables of equal content under different names: what one of each would take less. */
  duplicates(): { groups: { tables: ObjectKey[]; bytes: number }[]; bytes: number } {
    const byContent = new Map<string, TableRef[]>();
    for (const { ref } of this.tables.values()) {
      const same = `${ref.contentHash} ${JSON.stringify(ref.spaces)}`;
      byContent.set(same, [...(byContent.get(same) ?? []), ref]);
    }
    const groups = [...byContent.values()]
      .filter((refs) => refs.length > 1)
      .map((refs) => {
        const bytes = refs.reduce((sum, ref) => sum + ref.bytes, 0) - Math.min(...refs.map((ref) => ref.bytes));
        return { tables: refs.map(({ key }) => key), bytes };
      });
    return { groups, bytes: groups.reduce((sum, { bytes }) => sum + bytes, 0) };
  }
}
