import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { resolveSettings } from "./settings.ts";

const none = { flags: {}, env: {}, file: null };
const refuses = (sources: Partial<Parameters<typeof resolveSettings>[0]>, text: string) =>
  throws(() => resolveSettings({ ...none, ...sources }), { name: "SettingsError", message: text });

test("with nothing given, the defaults hold", () => {
  const { settings, warnings } = resolveSettings(none);
  equal(settings["data-dir"], "t4-data");
  equal(settings["max-request-bytes"], 1_572_864);
  equal(settings["watch-progress-notify-interval"], 600_000);
  equal(settings.durability, undefined);
  deepEqual(settings["listen-client-urls"], [
    { scheme: "http", host: "127.0.0.1", port: 2379, text: "http://127.0.0.1:2379" },
  ]);
  deepEqual(warnings, []);
});

test("--max-request-bytes may be small, as etcd's", () => {
  const { settings } = resolveSettings({ ...none, flags: { "max-request-bytes": "256" } });
  equal(settings["max-request-bytes"], 256);
});

test("a flag goes before the environment, that before the file", () => {
  const file = { path: "t4.yaml", values: { name: "file", store: "memory:", "max-txn-ops": 7 } };
  const env = { ETCD_NAME: "env", T4_STORE: "file:///env", T4_NAME: "not read" };
  const { settings } = resolveSettings({ flags: { name: "flag" }, env, file });
  deepEqual([settings.name, settings.store, settings["max-txn-ops"]], ["flag", { kind: "file", directory: "/env" }, 7]);
});

test("durations and sizes are read as Go and people write them", () => {
  const flags = {
    "request-timeout": "1h1m1.5s",
    "memtable-bytes": "2 MiB",
    "upload-bytes": "5MB",
    "upload-age": "100ms",
  };
  const { settings } = resolveSettings({ ...none, flags });
  deepEqual(
    [settings["request-timeout"], settings["memtable-bytes"], settings["upload-bytes"], settings["upload-age"]],
    [3_661_500, 2 << 20, 5_000_000, 100],
  );
});

test("times of a file without a unit are nanoseconds, as in an etcd's; what its example names is no mistake", () => {
  const values = { "grpc-keepalive-min-time": "5000000000", "request-timeout": "7s", proxy: "off" };
  const { settings } = resolveSettings({ ...none, file: { path: "etcd.yml", values } });
  deepEqual([settings["grpc-keepalive-min-time"], settings["request-timeout"]], [5000, 7000]);
  throws(() => resolveSettings({ ...none, flags: { "request-timeout": "7000000000" } }), /expected a duration/);
});

test("what is wrong is named in one line", () => {
  refuses({ flags: { "max-txn-ops": "0" } }, "--max-txn-ops: 0 is outside 1 to 100000");
  refuses({ flags: { "request-timeout": "0s" } }, "--request-timeout: 0s is outside 100ms to 8784h");
  refuses({ env: { T4_DURABILITY: "both" } }, 'T4_DURABILITY: expected object or local, not "both"');
  refuses(
    { flags: { "request-timeout": "7" } },
    '--request-timeout: expected a duration such as "5s" or "1h30m", not "7"',
  );
  refuses(
    { flags: { "listen-client-urls": "http://127.0.0.1" } },
    '--listen-client-urls: "http://127.0.0.1": the port is missing',
  );
  refuses(
    { flags: { "listen-client-urls": "https://127.0.0.1:1" } },
    "--listen-client-urls: https://127.0.0.1:1: TLS key/cert (--cert-file, --key-file) must be provided, " +
      "or --auto-tls",
  );
  refuses(
    { flags: { "listen-client-urls": "http://a.example:1" } },
    '--listen-client-urls: "http://a.example:1": listen on an IP address or localhost',
  );
  refuses(
    { flags: { "advertise-client-urls": "nowhere" } },
    '--advertise-client-urls: expected a URL such as http://127.0.0.1:2379, not "nowhere"',
  );
  refuses({ flags: { store: "ftp://x" } }, '--store: store "ftp://x": unknown kind ftp: expected file, s3 or memory');
  refuses({ flags: { "upload-bytes": "1GiB" } }, "--upload-bytes: must not be over --upload-bytes-max");
  refuses({ flags: { "change-durability": "true" } }, "--change-durability: needs --durability");
  refuses({ file: { path: "x.yaml", values: { nmae: "a" } } }, "nmae in x.yaml: there is no such setting");
  refuses(
    { file: { path: "x.yaml", values: { name: {} } } },
    "name in x.yaml: expected a text, number, true, false or a list of texts",
  );
});

test("flags of TLS that do not fit together", () => {
  const pair = { "cert-file": "c", "key-file": "k" };
  refuses({ flags: { "cert-file": "c" } }, "--cert-file and --key-file: both or none must be given");
  refuses(
    { flags: { ...pair, "tls-min-version": "TLS1.3", "tls-max-version": "TLS1.2" } },
    "--tls-min-version: min version (TLS1.3) is greater than max version (TLS1.2)",
  );
  refuses({ flags: { ...pair, "cipher-suites": "X" } }, '--cipher-suites: unexpected TLS cipher suite "X"');
  refuses(
    { flags: { ...pair, "client-crl-file": "l" } },
    "--client-crl-file: needs --client-cert-auth or --trusted-ca-file, or no client certificate is asked for",
  );
  const { warnings } = resolveSettings({ ...none, flags: { ...pair, "client-cert-auth": "true" } });
  deepEqual(warnings, [
    "http://127.0.0.1:2379: not TLS, --cert-file and --key-file are not used there",
    "http://127.0.0.1:2379: not TLS, --client-cert-auth is not followed there",
  ]);
});

test("a flag of etcd's without meaning here is accepted with a warning", () => {
  const { warnings } = resolveSettings({ ...none, flags: { "heartbeat-interval": "100" }, env: { ETCD_WAL_DIR: "w" } });
  deepEqual(warnings, [
    "--heartbeat-interval has no effect: there is no consensus cluster",
    "--wal-dir has no effect: the local log lies in the data directory",
  ]);
});

test("M3 a quota: 0 is etcd's 2 GiB, a negative one is none, and so is none", () => {
  const quotaOf = (flags: Record<string, string>) =>
    resolveSettings({ ...none, flags }).settings["quota-backend-bytes"];
  deepEqual(
    [{}, { "quota-backend-bytes": "0" }, { "quota-backend-bytes": "-1" }, { "quota-backend-bytes": "8589934592" }].map(
      (flags) => quotaOf(flags as Record<string, string>),
    ),
    [null, 2 ** 31, null, 2 ** 33],
  );
  refuses(
    { flags: { "quota-backend-bytes": "-x" } },
    '--quota-backend-bytes: expected bytes such as "64MiB", not "-x"',
  );
});

test("a variable that looks like a setting and is none is told of", () => {
  const env = {
    ...{ T4_STROE: "s3://bucket", ETCD_LISTEN_URLS: "x", T4_STORE: "memory:", T4_CONFIG_FILE: "t4.yaml", T4_NODE: "" },
    ...{ ETCD_SERVICE_HOST: "10.0.0.1", T4_PORT: "tcp://10.0.0.1:2379", T4_PORT_2379_TCP_ADDR: "10.0.0.1" },
  };
  deepEqual(resolveSettings({ ...none, env }).warnings, [
    "T4_STROE has no effect: there is no such variable",
    "ETCD_LISTEN_URLS has no effect: there is no such variable",
  ]);
});

test("a former name is followed; with the later one beside it, one of them is a mistake", () => {
  const former = "experimental-warning-unary-request-duration";
  const { settings, warnings } = resolveSettings({ ...none, flags: { [former]: "1µs" } });
  equal(settings["warning-unary-request-duration"], 0.001);
  deepEqual(warnings, []);
  refuses(
    { flags: { [former]: "1s" }, env: { ETCD_WARNING_UNARY_REQUEST_DURATION: "1s" } },
    "ETCD_WARNING_UNARY_REQUEST_DURATION and --experimental-warning-unary-request-duration are the same setting: " +
      "use only --warning-unary-request-duration",
  );
});
