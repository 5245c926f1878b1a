import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { readDecoded } from "../objects/checked-read.ts";
import { createOnce } from "../objects/conditional.ts";
import { decodeEnvelope, encodeEnvelope } from "../objects/envelope.ts";
import { originKey, parseKey, repositoryKey } from "../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { branchNameRegister } from "./branch-name.ts";
import { Fields, patterns } from "./fields.ts";
import { mainBranchId } from "./identity.ts";
import { decodeOrigin, encodeOrigin, rootOrigin } from "./origin.ts";

/**
 * Founding and opening a repository.
 *
 *   repository.json ─► branch/<main>/origin ─► name/main
 *
 * 1. repository.json is created first and once; who loses that race adopts what the winner wrote.
 * 2. All that follows is a function of it: the same bytes by anyone. So a crash between two steps is repaired by
 *    whoever opens next, and a founder that stalls for a year does no harm when it goes on.
 * 3. A prefix that holds anything and no repository.json is not founded anew: it is another program's, or a repository
 *    that has lost its root.
 */
export interface Repository {
  /** 32 hex digits. */
  readonly id: string;
  /** P: how many slots of a log may be on their way at once. Fixed when the repository is founded. */
  readonly window: number;
}

export interface RepositoryOptions {
  readonly store: ObjectStore;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly requestTimeoutMs: number;
  /** P of a repository that is founded by this call; one that exists keeps its own. */
  readonly window: number;
  /** What `lookForRepository` has found just before. */
  readonly known?: Repository | null;
  readonly signal?: AbortSignal | undefined;
}

export const MAIN = "main";
const FORMAT = 1;
const WINDOW_MAX = 256;

/** Opens the repository, and founds it where the prefix is empty. */
export async function openRepository(options: RepositoryOptions): Promise<Repository> {
  const repository = await openRoot(options);
  await repairMain(options, repository);
  return repository;
}

/** The same without main, which somebody is about to make of something else; or else who opens it next makes it. */
export async function openRoot(options: RepositoryOptions): Promise<Repository> {
  const { store, window } = options;
  if (!Number.isSafeInteger(window) || window < 1 || window > WINDOW_MAX) {
    throw new DbError("invalidArgument", `the window of slots is 1 to ${WINDOW_MAX}, not ${window}`);
  }
  const known = options.known ?? (await lookForRepository(store, requestOf(options)));
  return known ?? (await found(options));
}

/** Null where the prefix holds no repository. Writes nothing: for tools that only read. */
export function readRepository(store: ObjectStore, request: RequestOptions): Promise<Repository | null> {
  return readDecoded(store, repositoryKey, request, ({ body }) => decodeRepository(body));
}

/**
 * Refuses a prefix that is somebody else's, before anything is written there; gives the repository that is there, null
 * where the prefix is empty.
 */
export async function lookForRepository(store: ObjectStore, request: RequestOptions): Promise<Repository | null> {
  const repository = await readRepository(store, request);
  if (repository !== null) return repository;
  const foreign = await firstForeign(store, request);
  if (foreign === null) return null;
  // Another may have founded it since we looked: its repository.json came before anything else of its.
  const since = await readRepository(store, request);
  if (since !== null) return since;
  throw new DbError(
    "storeRefused",
    `${store.name} is not empty (it holds ${JSON.stringify(foreign)}) and has no ${repositoryKey}: no ` +
      "repository is founded there. Use an empty prefix, or bring back the object that is missing",
  );
}

async function found(options: RepositoryOptions): Promise<Repository> {
  const { store, runtime, window } = options;
  const request = requestOf(options);
  const repository = { id: runtime.random.bytes(16).toString("hex"), window };
  const outcome = await createOnce(store, repositoryKey, encodeRepository(repository), { ...request, runtime });
  return outcome.kind === "created" ? repository : decodeRepository(outcome.object.body);
}

/** The first object that no start-up test of a store has left; null if there is none. */
async function firstForeign(store: ObjectStore, request: RequestOptions): Promise<string | null> {
  let startAfter: ObjectKey | undefined;
  for (let page = 0; page < PROBE_PAGES_MAX; page++) {
    const options = { ...request, limit: LIST_LIMIT_MAX, ...(startAfter !== undefined && { startAfter }) };
    const { objects, more } = await store.list("", options);
    const foreign = objects.find(({ key }) => !parseKey(key)?.kind.startsWith("probe"));
    if (foreign !== undefined) return foreign.key;
    if (!more) return null;
    startAfter = objects.at(-1)!.key;
  }
  return startAfter!;
}

const PROBE_PAGES_MAX = 10;

/** Makes main where it is missing; its name is made last, so where that exists nothing is missing. */
async function repairMain(options: RepositoryOptions, repository: Repository): Promise<void> {
  const { store, runtime } = options;
  const request = requestOf(options);
  const register = branchNameRegister(store, MAIN, runtime);
  if ((await register.read(request)) !== null) return;
  const branch = mainBranchId(repository.id);
  const origin = encodeOrigin(rootOrigin(branch));
  const created = await createOnce(store, originKey(branch), origin, { ...request, runtime });
  if (created.kind === "exists") {
    decodeOrigin(branch, created.object.body);
    throw new DbError("corrupt", `object ${originKey(branch)}: is not the beginning of main that this repository has`);
  }
  const name = { branch, protected: false, expiresMs: null, tombstone: false };
  const outcome = await register.swap(null, name, request);
  // A conflict: another has made it, and perhaps changed it since, as it may.
  if (outcome.kind === "unknown") throw new DbError("storeUnavailable", `creating name/main: ${outcome.cause.message}`);
}

export const encodeRepository = (repository: Repository): Buffer =>
  encodeEnvelope(repositoryKey, {
    counter: 0,
    body: { format: FORMAT, repository: repository.id, window: repository.window },
  });

export function decodeRepository(bytes: Uint8Array): Repository {
  const { body } = decodeEnvelope(repositoryKey, bytes);
  try {
    const fields = new Fields(body, ["format", "repository", "window"]);
    const format = fields.count("format", { min: 1 });
    if (format !== FORMAT) {
      throw new DbError(
        "storeRefused",
        `object ${repositoryKey}: repository format ${format} is unknown to this version of t4`,
      );
    }
    return {
      id: fields.text("repository", patterns.hex16),
      window: fields.count("window", { min: 1, max: WINDOW_MAX }),
    };
  } catch (error) {
    if (error instanceof DbError) throw error;
    throw new DbError("corrupt", `object ${repositoryKey}: ${messageOf(error)}`, { cause: error });
  }
}

const requestOf = (options: RepositoryOptions): RequestOptions => ({
  timeoutMs: options.requestTimeoutMs,
  ...(options.signal && { signal: options.signal }),
});
