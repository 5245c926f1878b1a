import { createServer } from "node:net";

/**
 * Below what Linux, macOS and Windows give to connections that go out: from those a port could be taken by one of any
 * test running beside, between here and the start of the server that is to have it, or while that is restarted.
 */
const FIRST = 20_000;
const LAST = 32_000;
const TRIES_MAX = 1000;

/** A port of loopback that nobody listens on just now. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (await isFree(port)) return port;
  }
  throw new Error(`of ${TRIES_MAX} ports between ${FIRST} and ${LAST} none is free`);
}

/** So many, each another one. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", (error: NodeJS.ErrnoException) =>
      error.code === "EADDRINUSE" ? resolve(false) : reject(error),
    );
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)));
  });
}
