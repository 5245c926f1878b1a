import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { Permission_Type } from "../../../src/gen/authpb/auth_pb.ts";
import * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes } from "../client.ts";
import { type Endpoint, RpcFailure } from "../endpoint.ts";
import {
  type AuthCall,
  type AuthOperation,
  authOperation,
  type Caller,
  type KeyCall,
  type Range,
} from "./auth-operations.ts";
import { type Answer, differenceOf, sameLeases, sameTimeToLive } from "./compare.ts";
import { Dice } from "./operations.ts";

/** The same random operations of authentication on two servers: null, or how the first differing answers differ. */
export async function authContest(options: {
  readonly seed: number;
  readonly operations: number;
  readonly left: Endpoint;
  readonly right: Endpoint;
  readonly report?: (line: string) => void;
  /** Asked after each operation, with how many were done: no more are wanted. */
  readonly enough?: (done: number) => boolean;
}): Promise<string | null> {
  const dice = new Dice(options.seed);
  const pair = [new AuthSide(options.left), new AuthSide(options.right)] as const;
  const next = (n: number): AuthOperation => (n === 0 ? { kind: "setUp" } : authOperation(dice));
  for (let n = 0; n < options.operations; n++) {
    const operation = next(n);
    const [left, right] = await Promise.all(pair.map((side) => side.run(operation)));
    const difference = compared(left!, right!);
    if (difference !== null) return `operation ${n}: ${JSON.stringify(operation)}\n  ${difference}`;
    if (n % 5000 === 4999) options.report?.(`${n + 1} operations`);
    if (options.enough?.(n + 1)) break;
  }
  return null;
}

type Outcome = readonly { readonly schema: DescMessage; readonly answer: Answer }[];

function compared(left: Outcome, right: Outcome): string | null {
  for (const [at, { schema, answer }] of left.entries()) {
    const same =
      (schema === pb.LeaseLeasesResponseSchema && sameLeases) ||
      (schema === pb.LeaseTimeToLiveResponseSchema && sameTimeToLive) ||
      undefined;
    const difference = differenceOf(schema, answer, right[at]!.answer, same as never);
    if (difference !== null) return difference;
  }
  return null;
}

const { Auth, KV, Lease, Maintenance } = pb;
const UNAUTHENTICATED = 16;
const OK: Answer = { bytes: new Uint8Array(0) };

class AuthSide {
  readonly #endpoint: Endpoint;
  readonly #tokens = new Map<string, string>();
  #committed = 1n;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  async run(operation: AuthOperation): Promise<Outcome> {
    switch (operation.kind) {
      case "auth":
        return this.#again(operation.as, await this.#auth(operation.as, operation.call));
      case "keys":
        return this.#again(operation.as, await this.#keys(operation.as, operation.call));
      case "login":
        return [await this.#login(operation.user, operation.password)];
      case "setUp":
        return this.#setUp();
    }
  }

  /** Whose token has ended logs in, as clients do: else most calls would soon be refused for that alone. */
  async #again(as: Caller, outcome: { schema: DescMessage; answer: Answer }): Promise<Outcome> {
    const { answer } = outcome;
    if (!("code" in answer) || answer.code !== UNAUTHENTICATED || as === "stranger") return [outcome];
    return [outcome, await this.#login(as, as)];
  }

  async #setUp(): Promise<Outcome> {
    const outcome = [];
    const steps: AuthCall[] = [
      { name: "disable" },
      { name: "userAdd", user: "root", password: "root" },
      { name: "changePassword", user: "root", password: "root" },
      { name: "grantRole", user: "root", role: "root" },
      { name: "roleAdd", role: "r" },
      { name: "permit", role: "r", type: 2, range: { key: "b", end: "d" } },
      ...["ann", "bob", "cyd"].flatMap((user): AuthCall[] => [
        { name: "userAdd", user, password: user },
        { name: "changePassword", user, password: user },
        { name: "grantRole", user, role: "r" },
      ]),
      { name: "enable" },
    ];
    for (const step of steps) outcome.push(await this.#auth("root", step));
    outcome.push(await this.#login("root", "root"));
    return outcome;
  }

  /** The token itself is another one each time: that there is one is what is compared. */
  async #login(name: string, password: string) {
    const { schema, answer } = await this.#call("", Auth.method.authenticate, { name, password });
    if ("code" in answer) return { schema, answer };
    this.#tokens.set(name, fromBinary(pb.AuthenticateResponseSchema, answer.bytes).token);
    return { schema, answer: OK };
  }

  #metadata(as: Caller): Record<string, string> {
    if (as === "") return {};
    return { token: as === "stranger" ? "no.1" : (this.#tokens.get(as) ?? "none.1") };
  }

  async #call<I extends DescMessage, O extends DescMessage>(
    as: Caller,
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
  ): Promise<{ schema: DescMessage; answer: Answer }> {
    const message = toBinary(method.input, create(method.input, init));
    const path = `/${method.parent.typeName}/${method.name}`;
    try {
      return {
        schema: method.output,
        answer: { bytes: await this.#endpoint.unary(path, message, this.#metadata(as)) },
      };
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      return { schema: method.output, answer: { code: error.code, text: error.text } };
    }
  }

  #auth(as: Caller, call: AuthCall) {
    switch (call.name) {
      case "enable":
        return this.#call(as, Auth.method.authEnable, {});
      case "disable":
        return this.#call(as, Auth.method.authDisable, {});
      case "status":
        return this.#call(as, Auth.method.authStatus, {});
      case "userList":
        return this.#call(as, Auth.method.userList, {});
      case "roleList":
        return this.#call(as, Auth.method.roleList, {});
      case "userAdd":
        return this.#call(as, Auth.method.userAdd, { name: call.user, password: call.password });
      case "changePassword":
        return this.#call(as, Auth.method.userChangePassword, { name: call.user, password: call.password });
      case "userGet":
        return this.#call(as, Auth.method.userGet, { name: call.user });
      case "userDelete":
        return this.#call(as, Auth.method.userDelete, { name: call.user });
      case "grantRole":
        return this.#call(as, Auth.method.userGrantRole, { user: call.user, role: call.role });
      case "revokeRole":
        return this.#call(as, Auth.method.userRevokeRole, { name: call.user, role: call.role });
      case "roleAdd":
        return this.#call(as, Auth.method.roleAdd, { name: call.role });
      case "roleGet":
        return this.#call(as, Auth.method.roleGet, { role: call.role });
      case "roleDelete":
        return this.#call(as, Auth.method.roleDelete, { role: call.role });
      case "permit": {
        const { role: name, type: permType, range } = call;
        if (permType === null) return this.#call(as, Auth.method.roleGrantPermission, { name });
        const perm = { permType: permType as Permission_Type, ...rangeInit(range) };
        return this.#call(as, Auth.method.roleGrantPermission, { name, perm });
      }
      case "forbid":
        return this.#call(as, Auth.method.roleRevokePermission, { role: call.role, ...rangeInit(call.range) });
    }
  }

  async #keys(as: Caller, call: KeyCall): Promise<{ schema: DescMessage; answer: Answer }> {
    switch (call.name) {
      case "range":
        return this.#call(as, KV.method.range, rangeInit(call));
      case "put":
        return this.#call(as, KV.method.put, putInit(call));
      case "delete":
        return this.#call(as, KV.method.deleteRange, { ...rangeInit(call), prevKv: call.prevKv });
      case "txn":
        return this.#call(as, KV.method.txn, txnInit(call) as never);
      case "grant":
        return this.#call(as, Lease.method.leaseGrant, { ID: BigInt(call.lease), TTL: 1000n });
      case "revoke":
        return this.#call(as, Lease.method.leaseRevoke, { ID: BigInt(call.lease) });
      case "timeToLive":
        return this.#call(as, Lease.method.leaseTimeToLive, { ID: BigInt(call.lease) });
      case "timeToLiveKeys":
        return this.#call(as, Lease.method.leaseTimeToLive, { ID: BigInt(call.lease), keys: true });
      case "leases":
        return this.#call(as, Lease.method.leaseLeases, {});
      case "compact":
        return this.#call(as, KV.method.compact, { revision: this.#committed++ });
      case "alarms":
        return this.#call(as, Maintenance.method.alarm, {});
      case "keepAlive": {
        const message = toBinary(
          pb.LeaseKeepAliveRequestSchema,
          create(pb.LeaseKeepAliveRequestSchema, { ID: BigInt(call.lease) }),
        );
        return this.#first(as, "/etcdserverpb.Lease/LeaseKeepAlive", {
          schema: pb.LeaseKeepAliveResponseSchema,
          message,
        });
      }
      case "watch": {
        const createRequest = { key: bytes(call.key), rangeEnd: bytes(call.end) };
        const init = { requestUnion: { case: "createRequest", value: createRequest } } as const;
        const message = toBinary(pb.WatchRequestSchema, create(pb.WatchRequestSchema, init));
        return this.#first(as, "/etcdserverpb.Watch/Watch", { schema: pb.WatchResponseSchema, message });
      }
    }
  }

  /** The first message of a stream. */
  async #first(as: Caller, path: string, { schema, message }: { schema: DescMessage; message: Uint8Array }) {
    const stream = this.#endpoint.stream(path, this.#metadata(as));
    stream.send(message);
    try {
      return { schema, answer: { bytes: (await stream.next())! } };
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      return { schema, answer: { code: error.code, text: error.text } };
    } finally {
      stream.cancel();
    }
  }
}

const rangeInit = ({ key, end }: Range) => ({ key: bytes(key), rangeEnd: bytes(end) });
const putInit = ({ key, prevKv, lease }: Extract<KeyCall, { name: "put" }>) => ({
  key: bytes(key),
  value: bytes("v"),
  prevKv,
  lease: BigInt(lease),
});

function txnInit(call: Extract<KeyCall, { name: "txn" }>): object {
  const [success, failure] = call.branches.map((branch) => branch.map((each) => ({ request: requestOf(each) })));
  return { compare: call.compare.map((range) => ({ ...rangeInit(range), target: 0 })), success, failure };
}

function requestOf(call: KeyCall): object {
  switch (call.name) {
    case "put":
      return { case: "requestPut", value: putInit(call) };
    case "delete":
      return { case: "requestDeleteRange", value: { ...rangeInit(call), prevKv: call.prevKv } };
    case "txn":
      return { case: "requestTxn", value: txnInit(call) };
    default:
      return { case: "requestRange", value: rangeInit(call as Extract<KeyCall, { name: "range" }>) };
  }
}
