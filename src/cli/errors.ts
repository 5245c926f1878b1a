/** Wrong arguments: one line, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What the server said, or that none answered: one line; exit code 1, if the command has no other one for it. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** None of the endpoints could be connected to. */
export class Unreachable extends CommandError {
  constructor(endpoints: readonly string[], hint = "") {
    super(`cannot reach ${endpoints.join(", ")}: is a server running there? (--endpoints${hint})`);
    this.endpoints = endpoints;
  }

  readonly endpoints: readonly string[];
}
