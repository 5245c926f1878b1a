import { DbError } from "../base/errors.ts";
import type { StreamCall } from "./stream-call.ts";
import type { Method } from "./unary-call.ts";

/**
 * etcd's methods that are known by name and not built. The text is the one that gRPC itself gives for a method it
 * does not know.
 */
const unary: Readonly<Record<string, readonly string[]>> = {};

const streaming: Readonly<Record<string, readonly string[]>> = {};

const refusal = (service: string, method: string): DbError =>
  new DbError("unimplemented", `unknown method ${method} for service ${service}`);

export const unimplementedMethods: Record<string, Method> = Object.fromEntries(
  pathsOf(unary).map(({ path, service, method }) => [
    path,
    (database) => {
      // Not even that it is missing is for everyone.
      database.require("root");
      throw refusal(service, method);
    },
  ]),
);

export const unimplementedStreams: Record<string, (call: StreamCall) => void> = Object.fromEntries(
  pathsOf(streaming).map(({ path, service, method }) => [path, (call) => call.fail(refusal(service, method))]),
);

function pathsOf(services: typeof unary): { path: string; service: string; method: string }[] {
  return Object.entries(services).flatMap(([service, methods]) =>
    methods.map((method) => ({ path: `/${service}/${method}`, service, method })),
  );
}
