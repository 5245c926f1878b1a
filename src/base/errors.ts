/**
 * The closed set of what can go wrong in operation. A kind says what the caller must do; `api/errors.ts` maps each one
 * to etcd's code and text (row ids of etcd's error table in brackets), and does not compile while one is unmapped.
 * A bug is an AssertionError, never one of these.
 */
export type ErrorKind =
  // The request is wrong: do not send it again as it is.
  | "emptyKey" // [E01]
  | "keyNotFound" // [E02] ignore_value or ignore_lease of a missing key; a RequestOp without a member
  | "valueProvided" // [E03]
  | "leaseProvided" // [E04]
  | "tooManyOps" // [E05]
  | "duplicateKey" // [E06]
  | "invalidSortOption" // [E08]
  | "compacted" // [E09]
  | "futureRevision" // [E10]
  | "leaseNotFound" // [E12]
  | "leaseExists" // [E13]
  | "leaseTtlTooLarge" // [E14]
  | "requestTooLarge" // [E25]
  | "invalidArgument" // detail names the field and the limit
  // Authentication: who calls, and what that one may do.
  | "rootUserNotExist" // [E27]
  | "rootRoleNotExist" // [E28]
  | "userExists" // [E29]
  | "userEmpty" // [E30] also: a call without a token where one is needed
  | "userNotFound" // [E31]
  | "roleExists" // [E32]
  | "roleNotFound" // [E33]
  | "roleEmpty" // [E34]
  | "authFailed" // [E35]
  | "permissionNotGiven" // [E36]
  | "permissionDenied" // [E37]
  | "roleNotGranted" // [E38]
  | "permissionNotGranted" // [E39]
  | "authNotEnabled" // [E40]
  | "invalidAuthToken" // [E41]
  | "invalidAuthManagement" // [E42]
  | "authOldRevision" // [E43] what may be done has changed since the token was given: log in again
  | "noPasswordUser"
  | "passwordTooLong"
  | "tokenNotSigned" // there are only keys to verify tokens with
  | "notRetained" // a moment of a branch that cannot be had any more, or is not there yet; detail names the nearest
  | "branchRefuses" // a branch is protected, frozen, or needed under its name; detail says which
  | "notFound" // a branch or another named thing; detail says which
  | "unimplemented" // detail names the method or field
  | "memberBadUrls" // [E19]
  | "memberNotFound" // [E20]
  | "memberNotLearner" // [E21]
  | "peerUrlExists" // [E17]
  | "badLeaderTransferee" // [E56]
  | "downgradeVersionFormat" // [E57]
  | "invalidDowngradeTarget" // [E58]
  | "downgradeInProcess" // [E60]
  // Not now: the request was not carried out. Wait and send it again, if its sender wants to.
  | "noSpace" // [E11]
  | "corruptCluster" // [E54] the alarm CORRUPT is raised
  | "membersNotStarted" // [E18]
  | "learnerNotReady" // [E22]
  | "tooManyLearners" // [E23]
  | "tooManyRequests" // [E26]
  | "noLeader" // [E44] no leadership or no proof of it
  | "stopped" // [E48]
  | "frozen" // the branch of this name is being replaced by another one: connect again
  // Unknown: the request may or may not have been carried out.
  | "timeout" // [E49] durability pending past the request timeout
  | "leadershipLost" // [E50] deposed, or durability failed, with the call pending
  | "connectionLost" // [E51]
  // The caller gave up.
  | "canceled" // [E62]
  | "deadlineExceeded" // [E63]
  // The data or the store is wrong: an operator must look. Detail names the object, expected, found.
  | "corrupt" // [E54]
  | "storeUnavailable" // the object store does not answer; detail says what was asked of it
  | "storeRefused" // the object store refuses (credentials, bucket, conditional writes not honoured, foreign prefix)
  | "diskFailed"; // the local disk refuses a read or a write

export class DbError extends Error {
  override readonly name = "DbError";
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, detail = "", options?: ErrorOptions) {
    super(detail === "" ? kind : detail, options);
    this.kind = kind;
  }
}

/**
 * A branch was ended because a promise of the program about its state is broken: the cause, which is no DbError. The
 * owner of the branch tells of it and builds it anew from what is durable.
 */
export class ClosedByBug extends DbError {
  constructor(cause: unknown) {
    super("leadershipLost", `closed by a bug: ${messageOf(cause)}`, { cause });
  }
}

export const isDbError = (error: unknown, kind?: ErrorKind): error is DbError =>
  error instanceof DbError && (kind === undefined || error.kind === kind);

/** The message of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Why a file cannot be read, for a message that names it: Node's own texts name it once more, behind the call. */
export function fileTrouble(error: unknown): string {
  const message = messageOf(error);
  const called = error instanceof Error && "syscall" in error;
  return called ? message.replace(/, \w+(?: '.*')?$/s, "") : message.split("\n")[0]!;
}
