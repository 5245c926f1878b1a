import { Session } from "node:inspector/promises";
import type { Timers } from "../runtime/runtime.ts";
import type { HttpHandler, HttpResponse } from "../transport/transport.ts";

const SECONDS_DEFAULT = 30;
const SECONDS_MAX = 300;
const HEAP_SAMPLE_BYTES = 32 << 10;

const index = `profiles of this process, as Chrome's developer tools and speedscope read them:
/debug/pprof/profile?seconds=30   where CPU time goes (.cpuprofile)
/debug/pprof/heap?seconds=30      what allocates, sampled meanwhile (.heapprofile)
`;

const plain = (status: number, body: string): HttpResponse => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
  body,
});

/** /debug/pprof/ of --enable-pprof, at etcd's places and in V8's formats. One at a time. */
export function profiles(timers: Timers): HttpHandler {
  let running = false;
  return async ({ target, method, onGone }) => {
    const [path = "", query = ""] = target.split("?", 2);
    if (method !== "GET") return plain(405, "Method Not Allowed\n");
    if (path === "/debug/pprof/" || path === "/debug/pprof") return plain(200, index);
    const kind = path === "/debug/pprof/profile" ? "cpu" : path === "/debug/pprof/heap" ? "heap" : null;
    if (kind === null) return plain(404, "404 page not found\n");
    const seconds = Number(new URLSearchParams(query).get("seconds") ?? SECONDS_DEFAULT);
    if (!(seconds > 0 && seconds <= SECONDS_MAX))
      return plain(400, `seconds: a number above 0, up to ${SECONDS_MAX}\n`);
    if (running) return plain(429, "a profile is being taken\n");
    running = true;
    try {
      const wait = new Promise<void>((resolve) => {
        const timer = timers.set(seconds * 1000, resolve);
        onGone?.(() => {
          timer.cancel();
          resolve();
        });
      });
      return file(kind, await (kind === "cpu" ? cpuProfile(wait) : heapProfile(wait)));
    } finally {
      running = false;
    }
  };
}

const file = (kind: string, profile: unknown): HttpResponse => ({
  status: 200,
  headers: {
    "content-type": "application/json",
    "content-disposition": `attachment; filename="t4.${kind}profile"`,
  },
  body: JSON.stringify(profile),
});

async function cpuProfile(wait: Promise<void>): Promise<unknown> {
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.start");
    await wait;
    return (await session.post("Profiler.stop")).profile;
  } finally {
    session.disconnect();
  }
}

async function heapProfile(wait: Promise<void>): Promise<unknown> {
  const session = new Session();
  session.connect();
  try {
    await session.post("HeapProfiler.enable");
    await session.post("HeapProfiler.startSampling", { samplingInterval: HEAP_SAMPLE_BYTES });
    await wait;
    return (await session.post("HeapProfiler.stopSampling")).profile;
  } finally {
    session.disconnect();
  }
}
