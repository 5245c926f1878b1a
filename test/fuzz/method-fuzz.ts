import { create, type DescField, type DescMessage, fromBinary, ScalarType, toBinary } from "@bufbuild/protobuf";
import { gatewayMethods } from "../../src/api/gateway/methods.ts";
import { AlarmRequestSchema, AlarmResponseSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { RpcFailure } from "../compat/endpoint.ts";
import { openEngine } from "../compat/engine-runner.ts";
import type { RoutesEndpoint } from "../compat/routes-endpoint.ts";

/** Numbers from a seed (mulberry32). */
export class Chance {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}

const numbers = [0n, 1n, 2n, 3n, 5n, 127n, 128n, 2n ** 31n, 2n ** 53n + 1n, 2n ** 63n - 1n];
const texts = ["", "a", "b", "root", "aé", "http://127.0.0.1:1", "\0"];
const bytes = ["", "\0", "a", "aa", "b", "c/", "key", "\xff"].map((text) => Buffer.from(text, "latin1"));
const DEPTH_MAX = 4;

/** A message with some of its fields set. */
function messageOf(chance: Chance, desc: DescMessage, depth = 0): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const field of desc.fields) {
    if (field.oneof !== undefined || chance.below(3) === 0) continue;
    if (field.fieldKind === "list") {
      fields[field.localName] = Array.from({ length: chance.below(3) }, () => valueFor(chance, field, depth));
    } else fields[field.localName] = valueFor(chance, field, depth);
  }
  for (const oneof of desc.oneofs) {
    if (chance.below(6) === 0) continue;
    const field = chance.of(oneof.fields);
    fields[oneof.localName] = { case: field.localName, value: valueFor(chance, field, depth) };
  }
  return fields;
}

function valueFor(chance: Chance, field: DescField, depth: number): unknown {
  if (field.enum !== undefined) return chance.below(5);
  if (field.message !== undefined) {
    return create(field.message, depth >= DEPTH_MAX ? {} : messageOf(chance, field.message, depth + 1));
  }
  switch (field.scalar) {
    case ScalarType.BOOL:
      return chance.below(2) === 0;
    case ScalarType.STRING:
      return chance.of(texts);
    case ScalarType.BYTES:
      return chance.of(bytes);
    case ScalarType.INT64:
      return chance.of(numbers) * (chance.below(5) === 0 ? -1n : 1n);
    case ScalarType.UINT64:
      return chance.of(numbers);
    default:
      return chance.below(1000);
  }
}

/** Up to three changes of bytes: one is changed, some are taken out, put in, or given twice; the end is cut. */
function mutated(chance: Chance, message: Uint8Array): Buffer {
  let out = Buffer.from(message);
  for (let changes = chance.below(4) - chance.below(2); changes > 0; changes--) {
    const at = chance.below(out.length + 1);
    const some = 1 + chance.below(4);
    switch (chance.below(5)) {
      case 0:
        if (at < out.length) out[at] = chance.below(256);
        break;
      case 1:
        out = Buffer.concat([out.subarray(0, at), out.subarray(at + some)]);
        break;
      case 2:
        out = Buffer.concat([out.subarray(0, at), Buffer.alloc(some, chance.below(256)), out.subarray(at)]);
        break;
      case 3:
        out = Buffer.concat([out.subarray(0, at), out]);
        break;
      default:
        out = out.subarray(0, at);
    }
  }
  return out.subarray(0, 4096);
}

/** They wait for others, or make all that follows be refused. */
const without = new Set([
  ...["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign", "/v3electionpb.Election/Observe"],
  ...["/etcdserverpb.Auth/AuthEnable", "/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.Maintenance/Defragment"],
]);
/** An alarm that was raised refuses what follows. */
const ALARM_PATH = "/etcdserverpb.Maintenance/Alarm";
const STREAM_WAIT_MS = 2;
const CODE_INTERNAL = 13;

export interface Fuzzed {
  requests: number;
  byCode: Map<number, number>;
}

/** Calls methods with changed messages. Throws at the first answer that no request may get: a bug, or Internal. */
export async function fuzzMethods({ requests, seed }: { requests: number; seed: number }): Promise<Fuzzed> {
  const chance = new Chance(seed);
  const methods = gatewayMethods.filter(({ grpcPath }) => !without.has(grpcPath));
  const endpoint = await openEngine();
  // The engine's own time limits are in the background: alone they would let the process end.
  const alive = setInterval(() => {}, 1000);
  const fuzzed: Fuzzed = { requests: 0, byCode: new Map() };
  try {
    for (; fuzzed.requests < requests; fuzzed.requests++) {
      const method = chance.of(methods);
      const message = mutated(chance, toBinary(method.input, create(method.input, messageOf(chance, method.input))));
      const code = await call(endpoint, method.grpcPath, message, method.kind !== "unary").catch((error: unknown) => {
        throw new Error(`seed ${seed}, ${method.grpcPath} ${message.toString("hex")}`, { cause: error });
      });
      fuzzed.byCode.set(code, (fuzzed.byCode.get(code) ?? 0) + 1);
      if (method.grpcPath === ALARM_PATH) await disarm(endpoint);
    }
  } finally {
    clearInterval(alive);
    await endpoint.close();
  }
  return fuzzed;
}

async function call(endpoint: RoutesEndpoint, path: string, message: Buffer, streams: boolean): Promise<number> {
  try {
    if (!streams) await endpoint.unary(path, message);
    else {
      const stream = endpoint.stream(path);
      try {
        stream.send(message);
        stream.halfClose();
        await stream.next(STREAM_WAIT_MS).catch((error: unknown) => {
          if (error instanceof RpcFailure) throw error;
        });
      } finally {
        stream.cancel();
      }
    }
    return 0;
  } catch (error) {
    if (!(error instanceof RpcFailure)) throw error;
    const isDecoding = /^grpc: (error unmarshalling request|failed to unmarshal)/.test(error.text);
    if (error.code === CODE_INTERNAL && !isDecoding) throw error;
    return error.code;
  }
}

async function disarm(endpoint: RoutesEndpoint): Promise<void> {
  // action DEACTIVATE, alarm NOSPACE or CORRUPT, of every member that one was raised for.
  const { alarms } = await listed(endpoint);
  for (const alarm of alarms) {
    await endpoint.unary(
      ALARM_PATH,
      toBinary(
        AlarmRequestSchema,
        create(AlarmRequestSchema, { memberID: alarm.memberID, alarm: alarm.alarm, action: 2 }),
      ),
    );
  }
}

async function listed(endpoint: RoutesEndpoint) {
  return fromBinary(AlarmResponseSchema, await endpoint.unary(ALARM_PATH, new Uint8Array(0)));
}
