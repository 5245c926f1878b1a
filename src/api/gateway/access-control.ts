import { isPromise } from "../../base/maybe-promise.ts";
import type { HttpHandler, HttpRequest, HttpResponse } from "../../transport/transport.ts";

export interface AccessSettings {
  /** Origins whose pages may read answers; empty or with "*": all. */
  readonly origins: readonly string[];
  /** Names by which requests without TLS may call us; empty or with "*": any. */
  readonly hosts: readonly string[];
}

/**
 * What stands before every HTTP endpoint (B1.14): by which name a plain request calls us, so that no page can have its
 * own name point here (DNS rebinding), and which pages may read the answers (CORS).
 */
export function accessControl(settings: AccessSettings, handler: HttpHandler): HttpHandler {
  const hosts = new Set(settings.hosts);
  const origins = new Set(settings.origins);
  const anyHost = hosts.size === 0 || hosts.has("*");
  const anyOrigin = origins.size === 0 || origins.has("*");
  return (request) => {
    const host = hostOf(request);
    if (request.secure !== true && !anyHost && !hosts.has(host)) return misdirected(host);
    const origin = request.headers.get("origin");
    const allowed = anyOrigin ? "*" : origin !== undefined && origins.has(origin) ? origin : null;
    // A page may read what a WebSocket brings, whatever the fields of its answer say.
    if (request.webSocket === true && origin !== undefined && allowed === null) return forbidden(origin);
    const answer: ReturnType<HttpHandler> =
      request.method === "OPTIONS" ? { status: 200, headers: {}, body: "" } : handler(request);
    return isPromise(answer) ? answer.then((one) => withOrigin(one, allowed)) : withOrigin(answer, allowed);
  };
}

function withOrigin(response: HttpResponse, origin: string | null): HttpResponse {
  if (origin === null) return response;
  const headers = {
    ...response.headers,
    "access-control-allow-methods": "POST, GET, OPTIONS, PUT, DELETE",
    "access-control-allow-origin": origin,
    "access-control-allow-headers": "accept, content-type, authorization",
    // Who caches answers must not give one origin's to another.
    ...(origin === "*" ? {} : { vary: "Origin" }),
  };
  return { ...response, headers };
}

/** Without its port. */
function hostOf({ headers }: HttpRequest): string {
  const host = headers.get("host") ?? "";
  return host.replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1");
}

const forbidden = (origin: string): HttpResponse => ({
  status: 403,
  headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
  body: `pages of ${JSON.stringify(origin)} may not call this server (--cors)\n`,
});

const misdirected = (host: string): HttpResponse => ({
  status: 421,
  headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" },
  body:
    `the name in the request's Host field is not one of this server's: ${JSON.stringify(host)}\n` +
    `To be let in, call it by TLS, or add the name: --host-whitelist ${JSON.stringify(host)}\n` +
    "This keeps web pages from reaching the server by a name of their own (DNS rebinding, CVE-2018-5702).\n",
});
