import { deepEqual, throws } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { readSettingsFile } from "./settings-file.ts";

const directory = mkdtempSync(join(tmpdir(), "t4-settings-"));
after(() => rmSync(directory, { recursive: true, force: true }));

function read(text: string): unknown {
  const path = join(directory, "t4.yaml");
  writeFileSync(path, text);
  return { ...readSettingsFile(path)!.values };
}

test("the blocks of etcd's files are flags under other names; what is empty is not given", () => {
  const security = "{cert-file: c, client-cert-auth: true, trusted-ca-file:, allowed-hostname: [a, b]}";
  deepEqual(
    read(`client-transport-security: ${security}\npeer-transport-security: {cert-file: p, allowed-cn: [x]}\n`),
    {
      "cert-file": "c",
      "client-cert-auth": true,
      "client-cert-allowed-hostname": ["a", "b"],
      "peer-cert-file": "p",
      "peer-cert-allowed-cn": ["x"],
    },
  );
  deepEqual(read("socket-options: {reuse-port: true}\nwal-dir:\n"), { "socket-reuse-port": true });
  // Who may connect is never passed over: etcd's file can name what no flag does.
  deepEqual(read("client-transport-security: {allowed-cn: [x]}\n"), { "client-transport-security.allowed-cn": ["x"] });
  deepEqual(read("client-transport-security: text\n"), { "client-transport-security": "text" });
  throws(() => read("client-transport-security: {cert-file: c}\ncert-file: d\n"), /are the same setting/);
});

test("what looks like a number is taken as it is written", () => {
  const text = "name: 1e3\ndata-dir: 0777\ncluster: 123456789012345678901\nbytes: 8589934592\nratio: 1.50\n";
  const taken = { name: "1e3", "data-dir": "0777", cluster: "123456789012345678901" };
  deepEqual(read(text), { ...taken, bytes: "8589934592", ratio: "1.50" });
  deepEqual(read('a: "1e3"\nb: true\nc:\nd: ""\ne: [x, 2]\n'), { a: "1e3", b: true, d: "", e: ["x", "2"] });
});

test("nothing, and what is no list of names and values", () => {
  deepEqual(read(""), {});
  for (const text of ["- a\n", "text\n", "12\n"]) throws(() => read(text), /expected names and values/);
  for (const text of ["a: [\n", "a: 1\na: 2\n", "a: *nope\n"]) throws(() => read(text), { name: "UsageError" });
  throws(() => readSettingsFile(join(directory, "none")), /--config-file: .*ENOENT/);
});
