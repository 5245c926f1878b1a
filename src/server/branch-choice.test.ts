import { equal } from "node:assert/strict";
import { test } from "node:test";
import { branchOfCall } from "./branch-choice.ts";

const choose = (authority: string, named?: string, suffixes = ["localhost", "db.example.org"]) =>
  branchOfCall(
    { authority, metadata: (name) => (name === "t4-branch" ? named : undefined) },
    { byDefault: "main", suffixes },
  );

test("metadata names the branch, whatever the host says", () => {
  equal(choose("localhost:2379", "staging"), "staging");
  equal(choose("other.localhost", "staging"), "staging");
  equal(choose("other.localhost", "No Such"), "No Such", "what is no name is refused later, not replaced");
});

test("a host below a suffix names it", () => {
  equal(choose("staging.localhost:2379"), "staging");
  equal(choose("Staging.LOCALHOST.:2379"), "staging");
  equal(choose("ci-7.db.example.org"), "ci-7");
});

test("no other host chooses a branch by accident", () => {
  for (const host of [
    "localhost:2379",
    "127.0.0.1:2379",
    "[::1]:2379",
    "etcd-0.etcd.kube-system.svc.cluster.local:2379",
    "db.example.org",
    "a.b.localhost:2379",
    ".localhost:2379",
    "-x.localhost:2379",
    "stagingdb.example.org",
    "",
    "[",
  ]) {
    equal(choose(host), "main", host);
  }
  equal(choose("staging.localhost", undefined, []), "main");
});
