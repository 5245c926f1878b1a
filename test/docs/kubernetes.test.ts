import { deepEqual, equal, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse } from "yaml";
import { resolveSettings } from "../../src/server/settings.ts";
import { blocksOf } from "./blocks.ts";

const page = readFileSync(new URL("../../docs/operating/kubernetes.md", import.meta.url), "utf8");

interface Pod {
  spec: { containers: { command: string[]; livenessProbe: object }[]; terminationGracePeriodSeconds: number };
}

test("the manifest's flags are taken, and a stop ends within the pod's time", () => {
  const manifest = blocksOf(page).find(({ language }) => language === "yaml");
  const { spec } = parse(manifest!.text) as Pod;
  const [program, command, ...flags] = spec.containers[0]!.command;
  deepEqual([program, command], ["t4", "run"]);
  const given = Object.fromEntries(flags.map((flag) => /^--([a-z-]+)=(.*)$/.exec(flag)!.slice(1, 3)));
  const { settings, warnings } = resolveSettings({ flags: given, env: {}, file: null });
  // Of the probes' address, which has no TLS on purpose, as with kubeadm's etcd.
  const others = warnings.filter((warning) => !warning.startsWith("http://127.0.0.1:2381: not TLS"));
  deepEqual(others, []);
  equal(settings["watch-progress-notify-interval"], 5000);
  ok(settings["stop-timeout"] < spec.terminationGracePeriodSeconds * 1000);
});

test("each setting that the page names is one", () => {
  const settings = resolveSettings({ flags: {}, env: {}, file: null }).settings;
  const ofKubernetes = /^(etcd-|no-dest-prefix$|at$)/;
  for (const [, name] of page.matchAll(/--([a-z]+(?:-[a-z]+)*)/g)) {
    ok(name! in settings || ofKubernetes.test(name!), `--${name}`);
  }
});
