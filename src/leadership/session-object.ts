import { Fields, patterns } from "./fields.ts";
import { isNodeName, SESSION_NUMBER_MAX } from "./identity.ts";

/**
 * A running node's heartbeat (docs/formats/control-objects.md): one for all the branches that it leads. Overwritten by
 * compare-and-swap: by its node to renew and to end it, by a challenger to announce itself and to kill it.
 *
 * A session that is not live never becomes live again.
 */
export interface SessionBody {
  /** The node's name; with `number` it makes the session's id. */
  readonly node: string;
  readonly number: number;
  /** Random, one for each run of a node: tells a session of one's own from that of another process of the same name. */
  readonly nonce: string;
  readonly state: SessionEnd | "live";
  /** Who killed or ended it; null while it is live. */
  readonly endedBy: string | null;
  /** How long after a change of this object its node may still be proving reads; and what a challenger adds to that. */
  readonly termMs: number;
  readonly marginMs: number;
  /** Name of a node that waits for one of the branches; asks for short terms. */
  readonly challenger: string | null;
  /** Wall time of the last renewal, for people. */
  readonly wallMs: number;
  /** The data directory that the node holds the lock of; null if it has none, or one whose lock proves nothing. */
  readonly directory: DirectoryIdentity | null;
}

export type SessionEnd = "ended" | "killed";

/** Who holds the lock of the same directory, on the same boot of the same kernel, has outlived every earlier holder. */
export interface DirectoryIdentity {
  readonly id: string;
  readonly boot: string;
  /** Of the lock file, in decimal: a copied directory has another one. */
  readonly device: string;
  readonly inode: string;
}

export const TERM_MS_MIN = 10;
/** An hour: a session that claims more is refused, as nobody could ever take its branches. */
export const TERM_MS_MAX = 3_600_000;

const names = [
  "node",
  "number",
  "nonce",
  "state",
  "endedBy",
  "termMs",
  "marginMs",
  "challenger",
  "wallMs",
  "directory",
];

export function decodeSession(json: unknown): SessionBody {
  const fields = new Fields(json, names);
  const node = fields.text("node", patterns.line);
  if (!isNodeName(node)) throw new Error(`field node: ${JSON.stringify(node)} is not the name of a node`);
  const state = fields.oneOf("state", ["live", "ended", "killed"]);
  const endedBy = fields.orNull("endedBy", () => fields.text("endedBy", patterns.line));
  if ((state === "live") !== (endedBy === null))
    throw new Error(`field endedBy: ${endedBy} in a session that is ${state}`);
  return {
    node,
    number: fields.count("number", { min: 1, max: SESSION_NUMBER_MAX }),
    nonce: fields.text("nonce", patterns.hex16),
    state,
    endedBy,
    termMs: fields.count("termMs", { min: TERM_MS_MIN, max: TERM_MS_MAX }),
    marginMs: fields.count("marginMs", { min: 1, max: TERM_MS_MAX }),
    challenger: fields.orNull("challenger", () => fields.text("challenger", patterns.line)),
    wallMs: fields.count("wallMs"),
    directory: fields.orNull("directory", () => decodeDirectory(fields)),
  };
}

function decodeDirectory(fields: Fields): DirectoryIdentity {
  const directory = fields.object("directory", ["id", "boot", "device", "inode"]);
  return {
    id: directory.text("id", patterns.hex16),
    boot: directory.text("boot", patterns.line),
    device: directory.text("device", patterns.decimal),
    inode: directory.text("inode", patterns.decimal),
  };
}

export const ended = (session: SessionBody, how: SessionEnd, endedBy: string): SessionBody => ({
  ...session,
  state: how,
  endedBy,
});

/** Whether who holds the lock of `mine` may conclude that the process of `session` is no more. */
export function isOutlivedBy(session: SessionBody, mine: DirectoryIdentity | null): boolean {
  const theirs = session.directory;
  if (mine === null || theirs === null) return false;
  return (
    theirs.id === mine.id && theirs.boot === mine.boot && theirs.device === mine.device && theirs.inode === mine.inode
  );
}
