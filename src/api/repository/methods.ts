import { branchMethods } from "./branch-methods.ts";
import { historyMethods, historyStreams } from "./history-methods.ts";
import type { StreamMethod, UnaryMethod } from "./method.ts";
import { restoreMethods } from "./restore-method.ts";
import type { RepositorySource } from "./service.ts";

export { decode, encode } from "./method.ts";

/** Every method of t4.v1.Repository, by its name. */
export interface RepositoryMethods {
  readonly unary: ReadonlyMap<string, UnaryMethod>;
  readonly streams: ReadonlyMap<string, StreamMethod>;
}

export function repositoryMethods({ branches, history, requests }: RepositorySource): RepositoryMethods {
  const unary = [...branchMethods(branches), ...historyMethods(history, requests), ...restoreMethods(branches)];
  return {
    unary: new Map(unary.map((each) => [each.method.name, each])),
    streams: new Map(historyStreams(history).map((each) => [each.method.name, each])),
  };
}
