import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  fromBinary,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import {
  AlarmRequest_AlarmAction,
  Auth,
  Cluster,
  KV,
  Lease,
  Maintenance,
  Watch,
} from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { Election } from "../../src/gen/v3electionpb/v3election_pb.ts";
import { Lock } from "../../src/gen/v3lockpb/v3lock_pb.ts";
import { RpcFailure } from "../compat/endpoint.ts";
import { type EngineEndpoint, openEngine } from "../compat/engine-runner.ts";

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

export const services = [KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election, Health];
const methods: readonly DescMethod[] = services.flatMap((service) => service.methods);
const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

/** They go through all that is stored: of so many picks one is called. */
const dear: ReadonlyMap<string, number> = new Map([
  ["/etcdserverpb.Maintenance/Snapshot", 50],
  ["/etcdserverpb.Maintenance/Defragment", 50],
  ["/etcdserverpb.Maintenance/Hash", 20],
  ["/etcdserverpb.Lease/LeaseLeases", 20],
]);
/** These wait for others: the caller leaves after a moment. */
const waits = new Set(["/v3lockpb.Lock/Lock", "/v3electionpb.Election/Campaign"]);
/** An alarm that was raised refuses what follows. */
const ALARM_PATH = "/etcdserverpb.Maintenance/Alarm";
const AUTH_ENABLE_PATH = "/etcdserverpb.Auth/AuthEnable";
const WAIT_MS = 2;
/** Streams and callers that wait are left to themselves: so many go on at once. */
const UNDER_WAY_MAX = 64;
/** For who has left to be let go. */
const LEAVE_TIMEOUT_MS = 20_000;
/** With authentication on, one call in so many turns it off. */
const AUTH_OFF_IN = 60;
const CODE_INTERNAL = 13;

export interface Fuzzed {
  requests: number;
  byCode: Map<number, number>;
  byService: Map<string, number>;
  /** Calls while authentication was on. */
  withAuth: number;
}

/** Calls methods with changed messages. Throws at the first answer that no request may get: a bug, or Internal. */
export async function fuzzMethods(options: {
  requests: number;
  seed: number;
  /** Of these services alone; all, if left out. */
  service?: string | undefined;
  /** Asked now and then, with how many were called: no more are wanted. */
  enough?: (done: number) => boolean;
}): Promise<Fuzzed> {
  const endpoint = await openEngine();
  // The engine's own time limits are in the background: alone they would let the process end.
  const alive = setInterval(() => {}, 1000);
  // Most calls are refused, and what took most of the time was stacks that nobody reads.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 1;
  try {
    return await new Fuzz(endpoint, options.seed, options.service).run(options.requests, options.enough);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    clearInterval(alive);
    await endpoint.close();
  }
}

class Fuzz {
  readonly #endpoint: EngineEndpoint;
  readonly #chance: Chance;
  readonly #seed: number;
  readonly #methods: readonly DescMethod[];
  readonly #fuzzed: Fuzzed = { requests: 0, byCode: new Map(), byService: new Map(), withAuth: 0 };
  /** Of root, while authentication is on. */
  #token: string | null = null;
  readonly #underWay = new Set<Promise<void>>();
  /** What a call that was left to itself has found. */
  #found: Error | null = null;

  constructor(endpoint: EngineEndpoint, seed: number, service: string | undefined) {
    this.#endpoint = endpoint;
    this.#chance = new Chance(seed);
    this.#seed = seed;
    this.#methods = methods.filter(({ parent }) => service === undefined || parent.typeName === service);
    if (this.#methods.length === 0) throw new Error(`there is no service ${service}`);
  }

  async run(requests: number, enough: (done: number) => boolean = () => false): Promise<Fuzzed> {
    const fuzzed = this.#fuzzed;
    while (fuzzed.requests < requests) {
      const method = this.#chance.of(this.#methods);
      const path = pathOf(method);
      if (this.#chance.below(dear.get(path) ?? 1) !== 0) continue;
      fuzzed.requests++;
      // Answers that are at hand are promises alone: timers, which the leadership lives by, must have their turn.
      if (fuzzed.requests % 100 === 0) {
        await new Promise((resolve) => setImmediate(resolve));
        if (enough(fuzzed.requests)) break;
      }
      if (this.#token !== null) fuzzed.withAuth++;
      add(fuzzed.byService, method.parent.typeName);
      const call = this.#callOnce(method, path);
      if (method.methodKind !== "unary" || waits.has(path)) {
        await this.#leaveToItself(call);
        continue;
      }
      const code = await call;
      add(fuzzed.byCode, code);
      if (path === ALARM_PATH) await disarm(this.#endpoint, this.#metadata(true));
      await this.#authentication(path, code);
    }
    await Promise.all(this.#underWay);
    if (this.#found !== null) throw this.#found;
    return fuzzed;
  }

  /** Counts the call when it ends; waits while there are too many such. */
  async #leaveToItself(call: Promise<number>): Promise<void> {
    const counted = call
      .then(
        (code) => add(this.#fuzzed.byCode, code),
        (error: Error) => {
          this.#found ??= error;
        },
      )
      .finally(() => this.#underWay.delete(counted));
    this.#underWay.add(counted);
    if (this.#underWay.size >= UNDER_WAY_MAX) await Promise.race(this.#underWay);
    if (this.#found !== null) throw this.#found;
  }

  async #callOnce(method: DescMethod, path: string): Promise<number> {
    const message = mutated(
      this.#chance,
      toBinary(method.input, create(method.input, messageOf(this.#chance, method.input))),
    );
    const metadata = this.#metadata(this.#chance.below(4) !== 0);
    const work =
      method.methodKind === "unary" ? this.#unary(path, message, metadata) : this.#stream(path, message, metadata);
    return work.then(
      () => 0,
      (error: unknown) => {
        if (error instanceof RpcFailure && isAllowed(error)) return error.code;
        throw new Error(`seed ${this.#seed}, ${path} ${message.toString("hex")}`, { cause: error });
      },
    );
  }

  async #unary(path: string, message: Buffer, metadata: Record<string, string>): Promise<void> {
    if (!waits.has(path)) {
      await this.#endpoint.unary(path, message, metadata);
      return;
    }
    const leaving = new AbortController();
    const timer = setTimeout(() => leaving.abort(), WAIT_MS);
    const late = Promise.withResolvers<never>();
    const deadline = setTimeout(() => late.reject(new Error("a caller who has left is not let go")), LEAVE_TIMEOUT_MS);
    try {
      await Promise.race([this.#endpoint.unary(path, message, metadata, leaving.signal), late.promise]);
    } finally {
      clearTimeout(timer);
      clearTimeout(deadline);
    }
  }

  async #stream(path: string, message: Buffer, metadata: Record<string, string>): Promise<void> {
    const stream = this.#endpoint.stream(path, metadata);
    try {
      stream.send(message);
      stream.halfClose();
      await stream.next(WAIT_MS).catch((error: unknown) => {
        if (error instanceof RpcFailure) throw error;
      });
    } finally {
      stream.cancel();
    }
  }

  #metadata(known: boolean): Record<string, string> {
    return this.#token === null ? {} : { token: known ? this.#token : "stranger.1" };
  }

  /** Root logs in when authentication was turned on, whatever became of it before; some time later it is turned off. */
  async #authentication(path: string, code: number): Promise<void> {
    const { auth } = this.#endpoint.database;
    if (this.#token === null) {
      if (path !== AUTH_ENABLE_PATH || code !== 0) {
        // Else it could hardly ever be turned on.
        if (path === AUTH_ENABLE_PATH) await makeRoot(this.#endpoint);
        return;
      }
      await auth.disable();
      await makeRoot(this.#endpoint);
      await this.#endpoint.unary(AUTH_ENABLE_PATH, new Uint8Array(0));
      this.#token = await logIn(this.#endpoint);
      return;
    }
    if (this.#chance.below(AUTH_OFF_IN) !== 0) return;
    await auth.disable();
    this.#token = null;
  }
}

const add = <K>(counts: Map<K, number>, key: K): void => void counts.set(key, (counts.get(key) ?? 0) + 1);

function isAllowed({ code, text }: RpcFailure): boolean {
  return code !== CODE_INTERNAL || /^grpc: (error unmarshalling request|failed to unmarshal)/.test(text);
}

const ROOT = { name: "root", password: "known" };

/** A new one with a password that is known. Authentication is off. */
async function makeRoot(endpoint: EngineEndpoint): Promise<void> {
  const { userDelete, userAdd, userGrantRole } = Auth.method;
  const steps = [
    [userDelete, toBinary(userDelete.input, create(userDelete.input, ROOT))],
    [userAdd, toBinary(userAdd.input, create(userAdd.input, ROOT))],
    [userGrantRole, toBinary(userGrantRole.input, create(userGrantRole.input, { user: "root", role: "root" }))],
  ] as const;
  for (const [method, message] of steps) {
    await endpoint.unary(pathOf(method), message).catch((error: unknown) => {
      // There was none.
      if (!(error instanceof RpcFailure)) throw error;
    });
  }
}

async function logIn(endpoint: EngineEndpoint): Promise<string> {
  const { authenticate } = Auth.method;
  const message = toBinary(authenticate.input, create(authenticate.input, ROOT));
  return fromBinary(authenticate.output, await endpoint.unary(pathOf(authenticate), message)).token;
}

/** Every alarm, of every member that one was raised for. */
async function disarm(endpoint: EngineEndpoint, metadata: Record<string, string>): Promise<void> {
  const { alarm } = Maintenance.method;
  // Whose token has ended by what was called meanwhile leaves them for the next time.
  const listed = await endpoint.unary(ALARM_PATH, new Uint8Array(0), metadata).catch((error: unknown) => {
    if (error instanceof RpcFailure) return null;
    throw error;
  });
  if (listed === null) return;
  for (const { memberID, alarm: raised } of fromBinary(alarm.output, listed).alarms) {
    const init = { memberID, alarm: raised, action: AlarmRequest_AlarmAction.DEACTIVATE };
    await endpoint.unary(ALARM_PATH, toBinary(alarm.input, create(alarm.input, init)), metadata).catch(() => {});
  }
}
