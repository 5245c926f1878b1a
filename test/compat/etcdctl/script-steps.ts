/** A line of a script, without the program's name. `{lease 1}` is the first lease that the script was granted. */
export type Step = string | InputStep | LastingStep;

export interface InputStep {
  readonly line: string;
  readonly stdin: string | Buffer;
}

/** A command that does not end by itself: it is interrupted once it has written `until` lines. */
export interface LastingStep {
  readonly line: string;
  readonly until: number;
  readonly stdin?: string;
  /** Run while it lasts, each once that many lines were written. */
  readonly meanwhile?: readonly { readonly after: number; readonly line: string }[];
}
