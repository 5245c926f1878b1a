type Notice = (sentence: string, facts?: Readonly<Record<string, unknown>>) => void;

/** What an operator is told. */
export interface Notices {
  debug: Notice;
  info: Notice;
  warn: Notice;
  error: Notice;
}

export const noNotices: Notices = { debug() {}, info() {}, warn() {}, error() {} };
