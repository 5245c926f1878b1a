import type { EtcdRoutes } from "../api/api.ts";
import { accessControl } from "../api/gateway/access-control.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { version } from "../base/version.ts";
import type { CollectionStats } from "../collector/background.ts";
import type { Database } from "../engine/engine.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { HttpHandler, HttpRequest, HttpResponse, Routes } from "../transport/transport.ts";
import type { Door } from "./client-access.ts";
import { transportSettings } from "./components.ts";
import { debugVars } from "./debug-vars.ts";
import type { RunSettings } from "./settings.ts";
import { statusJson } from "./status.ts";

export interface HttpParts {
  readonly settings: RunSettings;
  readonly runtime: Runtime;
  /** gRPC's methods, which the gateway offers as JSON. */
  readonly routes: EtcdRoutes;
  /** /health, /livez, /readyz, /version, /metrics. */
  readonly etcd: HttpHandler;
  /** Of the branch that a request is for. */
  readonly database: (request: HttpRequest) => MaybePromise<Database>;
  /** The branch that is served where nothing says otherwise, as it is now. Throws while it is not open. */
  readonly defaultDatabase: () => Database;
  /** What this node has collected; null where it does not by itself. */
  readonly collections: () => CollectionStats | null;
  readonly onBug: (error: unknown) => void;
}

/** What is served at each kind of address. */
export function routesByDoor(parts: HttpParts): Record<Door, Routes> & { branch: (name: string) => Routes } {
  const { settings, routes } = parts;
  const access = { origins: settings.cors, hosts: settings["host-whitelist"] };
  const everything = accessControl(access, allHttp(parts));
  const { unary, streams } = routes;
  const none = { unary: new Map(), streams: new Map() };
  const client = { unary, streams, http: settings["listen-client-http-urls"].length > 0 ? notFound : everything };
  return {
    client,
    branch: (label) => ({ ...client, label }),
    http: { ...none, http: everything },
    metrics: { ...none, http: accessControl(access, parts.etcd) },
  };
}

function allHttp(parts: HttpParts): HttpHandler {
  const { settings, runtime, database, defaultDatabase, etcd } = parts;
  const withGateway = settings["enable-grpc-gateway"];
  const json = lazy(() => gatewayOf(parts));
  const document = lazy(async () => {
    const { openApiDocument } = await import("../api/gateway/openapi.ts");
    const body = openApiDocument(version);
    return () => ({ status: 200, headers: { "content-type": "application/json" }, body });
  });
  const pprof = lazy(async () => (await import("./profiles.ts")).profiles(runtime.timers));
  return (request) => {
    const { target } = request;
    if (withGateway && /^\/v3(beta)?(\/|$|\?)/.test(target)) {
      return target === "/v3" || target.startsWith("/v3?") ? moved("/v3/") : json(request);
    }
    if (withGateway && target.startsWith("/t4/v1/")) return json(request);
    if (withGateway && target === "/openapi.json") return document(request);
    if (target === "/debug/vars") return debugVars(defaultDatabase);
    if (settings["enable-pprof"] && target.startsWith("/debug/pprof")) return pprof(request);
    if (target === "/t4/status") return statusJson(() => database(request), parts.collections);
    return etcd(request);
  };
}

async function gatewayOf({ settings, runtime, routes, onBug }: HttpParts): Promise<HttpHandler> {
  const { gateway } = await import("../api/gateway/gateway.ts");
  return gateway({
    routes,
    timers: runtime.timers,
    monotonicMs: () => runtime.clock.monotonicMs(),
    messageBytesMax: transportSettings(settings).messageBytesMax,
    onBug,
  });
}

/** A handler that is loaded at the first request for it. */
function lazy(load: () => Promise<HttpHandler>): (request: HttpRequest) => ReturnType<HttpHandler> {
  let loaded: HttpHandler | null = null;
  let loading: Promise<HttpHandler> | null = null;
  return (request) => {
    if (loaded !== null) return loaded(request);
    loading ??= load();
    return loading.then((handler) => {
      loaded = handler;
      return handler(request);
    });
  };
}

/** HTTP has addresses of its own. */
const notFound: HttpHandler = () => ({
  status: 404,
  headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
  body: "404 page not found\n",
});

const moved = (location: string): HttpResponse => ({ status: 307, headers: { location }, body: "" });
