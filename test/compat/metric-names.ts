/**
 * etcd's metric names that are not called debugging, by its 3.6: each is told here too, or it says why not.
 */
export const stableNames: readonly string[] = [
  ...["etcd_cluster_version", "etcd_disk_backend_commit_duration_seconds", "etcd_disk_backend_defrag_duration_seconds"],
  ...["etcd_disk_backend_snapshot_duration_seconds", "etcd_disk_defrag_inflight"],
  ...[
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_disk_wal_write_bytes_total",
    "etcd_disk_wal_write_duration_seconds",
  ],
  ...["etcd_mvcc_db_open_read_transactions", "etcd_mvcc_db_total_size_in_bytes"],
  ...["etcd_mvcc_db_total_size_in_use_in_bytes", "etcd_mvcc_delete_total", "etcd_mvcc_hash_duration_seconds"],
  ...["etcd_mvcc_hash_rev_duration_seconds", "etcd_mvcc_put_total", "etcd_mvcc_range_total", "etcd_mvcc_txn_total"],
  ...["etcd_network_active_peers", "etcd_network_client_grpc_received_bytes_total"],
  ...["etcd_network_client_grpc_sent_bytes_total", "etcd_network_disconnected_peers_total"],
  ...["etcd_network_known_peers", "etcd_network_peer_received_bytes_total"],
  ...["etcd_network_peer_received_failures_total", "etcd_network_peer_round_trip_time_seconds"],
  ...["etcd_network_peer_sent_bytes_total", "etcd_network_peer_sent_failures_total"],
  ...["etcd_network_server_stream_failures_total", "etcd_network_snapshot_receive_failures"],
  ...["etcd_network_snapshot_receive_inflights_total", "etcd_network_snapshot_receive_success"],
  ...["etcd_network_snapshot_receive_total_duration_seconds", "etcd_network_snapshot_send_failures"],
  ...["etcd_network_snapshot_send_inflights_total", "etcd_network_snapshot_send_success"],
  ...["etcd_network_snapshot_send_total_duration_seconds", "etcd_server_apply_duration_seconds"],
  ...["etcd_server_client_requests_total", "etcd_server_feature_enabled", "etcd_server_go_version"],
  ...["etcd_server_has_leader", "etcd_server_health_failures", "etcd_server_health_success"],
  ...["etcd_server_healthcheck", "etcd_server_healthchecks_total", "etcd_server_heartbeat_send_failures_total"],
  ...["etcd_server_id", "etcd_server_is_leader", "etcd_server_is_learner", "etcd_server_leader_changes_seen_total"],
  ...["etcd_server_learner_promote_failures", "etcd_server_learner_promote_successes"],
  ...["etcd_server_proposals_applied_total", "etcd_server_proposals_committed_total"],
  ...["etcd_server_proposals_failed_total", "etcd_server_proposals_pending", "etcd_server_quota_backend_bytes"],
  ...["etcd_server_range_duration_seconds", "etcd_server_read_indexes_failed_total"],
  ...["etcd_server_request_duration_seconds", "etcd_server_slow_apply_total", "etcd_server_slow_read_indexes_total"],
  ...["etcd_server_snapshot_apply_in_progress_total", "etcd_server_version", "etcd_snap_db_fsync_duration_seconds"],
  ...["etcd_snap_db_save_total_duration_seconds", "etcd_snap_fsync_duration_seconds", "os_fd_limit", "os_fd_used"],
  ...["grpc_server_started_total", "grpc_server_handled_total", "grpc_server_msg_received_total"],
  "grpc_server_msg_sent_total",
];

const NO_PEERS = "nodes send each other nothing: what they share is in the bucket";
const NO_RAFT = "there is no raft: no snapshots between members, no read indexes, no entries to apply behind the log";

/** Names that begin so are not told, and why. The longest that fits counts. */
export const withoutMeaning: Readonly<Record<string, string>> = {
  etcd_network_active_peers: NO_PEERS,
  etcd_network_disconnected_peers_total: NO_PEERS,
  etcd_network_known_peers: NO_PEERS,
  etcd_network_peer_: NO_PEERS,
  etcd_network_server_stream_failures_total: "streams' ends are in grpc_server_handled_total",
  etcd_network_snapshot_: NO_RAFT,
  etcd_server_read_indexes_failed_total: NO_RAFT,
  etcd_server_slow_: NO_RAFT,
  etcd_server_snapshot_apply_in_progress_total: NO_RAFT,
  etcd_snap_: NO_RAFT,
  etcd_server_learner_promote_: "a learner that was announced is never promoted (M8)",
  etcd_server_heartbeat_send_failures_total: "heartbeats are writes of the session object: t4_store_requests_total",
  etcd_server_go_version: "there is no Go: nodejs_version_info",
  etcd_server_feature_enabled: "there are no feature gates",
  etcd_server_request_duration_seconds: "the same as etcd_server_apply_duration_seconds here",
  etcd_mvcc_db_open_read_transactions: "reads open no transactions of a database file",
  etcd_disk_wal_write_duration_seconds: "a write and its sync are one: etcd_disk_wal_fsync_duration_seconds",
  etcd_disk_backend_snapshot_duration_seconds:
    "a snapshot is made as its client takes it: its duration is the client's",
  os_fd_: "process_max_fds and process_open_fds",
};
