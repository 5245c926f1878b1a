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
