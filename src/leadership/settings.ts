import { DbError } from "../base/errors.ts";
import { patterns } from "./fields.ts";
import { isNodeName } from "./identity.ts";
import { ADDRESSES_MAX } from "./leader-record.ts";
import type { Durability } from "./leadership.ts";
import { TERM_MS_MAX, TERM_MS_MIN } from "./session-object.ts";

export interface Pace {
  readonly termMs: number;
  readonly renewalMs: number;
}

/** Of a node's session. */
export interface SessionSettings {
  /** While nobody waits for a branch of this node; a renewal every 5 s costs about $2.60 a month at S3's prices. */
  readonly alone: Pace;
  /** While somebody waits; a renewal a second costs about $13 a month. */
  readonly challenged: Pace;
  /**
   * What a challenger waits beyond the term: the bound on a pause that both clocks miss, and on their difference in
   * rate.
   */
  readonly marginMs: number;
  /** How long a challenger's announcement keeps the terms short; one that still waits announces itself again. */
  readonly challengeMs: number;
  /** Bound of one request with its retries, renewals excepted, which have a renewal's time. */
  readonly requestTimeoutMs: number;
}

export const defaultSessionSettings: SessionSettings = {
  alone: { termMs: 15_000, renewalMs: 5_000 },
  challenged: { termMs: 3_000, renewalMs: 1_000 },
  marginMs: 500,
  challengeMs: 60_000,
  requestTimeoutMs: 10_000,
};

/** Of one branch on this node. */
export interface LeadershipSettings {
  /** As asked for by the operator; null: as the branch is. */
  readonly durability: Durability | null;
  /** Of a branch that nobody has led yet: `local` with a store of this machine, else `object`. */
  readonly durabilityDefault: Durability;
  readonly changeDurability: boolean;
  readonly forceTakeover: boolean;
  readonly readProof: "term" | "bucket";
  /** How long a read waits for its proof from the bucket. */
  readonly proofTimeoutMs: number;
  /** Where clients reach this node; written into the leader record. */
  readonly addresses: readonly string[];
  readonly requestTimeoutMs: number;
}

export const defaultLeadershipSettings: Omit<LeadershipSettings, "durabilityDefault"> = {
  durability: null,
  changeDurability: false,
  forceTakeover: false,
  readProof: "term",
  proofTimeoutMs: 7_000,
  addresses: [],
  requestTimeoutMs: 10_000,
};

/** Throws `invalidArgument` naming the first setting that is wrong, alone or beside another. */
export function checkSessionSettings(settings: SessionSettings): void {
  checkPace("alone", settings.alone, settings);
  checkPace("challenged", settings.challenged, settings);
  check(settings.challenged.termMs <= settings.alone.termMs, "the term with challengers is at most the term alone");
  check(settings.challengeMs >= settings.alone.renewalMs, "a challenge is noted for at least a renewal");
  check(settings.requestTimeoutMs >= 1, "the request timeout is at least 1 ms");
}

function checkPace(name: string, pace: Pace, { marginMs }: SessionSettings): void {
  const { termMs, renewalMs } = pace;
  const whole = [termMs, renewalMs, marginMs].every((value) => Number.isSafeInteger(value) && value >= 1);
  check(whole, `term, renewal and margin (${name}) are whole milliseconds from 1`);
  check(termMs >= TERM_MS_MIN && termMs <= TERM_MS_MAX, `the term (${name}) is ${TERM_MS_MIN} to ${TERM_MS_MAX} ms`);
  check(renewalMs * 2 <= termMs, `the renewal (${name}) is at most half the term, so that one may fail`);
  check(marginMs <= termMs, `the margin is at most the term (${name})`);
}

export function checkNode(name: string, addresses: readonly string[]): void {
  check(
    isNodeName(name),
    `name: 1 to 128 letters, digits and inner dots, underscores, hyphens, not ${JSON.stringify(name)}`,
  );
  check(addresses.length <= ADDRESSES_MAX, `addresses: at most ${ADDRESSES_MAX}`);
  for (const address of addresses) {
    check(patterns.line.test(address), `addresses: 1 to 300 characters each, not ${JSON.stringify(address)}`);
  }
}

function check(holds: boolean, text: string): void {
  if (!holds) throw new DbError("invalidArgument", text);
}
