type Notice = (sentence: string, facts?: Readonly<Record<string, unknown>>) => void;

/** What an operator is told. */
export interface Notices {
  debug: Notice;
  info: Notice;
  warn: Notice;
  error: Notice;
  /** A branch was ended by a bug (base/errors.ts ClosedByBug). Left out: told by `error`. */
  bug?: (cause: unknown, facts: Readonly<Record<string, unknown>>) => void;
}

export const noNotices: Notices = { debug() {}, info() {}, warn() {}, error() {} };
