/**
 * Names that are not settings here. A setting of etcd's that t4 does not follow is not passed over in silence: whoever
 * gives it is told why it has no effect.
 */

const bucket = "nodes find each other through the bucket";
const consensus = "there is no consensus cluster";
const bbolt = "there is no bbolt backend";
const peers = "nodes meet in the bucket, there is no port for peers";
const discovery = "nodes find each other through the bucket, not through a discovery service";
const tracing = "tracing is not built";
const damage = "what is stored carries checksums that every read verifies";
const gates = "its features are of etcd's own workings";

/** Flags of etcd's that have no meaning here: accepted, with one warning that says why. */
export const ignoredFlags: Readonly<Record<string, string>> = {
  "heartbeat-interval": consensus,
  "election-timeout": consensus,
  "initial-election-tick-advance": consensus,
  "strict-reconfig-check": consensus,
  "pre-vote": consensus,
  "max-learners": consensus,
  "force-new-cluster": consensus,
  "snapshot-count": "checkpoints replace snapshots",
  "max-snapshots":
    "checkpoints replace snapshots. Of an etcd: --max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8",
  "snapshot-catchup-entries": "checkpoints replace snapshots",
  "experimental-snapshot-catchup-entries": "checkpoints replace snapshots",
  "wal-dir": "the local log lies in the data directory",
  "max-wals": "the local log is trimmed as it is uploaded",
  "unsafe-no-fsync": "what is acknowledged is always synced",
  "initial-cluster": bucket,
  "initial-cluster-state": bucket,
  "initial-cluster-token": bucket,
  "initial-advertise-peer-urls": bucket,
  "listen-peer-urls": peers,
  "peer-cert-file": peers,
  "peer-key-file": peers,
  "peer-client-cert-auth": peers,
  "peer-client-cert-file": peers,
  "peer-client-key-file": peers,
  "peer-trusted-ca-file": peers,
  "peer-crl-file": peers,
  "peer-cert-allowed-cn": peers,
  "peer-cert-allowed-hostname": peers,
  "peer-auto-tls": peers,
  "peer-skip-client-san-verification": peers,
  "experimental-peer-skip-client-san-verification": peers,
  "client-cert-file": "the server is a client of none",
  "client-key-file": "the server is a client of none",
  "raft-read-timeout": peers,
  "raft-write-timeout": peers,
  discovery: discovery,
  "discovery-token": discovery,
  "discovery-endpoints": discovery,
  "discovery-dial-timeout": discovery,
  "discovery-request-timeout": discovery,
  "discovery-keepalive-time": discovery,
  "discovery-keepalive-timeout": discovery,
  "discovery-insecure-transport": discovery,
  "discovery-insecure-skip-tls-verify": discovery,
  "discovery-cert": discovery,
  "discovery-key": discovery,
  "discovery-cacert": discovery,
  "discovery-user": discovery,
  "discovery-password": discovery,
  "discovery-fallback": discovery,
  "discovery-proxy": discovery,
  "discovery-srv": discovery,
  "discovery-srv-name": discovery,
  "backend-batch-interval": bbolt,
  "backend-batch-limit": bbolt,
  "backend-bbolt-freelist-type": bbolt,
  "memory-mlock": bbolt,
  "experimental-memory-mlock": bbolt,
  "bootstrap-defrag-threshold-megabytes": bbolt,
  "experimental-bootstrap-defrag-threshold-megabytes": bbolt,
  "compaction-batch-limit": "old versions go when tables are merged",
  "experimental-compaction-batch-limit": "old versions go when tables are merged",
  "compaction-sleep-interval": "old versions go when tables are merged",
  "experimental-compaction-sleep-interval": "old versions go when tables are merged",
  "corrupt-check-time": damage,
  "experimental-corrupt-check-time": damage,
  "experimental-initial-corrupt-check": damage,
  "compact-hash-check-time": damage,
  "experimental-compact-hash-check-time": damage,
  "experimental-compact-hash-check-enabled": damage,
  "enable-distributed-tracing": tracing,
  "experimental-enable-distributed-tracing": tracing,
  "distributed-tracing-address": tracing,
  "experimental-distributed-tracing-address": tracing,
  "distributed-tracing-service-name": tracing,
  "experimental-distributed-tracing-service-name": tracing,
  "distributed-tracing-instance-id": tracing,
  "experimental-distributed-tracing-instance-id": tracing,
  "distributed-tracing-sampling-rate": tracing,
  "experimental-distributed-tracing-sampling-rate": tracing,
  "experimental-enable-lease-checkpoint": "leases keep their time over a clean change of leaders",
  "experimental-enable-lease-checkpoint-persist": "leases keep their time over a clean change of leaders",
  "experimental-stop-grpc-service-on-defrag": "a defragmentation stops nothing",
  "experimental-txn-mode-write-with-shared-buffer": gates,
  "feature-gates": gates,
  "downgrade-check-time": "there is no downgrade of a cluster",
  "experimental-downgrade-check-time": "there is no downgrade of a cluster",
  "v2-deprecation": `there never was a v2 store. Of an etcd: --v2-deprecation is deprecated and scheduled \
for removal in v3.8. The default value is enforced, ignoring user input`,
  "warning-apply-duration": "--warning-unary-request-duration tells of slow calls",
  "experimental-warning-apply-duration": "--warning-unary-request-duration tells of slow calls",
  "socket-reuse-port": "a port belongs to one process",
  "socket-reuse-address": "the system's default is to allow it",
  "enable-log-rotation": "the system rotates log files: by copying and truncating them",
  "log-rotation-config-json": "the system rotates log files: by copying and truncating them",
  logger: "there is one logger",
};

/** What etcd's own example of a configuration file still names, and no etcd looks at any more. */
export const formerFileNames: ReadonlySet<string> = new Set([
  ...["proxy", "proxy-failure-wait", "proxy-refresh-interval"],
  ...["proxy-dial-timeout", "proxy-write-timeout", "proxy-read-timeout"],
]);

/** Former names of settings that are followed. */
export const formerNames: Readonly<Record<string, string>> = {
  "experimental-watch-progress-notify-interval": "watch-progress-notify-interval",
  "experimental-warning-unary-request-duration": "warning-unary-request-duration",
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
