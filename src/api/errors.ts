import { type DbError, type ErrorKind, isDbError } from "../base/errors.ts";
import { GrpcError } from "../transport/transport.ts";
import { WireError } from "./wire/reader.ts";

/** gRPC's status codes (grpc/doc/statuscodes.md) that are given here. */
export const codes = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  failedPrecondition: 9,
  resourceExhausted: 8,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

/** Go's names of them, as far as they appear in texts. */
const codeNames: Readonly<Record<number, string>> = {
  [codes.invalidArgument]: "InvalidArgument",
  [codes.permissionDenied]: "PermissionDenied",
  [codes.unauthenticated]: "Unauthenticated",
};

interface Answer {
  readonly code: number;
  /** etcd's text, to the letter: clients tell errors apart by it. Empty: the error's own detail is the whole text. */
  readonly text: string;
  /** The detail is added to the text. */
  readonly detailed?: true;
}

const { invalidArgument, failedPrecondition, outOfRange, unavailable } = codes;

/**
 * The one map from what goes wrong to etcd's code and text (row ids of etcd-api, appendix 1, in brackets). A kind
 * that is
 * missing here does not compile.
 */
export const answers: { readonly [kind in ErrorKind]: Answer } = {
  emptyKey: { code: invalidArgument, text: "etcdserver: key is not provided" }, // [E01]
  keyNotFound: { code: invalidArgument, text: "etcdserver: key not found" }, // [E02]
  valueProvided: { code: invalidArgument, text: "etcdserver: value is provided" }, // [E03]
  leaseProvided: { code: invalidArgument, text: "etcdserver: lease is provided" }, // [E04]
  tooManyOps: { code: invalidArgument, text: "etcdserver: too many operations in txn request" }, // [E05]
  duplicateKey: { code: invalidArgument, text: "etcdserver: duplicate key given in txn request" }, // [E06]
  invalidSortOption: { code: invalidArgument, text: "etcdserver: invalid sort option" }, // [E08]
  compacted: { code: outOfRange, text: "etcdserver: mvcc: required revision has been compacted" }, // [E09]
  futureRevision: { code: outOfRange, text: "etcdserver: mvcc: required revision is a future revision" }, // [E10]
  leaseNotFound: { code: codes.notFound, text: "etcdserver: requested lease not found" }, // [E12]
  leaseExists: { code: failedPrecondition, text: "etcdserver: lease already exists" }, // [E13]
  leaseTtlTooLarge: { code: outOfRange, text: "etcdserver: too large lease TTL" }, // [E14]
  requestTooLarge: { code: invalidArgument, text: "etcdserver: request is too large" }, // [E25]
  invalidArgument: { code: invalidArgument, text: "" },
  notRetained: { code: outOfRange, text: "" },
  rootUserNotExist: { code: failedPrecondition, text: "etcdserver: root user does not exist" }, // [E27]
  rootRoleNotExist: { code: failedPrecondition, text: "etcdserver: root user does not have root role" }, // [E28]
  userExists: { code: failedPrecondition, text: "etcdserver: user name already exists" }, // [E29]
  userEmpty: { code: invalidArgument, text: "etcdserver: user name is empty" }, // [E30]
  userNotFound: { code: failedPrecondition, text: "etcdserver: user name not found" }, // [E31]
  roleExists: { code: failedPrecondition, text: "etcdserver: role name already exists" }, // [E32]
  roleNotFound: { code: failedPrecondition, text: "etcdserver: role name not found" }, // [E33]
  roleEmpty: { code: invalidArgument, text: "etcdserver: role name is empty" }, // [E34]
  // [E35]
  authFailed: { code: invalidArgument, text: "etcdserver: authentication failed, invalid user ID or password" },
  permissionNotGiven: { code: invalidArgument, text: "etcdserver: permission not given" }, // [E36]
  permissionDenied: { code: codes.permissionDenied, text: "etcdserver: permission denied" }, // [E37]
  roleNotGranted: { code: failedPrecondition, text: "etcdserver: role is not granted to the user" }, // [E38]
  // [E39]
  permissionNotGranted: { code: failedPrecondition, text: "etcdserver: permission is not granted to the role" },
  authNotEnabled: { code: failedPrecondition, text: "etcdserver: authentication is not enabled" }, // [E40]
  invalidAuthToken: { code: codes.unauthenticated, text: "etcdserver: invalid auth token" }, // [E41]
  invalidAuthManagement: { code: invalidArgument, text: "etcdserver: invalid auth management" }, // [E42]
  authOldRevision: { code: invalidArgument, text: "etcdserver: revision of auth store is old" }, // [E43]
  // These are in no table of etcd's: they arrive as Unknown, with the text of the part that made them.
  noPasswordUser: {
    code: codes.unknown,
    text: "auth: authentication failed, password was given for no password user",
  },
  passwordTooLong: { code: codes.unknown, text: "bcrypt: password length exceeds 72 bytes" },
  tokenNotSigned: { code: codes.unknown, text: "auth: token signing attempted with verify-only key" },
  branchRefuses: { code: failedPrecondition, text: "" },
  notFound: { code: codes.notFound, text: "" },
  unimplemented: { code: codes.unimplemented, text: "" },
  noSpace: { code: codes.resourceExhausted, text: "etcdserver: mvcc: database space exceeded" }, // [E11]
  corruptCluster: { code: codes.dataLoss, text: "etcdserver: corrupt cluster" }, // [E54]
  memberBadUrls: { code: invalidArgument, text: "etcdserver: given member URLs are invalid" }, // [E19]
  memberNotFound: { code: codes.notFound, text: "etcdserver: member not found" }, // [E20]
  memberNotLearner: { code: failedPrecondition, text: "etcdserver: can only promote a learner member" }, // [E21]
  // [E22]
  learnerNotReady: {
    code: failedPrecondition,
    text: "etcdserver: can only promote a learner member which is in sync with leader",
  },
  tooManyLearners: { code: failedPrecondition, text: "etcdserver: too many learner members in cluster" }, // [E23]
  peerUrlExists: { code: failedPrecondition, text: "etcdserver: Peer URLs already exists" }, // [E17]
  // [E18] Unknown for the same reason as the next one (Q9).
  membersNotStarted: {
    code: codes.unknown,
    text: "etcdserver: re-configuration failed due to not enough started members",
  },
  badLeaderTransferee: { code: failedPrecondition, text: "etcdserver: bad leader transferee" }, // [E56]
  // [E57]
  downgradeVersionFormat: { code: invalidArgument, text: "etcdserver: wrong downgrade target version format" },
  invalidDowngradeTarget: { code: invalidArgument, text: "etcdserver: invalid downgrade target version" }, // [E58]
  // [E60]
  downgradeInProcess: { code: failedPrecondition, text: "etcdserver: cluster has a downgrade job in progress" },
  // [E26] An oddity of etcd's own map: the documented code is ResourceExhausted, what arrives is Unknown (Q9).
  tooManyRequests: { code: codes.unknown, text: "etcdserver: too many requests" },
  noLeader: { code: unavailable, text: "etcdserver: no leader" }, // [E44]
  frozen: { code: unavailable, text: "" },
  stopped: { code: unavailable, text: "etcdserver: server stopped" }, // [E48]
  timeout: { code: unavailable, text: "etcdserver: request timed out" }, // [E49]
  // [E50]
  leadershipLost: {
    code: unavailable,
    text: "etcdserver: request timed out, possibly due to previous leader failure",
  },
  // [E51]
  connectionLost: { code: unavailable, text: "etcdserver: request timed out, possibly due to connection lost" },
  canceled: { code: codes.canceled, text: "etcdserver: request canceled" }, // [E62]
  deadlineExceeded: { code: codes.deadlineExceeded, text: "etcdserver: context deadline exceeded" }, // [E63]
  corrupt: { code: codes.dataLoss, text: "etcdserver: corrupt cluster", detailed: true }, // [E54]
  storeUnavailable: { code: unavailable, text: "t4: the object store does not answer", detailed: true },
  storeRefused: { code: failedPrecondition, text: "t4: the object store refuses", detailed: true },
  diskFailed: { code: unavailable, text: "t4: the local disk fails", detailed: true },
};

/** etcd's text for an error, as health checks and cancel reasons show it. */
export function textOf(error: DbError): string {
  const answer = answers[error.kind];
  if (answer.text === "") return error.message;
  // An error without a detail has its kind as message.
  return answer.detailed && error.message !== error.kind ? `${answer.text}: ${error.message}` : answer.text;
}

/** The status as Go's gRPC prints it: so watchers are told why they are refused (W6). */
export const statusText = (error: DbError): string =>
  `rpc error: code = ${codeNames[answers[error.kind].code] ?? "Unknown"} desc = ${textOf(error)}`;

/** What gRPC sets before a decoder's text, in a unary call and on a stream. */
const UNARY_DECODE = "grpc: error unmarshalling request: ";
const STREAM_DECODE = "grpc: failed to unmarshal the received message: ";

/** The status of a unary call's error. A bug is left as it is: the transport answers Internal and reports it. */
export const unaryError = (error: unknown): unknown => statusOf(error, UNARY_DECODE);
/** The same for a stream's. */
export const streamError = (error: unknown): unknown => statusOf(error, STREAM_DECODE);

function statusOf(error: unknown, decodePrefix: string): unknown {
  if (isDbError(error)) return new GrpcError(answers[error.kind].code, textOf(error));
  if (error instanceof WireError) return new GrpcError(codes.internal, decodePrefix + error.message);
  return error;
}
