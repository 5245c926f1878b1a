import { dirname } from "node:path";
import { DbError, messageOf } from "../base/errors.ts";
import type { Disk, DiskLock, Runtime } from "../runtime/runtime.ts";
import { Fields, patterns } from "./fields.ts";
import { isNodeName, randomNodeName } from "./identity.ts";
import type { DirectoryIdentity } from "./session-object.ts";

/**
 * A node's data directory, held by the operating system's exclusive lock for as long as the process lives.
 *
 * 1. Nothing else in the process opens the lock file: closing any handle of it could give the lock back.
 * 2. The lock proves that an earlier holder is gone only where one kernel keeps it: not on network and shared file
 *    systems, nor where the kind cannot be told.
 */
export interface DataDirectory {
  readonly path: string;
  /** Kept here; the default of `--name`. */
  readonly nodeName: string;
  /** What a session carries; null where holding the lock proves nothing. */
  readonly identity: DirectoryIdentity | null;
  /** Why `local` durability is refused here; null where it is not. */
  readonly localRefusal: string | null;
  release(): Promise<void>;
}

const LOCK = "lock";
const IDENTITY = "identity";
const FORMAT = 1;
const SMALL_FILE_BYTES_MAX = 64 << 10;

/** Where another machine may hold what this kernel believes to be locked. */
const SHARED = new Set("nfs cifs smb fuse 9p ceph lustre afs gfs2 ocfs2 gpfs vboxsf".split(" "));

/** Who puts t4 in an etcd's place would be shown an empty database where the data still is. */
async function refuseEtcds(disk: Disk, path: string): Promise<void> {
  const names = await disk.list(path);
  if (names.includes(IDENTITY) || !names.includes("member")) return;
  if (!(await disk.list(`${path}/member/snap`)).includes("db")) return;
  const why = "holds an etcd's data (member/snap/db), which t4 does not read: name another directory";
  throw new DbError("invalidArgument", `the data directory ${path} ${why}`);
}

/** Makes the directory where it is missing. A second process gets `diskFailed` naming the directory. */
export async function openDataDirectory(
  runtime: Pick<Runtime, "disk" | "random">,
  path: string,
): Promise<DataDirectory> {
  const { disk } = runtime;
  await disk.makeDirectory(path);
  await refuseEtcds(disk, path);
  await disk.syncDirectory(dirname(path));
  const lock = await disk.lock(`${path}/${LOCK}`);
  if (lock === null) {
    throw new DbError("diskFailed", `the data directory ${path} is in use by another process (its lock is held)`);
  }
  try {
    const { id, name } = (await readIdentity(disk, path)) ?? (await makeIdentity(runtime, path));
    const kind = await disk.fileSystem(path);
    return {
      path,
      nodeName: name,
      identity: SHARED.has(kind) || kind === "unknown" ? null : await identityOf(disk, id, lock),
      localRefusal: SHARED.has(kind) ? localRefusal(path, kind) : null,
      release: () => lock.release(),
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/**
 * An empty store beside a data directory that has led branches is rather one that is not there (a file system that is
 * not mounted, a wrong prefix) than one to be founded anew: that would bury what only this disk has.
 */
export async function refuseFounding(disk: Disk, directory: { readonly path: string }, store: string): Promise<void> {
  const branch = (await disk.list(directory.path)).find((name) => /^branch-[0-9a-f]{32}$/.test(name));
  if (branch === undefined) return;
  throw new DbError(
    "storeRefused",
    `${store} is empty, and the data directory ${directory.path} belongs to a repository (it holds ${branch}): is ` +
      "the store the right one, and mounted? To found a new repository there, use another data directory",
  );
}

const localRefusal = (path: string, kind: string): string =>
  `the data directory ${path} is on a ${kind} file system, which other machines may share: durability local needs a ` +
  "disk of this machine alone (choose another --data-dir, or --durability=object)";

async function identityOf(disk: Disk, id: string, lock: DiskLock): Promise<DirectoryIdentity> {
  return { id, boot: await disk.bootId(), device: String(lock.device), inode: String(lock.inode) };
}

interface Kept {
  readonly id: string;
  readonly name: string;
}

async function readIdentity(disk: Disk, path: string): Promise<Kept | null> {
  const bytes = await readSmallFile(disk, `${path}/${IDENTITY}`);
  if (bytes === null) return null;
  try {
    const fields = new Fields(JSON.parse(bytes.toString("utf8")), ["format", "id", "name"]);
    fields.count("format", { min: FORMAT, max: FORMAT });
    const name = fields.text("name", patterns.line);
    if (!isNodeName(name)) throw new Error(`field name: ${JSON.stringify(name)} is not the name of a node`);
    return { id: fields.text("id", patterns.hex16), name };
  } catch (error) {
    throw new DbError("corrupt", `file ${path}/${IDENTITY}: ${messageOf(error)}`, { cause: error });
  }
}

async function makeIdentity(runtime: Pick<Runtime, "disk" | "random">, path: string): Promise<Kept> {
  const kept = { id: runtime.random.bytes(16).toString("hex"), name: randomNodeName(runtime.random) };
  await writeSmallFile(runtime.disk, path, IDENTITY, Buffer.from(`${JSON.stringify({ format: FORMAT, ...kept })}\n`));
  return kept;
}

export const readSmallFile = (disk: Disk, path: string): Promise<Buffer | null> =>
  disk.readFile(path, SMALL_FILE_BYTES_MAX);

/** Replaces a file whole: after a crash at any point it is as it was, or as it is to be. */
export async function writeSmallFile(disk: Disk, directory: string, name: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${directory}/${name}.new`;
  await disk.writeFile(temporary, bytes);
  await disk.rename(temporary, `${directory}/${name}`);
  await disk.syncDirectory(directory);
}
