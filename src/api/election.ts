import { DbError } from "../base/errors.ts";
import { bytesOfKey } from "../base/latin1.ts";
import type { Database } from "../engine/engine.ts";
import { GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";
import {
  deleteOf,
  firstPair,
  ifCreatedAt,
  isMyTurn,
  keyOf,
  leave,
  oldest,
  type Place,
  prefixOf,
  putOf,
  rangeOf,
  sessionLease,
  uncoded,
} from "./turns.ts";
import type { Method } from "./unary-call.ts";
import { untilCanceled } from "./until-canceled.ts";
import {
  type CampaignRequest,
  decodeCampaign,
  decodeLeader,
  decodeProclaim,
  decodeResign,
  type LeaderKey,
} from "./wire/concurrency-requests.ts";
import { headerOf } from "./wire/headers.ts";
import { Message } from "./wire/message.ts";

const notLeader = (): GrpcError => new GrpcError(codes.unknown, "election: not leader");

/** v3electionpb.Election (K3), but for its stream. */
export const electionService: Record<string, Method> = {
  "/v3electionpb.Election/Campaign": (database, message, call) => {
    const request = decodeCampaign(message);
    return uncoded(
      campaign(database, request, untilCanceled(call)).then(({ place, revision }) =>
        new Message().header(headerOf(database), revision).alwaysMessage(2, leaderMessage(request.name, place)),
      ),
    );
  },
  "/v3electionpb.Election/Proclaim": (database, message) => {
    const { leader, value } = decodeProclaim(message);
    return uncoded(
      proclaim(database, given(leader), value).then((revision) => new Message().header(headerOf(database), revision)),
    );
  },
  "/v3electionpb.Election/Leader": (database, message) => {
    const { name } = decodeLeader(message);
    return uncoded(leader(database, name));
  },
  "/v3electionpb.Election/Resign": (database, message) => {
    const { leader } = decodeResign(message);
    return uncoded(
      resign(database, given(leader)).then((revision) => new Message().header(headerOf(database), revision)),
    );
  },
};

function given(leader: LeaderKey | null): LeaderKey {
  if (leader === null) throw new GrpcError(codes.unknown, '"leader" field must be provided');
  return leader;
}

const leaderMessage = (name: string, { key, createRevision, lease }: Place): Message =>
  bytesIfAny(bytesIfAny(new Message(), 1, name), 2, key)
    .number(3, createRevision)
    .big(4, lease);

const bytesIfAny = (message: Message, field: number, key: string): Message =>
  key === "" ? message : message.alwaysBytes(field, bytesOfKey(key));

/** Every await ends when the call does: those of the database by their own bounds, the waiting by the signal. */
async function campaign(
  database: Database,
  { name, lease: wanted, value }: CampaignRequest,
  signal: AbortSignal,
): Promise<{ place: Place; revision: number }> {
  const lease = await sessionLease(database, wanted);
  const prefix = prefixOf(name);
  const key = keyOf(prefix, lease);
  const branches = { success: [putOf(key, value, lease)], failure: [rangeOf(key)] };
  const entered = await ifCreatedAt(database, { key, revision: 0n }, branches);
  const there = entered.succeeded ? null : firstPair(entered.responses[0])!;
  const place: Place = { prefix, key, lease, createRevision: there?.createRevision ?? entered.revision };
  try {
    if (there !== null && Buffer.compare(there.value, value) !== 0) {
      const leader = { name, key, lease, revision: BigInt(place.createRevision) };
      await proclaim(database, leader, value);
    }
    if (!(await isMyTurn(database, place, signal))) throw notLeader();
    if (signal.aborted) throw new DbError("canceled");
    return { place, revision: entered.revision };
  } catch (error) {
    await leave(database, place);
    throw error;
  }
}

async function proclaim(database: Database, { key, revision, lease }: LeaderKey, value: Uint8Array): Promise<number> {
  const done = await ifCreatedAt(database, { key, revision }, { success: [putOf(key, value, lease)] });
  if (!done.succeeded) throw notLeader();
  return done.revision;
}

/** Whoever does not lead any more has resigned already. */
async function resign(database: Database, { key, revision }: LeaderKey): Promise<number> {
  return (await ifCreatedAt(database, { key, revision }, { success: [deleteOf(key)] })).revision;
}

async function leader(database: Database, name: string): Promise<Message> {
  const found = await database.range(oldest(prefixOf(name)));
  const pair = firstPair(found);
  if (pair === null) throw new GrpcError(codes.unknown, "election: no leader");
  return new Message().header(headerOf(database), found.revision).alwaysBytes(2, pair.bytes);
}
