// Clients that create, patch and delete objects of several kinds at once, and know what must be there of each then.
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, ApiClient, KubeObject } from "./api-client.ts";

/** A kind of objects: where they are, and what one looks like. */
export interface Kind {
  name: string;
  path: (namespace: string) => string;
  /** Over all namespaces. */
  all: string;
  /** Below "/registry/" in the store. */
  stored: string;
  make: (name: string, step: number) => object;
}

const GROUP = "smoke.example.com";
const STEP = `${GROUP}/step`;

function metadata(name: string, step: number) {
  return { name, annotations: { [STEP]: String(step) } };
}

export const kinds: readonly Kind[] = [
  {
    name: "configmaps",
    path: (namespace) => `/api/v1/namespaces/${namespace}/configmaps`,
    all: "/api/v1/configmaps",
    stored: "configmaps",
    make: (name, step) => ({ metadata: metadata(name, step), data: { text: `${step} `.repeat(100) } }),
  },
  {
    name: "leases",
    path: (namespace) => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`,
    all: "/apis/coordination.k8s.io/v1/leases",
    stored: "leases",
    make: (name, step) => ({ metadata: metadata(name, step), spec: { holderIdentity: `holder-${step}` } }),
  },
  {
    name: "widgets",
    path: (namespace) => `/apis/${GROUP}/v1/namespaces/${namespace}/widgets`,
    all: `/apis/${GROUP}/v1/widgets`,
    stored: `${GROUP}/widgets`,
    make: (name, step) => ({
      apiVersion: `${GROUP}/v1`,
      kind: "Widget",
      metadata: metadata(name, step),
      spec: { size: step },
    }),
  },
];

export const widgetDefinition = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: `widgets.${GROUP}` },
  spec: {
    group: GROUP,
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        },
      },
    ],
  },
};

/** The step that an object was last written by; -1 if it is not one of ours. */
export function stepOf(object: KubeObject): number {
  return Number(object.metadata.annotations?.[STEP] ?? -1);
}

/** What may be there of an object: a step, or null for nothing. More than one while an outcome is not known. */
export type Expected = Map<string, ReadonlySet<number | null>>;

/** Counts of what was acknowledged, and of calls that were not answered or failed while the store was away. */
export interface Tally {
  acknowledged: number;
  unknown: number;
  longestGapMs: number;
}

export interface Load {
  client: ApiClient;
  namespaces: readonly string[];
  objects: number;
  workers: number;
  expected: Map<Kind, Expected>;
  tally: Tally;
}

/** Calls until an answer that is not the store's absence; tells whether an earlier try may have been carried out. */
async function insist(load: Load, send: () => Promise<Answer>): Promise<{ answer: Answer; unknown: boolean }> {
  const begunMs = performance.now();
  let unknown = false;
  for (;;) {
    const answer = await send().catch(() => null);
    if (answer !== null && answer.code < 500 && answer.code !== 429) {
      load.tally.acknowledged++;
      load.tally.longestGapMs = Math.max(load.tally.longestGapMs, performance.now() - begunMs);
      return { answer, unknown };
    }
    unknown = true;
    load.tally.unknown++;
    if (performance.now() - begunMs > 90_000) throw new Error(`no success within 90 s: ${JSON.stringify(answer)}`);
    await sleep(100);
  }
}

function check(answer: Answer, allowed: readonly number[], what: string): void {
  if (allowed.includes(answer.code)) return;
  throw new Error(`${what}: ${answer.code} ${JSON.stringify(answer.body).slice(0, 400)}`);
}

/** The life of one object: made, patched up to three times, and, one of four, deleted. */
async function liveOnce(load: Load, kind: Kind, number: number): Promise<void> {
  const namespace = load.namespaces[number % load.namespaces.length]!;
  const name = `${kind.name}-${number}`;
  const path = kind.path(namespace);
  const expected = load.expected.get(kind)!;
  const id = `${namespace}/${name}`;
  const tell = (...steps: (number | null)[]) => expected.set(id, new Set(steps));

  tell(null, 0);
  const made = await insist(load, () => load.client.call("POST", path, kind.make(name, 0)));
  check(made.answer, made.unknown ? [201, 409] : [201], `POST ${path} ${name}`);
  tell(0);
  for (let step = 1; step <= number % 4; step++) {
    tell(step - 1, step);
    const patch = kind.make(name, step);
    const patched = await insist(load, () =>
      load.client.call("PATCH", `${path}/${name}`, patch, "application/merge-patch+json"),
    );
    check(patched.answer, [200], `PATCH ${path}/${name}`);
    if (stepOf(patched.answer.body) !== step) throw new Error(`PATCH ${path}/${name} answered another step`);
    tell(step);
  }
  if (number % 4 !== 1) return;
  tell(1, null);
  const gone = await insist(load, () => load.client.call("DELETE", `${path}/${name}`));
  check(gone.answer, gone.unknown ? [200, 404] : [200], `DELETE ${path}/${name}`);
  tell(null);
}

/** Objects of all kinds by some workers side by side. */
export async function runLoad(load: Load, signal: AbortSignal, progress: (done: number) => void): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < load.objects && !signal.aborted) {
      const number = next++;
      await liveOnce(load, kinds[number % kinds.length]!, number);
      progress(next);
    }
  };
  await Promise.all(Array.from({ length: load.workers }, worker));
}

/** What is wrong in a list, by what must be there. */
export function wrongIn(items: readonly KubeObject[], expected: Expected): string[] {
  const found = new Map<string, number>();
  const wrong: string[] = [];
  for (const object of items) {
    if (stepOf(object) < 0) continue;
    const id = `${object.metadata.namespace}/${object.metadata.name}`;
    if (found.has(id)) wrong.push(`${id} is listed twice`);
    found.set(id, stepOf(object));
  }
  for (const [id, steps] of expected) {
    if (!steps.has(found.get(id) ?? null)) wrong.push(`${id} is ${found.get(id) ?? "missing"}, not ${[...steps]}`);
  }
  for (const id of found.keys()) if (!expected.has(id)) wrong.push(`${id} was never made`);
  return wrong;
}
