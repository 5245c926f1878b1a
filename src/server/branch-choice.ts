import { isBranchName } from "../objects/keys.ts";
import type { HttpRequest } from "../transport/transport.ts";

/** What a call says of the branch that it is for. */
export interface BranchCall {
  /** The host that the client asked for, with or without a port. */
  readonly authority: string;
  /** The branch that its port is for; undefined: none in particular. */
  readonly label?: string | undefined;
  metadata(name: string): string | undefined;
}

export interface BranchChoice {
  /** Where nothing says otherwise. */
  readonly byDefault: string;
  /** A host NAME.SUFFIX with one of these means the branch NAME; lower case. */
  readonly suffixes: readonly string[];
}

/**
 * The branch that a call is for: by its metadata `t4-branch`, else by a host of the form NAME.SUFFIX, else by the port
 * that it came in at, else the default.
 *
 *   t4-branch: staging              staging
 *   staging.localhost:2379          staging
 *   localhost:2379, 10.0.0.7:2379   the default
 *   etcd-0.etcd.kube-system.svc     the default: no other name chooses by accident
 */
export function branchOfCall(call: BranchCall, { byDefault, suffixes }: BranchChoice): string {
  const named = call.metadata("t4-branch");
  if (named !== undefined) return named;
  return nameByHost(call.authority, suffixes) ?? call.label ?? byDefault;
}

/** What the host before means: most calls ask for the same one. */
let known: { authority: string; suffixes: readonly string[]; name: string | null } = {
  authority: "",
  suffixes: [],
  name: null,
};

function nameByHost(authority: string, suffixes: readonly string[]): string | null {
  if (authority !== known.authority || suffixes !== known.suffixes) {
    known = { authority, suffixes, name: findName(hostOf(authority), suffixes) };
  }
  return known.name;
}

function findName(host: string, suffixes: readonly string[]): string | null {
  for (const suffix of suffixes) {
    if (!host.endsWith(`.${suffix}`)) continue;
    const name = host.slice(0, -suffix.length - 1);
    if (isBranchName(name)) return name;
  }
  return null;
}

/** The same for a plain HTTP request, which may name a branch by a header of that name. */
export const branchOfRequest = ({ headers, label }: HttpRequest, choice: BranchChoice): string =>
  branchOfCall({ authority: headers.get("host") ?? "", label, metadata: (name) => headers.get(name) }, choice);

/** Without port and final dot, in lower case. */
function hostOf(authority: string): string {
  const end = authority.startsWith("[") ? -1 : authority.lastIndexOf(":");
  const host = end < 0 ? authority : authority.slice(0, end);
  return (host.endsWith(".") ? host.slice(0, -1) : host).toLowerCase();
}
