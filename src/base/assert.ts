/**
 * A broken promise of the program itself. Nobody catches it but the owner of a branch, which closes with reason `bug`.
 */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** Stays on in production. `what` says what must hold. */
export function assert(condition: unknown, what: string): asserts condition {
  if (!condition) throw new AssertionError(what);
}

/** For the `default` of an exhaustive switch: does not compile while a case is missing. */
export function unreachable(value: never, what = "unexpected value"): never {
  throw new AssertionError(`${what}: ${String(value)}`);
}
