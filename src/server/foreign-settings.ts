/**
 * Names that are not settings here. A setting of etcd's that t4 would not follow must not be passed over in silence:
 * whoever asks for TLS and is served without it, or for a quota, has to be told before anything is opened.
 */

/** Flags of etcd's that have no meaning here: accepted, with one warning that says why. */
export const ignoredFlags: Readonly<Record<string, string>> = {
  "heartbeat-interval": "there is no consensus cluster",
  "election-timeout": "there is no consensus cluster",
  "snapshot-count": "checkpoints replace snapshots",
  "initial-cluster": "nodes find each other through the bucket",
  "initial-cluster-state": "nodes find each other through the bucket",
  "initial-cluster-token": "nodes find each other through the bucket",
  "initial-advertise-peer-urls": "nodes find each other through the bucket",
  "listen-peer-urls": "nodes find each other through the bucket",
  "wal-dir": "the local log lies in the data directory",
  "max-snapshots": "checkpoints replace snapshots",
  "max-wals": "the local log is trimmed as it is uploaded",
  "backend-batch-interval": "there is no bbolt backend",
  "backend-batch-limit": "there is no bbolt backend",
  "backend-bbolt-freelist-type": "there is no bbolt backend",
  "strict-reconfig-check": "there is no consensus cluster",
  "pre-vote": "there is no consensus cluster",
  logger: "there is one logger",
};

/** Variables that other parts of t4 read: where the program and its file lie, and what its client commands do. */
const otherVariables = new Set([
  ...["T4_NODE", "T4_CONFIG_FILE", "ETCD_CONFIG_FILE"],
  ...["T4_ENDPOINTS", "T4_COMMAND_TIMEOUT", "T4_DIAL_TIMEOUT", "T4_WRITE_OUT"],
  ...["T4_USER", "T4_PASSWORD"],
  ...["T4_CACERT", "T4_CERT", "T4_KEY", "T4_INSECURE_SKIP_TLS_VERIFY"],
]);

/** What Kubernetes sets in every container for a service named etcd or t4. */
const ofAService = /^(ETCD|T4)_(SERVICE_(HOST|PORT)|PORT)(_|$)/;

/** Variables that look like settings and are none: most likely misspelt. */
export function unknownVariables(env: Readonly<Record<string, string | undefined>>, known: Set<string>): string[] {
  return Object.keys(env).filter(
    (name) => /^(T4|ETCD)_/.test(name) && !known.has(name) && !otherVariables.has(name) && !ofAService.test(name),
  );
}
