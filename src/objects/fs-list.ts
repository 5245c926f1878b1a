import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Disk } from "../runtime/runtime.ts";
import { parseKey } from "./keys.ts";
import type { ListPage } from "./objects.ts";

/** Keys of t4 are four names deep; a tree much deeper than that is a mistake, or a loop of links. */
const DEPTH_MAX = 16;
/** File attributes are asked for this many at a time. */
const STATS_AT_ONCE = 32;

export interface FileWalk {
  readonly disk: Pick<Disk, "list" | "stat">;
  /** Absolute, without a slash at its end. */
  readonly root: string;
  readonly prefix: string;
  readonly startAfter: string | undefined;
  /** A name directly below the root that is not part of the store. */
  readonly hidden: string;
  /** What is named as an object is one, and not looked at. */
  readonly keysOnly: boolean;
}

const notLookedAt = { bytes: 0, modifiedMs: 0, directory: false };

/**
 * The files below a directory as objects, in order of their keys; directories that hold nothing asked for are not read.
 *
 * Order of names is not order of keys: of the directory "a" and the file "a-b", "a-b" comes before "a/b" because "-" is
 * below "/". A directory is therefore held back until the next name is above its own with a slash. Those held back nest
 * ("x", then "x-a"), so the last one is always the least.
 */
export async function* walkFiles(
  walk: FileWalk,
  directory = "",
  depth = 0,
): AsyncGenerator<ListPage["objects"][number]> {
  if (depth > DEPTH_MAX) {
    throw new DbError("storeRefused", `file://${walk.root}: ${directory} lies over ${DEPTH_MAX} directories deep`);
  }
  const heldBack: string[] = [];
  const names = await walk.disk.list(`${walk.root}/${directory}`);
  const wanted = names.filter((name) => mayHold(walk, directory + name) && (depth > 0 || name !== walk.hidden));
  for (let at = 0; at < wanted.length; at += STATS_AT_ONCE) {
    const some = wanted.slice(at, at + STATS_AT_ONCE);
    const stats = await Promise.all(
      some.map((name) => {
        const key = directory + name;
        return walk.keysOnly && parseKey(key) !== null ? notLookedAt : walk.disk.stat(`${walk.root}/${key}`);
      }),
    );
    for (const [index, name] of some.entries()) {
      const key = directory + name;
      while (heldBack.length > 0 && heldBack.at(-1)! < key) yield* walkFiles(walk, heldBack.pop(), depth + 1);
      const found = stats[index];
      // A file that has been deleted since the directory was read is not there.
      if (!found) continue;
      if (found.directory) heldBack.push(`${key}/`);
      else if (key.startsWith(walk.prefix) && (walk.startAfter === undefined || key > walk.startAfter)) {
        yield { key: key as ObjectKey, bytes: found.bytes, modifiedMs: found.modifiedMs };
      }
    }
  }
  while (heldBack.length > 0) yield* walkFiles(walk, heldBack.pop(), depth + 1);
}

/** Whether `path`, be it a file or a directory, may hold keys with the prefix behind `startAfter`. */
function mayHold(walk: FileWalk, path: string): boolean {
  const inside = `${path}/`;
  if (!path.startsWith(walk.prefix) && !walk.prefix.startsWith(inside)) return false;
  return walk.startAfter === undefined || inside > walk.startAfter || walk.startAfter.startsWith(inside);
}
