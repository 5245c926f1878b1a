/** Wrong arguments: one line, exit code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What the server said, or that none answered: one line, exit code 1. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}
